//! What happens at a deadline, in two words.
//!
//! A task or scope in the memory of the very root whose timer it is stands as a pointer and a generation, and is not
//! counted. That it may be followed:
//!
//! 1. A slot of a root's memory stays mapped, and of its kind, until the root's cell is recycled: the root has ended, and
//!    its count is zero.
//! 2. What falls due does so in a turn of the root, which is thus not ended, and is used up in that turn.
//! 3. `Root::end` takes all targets out and uses them while it still has the count that stands for the root itself.
//! 4. The targets of timers that were armed, or left, on a root that has ended are dropped, but never followed.
//!
//! A slot that was recycled meanwhile has another generation, and is left alone. Everything else (tasks and scopes in the
//! memory of another root, wakers of others) is counted and stands in a box.

use crate::cancel::slot::ScopeSlot;
use crate::sched::node::{Node, SlotRef};
use crate::sched::root::Root;
use crate::task::park::Plain;
use crate::task::wake::{self, WakeRef};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::task::Waker;

/// A scope is cancelled; else somebody is woken.
const SCOPE: usize = 1;
/// The pointer is a box, of a [`WakeRef`] or, of a scope, a [`SlotRef`].
const BOXED: usize = 2;
/// Free for the use of those who store it: pointers are aligned to 8 at least.
pub(super) const SPARE: usize = 4;
const TAGS: usize = SCOPE | BOXED | SPARE;

const _: () = assert!(align_of::<Node>() > SPARE && align_of::<WakeRef>() > SPARE && align_of::<SlotRef>() > SPARE);

/// See the module. Aligned as an entry of the heap is, so that a list of those can become one of these.
#[repr(align(16))]
pub(crate) struct Target {
    /// Tagged. Null: nothing happens.
    at: *const (),
    /// Of the slot, if it is not in a box.
    generation: u32,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("is_scope", &self.is_scope()).finish_non_exhaustive()
    }
}

impl Target {
    /// Wakes the task behind `waker`, or whoever it is of, at a deadline of `root`.
    #[inline(always)]
    pub(crate) fn wake_at(waker: &Waker, root: &Root) -> Self {
        match wake::header_of(waker) {
            // SAFETY: the waker keeps the slot mapped.
            Some(header) if unsafe { (*header).node.is_of(root) } => {
                // SAFETY: as above.
                Self { at: header.cast(), generation: unsafe { (*header).node.generation() } }
            }
            _ => Self::boxed(WakeRef::from_waker(waker)),
        }
    }

    /// As [`Target::wake_at`], for the task that waits, where that is plain.
    ///
    /// # Safety
    /// In the poll that it was found out in; the deadline is of the context's root.
    #[inline(always)]
    pub(crate) unsafe fn wake_plain(task: Plain) -> Self {
        let header = task.header();
        // SAFETY: by contract it is the task that is polled: alive, and at home in the root that this thread holds.
        Self { at: header.cast(), generation: unsafe { (*header).node.generation() } }
    }

    #[cold]
    fn boxed(waker: WakeRef) -> Self {
        Self::of_box(Box::into_raw(Box::new(waker)).cast_const().cast(), BOXED)
    }

    /// Cancels the scope at a deadline of `root`, its owner.
    ///
    /// # Safety
    /// `node` is the head of a scope's or nursery's slot in use.
    #[inline(always)]
    pub(crate) unsafe fn scope(node: &Node, root: &Root) -> Self {
        if node.is_of(root) {
            return Self {
                at: ptr::from_ref(node).cast::<()>().map_addr(|a| a | SCOPE),
                generation: node.generation(),
            };
        }
        // SAFETY: in use, hence mapped.
        Self::boxed_scope(unsafe { SlotRef::new(node) })
    }

    #[cold]
    fn boxed_scope(slot: SlotRef) -> Self {
        Self::of_box(Box::into_raw(Box::new(slot)).cast_const().cast(), BOXED | SCOPE)
    }

    fn of_box(at: *const (), tags: usize) -> Self {
        Self { at: at.map_addr(|a| a | tags), generation: 0 }
    }

