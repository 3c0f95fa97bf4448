//! Asks the processor for memory ahead of its use, where that pays.
//!
//! Slots that are new to the cache are written one after the other. Whether it helps to ask for their lines some slots ahead
//! depends on the processor: 100,000 children in such slots took 23 ns each instead of 28 on one of Intel's, and 13.9 or more
//! instead of 12.8 on one of AMD's. So it is asked who made it, once in a process.

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", not(loom)))] {
        use std::arch::x86_64::{_MM_HINT_T0, __cpuid, _mm_prefetch};
        use std::sync::OnceLock;

        /// How far ahead, in bytes: sixteen small slots. Two do nearly as well.
        const DISTANCE: usize = 2048;
        /// Of a line of the cache. A small slot has two.
        const LINE: usize = 64;

        #[derive(Clone, Copy, Debug)]
        pub(super) struct Ahead {
            pays: bool,
        }

        impl Ahead {
            pub(super) fn new() -> Self {
                // Once: in a virtual machine, the question is one for the host.
                static PAYS: OnceLock<bool> = OnceLock::new();
                Self { pays: *PAYS.get_or_init(is_intel) }
            }

            /// Asks for what comes after `slot`, which is about to be written.
            #[inline(always)]
            pub(super) fn ask(self, slot: *const u8) {
                if self.pays {
                    let at = slot.wrapping_add(DISTANCE).cast();
                    // SAFETY: an address that is not mapped is passed over.
                    unsafe {
                        _mm_prefetch::<_MM_HINT_T0>(at);
                        _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(LINE));
                    }
                }
            }
        }

        fn is_intel() -> bool {
            #[allow(unused_unsafe, reason = "safe in newer compilers: every processor of this architecture has it")]
            // SAFETY: every processor of this architecture has it.
            let name = unsafe { __cpuid(0) };
            [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
        }
    } else {
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Ahead;

        impl Ahead {
            pub(super) fn new() -> Self {
                Self
            }

            #[inline(always)]
            pub(super) fn ask(self, _slot: *const u8) {}
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(loom)))]
mod tests {
    use super::Ahead;

    #[test]
    fn the_processor_s_maker_is_found_out() {
        let Ok(said) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let is_intel = said.lines().any(|line| line.starts_with("vendor_id") && line.ends_with("GenuineIntel"));
        assert_eq!(Ahead::new().pays, is_intel);
    }
}
