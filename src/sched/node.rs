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
//! - `stay` stands for the home, which never changes, and the owner ([`stays`]). A free node has none,
//!   whatever that says: who looks at it from elsewhere reads `stay` first, and `flags` after.
//!
//! Everything but `stay`, `stamp` and `flags` is touched only by the thread that holds the owner, save for what is a task's
//! (`on_stack`, and whether it is gone: see the header). Slots are type-stable: whoever has a [`SlotRef`] may read those three
//! at any time. What changes the tree is in [`tree`](self::tree).

mod nature;
mod tree;

pub(crate) use tree::{
    cancel, close_ring, hold, link, link_new, rehome, release, retire, retire_plainly, set_shield, settle, unlink,
    wake_inside,
};

use self::nature::Nature;
use super::context;
use super::polled::Polled;
use super::root::Root;
use super::stack::Place;
use super::stays;
use super::sync::{AtomicU16, AtomicU32, AtomicU64, Cell, Ordering};
use super::wakes::{Later, Wakes};
use crate::task::header::{DONE, Extras};
use crate::task::wake::WakeRef;
use std::mem;
use std::ptr;

pub(crate) const CALLED: u16 = 1;
pub(crate) const SHIELD: u16 = 2;
pub(crate) const EFFECTIVE: u16 = 4;
/// What the tree knows of a node.
const TREE: u16 = CALLED | SHIELD | EFFECTIVE;
/// There are [`Extras`].
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
    fn new(stay: u32) -> Self {
        cfg_if::cfg_if! {
            if #[cfg(all(not(loom), target_endian = "little"))] {
                // By one store: a compiler makes two of it otherwise.
                // SAFETY: two numbers of 32 bits, the lower half first; 0 is that of no stack.
                unsafe { mem::transmute::<u64, Self>(u64::from(stay)) }
            } else {
                Self { stay: AtomicU32::new(stay), on_stack: Place::new() }
            }
        }
    }
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

/// See the module.
#[derive(Clone, Copy)]
union Rare {
    id: u64,
    extras: *mut Extras,
}

/// Wakers of waits whose waker is not the task's own (a foreign sub-executor sits in between).
#[derive(Default)]
pub(crate) struct Foreign {
    next_key: u64,
    wakers: Vec<(u64, WakeRef)>,
    /// Of those who ask in poll functions of their own.
    polled: Polled,
}

/// A counted reference to a slot: its memory stays mapped and a node of this kind. The node itself may be gone.
pub(crate) struct SlotRef {
    node: *const Node,
    /// A whole word: what is written by half and read back as a whole soon after makes the processor wait.
    generation: u64,
}

// SAFETY: a `SlotRef` gives access to the atomics of the node, and to the rest only for the holder of its owner.
unsafe impl Send for SlotRef {}
// SAFETY: as above.
unsafe impl Sync for SlotRef {}

impl SlotRef {
    /// # Safety
    /// `node` is the live or at least mapped head of a slot (not a `Group`).
    #[inline(always)]
    pub(crate) unsafe fn new(node: *const Node) -> Self {
        // SAFETY: mapped by contract.
        let n = unsafe { &*node };
        n.count();
        Self { node, generation: n.generation().into() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const Node {
        self.node
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> &Node {
        // SAFETY: the count keeps the memory mapped and of this type.
        unsafe { &*self.node }
    }

    /// Of the node that it was made for.
    pub(crate) fn generation(&self) -> u32 {
        self.generation as u32
    }

    /// Is it still the node that it was made for?
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        u64::from(self.get().generation()) == self.generation
    }
}

impl Clone for SlotRef {
    #[inline(always)]
    fn clone(&self) -> Self {
        self.get().count();
        Self { node: self.node, generation: self.generation }
    }
}

impl Drop for SlotRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the count that was taken in `new` or `clone` is given back once.
        unsafe { Node::uncount(self.node) }
    }
}

