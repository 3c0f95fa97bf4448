//! What other threads may do to a root: push woken tasks on its stack, send it mail, or, while it is idle, hold it.
//!
//! Protocol:
//!
//! 1. *Wake.* A header is on one stack at a time ([`stack`](super::stack)). Push, then ring ([`bell`](super::bell)). The
//!    thread that ran the root last takes an idle root instead, and queues the task itself: hosts call most wakers where they
//!    poll. Other threads do not, since a turn would have to wait for them.
//! 2. *Drain.* The header leaves the stack before the task is woken; the owner is looked at again, since the task may
//!    have changed hands or ended while it was on the stack. Being on a stack counts on the header's home. A header that
//!    is still on the stack of another root (which may be slow, or forgotten) is woken by mail.
//! 3. *Mail* is an operation on the root's structures. [`perform`] runs it here and now if this thread holds the root
//!    or can take an idle one; else it is posted and the host woken. It is run in order, by whoever holds next
//!    ([`gate`](super::gate)). The node that it is about may have changed hands meanwhile: then it is sent on.
//! 4. *End.* The last holder shuts the gate and drains. From then on holds are short and taken by spinning, and a
//!    pusher that finds the root ended drains the stack itself. No foreign code runs under a short hold.
//! 5. *Limbo* is a root that has ended before it began ([`Root::limbo`]): it owns what one root has let go of and
//!    another has not taken yet, so that there is always a hold to take.

use super::context;
use super::gate::Hold;
use super::node::{self, SlotRef};
use super::root::Root;
use super::stack::{Admission, Taken};
use super::sync::light_fence;
use super::timers::TimerKey;
use super::wakes::{Later, Wakes, Waste};
use crate::cancel::ScopeShared;
use crate::cancel::slot::ScopeSlot;
use crate::nursery::core::CoreSlot;
use crate::task::header::{self, Beyond, Header};
use crate::task::wake::{self, WakeRef, wake_foreign};
use std::ptr;
use std::sync::Arc;

/// An operation on a root's structures.
pub(crate) enum Mail {
    /// Brings an entered scope's node up to date with its handle.
    Scope(Arc<ScopeShared>),
    /// Cancels a node.
    Cancel(SlotRef),
    /// Ends a hold on a node.
    Release(SlotRef),
    /// Ends a scope's slot whose future is gone.
    EndScope(SlotPtr),
    /// Ends a nursery's slot and those of its tasks, whose futures are gone.
    EndCore(SlotPtr),
    /// Ends the slot of a task that belongs to no nursery and whose future is gone.
    EndTask(SlotPtr),
    /// Ends a timer.
    EndTimer(TimerKey),
    /// Forgets one who waits for idleness.
    EndWatch(u64),
    /// Forgets the waker of a wait.
    EndForeign(SlotRef, u64),
    /// Lets go of a subtree that was polled under another root.
    LetGo(SlotRef, WakeRef),
    /// Wakes a task that could not be pushed.
    Wake(SlotRef),
}

/// A slot in use whose users are gone or wait for the answer.
pub(crate) struct SlotPtr(pub(crate) *const node::Node);

// SAFETY: it is only dereferenced by the holder of its owner.
unsafe impl Send for SlotPtr {}

impl Mail {
    /// The root that the operation concerns now: `root`, or the one that the node has been handed to. None: the node
    /// is gone, or the operation works with anything.
    ///
    /// # Safety
    /// This thread holds `root`.
    unsafe fn moved(&self, root: *const Root) -> Option<*const Root> {
        let owner = match self {
            Self::Scope(shared) => shared.owner()?,
            Self::Cancel(slot) | Self::Release(slot) | Self::EndForeign(slot, _) | Self::Wake(slot) => {
                if !slot.is_live() {
                    return None;
                }
                slot.get().owner()
            }
            // SAFETY: in use.
            Self::EndScope(slot) | Self::EndCore(slot) | Self::EndTask(slot) => unsafe { (*slot.0).owner() },
            Self::EndTimer(_) | Self::EndWatch(_) | Self::LetGo(..) => return None,
        };
        (!owner.is_null() && owner != root).then_some(owner)
    }

