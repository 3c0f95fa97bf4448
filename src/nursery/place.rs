//! A place on the heap that others refer to.

use std::ptr::NonNull;

/// Owns a value as a `Box` does, but makes no claim to be the only one who refers to it: it may be moved while others have
/// its address. Those have shared references to it, and no longer than it lives.
pub(super) struct Place<T>(NonNull<T>);

impl<T> Place<T> {
    pub(super) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    pub(super) fn as_ptr(&self) -> *const T {
        self.0.as_ptr()
    }

    pub(super) fn get(&self) -> &T {
        // SAFETY: alive until it is dropped; nobody has an exclusive reference.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box; nobody refers to it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
