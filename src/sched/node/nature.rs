//! A byte of a node: its kind, which never changes, and whether the future of a task is gone. That is written by one thread
//! while others may look at the kind.

use super::Kind;

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        use crate::sched::sync::Cell;

        /// In two parts, so that loom sees who writes.
        pub(super) struct Nature {
            kind: Kind,
            is_gone: Cell<bool>,
        }

        impl Nature {
            pub(super) fn new(kind: Kind) -> Self {
                Self { kind, is_gone: Cell::new(false) }
            }

            pub(super) fn kind(&self) -> Kind {
                self.kind
            }

            pub(super) unsafe fn is_group(&self) -> bool {
                self.kind == Kind::Group
            }

            pub(super) fn is_gone(&self) -> bool {
                self.is_gone.get()
            }

            pub(super) fn set_gone(&self, is_gone: bool) {
                self.is_gone.set(is_gone);
            }
        }
    } else {
        use std::sync::atomic::{AtomicU8, Ordering};

        pub(super) struct Nature(AtomicU8);

        const GONE: u8 = 4;

        impl Nature {
            #[inline(always)]
            pub(super) const fn new(kind: Kind) -> Self {
                Self(AtomicU8::new(kind as u8))
            }

            #[inline(always)]
            fn bits(&self) -> u8 {
                self.0.load(Ordering::Relaxed)
            }

            #[inline(always)]
            pub(super) fn kind(&self) -> Kind {
                match self.bits() & !GONE {
                    0 => Kind::Task,
                    1 => Kind::Scope,
                    2 => Kind::Nursery,
                    _ => Kind::Group,
                }
            }

            /// As a plain load, which is one instruction together with what it is compared with.
            ///
            /// # Safety
            /// It is no task's, so that nobody writes it.
            #[inline(always)]
            pub(super) unsafe fn is_group(&self) -> bool {
                // SAFETY: the pointer is the byte's; by contract.
                unsafe { *self.0.as_ptr() == Kind::Group as u8 }
            }

            #[inline(always)]
            pub(super) fn is_gone(&self) -> bool {
                self.bits() & GONE != 0
            }

            /// One thread at a time.
            #[inline(always)]
            pub(super) fn set_gone(&self, is_gone: bool) {
                let kind = self.bits() & !GONE;
                self.0.store(if is_gone { kind | GONE } else { kind }, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_kind_stays_what_it_is() {
        for kind in [Kind::Task, Kind::Scope, Kind::Nursery, Kind::Group] {
            let nature = Nature::new(kind);
            for is_gone in [false, true, true, false] {
                nature.set_gone(is_gone);
                assert_eq!((nature.kind(), nature.is_gone()), (kind, is_gone));
            }
            // SAFETY: nobody writes it meanwhile.
            assert_eq!(unsafe { nature.is_group() }, kind == Kind::Group);
        }
    }
}
