//! The cancel tree: one [`Node`] for each scope, nursery and child, linked to the node it was last polled under.
//!
//! Invariants, true whenever no function of this module runs:
//!
//! - `EFFECTIVE` is set iff the node is `CALLED`, or is not a `SHIELD` and its parent is `EFFECTIVE`.
//! - the siblings of a node form a ring that starts at `parent.first`.
//! - the high half of `stamp` counts how often the node became effectively cancelled, the low half how often its slot
//!   was recycled. A wait that remembers the stamp of its beginning is cancelled iff the halves say: same node,
//!   cancelled since. That is sticky, as in Trio, where `cancel` takes blocked tasks out of their wait on the spot.
//! - `holds` counts the unfinished sections directly inside: started shields, nurseries with work left, and inner
//!   nodes with holds of their own.
//! - a free node has no flags (a task's has `DONE`), no holds and nothing inside; its `parent` and `rounds` are the pool's.
//!   `rounds` counts from the moment when a node becomes effective, and means nothing before.
//! - the flags of a task stand among the node's, so that one look tells whether it is a plain case: `QUEUED` and `DONE` are
//!   the [header](crate::task::header)'s; `EXTRAS` says that there are some, `AWAY` that the owner is not the home.
//!
//! Everything but `owner`, `stamp` and `flags` is touched only by the thread that holds `owner`. Slots are type-stable:
//! whoever has a [`SlotRef`] may read those three at any time.

use super::context;
use super::polled::Polled;
use super::root::Root;
use super::sync::{AtomicPtr, AtomicU8, AtomicU64, Cell, Ordering, heavy_fence};
use super::wakes::{Later, Wakes, Waste};
use crate::task::header::{DONE, Extras};
use crate::task::wake::WakeRef;
use std::ptr;

pub(crate) const CALLED: u8 = 1;
pub(crate) const SHIELD: u8 = 2;
pub(crate) const EFFECTIVE: u8 = 4;
/// What the tree knows of a node.
const TREE: u8 = CALLED | SHIELD | EFFECTIVE;
/// There are [`Extras`].
pub(crate) const EXTRAS: u8 = 32;
/// The owner is not the home.
pub(crate) const AWAY: u8 = 64;

/// What a node is the head of; fixed for the life of the slot's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// The root whose memory this is. Constant.
    home: *const Root,
    /// The root whose holder may touch the rest; null if the slot is free. Changes only under the hold of the old one.
    owner: AtomicPtr<Root>,
    stamp: AtomicU64,
    flags: AtomicU8,
    pub(crate) kind: Kind,
    /// Judgements put off because something inside was still being told.
    pub(crate) rounds: Cell<u16>,
    holds: Cell<u32>,
    pub(crate) parent: Cell<*const Node>,
    prev: Cell<*const Node>,
    next: Cell<*const Node>,
    pub(crate) first: Cell<*const Node>,
    /// What few nodes have. Changed by the functions below only, which keep the flag.
    extras: std::cell::Cell<Option<Box<Extras>>>,
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
    generation: u32,
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
        n.home().count_inc();
        Self { node, generation: n.generation() }
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

    /// Is it still the node that it was made for?
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        self.get().generation() == self.generation
    }
}

impl Clone for SlotRef {
    #[inline(always)]
    fn clone(&self) -> Self {
        self.get().home().count_inc();
        Self { node: self.node, generation: self.generation }
    }
}

impl Drop for SlotRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the count that was taken in `new` or `clone` is given back once.
        unsafe { Root::count_dec(self.get().home) }
    }
}

impl std::fmt::Debug for SlotRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SlotRef").field(&self.node).finish()
    }
}

impl Node {
    /// A free node in the memory of `home`.
    pub(crate) fn fresh(home: *const Root, kind: Kind) -> Self {
        Self {
            home,
            owner: AtomicPtr::new(ptr::null_mut()),
            stamp: AtomicU64::new(0),
            flags: AtomicU8::new(if matches!(kind, Kind::Task) { DONE } else { 0 }),
            kind,
            rounds: Cell::new(0),
            holds: Cell::new(0),
            parent: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            first: Cell::new(ptr::null()),
            extras: std::cell::Cell::new(None),
        }
    }

    #[inline(always)]
    pub(crate) fn home(&self) -> &Root {
        // SAFETY: root cells are never unmapped.
        unsafe { &*self.home }
    }

    #[inline(always)]
    pub(crate) fn home_ptr(&self) -> *const Root {
        self.home
    }

    #[inline(always)]
    pub(crate) fn owner(&self) -> *const Root {
        self.owner.load(Ordering::Acquire)
    }

