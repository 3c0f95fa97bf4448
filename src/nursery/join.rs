//! Where a child leaves its value for its handle.
//!
//! State of a [`JoinState`], under its lock: `RUNNING`, then `DONE` (there is a value) or `LOST`, then `TAKEN`. The waiter is
//! woken after: while it is `RUNNING` there may be one, and later none, whatever is left in its place. The value is the task's
//! until it is `DONE`, then the handle's.
//!
//! The cell stands in the child's slot ([`JoinHead`]), or, if the child does not exist yet when the handle is made (it was
//! spawned from another thread), or its value is too large for a slot, in an allocation that both share.
//!
//! Task and handle both leave the cell, in any order and from any thread, each as its last look at it; the one that comes
//! second ends the cell. A task leaves after its node was retired, so that the slot goes back at once.
//!
//! In the common case the handle looks at a cell that the task has left, on the thread of both, and takes no lock.

use crate::sched::root::Root;
use crate::sched::sync::{AtomicU8, Ordering};
use crate::sched::wakes::{Later, Wakes};
use crate::sync::slot_lock::SlotLock;
use crate::task::header::Header;
use crate::task::park::{Entering, Op, Parked};
use std::cell::{Cell, UnsafeCell};
use std::mem::{self, MaybeUninit};
use std::panic::Location;
use std::ptr;
use std::task::Context;

/// What the task tree shows of a waiter.
const OP: Op = Op::Handle;

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const LOST: u8 = 2;
const TAKEN: u8 = 3;
/// One of task and handle has left.
const LEFT: u8 = 4;

/// The part that is the same for all values.
#[repr(C, align(16))]
pub(super) struct JoinState {
    lock: SlotLock,
    /// Changes under the lock.
    stage: AtomicU8,
    /// The task has a value to leave. The task's alone.
    filled: Cell<bool>,
    /// Where the handle was made.
    at: &'static Location<'static>,
    /// Under the lock, and while it is `RUNNING`.
    waiter: Cell<Option<Parked>>,
}

/// See the module.
#[repr(C)]
pub(crate) struct JoinCell<T> {
    state: JoinState,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: what is not atomic is used under the lock, or by the side whose it is.
unsafe impl<T: Send> Sync for JoinCell<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for JoinCell<T> {}

/// The head of a slot whose task has a handle. The state is in the same place for all values that fit a slot.
#[repr(C)]
pub(super) struct JoinHead<T> {
    pub(super) header: Header,
    pub(super) join: JoinCell<T>,
}

/// What is to be done with the cell of a task that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settled {
    /// Task and handle have left: it goes.
    pub(super) last: bool,
    /// A value is left in it that nobody will ask for: it is to be dropped first.
    pub(super) unclaimed: bool,
}

/// What the handle finds.
pub(super) enum Found<T> {
    Value(T),
    Lost,
    /// It waits; a waiter that was there before is for the caller to drop.
    Waiting(Option<Parked>),
    Cancelled(Option<Parked>),
    /// It has to wait, but not in the plain way.
    Park,
    Taken,
}

impl JoinState {
    #[inline(always)]
    fn new(revoked: bool, at: &'static Location<'static>) -> Self {
        Self {
            lock: SlotLock::new(revoked),
            stage: AtomicU8::new(RUNNING),
            filled: Cell::new(false),
            at,
            waiter: Cell::new(None),
        }
    }

    /// Of a task with a handle.
    ///
    /// # Safety
    /// The task has a cell in its slot, which it has not left.
    #[inline(always)]
    pub(super) unsafe fn of<'a>(h: *const Header) -> &'a Self {
        const { assert!(mem::offset_of!(JoinHead<u128>, join) == mem::offset_of!(JoinHead<()>, join)) };
        // SAFETY: by contract.
        unsafe { &(*h.cast::<JoinHead<()>>()).join.state }
    }

    /// The task has ended: with its value, if it has one, else it is lost. If it is `leaving`, it does not look at the cell
    /// again, unless it is told that a value is left that nobody will ask for.
    #[inline(always)]
    pub(super) fn settle(&self, home: *const Root, leaving: bool, wakes: &mut Wakes) -> Settled {
        if let Some(held) = self.lock.fast(home) {
            if self.stage.load(Ordering::Relaxed) == RUNNING {
                let waiter = self.settle_running(leaving);
                drop(held);
                wakes.extend(waiter.map(Later::Parked));
                return Settled { last: false, unclaimed: false };
            }
        }
        self.settle_slowly(home, leaving, wakes)
    }

