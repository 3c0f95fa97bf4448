//! A reference count that costs its owner no atomic instruction.
//!
//! State: `shared` starts at [`BIAS`], which stands for "the owner is alive". Whoever holds the root (one thread at a
//! time, see `root.rs`) counts in `local`, everybody else in `shared`; either may go below zero, since what was taken
//! on one side may be given back on the other. The true count is `local + shared - BIAS`.
//!
//! 1. While the owner lives, `shared` stays near `BIAS`: nobody can mistake it for zero.
//! 2. `end` folds `local` into `shared` and takes `BIAS` away. From then on `shared` is the true count, every caller
//!    counts there, and exactly one of them sees it reach zero.
//!
//! The idea is that of biased reference counting (Choi, Shull, Torrellas, PACT 2018).

use super::sync::{AtomicI64, Cell, Ordering};

const BIAS: i64 = 1 << 40;

/// See the module.
pub(crate) struct Count {
    /// Touched only by the thread that holds the root.
    local: Cell<i64>,
    shared: AtomicI64,
}

impl Count {
    pub(crate) fn new() -> Self {
        Self { local: Cell::new(0), shared: AtomicI64::new(BIAS) }
    }

    /// `holds`: the caller holds the root that this count belongs to, and the root has not ended.
    #[inline(always)]
    pub(crate) fn inc(&self, holds: bool) {
        if holds {
            self.local.set(self.local.get() + 1);
        } else {
            self.shared.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True: this was the last one, and the owner has ended.
    #[inline(always)]
    pub(crate) fn dec(&self, holds: bool) -> bool {
        if holds {
            self.local.set(self.local.get() - 1);
            return false;
        }
        if self.shared.fetch_sub(1, Ordering::Release) == 1 {
            // Sees what all others did before their `dec`. Not a fence, which ThreadSanitizer knows nothing of; nobody else
            // changes the count any more, so that this reads the last of the subtractions, which continue each other.
            self.shared.load(Ordering::Acquire);
            return true;
        }
        false
    }

    /// The owner ends. True: nothing is left. Called once, by the holder.
    pub(crate) fn end(&self) -> bool {
        let local = self.local.replace(0);
        let left = self.shared.fetch_add(local - BIAS, Ordering::AcqRel) + local - BIAS;
        debug_assert!(left >= 0, "more was given back than was taken");
        left == 0
    }

    /// Makes an ended count fresh again; nobody else may know it.
    pub(crate) fn reset(&self) {
        self.local.set(0);
        self.shared.store(BIAS, Ordering::Relaxed);
    }
}
