//! The virtual clock.

use crate::time::{Instant, nanos};
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    /// Wakes the runs that use the clock, after a change from outside.
    watchers: Vec<std::task::Waker>,
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
        let state = State { at: START, since: StdInstant::now(), rate: 0.0, autojump: None, watchers: Vec::new() };
        let users = Arc::new(());
        let clock = VirtualClock { inner: Arc::new(Mutex::new(state)), users: Arc::downgrade(&users) };
        Self { clock, users }
    }

    /// Makes the clock jump to the next deadline whenever no task can run. Sockets and other threads do not hold it: see
    /// [`MockClock::autojump_after`].
    pub fn autojump(self) -> Self {
        self.autojump_after(Duration::ZERO)
    }

    /// As [`MockClock::autojump`], when no task could run for `idle`, in real time.
    pub fn autojump_after(self, idle: Duration) -> Self {
        self.clock.with(|s| s.autojump = Some(idle));
        self
    }

    /// Moves the clock forward by `d`.
    pub fn jump(&self, d: Duration) {
        self.clock.with(|s| s.at = s.at.saturating_add(nanos(d)));
        self.clock.notify();
    }

    /// Lets virtual time pass at `rate` times the speed of real time.
    ///
    /// # Panics
    ///
    /// If `rate` is negative, infinite or not a number.
    pub fn set_rate(&self, rate: f64) {
        assert!(rate.is_finite() && rate >= 0.0, "the rate of a clock is a finite number, at least 0");
        self.clock.with(|s| {
            s.settle();
            s.since = StdInstant::now();
            s.rate = rate;
        });
        self.clock.notify();
    }

    pub(crate) fn into_clock(self) -> VirtualClock {
        self.clock
    }
}

impl VirtualClock {
    pub(crate) fn now(&self) -> Instant {
        self.with(|s| {
            s.settle();
            Instant::from_nanos(s.at)
        })
    }

    pub(crate) fn autojump_threshold(&self) -> Option<Duration> {
        self.with(|s| s.autojump)
    }

    pub(crate) fn jump_to(&self, at: Instant) {
        self.with(|s| {
            s.settle();
            s.at = s.at.max(at.as_nanos());
        });
    }

    /// How long, in real time, until the clock shows `deadline` by itself; `None` if it stands still.
    pub(crate) fn real_until(&self, deadline: Instant) -> Option<Duration> {
        self.with(|s| {
            s.settle();
            let left = deadline.as_nanos().saturating_sub(s.at);
            if left == 0 {
                return Some(Duration::ZERO);
            }
            if s.rate == 0.0 {
                return None;
            }
            Duration::try_from_secs_f64(left as f64 / 1e9 / s.rate).ok()
        })
    }

    /// Does anybody but the run have the clock?
    pub(crate) fn is_shared(&self) -> bool {
        self.users.strong_count() > 0
    }

    pub(crate) fn watch(&self, waker: &std::task::Waker) {
        let waker = waker.clone();
        let old = self.with(|s| {
            if s.watchers.iter().any(|w| w.will_wake(&waker)) {
                return Some(waker);
            }
            s.watchers.push(waker);
            None
        });
        drop(old);
    }

    fn notify(&self) {
        let watchers = self.with(|s| std::mem::take(&mut s.watchers));
        for w in watchers {
            w.wake();
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn settle(&mut self) {
        if self.rate > 0.0 {
            let now = StdInstant::now();
            let passed = now.duration_since(self.since).as_secs_f64() * self.rate;
            self.at = self.at.saturating_add((passed * 1e9) as u64);
            self.since = now;
        }
    }
}
