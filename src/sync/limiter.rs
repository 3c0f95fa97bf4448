//! A capacity limiter: a semaphore whose size may change while it is in use. The rules are those of the
//! [`pool`](super::pool).

use super::acquire::Acquiring;
use super::guarded::Guarded;
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

const OP: Op = Op::CapacityLimiterAcquire;

/// A bound on how many do something at once, which may be moved at any time.
///
/// It counts what is borrowed against a total. A token is a guard; dropping it gives it back, and is neither a
/// checkpoint nor can it fail.
///
/// # Fairness
///
/// First come, first served. A token that comes back goes directly to the first who waits.
///
/// # Examples
///
/// ```
/// use trine::sync::CapacityLimiter;
///
/// let limiter = CapacityLimiter::new(1);
/// trine::run(async {
///     let token = limiter.acquire().await?;
///     limiter.set_total(0); // takes nothing away
///     assert_eq!((limiter.borrowed(), limiter.total()), (1, 0));
///     drop(token);
///     assert!(limiter.try_acquire().is_err());
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct CapacityLimiter {
    /// `used` is what is borrowed.
    pool: Guarded<Pool>,
}

/// What [`CapacityLimiter::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityLimiterStatistics {
    /// How many tokens are out.
    pub borrowed: usize,
    /// How many may be out.
    pub total: usize,
    /// How many tasks wait for one.
    pub waiting: usize,
}

impl CapacityLimiter {
    /// A total that is never reached.
    pub const UNLIMITED: usize = usize::MAX;

    /// Makes a limiter that lends up to `total` tokens.
    pub const fn new(total: usize) -> Self {
        Self { pool: Guarded::new(Pool::new(total)) }
    }

    /// Waits until fewer tokens are borrowed than the total, and borrows one. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if a token is free; none is borrowed then.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. A token that was handed to a wait which is then dropped goes on to the next.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn acquire(&self) -> LimiterAcquire<'_> {
        LimiterAcquire { limiter: self, wait: Acquiring::new(Location::caller()) }
    }

    /// Like [`acquire`](CapacityLimiter::acquire), with a token that borrows nothing from the stack.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if a token is free; none is borrowed then.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](CapacityLimiter::acquire).
    #[track_caller]
    pub fn acquire_owned(self: Arc<Self>) -> LimiterAcquireOwned {
        LimiterAcquireOwned { limiter: Some(self), wait: Acquiring::new(Location::caller()) }
    }

    /// Borrows a token if one is free.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if none is.
    pub fn try_acquire(&self) -> Result<LimiterToken<'_>, WouldBlock> {
        if self.pool.with(Pool::try_take) { Ok(LimiterToken { limiter: self }) } else { Err(WouldBlock) }
    }

    /// Borrows a token if one is free; the token keeps the limiter alive.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if none is.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedLimiterToken, WouldBlock> {
        if self.pool.with(Pool::try_take) { Ok(OwnedLimiterToken { limiter: self }) } else { Err(WouldBlock) }
    }

    /// How many tokens may be out.
    pub fn total(&self) -> usize {
        self.pool.with(|pool| pool.total())
    }

    /// Sets how many tokens may be out; 0 and [`UNLIMITED`](CapacityLimiter::UNLIMITED) are allowed.
    ///
    /// Raising it wakes those who wait, in order, at once. Lowering it takes nothing away: those who wait are served
    /// when enough tokens have come back.
    pub fn set_total(&self, total: usize) {
        self.pool.with(|pool| pool.set_total(total)).wake();
    }

    /// How many tokens are out. May exceed the total after that was lowered.
    pub fn borrowed(&self) -> usize {
        self.pool.with(|pool| pool.used())
    }

    /// How many tokens are free.
    pub fn available(&self) -> usize {
        self.pool.with(|pool| pool.total().saturating_sub(pool.used()))
    }

    /// Counts tokens and who waits.
    pub fn statistics(&self) -> CapacityLimiterStatistics {
        self.pool.with(|pool| CapacityLimiterStatistics {
            borrowed: pool.used(),
            total: pool.total(),
            waiting: pool.waiting(),
        })
    }
}

impl fmt::Debug for CapacityLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statistics = self.statistics();
        f.debug_struct("CapacityLimiter")
            .field("borrowed", &statistics.borrowed)
            .field("total", &statistics.total)
            .finish_non_exhaustive()
    }
}

/// A token of a [`CapacityLimiter`]; dropping it gives it back.
#[must_use = "a token that is dropped at once has no effect"]
pub struct LimiterToken<'a> {
    limiter: &'a CapacityLimiter,
}

impl Drop for LimiterToken<'_> {
    #[inline]
    fn drop(&mut self) {
        self.limiter.pool.give_back();
    }
}

impl fmt::Debug for LimiterToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimiterToken").finish_non_exhaustive()
    }
}

/// A token of a [`CapacityLimiter`] that keeps it alive; dropping it gives it back.
#[must_use = "a token that is dropped at once has no effect"]
pub struct OwnedLimiterToken {
    limiter: Arc<CapacityLimiter>,
}

impl Drop for OwnedLimiterToken {
    #[inline]
    fn drop(&mut self) {
        self.limiter.pool.give_back();
    }
}

impl fmt::Debug for OwnedLimiterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLimiterToken").finish_non_exhaustive()
    }
}

/// The future of [`CapacityLimiter::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct LimiterAcquire<'a> {
    limiter: &'a CapacityLimiter,
    wait: Acquiring,
}

impl<'a> Future for LimiterAcquire<'a> {
    type Output = Result<LimiterToken<'a>, Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let limiter = self.limiter;
        self.wait.poll(&limiter.pool, OP, cx).map_ok(|()| LimiterToken { limiter })
    }
}

impl Drop for LimiterAcquire<'_> {
    #[inline]
    fn drop(&mut self) {
        self.wait.abandon(&self.limiter.pool);
    }
}

/// The future of [`CapacityLimiter::acquire_owned`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct LimiterAcquireOwned {
    /// Moves into the token.
    limiter: Option<Arc<CapacityLimiter>>,
    wait: Acquiring,
}

impl Future for LimiterAcquireOwned {
    type Output = Result<OwnedLimiterToken, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(limiter) = &this.limiter else { polled_after_end(OP) };
        match this.wait.poll(&limiter.pool, OP, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(acquired) => {
                let Some(limiter) = this.limiter.take() else { polled_after_end(OP) };
                Poll::Ready(acquired.map(|()| OwnedLimiterToken { limiter }))
            }
        }
    }
}

impl Drop for LimiterAcquireOwned {
    fn drop(&mut self) {
        if let Some(limiter) = &self.limiter {
            self.wait.abandon(&limiter.pool);
        }
    }
}
