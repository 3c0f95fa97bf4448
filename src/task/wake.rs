//! Wakers of tasks. They own nothing but a count that keeps their memory mapped.
//!
//! 1. A task is polled with a *lent* waker: its data is the task's header, and no count is taken for it.
//! 2. A clone takes a count on the header's home ([`SlotRef`] semantics), biased: no atomic on the thread that holds it. One
//!    that wakes by value from outside hands it on to the stack that the header is put on.
//! 3. Waking goes by the header's owner: if this thread holds that root, a flag and an intrusive push
//!    ([`header::wake_local`]); else the root's remote stack ([`crate::sched::remote`]).
//! 4. A waker that outlives its task may meet another task in the same slot: a spurious wake, which every future must
//!    tolerate anyway.

use super::header::{self, Climbed, Header};
use crate::nursery::core::Core;
use crate::sched::context::{self, Frame};
use crate::sched::node::SlotRef;
use crate::sched::remote;
use crate::sched::root::Root;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

// These four are called through a table. In the common case they call nothing, and so save no registers.

unsafe fn clone(data: *const ()) -> RawWaker {
    let header = data.cast::<Header>();
    // SAFETY: the waker that is cloned keeps the slot mapped; the context's root is held.
    unsafe {
        if !(*header).node.is_at_home_here() {
            return clone_elsewhere(header);
        }
        let home = &*context::root();
        home.count_inc_here();
        if home.counts_wakers() {
            home.escaped_inc();
        }
    }
    RawWaker::new(data, &VTABLE)
}

/// As `clone`, of a task that is not at home here.
///
/// # Safety
/// As `clone`.
#[inline(never)]
unsafe fn clone_elsewhere(header: *const Header) -> RawWaker {
    // SAFETY: by contract.
    let home = unsafe { (*header).node.home() };
    home.count_inc();
    if home.counts_wakers() {
        home.escaped_inc();
    }
    RawWaker::new(header.cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    let header = data.cast::<Header>();
    // SAFETY: the waker keeps the slot mapped. This thread holds the owner, or it is free, and so `DONE`.
    unsafe {
        if !(*header).node.is_at_home_here() {
            return wake_once_elsewhere(header);
        }
        let home = &*context::root();
        if home.counts_wakers() {
            return wake_once_here(header, home);
        }
        match header::climb(header) {
            Climbed::Done => home.count_dec_here(),
            Climbed::Apart(h) => wake_once_here(h, home),
            Climbed::Nursery(core) => wake_above(core, home),
        }
    }
}

/// As `wake`, in any case, of a task that is at home here.
///
/// # Safety
/// As [`header::wake_local`].
#[inline(never)]
unsafe fn wake_once_here(header: *const Header, home: &Root) {
    let _count = Escaped(home);
    // SAFETY: by contract.
    unsafe { header::wake_local(header) };
}

/// The rest of `wake`, from a nursery on, with the count on `home`.
#[inline(never)]
fn wake_above(core: &Core, home: &Root) {
    // Also if somebody else's waker panics.
    let _count = Escaped(home);
    core.wake_parent();
}

/// The count of a waker on the root that is the context's, to be given back.
struct Escaped<'a>(&'a Root);

impl Drop for Escaped<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.counts_wakers() {
            self.0.escaped_dec();
        }
        self.0.count_dec_here();
    }
}