    /// Hands the node to `root` (null: to nobody). An owner other than the home counts as a user of its cell.
    #[inline(always)]
    pub(crate) fn set_owner(&self, root: *const Root) {
        let old = self.owner.load(Ordering::Relaxed).cast_const();
        let is_away = !root.is_null() && root != self.home;
        if is_away {
            // SAFETY: root cells are never unmapped.
            unsafe { (*root).count_inc() };
        }
        self.set_flags(self.flags() & !AWAY | if is_away { AWAY } else { 0 });
        self.owner.store(root.cast_mut(), Ordering::Release);
        if !old.is_null() && old != self.home {
            // SAFETY: taken when it became the owner.
            unsafe { Root::count_dec(old) };
        }
    }

    /// Does this thread hold the root that owns the node?
    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        let owner = self.owner.load(Ordering::Acquire).cast_const();
        !owner.is_null() && owner == context::root()
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
    pub(crate) fn flags(&self) -> u8 {
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
    pub(crate) fn set_flags(&self, flags: u8) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Puts a free node to use under `root`, whose memory it is, not yet linked.
    pub(crate) fn begin(&self, root: *const Root, flags: u8) {
        self.rounds.set(0);
        self.parent.set(ptr::null());
        self.set_flags(if flags & CALLED != 0 { flags | EFFECTIVE } else { flags });
        self.begin_linked(root);
    }

    /// As [`Node::begin`], for a node without flags that is linked before anybody looks at it ([`link_new`]): the rest is
    /// as [`retire`] left it.
    #[inline(always)]
    pub(crate) fn begin_linked(&self, root: *const Root) {
        debug_assert!(ptr::eq(root, self.home));
        debug_assert!(self.holds.get() == 0 && self.first.get().is_null(), "a free node has nothing inside");
        self.owner.store(root.cast_mut(), Ordering::Release);
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
        Inner { first: self.first.get(), at: self.first.get() }
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
        self.set_flags(self.flags() & !EXTRAS);
        self.extras.take()
    }

    fn put_extras(&self, extras: Box<Extras>) {
        self.set_flags(self.flags() | EXTRAS);
        self.extras.set(Some(extras));
    }

    pub(crate) fn with_extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = self.extras.take().unwrap_or_default();
        let result = f(&mut extras);
        self.put_extras(extras);
        result
    }

    /// A look at the extras, if there are any.
    pub(crate) fn look_at_extras<R>(&self, f: impl FnOnce(&Extras) -> R) -> Option<R> {
        let extras = self.extras.take()?;
        let result = f(&extras);
        self.extras.set(Some(extras));
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

impl Foreign {
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.polled.is_empty()
    }
}

/// See [`Node::inner`]. The node that was returned last may be unlinked before the next step only if it is not `first`.
pub(crate) struct Inner {
    first: *const Node,
    at: *const Node,
}

impl Iterator for Inner {
    type Item = *const Node;

