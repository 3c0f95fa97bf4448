//! The one kind of lock that the primitives use for their own state: biased towards one root.
//!
//! Everything goes through [`Guarded::with`], or [`Guarded::lock_here`] where the code of the section is to be compiled in
//! place. The rules for a section: a few loads and stores, no call into user code, no waker cloned, woken or dropped, no
//! user value dropped. What has to be woken or dropped is moved out. Nesting is allowed in one place only, where a
//! condition moves a waiter to a mutex: always condition first, then mutex.
//!
//! Protocol. `bias` is `UNSET`, a root, or `REVOKED`, and only moves in that direction:
//!
//! 1. The first root that locks becomes the bias. While it is, the thread that holds that root locks with two plain
//!    stores: it sets `busy`, looks at `bias` again, works, clears `busy`.
//! 2. Anybody else revokes, once and for good: with `mutex` held it stores `REVOKED`, issues a barrier that makes every
//!    other running thread of the process pass a full fence, and waits until `busy` is clear. Either the owner's
//!    `busy` is visible to the revoker after the barrier, or `REVOKED` is visible to the owner's second look.
//! 3. A revoked lock is the mutex.
//!
//! The sections are so short that waiting for `busy` may spin. Where there is no such barrier (other systems, old
//! kernels, loom, ThreadSanitizer, which does not know it), locks are born revoked.
//!
//! The pattern is that of biased locking with asymmetric fences (Dice, Huang, Yang 2001; `membarrier(2)`).

use super::bias::{Busy, barrier, wait_while_busy};
use crate::sched::context;
use crate::sched::sync::{ConstMutex, MutexGuard};
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

type Bias = *mut ();

const UNSET: Bias = ptr::null_mut();
/// No root has an odd address.
const REVOKED: Bias = ptr::without_provenance_mut(1);

/// A value behind a short lock. A panic inside the closure does not make the value inaccessible.
pub(crate) struct Guarded<T> {
    bias: AtomicPtr<()>,
    busy: AtomicBool,
    mutex: ConstMutex,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time, see the protocol.
unsafe impl<T: Send> Sync for Guarded<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Guarded<T> {}

impl<T> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<T: Default> Default for Guarded<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Guarded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            bias: AtomicPtr::new(UNSET),
            busy: AtomicBool::new(false),
            mutex: ConstMutex::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` on the value, with the lock held.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let root: Bias = context::root().cast_mut().cast();
        if !root.is_null() && self.bias.load(Ordering::Relaxed) == root {
            let _busy = Busy::set(&self.busy);
            if self.bias.load(Ordering::Relaxed) == root {
                // SAFETY: this thread holds the root that is the bias; a revoker waits for `busy`.
                return f(unsafe { &mut *self.value.get() });
            }
        }
        let guard = self.lock_slowly(root);
        // SAFETY: the slow lock is held; or the bias is this thread's root, and `busy` is set.
        let result = f(unsafe { &mut *self.value.get() });
        drop(guard);
        result
    }

    /// Locks, where the bias is the root that this thread holds; else `None`. For sections that are worth being compiled
    /// where they are used; what [`Guarded::with`] forbids is forbidden while the result lives.
    #[inline(always)]
    pub(crate) fn lock_here(&self) -> Option<Here<'_, T>> {
        let root: Bias = context::root().cast_mut().cast();
        if root.is_null() || self.bias.load(Ordering::Relaxed) != root {
            return None;
        }
        let busy = Busy::set(&self.busy);
        (self.bias.load(Ordering::Relaxed) == root).then(|| Here { value: &self.value, _busy: busy })
    }

    #[cold]
    #[inline(never)]
    fn lock_slowly(&self, root: Bias) -> Slow<'_> {
        if !root.is_null() && barrier::is_available() {
            let _ = self.bias.compare_exchange(UNSET, root, Ordering::AcqRel, Ordering::Acquire);
            if self.bias.load(Ordering::Relaxed) == root {
                let busy = Busy::set(&self.busy);
                if self.bias.load(Ordering::Relaxed) == root {
                    return Slow::Biased(busy);
                }
            }
        }
        let guard = self.mutex.lock();
        if self.bias.load(Ordering::Acquire) != REVOKED {
            let bias = self.bias.swap(REVOKED, Ordering::SeqCst);
            if bias != UNSET {
                barrier::all_threads();
            }
            wait_while_busy(&self.busy);
        }
        Slow::Locked(guard)
    }
}

/// The value, while its lock is held by the thread that it is biased towards.
pub(crate) struct Here<'a, T> {
    value: &'a UnsafeCell<T>,
    /// Not `Send`, as the thread is what holds the lock: the cell is not `Sync`.
    _busy: Busy<'a>,
}

impl<T> Deref for Here<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this thread holds the root that is the bias; a revoker waits for `busy`. Nested sections of the same thread
        // are excluded by the rules for them.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Here<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.value.get() }
    }
}

/// Either way of holding the lock off the fast path; held for its drop.
enum Slow<'a> {
    Biased(#[expect(dead_code, reason = "held for its drop")] Busy<'a>),
    Locked(#[expect(dead_code, reason = "held for its drop")] MutexGuard<'a, ()>),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn no_update_is_lost_when_the_bias_is_revoked() {
        for _ in 0..200 {
            let shared = Arc::new(Guarded::new(0u64));
            assert!(shared.lock_here().is_none(), "nobody's yet");
            let other = shared.clone();
            let go = Arc::new(AtomicBool::new(false));
            let seen = go.clone();
            let thread = std::thread::spawn(move || {
                while !seen.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                for _ in 0..200 {
                    other.with(|n| *n += 1);
                }
            });
            crate::run(async {
                for i in 0..2000 {
                    if i == 500 {
                        go.store(true, Ordering::Release);
                    }
                    match shared.lock_here() {
                        Some(mut n) if i % 2 == 0 => *n += 1,
                        // Given back first: sections do not nest.
                        here => {
                            drop(here);
                            shared.with(|n| *n += 1);
                        }
                    }
                }
            });
            thread.join().unwrap();
            assert_eq!(shared.with(|n| *n), 2200);
            crate::run(async { assert!(shared.lock_here().is_none(), "revoked") });
        }
    }
}
