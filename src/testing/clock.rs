//! The virtual clock.

use crate::sched::wakes::each;
use crate::time::{Instant, nanos};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant as StdInstant};

/// A clock that stands still unless told otherwise.
///
/// Clones are one clock. Hand one to [`Builder::clock`](crate::Builder::clock), keep the other.
///
/// A virtual clock moves in three ways: by [`MockClock::jump`], at a [rate](MockClock::set_rate) relative to the
/// machine's clock (0 at first), and by [autojump](MockClock::autojump): when no task can run, straight to the next
/// deadline.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::testing::MockClock;
///
/// let clock = MockClock::new().autojump();
/// let took = trine::Builder::new().clock(clock).run(async {
///     let start = trine::now();
///     trine::sleep(Duration::from_secs(3600)).await?;
///     Ok::<_, trine::Error>(trine::now() - start)
/// });
/// assert_eq!(took.unwrap(), Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct MockClock {
    clock: VirtualClock,
    /// Counts the handles in users' hands.
    #[expect(dead_code, reason = "only counted")]
    users: Arc<()>,
}

/// The clock as runs know it.
#[derive(Clone, Debug)]
pub(crate) struct VirtualClock {
    inner: Arc<Mutex<State>>,
    users: Weak<()>,
}

#[derive(Debug)]
struct State {
    /// Virtual time at `since`.
    at: u64,
    since: StdInstant,
    rate: f64,
    autojump: Option<Duration>,
    /// When, by the machine's clock, it was last changed from outside.
    changed: StdInstant,
    /// Wakes the hosts of the roots that wait by the clock, after a change from outside. One for each root, by its number;
    /// none of a root that has ended.
    watchers: Vec<(u32, Waker)>,
}

/// Where virtual time begins: late enough that earlier instants exist.
const START: u64 = 1_000_000_000_000_000;

impl Default for MockClock {
    fn default() -> Self {
        Self::new()
    }
}

impl MockClock {
    /// Makes a clock that stands still.
    pub fn new() -> Self {
        let state = State::new(StdInstant::now());
        let users = Arc::new(());
        let clock = VirtualClock { inner: Arc::new(Mutex::new(state)), users: Arc::downgrade(&users) };
        Self { clock, users }
    }

    /// Makes the clock jump to the next deadline whenever no task can run. Sockets and other threads do not hold it: see
    /// [`MockClock::autojump_after`].
    pub fn autojump(self) -> Self {
        self.autojump_after(Duration::ZERO)
    }

    /// As [`MockClock::autojump`], when no task could run for `idle`, in real time. As long the run waits before it calls
    /// something a [deadlock](crate::RunError::Deadlock): for tests in which other threads take part.
    pub fn autojump_after(self, idle: Duration) -> Self {
        self.clock.with(|s| s.autojump = Some(idle));
        self
    }

    /// Moves the clock forward by `d`.
    pub fn jump(&self, d: Duration) {
        self.clock.with(|s| s.jump(nanos(d)));
        self.clock.notify();
    }

    /// Lets virtual time pass at `rate` times the speed of real time.
    ///
    /// # Panics
    ///
    /// If `rate` is negative, infinite or not a number.
    pub fn set_rate(&self, rate: f64) {
        assert!(rate.is_finite() && rate >= 0.0, "the rate of a clock is a finite number, at least 0");
        self.clock.with(|s| s.set_rate(rate, StdInstant::now()));
        self.clock.notify();
    }

    pub(crate) fn into_clock(self) -> VirtualClock {
        self.clock
    }
}

impl VirtualClock {
    pub(crate) fn now(&self) -> Instant {
        self.with(|s| Instant::from_nanos(s.read()))
    }

    pub(crate) fn autojump_threshold(&self) -> Option<Duration> {
        self.with(|s| s.autojump)
    }

    pub(crate) fn jump_to(&self, at: Instant) {
        self.with(|s| s.jump(at.as_nanos().saturating_sub(s.read())));
    }

    /// How long, in real time, until the clock shows `deadline` by itself; `None` if it stands still.
    pub(crate) fn real_until(&self, deadline: Instant) -> Option<Duration> {
        self.with(|s| {
            let left = deadline.as_nanos().saturating_sub(s.read());
            if left == 0 {
                return Some(Duration::ZERO);
            }
            if s.rate == 0.0 {
                return None;
            }
            Duration::try_from_secs_f64(left as f64 / 1e9 / s.rate).ok()
        })
    }

