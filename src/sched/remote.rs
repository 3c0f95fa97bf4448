//! What other threads may do to a root: push woken tasks on its stack, send it mail, or, while it is idle, hold it.
//!
//! Protocol:
//!
//! 1. *Wake.* The header's `remote` flag admits it to one stack at a time. Push, then set `notified`; the one who set
//!    it wakes the host. A turn begins by clearing `notified` with a read-modify-write, so it sees every push whose
//!    pusher found the flag set.
//! 2. *Drain.* The flag is cleared before the task is woken; the owner is looked at again, since the task may have
//!    changed hands or ended while it was on the stack. Being on a stack counts on the header's home.
//! 3. *Mail* is an operation on the root's structures. [`perform`] runs it here and now if this thread holds the root
//!    or can take an idle one; else it is posted and the host woken. It is run in order, by whoever holds next.
//! 4. *End.* The last holder closes the mailbox and drains. From then on holds are short and taken by spinning, and a
//!    pusher that finds the root ended drains the stack itself.

use super::context;
use super::node::{self, SlotRef, Wakes};
use super::root::Root;
use super::sync::Ordering;
use super::timers::TimerKey;
use crate::cancel::ScopeShared;
use crate::nursery::core::CoreSlot;
use crate::task::header::{self, Header};
use crate::task::wake::{self, WakeRef};
use std::ptr;
use std::sync::Arc;
use std::task::Waker;

/// An operation on a root's structures.
pub(crate) enum Mail {
    /// Brings an entered scope's node up to date with its handle.
    Scope(SlotRef, Arc<ScopeShared>),
    /// Cancels a node.
    Cancel(SlotRef),
    /// Ends a hold on a node.
    Release(SlotRef),
    /// Ends a scope's slot whose future is gone.
    EndScope(SlotPtr),
    /// Ends a nursery's slot and those of its tasks, whose futures are gone.
    EndCore(SlotPtr),
    /// Ends a timer.
    EndTimer(TimerKey),
    /// Forgets the waker of a wait.
    EndForeign(SlotRef, u64),
    /// Lets go of a subtree that was polled under another root.
    LetGo(SlotRef, Waker),
}

/// A slot in use whose users are gone or wait for the answer.
pub(crate) struct SlotPtr(pub(crate) *const node::Node);

// SAFETY: it is only dereferenced by the holder of its owner.
unsafe impl Send for SlotPtr {}

impl Mail {
    /// The node that it is about, for mail that may follow it from root to root.
    fn node(&self) -> Option<&SlotRef> {
        match self {
            Self::Scope(slot, _) | Self::Cancel(slot) | Self::Release(slot) => Some(slot),
            _ => None,
        }
    }

    /// Runs the operation; what it wants woken or dropped is for after the hold.
    ///
    /// # Safety
    /// This thread holds `root`.
    unsafe fn run(self, root: *const Root, after: &mut After) {
        // SAFETY: held by contract; live references are looked at only if they still belong here.
        unsafe {
            match self {
                Self::Scope(slot, shared) => {
                    if slot.get().owner() == root {
                        after.wakes.append(shared.apply(root));
                        after.slots.push(slot);
                    } else {
                        after.again.push(Self::Scope(slot, shared));
                    }
                }
                Self::Cancel(slot) => {
                    if slot.get().owner() != root {
                        after.again.push(Self::Cancel(slot));
                    } else {
                        if slot.is_live() {
                            after.wakes.append(node::cancel(slot.as_ptr()));
                        }
                        after.slots.push(slot);
                    }
                }
                Self::Release(slot) => {
                    if slot.get().owner() != root {
                        after.again.push(Self::Release(slot));
                    } else {
                        if slot.is_live() {
                            after.wakes.append(node::release(slot.as_ptr(), 1));
                        }
                        after.slots.push(slot);
                    }
                }
                Self::EndScope(slot) => {
                    let (wakes, waste) = crate::cancel::slot::ScopeSlot::end(slot.0);
                    after.wakes.append(wakes);
                    after.waste.extend(waste);
                }
                Self::EndCore(slot) => after.wakes.append(CoreSlot::end(slot.0)),
                Self::EndTimer(key) => after.targets.extend((*root).timers.borrow_mut().remove(key)),
                Self::EndForeign(slot, key) => {
                    if slot.is_live() && slot.get().owner() == root {
                        after.waste.extend(slot.get().remove_foreign(key).map(WakeRef::Foreign));
                    }
                    after.slots.push(slot);
                }
                Self::LetGo(slot, waker) => {
                    if slot.is_live() && slot.get().owner() == root {
                        after.wakes.append(node::unlink(slot.as_ptr()));
                        let _ = node::rehome(slot.as_ptr(), root, ptr::null());
                    }
                    after.slots.push(slot);
                    after.wakes.push(WakeRef::Foreign(waker));
                }
            }
        }
    }
}

