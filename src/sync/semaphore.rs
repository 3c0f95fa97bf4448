//! A semaphore: permits that are handed from task to task. The rules are those of the [`pool`](super::pool).

use super::acquire::Acquiring;
use super::guarded::Guarded;
use super::pool::{Pool, PoolCell};
use super::wait::polled_after_end;
use crate::error::{Cancelled, WouldBlock};
use crate::task::park::Op;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

const OP: Op = Op::SemaphoreAcquire;

/// A number of permits, each of which lets one holder pass.
///
/// A permit is a guard; dropping it gives it back, and is neither a checkpoint nor can it fail. A permit belongs to no
/// task: it may be moved to another one, or [forgotten](Permit::forget).
///
/// # Fairness
///
/// First come, first served. A permit that comes back goes directly to the first who waits; nobody can take it in
/// between, not even with [`try_acquire`](Semaphore::try_acquire).
///
/// # Examples
///
/// ```
/// use trine::sync::Semaphore;
///
/// let permits = Semaphore::new(2);
/// trine::run(async {
///     let first = permits.acquire().await?;
///     let _second = permits.acquire().await?;
///     assert!(permits.try_acquire().is_err());
///     drop(first);
///     assert_eq!(permits.available(), 1);
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Semaphore {
    /// `total` is what was put in and not forgotten, `used` what is out.
    pool: Guarded<Pool>,
}

/// What [`Semaphore::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreStatistics {
    /// How many permits are free.
    pub available: usize,
    /// How many tasks wait for one.
    pub waiting: usize,
}

impl Semaphore {
    /// Makes a semaphore with so many permits.
    pub const fn new(permits: usize) -> Self {
        Self { pool: Guarded::new(Pool::new(permits)) }
    }

    /// Waits for a permit and takes it. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if a permit is free; no permit is taken then.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. A permit that was handed to a wait which is then dropped goes on to the next.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn acquire(&self) -> SemaphoreAcquire<'_> {
        SemaphoreAcquire { semaphore: self, wait: Acquiring::new(Location::caller()) }
    }

    /// Like [`acquire`](Semaphore::acquire), with a permit that borrows nothing.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if a permit is free; no permit is taken then.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_owned(self: Arc<Self>) -> SemaphoreAcquireOwned {
        SemaphoreAcquireOwned { semaphore: Some(self), wait: Acquiring::new(Location::caller()) }
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if none is.
    pub fn try_acquire(&self) -> Result<Permit<'_>, WouldBlock> {
        if self.pool.with(Pool::try_take) { Ok(Permit { semaphore: self }) } else { Err(WouldBlock) }
    }

    /// Takes a permit that borrows nothing, if one is free.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if none is.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedPermit, WouldBlock> {
        if self.pool.with(Pool::try_take) {
            Ok(OwnedPermit { semaphore: self, forgotten: false })
        } else {
            Err(WouldBlock)
        }
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        self.pool.with(|pool| pool.total() - pool.used())
    }

    /// Adds permits, which go to those who wait first.
    ///
    /// # Panics
    ///
    /// If there were more than `usize::MAX` permits.
    pub fn add_permits(&self, n: usize) {
        let added = self.pool.with(|pool| pool.total().checked_add(n).map(|total| pool.set_total(total)));
        added.expect("a semaphore has at most usize::MAX permits").wake();
    }

    /// Counts permits and who waits.
    pub fn statistics(&self) -> SemaphoreStatistics {
        self.pool.with(|pool| SemaphoreStatistics { available: pool.total() - pool.used(), waiting: pool.waiting() })
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`]; dropping it gives it back.
#[must_use = "a permit that is dropped at once has no effect"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Permit<'_> {
    /// Lets the permit go for good: the semaphore has one less.
    pub fn forget(self) {
        ManuallyDrop::new(self).semaphore.pool.with(Pool::forget);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.pool.give_back();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`] that borrows nothing; dropping it gives it back.
#[must_use = "a permit that is dropped at once has no effect"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    /// Dropping it does not give it back.
    forgotten: bool,
}

impl OwnedPermit {
    /// Lets the permit go for good: the semaphore has one less.
    pub fn forget(mut self) {
        self.forgotten = true;
        self.semaphore.pool.with(Pool::forget);
    }
}

impl Drop for OwnedPermit {
    #[inline]
    fn drop(&mut self) {
        if !self.forgotten {
            self.semaphore.pool.give_back();
        }
    }
}

impl fmt::Debug for OwnedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit").finish_non_exhaustive()
    }
}

/// The future of [`Semaphore::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SemaphoreAcquire<'a> {
    semaphore: &'a Semaphore,
    wait: Acquiring,
}

impl<'a> Future for SemaphoreAcquire<'a> {
    type Output = Result<Permit<'a>, Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let semaphore = self.semaphore;
        self.wait.poll(&semaphore.pool, OP, cx).map_ok(|()| Permit { semaphore })
    }
}

impl Drop for SemaphoreAcquire<'_> {
    #[inline]
    fn drop(&mut self) {
        self.wait.abandon(&self.semaphore.pool);
    }
}

/// The future of [`Semaphore::acquire_owned`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SemaphoreAcquireOwned {
    /// Moves into the permit.
    semaphore: Option<Arc<Semaphore>>,
    wait: Acquiring,
}

impl Future for SemaphoreAcquireOwned {
    type Output = Result<OwnedPermit, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(semaphore) = &this.semaphore else { polled_after_end(OP) };
        match this.wait.poll(&semaphore.pool, OP, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(acquired) => {
                let Some(semaphore) = this.semaphore.take() else { polled_after_end(OP) };
                Poll::Ready(acquired.map(|()| OwnedPermit { semaphore, forgotten: false }))
            }
        }
    }
}

impl Drop for SemaphoreAcquireOwned {
    fn drop(&mut self) {
        if let Some(semaphore) = &self.semaphore {
            self.wait.abandon(&semaphore.pool);
        }
    }
}