    /// Runs the operation; what it wants woken or dropped is for after the hold.
    ///
    /// # Safety
    /// This thread holds `root`.
    unsafe fn run(self, root: *const Root, after: &mut After) {
        // SAFETY: held by contract; live references are looked at only if they still belong here.
        unsafe {
            if let Some(owner) = self.moved(root) {
                after.again.push((owner, self));
                return;
            }
            let is_ours = |slot: &SlotRef| slot.is_live() && slot.get().owner() == root;
            let wakes = &mut after.wakes;
            match self {
                Self::Scope(shared) => {
                    wakes.append(shared.apply(root));
                    wakes.waste(Some(Waste::Scope(shared)));
                }
                Self::Cancel(slot) => {
                    if is_ours(&slot) {
                        wakes.append(node::cancel(slot.as_ptr()));
                    }
                    wakes.waste(Some(Waste::Slot(slot)));
                }
                Self::Release(slot) => {
                    if is_ours(&slot) {
                        wakes.append(node::release(slot.as_ptr(), 1));
                    }
                    wakes.waste(Some(Waste::Slot(slot)));
                }
                Self::EndScope(slot) => wakes.append(ScopeSlot::end(slot.0)),
                Self::EndCore(slot) => wakes.append(CoreSlot::end(slot.0)),
                Self::EndTask(slot) => {
                    let h = &*slot.0.cast::<Header>();
                    // Without a nursery there is no queue.
                    h.clear_queued();
                    wakes.append(crate::nursery::core::free_task(h));
                }
                Self::EndTimer(key) => wakes.waste((*root).timers.borrow_mut().remove(key).map(Waste::Target)),
                Self::EndWatch(key) => {
                    if let Some(waker) = (*root).idle.borrow_mut().remove(key) {
                        wakes.waste(Some(Waste::Wake(waker)));
                        // It was set to sleep for this one's sake.
                        wakes.push(Later::Host(&*root));
                    }
                }
                Self::EndForeign(slot, key) => {
                    if is_ours(&slot) {
                        wakes.waste(slot.get().remove_foreign(key).map(Waste::Wake));
                    }
                    wakes.waste(Some(Waste::Slot(slot)));
                }
                Self::LetGo(slot, waker) => {
                    if is_ours(&slot) {
                        let limbo = Root::limbo();
                        let _hold = limbo.hold();
                        wakes.append(node::unlink(slot.as_ptr()));
                        wakes.append(node::rehome(slot.as_ptr(), root, limbo));
                    }
                    wakes.waste(Some(Waste::Slot(slot)));
                    wakes.push(Later::Wake(waker));
                }
                Self::Wake(slot) => {
                    if is_ours(&slot) {
                        header::wake_held(slot.as_ptr().cast(), &*root, wakes);
                    }
                    wakes.waste(Some(Waste::Slot(slot)));
                }
            }
        }
    }
}

/// What operations leave to be done without the hold.
pub(crate) struct After {
    wakes: Wakes,
    again: Vec<(*const Root, Mail)>,
}

impl After {
    pub(crate) fn new() -> Self {
        Self { wakes: Wakes::none(), again: Vec::new() }
    }

    pub(crate) fn finish(self) {
        for (root, mail) in self.again {
            // SAFETY: an owner is a root cell, never unmapped.
            unsafe { perform(root, mail) };
        }
        self.wakes.wake();
    }
}

/// Runs an operation on a root's structures, now if possible, else soon.
///
/// # Safety
/// `root` is a root cell that what the mail refers to belongs to, or did.
pub(crate) unsafe fn perform(root: *const Root, mail: Mail) {
    let is_here = root == context::root();
    // SAFETY: root cells are never unmapped.
    let _telling = (!is_here).then(|| unsafe { (*root).tell() });
    let mut after = After::new();
    // SAFETY: as above; each branch establishes the hold.
    unsafe {
        if is_here {
            mail.run(root, &mut after);
        } else if (*root).gate.perform(mail, |mail| mail.run(root, &mut after)) {
            (*root).notify();
        }
    }
    after.finish();
}