/// What an operation leaves to be done without the hold.
#[derive(Default)]
struct After {
    wakes: WakesOrNone,
    waste: Vec<WakeRef>,
    targets: Vec<super::timers::Target>,
    slots: Vec<SlotRef>,
    /// For another root: the node has changed hands since the mail was sent.
    again: Vec<Mail>,
}

struct WakesOrNone(Wakes);

impl Default for WakesOrNone {
    fn default() -> Self {
        Self(Wakes::none())
    }
}

impl WakesOrNone {
    fn append(&mut self, other: Wakes) {
        self.0.append(other);
    }
    fn push(&mut self, wake: WakeRef) {
        self.0.push(wake);
    }
}

impl After {
    fn finish(self) {
        self.wakes.0.wake();
        drop((self.waste, self.targets, self.slots));
        for mail in self.again {
            tell(mail);
        }
    }
}

/// Mail for nodes that nobody owns, because they are on their way from one root to another. Whoever adopts looks here
/// after, whoever leaves something looks at the owner after: one of them sees what the other has done.
static STRANDED: std::sync::Mutex<Vec<Mail>> = std::sync::Mutex::new(Vec::new());

/// Runs an operation on a node, wherever it is by now.
pub(crate) fn tell(mail: Mail) {
    let Some(slot) = mail.node() else { return };
    let owner = slot.get().owner();
    if !slot.is_live() {
        return;
    }
    if owner.is_null() {
        STRANDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(mail);
        deliver_stranded();
    } else {
        // SAFETY: an owner is a root cell, never unmapped.
        unsafe { perform(owner, mail) };
    }
}

/// Sends on what was left for nodes that have an owner now. To be called after an adoption.
#[cold]
pub(crate) fn deliver_stranded() {
    let found: Vec<_> = {
        let mut stranded = STRANDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all = std::mem::take(&mut *stranded);
        let waits = |m: &Mail| m.node().is_some_and(|s| s.is_live() && s.get().owner().is_null());
        let (rest, found): (Vec<_>, Vec<_>) = all.into_iter().partition(waits);
        *stranded = rest;
        found
    };
    for mail in found {
        tell(mail);
    }
}

/// Runs an operation on a root's structures, now if possible, else soon.
///
/// # Safety
/// `root` is a root cell that what the mail refers to belongs to.
pub(crate) unsafe fn perform(root: *const Root, mail: Mail) {
    let mut after = After::default();
    // SAFETY: root cells are never unmapped; each branch establishes the hold.
    unsafe {
        let r = &*root;
        if root == context::root() {
            mail.run(root, &mut after);
            after.finish();
            return;
        }
        let mut mail = Some(mail);
        loop {
            if r.try_hold() {
                for earlier in r.take_mail() {
                    earlier.run(root, &mut after);
                }
                if let Some(mail) = mail.take() {
                    mail.run(root, &mut after);
                }
                r.unhold();
                settle(r);
                break;
            }
            match r.post(mail.take()) {
                None => {
                    r.notify();
                    settle(r);
                    break;
                }
                Some(refused) => mail = Some(refused),
            }
            // Ended: holds are short now.
            std::hint::spin_loop();
            std::thread::yield_now();
        }
    }
    after.finish();
}

