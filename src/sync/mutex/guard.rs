//! The guards of a [`Mutex`], and the cell they open: all the unsafe code of the mutex.
//!
//! Why the access is exclusive:
//!
//! 1. the [`RawLock`] is a pool of one unit, so at most one unit is out;
//! 2. a guard is made, or set to `held` again, only by code that has just taken that unit ([`Inside::regained`] and
//!    the two `new` say so);
//! 3. a guard gives the unit back once, and is not `held` from then on: in its drop, or in [`Inside::release`];
//! 4. access through a guard that is not `held` panics.
//!
//! So while a guard is `held`, no other guard of that mutex is, and its borrows of the value follow its own. The hand-over
//! goes through the lock inside [`RawLock`], which orders the accesses.

use super::Mutex;
use super::raw::RawLock;
use crate::sync::pool::PoolCell;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The value inside a mutex.
pub(super) struct ValueCell<T: ?Sized> {
    value: UnsafeCell<T>,
}

// SAFETY: a shared cell gives access to the value only through a held guard, of which there is one at a time (see the
// head of the module); so sharing the cell does no more than sending the value from thread to thread.
unsafe impl<T: ?Sized + Send> Sync for ValueCell<T> {}

impl<T> ValueCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value) }
    }

    pub(super) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> ValueCell<T> {
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// A held [`Mutex`]; dropping it unlocks.
///
/// It may be held across awaits and sent to other threads. While a [`Condition`](crate::sync::Condition) wait that was
/// given this guard is under way, or after such a wait was dropped half way, it does not hold the mutex: access then
/// panics and its drop does nothing.
#[must_use = "a guard that is dropped at once unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    held: bool,
    /// Sent and shared as the borrow it stands for.
    value: PhantomData<&'a mut T>,
}

/// A held [`Mutex`], as [`MutexGuard`], that keeps the mutex alive instead of borrowing it.
#[must_use = "a guard that is dropped at once unlocks at once"]
pub struct OwnedMutexGuard<T: ?Sized> {
    mutex: Arc<Mutex<T>>,
    held: bool,
    /// Sent and shared as the value; the box leaves it movable.
    value: PhantomData<Box<T>>,
}

/// The guards of a [`Mutex`]: [`MutexGuard`] and [`OwnedMutexGuard`]. Nothing else can be one.
pub trait Guard: DerefMut + Guarding {}

/// How a condition gets at a guard. Public in name only, and what it gives out is opaque outside of the crate: to set
/// a guard to held is what must not be possible there.
#[expect(unnameable_types, reason = "seals `Guard`")]
pub trait Guarding {
    #[doc(hidden)]
    fn inside(&mut self) -> Inside<'_>;
}

/// A guard without its value.
#[derive(Debug)]
#[expect(unnameable_types, reason = "opaque outside of the crate")]
pub struct Inside<'a> {
    raw: &'a RawLock,
    held: &'a mut bool,
}

impl<'a> Inside<'a> {
    /// The lock it stands for.
    pub(crate) const fn raw(&self) -> &'a RawLock {
        self.raw
    }

    /// Does it hold the lock?
    pub(crate) const fn is_held(&self) -> bool {
        *self.held
    }

    /// Unlocks; the guard remains, without the lock.
    #[inline]
    pub(crate) fn release(self) {
        if std::mem::take(self.held) {
            self.raw.give_back();
        }
    }

    /// Sets the guard to held. The caller has just taken the unit of its lock.
    pub(crate) const fn regained(self) {
        *self.held = true;
    }
}

#[cold]
#[track_caller]
fn not_held() -> ! {
    panic!("this guard does not hold its mutex: a `Condition` wait that it was given was dropped before it finished")
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The caller has just taken the unit of the mutex's lock.
    #[inline]
    pub(super) const fn new(mutex: &'a Mutex<T>) -> Self {
        Self { mutex, held: true, value: PhantomData }
    }
}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// The caller has just taken the unit of the mutex's lock.
    #[inline]
    pub(super) const fn new(mutex: Arc<Mutex<T>>) -> Self {
        Self { mutex, held: true, value: PhantomData }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        if !self.held {
            not_held();
        }
        // SAFETY: the guard is held, so nobody else has access (head of the module), and `self` is borrowed meanwhile.
        unsafe { &*self.mutex.value.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        if !self.held {
            not_held();
        }
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { &mut *self.mutex.value.value.get() }
    }
}

impl<T: ?Sized> Deref for OwnedMutexGuard<T> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        if !self.held {
            not_held();
        }
        // SAFETY: the guard is held, so nobody else has access (head of the module), and `self` is borrowed meanwhile.
        unsafe { &*self.mutex.value.value.get() }
    }
}

impl<T: ?Sized> DerefMut for OwnedMutexGuard<T> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        if !self.held {
            not_held();
        }
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { &mut *self.mutex.value.value.get() }
    }
}

impl<T: ?Sized> Guard for MutexGuard<'_, T> {}

impl<T: ?Sized> Guarding for MutexGuard<'_, T> {
    #[inline]
    fn inside(&mut self) -> Inside<'_> {
        Inside { raw: &self.mutex.raw, held: &mut self.held }
    }
}

impl<T: ?Sized> Guard for OwnedMutexGuard<T> {}

impl<T: ?Sized> Guarding for OwnedMutexGuard<T> {
    #[inline]
    fn inside(&mut self) -> Inside<'_> {
        Inside { raw: &self.mutex.raw, held: &mut self.held }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.inside().release();
    }
}

impl<T: ?Sized> Drop for OwnedMutexGuard<T> {
    #[inline]
    fn drop(&mut self) {
        self.inside().release();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held { (**self).fmt(f) } else { f.write_str("<not held>") }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held { (**self).fmt(f) } else { f.write_str("<not held>") }
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
