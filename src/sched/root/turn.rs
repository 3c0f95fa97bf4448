//! A turn: one poll of a root's outermost future by its host.
//!
//! In this order, until nothing is runnable or a budget is spent: mail and wakes from outside are taken in, all timers that are
//! due expire, the main task is polled once (a pass), which runs each nursery's batches. What a pass began is given its
//! deadline after it, with one reading of the clock. A root where nothing can run is left to [`idle`].

use super::Root;
use crate::inspect::Tree;
use crate::sched::context::{self, Ambient, Frame};
use crate::sched::gate::Hold;
use crate::sched::idle::{self, IdleOutcome};
use crate::sched::remote::{self, Mail};
use crate::sched::timers::Target;
use crate::task::{header, wake};
use crate::time::Instant;
use std::mem;
use std::task::{Context, Poll};

/// What a turn came to.
pub(crate) enum Turn<T> {
    Ready(T),
    Pending,
    /// Virtual time, and nothing can ever happen again.
    Deadlock(Tree),
}

impl Root {
    /// One poll by the host. `asked`: the main task is to be polled for that alone.
    #[inline]
    pub(crate) fn turn<T>(
        &'static self,
        host: &mut Context<'_>,
        asked: bool,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Turn<T> {
        let mut hold = self.hold();
        let mut moved = false;
        if !self.knows_host(host.waker()) {
            drop(hold);
            moved = self.set_host(host.waker());
            hold = self.hold();
        }
        let result = self.held_turn(hold, host, asked, moved, poll);
        // Its host may never poll it again: mail that came last is not left to that.
        remote::sweep(self);
        result
    }

    fn held_turn<T>(
        &'static self,
        hold: Hold<'_, Mail>,
        host: &mut Context<'_>,
        mut asked: bool,
        moved: bool,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Turn<T> {
        // Dropped in the order that is the reverse of this: the result needs no place of its own meanwhile. (It is leaked if a host
        // panics when it is told that the turn has ended.)
        let _frame = Frame::enter_root(self);
        let _hold = hold;
        self.thread.store(context::pointer().cast_mut(), std::sync::atomic::Ordering::Relaxed);
        let main = self.main.get();
        context::ambient(|a| {
            a.task.set(main);
            a.node.set(main.cast());
        });
        let waker = wake::lend(main);
        let mut cx = Context::from_waker(&waker);
        self.host_refused.set(false);
        if self.is_timed.get() {
            self.is_timed.set(self.timers.borrow().pending() > 0);
        }
        // Without a timer nobody asks. One that is made in this turn is resolved with a reading of its own, or has its alarm.
        let is_asked = self.is_virtual.get() || self.pace.is_busy() || self.next_deadline().is_some();
        let began = is_asked.then(|| self.read_clock());
        self.set_budget(self.pace.begin_turn(began));
        if moved {
            self.rehost();
        }
        let _grant = self.host_limits.get().then(|| Grant::begin(self));
        loop {
            self.take_in();
            self.expire();
            // Asked by the host alone is no activity, or a look at the reactor that takes several polls would begin anew
            // at each.
            if mem::take(&mut asked) || self.main_woken.get() {
                if self.main_woken.replace(false) {
                    self.idle.borrow_mut().active();
                }
                // SAFETY: alive, held.
                unsafe { (*main).clear(header::QUEUED) };
                context::ambient(Ambient::freshen);
                if let Poll::Ready(value) = poll(&mut cx) {
                    break Turn::Ready(value);
                }
                self.budget.set(self.budget.get() - 1);
                if !self.paused.borrow().is_empty() {
                    let paused = mem::take(&mut *self.paused.borrow_mut());
                    drop(paused);
                }
                if self.is_timed.get() && self.timers.borrow().has_unresolved() {
                    let now = self.read_clock();
                    self.timers.borrow_mut().resolve(now);
                } else if self.is_virtual.get() {
                    self.read_clock();
                }
                if self.main_woken.get() {
                    if self.is_over() {
                        host.waker().wake_by_ref();
                        break Turn::Pending;
                    }
                    continue;
                }
            }
            if self.next_deadline().is_some_and(|d| d <= self.now.get()) {
                continue;
            }
            match idle::wait(self, host) {
                IdleOutcome::Again => continue,
                IdleOutcome::Pending => {
                    self.end_early(true);
                    if self.main_woken.get() {
                        // The backend's services wake while they are asked.
                        host.waker().wake_by_ref();
                    }
                    // Tasks that found the budget spent are woken after the turn: learn of it for the next one.
                    if !self.host_limits.get() {
                        self.ask_host();
                    }
                    break Turn::Pending;
                }
                IdleOutcome::Deadlock => break Turn::Deadlock(crate::inspect::tree()),
            }
        }
    }

    /// Does the turn end, though there is more to run?
    #[inline(always)]
    fn is_over(&self) -> bool {
        if self.budget.get() < 0 && !self.goes_on() {
            // To learn whether the host limits at all.
            if !self.host_limits.get() {
                self.ask_host();
            }
            return true;
        }
        let is_refused = self.host_refused.get() || !self.ask_host();
        if is_refused {
            self.end_early(false);
        }
        is_refused
    }

    /// The budget is spent. True: the turn goes on, with another one.
    #[cold]
    #[inline(never)]
    pub(crate) fn goes_on(&self) -> bool {
        if self.pace.is_over() || self.is_virtual.get() || self.host_refused.get() {
            return false;
        }
        // One that has said no before is asked before each poll.
        if !self.host_limits.get() && !self.ask_host() {
            return false;
        }
        let polls = self.pace.next_stretch(self.read_clock());
        polls.inspect(|polls| self.set_budget(*polls)).is_some()
    }

    fn set_budget(&self, polls: u32) {
        // After the next one.
        self.budget.set(polls as i32 - 1);
    }

    /// The turn ends before its budget is spent.
    fn end_early(&self, rests: bool) {
        if !self.is_virtual.get() {
            let unused = u32::try_from(self.budget.get() + 1).unwrap_or(0);
            self.pace.end_early(unused, rests, || self.read_clock());
        }
    }

    /// Cancels the scopes and wakes the sleepers whose time has come: all of them, before any task runs.
    #[inline(always)]
    fn expire(&self) {
        let now = self.now.get();
        if self.next_deadline().is_some_and(|d| d <= now) {
            self.expire_due(now);
        }
    }

    #[inline(never)]
    fn expire_due(&self, now: Instant) {
        let only = self.timers.borrow_mut().take_only_due(now);
        let due = match only {
            // SAFETY: this thread holds the root, in a turn; the timer is the root's.
            Some(target) if target.is_scope() => return unsafe { target.expire(self) },
            // SAFETY: as above.
            Some(target) => return unsafe { target.wake() },
            None => self.timers.borrow_mut().take_due(now),
        };
        Due { root: self, targets: due.into_iter(), looked_at: 0 }.run();
    }

    fn take_in(&self) {
        if self.bell.silence() {
            // A cancel that a thread left before it woke a task comes first.
            // SAFETY: this thread holds the root, which is the context's.
            unsafe { remote::drain_after(self, || self.take_in_if_notified()) };
        }
    }
}

/// What a host that limits grants a turn, until its end.
struct Grant<'a>(&'a Root);

impl<'a> Grant<'a> {
    fn begin(root: &'a Root) -> Self {
        root.with_settings(|s| s.begin_turn());
        Self(root)
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.0.with_settings(|s| s.end_turn());
    }
}

/// Timers that are due together: first all scopes are cancelled, then all sleepers are woken, also if a waker panics.
struct Due<'a> {
    root: &'a Root,
    targets: std::vec::IntoIter<Target>,
    /// How many have been looked at for scopes.
    looked_at: usize,
}

impl Due<'_> {
    fn run(&mut self) {
        while let Some(target) = self.targets.as_slice().get(self.looked_at) {
            self.looked_at += 1;
            if target.is_scope() {
                // SAFETY: made in a turn, by the thread that holds the root; the timers are the root's.
                unsafe { target.expire(self.root) };
            }
        }
        for target in self.targets.by_ref().filter(|target| !target.is_scope()) {
            // SAFETY: as above.
            unsafe { target.wake() };
        }
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        self.run();
    }
}
