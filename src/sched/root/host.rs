//! What a root knows of its host: the settings of its run, with the handle of what serves it, and the waker that makes the host
//! poll.
//!
//! Invariants, for the holder:
//!
//! - the waker stands here as it does in the bell, or is about to, and its identity beside it, to be compared with: it lives for as
//!   long as it stands here;
//! - `handle` is where the handle of the settings is, which lives for as long as they stand here.

use super::{Root, Special};
use crate::run::Settings;
use crate::sched::node;
use crate::task::wake::Identity;
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::task::Waker;
use trine_backend::Handle;

impl Root {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone().expect("a root in use has settings")
    }

    pub(crate) fn with_settings<R>(&self, f: impl FnOnce(&Settings) -> R) -> R {
        f(self.settings.borrow().as_ref().expect("a root in use has settings"))
    }

    /// All that there is to a change of the settings; the old ones are for the caller to drop.
    pub(super) fn exchange_settings(&self, new: Option<Arc<Settings>>) -> Option<Arc<Settings>> {
        self.handle.set(new.as_ref().map_or(ptr::null(), |settings| settings.handle_address()));
        mem::replace(&mut *self.settings.borrow_mut(), new)
    }

    /// Whether this is the handle of the settings.
    pub(crate) fn is_handle(&self, handle: &Arc<dyn Handle>) -> bool {
        ptr::eq(self.handle.get(), Arc::as_ptr(handle).cast())
    }

    /// The waker that the bell has, or is about to get by a turn. Holder only.
    pub(in crate::sched) fn host(&self) -> Option<Arc<Waker>> {
        self.host.borrow().clone()
    }

    /// Whether this is the waker that the bell has. Holder only.
    pub(super) fn knows_host(&self, waker: &Waker) -> bool {
        self.host_identity.get() == Identity::of(waker)
    }

    /// True: there was another one. Runs foreign code, so nobody holds the root but for a moment.
    #[cold]
    pub(super) fn set_host(&self, waker: &Waker) -> bool {
        let new = Arc::new(waker.clone());
        let old = self.bell.set_host(Some(Arc::clone(&new)));
        let known = {
            let _hold = self.hold();
            self.host_identity.set(Identity::of(&new));
            self.host.replace(Some(new))
        };
        drop(known);
        old.is_some()
    }

    /// Whether the host lets a nursery poll another task after its first one, which it always polls: so a neighbour who
    /// spends the budget first cannot starve the tree, however deep what is runnable lies. A host that never said no is not
    /// asked: it costs one pass in vain to learn that it does, and most hosts have no say.
    #[inline(always)]
    pub(crate) fn host_has_budget(&self) -> bool {
        !self.host_limits.get() || self.ask_host()
    }

    #[inline(never)]
    pub(super) fn ask_host(&self) -> bool {
        let has_budget = self.with_settings(|s| s.has_budget());
        if !has_budget {
            self.host_limits.set(true);
            self.host_refused.set(true);
            if !self.is_special() {
                self.special.set(Special::Limited);
            }
        }
        has_budget
    }

    /// Looks again for what serves a tree that was given to nobody in particular: its executor may be another one, or
    /// what served it is gone. True: it is something else now. Everything that waits registers anew.
    #[cold]
    pub(in crate::sched) fn rehost(&self) -> bool {
        let Some(settings) = self.settings().moved() else { return false };
        let old = self.exchange_settings(Some(settings));
        let alarm = self.idle.borrow_mut().forget_alarm();
        // SAFETY: this thread holds the root; its main task is alive.
        let wakes = unsafe { node::wake_inside(self.main.get().cast()) };
        drop((old, alarm));
        wakes.wake();
        true
    }
}
