//! Wakers of those who ask for cancellation in a poll function of their own (`poll_cancelled`), and keep no state that
//! could take a registration back.
//!
//! Only wakers that are not the task's own need this: a cancel wakes the task in any case. Each is kept once, until the
//! cancel or the end of the frame: nobody can tell a waker with a future behind it from one without.

use super::context;
use super::wakes::{Wakes, Waste};
use crate::error::Cancelled;
use crate::task::park;
use crate::task::wake::{self, Identity, WakeRef};
use std::collections::HashMap;
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Default)]
pub(crate) struct Polled(HashMap<Identity, WakeRef>);

impl Polled {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all out, to be woken.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = WakeRef> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

/// Looks for cancellation; pending has seen to it that a cancel wakes `cx`.
pub(crate) fn poll_cancelled(cx: &mut Context<'_>) -> Poll<Cancelled> {
    context::count_look();
    if park::is_cancelled() {
        park::count_delivery();
        return Poll::Ready(park::cancelled());
    }
    let (task, node) = context::ambient(|a| (a.task.get(), a.node.get()));
    if !node.is_null() && wake::header_of(cx.waker()) != Some(task) {
        // SAFETY: the context's node is alive and held.
        unsafe { (*node).add_polled(cx.waker()) }.wake();
    }
    Poll::Pending
}

impl super::node::Node {
    /// Sees to it that a cancel wakes `waker`.
    fn add_polled(&self, waker: &Waker) -> Wakes {
        let identity = Identity::of(waker);
        let mut waste = Wakes::none();
        // Another task may live where one did that asked.
        if !self.with_polled(|polled| polled.0.get(&identity).is_some_and(WakeRef::is_live)) {
            // A clone may run foreign code, which must not find the list taken, and may come back here.
            let waker = WakeRef::from_waker(waker);
            let twin = self.with_polled(|polled| polled.0.insert(identity, waker));
            waste.waste(twin.map(Waste::Wake));
        }
        waste
    }
}
