//! Intrusive stacks that any thread pushes on, and one at a time takes whole.

use super::sync::{AtomicPtr, AtomicU32, Ordering};
use std::ptr;

/// A stack whose links are the pusher's business.
pub(crate) struct Pile<T>(AtomicPtr<T>);

impl<T> Pile<T> {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// `link` makes `item` point to what was on top; it may be called several times.
    pub(crate) fn push(&self, item: *const T, link: impl Fn(*const T)) {
        let mut top = self.0.load(Ordering::Relaxed);
        loop {
            link(top);
            // Acquire, too: the pusher learns from it that the stack's owner has stopped taking.
            match self.0.compare_exchange_weak(top, item.cast_mut(), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// As [`Pile::take`], for one who may as well miss what comes at this moment.
    pub(crate) fn take_if_any(&self) -> *const T {
        if self.has_any() { self.take() } else { ptr::null() }
    }

    /// Is there something? As it was a moment ago.
    #[inline(always)]
    pub(crate) fn has_any(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything.
    pub(crate) fn take(&self) -> *const T {
        self.0.swap(ptr::null_mut(), Ordering::AcqRel)
    }

    /// Forgets everything; for the only one who knows the stack.
    pub(crate) fn clear(&self) {
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// What an item of a [`Stack`] carries.
pub(crate) trait Linked: Sized {
    /// The item below, if it is on a stack.
    fn next(&self) -> &AtomicPtr<Self>;
    fn place(&self) -> &Place;
}

/// The number of the stack that an item is on; 0: none.
#[repr(transparent)]
pub(crate) struct Place(AtomicU32);

/// May an item go on a stack?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Yes: the caller must push it.
    Granted,
    /// It is on that stack: whoever takes it will see what the caller did before.
    There,
    /// It is on another stack, whose owner may take its time.
    Elsewhere,
}

impl Place {
    /// On none. (A node is made with it otherwise, as a rule.)
    #[cfg(any(loom, not(target_endian = "little")))]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Asks for the only place on a stack.
    #[inline(always)]
    pub(crate) fn admit(&self, stack: u32) -> Admission {
        match self.0.compare_exchange(0, stack, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Admission::Granted,
            Err(on) => self.admit_again(on, stack),
        }
    }

    /// It was on a stack.
    #[cold]
    fn admit_again(&self, mut on: u32, stack: u32) -> Admission {
        loop {
            // A read-modify-write also if it is there already: its taker must see what the caller did.
            let new = if on == 0 { stack } else { on };
            match self.0.compare_exchange(on, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(0) => return Admission::Granted,
                Ok(_) if on == stack => return Admission::There,
                Ok(_) => return Admission::Elsewhere,
                Err(now) => on = now,
            }
        }
    }
}

/// A stack on which an item can be once, of all stacks together.
pub(crate) struct Stack<T>(Pile<T>);

impl<T: Linked> Stack<T> {
    pub(crate) fn new() -> Self {
        Self(Pile::new())
    }

    /// # Safety
    /// The item was [admitted](Place::admit) by the caller, and stays alive until it has been taken.
    pub(crate) unsafe fn push(&self, item: *const T) {
        // SAFETY: alive by contract.
        let next = unsafe { (*item).next() };
        self.0.push(item, |top| next.store(top.cast_mut(), Ordering::Relaxed));
    }

    pub(crate) fn take(&self) -> Taken<T> {
        Taken(self.0.take())
    }
}

/// What was taken from a stack.
pub(crate) struct Taken<T>(*const T);

impl<T: Linked> Taken<T> {
    /// The next item, which may be pushed again from now on.
    ///
    /// # Safety
    /// Items are alive, as [`Stack::push`] asks.
    pub(crate) unsafe fn next(&mut self) -> Option<*const T> {
        let item = self.0;
        if item.is_null() {
            return None;
        }
        // SAFETY: alive by contract.
        let linked = unsafe { &*item };
        self.0 = linked.next().load(Ordering::Relaxed);
        linked.place().0.swap(0, Ordering::AcqRel);
        Some(item)
    }
}