    /// As [`JoinState::settle`], in the common case: a task that is leaving with its value, on the thread that holds its home,
    /// `root`, and wakes nobody or one who is only to be queued. False: nothing was done.
    #[inline(always)]
    pub(super) fn settle_here(&self, root: &Root) -> bool {
        let Some(_held) = self.lock.fast_here() else { return false };
        if self.stage.load(Ordering::Relaxed) != RUNNING {
            return false;
        }
        // SAFETY: under the lock; not borrowed further. To queue a task is a few stores. One who was woken is left in its place,
        // where nobody looks for it any more.
        unsafe {
            if let Some(waiter) = &*self.waiter.as_ptr() {
                if !waiter.wake_quietly(root) {
                    return false;
                }
            }
        }
        debug_assert!(self.filled.get(), "the task has its value");
        self.stage.store(DONE | LEFT, Ordering::Release);
        true
    }

    #[inline(always)]
    fn settle_running(&self, leaving: bool) -> Option<Parked> {
        let stage = if self.filled.replace(false) { DONE } else { LOST };
        self.stage.store(if leaving { stage | LEFT } else { stage }, Ordering::Release);
        self.waiter.take()
    }

    #[cold]
    #[inline(never)]
    fn settle_slowly(&self, home: *const Root, leaving: bool, wakes: &mut Wakes) -> Settled {
        let held = self.lock.lock(home);
        let stage = self.stage.load(Ordering::Relaxed);
        if stage == RUNNING {
            let waiter = self.settle_running(leaving);
            drop(held);
            if let Some(waiter) = waiter {
                wakes.push(Later::Parked(waiter));
            }
            return Settled { last: false, unclaimed: false };
        }
        // If it is taken, either the handle has left before, or it has the value, and nothing was filled since.
        let unclaimed = self.filled.replace(false);
        if leaving {
            self.stage.store(stage | LEFT, Ordering::Release);
        }
        Settled { last: leaving && stage & LEFT != 0, unclaimed }
    }
}