    fn next(&mut self) -> Option<*const Node> {
        let at = self.at;
        if at.is_null() {
            return None;
        }
        // SAFETY: linked nodes are alive.
        let next = unsafe { (*at).next.get() };
        self.at = if next == self.first { ptr::null() } else { next };
        Some(at)
    }
}

/// As [`link`], for the node of a task that was just begun and is on its queue: nobody has to be woken.
///
/// # Safety
/// As [`link`].
#[inline(always)]
pub(crate) unsafe fn link_new(node: *const Node, parent: *const Node) {
    // SAFETY: alive by contract.
    unsafe {
        join_ring(node, parent);
        if (*parent).is_effective() {
            link_cancelled(node);
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn link_cancelled(node: *const Node) {
    // SAFETY: as the caller's. It finds the task, which is queued, and nothing inside.
    unsafe { refresh(node) }.wake();
}

/// # Safety
/// As [`link`].
#[inline(always)]
unsafe fn join_ring(node: *const Node, parent: *const Node) {
    // SAFETY: alive by contract, as are ring members.
    unsafe {
        let (n, p) = (&*node, &*parent);
        let first = p.first.get();
        n.parent.set(parent);
        if first.is_null() {
            p.first.set(node);
            n.prev.set(node);
            n.next.set(node);
        } else {
            let last = (*first).prev.get();
            (*last).next.set(node);
            n.prev.set(last);
            n.next.set(first);
            (*first).prev.set(node);
        }
    }
}

/// Links `node` as the last inside `parent` and gives it the state that follows. A node that was linked before must
/// have been unlinked.
///
/// # Safety
/// This thread holds the owner of both.
pub(crate) unsafe fn link(node: *const Node, parent: *const Node) -> Wakes {
    // SAFETY: alive by contract.
    let (n, p) = unsafe {
        join_ring(node, parent);
        (&*node, &*parent)
    };
    if n.is_shield() || n.holds.get() > 0 {
        let units = u32::from(n.is_shield()) + u32::from(n.holds.get() > 0);
        // SAFETY: as above.
        unsafe { hold(parent, units) };
    }
    if p.is_effective() != n.is_effective() {
        // SAFETY: as above.
        unsafe { refresh(node) }
    } else {
        Wakes::none()
    }
}

/// Takes `node` out of its parent, if it has one. Its own state stays as it is.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn unlink(node: *const Node) -> Wakes {
    // SAFETY: alive by contract, as are ring members and parent.
    unsafe {
        let n = &*node;
        let parent = n.parent.replace(ptr::null());
        if parent.is_null() {
            return Wakes::none();
        }
        leave_ring(n, parent);
        let units = u32::from(n.is_shield()) + u32::from(n.holds.get() > 0);
        if units > 0 { release(parent, units) } else { Wakes::none() }
    }
}

/// Ends the use of a node: unlinks it, orphans what is still inside, makes every reference to it stale.
///
/// # Safety
/// This thread holds the owner, or nobody else can reach the node.
#[inline(always)]
pub(crate) unsafe fn retire(node: *const Node) -> Wakes {
    // SAFETY: alive by contract, as are ring members and parent.
    unsafe {
        let n = &*node;
        let parent = n.parent.get();
        let flags = n.flags();
        let plain = n.first.get().is_null() && n.holds.get() == 0 && flags & (SHIELD | EXTRAS | AWAY) == 0;
        if parent.is_null() || !plain {
            return retire_slowly(node);
        }
        if flags & TREE != 0 {
            n.set_flags(flags & !TREE);
        }
        leave_ring(n, parent);
        n.owner.store(ptr::null_mut(), Ordering::Release);
        n.next_generation();
        Wakes::none()
    }
}

/// As [`retire`], for a task that has ended in its poll: in the common case, of which nothing is left. False: nothing was done.
///
/// # Safety
/// This thread holds the owner; the node is a task's, and linked.
#[inline(always)]
pub(crate) unsafe fn retire_plainly(n: &Node) -> bool {
    if n.flags() != 0 || !n.first.get().is_null() || n.holds.get() != 0 {
        return false;
    }
    debug_assert!(n.owner() == n.home, "it is not away");
    n.set_flags(DONE);
    // SAFETY: by contract.
    unsafe { leave_ring(n, n.parent.get()) };
    n.owner.store(ptr::null_mut(), Ordering::Release);
    n.next_generation();
    true
}

/// Takes a node out of its parent's ring.
///
/// # Safety
/// This thread holds the owner; the node is linked inside `parent`.
#[inline(always)]
unsafe fn leave_ring(n: &Node, parent: *const Node) {
    // SAFETY: ring members and parent are alive.
    unsafe {
        let (prev, next) = (n.prev.get(), n.next.get());
        if ptr::eq(next, n) {
            (*parent).first.set(ptr::null());
        } else {
            (*prev).next.set(next);
            (*next).prev.set(prev);
            if ptr::eq((*parent).first.get(), n) {
                (*parent).first.set(next);
            }
        }
    }
}

#[inline(never)]
unsafe fn retire_slowly(node: *const Node) -> Wakes {
    // SAFETY: as the caller's.
    unsafe {
        let n = &*node;
        let mut wakes = unlink(node);
        while !n.first.get().is_null() {
            let inner = n.first.get();
            let _ = unlink(inner);
        }
        wakes.waste(n.take_extras().map(Waste::Extras));
        n.holds.set(0);
        n.set_owner(ptr::null());
        n.next_generation();
        n.set_flags(n.flags() & !TREE);
        wakes
    }
}

/// Makes a node without a parent consistent with that.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn settle(node: *const Node) -> Wakes {
    // SAFETY: held by contract.
    unsafe { refresh(node) }
}

/// Recomputes `EFFECTIVE` from `start` downwards, as far as it changes.
///
/// # Safety
/// This thread holds the owner.
unsafe fn refresh(start: *const Node) -> Wakes {
    let mut wakes = Wakes::none();
    let mut at = start;
    loop {
        // SAFETY: linked nodes are alive.
        let n = unsafe { &*at };
        let flags = n.flags();
        let effective = flags & CALLED != 0 || (flags & SHIELD == 0 && n.parent_is_effective());
        let changed = effective != (flags & EFFECTIVE != 0);
        if changed {
            n.set_flags(flags ^ EFFECTIVE);
            if effective {
                // The high half; it may go round.
                n.stamp.store(n.stamp.load(Ordering::Relaxed).wrapping_add(1 << 32), Ordering::Release);
                n.rounds.set(0);
                // SAFETY: held by contract.
                unsafe { collect(n, &mut wakes) };
            }
            if !n.first.get().is_null() {
                at = n.first.get();
                continue;
            }
        }
        // On to the next in depth-first order.
        loop {
            if at == start {
                return wakes;
            }
            // SAFETY: as above; a node below `start` has a parent.
            unsafe {
                let (parent, next) = ((*at).parent.get(), (*at).next.get());
                if next != (*parent).first.get() {
                    at = next;
                    break;
                }
                at = parent;
            }
        }
    }
}

/// Wakes whoever polls one frame: a task on the spot, as far as no foreign code runs for that.
///
/// # Safety
/// This thread holds the owner.
unsafe fn collect(n: &Node, wakes: &mut Wakes) {
    match n.kind {
        // SAFETY: a task's node heads its header; its owner is held.
        Kind::Task => unsafe { crate::task::header::wake_held(ptr::from_ref(n).cast(), &*n.owner(), wakes) },
        Kind::Scope => {
            // SAFETY: the kind says so.
            let scope = unsafe { crate::cancel::slot::ScopeSlot::of(n) };
            if let Some(w) = scope.waker_clone() {
                wakes.push(Later::Wake(w));
            }
        }
        Kind::Nursery | Kind::Group => {}
    }
    n.foreign_wakers(wakes);
}

/// Cancels a node.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn cancel(node: *const Node) -> Wakes {
    // SAFETY: alive by contract.
    let n = unsafe { &*node };
    if n.is_called() {
        return Wakes::none();
    }
    n.set_flags(n.flags() | CALLED);
    // SAFETY: held by contract.
    unsafe { refresh(node) }
}

/// Raises or lowers the shield of an entered scope.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn set_shield(node: *const Node, shield: bool) -> Wakes {
    // SAFETY: alive by contract.
    let n = unsafe { &*node };
    if n.is_shield() == shield {
        return Wakes::none();
    }
    let parent = n.parent.get();
    n.set_flags(n.flags() ^ SHIELD);
    // SAFETY: held by contract.
    unsafe {
        if shield && !parent.is_null() {
            hold(parent, 1);
        }
        let mut wakes = refresh(node);
        if !shield && !parent.is_null() {
            wakes.append(release(parent, 1));
        }
        wakes
    }
}