/// To be called after a hold of `root` has ended: runs the mail that came meanwhile.
#[inline]
pub(crate) fn sweep(root: &Root) {
    if root.gate.has_late_mail() {
        sweep_mail(root);
    }
}

#[cold]
fn sweep_mail(root: &Root) {
    let _telling = root.tell();
    let mut after = After::new();
    // SAFETY: the gate runs mail under a hold.
    if root.gate.sweep(|mail| unsafe { mail.run(root, &mut after) }) {
        root.notify();
    }
    after.finish();
}

/// Runs the mail of a root; what it leaves is for after the hold, if that is a short one.
///
/// # Safety
/// This thread holds `root`.
#[cold]
pub(crate) unsafe fn read_mail(root: &Root, after: &mut After) {
    for mail in root.gate.take_mail() {
        // SAFETY: held by contract.
        unsafe { mail.run(root, after) };
    }
}

/// Wakes a task from outside its root: queues it there and then if the root is idle and this thread ran it last, else puts
/// it on the root's stack.
///
/// That root may never be run again. So if the task is on its way to another one, either its poll there sees what the
/// caller did before, or the caller sees the new owner: the fence pairs with that of [`node::rehome`], after which the
/// new owner is known and before which no such poll begins.
///
/// # Safety
/// The header is the head of a mapped task slot.
#[inline(never)]
pub(crate) unsafe fn wake_task(header: *const Header) {
    // SAFETY: by contract.
    unsafe {
        wake_task_counted(header, (*header).node.home(), false);
    }
}

/// As [`wake_task`]. `home` is the slot's, nearly always the owner, too. `is_counted`: the caller has a count there. True: it was
/// passed on.
///
/// # Safety
/// As [`wake_task`].
#[inline(always)]
pub(crate) unsafe fn wake_task_counted(header: *const Header, home: &'static Root, is_counted: bool) -> bool {
    light_fence();
    // SAFETY: mapped by contract; root cells are never unmapped.
    unsafe {
        let node = &(*header).node;
        let root = if node.is_owned_by(home) {
            home
        } else {
            let owner = node.owner();
            if owner.is_null() {
                return false;
            }
            &*owner
        };
        if root.was_run_here() {
            if let Some(hold) = root.gate.try_hold() {
                return wake_idle(header, root, hold, is_counted);
            }
        }
        push(header, root, is_counted)
    }
}

/// Puts a woken task on the stack of its root.
///
/// # Safety
/// As [`wake_task`]; `root` was the owner just now, after the fence.
#[inline(never)]
unsafe fn push(header: *const Header, root: &'static Root, is_counted: bool) -> bool {
    // SAFETY: mapped by contract.
    unsafe {
        let h = &*header;
        let admission = h.node.whereabouts.on_stack.admit(root.number);
        match admission {
            Admission::Granted => {
                if !is_counted {
                    h.node.count();
                }
                root.stack.push(header);
            }
            // Its drain comes after this wake. The host may still have to hear of it.
            Admission::There => {}
            Admission::Elsewhere => {
                perform(root, Mail::Wake(SlotRef::new(header.cast())));
                return false;
            }
        }
        root.notify();
        if root.has_ended() {
            drain(root);
        }
        is_counted && admission == Admission::Granted
    }
}

