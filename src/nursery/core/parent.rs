//! Who polls a nursery, and so is woken for it; how such a poll begins and ends.
//!
//! Invariants, for the holder of the owner:
//!
//! - `parent` is whom the last poll was for; it keeps a task's slot mapped, though the task may have ended;
//! - `parent_task` is null, or the task of `around`, in the slot that `parent` is about; the generation there may be another's
//!   by now. It is null while the nursery is busy.

use super::CoreSlot;
use crate::sched::context;
use crate::sched::node::{Node, SlotRef};
use crate::sched::root::Root;
use crate::task::header::{self, Climbed, Header};
use crate::task::wake::{self, WakeRef};
use std::ptr;
use std::task::Context;

impl CoreSlot {
    /// A poll of the nursery begins.
    pub(crate) fn begin_poll(&self, cx: &Context<'_>) {
        let task = context::task();
        if !self.is_parent(task, cx) {
            self.set_parent(cx, task);
        }
        self.awake();
        self.set_busy(false);
    }

    /// Is it polled by whom it was polled before, in the same scope, and not busy? Then its poll has no more to begin with.
    #[inline(always)]
    pub(crate) fn is_polled_as_before(&self, cx: &Context<'_>) -> bool {
        let node = &self.scope.node;
        // First of all: it may be another thread's, who must not be read along with.
        node.is_at_home_here() && node.parent.get() == context::node() && self.is_parent(context::task(), cx)
    }

    /// As [`CoreSlot::end_poll`], and sees to what follows from it.
    pub(crate) fn end_poll_pending(&self) {
        if self.end_poll() {
            self.wake_parent();
            if self.scope.node.is_effective() {
                self.set_busy(true);
            }
        }
    }

    /// A poll of the nursery ends. True: it is to be polled again, since some tasks are queued.
    #[inline(always)]
    pub(crate) fn end_poll(&self) -> bool {
        let more = self.has_ready();
        if !more {
            self.sleep();
        }
        more
    }

    /// The parent, if it is a task that is at home here, which is then to be queued.
    #[inline(always)]
    pub(crate) fn parent_at_home(&self) -> Option<&Header> {
        self.parent_if(Node::is_at_home_here)
    }

    /// As [`CoreSlot::parent_at_home`], in `root`, which this thread holds for a moment.
    #[inline(always)]
    pub(crate) fn parent_at_home_in(&self, root: &Root) -> Option<&Header> {
        self.parent_if(|node| node.is_at_home(root))
    }

    #[inline(always)]
    fn parent_if(&self, is_at_home: impl FnOnce(&Node) -> bool) -> Option<&Header> {
        // SAFETY: `parent` keeps it mapped. Should another task live there by now that does not poll this nursery, it is woken for
        // nothing: then the nursery was moved away from its task, and is polled by whoever has it before it waits again.
        let task = unsafe { self.parent_task.get().as_ref()? };
        is_at_home(&task.node).then_some(task)
    }

    /// Tells a parent that is no task, or not at home here. If it is one that this thread may queue, it comes back for that.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_parent(&self) -> Option<&Header> {
        let parent = self.parent()?;
        if let WakeRef::Task(task) = &parent {
            // Its waker would find that out, too, but with a call for each level of a tree.
            if task.get().is_here() {
                // SAFETY: a task's node heads its header; `parent` keeps it mapped.
                return Some(unsafe { &*task.as_ptr().cast() });
            }
        }
        parent.wake();
        None
    }

    /// Wakes the nursery. Whom to tell comes back, for later.
    pub(crate) fn take_notice(&self) -> Option<WakeRef> {
        if self.awake() { self.parent() } else { None }
    }

    /// Wakes the nursery, all the way up.
    pub(crate) fn wake(&self) {
        if self.awake() {
            self.wake_parent();
        }
    }

    /// Has the parent poll the nursery, which is awake, all the way up.
    #[inline(never)]
    pub(crate) fn wake_parent(&self) {
        let mut core = self;
        while let Some(parent) = core.parent_at_home().or_else(|| core.tell_parent()) {
            // SAFETY: returned only if this thread holds its owner.
            match unsafe { header::climb(parent) } {
                Climbed::Done => return,
                // SAFETY: as above.
                Climbed::Apart(h) => return unsafe { header::wake_apart(h) },
                Climbed::Nursery(above) => core = above,
            }
        }
    }

    /// Is it this task that is to be woken? No, if it is none.
    #[inline(always)]
    fn is_parent(&self, task: *const Header, cx: &Context<'_>) -> bool {
        self.parent_task.get() == task && wake::header_of(cx.waker()) == Some(task)
    }

    #[inline(never)]
    fn set_parent(&self, cx: &Context<'_>, around: *const Header) {
        self.around.set(around);
        let task = wake::header_of(cx.waker());
        // One that is polled with another's waker has no short way.
        self.parent_task.set(task.filter(|task| *task == around).unwrap_or(ptr::null()));
        // SAFETY: not borrowed: nothing that runs with it borrowed comes here.
        if let (Some(task), true) = (task, unsafe { (*self.parent.as_ptr()).is_none() }) {
            // The first one, most often the only one.
            // SAFETY: the waker keeps the slot mapped. The place has nothing to drop.
            unsafe { ptr::write(self.parent.as_ptr(), Some(WakeRef::Task(SlotRef::new(task.cast())))) };
            return;
        }
        if self.parent.borrow().as_ref().is_some_and(|p| p.will_wake(cx.waker())) {
            return;
        }
        let old = self.parent.replace(Some(WakeRef::from_waker(cx.waker())));
        drop(old);
    }

    /// Whom to wake for the nursery to be polled, if there is somebody.
    pub(crate) fn parent(&self) -> Option<WakeRef> {
        let task = self.parent_task.get();
        if task.is_null() {
            return self.parent.borrow().clone().filter(WakeRef::is_live);
        }
        // Whoever lives there now.
        // SAFETY: `parent` keeps it mapped.
        Some(WakeRef::Task(unsafe { SlotRef::new(task.cast()) }))
    }
}
