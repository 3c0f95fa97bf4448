//! The handle of a child: its value, and a way to cancel it alone.
//!
//! State of a [`JoinCell`]: `Running`, then `Done` with the value or `Lost`, then `Taken`. It changes under the lock;
//! the waiter is woken after.
//!
//! The cell stands in the child's slot ([`JoinHead`]), which goes back when both task and handle have left it. If the
//! child does not exist yet when the handle is made (it was spawned from another thread), or its value is too large for a
//! slot, the cell is shared ([`Apart`]).

use super::core::give_back;
use crate::error::{JoinError, Result};
use crate::sched::node::SlotRef;
use crate::sched::remote::{self, Mail};
use crate::sched::root::Root;
#[cfg(not(loom))]
use crate::sync::guarded::Guarded;
#[cfg(loom)]
use crate::sync::guarded::model::Guarded;
use crate::task::header::Header;
use crate::task::park::{self, Entry, Parked};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// What the task tree shows of a waiter.
const OP: &str = "Handle";

pub(super) enum Stage<T> {
    Running,
    Done(T),
    Lost,
    Taken,
}

struct State<T> {
    stage: Stage<T>,
    waiter: Option<Parked>,
    /// One of task and handle has left the slot.
    left: bool,
}

pub(crate) struct JoinCell<T> {
    state: Guarded<State<T>>,
}

/// The head of a slot whose task has a handle.
#[repr(C)]
pub(super) struct JoinHead<T> {
    pub(super) header: Header,
    pub(super) join: JoinCell<T>,
}

/// Cancels a task, wherever it is.
pub(crate) fn cancel(slot: SlotRef) {
    let owner = slot.get().owner();
    if slot.is_live() && !owner.is_null() {
        // SAFETY: an owner is a root cell.
        unsafe { remote::perform(owner, Mail::Cancel(slot)) };
    }
}

impl<T> JoinCell<T> {
    fn new() -> Self {
        Self { state: Guarded::new(State { stage: Stage::Running, waiter: None, left: false }) }
    }

    /// Makes one in place, for use by `root` most of all. Field by field: a copy would cost more than all the rest.
    ///
    /// # Safety
    /// There is room for it.
    #[inline(always)]
    pub(super) unsafe fn init_at(at: *mut Self, root: &Root) {
        // SAFETY: by contract.
        unsafe {
            Guarded::init_at(&raw mut (*at).state, root, |state| {
                (&raw mut (*state).stage).write(Stage::Running);
                (&raw mut (*state).waiter).write(None);
                (&raw mut (*state).left).write(false);
            });
        }
    }

    #[inline(always)]
    pub(super) fn complete(&self, stage: Stage<T>) {
        let Some(mut state) = self.state.fast() else { return self.complete_slowly(stage) };
        if !matches!(state.stage, Stage::Running) {
            drop(state);
            drop(stage);
            return;
        }
        // What was there has nothing to drop.
        mem::forget(mem::replace(&mut state.stage, stage));
        let waiter = state.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    #[cold]
    fn complete_slowly(&self, stage: Stage<T>) {
        let (refused, waiter) = self.state.with(|state| {
            if !matches!(state.stage, Stage::Running) {
                return (Some(stage), None);
            }
            state.stage = stage;
            (None, state.waiter.take())
        });
        drop(refused);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// The task leaves. True: it was the last one.
    #[inline(always)]
    pub(super) fn leave(&self) -> bool {
        match self.state.fast() {
            Some(mut state) => mem::replace(&mut state.left, true),
            None => self.leave_slowly(),
        }
    }

    #[cold]
    fn leave_slowly(&self) -> bool {
        self.state.with(|state| mem::replace(&mut state.left, true))
    }
}

/// A cell that is not in the child's slot.
pub(crate) struct Apart<T> {
    cell: JoinCell<T>,
    late: Late,
}

/// What a handle that came before its task knows of it: the task, and whether it was cancelled before.
#[derive(Default)]
struct Late {
    state: Mutex<(Option<SlotRef>, bool)>,
}

impl<T> Apart<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { cell: JoinCell::new(), late: Late::default() })
    }

    /// The task exists now.
    pub(crate) fn bind(&self, h: &Header) {
        // SAFETY: a task's header heads its slot.
        let slot = unsafe { SlotRef::new(&h.node) };
        let cancelled = {
            let mut state = self.late.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = Some(slot.clone());
            state.1
        };
        if cancelled {
            cancel(slot);
        }
    }

    fn cancel(&self) {
        let slot = {
            let mut state = self.late.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 = true;
            state.0.clone()
        };
        if let Some(slot) = slot {
            cancel(slot);
        }
    }
}