/// Runs the mail of an idle root. Called after mail was posted to a root that is held, and after each short hold: the
/// holder may have been somebody who only looked in, and nobody need ever poll that root again.
#[cold]
pub(crate) fn settle(root: &Root) {
    while root.has_mail() && root.try_hold() {
        let mut after = After::default();
        for mail in root.take_mail() {
            // SAFETY: held.
            unsafe { mail.run(root, &mut after) };
        }
        root.unhold();
        after.finish();
    }
}

/// Runs the mail of a root.
///
/// # Safety
/// This thread holds `root`, and it is the context's.
#[cold]
pub(crate) unsafe fn read_mail(root: &Root) {
    let mut after = After::default();
    for mail in root.take_mail() {
        // SAFETY: held by contract.
        unsafe { mail.run(root, &mut after) };
    }
    after.finish();
}

/// Puts a woken task on a root's remote stack.
///
/// # Safety
/// The header is the head of a mapped task slot; `owner` is a root cell.
#[cold]
pub(crate) unsafe fn push(owner: *const Root, header: *const Header) {
    // SAFETY: mapped by contract; root cells are never unmapped.
    unsafe {
        let (root, h) = (&*owner, &*header);
        if h.remote.swap(true, Ordering::AcqRel) {
            // On a stack already: its drain comes after this wake. The host may still have to hear of it.
            root.notify();
            return;
        }
        h.node.home().count_inc();
        let mut head = root.stack.load(Ordering::Relaxed);
        loop {
            h.remote_next.store(head, Ordering::Relaxed);
            match root.stack.compare_exchange_weak(
                head,
                header.cast_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        root.notify();
        if root.has_ended() || h.node.owner() != owner {
            sweep(root);
        }
    }
}

/// Takes everything off a root's stack and wakes it through its owner of now. Needs no hold.
///
/// A task that changes hands while it is on the stack of a root that nobody polls any more would stay there for good,
/// and no later wake would reach it. So whoever moves a task sweeps the stack that it leaves, after the move, and
/// whoever pushes looks at the owner again, after the push: both change the head of the stack, so one of them sees what
/// the other has done.
///
/// # Safety
/// `root` is a root cell.
#[cold]
pub(crate) unsafe fn sweep(root: &Root) {
    let mut at = root.stack.swap(ptr::null_mut(), Ordering::AcqRel).cast_const();
    while !at.is_null() {
        // SAFETY: being on the stack keeps the slot mapped.
        unsafe {
            let h = &*at;
            let next = h.remote_next.load(Ordering::Relaxed).cast_const();
            h.remote.swap(false, Ordering::AcqRel);
            // If this root still owns it, it is told once more; one that has ended polls nothing, and who adopts the task
            // wakes it.
            if !ptr::eq(h.node.owner(), root) || !root.has_ended() {
                wake::wake_header(at);
            }
            Root::count_dec(h.node.home_ptr());
            at = next;
        }
    }
}

/// Wakes what others pushed.
///
/// # Safety
/// This thread holds `root` and it is the context's, or it has ended.
pub(crate) unsafe fn drain(root: &Root) {
    let mut at = root.stack.swap(ptr::null_mut(), Ordering::AcqRel).cast_const();
    while !at.is_null() {
        // SAFETY: being on the stack keeps the slot mapped.
        unsafe {
            let h = &*at;
            let next = h.remote_next.load(Ordering::Relaxed).cast_const();
            h.remote.swap(false, Ordering::AcqRel);
            let owner = h.node.owner();
            if !owner.is_null() {
                if owner == context::root() {
                    header::wake_local(at);
                } else if !ptr::eq(owner, root) {
                    push(owner, at);
                }
            }
            Root::count_dec(h.node.home_ptr());
            at = next;
        }
    }
}

