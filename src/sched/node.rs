//! The cancel tree: one [`Node`] for each scope, nursery and child, linked to the node it was last polled under.
//!
//! Invariants, true whenever no function of this module runs:
//!
//! - `EFFECTIVE` is set iff the node is `CALLED`, or is not a `SHIELD` and its parent is `EFFECTIVE`.
//! - the nodes inside a node form a ring with its `inside`, first to last from there.
//! - the high half of `stamp` counts how often the node became effectively cancelled, the low half how often its slot
//!   was recycled. A wait that remembers the stamp of its beginning is cancelled iff the halves say: same node,
//!   cancelled since. That is sticky, as in Trio, where `cancel` takes blocked tasks out of their wait on the spot.
//! - `holds` counts the unfinished sections directly inside: started shields, nurseries with work left, and inner
//!   nodes with holds of their own.
//! - a free node is `FREE` and has no other flags (a task's has `DONE`, and the rest of them means nothing), no holds and
//!   nothing inside; it is at home, and its `parent` and `rounds` are the pool's.
//!   `rounds` counts from the moment when a node becomes effective, and means nothing before.
//! - `rare` points to the extras iff `EXTRAS` is set; else it is the id of a task, or 0 if nobody has asked for that yet.
//! - the flags of a task stand among the node's, so that one look tells whether it is a plain case: `QUEUED`, `DONE` and
//!   `APART` are the [header](crate::task::header)'s, and so is the high byte, which says what it waits in, but for the bit
//!   of `FREE`; `EXTRAS` says that there are some, `AWAY` that the owner is not the home.
//! - `stay` stands for the home, which never changes, and the owner ([`stays`](super::stays)). A free node has none,
//!   whatever that says: who looks at it from elsewhere reads `stay` first, and `flags` after.
//!
//! Everything but `stay`, `stamp` and `flags` is touched only by the thread that holds the owner, save for what is a task's
//! (`on_stack`, and whether it is gone: see the header). Slots are type-stable: whoever has a [`SlotRef`] may read those three
//! at any time. What changes the tree is in [`tree`](self::tree).

mod extras;
mod nature;
mod slot_ref;
mod tree;
mod whereabouts;

pub(crate) use extras::Foreign;
pub(crate) use slot_ref::SlotRef;

pub(crate) use tree::{
    cancel, close_ring, hold, link, link_new, rehome, release, retire, retire_known, retire_plainly, set_shield,
    settle, unlink, wake_inside,
};

use self::extras::Rare;
use self::nature::Nature;
use self::whereabouts::Whereabouts;
use super::root::Root;
use super::sync::{AtomicU16, AtomicU64, Cell, Ordering};
use crate::task::header::DONE;
use std::mem;
use std::ptr;

pub(crate) const CALLED: u16 = 1;
pub(crate) const SHIELD: u16 = 2;
pub(crate) const EFFECTIVE: u16 = 4;
/// What the tree knows of a node.
const TREE: u16 = CALLED | SHIELD | EFFECTIVE;
/// There are [`Extras`](crate::task::header::Extras).
pub(crate) const EXTRAS: u16 = 32;
/// The owner is not the home.
pub(crate) const AWAY: u16 = 64;
/// All flags of a node or a task in use, without what a task waits in.
pub(crate) const FLAGS: u16 = 0xff;
/// It is in no use, and nobody's.
const FREE: u16 = 1 << 15;

/// What a node is the head of; fixed for the life of the slot's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Task,
    Scope,
    Nursery,
    /// The children of a nursery together; lives inside the nursery's slot.
    Group,
}

/// See the module.
#[repr(C)]
pub(crate) struct Node {
    pub(crate) whereabouts: Whereabouts,
    stamp: AtomicU64,
    flags: AtomicU16,
    nature: Nature,
    /// Judgements put off because something inside was still being told.
    pub(crate) rounds: Cell<u8>,
    holds: Cell<u32>,
    pub(crate) parent: Cell<*const Node>,
    /// The place in the parent's ring, if there is a parent.
    place: Links,
    /// The beginning and end of the ring of the nodes inside.
    inside: Links,
    /// What few nodes have. Changed by the functions below only, which keep the flag.
    rare: std::cell::Cell<Rare>,
}