pin_project! {
    /// A child's future that leaves its value in the cell. If it is dropped before, the value is lost.
    pub(crate) struct Joined<F, T> {
        #[pin]
        fut: F,
        lost: LostOnDrop<T>,
    }
}

struct LostOnDrop<T>(Arc<Apart<T>>);

impl<T> Drop for LostOnDrop<T> {
    fn drop(&mut self) {
        self.0.cell.complete(Stage::Lost);
    }
}

impl<F, T> Joined<F, T> {
    pub(crate) fn new(fut: F, cell: Arc<Apart<T>>) -> Self {
        Self { fut, lost: LostOnDrop(cell) }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Joined<F, T> {
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match ready!(this.fut.poll(cx)) {
            Ok(value) => {
                this.lost.0.cell.complete(Stage::Done(value));
                Poll::Ready(Ok(()))
            }
            // The nursery is cancelled before the handle completes: with the drop of this future.
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}

/// How far the entry of a handle's wait has come. A word without padding: handles are moved into the frames of futures.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Phase {
    Fresh,
    Yielded,
    Entered,
}

/// A child's value to be. Dropping the handle does nothing to the child.
#[must_use = "await it for the value, or use `start_soon`"]
pub struct Handle<'scope, T> {
    /// In the child's slot, or in `apart`; null if this handle has taken the value and given the slot back.
    cell: *const JoinCell<T>,
    apart: Option<Arc<Apart<T>>>,
    /// Of the child's slot.
    generation: u32,
    phase: Phase,
    at: &'static Location<'static>,
    scope: PhantomData<&'scope ()>,
}

// SAFETY: the cell is a lock around a `T`, kept in its place by this handle; the header beside it is asked for its atomics.
unsafe impl<T: Send> Send for Handle<'_, T> {}
// SAFETY: as above; a shared reference does not reach the value.
unsafe impl<T: Send> Sync for Handle<'_, T> {}
impl<T> Unpin for Handle<'_, T> {}

impl<T> fmt::Debug for Handle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> Handle<'_, T> {
    /// # Safety
    /// The slot of a child with a cell has just been put to use, and this is its only handle.
    #[track_caller]
    #[inline(always)]
    pub(super) unsafe fn new(head: *const JoinHead<T>) -> Self {
        // SAFETY: by contract.
        let (cell, generation) = unsafe { (&raw const (*head).join, (*head).header.node.generation()) };
        Self { cell, apart: None, generation, phase: Phase::Fresh, at: Location::caller(), scope: PhantomData }
    }

    #[track_caller]
    pub(crate) fn apart(apart: Arc<Apart<T>>) -> Self {
        Self {
            cell: &raw const apart.cell,
            apart: Some(apart),
            generation: 0,
            phase: Phase::Fresh,
            at: Location::caller(),
            scope: PhantomData,
        }
    }

    /// None once the value was taken and the slot given back.
    #[inline(always)]
    fn cell(&self) -> Option<&JoinCell<T>> {
        // SAFETY: kept in its place by this handle, either way.
        unsafe { self.cell.as_ref() }
    }

    /// Gives the slot back, if the cell is in it.
    ///
    /// # Safety
    /// The task has ended and left: nobody else knows the slot. This handle does not look at it again.
    #[inline(always)]
    unsafe fn free(&mut self) {
        if let Some(head) = self.head() {
            self.cell = ptr::null();
            // SAFETY: by contract.
            unsafe {
                ptr::drop_in_place((&raw const (*head).join).cast_mut());
                give_back(head.cast());
            }
        }
    }

    /// The common cases, on the root's own thread: the first look, and the one that finds the value.
    #[inline(always)]
    fn poll_fast(&mut self, cx: &Context<'_>) -> Option<Poll<T>> {
        let at = self.at;
        let mut state = self.cell()?.state.fast()?;
        match &state.stage {
            Stage::Running if state.waiter.is_none() => {
                // What was there has nothing to drop.
                mem::forget(state.waiter.replace(Parked::plain(cx, OP, at)?));
                Some(Poll::Pending)
            }
            Stage::Done(_) => {
                let Stage::Done(value) = mem::replace(&mut state.stage, Stage::Taken) else { return None };
                let last = state.left;
                drop(state);
                if last {
                    // SAFETY: the task has left.
                    unsafe { self.free() };
                }
                Some(Poll::Ready(value))
            }
            _ => None,
        }
    }

    /// The child's slot, if the cell is in it.
    #[inline(always)]
    fn head(&self) -> Option<*const JoinHead<T>> {
        let head = self.cell.wrapping_byte_sub(mem::offset_of!(JoinHead<T>, join));
        if self.apart.is_none() && !self.cell.is_null() { Some(head.cast()) } else { None }
    }

