//! The wait for a condition.
//!
//! 1. count against the step budget; a cancellation found here does not end the wait yet;
//! 2. queue at the condition, then unlock the mutex;
//! 3. a notification moves the wait to the mutex's queue, where it ends when it is handed the mutex;
//! 4. cancelled in step 1, 2 or 3: regain the mutex under a shield, then report the cancellation found.

use super::{Condition, Slot};
use crate::error::Cancelled;
use crate::sync::acquire::{Acquiring, leave};
use crate::sync::mutex::Guard;
use crate::sync::queue::Key;
use crate::sync::wait::{Place, Step, poll_queued, polled_after_end};
use crate::task::park::{Entry, Hold, Op, cancelled};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

const OP: Op = Op::ConditionWait;

#[derive(Debug)]
enum Phase {
    /// The guard holds the mutex.
    Start(Entry),
    /// In the condition's queue, without the mutex.
    Queued(Key),
    /// In the mutex's queue, notified.
    Notified { wait: Acquiring, key: Key, counted: bool },
    /// Cancelled, and waiting for the mutex under a shield. The hold lasts until the guard has the mutex: that of the
    /// wait itself ends when it is woken.
    Regaining { wait: Acquiring, cancelled: Cancelled, _hold: Hold },
    /// The guard holds the mutex again.
    Finished,
}

/// The state of one wait; condition and guard, always the same, are passed to each call.
#[derive(Debug)]
struct Waiting {
    phase: Phase,
    at: &'static Location<'static>,
}

impl Waiting {
    const fn new(at: &'static Location<'static>) -> Self {
        Self { phase: Phase::Start(Entry::new()), at }
    }

    fn poll<G: Guard>(
        &mut self,
        condition: &Condition,
        guard: &mut G,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cancelled>> {
        loop {
            match &mut self.phase {
                Phase::Start(entry) => {
                    assert!(guard.inside().is_held(), "`{OP}` needs a guard that holds its mutex");
                    match entry.poll(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(())) => {
                            if self.queue(condition, guard, cx) {
                                return Poll::Pending;
                            }
                        }
                        Poll::Ready(Err(cancelled)) => {
                            self.regain(cancelled);
                            guard.inside().release();
                        }
                    }
                }
                Phase::Queued(key) => {
                    let (step, _spare) = poll_queued(&condition.waits, *key, Place::new(OP, self.at), cx);
                    match step {
                        Step::Pending => return Poll::Pending,
                        Step::Done(slot) => self.phase = self.notified(&slot),
                        Step::Cancelled(_) => self.regain(cancelled()),
                        Step::Left(slot) => {
                            if self.requeue(condition, slot, cx) {
                                return Poll::Pending;
                            }
                        }
                    }
                }
                Phase::Notified { wait, .. } => match wait.poll(guard.inside().raw(), OP, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => return self.finish(guard, Ok(())),
                    Poll::Ready(Err(cancelled)) => self.regain(cancelled),
                },
                Phase::Regaining { wait, cancelled, .. } => match wait.poll(guard.inside().raw(), OP, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => {
                        let cancelled = cancelled.clone();
                        return self.finish(guard, Err(cancelled));
                    }
                },
                Phase::Finished => polled_after_end(OP),
            }
        }
    }

    /// Queues at the condition and unlocks; false if the wait is cancelled already.
    fn queue<G: Guard>(&mut self, condition: &Condition, guard: &mut G, cx: &mut Context<'_>) -> bool {
        let parked = Place::new(OP, self.at).park(cx);
        let queued = !parked.is_cancelled();
        if queued {
            let slot = Slot { lock: guard.inside().raw().share(), moved: None, counted: false };
            self.phase = Phase::Queued(condition.waits.with(|waits| waits.push_back(parked, slot)));
        } else {
            self.regain(cancelled());
        }
        guard.inside().release();
        queued
    }

    /// Queues at the condition again, elsewhere; false if the wait is cancelled there. The mutex stays unlocked.
    fn requeue(&mut self, condition: &Condition, slot: Slot, cx: &mut Context<'_>) -> bool {
        self.phase = Phase::Finished;
        let parked = Place::new(OP, self.at).park(cx);
        let queued = !parked.is_cancelled();
        if queued {
            self.phase = Phase::Queued(condition.waits.with(|waits| waits.push_back(parked, slot)));
        } else {
            self.regain(cancelled());
        }
        queued
    }

    fn notified(&self, slot: &Slot) -> Phase {
        let key = slot.moved.expect("a notified waiter has been moved");
        Phase::Notified { wait: Acquiring::queued(key, self.at), key, counted: slot.counted }
    }

