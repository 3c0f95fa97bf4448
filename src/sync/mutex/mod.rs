//! Mutual exclusion by guards. `raw` is the lock, `guard` the access to the value, this file the public face.

#[expect(unsafe_code, reason = "guards give access to the value in an `UnsafeCell`")]
mod guard;
mod raw;

pub use self::guard::{Guard, MutexGuard, OwnedMutexGuard};
pub(crate) use self::raw::RawLock;

use self::guard::ValueCell;
use super::acquire::Acquiring;
use super::pool::{Pool, PoolCell};
use super::wait::polled_after_end;
use crate::error::{Cancelled, WouldBlock};
use crate::task::park::Op;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

const OP: Op = Op::MutexLock;

/// A value that one holder at a time may use, and that is waited for without blocking the thread.
///
/// The guard may be held across awaits. Unlocking happens in its drop, and is neither a checkpoint nor can it fail. A
/// panic while the mutex is held does not poison it.
///
/// # Fairness
///
/// First come, first served. Unlocking hands the mutex directly to the first who waits; nobody can take it in between,
/// not even with [`try_lock`](Mutex::try_lock).
///
/// # Examples
///
/// ```
/// use trine::sync::Mutex;
///
/// let total = Mutex::new(0);
/// trine::run(trine::nursery(async |n| {
///     for amount in 1..=3 {
///         let total = &total;
///         n.start_soon(async move {
///             let mut total = total.lock().await?;
///             let before = *total;
///             trine::checkpoint().await?; // nobody else gets in here
///             *total = before + amount;
///             Ok(())
///         });
///     }
///     Ok(())
/// }))?;
/// assert_eq!(total.into_inner(), 6);
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawLock,
    value: ValueCell<T>,
}

/// What [`Mutex::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MutexStatistics {
    /// Is it locked?
    pub locked: bool,
    /// How many tasks wait for it.
    pub waiting: usize,
}

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self { raw: RawLock::new(), value: ValueCell::new(value) }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Gives access without locking: the exclusive borrow proves that nobody else has any.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Waits until the mutex is free and locks it. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if the mutex is free; it is not locked then.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. A mutex that was handed to a wait which is then dropped goes on to the next.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn lock(&self) -> MutexLock<'_, T> {
        MutexLock { mutex: self, wait: Acquiring::new(Location::caller()) }
    }

    /// Like [`lock`](Mutex::lock), with a guard that borrows nothing.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if the mutex is free; it is not locked then.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Mutex::lock).
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> MutexLockOwned<T> {
        MutexLockOwned { mutex: Some(self), wait: Acquiring::new(Location::caller()) }
    }

    /// Locks the mutex if it is free.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if it is not.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, WouldBlock> {
        if self.raw.with_pool(Pool::try_take) { Ok(MutexGuard::new(self)) } else { Err(WouldBlock) }
    }

    /// Locks the mutex if it is free, with a guard that borrows nothing.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if it is not.
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, WouldBlock> {
        if self.raw.with_pool(Pool::try_take) { Ok(OwnedMutexGuard::new(self)) } else { Err(WouldBlock) }
    }

    /// Is it locked?
    pub fn is_locked(&self) -> bool {
        self.raw.with_pool(|pool| pool.used() > 0)
    }

    /// Says whether it is locked, and counts who waits.
    pub fn statistics(&self) -> MutexStatistics {
        self.raw.with_pool(|pool| MutexStatistics { locked: pool.used() > 0, waiting: pool.waiting() })
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("value", &&*guard),
            Err(_) => debug.field("value", &format_args!("<locked>")),
        };
        debug.finish()
    }
}

/// The future of [`Mutex::lock`].
#[must_use = "futures do nothing unless awaited"]
pub struct MutexLock<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    wait: Acquiring,
}

impl<'a, T: ?Sized> Future for MutexLock<'a, T> {
    type Output = Result<MutexGuard<'a, T>, Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mutex = self.mutex;
        self.wait.poll(&mutex.raw, OP, cx).map_ok(|()| MutexGuard::new(mutex))
    }
}

impl<T: ?Sized> Drop for MutexLock<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.wait.abandon(&self.mutex.raw);
    }
}

impl<T: ?Sized> fmt::Debug for MutexLock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexLock").field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// The future of [`Mutex::lock_owned`].
#[must_use = "futures do nothing unless awaited"]
pub struct MutexLockOwned<T: ?Sized> {
    /// Moves into the guard.
    mutex: Option<Arc<Mutex<T>>>,
    wait: Acquiring,
}

impl<T: ?Sized> Future for MutexLockOwned<T> {
    type Output = Result<OwnedMutexGuard<T>, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(mutex) = &this.mutex else { polled_after_end(OP) };
        match this.wait.poll(&mutex.raw, OP, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(locked) => {
                let Some(mutex) = this.mutex.take() else { polled_after_end(OP) };
                Poll::Ready(locked.map(|()| OwnedMutexGuard::new(mutex)))
            }
        }
    }
}

impl<T: ?Sized> Drop for MutexLockOwned<T> {
    fn drop(&mut self) {
        if let Some(mutex) = &self.mutex {
            self.wait.abandon(&mutex.raw);
        }
    }
}

impl<T: ?Sized> fmt::Debug for MutexLockOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexLockOwned").field("wait", &self.wait).finish_non_exhaustive()
    }
}