    /// Tells whether the child has ended, with a value or without.
    pub fn is_finished(&self) -> bool {
        self.cell().is_none_or(|cell| cell.state.with(|state| !matches!(state.stage, Stage::Running)))
    }

    /// Cancels the child alone. It ends without a value, and cancels nothing else.
    pub fn cancel(&self) {
        match (self.head(), &self.apart) {
            // SAFETY: this handle keeps the slot in use.
            (Some(head), _) => cancel(unsafe { SlotRef::of_generation(head.cast(), self.generation) }),
            (None, Some(apart)) => apart.cancel(),
            (None, None) => {}
        }
    }
}

/// Waits for the child's value.
///
/// # Errors
///
/// [`JoinError::Cancelled`] if the waiter is cancelled; [`JoinError::Lost`] if the child was stopped, failed or
/// panicked. Inside the child's nursery, a failing child cancels the waiter first.
///
/// # Panics
///
/// If it is polled after it has returned a value.
///
/// # Cancel safety
///
/// Nothing is lost: poll it again, through `&mut`.
impl<T> Future for Handle<'_, T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.phase != Phase::Entered {
            let mut entry = Entry::resume(this.phase == Phase::Yielded);
            this.phase = Phase::Entered;
            match entry.poll(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(c)) => {
                    this.phase = Phase::Fresh;
                    return Poll::Ready(Err(JoinError::Cancelled(c)));
                }
                Poll::Pending => {
                    this.phase = if entry.has_yielded() { Phase::Yielded } else { Phase::Fresh };
                    return Poll::Pending;
                }
            }
        }
        match this.poll_fast(cx) {
            Some(polled) => polled.map(Ok),
            None => this.poll_slowly(cx),
        }
    }
}

impl<T> Handle<'_, T> {
    #[cold]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let at = self.at;
        let Some(cell) = self.cell() else { panic!("a `Handle` was polled after it had returned the child's value") };
        let mut fresh: Option<Parked> = None;
        loop {
            let step = cell.state.with(|state| match &mut state.stage {
                Stage::Running => {
                    if let Some(parked) = &state.waiter {
                        if parked.is_cancelled() {
                            return Step::Cancelled(state.waiter.take());
                        }
                        if parked.is_current(cx) {
                            return Step::Waiting(None);
                        }
                    }
                    match fresh.take().or_else(|| Parked::plain(cx, OP, at)) {
                        Some(parked) => Step::Waiting(state.waiter.replace(parked)),
                        None => Step::Park,
                    }
                }
                Stage::Lost => Step::Ended(None),
                Stage::Taken => Step::Taken,
                done @ Stage::Done(_) => match std::mem::replace(done, Stage::Taken) {
                    Stage::Done(value) => Step::Ended(Some(value)),
                    _ => unreachable!("just matched"),
                },
            });
            match step {
                Step::Ended(Some(value)) => return Poll::Ready(Ok(value)),
                Step::Ended(None) if park::is_cancelled() => {
                    // Of both, the cancel came first: a failing child cancels its nursery before it is gone.
                    self.phase = Phase::Fresh;
                    park::count_delivery();
                    return Poll::Ready(Err(JoinError::Cancelled(park::cancelled())));
                }
                Step::Ended(None) => return Poll::Ready(Err(JoinError::Lost)),
                Step::Taken => panic!("a `Handle` was polled after it had returned the child's value"),
                Step::Waiting(old) => {
                    drop(old);
                    return Poll::Pending;
                }
                Step::Cancelled(waiter) => {
                    drop(waiter);
                    self.phase = Phase::Fresh;
                    park::count_delivery();
                    return Poll::Ready(Err(JoinError::Cancelled(park::cancelled())));
                }
                Step::Park => fresh = Some(Parked::new(cx, OP, at)),
            }
        }
    }
}

/// What a look at the cell says.
enum Step<T> {
    Ended(Option<T>),
    Taken,
    Waiting(Option<Parked>),
    Cancelled(Option<Parked>),
    Park,
}

impl<T> Drop for Handle<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.cell.is_null() {
            self.leave();
        }
    }
}

impl<T> Handle<'_, T> {
    #[inline(never)]
    fn leave(&mut self) {
        let Some(cell) = self.cell() else { return };
        let (stage, waiter, last) = cell.state.with(|state| {
            (mem::replace(&mut state.stage, Stage::Taken), state.waiter.take(), mem::replace(&mut state.left, true))
        });
        if last {
            // SAFETY: the task has left.
            unsafe { self.free() };
        }
        drop(waiter);
        drop(stage);
    }
}
