//! What a change of the tree leaves to be done.
//!
//! Wakers, hooks and destructors are foreign code: they run after the tree is consistent again and no short hold is taken.
//! Until then they are collected here, in order. Most changes leave nothing, so that the list is a word that is null.

use super::node::SlotRef;
use super::root::Root;
use super::timers::Target;
use crate::cancel::ScopeShared;
use crate::inspect::Exit;
use crate::nursery::core::{CoreSlot, Panic};
use crate::task::TaskId;
use crate::task::header::Extras;
use crate::task::park::Parked;
use crate::task::wake::WakeRef;
use std::sync::Arc;

/// What runs, or may run, foreign code, and so has to wait until the tree is consistent and no short hold is taken.
pub(crate) enum Later {
    Wake(WakeRef),
    /// Ends a wait.
    Parked(Parked),
    /// Makes a root's host poll.
    Host(&'static Root),
    /// Tells the instrument of a task's end.
    Tell(Box<Exit>),
    /// Tells those who wait for a task's end.
    Exit(Box<Extras>, TaskId),
    Drop(#[expect(dead_code, reason = "only dropped")] Waste),
}

/// What only has to be dropped.
#[expect(dead_code, reason = "only dropped")]
pub(crate) enum Waste {
    Extras(Box<Extras>),
    Wake(WakeRef),
    Target(Target),
    Slot(SlotRef),
    Scope(Arc<ScopeShared>),
    Panic(Panic),
}

impl Later {
    fn run(self) {
        match self {
            Self::Wake(w) => w.wake(),
            Self::Parked(waiter) => waiter.wake(),
            Self::Host(root) => root.notify(),
            Self::Tell(exit) => exit.tell(),
            Self::Exit(extras, id) => extras.tell_exit(id),
            Self::Drop(_) => {}
        }
    }
}

/// What a change of the tree leaves to be done; done only after the tree is consistent again.
#[must_use]
#[expect(clippy::box_collection, reason = "one word: it is nearly always none, and returned everywhere")]
pub(crate) struct Wakes(Option<Box<Vec<Later>>>);

impl Wakes {
    #[inline(always)]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Is nothing left to be done?
    #[inline(always)]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn list(&mut self) -> &mut Vec<Later> {
        self.0.get_or_insert_default()
    }

    pub(crate) fn push(&mut self, later: Later) {
        self.list().push(later);
    }

    pub(crate) fn extend(&mut self, later: Option<Later>) {
        if let Some(later) = later {
            self.push(later);
        }
    }

    /// Has a nursery polled.
    pub(crate) fn parent(&mut self, core: &CoreSlot) {
        if let Some(parent) = core.take_notice() {
            self.push(Later::Wake(parent));
        }
    }

    pub(crate) fn waste(&mut self, waste: Option<Waste>) {
        if let Some(waste) = waste {
            self.push(Later::Drop(waste));
        }
    }

    #[inline(always)]
    pub(crate) fn append(&mut self, other: Wakes) {
        if let Some(mut more) = other.0 {
            self.list().append(&mut more);
        }
    }

    #[inline(always)]
    pub(crate) fn wake(self) {
        if let Some(list) = self.0 {
            each(*list, Later::run);
        }
    }
}

/// Does `f` with each, in order, also if it panics with one: that does not keep the others from being woken.
#[cold]
#[inline(never)]
pub(crate) fn each<T>(list: Vec<T>, f: fn(T)) {
    struct Rest<T>(std::vec::IntoIter<T>, fn(T));
    impl<T> Drop for Rest<T> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(self.1);
        }
    }
    let mut rest = Rest(list.into_iter(), f);
    for item in rest.0.by_ref() {
        f(item);
    }
}
