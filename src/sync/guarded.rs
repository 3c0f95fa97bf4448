//! The one kind of lock that the primitives use for their own state.
//!
//! Everything goes through [`Guarded::with`], so that what is behind it can be exchanged. The rules for the closure:
//! a few loads and stores, no call into user code, no waker cloned, woken or dropped, no user value dropped. What has
//! to be woken or dropped is moved out as the closure's value. Nesting is allowed in one place only, where a
//! condition moves a waiter to a mutex: always condition first, then mutex.

use std::sync::{Mutex, PoisonError};

/// A value behind a short lock. A panic inside the closure does not make the value inaccessible.
#[derive(Debug, Default)]
pub(crate) struct Guarded<T> {
    inner: Mutex<T>,
}

impl<T> Guarded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            inner: Mutex::new(value),
        }
    }

    /// Runs `f` on the value, with the lock held.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
