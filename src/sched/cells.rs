//! The root cells of the process: those that are in no use, and limbo.
//!
//! A cell is made by leaking and never unmapped: anybody may follow a stale pointer to one. The models under loom have
//! cells of their own for each interleaving.

use super::root::Root;
use super::stays;
use std::sync::PoisonError;

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        use super::sync::Mutex;
        use std::cell::RefCell;
        #[cfg(test)]
        use std::mem::{MaybeUninit, take as take_all};

        loom::lazy_static! {
            static ref FREE: Mutex<Vec<&'static Root>> = Mutex::new(Vec::new());
            static ref LIMBO: &'static Root = make();
        }

        std::thread_local! {
            /// Loom's threads are all on one of the system's.
            static MADE: RefCell<Vec<&'static Root>> = const { RefCell::new(Vec::new()) };
        }

        fn make() -> &'static Root {
            let root: &'static Root = Box::leak(Box::new(Root::new()));
            stays::enter(root);
            MADE.with(|made| made.borrow_mut().push(root));
            root
        }

        /// The cells of this interleaving that are in no use, and how many there are in all but for limbo.
        #[cfg(test)]
        pub(super) fn count() -> (usize, usize) {
            let _limbo = limbo();
            let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).len();
            (free, MADE.with(|made| made.borrow().len()) - 1)
        }

        /// Unmaps the cells of the last interleaving.
        #[cfg(test)]
        pub(super) fn unmap_all() {
            stays::unmap_all();
            for root in MADE.with(|made| take_all(&mut *made.borrow_mut())) {
                // Not dropped: what loom knew of it is gone.
                // SAFETY: made by leaking; the interleaving that it was made for is over.
                drop(unsafe { Box::from_raw(std::ptr::from_ref(root).cast_mut().cast::<MaybeUninit<Root>>()) });
            }
        }
    } else {
        use std::sync::{Mutex, OnceLock};

        static FREE: Mutex<Vec<&'static Root>> = Mutex::new(Vec::new());
        static LIMBO: OnceLock<&'static Root> = OnceLock::new();

        fn make() -> &'static Root {
            let root: &'static Root = Box::leak(Box::new(Root::new()));
            stays::enter(root);
            root
        }
    }
}

/// A cell for a new life.
pub(super) fn take() -> &'static Root {
    let recycled = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    recycled.unwrap_or_else(make)
}

/// Gives back a cell that is in no use any more.
pub(super) fn put(root: &'static Root) {
    FREE.lock().unwrap_or_else(PoisonError::into_inner).push(root);
}

/// See [`Root::limbo`].
pub(super) fn limbo() -> &'static Root {
    cfg_if::cfg_if! {
        if #[cfg(loom)] {
            &LIMBO
        } else {
            LIMBO.get_or_init(make)
        }
    }
}
