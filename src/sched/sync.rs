//! The atomics, locks and cells of what threads share, so that the models under loom run the very same code. Loom watches
//! the cells, too: they are plain memory that is handed from thread to thread.

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        pub(crate) use loom::cell::Cell;
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use loom::sync::{Mutex, MutexGuard};

        /// A flag that can be made in a `const`: loom's is made when it is first used, which must be before there
        /// are threads.
        pub(crate) struct ConstBool(bool, std::sync::OnceLock<AtomicBool>);

        impl ConstBool {
            pub(crate) const fn new(value: bool) -> Self {
                Self(value, std::sync::OnceLock::new())
            }

            fn get(&self) -> &AtomicBool {
                self.1.get_or_init(|| AtomicBool::new(self.0))
            }

            pub(crate) fn load(&self, order: Ordering) -> bool {
                self.get().load(order)
            }

            pub(crate) fn store(&self, value: bool, order: Ordering) {
                self.get().store(value, order);
            }
        }

        /// A lock of nothing that can be made in a `const`, in the same way.
        pub(crate) struct ConstMutex(std::sync::OnceLock<Mutex<()>>);

        impl ConstMutex {
            pub(crate) const fn new() -> Self {
                Self(std::sync::OnceLock::new())
            }

            pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
                self.0.get_or_init(|| Mutex::new(())).lock().unwrap()
            }
        }

        /// The models see fences alone, which the system's barrier stands for elsewhere.
        pub(crate) fn light_fence() {
            fence(Ordering::SeqCst);
        }

        pub(crate) fn heavy_fence() {
            fence(Ordering::SeqCst);
        }

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
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
        };
        pub(crate) use AtomicBool as ConstBool;
        pub(crate) use std::sync::{Mutex, MutexGuard};

        use crate::sync::bias::barrier;

        /// A lock of nothing.
        pub(crate) struct ConstMutex(Mutex<()>);

        impl ConstMutex {
            pub(crate) const fn new() -> Self {
                Self(Mutex::new(()))
            }

            pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
                self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
        }

        /// One side of two that store, pass a fence and load what the other has stored: the frequent one. It costs nothing
        /// where the rare one can make all threads pass a fence.
        #[inline(always)]
        pub(crate) fn light_fence() {
            if barrier::is_available() {
                std::sync::atomic::compiler_fence(Ordering::SeqCst);
            } else {
                fence(Ordering::SeqCst);
            }
        }

        /// The other side.
        pub(crate) fn heavy_fence() {
            fence(Ordering::SeqCst);
            if barrier::is_available() {
                barrier::all_threads();
            }
        }

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

/// As [`relax`], for one who has waited before, or does so seldom.
pub(crate) fn give_way() {
    relax(&mut 64);
}