    fn regain(&mut self, cancelled: Cancelled) {
        self.phase = Phase::Regaining { wait: Acquiring::regain(self.at), cancelled, _hold: Hold::take() };
    }

    fn finish<G: Guard>(&mut self, guard: &mut G, result: Result<(), Cancelled>) -> Poll<Result<(), Cancelled>> {
        self.phase = Phase::Finished;
        guard.inside().regained();
        Poll::Ready(result)
    }

    /// For the future's drop: leaves both queues, without the mutex, and passes a notification on.
    fn abandon<G: Guard>(&mut self, condition: &Condition, guard: &mut G) {
        let notified = match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::Start(_) | Phase::Finished => return,
            Phase::Regaining { mut wait, .. } => return wait.abandon(guard.inside().raw()),
            Phase::Notified { key, counted, .. } => Some((key, counted)),
            Phase::Queued(key) => {
                let (slot, _spare) = condition.waits.with(|waits| waits.remove(key));
                slot.moved.map(|key| (key, slot.counted))
            }
        };
        if let Some((key, counted)) = notified {
            leave(guard.inside().raw(), key);
            if counted {
                condition.notify(1);
            }
        }
    }
}

/// The future of [`Condition::wait`].
#[must_use = "futures do nothing unless awaited"]
pub struct ConditionWait<'a, G: Guard> {
    condition: &'a Condition,
    guard: &'a mut G,
    wait: Waiting,
}

impl<'a, G: Guard> ConditionWait<'a, G> {
    pub(super) const fn new(condition: &'a Condition, guard: &'a mut G, at: &'static Location<'static>) -> Self {
        Self { condition, guard, wait: Waiting::new(at) }
    }
}

impl<G: Guard> Future for ConditionWait<'_, G> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.wait.poll(this.condition, this.guard, cx)
    }
}

impl<G: Guard> Drop for ConditionWait<'_, G> {
    fn drop(&mut self) {
        self.wait.abandon(self.condition, self.guard);
    }
}

impl<G: Guard> fmt::Debug for ConditionWait<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionWait").field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// How far [`ConditionWaitWhile`] has got.
#[derive(Debug)]
enum Stage {
    Start(Entry),
    /// The guard holds the mutex, and the value is to be looked at.
    Look,
    Wait(Waiting),
    Finished,
}

/// The future of [`Condition::wait_while`].
#[must_use = "futures do nothing unless awaited"]
pub struct ConditionWaitWhile<'a, G: Guard, F> {
    condition: &'a Condition,
    guard: &'a mut G,
    is_so: F,
    stage: Stage,
    at: &'static Location<'static>,
}

impl<'a, G: Guard, F> ConditionWaitWhile<'a, G, F> {
    pub(super) const fn new(
        condition: &'a Condition,
        guard: &'a mut G,
        is_so: F,
        at: &'static Location<'static>,
    ) -> Self {
        Self { condition, guard, is_so, stage: Stage::Start(Entry::new()), at }
    }
}

/// The closure is never pinned.
impl<G: Guard, F> Unpin for ConditionWaitWhile<'_, G, F> {}

impl<G: Guard, F: FnMut(&mut G::Target) -> bool> Future for ConditionWaitWhile<'_, G, F> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Start(entry) => match entry.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => this.stage = Stage::Look,
                    Poll::Ready(Err(cancelled)) => {
                        this.stage = Stage::Finished;
                        return Poll::Ready(Err(cancelled));
                    }
                },
                Stage::Look => {
                    this.stage = Stage::Finished;
                    if !(this.is_so)(&mut **this.guard) {
                        return Poll::Ready(Ok(()));
                    }
                    this.stage = Stage::Wait(Waiting::new(this.at));
                }
                Stage::Wait(wait) => match wait.poll(this.condition, this.guard, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => this.stage = Stage::Look,
                    Poll::Ready(Err(cancelled)) => {
                        this.stage = Stage::Finished;
                        return Poll::Ready(Err(cancelled));
                    }
                },
                Stage::Finished => polled_after_end(Op::ConditionWaitWhile),
            }
        }
    }
}

impl<G: Guard, F> Drop for ConditionWaitWhile<'_, G, F> {
    fn drop(&mut self) {
        if let Stage::Wait(wait) = &mut self.stage {
            wait.abandon(self.condition, self.guard);
        }
    }
}

impl<G: Guard, F> fmt::Debug for ConditionWaitWhile<'_, G, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionWaitWhile").field("stage", &self.stage).finish_non_exhaustive()
    }
}