/// A member of a ring.
struct Links {
    prev: Cell<*const Links>,
    next: Cell<*const Links>,
}

impl Links {
    fn new() -> Self {
        Self { prev: Cell::new(ptr::null()), next: Cell::new(ptr::null()) }
    }

    /// The node whose place this is.
    fn node(this: *const Self) -> *const Node {
        this.wrapping_byte_sub(mem::offset_of!(Node, place)).cast()
    }
}

impl Node {
    /// A free node in the memory of `home`.
    pub(crate) fn fresh(home: &Root, kind: Kind) -> Self {
        Self {
            whereabouts: Whereabouts::new(home.number),
            stamp: AtomicU64::new(0),
            flags: AtomicU16::new(if matches!(kind, Kind::Task) { FREE | DONE } else { FREE }),
            nature: Nature::new(kind),
            rounds: Cell::new(0),
            holds: Cell::new(0),
            parent: Cell::new(ptr::null()),
            place: Links::new(),
            inside: Links::new(),
            rare: std::cell::Cell::new(Rare { id: 0 }),
        }
    }

    /// A task's node in the memory of `home`, in use, for `at`, where it is to stay; it is [to be the last one](Node::be_last)
    /// inside `parent`.
    ///
    /// # Safety
    /// The parent is alive, and held.
    #[inline(always)]
    pub(crate) unsafe fn begun(home: &Root, flags: u16, at: *const Self, parent: *const Self) -> Self {
        let inside = at.wrapping_byte_add(mem::offset_of!(Self, inside)).cast();
        // SAFETY: by contract.
        let end = unsafe { &raw const (*parent).inside };
        Self {
            flags: AtomicU16::new(flags),
            parent: Cell::new(parent),
            // SAFETY: by contract.
            place: Links { prev: Cell::new(unsafe { (*end).prev.get() }), next: Cell::new(end) },
            inside: Links { prev: Cell::new(inside), next: Cell::new(inside) },
            ..Self::fresh(home, Kind::Task)
        }
    }

    /// Makes it whole, where it is to stay.
    ///
    /// # Safety
    /// It was made by [`Node::fresh`], and stays there for as long as the slot's memory is mapped.
    pub(crate) unsafe fn settle_in(this: *const Self) {
        // SAFETY: by contract.
        unsafe {
            let inside = &raw const (*this).inside;
            (*inside).prev.set(inside);
            (*inside).next.set(inside);
        }
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        self.nature.kind()
    }

    /// # Safety
    /// It is no task's.
    #[inline(always)]
    pub(crate) unsafe fn is_group(&self) -> bool {
        // SAFETY: by contract.
        unsafe { self.nature.is_group() }
    }

    /// Of a task: [`Header::is_gone`](crate::task::header::Header::is_gone).
    #[inline(always)]
    pub(crate) fn is_gone(&self) -> bool {
        self.nature.is_gone()
    }

    #[inline(always)]
    pub(crate) fn set_gone(&self, is_gone: bool) {
        self.nature.set_gone(is_gone);
    }

    #[inline(always)]
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn generation(&self) -> u32 {
        self.stamp() as u32
    }