    #[cfg(test)]
    pub(super) fn wake_foreign(waker: &Waker) -> Self {
        Self::boxed(WakeRef::from_waker(waker))
    }

    /// One that only a test looks at; its pointer leads nowhere.
    #[cfg(test)]
    pub(super) fn numbered(number: u32) -> Self {
        Self { at: ptr::without_provenance(TAGS + 1), generation: number }
    }

    #[cfg(test)]
    pub(super) fn number(&self) -> u32 {
        self.generation
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> *const () {
        self.at
    }

    pub(super) fn is_none(&self) -> bool {
        self.at.is_null()
    }

    /// The two parts, for [`Target::from_parts`].
    #[inline(always)]
    pub(super) fn into_parts(self) -> (*const (), u32) {
        let this = ManuallyDrop::new(self);
        (this.at, this.generation)
    }

    /// # Safety
    /// The parts are of one call of [`Target::into_parts`], with nothing but [`SPARE`] added, and are used here once.
    #[inline(always)]
    pub(super) unsafe fn from_parts(at: *const (), generation: u32) -> Self {
        Self { at: at.map_addr(|a| a & !SPARE), generation }
    }

    /// Of a first part: must the target be dropped?
    #[inline(always)]
    pub(super) fn is_boxed_part(at: *const ()) -> bool {
        at.addr() & BOXED != 0
    }

    #[inline(always)]
    pub(crate) fn is_scope(&self) -> bool {
        self.at.addr() & SCOPE != 0
    }

    #[inline(always)]
    fn is_boxed(&self) -> bool {
        Self::is_boxed_part(self.at)
    }

    #[inline(always)]
    fn pointer<T>(&self) -> *mut T {
        self.at.map_addr(|a| a & !TAGS).cast_mut().cast()
    }

    /// Wakes whom it is to wake. Runs foreign code if that is a foreign waker.
    ///
    /// # Safety
    /// It is of a timer of a root that has not ended, or is ending: of the context's, or see the module, 3.
    #[inline(always)]
    pub(crate) unsafe fn wake(self) {
        debug_assert!(!self.is_scope());
        if self.is_boxed() {
            self.wake_boxed();
        } else if !self.at.is_null() {
            let node = self.pointer::<Node>().cast_const();
            // SAFETY: mapped, by the contract and the module; of a task, since it is not a scope's.
            unsafe {
                if (*node).generation() == self.generation {
                    wake::wake_header(node.cast());
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_boxed(self) {
        let this = ManuallyDrop::new(self);
        // SAFETY: made by `boxed`, and given up here.
        let waker = unsafe { Box::from_raw(this.pointer::<WakeRef>()) };
        waker.wake();
    }

    /// Cancels the scope, if it is still there and still of `root`.
    ///
    /// # Safety
    /// It is a scope's ([`Target::is_scope`]), of a timer of `root`, which this thread holds.
    pub(crate) unsafe fn expire(&self, root: &Root) {
        debug_assert!(self.is_scope());
        // SAFETY: a box is as `boxed_scope` made it; a plain slot is mapped, by the contract and the module; timers refer
        // to the slots of scopes and nurseries only.
        unsafe {
            if self.is_boxed() {
                let slot = &*self.pointer::<SlotRef>();
                if slot.is_live() {
                    ScopeSlot::expire(slot.get(), root);
                }
            } else {
                let node = &*self.pointer::<Node>();
                if node.generation() == self.generation {
                    ScopeSlot::expire(node, root);
                }
            }
        }
    }
}

impl Drop for Target {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_boxed() {
            self.drop_box();
        }
    }
}

impl Target {
    #[cold]
    #[inline(never)]
    fn drop_box(&mut self) {
        // SAFETY: made by `boxed` or `boxed_scope`, and given up here.
        unsafe {
            if self.is_scope() {
                drop(Box::from_raw(self.pointer::<SlotRef>()));
            } else {
                drop(Box::from_raw(self.pointer::<WakeRef>()));
            }
        }
    }
}
