//! The atomics, locks and cells of what threads share, so that the models under loom run the very same code. Loom watches
//! the cells, too: they are plain memory that is handed from thread to thread.

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        pub(crate) use loom::cell::Cell;
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use loom::sync::{Mutex, MutexGuard};

        /// Lets others go on, in a loop that waits for them. An interleaving in which one looks in vain time and again is
        /// followed to its end, fairly, but not branched any more: loom would let two spinners alternate for ever.
        pub(crate) fn relax(spins: &mut u32) {
            *spins += 1;
            if *spins > 2 {
                loom::skip_branch();
            }
            loom::thread::yield_now();
        }
    } else {
        pub(crate) use std::cell::Cell;
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use std::sync::{Mutex, MutexGuard};

        /// Lets others go on, in a loop that waits for them.
        pub(crate) fn relax(spins: &mut u32) {
            *spins += 1;
            if *spins > 64 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}
