//! The atomics and locks of the cross-thread parts, so that the models under loom run the very same code.

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        pub(crate) use loom::cell::Cell;
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use loom::sync::Mutex;

        /// Lets others go on, in a loop that waits for them.
        pub(crate) fn relax(_spins: &mut u32) {
            loom::thread::yield_now();
        }
    } else {
        pub(crate) use std::cell::Cell;
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use std::sync::Mutex;

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