    /// Does it move only if somebody moves it?
    pub(crate) fn stands_still(&self) -> bool {
        self.with(|s| s.rate == 0.0)
    }

    /// Does anybody but the run have the clock?
    pub(crate) fn is_shared(&self) -> bool {
        let shared = self.users.strong_count() > 0;
        // Who sees the last one gone sees what it did: pairs with the release of its drop.
        fence(Ordering::Acquire);
        shared
    }

    /// When, by the machine's clock, somebody last moved it or changed its rate.
    pub(crate) fn changed(&self) -> StdInstant {
        self.with(|s| s.changed)
    }

    /// Has a root's host woken at the next change from outside.
    pub(crate) fn watch(&self, root: u32, host: &Waker) {
        let knows = |s: &mut State| s.watchers.iter().any(|(of, waker)| *of == root && waker.will_wake(host));
        if self.with(knows) {
            return;
        }
        let host = host.clone();
        let old = self.with(|s| match s.watchers.iter_mut().find(|(of, _)| *of == root) {
            Some((_, waker)) => Some(std::mem::replace(waker, host)),
            None => {
                s.watchers.push((root, host));
                None
            }
        });
        drop(old);
    }

    /// Lets go of the waker of a root that ends.
    pub(crate) fn forget(&self, root: u32) {
        let waste = self.with(|s| {
            let i = s.watchers.iter().position(|(of, _)| *of == root)?;
            Some(s.watchers.swap_remove(i))
        });
        drop(waste);
    }

    fn notify(&self) {
        let watchers = self.with(|s| {
            s.changed = StdInstant::now();
            std::mem::take(&mut s.watchers)
        });
        each(watchers, |(_, host)| host.wake());
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn new(real: StdInstant) -> Self {
        Self { at: START, since: real, rate: 0.0, autojump: None, changed: real, watchers: Vec::new() }
    }

    fn read(&self) -> u64 {
        // A clock that stands still needs no look at the machine's.
        if self.rate == 0.0 { self.at } else { self.read_at(StdInstant::now()) }
    }

    /// What it shows at an instant of the machine's clock. A reading changes nothing, or what it rounds off would be lost
    /// at each.
    fn read_at(&self, real: StdInstant) -> u64 {
        let passed = real.saturating_duration_since(self.since).as_secs_f64() * self.rate;
        self.at.saturating_add((passed * 1e9) as u64)
    }

    fn jump(&mut self, nanos: u64) {
        self.at = self.at.saturating_add(nanos);
    }

    fn set_rate(&mut self, rate: f64, real: StdInstant) {
        self.at = self.read_at(real);
        self.since = real;
        self.rate = rate;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What a clock shows that goes at `rate`, after so many steps of the machine's clock with `use_it` after each.
    fn shown(rate: f64, steps: u32, step: Duration, mut use_it: impl FnMut(&mut State, StdInstant)) -> u64 {
        let since = StdInstant::now();
        let mut state = State::new(since);
        state.set_rate(rate, since);
        for i in 1..=steps {
            use_it(&mut state, since + step * i);
        }
        state.read_at(since + step * steps) - START
    }

    const STEP: Duration = Duration::from_nanos(100);

    #[test]
    fn slow_clock_is_no_slower_for_being_read() {
        // A tenth of a nanosecond for each step.
        let read = shown(0.001, 1_000_000, STEP, |state, real| {
            state.read_at(real);
        });
        assert_eq!(read, 100_000);
    }

    #[test]
    fn slow_clock_is_no_slower_for_being_moved() {
        let moved = shown(0.001, 1_000_000, STEP, |state, _| state.jump(1));
        assert_eq!(moved, 1_000_000 + 100_000);
    }

    #[test]
    fn new_rate_holds_from_then_on() {
        let slower = shown(2.0, 10, Duration::from_secs(1), |state, real| state.set_rate(state.rate / 2.0, real));
        // Two seconds, one, a half, and so on.
        assert_eq!(slower, 4_000_000_000 - 4_000_000_000 / 1024);
    }

    #[test]
    fn readings_never_go_back() {
        let mut last = 0;
        shown(1e-3, 100_000, Duration::from_millis(7), |state, real| {
            let now = state.read_at(real);
            assert!(now >= last);
            last = now;
        });
    }

    #[test]
    fn clock_stays_at_the_end_of_time() {
        assert_eq!(shown(1e300, 2, Duration::from_secs(1), |state, _| state.jump(u64::MAX)), u64::MAX - START);
    }
}
