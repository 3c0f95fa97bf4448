//! The ready queue of a nursery, whose end also says whether the nursery is awake.
//!
//! Invariants, for the holder of the owner:
//!
//! - the tail is the last task that is queued; if none is, it is [`AWAKE`] while the nursery is awake, and else null;
//! - what is between head and tail is linked by the tasks' own words; the last one has no link, and the head means nothing
//!   while nothing is queued.

use super::CoreSlot;
use crate::task::header::Header;
use std::ptr;

/// Of an awake nursery without queued tasks: no task, and not null.
pub(in crate::nursery) const AWAKE: *const Header = ptr::without_provenance(1);

impl CoreSlot {
    /// Queues a task. True: it has woken the nursery, whose parent must be [told](Self::tell_parent).
    #[inline(always)]
    #[must_use]
    pub(crate) fn push_ready(&self, h: &Header) -> bool {
        let tail = self.tail.replace(h);
        if tail > AWAKE {
            // SAFETY: queued tasks are alive.
            unsafe { (*tail).set_next_ready(h) };
            return false;
        }
        self.head.set(h);
        tail.is_null()
    }

    #[inline(always)]
    pub(crate) fn is_awake(&self) -> bool {
        !self.tail.get().is_null()
    }

    /// It is awake from now on. True: it was not.
    #[inline(always)]
    pub(crate) fn awake(&self) -> bool {
        let was_asleep = !self.is_awake();
        if was_asleep {
            self.tail.set(AWAKE);
        }
        was_asleep
    }

    /// A poll of the nursery ends, and no task is queued.
    #[inline(always)]
    pub(crate) fn sleep(&self) {
        debug_assert!(!self.has_ready());
        self.tail.set(ptr::null());
    }

    /// Takes the whole queue, which is not empty.
    #[inline(always)]
    pub(in crate::nursery) fn take_ready(&self) -> Ready {
        Ready { next: self.head.get(), last: self.tail.replace(AWAKE) }
    }

    /// Puts tasks in front of the queue again, of which there are some.
    pub(in crate::nursery) fn put_back(&self, tasks: &Ready) {
        debug_assert!(!tasks.is_over());
        if self.has_ready() {
            // SAFETY: queued tasks are alive.
            unsafe { (*tasks.last).set_next_ready(self.head.get()) };
        } else {
            self.tail.set(tasks.last);
        }
        self.head.set(tasks.next);
    }

    #[inline(always)]
    pub(crate) fn has_ready(&self) -> bool {
        self.tail.get() > AWAKE
    }

    /// Takes the only task that can be queued (a pending `start` has one).
    pub(crate) fn unqueue_all(&self) {
        if self.has_ready() {
            self.tail.set(AWAKE);
        }
    }
}

/// Tasks that were taken off a ready queue, in order. They are still `QUEUED`.
pub(in crate::nursery) struct Ready {
    /// Null if it is over.
    next: *const Header,
    last: *const Header,
}

impl Ready {
    #[inline(always)]
    pub(in crate::nursery) fn is_over(&self) -> bool {
        self.next.is_null()
    }

    /// The next one. It is in none of these any more.
    ///
    /// # Safety
    /// It is not over.
    #[inline(always)]
    pub(in crate::nursery) unsafe fn next(&mut self) -> *const Header {
        debug_assert!(!self.is_over());
        let at = self.next;
        // SAFETY: by contract; queued tasks are alive; it is not the last one.
        self.next = if ptr::eq(at, self.last) { ptr::null() } else { unsafe { (*at).next_ready() } };
        at
    }
}
