//! Where a node is: its home, which never changes, and the root that owns it, as the number of a [stay](stays).
//!
//! The holder of the owner changes it; anybody may read it at any time. A free node is at home and has no owner: `FREE` is
//! written before the number of the home is, and read after it.

use super::{AWAY, FREE, Node};
use crate::sched::context;
use crate::sched::root::Root;
use crate::sched::stack::Place;
use crate::sched::stays;
use crate::sched::sync::{AtomicU32, Ordering};
use std::ptr;

/// One word in two parts.
#[repr(C)]
pub(crate) struct Whereabouts {
    /// Where the node stays: the root whose memory this is, and the one whose holder may touch the rest. Changes only under the
    /// hold of the old one.
    stay: AtomicU32,
    /// Of a task: the remote stack that it is on. Persists across recycling.
    pub(crate) on_stack: Place,
}

impl Whereabouts {
    #[inline(always)]
    pub(super) fn new(stay: u32) -> Self {
        cfg_if::cfg_if! {
            if #[cfg(all(not(loom), target_endian = "little"))] {
                // By one store: a compiler makes two of it otherwise.
                // SAFETY: two numbers of 32 bits, the lower half first; 0 is that of no stack.
                unsafe { std::mem::transmute::<u64, Self>(u64::from(stay)) }
            } else {
                Self { stay: AtomicU32::new(stay), on_stack: Place::new() }
            }
        }
    }
}

impl Node {
    #[inline(always)]
    fn stay(&self) -> u32 {
        self.whereabouts.stay.load(Ordering::Acquire)
    }

    /// The root whose memory this is.
    #[inline(always)]
    pub(crate) fn home(&self) -> &'static Root {
        let stay = self.stay();
        if stay == context::number() {
            // SAFETY: the context's root, which has this number; root cells are never unmapped.
            return unsafe { &*context::root() };
        }
        stays::home(stay)
    }

    /// Is it in the memory of `root`?
    #[inline(always)]
    pub(crate) fn is_of(&self, root: &Root) -> bool {
        let stay = self.stay();
        stay == root.number || stays::is_away(stay) && ptr::eq(stays::home(stay), root)
    }

    /// Counts one on the home, for a reference to the slot.
    #[inline(always)]
    pub(crate) fn count(&self) {
        let stay = self.stay();
        if stay == context::number() {
            // SAFETY: as in `home`.
            unsafe { (*context::root()).count_inc_here() };
        } else {
            stays::home(stay).count_inc();
        }
    }

    /// Gives back one count of the home.
    ///
    /// # Safety
    /// It was taken, and keeps the slot mapped until now.
    #[inline(always)]
    pub(crate) unsafe fn uncount(this: *const Self) {
        // SAFETY: by contract.
        unsafe {
            let stay = (*this).stay();
            if stay == context::number() {
                (*context::root()).count_dec_here();
            } else {
                Root::count_dec(stays::home(stay));
            }
        }
    }

    /// The root that it belongs to; null if it is free.
    #[inline(always)]
    pub(crate) fn owner(&self) -> *const Root {
        let stay = self.stay();
        if self.flags() & FREE != 0 {
            return ptr::null();
        }
        if stay == context::number() { context::root() } else { stays::owner(stay) }
    }

    /// Does it belong to `root`? Cheaper than to ask for the owner, where the answer is most often yes.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, root: &Root) -> bool {
        let stay = self.stay();
        let is_owner = stay == root.number || stays::is_away(stay) && ptr::eq(stays::owner(stay), root);
        is_owner && self.flags() & FREE == 0
    }

    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        self.flags() & FREE != 0
    }

    /// Does this thread hold the root that owns the node?
    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        let stay = self.stay();
        self.flags() & FREE == 0 && is_here(stay)
    }

    /// As [`Node::is_here`], of a node in use.
    #[inline(always)]
    pub(crate) fn in_use_is_here(&self) -> bool {
        debug_assert!(!self.is_free());
        is_here(self.stay())
    }

    /// Is it at home in the context's root? A free one may be, too.
    #[inline(always)]
    pub(crate) fn is_at_home_here(&self) -> bool {
        self.stay() == context::number()
    }

    /// Is it at home in `root`? A free one may be, too.
    #[inline(always)]
    pub(crate) fn is_at_home(&self, root: &Root) -> bool {
        self.stay() == root.number
    }

    /// Hands the node to `root`. An owner other than the home counts as a user of its cell.
    pub(crate) fn set_owner(&self, root: &Root) {
        let stay = self.whereabouts.stay.load(Ordering::Relaxed);
        if self.is_of(root) {
            if stays::is_away(stay) {
                self.come_home(stay, self.flags() & !AWAY);
            }
            return;
        }
        root.count_inc();
        if stays::is_away(stay) {
            let old = stays::hand_over(stay, root);
            // SAFETY: taken when it became the owner.
            unsafe { Root::count_dec(old) };
        } else {
            self.set_flags(self.flags() | AWAY);
            self.whereabouts.stay.store(stays::begin(stays::home(stay), root), Ordering::Release);
        }
    }

    /// The end of a stay away from home; with the flags that it has then.
    fn come_home(&self, stay: u32, flags: u16) {
        let owner = stays::owner(stay);
        self.set_flags(flags);
        // After the flags: who sees it at home sees whether it is free.
        self.whereabouts.stay.store(stays::home(stay).number, Ordering::Release);
        stays::end(stay);
        // SAFETY: taken when it became the owner.
        unsafe { Root::count_dec(owner) };
    }

    /// It is nobody's from now on, with the other `flags` as they are, and at home.
    pub(super) fn be_free(&self, flags: u16) {
        let stay = self.whereabouts.stay.load(Ordering::Relaxed);
        let flags = flags & !AWAY | FREE;
        if stays::is_away(stay) { self.come_home(stay, flags) } else { self.set_flags(flags) }
    }
}

/// Is this thread the holder of what stays there?
#[inline(always)]
fn is_here(stay: u32) -> bool {
    stay == context::number() || stays::is_away(stay) && stays::owner(stay) == context::root()
}
