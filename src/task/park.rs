//! The contract between a waiting operation and the scheduler: what every checkpoint operation does on
//! entry ([`Entry`]), and what it leaves behind while it waits ([`Parked`]).
//!
//! The life of a checkpoint operation:
//!
//! 1. poll its [`Entry`] until it is ready: this looks for cancellation, then counts against the step budget;
//! 2. try the operation; if it can complete, return;
//! 3. make a [`Parked`] (before taking any lock), put it into the queue under the lock, return `Pending`;
//! 4. whoever completes the wait takes the first entry whose `Parked` is not cancelled, stores the result, takes the
//!    `Parked` out, drops the lock and only then calls [`Parked::wake`];
//! 5. when polled again: a stored result is returned even if the scope is cancelled by now (completed beats
//!    cancelled); else, if [`Parked::is_cancelled`], the entry is removed and `Err(cancelled())` returned; else, if
//!    `!parked.is_current(cx)`, the entry gets a fresh `Parked` (made with the lock released) via [`Parked::renew`].

use crate::error::Cancelled;
use std::panic::Location;
use std::task::{Context, Poll};

/// The entry check of a checkpoint operation: cancellation first, then the step budget.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    yielded: bool,
}

impl Entry {
    pub(crate) const fn new() -> Self {
        Self { yielded: false }
    }

    /// `Ready(Err)`: a scope around is cancelled, nothing must be done. `Ready(Ok)`: attempt the operation now, in
    /// this same poll. `Pending`: the step budget is spent, poll again. After `Ready(Ok)` it is not polled again.
    pub(crate) fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        todo!()
    }
}

/// The error for an operation that found itself cancelled, with the reason of the scope that is responsible.
pub(crate) fn cancelled() -> Cancelled {
    todo!()
}

/// A wait in progress: whom to wake, and whether the wait was cancelled meanwhile. `Send + Sync`.
///
/// Making, waking and dropping one may run foreign waker code: never with a lock held.
#[derive(Debug)]
pub(crate) struct Parked {}

impl Parked {
    /// A wait that cancellation ends. `op` (as `"channel::recv"`) and `at` are what the task tree shows.
    pub(crate) fn new(_cx: &mut Context<'_>, _op: &'static str, _at: &'static Location<'static>) -> Self {
        todo!()
    }

    /// A wait that cancellation does not end ([`Parked::is_cancelled`] is always false); it holds its scopes open.
    pub(crate) fn shielded(_cx: &mut Context<'_>, _op: &'static str, _at: &'static Location<'static>) -> Self {
        todo!()
    }

    /// Was the wait cancelled since it began (sticky, also if a shield went up meanwhile)? Any thread; reads two
    /// atomics and takes no lock, so it may be called with one held.
    pub(crate) fn is_cancelled(&self) -> bool {
        todo!()
    }

    /// Is this still right for a poll with this context (same waker, same scope)? May be called with a lock held.
    pub(crate) fn is_current(&self, _cx: &Context<'_>) -> bool {
        todo!()
    }

    /// A replacement for this wait after the future was polled with another waker or under another scope; the same
    /// kind, operation and place. Not with a lock held.
    pub(crate) fn renew(
        shielded: bool,
        cx: &mut Context<'_>,
        op: &'static str,
        at: &'static Location<'static>,
    ) -> Self {
        if shielded { Self::shielded(cx, op, at) } else { Self::new(cx, op, at) }
    }

    /// Ends the wait and wakes the task. Not with a lock held.
    pub(crate) fn wake(self) {
        todo!()
    }
}
