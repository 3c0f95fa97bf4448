//! Units that are taken and given back in order: the pure machine under mutex, semaphore and capacity limiter.
//!
//! A mutex is a pool of one unit, a semaphore one whose total grows and shrinks with its permits, a limiter one whose
//! total is set at will. Invariants, whenever the lock is free:
//!
//! - `used` counts the units that are out, those handed to waits that have not been polled since included;
//! - a wait that is not cancelled is queued only while `used >= total`;
//! - so a unit that comes back goes to the first wait at once, and nobody can take it in between.

use super::guarded::Guarded;
use super::queue::{Key, WaitQueue, Waiter};
use super::wait::{Queue, Wakes};
use crate::task::park::Parked;

/// See the head of the module.
#[derive(Debug)]
pub(crate) struct Pool<W = Parked> {
    used: usize,
    total: usize,
    waits: WaitQueue<(), W>,
}

impl<W> Pool<W> {
    pub(crate) const fn new(total: usize) -> Self {
        Self { used: 0, total, waits: WaitQueue::new() }
    }

    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }
}

impl<W: Waiter> Pool<W> {
    /// Takes a unit if one is left.
    #[inline]
    pub(crate) fn try_take(&mut self) -> bool {
        let free = self.used < self.total;
        self.used += usize::from(free);
        free
    }

    /// Takes a unit, and gives the wait back; or queues the wait.
    pub(crate) fn take_or_queue(&mut self, parked: W) -> Result<W, Key> {
        if self.try_take() { Ok(parked) } else { Err(self.waits.push_back(parked, ())) }
    }

    /// Queues a wait that began elsewhere. If a unit is left it is handed over at once, and the wait is returned for
    /// waking.
    pub(crate) fn admit(&mut self, parked: W) -> (Key, Option<W>) {
        if self.try_take() {
            (self.waits.push_done(()), Some(parked))
        } else {
            (self.waits.push_back(parked, ()), None)
        }
    }

    /// Gives a unit back; returns whom it was handed to.
    #[inline]
    pub(crate) fn give_back(&mut self) -> Option<W> {
        if self.used <= self.total && !self.waits.is_empty() {
            if let Some((parked, ())) = self.waits.pop() {
                return Some(parked);
            }
        }
        self.used -= 1;
        None
    }

    /// Takes a queued wait out, for an owner that gives up. Returns the wait, to be dropped, or else whom the unit was
    /// handed on to.
    pub(crate) fn leave(&mut self, key: Key) -> Left<W> {
        match self.waits.remove(key) {
            ((), Some(parked)) => Left::Unserved(parked),
            ((), None) => Left::Served(self.give_back()),
        }
    }

    /// Sets the total. What is out stays out; units that became free are handed over.
    pub(crate) fn set_total(&mut self, total: usize) -> Wakes<W> {
        self.total = total;
        let mut wakes = Wakes::None;
        while self.used < self.total {
            let Some((parked, ())) = self.waits.pop() else {
                break;
            };
            self.used += 1;
            wakes.push(parked);
        }
        wakes
    }

    /// Lets a unit that is out go for good.
    pub(crate) fn forget(&mut self) {
        self.used -= 1;
        self.total -= 1;
    }

    /// The number of waits that are not cancelled.
    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }
}

/// What a wait that was given up leaves behind.
#[derive(Debug)]
pub(crate) enum Left<W> {
    /// It had got nothing.
    Unserved(W),
    /// It had got a unit, which went to this wait, or back into the pool.
    Served(Option<W>),
}

/// A pool behind a lock.
pub(crate) trait PoolCell {
    fn with_pool<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R;

    /// Gives a unit back and wakes whom it was handed to.
    #[inline]
    fn give_back(&self) {
        if let Some(parked) = self.with_pool(Pool::give_back) {
            parked.wake();
        }
    }
}

impl PoolCell for Guarded<Pool> {
    #[inline]
    fn with_pool<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R {
        self.with(f)
    }
}

/// The queue of a pool.
pub(crate) struct WaitsOf<'a, P>(pub(crate) &'a P);

impl<P: PoolCell> Queue<()> for WaitsOf<'_, P> {
    #[inline]
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<()>) -> R) -> R {
        self.0.with_pool(|pool| f(&mut pool.waits))
    }
}

#[cfg(test)]
mod tests;