/// Wakes a task of an idle root, which is held.
///
/// # Safety
/// As [`wake_task`]; `root` was the owner before it was held.
#[inline(always)]
unsafe fn wake_idle(header: *const Header, root: &'static Root, hold: Hold<'_, Mail>, is_counted: bool) -> bool {
    // SAFETY: mapped by contract, and kept so by the root that owns it.
    unsafe {
        let h = &*header;
        // The count of a root that has ended is not its holder's.
        if root.has_ended() || !h.node.is_owned_by(root) {
            drop(hold);
            sweep(root);
            return push_elsewhere(header, is_counted);
        }
        let passed_on = is_counted && h.node.is_of(root);
        let flags = h.node.flags();
        let is_quiet =
            flags & (header::QUEUED | header::DONE) != 0 || flags & header::APART == 0 && wake::queue(h, flags);
        if passed_on {
            root.count_dec_held();
        }
        if is_quiet {
            drop(hold);
            sweep(root);
        } else {
            wake_beyond(header, root, hold);
        }
        passed_on
    }
}

/// As [`wake_idle`], where somebody polls a nursery who has to hear of it. The count that is passed on has been given back:
/// the root keeps the task.
///
/// # Safety
/// This thread holds `root`, the owner.
#[inline(never)]
unsafe fn wake_beyond(header: *const Header, root: &'static Root, hold: Hold<'_, Mail>) {
    /// After the wake, also by a waker that panics.
    struct Sweep<'a>(&'a Root);
    impl Drop for Sweep<'_> {
        fn drop(&mut self) {
            sweep(self.0);
        }
    }
    // SAFETY: held by contract.
    let beyond = unsafe { header::queue_held(header, root) };
    let host = if let Beyond::Host = beyond { root.host() } else { None };
    drop(hold);
    let _sweep = Sweep(root);
    match beyond {
        Beyond::Nobody => {}
        Beyond::Host => host.into_iter().for_each(|host| wake_foreign(&host)),
        Beyond::Parent(parent) => parent.wake(),
    }
}

/// The task has changed hands since its owner was looked at, or its root has ended.
///
/// # Safety
/// As [`wake_task`].
#[cold]
#[inline(never)]
unsafe fn push_elsewhere(header: *const Header, is_counted: bool) -> bool {
    light_fence();
    // SAFETY: mapped by contract; root cells are never unmapped.
    unsafe {
        let owner = (*header).node.owner();
        !owner.is_null() && push(header, &*owner, is_counted)
    }
}

/// Wakes what others pushed.
///
/// # Safety
/// This thread holds `root` and it is the context's, or it has ended.
pub(crate) unsafe fn drain(root: &Root) {
    // SAFETY: by contract.
    unsafe { drain_after(root, || ()) }
}

/// As [`drain`], with `first` between the taking and the wakes: what a waker's thread had left before it woke is seen by
/// the task that it woke, if `first` takes that in.
///
/// # Safety
/// As [`drain`].
pub(crate) unsafe fn drain_after(root: &Root, first: impl FnOnce()) {
    /// If a foreign waker panics, the others are woken all the same.
    struct Rest<'a>(&'a Root, Taken<Header>);
    impl Drop for Rest<'_> {
        fn drop(&mut self) {
            // SAFETY: as the function asks.
            unsafe { drain_taken(self.0, &mut self.1) };
        }
    }
    let mut rest = Rest(root, root.stack.take());
    first();
    // SAFETY: as above.
    unsafe { drain_taken(root, &mut rest.1) };
}

/// Keeps a header's memory for as long as it is looked at.
struct Counted(*const Header);

impl Drop for Counted {
    fn drop(&mut self) {
        // SAFETY: the count that was taken when it was pushed.
        unsafe { node::Node::uncount(self.0.cast()) };
    }
}

unsafe fn drain_taken(root: &Root, taken: &mut Taken<Header>) {
    // SAFETY: being on the stack keeps the slot mapped.
    unsafe {
        while let Some(header) = taken.next() {
            let _counted = Counted(header);
            let owner = (*header).node.owner();
            if owner.is_null() {
                continue;
            }
            if owner == context::root() {
                header::wake_local(header);
            } else if ptr::eq(owner, root) {
                // Ended: what it still owns may be polled elsewhere, by somebody who waits for this.
                perform(owner, Mail::Wake(SlotRef::new(header.cast())));
            } else {
                wake_task(header);
            }
        }
    }
}
