//! What a root does when no task can run: waits for the alarm, or lets the watchers of idleness and the virtual clock go
//! on.
//!
//! In order, once the reactor has been looked at and still nothing can run:
//!
//! 1. `wait_all_tasks_blocked` waiters, the shortest cushion first;
//! 2. a virtual clock that jumps by itself jumps to the next deadline;
//! 3. no deadline, or a virtual clock that stands still, with nothing that could wake anybody or move the clock: deadlock.
//!
//! Whether something outside could wake the run is known only in part: registered sources, jobs and tokens are counted
//! (`Settings::outside`), and clones of task wakers in foreign hands ([`Root::has_escaped_wakers`]), and of the clock. If
//! only the latter two speak for it, the run waits [`GRACE`] of real time, from the last change of the clock, before it calls
//! it a deadlock. A thread that has the end of a channel, a scope, a lock or an event is not known to the run: for its sake
//! it waits as long as a clock that jumps [after a while](crate::testing::MockClock::autojump_after), and not at all under
//! others, or each program that deadlocks, of which tests have many, would take half a second to say so.

use super::context;
use super::remote::{self, Mail};
use super::root::Root;
use super::wakes::each;
use crate::task::wake::WakeRef;
use crate::time::Instant;
use std::fmt;
use std::ptr;
use std::task::Context;
use std::time::{Duration, Instant as StdInstant};
use trine_backend::Alarm;

/// See the module.
const GRACE: Duration = Duration::from_millis(500);

/// A `wait_all_tasks_blocked` in progress.
struct Waiter {
    key: u64,
    cushion: Duration,
    wake: WakeRef,
}

/// A [`Waiter`] of some root: removed on drop, wherever that root is.
pub(crate) struct Watch {
    root: *const Root,
    key: u64,
}

// SAFETY: the root's idle state is touched only under its hold.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Watch {
    /// Under the context's root.
    pub(crate) fn new(root: &Root, cushion: Duration, wake: WakeRef) -> Self {
        root.count_inc_here();
        let key = root.with_idle(|idle| idle.add(cushion, wake));
        Self { root, key }
    }

    /// Has its time come, under the context's root? True only once.
    pub(crate) fn take_fired(&self) -> bool {
        self.here().is_some_and(|root| root.with_idle(|idle| idle.take_fired(self.key)))
    }

    /// Is it waiting under the context's root?
    pub(crate) fn is_waiting(&self) -> bool {
        self.here().is_some_and(|root| root.with_idle(|idle| idle.knows(self.key)))
    }

    /// The root, if it is the context's.
    fn here(&self) -> Option<&Root> {
        // SAFETY: root cells are never unmapped.
        ptr::eq(self.root, context::root()).then(|| unsafe { &*self.root })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(root) = self.here() {
            let waste = root.with_idle(|idle| idle.remove(self.key));
            drop(waste);
        } else {
            // SAFETY: root cells are never unmapped.
            unsafe { remote::perform(self.root, Mail::EndWatch(self.key)) };
        }
        // SAFETY: as above; the count was taken in `new`.
        unsafe { Root::count_dec(self.root) };
    }
}

/// The idle state of a root.
pub(crate) struct Idle {
    waiters: Vec<Waiter>,
    /// Keys of waiters whose time has come.
    fired: Vec<u64>,
    /// Since when, in real time, nothing could run.
    since: Option<StdInstant>,
    /// How far the look at the reactor has got.
    round: u32,
    /// The look is complete: nothing came of it.
    looked: bool,
    alarm: Option<Box<dyn Alarm>>,
    armed: Option<StdInstant>,
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("waiters", &self.waiters.len()).finish_non_exhaustive()
    }
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Self { waiters: Vec::new(), fired: Vec::new(), since: None, round: 0, looked: false, alarm: None, armed: None }
    }

    /// Something ran.
    #[inline(always)]
    pub(crate) fn active(&mut self) {
        self.since = None;
        self.round = 0;
        self.looked = false;
    }

    /// Forgets the alarm, which is for the caller to drop; the look at the reactor begins anew.
    pub(crate) fn forget_alarm(&mut self) -> Option<Box<dyn Alarm>> {
        self.active();
        self.armed = None;
        self.alarm.take()
    }

    fn add(&mut self, cushion: Duration, wake: WakeRef) -> u64 {
        // Unlike that of any other root, should the watcher move there.
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let key = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.waiters.push(Waiter { key, cushion, wake });
        key
    }

    fn knows(&self, key: u64) -> bool {
        self.waiters.iter().any(|w| w.key == key)
    }

    /// Has the waiter's time come? True only once.
    fn take_fired(&mut self, key: u64) -> bool {
        match self.fired.iter().position(|k| *k == key) {
            Some(i) => {
                self.fired.swap_remove(i);
                true
            }
            None => false,
        }
    }

    /// Forgets a waiter; its waker is for the caller to drop.
    pub(super) fn remove(&mut self, key: u64) -> Option<WakeRef> {
        self.fired.retain(|k| *k != key);
        let i = self.waiters.iter().position(|w| w.key == key)?;
        Some(self.waiters.remove(i).wake)
    }
}

pub(crate) enum IdleOutcome {
    /// Something may be runnable.
    Again,
    /// The host will poll when there is something to do.
    Pending,
    Deadlock,
}

