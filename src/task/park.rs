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

use crate::cancel::region::ROUNDS;
use crate::cancel::slot::ScopeSlot;
use crate::error::{Cancelled, Reason, ReasonKind};
use crate::sched::context::{self, STEPS};
use crate::sched::node::{self, Kind, Node, SlotRef};
use crate::sched::remote::{self, Mail};
use crate::task::header::Wait;
use crate::task::wake::{self, WakeRef};
use std::fmt;
use std::panic::Location;
use std::task::{Context, Poll};

/// Deliveries of `Cancelled` within one poll of a task before a checkpoint makes a loop that ignores them yield.
const DELIVERIES: u32 = 1000;

/// The entry check of a checkpoint operation: cancellation first, then the step budget.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    yielded: bool,
    hold: Option<Hold>,
}

impl Entry {
    pub(crate) const fn new() -> Self {
        Self { yielded: false, hold: None }
    }

    /// `Ready(Err)`: a scope around is cancelled, nothing must be done. `Ready(Ok)`: attempt the operation now, in
    /// this same poll. `Pending`: the step budget is spent, poll again. After `Ready(Ok)` it is not polled again.
    #[inline(always)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        if is_cancelled() {
            return self.deliver(cx);
        }
        if self.yielded {
            return Poll::Ready(Ok(()));
        }
        let left = context::ambient(|a| {
            let left = a.steps.get();
            a.steps.set(left.wrapping_sub(1));
            left
        });
        if left == 0 {
            return self.pause(cx);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        context::ambient(|a| a.steps.set(STEPS));
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[cold]
    fn deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        self.hold = None;
        let delivered = context::ambient(|a| {
            a.delivered.set(a.delivered.get() + 1);
            a.delivered.get()
        });
        if delivered > DELIVERIES {
            // A loop that ignores cancellation: let others run; after so many rounds let the scope drop it.
            let node = context::node();
            // SAFETY: effective, hence not null; the context's node is alive and held.
            let rounds = unsafe { &(*node).rounds };
            if rounds.get() < ROUNDS {
                rounds.set(rounds.get() + 1);
                self.hold = Some(Hold::take());
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        count_delivery();
        Poll::Ready(Err(cancelled()))
    }
}

/// Looks at the innermost scope; takes in what another thread has cancelled.
#[inline(always)]
pub(crate) fn is_cancelled() -> bool {
    context::ambient(|a| {
        let node = a.node.get();
        if node.is_null() {
            return false;
        }
        // SAFETY: the context's root is held by this thread, its node is alive.
        unsafe {
            let root = a.root.get();
            if !root.is_null() {
                (*root).take_in_if_notified();
            }
            (*node).is_effective()
        }
    })
}

/// Records that somebody was told of a cancellation.
pub(crate) fn count_delivery() {
    let root = context::root();
    if !root.is_null() {
        // SAFETY: the context's root is held by this thread.
        unsafe { (*root).deliveries.set((*root).deliveries.get() + 1) };
    }
}

/// The error for an operation that found itself cancelled, with the reason of the scope that is responsible.
#[cold]
pub(crate) fn cancelled() -> Cancelled {
    Cancelled::new(reason_of(context::node()))
}

/// The reason of the nearest scope that was cancelled itself.
fn reason_of(mut at: *const Node) -> Reason {
    while !at.is_null() {
        // SAFETY: the context's node and its parents are alive and held.
        let node = unsafe { &*at };
        if node.is_called() {
            return match node.kind {
                // SAFETY: the kind says so.
                Kind::Scope | Kind::Nursery => unsafe { ScopeSlot::of(node) }
                    .reason
                    .borrow()
                    .clone()
                    .unwrap_or_else(|| Reason::new(ReasonKind::Explicit)),
                Kind::Task | Kind::Group => Reason::new(ReasonKind::Explicit),
            };
        }
        at = node.parent.get();
    }
    Reason::new(ReasonKind::Explicit)
}

/// An uncancellable section: the scopes around wait for it. Given back on drop, also on another thread.
pub(crate) struct Hold(Option<SlotRef>);

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

impl Hold {
    pub(crate) fn take() -> Self {
        let node = context::node();
        if node.is_null() {
            return Self(None);
        }
        // SAFETY: the context's node is alive and held; contexts never name a group.
        unsafe {
            node::hold(node, 1);
            Self(Some(SlotRef::new(node)))
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(slot) = self.0.take() else { return };
        if !slot.is_live() {
            return;
        }
        let owner = slot.get().owner();
        if !owner.is_null() {
            // SAFETY: an owner is a root cell.
            unsafe { remote::perform(owner, Mail::Release(slot)) };
        }
    }
}

/// A wait in progress: whom to wake, and whether the wait was cancelled meanwhile. `Send + Sync`.
///
/// Making, waking and dropping one may run foreign waker code: never with a lock held.
pub(crate) struct Parked {
    waker: WakeRef,
    /// The scope that the wait began in, and its stamp then.
    node: Option<(SlotRef, u64)>,
    /// The wait's own registration with the scope, if its waker is not the task's.
    foreign: Option<u64>,
    hold: Option<Hold>,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl Parked {
    /// A wait that cancellation ends. `op` (as `"channel::recv"`) and `at` are what the task tree shows.
    #[inline]
    pub(crate) fn new(cx: &mut Context<'_>, op: &'static str, at: &'static Location<'static>) -> Self {
        let waker = WakeRef::from_waker(cx.waker());
        let (node, foreign) = context::ambient(|a| {
            let (task, node) = (a.task.get(), a.node.get());
            if !task.is_null() {
                // SAFETY: the context's task is alive and held.
                unsafe { (*task).wait.set(Some(Wait { op, at })) };
            }
            if node.is_null() {
                return (None, None);
            }
            // SAFETY: the context's node is alive and held.
            unsafe {
                let own = wake::header_of(cx.waker()).is_some_and(|h| h == task);
                let foreign = if own { None } else { Some((*node).add_foreign(waker.clone())) };
                (Some((SlotRef::new(node), (*node).stamp())), foreign)
            }
        });
        Self { waker, node, foreign, hold: None }
    }

    /// A wait that cancellation does not end ([`Parked::is_cancelled`] is always false); it holds its scopes open.
    pub(crate) fn shielded(cx: &mut Context<'_>, op: &'static str, at: &'static Location<'static>) -> Self {
        let task = context::task();
        if !task.is_null() {
            // SAFETY: the context's task is alive and held.
            unsafe { (*task).wait.set(Some(Wait { op, at })) };
        }
        Self { waker: WakeRef::from_waker(cx.waker()), node: None, foreign: None, hold: Some(Hold::take()) }
    }

    /// Was the wait cancelled since it began (sticky, also if a shield went up meanwhile)? Any thread; reads two
    /// atomics and takes no lock, so it may be called with one held.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        let Some((slot, began)) = &self.node else { return false };
        let stamp = slot.get().stamp();
        if stamp == *began {
            // Never told; a wait that began in a cancelled scope (only a condition's does) is cancelled from the start.
            return slot.get().is_effective();
        }
        (stamp >> 32) == (*began >> 32)
    }

    /// Is this still right for a poll with this context (same waker, same scope)? May be called with a lock held.
    #[inline]
    pub(crate) fn is_current(&self, cx: &Context<'_>) -> bool {
        let same_node = match &self.node {
            Some((slot, _)) => slot.as_ptr() == context::node() && slot.is_live(),
            None => self.hold.is_some() || context::node().is_null(),
        };
        same_node && self.waker.will_wake(cx.waker())
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
    #[inline]
    pub(crate) fn wake(self) {
        self.waker.wake_by_ref();
    }
}

impl Drop for Parked {
    #[inline]
    fn drop(&mut self) {
        if let (Some(key), Some((slot, _))) = (self.foreign, self.node.take()) {
            forget_foreign(slot, key);
        }
    }
}

#[cold]
fn forget_foreign(slot: SlotRef, key: u64) {
    let owner = slot.get().owner();
    if slot.is_live() && !owner.is_null() {
        // SAFETY: an owner is a root cell.
        unsafe { remote::perform(owner, Mail::EndForeign(slot, key)) };
    }
}