/// Adds unfinished sections directly inside `node`.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn hold(node: *const Node, units: u32) {
    let mut at = node;
    let mut units = units;
    while !at.is_null() {
        // SAFETY: alive by contract, as is every parent.
        let n = unsafe { &*at };
        let before = n.holds.get();
        n.holds.set(before + units);
        if before > 0 {
            return;
        }
        units = 1;
        at = n.parent.get();
    }
}

/// Ends unfinished sections; cancelled frames around are to be judged again.
///
/// # Safety
/// This thread holds the owner; the units were taken.
pub(crate) unsafe fn release(node: *const Node, units: u32) -> Wakes {
    let mut wakes = Wakes::none();
    let mut at = node;
    let mut units = units;
    while !at.is_null() {
        // SAFETY: alive by contract, as is every parent.
        let n = unsafe { &*at };
        let left = n.holds.get().saturating_sub(units);
        n.holds.set(left);
        if left > 0 {
            break;
        }
        if n.is_effective() {
            // SAFETY: held by contract.
            unsafe { collect(n, &mut wakes) };
        }
        units = 1;
        at = n.parent.get();
    }
    wakes
}

/// Wakes every task inside, so that what it waits for registers anew.
///
/// # Safety
/// This thread holds the owner.
pub(crate) unsafe fn wake_inside(start: *const Node) -> Wakes {
    let mut wakes = Wakes::none();
    let mut stack = vec![start];
    while let Some(node) = stack.pop() {
        // SAFETY: linked nodes are alive.
        unsafe {
            collect(&*node, &mut wakes);
            stack.extend((*node).inner());
        }
    }
    wakes
}

/// Hands a subtree from one root to another; the caller links `start` anew.
///
/// Every task inside is woken, so that what it waits for registers with the new root; not in limbo, where none runs.
///
/// # Safety
/// This thread holds both roots; `start` is unlinked.
pub(crate) unsafe fn rehome(start: *const Node, from: *const Root, to: *const Root) -> Wakes {
    let to_limbo = ptr::eq(to, Root::limbo());
    let mut wakes = Wakes::none();
    let mut at = start;
    loop {
        // SAFETY: linked nodes are alive.
        unsafe {
            let n = &*at;
            if matches!(n.kind, Kind::Scope | Kind::Nursery) {
                crate::cancel::slot::ScopeSlot::of(n).leave_timers(from);
            }
            n.set_owner(to);
            if !to_limbo {
                collect(n, &mut wakes);
            }
            if !n.first.get().is_null() {
                at = n.first.get();
                continue;
            }
            loop {
                if at == start {
                    // Whoever wakes a task inside sees the new owner, or its next poll what the waker did before.
                    heavy_fence();
                    return wakes;
                }
                let (parent, next) = ((*at).parent.get(), (*at).next.get());
                if next != (*parent).first.get() {
                    at = next;
                    break;
                }
                at = parent;
            }
        }
    }
}
