//! What changes the tree: nodes are linked and unlinked, cancelled, shielded, held, ended, and handed to another root.
//!
//! Each function leaves the invariants of [`node`](super) true, and runs no foreign code: whom it wants woken or dropped comes
//! back as [`Wakes`].

use super::{AWAY, CALLED, EFFECTIVE, EXTRAS, FLAGS, FREE, Kind, Node, SHIELD, TREE};
use crate::sched::root::Root;
use crate::sched::sync::{Ordering, heavy_fence};
use crate::sched::wakes::{Later, Wakes, Waste};
use crate::task::header::{APART, DONE, QUEUED};
use crate::task::wake;
use std::ptr;

/// As [`link`], for a node that was just begun: a task's that is on its queue, or a scope's. Nobody has to be woken.
///
/// # Safety
/// As [`link`].
#[inline(always)]
pub(crate) unsafe fn link_new(node: *const Node, parent: *const Node) {
    // SAFETY: alive by contract.
    unsafe {
        (*node).be_last(parent);
        close_ring(&*node, &*parent);
    }
}

/// As [`link_new`], for a node that knows its place already.
///
/// # Safety
/// As [`link`]; the node was told to [be the last one](Node::be_last) inside its parent, where nothing was linked since.
#[inline(always)]
pub(crate) unsafe fn close_ring(n: &Node, parent: &Node) {
    debug_assert!(ptr::eq(n.parent.get(), parent));
    // SAFETY: alive by contract, as are ring members.
    unsafe { join_ring_at_end(n, parent) };
    if parent.is_effective() {
        // SAFETY: by contract.
        unsafe { link_cancelled(n) };
    }
}

#[cold]
#[inline(never)]
unsafe fn link_cancelled(node: *const Node) {
    // SAFETY: as the caller's. It finds a task that is queued, or a scope where nobody waits, and nothing inside.
    unsafe { refresh(node) }.wake();
}

/// Puts a node into the ring at the place that it knows, the last one.
///
/// # Safety
/// As [`close_ring`].
#[inline(always)]
unsafe fn join_ring_at_end(n: &Node, parent: &Node) {
    let place = &raw const n.place;
    let before = parent.inside.prev.replace(place);
    debug_assert!(ptr::eq(n.place.prev.get(), before) && ptr::eq(n.place.next.get(), &raw const parent.inside));
    // SAFETY: ring members are alive.
    unsafe { (*before).next.set(place) };
}

/// Links `node` as the last inside `parent` and gives it the state that follows. A node that was linked before must
/// have been unlinked.
///
/// # Safety
/// This thread holds the owner of both.
pub(crate) unsafe fn link(node: *const Node, parent: *const Node) -> Wakes {
    // SAFETY: alive by contract.
    let (n, p) = unsafe {
        (*node).be_last(parent);
        join_ring_at_end(&*node, &*parent);
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
        leave_ring(n);
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
        let plain = !n.has_inner() && n.holds.get() == 0 && flags & (SHIELD | EXTRAS | AWAY) == 0;
        if parent.is_null() || !plain {
            return retire_slowly(node);
        }
        leave_ring(n);
        n.set_flags(flags & !TREE | FREE);
        n.next_generation();
        Wakes::none()
    }
}

/// As [`retire`], for what has ended in its poll, in the common case: it has the flags `before`, and nothing inside. It is left
/// with the flags `after`. False: nothing was done.
///
/// # Safety
/// This thread holds the owner; the node is linked.
#[inline(always)]
pub(crate) unsafe fn retire_plainly(n: &Node, before: u16, after: u16) -> bool {
    if n.flags() & FLAGS != before || n.has_inner() || n.holds.get() != 0 {
        return false;
    }
    // SAFETY: by contract.
    unsafe { retire_unlooked(n, after) };
    true
}

/// As [`retire_plainly`], of a node that is known to have no flags, no holds and nothing inside.
///
/// # Safety
/// As [`retire_plainly`].
#[inline(always)]
pub(crate) unsafe fn retire_known(n: &Node) {
    debug_assert!(n.is_plain() && !n.has_inner());
    // SAFETY: by contract.
    unsafe { retire_unlooked(n, 0) };
}

/// # Safety
/// As [`retire_plainly`]; that found nothing against it.
#[inline(always)]
unsafe fn retire_unlooked(n: &Node, after: u16) {
    n.set_flags(after | FREE);
    n.next_generation();
    // SAFETY: by contract. Last, since it writes elsewhere.
    unsafe { leave_ring(n) };
}

/// Takes a node out of its parent's ring.
///
/// # Safety
/// This thread holds the owner; the node is linked.
#[inline(always)]
unsafe fn leave_ring(n: &Node) {
    // SAFETY: ring members are alive.
    unsafe {
        let (prev, next) = (n.place.prev.get(), n.place.next.get());
        (*prev).next.set(next);
        (*next).prev.set(prev);
    }
}

#[inline(never)]
unsafe fn retire_slowly(node: *const Node) -> Wakes {
    // SAFETY: as the caller's.
    unsafe {
        let n = &*node;
        let mut wakes = unlink(node);
        while let Some(inner) = n.first() {
            let _ = unlink(inner);
        }
        wakes.waste(n.take_extras().map(Waste::Extras));
        n.holds.set(0);
        n.be_free(n.flags() & !TREE);
        n.next_generation();
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
                unsafe {
                    if !queue_plainly(n) {
                        collect(n, &mut wakes);
                    }
                }
            }
            if let Some(inner) = n.first() {
                at = inner;
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
                if let Some(next) = (*at).next_sibling() {
                    at = next;
                    break;
                }
                at = (*at).parent.get();
            }
        }
    }
}

/// As [`collect`], for a task that waits and has no extras, in a nursery that will be polled anyway. False: nothing was done.
///
/// # Safety
/// This thread holds the owner.
#[inline(always)]
unsafe fn queue_plainly(n: &Node) -> bool {
    let flags = n.flags();
    if n.kind() != Kind::Task || flags & (EXTRAS | QUEUED | DONE | APART) != 0 {
        return false;
    }
    // SAFETY: a task's node heads its header; held by contract.
    unsafe { wake::queue(&*ptr::from_ref(n).cast(), flags) }
}

/// Wakes whoever polls one frame: a task on the spot, as far as no foreign code runs for that.
///
/// # Safety
/// This thread holds the owner.
unsafe fn collect(n: &Node, wakes: &mut Wakes) {
    match n.kind() {
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
pub(crate) unsafe fn rehome(start: *const Node, from: *const Root, to: &Root) -> Wakes {
    let to_limbo = ptr::eq(to, Root::limbo());
    let mut wakes = Wakes::none();
    let mut at = start;
    loop {
        // SAFETY: linked nodes are alive.
        unsafe {
            let n = &*at;
            if matches!(n.kind(), Kind::Scope | Kind::Nursery) {
                crate::cancel::slot::ScopeSlot::of(n).leave_timers(from);
            }
            n.set_owner(to);
            if !to_limbo {
                collect(n, &mut wakes);
            }
            if let Some(inner) = n.first() {
                at = inner;
                continue;
            }
            loop {
                if at == start {
                    // Whoever wakes a task inside sees the new owner, or its next poll what the waker did before.
                    heavy_fence();
                    return wakes;
                }
                if let Some(next) = (*at).next_sibling() {
                    at = next;
                    break;
                }
                at = (*at).parent.get();
            }
        }
    }
}
