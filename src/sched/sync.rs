//! The atomics and locks of the cross-thread parts, so that the models under loom run the very same code.

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicU8, Ordering, fence};
        pub(crate) use loom::sync::Mutex;
    } else {
        pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicU8, Ordering, fence};
        pub(crate) use std::sync::Mutex;
    }
}