    /// Makes every reference to the node stale. One writer, the holder: plain load and store.
    #[inline(always)]
    fn next_generation(&self) {
        let generation = self.stamp.load(Ordering::Relaxed) as u32;
        self.stamp.store(u64::from(generation.wrapping_add(1)), Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn flags(&self) -> u16 {
        self.flags.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn is_effective(&self) -> bool {
        self.flags() & EFFECTIVE != 0
    }

    #[inline(always)]
    pub(crate) fn is_called(&self) -> bool {
        self.flags() & CALLED != 0
    }

    #[inline(always)]
    pub(crate) fn is_shield(&self) -> bool {
        self.flags() & SHIELD != 0
    }

    #[inline(always)]
    pub(crate) fn has_holds(&self) -> bool {
        self.holds.get() != 0
    }

    #[inline(always)]
    pub(crate) fn set_flags(&self, flags: u16) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Puts a free node to use under `root`, whose memory it is, not yet linked.
    pub(crate) fn begin(&self, root: &Root, flags: u16) {
        self.rounds.set(0);
        self.parent.set(ptr::null());
        self.begin_linked(root);
        self.set_flags(if flags & CALLED != 0 { flags | EFFECTIVE } else { flags });
    }

    /// As [`Node::begin`], for a node without flags that is linked before anybody looks at it ([`link_new`]): the rest is
    /// as [`retire`] left it.
    #[inline(always)]
    pub(crate) fn begin_linked(&self, root: &Root) {
        self.begin_with(root, 0);
    }

    /// As [`Node::begin_linked`], with flags.
    #[inline(always)]
    pub(crate) fn begin_with(&self, root: &Root, flags: u16) {
        debug_assert!(self.is_at_home(root));
        debug_assert!(self.holds.get() == 0 && !self.has_inner(), "a free node has nothing inside");
        self.set_flags(flags);
    }

    /// It is to be the last one inside `parent`, and is linked next ([`close_ring`]). Until then nothing else is linked there.
    ///
    /// # Safety
    /// The parent is alive, and held.
    #[inline(always)]
    pub(crate) unsafe fn be_last(&self, parent: *const Self) {
        // SAFETY: by contract.
        let end = unsafe { &raw const (*parent).inside };
        self.parent.set(parent);
        // SAFETY: by contract.
        self.place.prev.set(unsafe { (*end).prev.get() });
        self.place.next.set(end);
    }

    /// The parent's state as seen from here.
    #[inline(always)]
    pub(crate) fn parent_is_effective(&self) -> bool {
        let parent = self.parent.get();
        // SAFETY: a linked parent is alive: it unlinks its inner nodes when it ends.
        !parent.is_null() && unsafe { (*parent).is_effective() }
    }

    /// The nodes directly inside, first to last.
    pub(crate) fn inner(&self) -> Inner {
        Inner { end: &raw const self.inside, at: self.inside.next.get() }
    }

    /// Is there a node inside?
    #[inline(always)]
    pub(crate) fn has_inner(&self) -> bool {
        !ptr::eq(self.inside.next.get(), &raw const self.inside)
    }

    /// Is this one inside, and no other?
    #[inline(always)]
    pub(crate) fn has_only(&self, inner: &Self) -> bool {
        ptr::eq(self.inside.next.get(), &raw const inner.place)
            && ptr::eq(inner.place.next.get(), &raw const self.inside)
    }

    /// Has it neither flags nor holds?
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.flags() & FLAGS == 0 && !self.has_holds()
    }

    /// The first node inside.
    pub(crate) fn first(&self) -> Option<*const Self> {
        self.inner().next()
    }

    /// The next one inside the parent, which there is.
    fn next_sibling(&self) -> Option<*const Self> {
        // SAFETY: a linked parent is alive.
        let end = unsafe { &raw const (*self.parent.get()).inside };
        Inner { end, at: self.place.next.get() }.next()
    }
}

/// See [`Node::inner`]. The node that was returned last may be unlinked before the next step, no other.
pub(crate) struct Inner {
    end: *const Links,
    at: *const Links,
}

impl Iterator for Inner {
    type Item = *const Node;

    fn next(&mut self) -> Option<*const Node> {
        let at = self.at;
        if at == self.end {
            return None;
        }
        // SAFETY: linked nodes are alive.
        self.at = unsafe { (*at).next.get() };
        Some(Links::node(at))
    }
}
