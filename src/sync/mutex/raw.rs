//! The pool of one unit under a [`Mutex`](super::Mutex), which can be shared when a condition needs it.
//!
//! A notified waiter moves to the mutex's queue while nobody holds a borrow of the mutex (the waiting future may even
//! be leaked), so the condition must own what it reaches. That costs an allocation, which only mutexes that are used
//! with a condition pay for: the pool lives inline until [`RawLock::share`] moves it behind an `Arc`, keys and all.
//!
//! Invariant: `inline` is `None` iff `shared` is set, except within `share`, which holds the lock of `inline` meanwhile.

use crate::sync::guarded::Guarded;
use crate::sync::pool::{Pool, PoolCell};
use std::sync::{Arc, OnceLock};

/// See the head of the module.
#[derive(Debug)]
pub(crate) struct RawLock {
    inline: Guarded<Option<Pool>>,
    shared: OnceLock<Arc<Guarded<Pool>>>,
}

impl RawLock {
    pub(crate) const fn new() -> Self {
        Self { inline: Guarded::new(Some(Pool::new(1))), shared: OnceLock::new() }
    }

    /// The pool, in a place that outlives the mutex.
    pub(crate) fn share(&self) -> Arc<Guarded<Pool>> {
        if let Some(shared) = self.shared.get() {
            return Arc::clone(shared);
        }
        self.inline.with(|inline| {
            if let Some(pool) = inline.take() {
                // Nobody else sets it: whoever takes the pool does.
                let _ = self.shared.set(Arc::new(Guarded::new(pool)));
            }
        });
        Arc::clone(self.moved())
    }

    fn moved(&self) -> &Arc<Guarded<Pool>> {
        self.shared.get().expect("a pool is inline or shared")
    }
}

impl PoolCell for RawLock {
    #[inline]
    fn with_pool<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R {
        if let Some(shared) = self.shared.get() {
            return shared.with(f);
        }
        let attempt = self.inline.with(|inline| match inline {
            Some(pool) => Ok(f(pool)),
            None => Err(f),
        });
        match attempt {
            Ok(value) => value,
            // It was moved between the two looks.
            Err(f) => self.moved().with(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::thread;

    #[test]
    fn state_survives_the_move() {
        let raw = RawLock::new();
        assert!(raw.with_pool(Pool::try_take));
        let shared = raw.share();
        assert!(!raw.with_pool(Pool::try_take));
        assert_eq!(shared.with(|pool| pool.used()), 1);
        raw.give_back();
        assert!(shared.with(Pool::try_take));
        assert!(Arc::ptr_eq(&shared, &raw.share()));
    }

    #[test]
    fn lock_excludes_while_it_moves() {
        for _ in 0..200 {
            let raw = RawLock::new();
            let inside = Guarded::new(Cell::new(false));
            let enter = || {
                while !raw.with_pool(Pool::try_take) {
                    thread::yield_now();
                }
                assert!(!inside.with(|inside| inside.replace(true)));
                thread::yield_now();
                assert!(inside.with(|inside| inside.replace(false)));
                raw.give_back();
            };
            thread::scope(|scope| {
                scope.spawn(|| (0..10).for_each(|_| enter()));
                scope.spawn(|| (0..10).for_each(|_| enter()));
                raw.share();
            });
        }
    }
}