/// As `wake`, of a task that is not at home here.
///
/// # Safety
/// The count of a waker keeps the slot mapped, and is given away.
#[inline(never)]
unsafe fn wake_once_elsewhere(header: *const Header) {
    // SAFETY: by contract.
    unsafe {
        let node = &(*header).node;
        let home = node.home();
        if node.owner() == context::root() || home.counts_wakers() {
            wake_by_ref(header.cast());
            drop_waker(header.cast());
        } else if !remote::wake_task_counted(header, home, true) {
            // Else the waker's count went on to the stack, with the last look at the slot here.
            Root::count_dec(home);
        }
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker keeps the slot mapped.
    unsafe { wake_header(data.cast()) }
}

unsafe fn drop_waker(data: *const ()) {
    let header = data.cast::<Header>();
    // SAFETY: the count that `clone` took keeps the slot mapped; the context's root is held.
    unsafe {
        if (*header).node.is_at_home_here() {
            drop(Escaped(&*context::root()));
        } else {
            drop_elsewhere(header);
        }
    }
}

/// As `drop_waker`, of a task that is not at home here.
///
/// # Safety
/// As `drop_waker`.
#[inline(never)]
unsafe fn drop_elsewhere(header: *const Header) {
    // SAFETY: by contract; root cells are never unmapped.
    unsafe {
        let home = (*header).node.home();
        if home.counts_wakers() {
            home.escaped_dec();
        }
        Root::count_dec(home);
    }
}

/// Wakes a task from anywhere.
///
/// # Safety
/// The header is the head of a mapped task slot.
#[inline(always)]
pub(crate) unsafe fn wake_header(header: *const Header) {
    // SAFETY: mapped by contract.
    let h = unsafe { &*header };
    if h.node.is_at_home_here() {
        // SAFETY: this thread holds the owner, or it is free, and so `DONE`.
        unsafe { header::wake_local(header) };
    } else {
        // SAFETY: mapped by contract.
        unsafe { wake_elsewhere(header) };
    }
}

/// As [`wake_header`], of a task that is not at home here.
///
/// # Safety
/// As [`wake_header`].
#[inline(never)]
unsafe fn wake_elsewhere(header: *const Header) {
    // SAFETY: by contract.
    unsafe {
        let owner = (*header).node.owner();
        if owner.is_null() {
            return;
        }
        if owner == context::root() {
            header::wake_local(header);
        } else {
            remote::wake_task(header);
        }
    }
}

/// Wakes a task if that takes no more than to queue it: it is this thread's and at home, and its nursery will be polled anyway,
/// or is being polled. False: nothing was done.
///
/// # Safety
/// As [`wake_header`]; `root` is the context's.
#[inline(always)]
pub(crate) unsafe fn wake_quietly(header: *const Header, root: &Root) -> bool {
    // SAFETY: mapped by contract.
    let h = unsafe { &*header };
    // One that is away is for others, and a free one is `DONE`.
    if !h.node.is_at_home(root) {
        return false;
    }
    let flags = h.node.flags();
    if flags & (header::QUEUED | header::DONE | header::APART) != 0 {
        return flags & header::APART == 0;
    }
    // SAFETY: by contract; looked at above.
    unsafe { queue(h, flags) }
}

/// Queues a task with these flags, which is not and not `APART`, if its nursery will be polled anyway, or is being polled.
///
/// # Safety
/// This thread holds the owner.
#[inline(always)]
pub(crate) unsafe fn queue(h: &Header, flags: u16) -> bool {
    // SAFETY: a nursery outlives the use of its children's slots.
    let core = unsafe { h.core_around() };
    if !core.is_awake() {
        return false;
    }
    h.node.set_flags(flags | header::QUEUED);
    let is_woken = core.push_ready(h);
    debug_assert!(!is_woken, "it was awake");
    true
}

/// Wakes the task that is being polled, through the context's waker.
#[inline(always)]
pub(crate) fn wake_self(cx: &std::task::Context<'_>) {
    let task = context::task();
    if header_of(cx.waker()) == Some(task) {
        // SAFETY: the context's task is alive and held by this thread.
        unsafe {
            let flags = (*task).node.flags();
            if flags & (header::QUEUED | header::DONE | header::APART) == 0 {
                if !queue(&*task, flags) {
                    wake_local_apart(task);
                }
            } else if flags & header::APART != 0 {
                wake_local_apart(task);
            }
        }
    } else {
        wake_foreign(cx.waker());
    }
}

/// # Safety
/// As [`header::wake_local`].
#[inline(never)]
unsafe fn wake_local_apart(task: *const Header) {
    // SAFETY: by contract.
    unsafe { header::wake_local(task) };
}

/// The waker that a task is polled with; not to be dropped.
#[inline(always)]
pub(crate) fn lend(header: *const Header) -> ManuallyDrop<Waker> {
    // SAFETY: the vtable's functions accept any mapped task header; the lent waker lives no longer than the poll.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(header.cast(), &VTABLE)) })
}

/// The task behind a waker, if it is one of ours.
#[inline(always)]
pub(crate) fn header_of(waker: &Waker) -> Option<*const Header> {
    if std::ptr::eq(waker.vtable(), &raw const VTABLE) { Some(waker.data().cast()) } else { None }
}

/// What `will_wake` goes by, for as long as the waker lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity(usize, usize);

impl Identity {
    /// No waker's: each has a vtable.
    pub(crate) const NONE: Self = Self(0, 0);

    #[inline(always)]
    pub(crate) fn of(waker: &Waker) -> Self {
        Self(waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
    }
}

/// Calls somebody's waker. It may be one that polls on the spot: what it polls is not inside of the scopes here.
#[inline(never)]
pub(crate) fn wake_foreign(waker: &Waker) {
    let _frame = Frame::isolate();
    waker.wake_by_ref();
}

/// A waker for our own use: a task without the indirection, or somebody's waker.
#[derive(Debug, Clone)]
pub(crate) enum WakeRef {
    Task(SlotRef),
    /// Counted, so that a clone runs no foreign code: it may be made while the tree changes.
    Foreign(Arc<Waker>),
}

impl WakeRef {
    #[inline(always)]
    pub(crate) fn from_waker(waker: &Waker) -> Self {
        match header_of(waker) {
            // SAFETY: the waker keeps the slot mapped.
            Some(header) => Self::Task(unsafe { SlotRef::new(header.cast()) }),
            None => Self::Foreign(Arc::new(waker.clone())),
        }
    }

    #[inline(always)]
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        match self {
            Self::Task(slot) => header_of(waker).is_some_and(|h| h.cast() == slot.as_ptr()) && slot.is_live(),
            Self::Foreign(own) => own.will_wake(waker),
        }
    }

    #[inline(always)]
    pub(crate) fn wake_by_ref(&self) {
        match self {
            Self::Task(slot) => {
                if slot.is_live() {
                    // SAFETY: the slot reference keeps it mapped; only task slots get here.
                    unsafe { wake_header(slot.as_ptr().cast()) }
                }
            }
            Self::Foreign(waker) => wake_foreign(waker),
        }
    }

    #[inline(always)]
    pub(crate) fn wake(self) {
        match self {
            Self::Foreign(waker) => {
                let _frame = Frame::isolate();
                match Arc::try_unwrap(waker) {
                    Ok(waker) => waker.wake(),
                    Err(shared) => shared.wake_by_ref(),
                }
            }
            task => task.wake_by_ref(),
        }
    }

    /// Is there somebody to be woken?
    pub(crate) fn is_live(&self) -> bool {
        match self {
            Self::Task(slot) => slot.is_live(),
            Self::Foreign(_) => true,
        }
    }
}