impl std::fmt::Debug for SlotRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SlotRef").field(&self.node).finish()
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

    // ---- home and owner ----

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
        home_of(stay)
    }

    /// Is it in the memory of `root`?
    #[inline(always)]
    pub(crate) fn is_of(&self, root: &Root) -> bool {
        let stay = self.stay();
        stay == root.number || stays::is_away(stay) && ptr::eq(home_of(stay), root)
    }

    /// Counts one on the home, for a reference to the slot.
    #[inline(always)]
    pub(crate) fn count(&self) {
        let stay = self.stay();
        if stay == context::number() {
            // SAFETY: as in `home`.
            unsafe { (*context::root()).count_inc_here() };
        } else {
            home_of(stay).count_inc();
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
                Root::count_dec(home_of(stay));
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
        if stay == context::number() { context::root() } else { owner_of(stay) }
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
    fn be_free(&self, flags: u16) {
        let stay = self.whereabouts.stay.load(Ordering::Relaxed);
        let flags = flags & !AWAY | FREE;
        if stays::is_away(stay) { self.come_home(stay, flags) } else { self.set_flags(flags) }
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

    // ---- extras ----

    /// What few nodes have.
    ///
    /// None while one of these functions runs, which run no foreign code but for the clone of a waker.
    #[inline(always)]
    pub(crate) fn has_extras(&self) -> bool {
        self.flags() & EXTRAS != 0
    }

    pub(crate) fn take_extras(&self) -> Option<Box<Extras>> {
        if !self.has_extras() {
            return None;
        }
        self.set_flags(self.flags() & !EXTRAS);
        // SAFETY: it points to the extras, as the flag said, which were put there by `put_extras`.
        let extras = unsafe { Box::from_raw(self.rare.get().extras) };
        self.rare.set(Rare { id: extras.id });
        Some(extras)
    }

    fn put_extras(&self, mut extras: Box<Extras>) {
        extras.id = self.id();
        self.set_flags(self.flags() | EXTRAS);
        self.rare.set(Rare { extras: Box::into_raw(extras) });
    }

    /// The id of a task; 0 if it has none yet.
    pub(crate) fn id(&self) -> u64 {
        // SAFETY: as the flag says.
        unsafe { if self.has_extras() { (*self.rare.get().extras).id } else { self.rare.get().id } }
    }

    pub(crate) fn set_id(&self, id: u64) {
        if self.has_extras() {
            // SAFETY: as the flag says; nobody has a reference to them but while a function below runs.
            unsafe { (*self.rare.get().extras).id = id };
        } else {
            self.rare.set(Rare { id });
        }
    }

    /// As [`Node::set_id`], for a task that was just begun: none yet.
    #[inline(always)]
    pub(crate) fn forget_id(&self) {
        debug_assert!(!self.has_extras());
        self.rare.set(Rare { id: 0 });
    }

    pub(crate) fn with_extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = self.take_extras().unwrap_or_default();
        let result = f(&mut extras);
        self.put_extras(extras);
        result
    }

    /// A look at the extras, if there are any.
    pub(crate) fn look_at_extras<R>(&self, f: impl FnOnce(&Extras) -> R) -> Option<R> {
        let extras = self.take_extras()?;
        let result = f(&extras);
        self.put_extras(extras);
        Some(result)
    }

    /// Registers the waker of a wait inside that a cancel must wake by itself.
    pub(crate) fn add_foreign(&self, waker: WakeRef) -> u64 {
        self.with_extras(|extras| {
            let list = &mut extras.foreign;
            list.next_key += 1;
            list.wakers.push((list.next_key, waker));
            list.next_key
        })
    }

    /// The registered waker comes back, to be dropped by the caller.
    pub(crate) fn remove_foreign(&self, key: u64) -> Option<WakeRef> {
        let mut extras = self.take_extras()?;
        let wakers = &mut extras.foreign.wakers;
        let found = wakers.iter().position(|(k, _)| *k == key);
        let waker = found.map(|i| wakers.swap_remove(i).1);
        if !extras.is_empty() {
            self.put_extras(extras);
        }
        waker
    }

    /// The list of those who ask in poll functions of their own. `f` runs no foreign code.
    pub(super) fn with_polled<R>(&self, f: impl FnOnce(&mut Polled) -> R) -> R {
        self.with_extras(|extras| f(&mut extras.foreign.polled))
    }

    fn foreign_wakers(&self, wakes: &mut Wakes) {
        if self.has_extras() {
            self.with_extras(|extras| {
                let list = &mut extras.foreign;
                let later = wakes.list();
                later.extend(list.wakers.iter().map(|(_, w)| Later::Wake(w.clone())));
                later.extend(list.polled.take().map(Later::Wake));
            });
        }
    }
}

/// Of a node that is not at home in the context's root, most often: by a call, which the common path need not have in it.
#[inline(never)]
fn home_of(stay: u32) -> &'static Root {
    stays::home(stay)
}

/// As [`home_of`].
#[inline(never)]
fn owner_of(stay: u32) -> *const Root {
    stays::owner(stay)
}

/// Is this thread the holder of what stays there?
#[inline(always)]
fn is_here(stay: u32) -> bool {
    stay == context::number() || stays::is_away(stay) && owner_of(stay) == context::root()
}

impl Foreign {
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.polled.is_empty()
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
