//! The short lock of what stands in a task's slot beside the header: two bytes, biased towards the root whose memory it is.
//!
//! The protocol is that of [`guarded`](super::guarded), made of the same parts ([`bias`](super::bias)), with two
//! differences: the bias is known from the slot (its home), so that one byte says whether it is revoked; and a revoked lock
//! is one of a few mutexes that all slots share, so that nobody touches the slot's memory after the last section in it.
//!
//! The same rules go for the sections: a few loads and stores, no foreign code, and no other lock inside.

use crate::sched::root::Root;

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        /// In the models: loom's mutex, which it watches.
        pub(crate) struct SlotLock(loom::sync::Mutex<()>);

        pub(crate) struct Section<'a>(#[expect(dead_code, reason = "held for its drop")] loom::sync::MutexGuard<'a, ()>);

        /// There is no fast way.
        pub(crate) enum Fast {}

        impl SlotLock {
            pub(crate) fn new(_revoked: bool) -> Self {
                Self(loom::sync::Mutex::new(()))
            }

            pub(crate) fn fast(&self, _home: *const Root) -> Option<Fast> {
                None
            }

            pub(crate) fn fast_here(&self) -> Option<Fast> {
                None
            }

            pub(crate) fn is_unrevoked(&self) -> bool {
                false
            }

            pub(crate) fn lock(&self, _home: *const Root) -> Section<'_> {
                Section(self.0.lock().unwrap())
            }
        }
    } else {
        use super::bias::{Busy, barrier, wait_while_busy};
        use crate::sched::context;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::ptr;
        use std::sync::{Mutex, MutexGuard, PoisonError};

        const STRIPES: usize = 32;

        /// For revoked locks, by the slot's address.
        static SHARED: [Mutex<()>; STRIPES] = [const { Mutex::new(()) }; STRIPES];

        /// See the module.
        pub(crate) struct SlotLock {
            busy: AtomicBool,
            revoked: AtomicBool,
        }

        /// The lock held by the thread that holds the slot's home.
        pub(crate) type Fast<'a> = Busy<'a>;

        /// The lock held.
        pub(crate) enum Section<'a> {
            Fast(#[expect(dead_code, reason = "held for its drop")] Fast<'a>),
            Slow(#[expect(dead_code, reason = "held for its drop")] MutexGuard<'static, ()>),
        }

        impl SlotLock {
            /// It is revoked from the start where there is no barrier, and in memory that is no root's.
            #[inline(always)]
            pub(crate) fn new(revoked: bool) -> Self {
                Self { busy: AtomicBool::new(false), revoked: AtomicBool::new(revoked) }
            }

            /// The lock, if this thread holds the slot's home and nobody else has ever taken it.
            #[inline(always)]
            pub(crate) fn fast(&self, home: *const Root) -> Option<Fast<'_>> {
                if ptr::eq(context::root(), home) { self.fast_here() } else { None }
            }

            /// As [`SlotLock::fast`], on the thread that holds the slot's home.
            #[inline(always)]
            pub(crate) fn fast_here(&self) -> Option<Fast<'_>> {
                let held = Busy::set(&self.busy);
                // The revocation is visible here, or `busy` to the revoker.
                if self.revoked.load(Ordering::Relaxed) { None } else { Some(held) }
            }

            /// For the thread that holds the slot's home: has nobody else ever taken the lock? Then every section so far was
            /// this thread's, or came before it got the home.
            #[inline(always)]
            pub(crate) fn is_unrevoked(&self) -> bool {
                !self.revoked.load(Ordering::Relaxed)
            }

            #[inline(always)]
            pub(crate) fn lock(&self, home: *const Root) -> Section<'_> {
                match self.fast(home) {
                    Some(held) => Section::Fast(held),
                    None => Section::Slow(self.lock_slowly()),
                }
            }

            #[cold]
            #[inline(never)]
            fn lock_slowly(&self) -> MutexGuard<'static, ()> {
                let stripe = ptr::from_ref(self).addr() / 64 % STRIPES;
                let guard = SHARED[stripe].lock().unwrap_or_else(PoisonError::into_inner);
                if !self.revoked.load(Ordering::Acquire) {
                    self.revoked.store(true, Ordering::SeqCst);
                    barrier::all_threads();
                    wait_while_busy(&self.busy);
                }
                guard
            }
        }
    }
}
