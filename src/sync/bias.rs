//! What the biased locks are made of: the owner's flag, and the barrier that the revoker makes everybody pass.
//!
//! The owner sets his flag, looks whether the bias is revoked, works, and clears the flag. A revoker revokes, has every
//! other running thread of the process pass a full fence, and waits until the flag is clear. Either the revocation is visible to
//! the owner's look, or the flag to the revoker, after the barrier. Used by [`guarded`](super::guarded) and
//! [`slot_lock`](super::slot_lock).

use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};

/// The owner's flag, set; cleared also on unwind.
pub(crate) struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    /// Sets it. What the caller looks at next is read after.
    #[inline(always)]
    pub(crate) fn set(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Busy<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// For the revoker, after the barrier. The owner's sections are so short that this may spin.
pub(crate) fn wait_while_busy(flag: &AtomicBool) {
    let mut spins = 0u32;
    while flag.load(Ordering::Acquire) {
        spins += 1;
        if spins % 64 == 0 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(all(target_os = "linux", not(loom), not(trine_tsan), not(miri)))] {
        #[expect(unsafe_code, reason = "asks the system for the barrier")]
        pub(crate) mod barrier {
            use std::sync::atomic::{AtomicU8, Ordering};

            const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
            const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;

            fn membarrier(command: libc::c_int) -> bool {
                // SAFETY: the call has no memory arguments.
                unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
            }

            const UNKNOWN: u8 = 0;
            const AVAILABLE: u8 = 1;
            const ABSENT: u8 = 2;

            static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

            /// Registers the process at the first call. The answer is the same for all of its threads.
            #[inline(always)]
            pub(crate) fn is_available() -> bool {
                match STATE.load(Ordering::Acquire) {
                    AVAILABLE => true,
                    ABSENT => false,
                    _ => register(),
                }
            }

            /// More than one thread may do so, which the system does not mind: the first one's answer is that of all.
            #[cold]
            #[inline(never)]
            fn register() -> bool {
                let answer = if membarrier(REGISTER_PRIVATE_EXPEDITED) { AVAILABLE } else { ABSENT };
                let first = STATE.compare_exchange(UNKNOWN, answer, Ordering::AcqRel, Ordering::Acquire);
                first.map_or_else(|earlier| earlier, |_| answer) == AVAILABLE
            }

            /// When it returns, every running thread of the process has passed a full fence.
            pub(crate) fn all_threads() {
                assert!(membarrier(PRIVATE_EXPEDITED), "a registered process may use membarrier(2)");
            }
        }
    } else {
        pub(crate) mod barrier {
            pub(crate) fn is_available() -> bool {
                false
            }

            pub(crate) fn all_threads() {}
        }
    }
}