/// Called by the holder when the main task is not runnable.
pub(crate) fn wait(root: &Root, host: &mut Context<'_>) -> IdleOutcome {
    // Nobody asks for idleness: only the next timer counts.
    if !root.is_virtual() && root.idle.borrow().waiters.is_empty() {
        let deadline = root.timers.borrow_mut().next();
        return arm(root, host, deadline.and_then(|d| root.with_settings(|s| s.clock.to_std(d))));
    }
    wait_in_full(root, host)
}

#[cold]
#[inline(never)]
fn wait_in_full(root: &Root, host: &mut Context<'_>) -> IdleOutcome {
    let settings = root.settings();
    let virtual_clock = settings.clock.mock().cloned();
    let cushion = root.idle.borrow().waiters.iter().map(|w| w.cushion).min();
    let mut wake_at: Option<StdInstant> = None;
    if cushion.is_some() || virtual_clock.is_some() {
        if root.is_notified() {
            return IdleOutcome::Again;
        }
        // 0. Look at the reactor.
        if !root.idle.borrow().looked {
            if let Some(handle) = settings.handle() {
                let round = root.idle.borrow().round;
                if handle.poll_turn(host, round).is_pending() {
                    root.idle.borrow_mut().round = round + 1;
                    return IdleOutcome::Pending;
                }
            }
            root.idle.borrow_mut().looked = true;
            if root.main_woken.get() || root.is_notified() {
                return IdleOutcome::Again;
            }
        }
        let since = *root.idle.borrow_mut().since.get_or_insert_with(StdInstant::now);
        // 1. Those who wait for idleness.
        if let Some(cushion) = cushion {
            if cushion.is_zero() || since.elapsed() >= cushion {
                fire(root, cushion);
                return IdleOutcome::Again;
            }
            wake_at = since.checked_add(cushion);
        } else if let Some(clock) = &virtual_clock {
            // Asked first: what those who are gone by now have done to the clock is seen below.
            let alone = !root.has_escaped_wakers() && !clock.is_shared();
            // 2. Autojump.
            let next = root.timers.borrow_mut().next();
            let threshold = clock.autojump_threshold();
            match (threshold, next) {
                (Some(threshold), Some(deadline)) => {
                    if threshold.is_zero() || since.elapsed() >= threshold {
                        clock.jump_to(deadline);
                        root.read_clock();
                        root.idle.borrow_mut().active();
                        return IdleOutcome::Again;
                    }
                    wake_at = since.checked_add(threshold);
                }
                // 3. Nothing will ever happen by itself.
                (None, Some(_)) if !clock.stands_still() => {}
                _ if settings.outside() == 0 => {
                    // A waker wakes before it is dropped: what the last one of them left is there by now.
                    if root.main_woken.get() || root.is_notified() || next.is_some_and(|d| d <= root.read_clock()) {
                        return IdleOutcome::Again;
                    }
                    // Who has the clock may move it step by step.
                    let quiet = since.max(clock.changed());
                    let grace = if alone { Duration::ZERO } else { GRACE };
                    let patience = threshold.unwrap_or_default().max(grace);
                    if quiet.elapsed() >= patience {
                        return IdleOutcome::Deadlock;
                    }
                    // Where nothing drives, the time is looked at when the host polls.
                    if settings.has_handle() {
                        wake_at = quiet.checked_add(patience);
                    }
                }
                _ => {}
            }
        }
    }
    if let Some(clock) = &virtual_clock {
        clock.watch(root.number, host.waker());
    }
    let deadline = root.timers.borrow_mut().next().and_then(|d| settings.clock.to_std(d));
    let at = match (deadline, wake_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    arm(root, host, at)
}

fn fire(root: &Root, cushion: Duration) {
    let mut due = Vec::new();
    {
        let mut idle = root.idle.borrow_mut();
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut idle.waiters).into_iter().partition(|w| w.cushion <= cushion);
        idle.waiters = later;
        for w in now {
            idle.fired.push(w.key);
            due.push(w.wake);
        }
        idle.active();
    }
    each(due, WakeRef::wake);
}

/// Sets the alarm. An alarm that is due already means another pass.
fn arm(root: &Root, host: &mut Context<'_>, at: Option<StdInstant>) -> IdleOutcome {
    let mut idle = root.idle.borrow_mut();
    if at.is_none() && idle.armed.is_none() {
        return IdleOutcome::Pending;
    }
    if idle.alarm.as_ref().is_some_and(|alarm| alarm.is_dead()) {
        let dead = idle.forget_alarm();
        drop(idle);
        drop(dead);
        if root.rehost() {
            return IdleOutcome::Again;
        }
        idle = root.idle.borrow_mut();
    }
    if idle.alarm.is_none() {
        let made = root.settings().handle().map(|h| h.alarm());
        match made {
            Some(Ok(alarm)) => idle.alarm = Some(alarm),
            Some(Err(e)) => panic!("trine: the backend has no timer: {e}"),
            None => panic!("{}", crate::backend::NOTHING_DRIVES),
        }
    }
    if idle.armed != at {
        idle.armed = at;
        idle.alarm.as_mut().expect("made above").set(at);
    }
    if at.is_none() {
        return IdleOutcome::Pending;
    }
    if idle.alarm.as_mut().expect("made above").poll(host).is_ready() {
        idle.armed = None;
        drop(idle);
        root.read_clock();
        return IdleOutcome::Again;
    }
    IdleOutcome::Pending
}

/// The clock's reading, for those outside a root.
pub(crate) fn now_or(root: *const Root) -> Instant {
    if root.is_null() {
        crate::time::Clock::real_now()
    } else {
        // SAFETY: the context's root is held by this thread.
        unsafe { (*root).read_clock() }
    }
}
