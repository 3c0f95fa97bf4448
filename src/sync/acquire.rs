//! The wait for a unit of a [`Pool`](super::pool::Pool): what the futures of mutex, semaphore and limiter wrap.
//!
//! 1. look for cancellation and count against the step budget, unless it is a shielded regain;
//! 2. take a unit if one is left: one lock;
//! 3. else queue: one more lock, in which a unit is looked for again;
//! 4. when polled again: a unit that was handed over is kept even if the scope is cancelled by now.

use super::pool::{Left, PoolCell, WaitsOf};
use super::queue::Key;
use super::wait::{Place, Step, poll_queued, polled_after_end};
use crate::error::Cancelled;
use crate::task::park::{Entry, Op, cancelled};
use std::panic::Location;
use std::task::{Context, Poll};

#[derive(Debug)]
enum Phase {
    /// The entry check is not done yet.
    Start(Entry),
    /// To be attempted without an entry check.
    Attempt,
    Queued(Key),
    Finished,
}

/// A wait for one unit. The pool, always the same one, is passed to each call.
#[derive(Debug)]
pub(crate) struct Acquiring {
    phase: Phase,
    shielded: bool,
    at: &'static Location<'static>,
}

impl Acquiring {
    /// A wait that is a checkpoint.
    pub(crate) const fn new(at: &'static Location<'static>) -> Self {
        Self { phase: Phase::Start(Entry::new()), shielded: false, at }
    }

    /// A wait that cancellation neither prevents nor ends.
    pub(crate) const fn regain(at: &'static Location<'static>) -> Self {
        Self { phase: Phase::Attempt, shielded: true, at }
    }

    /// A wait that is queued already.
    pub(crate) const fn queued(key: Key, at: &'static Location<'static>) -> Self {
        Self { phase: Phase::Queued(key), shielded: false, at }
    }

    /// Polls the wait; with `Ok`, a unit is taken.
    ///
    /// # Panics
    ///
    /// If it has finished.
    #[inline]
    pub(crate) fn poll<P: PoolCell>(&mut self, pool: &P, op: Op, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        match &mut self.phase {
            Phase::Start(entry) => match entry.poll(cx) {
                Poll::Ready(Ok(())) => self.attempt(pool, op, cx),
                Poll::Ready(Err(cancelled)) => {
                    self.phase = Phase::Finished;
                    Poll::Ready(Err(cancelled))
                }
                Poll::Pending => Poll::Pending,
            },
            Phase::Attempt => self.attempt(pool, op, cx),
            Phase::Queued(key) => {
                let place = Place { op, at: self.at, shielded: self.shielded };
                let (step, _spare) = poll_queued(&WaitsOf(pool), *key, place, cx);
                if !step.is_pending() {
                    self.phase = Phase::Finished;
                }
                match step {
                    Step::Pending => Poll::Pending,
                    Step::Done(()) => Poll::Ready(Ok(())),
                    Step::Cancelled(()) => Poll::Ready(Err(cancelled())),
                    Step::Left(()) => {
                        self.phase = Phase::Start(Entry::new());
                        self.poll(pool, op, cx)
                    }
                }
            }
            Phase::Finished => polled_after_end(op),
        }
    }

    /// Gives the wait up; a unit that was handed over goes on to the next. For the future's drop.
    #[inline]
    pub(crate) fn abandon<P: PoolCell>(&mut self, pool: &P) {
        if let Phase::Queued(key) = self.phase {
            self.phase = Phase::Finished;
            leave(pool, key);
        }
    }

    #[inline]
    fn attempt<P: PoolCell>(&mut self, pool: &P, op: Op, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        self.phase = Phase::Finished;
        if pool.with_pool(|pool| pool.try_take()) {
            return Poll::Ready(Ok(()));
        }
        self.queue(pool, op, cx)
    }

    fn queue<P: PoolCell>(&mut self, pool: &P, op: Op, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        let parked = Place { op, at: self.at, shielded: self.shielded }.park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Err(cancelled()));
        }
        match pool.with_pool(|pool| pool.take_or_queue(parked)) {
            Ok(_unused) => Poll::Ready(Ok(())),
            Err(key) => {
                self.phase = Phase::Queued(key);
                Poll::Pending
            }
        }
    }
}

/// Takes a queued wait out and hands on what it may have got.
pub(crate) fn leave<P: PoolCell>(pool: &P, key: Key) {
    match pool.with_pool(|pool| pool.leave(key)) {
        Left::Unserved(_parked) => {}
        Left::Served(next) => {
            if let Some(parked) = next {
                parked.wake();
            }
        }
    }
}