impl<T> JoinCell<T> {
    /// One that is in no slot.
    pub(super) fn new(at: &'static Location<'static>) -> Self {
        Self { state: JoinState::new(true, at), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Makes one in a slot of `home`. Field by field: a copy would cost more than all the rest.
    ///
    /// # Safety
    /// There is room for it.
    #[inline(always)]
    pub(super) unsafe fn init_at(at: *mut Self, home: &Root, made: &'static Location<'static>) {
        // SAFETY: by contract.
        unsafe { (&raw mut (*at).state).write(JoinState::new(home.revokes_locks(), made)) };
    }

    // ---- the task's side ----

    /// The task's value: for [`JoinState::settle`] to hand over.
    ///
    /// # Safety
    /// Called by the task, once, before it settles.
    #[inline(always)]
    pub(super) unsafe fn fill(&self, value: T) {
        // SAFETY: the task's until it is `DONE`.
        unsafe { (*self.value.get()).write(value) };
        self.state.filled.set(true);
    }

    /// As [`JoinState::settle`], for a task that shares the cell, and in a place where foreign code may run.
    pub(super) fn settle_apart(&self) {
        let mut wakes = Wakes::none();
        if self.state.settle_slowly(ptr::null(), false, &mut wakes).unclaimed {
            // SAFETY: told by `settle`.
            unsafe { self.drop_unclaimed() };
        }
        wakes.wake();
    }

    /// Drops a value that nobody will ask for.
    ///
    /// # Safety
    /// `settle` said so; once.
    pub(super) unsafe fn drop_unclaimed(&self) {
        // SAFETY: filled, and neither side takes it.
        unsafe { ptr::drop_in_place((*self.value.get()).as_mut_ptr()) };
    }

    // ---- the handle's side ----

    /// # Safety
    /// It was `DONE`, and is not asked for the value again.
    #[inline(always)]
    unsafe fn take(&self) -> T {
        // SAFETY: by contract: written, and the handle's.
        unsafe { (*self.value.get()).assume_init_read() }
    }

    /// The handle's first look, in the common cases, on the thread of both: the value, if the task has left it and the cell,
    /// which is then the handle's alone; or it has left a waiter. Err: it is another case, nothing was done.
    ///
    /// # Safety
    /// This thread holds the cell's home, `root`; `waits` was found out just now; the handle has left no waiter.
    #[inline(always)]
    pub(super) unsafe fn look_first(&self, waits: Entering, root: &Root) -> Result<Option<T>, ()> {
        let state = &self.state;
        if state.stage.load(Ordering::Acquire) != RUNNING {
            // SAFETY: by contract.
            let value = unsafe { self.take_here() }.ok_or(())?;
            waits.count();
            return Ok(Some(value));
        }
        let Some(_held) = state.lock.fast_here() else { return Err(()) };
        // Nobody else has ever had the lock: it is still running.
        debug_assert!(state.stage.load(Ordering::Relaxed) == RUNNING, "changes under the lock");
        // SAFETY: by contract.
        let parked = unsafe { Parked::of_waiting(waits.wait(OP, state.at), root) };
        // What was there has nothing to drop.
        mem::forget(state.waiter.replace(Some(parked)));
        Ok(None)
    }

    /// The value, if the task has left it and the cell, on this very thread. The cell is then the handle's alone.
    ///
    /// # Safety
    /// This thread holds the cell's home.
    #[inline(always)]
    pub(super) unsafe fn take_here(&self) -> Option<T> {
        // First whether it has left: a task that left on another thread has revoked the lock before.
        if self.state.stage.load(Ordering::Acquire) != DONE | LEFT || !self.state.lock.is_unrevoked() {
            return None;
        }
        // SAFETY: `DONE`; nobody looks at the cell again.
        Some(unsafe { self.take() })
    }

    /// A look at the cell, in any case. `fresh`: what to wait with, if the plain way is not possible.
    pub(super) fn look(&self, home: *const Root, fresh: &mut Option<Parked>, cx: &Context<'_>) -> Found<T> {
        let state = &self.state;
        let _held = state.lock.lock(home);
        let stage = state.stage.load(Ordering::Relaxed);
        match stage & !LEFT {
            RUNNING => {
                let waiter = state.waiter.take();
                match &waiter {
                    Some(parked) if parked.is_cancelled() && parked.is_current(cx) => return Found::Cancelled(waiter),
                    Some(parked) if parked.is_current(cx) => {
                        state.waiter.set(waiter);
                        return Found::Waiting(None);
                    }
                    _ => {}
                }
                match fresh.take().or_else(|| Parked::plain(cx, OP, state.at)) {
                    // It was taken here from elsewhere.
                    Some(parked) if parked.is_cancelled() => {
                        // To be dropped by the caller, too.
                        *fresh = Some(parked);
                        Found::Cancelled(waiter)
                    }
                    Some(parked) => {
                        state.waiter.set(Some(parked));
                        Found::Waiting(waiter)
                    }
                    None => {
                        state.waiter.set(waiter);
                        Found::Park
                    }
                }
            }
            DONE => {
                state.stage.store(TAKEN | stage & LEFT, Ordering::Relaxed);
                // SAFETY: `DONE`.
                Found::Value(unsafe { self.take() })
            }
            LOST => Found::Lost,
            _ => Found::Taken,
        }
    }

    /// What to wait with where the plain way is not possible. Not with the lock held.
    pub(super) fn park(&self, cx: &mut Context<'_>) -> Parked {
        Parked::new(cx, OP, self.state.at)
    }

    pub(super) fn is_finished(&self, home: *const Root) -> bool {
        let _held = self.state.lock.lock(home);
        self.state.stage.load(Ordering::Relaxed) != RUNNING
    }

    /// The handle leaves, and does not look at the cell again unless it is the last one (`true`). Value and waiter are for
    /// the caller to drop.
    pub(super) fn leave(&self, home: *const Root) -> (Option<T>, Option<Parked>, bool) {
        let state = &self.state;
        let _held = state.lock.lock(home);
        let stage = state.stage.load(Ordering::Relaxed);
        // SAFETY: `DONE`.
        let value = (stage & !LEFT == DONE).then(|| unsafe { self.take() });
        state.stage.store(TAKEN | LEFT, Ordering::Release);
        (value, if stage == RUNNING { state.waiter.take() } else { None }, stage & LEFT != 0)
    }
}
