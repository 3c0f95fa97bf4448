//! The handle of a child: its value, and a way to cancel it alone.
//!
//! A handle is one word: where the cell is that the child leaves its value in ([`JoinCell`]), whether that is in the child's
//! slot or [apart](Apart), and how far the entry of its wait has come.

use super::core::{give_back, give_back_here};
use super::join::{Found, JoinCell, JoinHead};
use crate::error::{JoinError, Result};
use crate::sched::context;
use crate::sched::node::SlotRef;
use crate::sched::remote::{self, Mail};
use crate::sched::root::Root;
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

/// Cancels a task, wherever it is.
pub(crate) fn cancel(slot: SlotRef) {
    let owner = slot.get().owner();
    if slot.is_live() && !owner.is_null() {
        // SAFETY: an owner is a root cell.
        unsafe { remote::perform(owner, Mail::Cancel(slot)) };
    }
}

/// A cell that is not in the child's slot: the child did not exist yet, or its value is too large for a slot.
#[repr(C)]
pub(crate) struct Apart<T> {
    /// First: a handle knows it by the address of the whole.
    cell: JoinCell<T>,
    late: Late,
}

/// What a handle that came before its task knows of it: the task, and whether it was cancelled before.
#[derive(Default)]
struct Late {
    state: Mutex<(Option<SlotRef>, bool)>,
}

impl<T> Apart<T> {
    #[track_caller]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { cell: JoinCell::new(Location::caller()), late: Late::default() })
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
    /// A child's future that leaves its value in a cell that is apart. If it is dropped before, the value is lost.
    pub(crate) struct Joined<F, T> {
        #[pin]
        fut: F,
        task: TaskSide<T>,
    }
}

struct TaskSide<T>(Arc<Apart<T>>);

impl<T> Drop for TaskSide<T> {
    fn drop(&mut self) {
        self.0.cell.settle_apart();
    }
}

impl<F, T> Joined<F, T> {
    pub(crate) fn new(fut: F, cell: Arc<Apart<T>>) -> Self {
        Self { fut, task: TaskSide(cell) }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Joined<F, T> {
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match ready!(this.fut.poll(cx)) {
            Ok(value) => {
                let cell = &this.task.0.cell;
                // SAFETY: a future returns once; settled after.
                unsafe { cell.fill(value) };
                cell.settle_apart();
                Poll::Ready(Ok(()))
            }
            // The nursery is cancelled before the handle completes: with the drop of this future.
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}

/// The cell is in an allocation shared with the task's future.
const APART: usize = 1;
/// The wait has passed its entry check.
const ENTERED: usize = 2;
/// The entry check has yielded.
const YIELDED: usize = 4;
const MARKS: usize = APART | ENTERED | YIELDED;
/// The value was taken, and slot or allocation given back. Marked as apart, so that one look tells what is plain.
const TAKEN: usize = APART;

/// A child's value to be. Dropping the handle does nothing to the child. It cannot leave the nursery: await it inside.
#[must_use = "await it for the value, or use `start_soon`"]
pub struct Handle<'scope, T> {
    /// A cell with marks in its low bits, or `TAKEN`.
    word: *const JoinCell<T>,
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
    #[inline(always)]
    pub(super) unsafe fn new(head: *const JoinHead<T>) -> Self {
        const { assert!(align_of::<JoinCell<T>>() > MARKS, "the marks have room") };
        // SAFETY: by contract.
        Self { word: unsafe { &raw const (*head).join }, scope: PhantomData }
    }

    pub(crate) fn apart(apart: Arc<Apart<T>>) -> Self {
        Self { word: Arc::into_raw(apart).cast::<JoinCell<T>>().map_addr(|at| at | APART), scope: PhantomData }
    }

    #[inline(always)]
    fn marks(&self) -> usize {
        self.word.addr() & MARKS
    }

    #[inline(always)]
    fn set_marks(&mut self, marks: usize) {
        self.word = self.word.map_addr(|at| at & !MARKS | marks);
    }

    /// The cell, and whose memory it is in (null: of no root). None once the value was taken.
    fn cell(&self) -> Option<(&JoinCell<T>, *const Root)> {
        let cell = self.word.map_addr(|at| at & !MARKS);
        // SAFETY: kept in its place by this handle, either way.
        unsafe { Some((cell.as_ref()?, self.head().map_or(ptr::null(), |head| (*head).header.node.home()))) }
    }

    /// The child's slot, if the cell is in it.
    #[inline(always)]
    fn head(&self) -> Option<*const JoinHead<T>> {
        let cell = self.word.map_addr(|at| at & !MARKS);
        (self.word.addr() & APART == 0).then(|| cell.wrapping_byte_sub(mem::offset_of!(JoinHead<T>, join)).cast())
    }

    /// The allocation, if the cell is in one.
    fn shared(&self) -> Option<*const Apart<T>> {
        let cell = self.word.map_addr(|at| at & !MARKS);
        (self.word.addr() & APART != 0 && !cell.is_null()).then_some(cell.cast())
    }

    /// The common cases, on the thread of the child's root: the first look, and the one that finds the value.
    #[inline(always)]
    fn poll_fast(&mut self, cx: &Context<'_>) -> Option<Poll<T>> {
        if self.word.addr() & (MARKS & !ENTERED) != 0 {
            return None;
        }
        // Written out for either case, so that the marks are part of an offset.
        let is_first = self.word.addr() & ENTERED == 0;
        let head = if is_first { self.head_at(0) } else { self.head_at(ENTERED) };
        // SAFETY: kept in its place by this handle.
        let (header, cell) = unsafe { (&(*head).header, &(*head).join) };
        if !header.node.is_at_home_here() {
            return None;
        }
        // SAFETY: the context's root is held by this thread, and the home, since the number is equal; a handle leaves no waiter before it has entered, and none after its wait.
        let value = unsafe {
            if is_first {
                match cell.look_first(park::wait_plainly(cx)?, &*context::root()) {
                    Ok(Some(value)) => value,
                    Ok(None) => {
                        self.word = self.word.wrapping_byte_add(ENTERED);
                        return Some(Poll::Pending);
                    }
                    Err(()) => return None,
                }
            } else {
                cell.take_here()?
            }
        };
        // SAFETY: the task has left, on this thread, which holds the home.
        unsafe { give_back_here(header, header.vtable.get().class, &*context::root()) };
        // Last, so that a handle that is dropped next is known to have nothing to leave.
        self.word = ptr::without_provenance(TAKEN);
        Some(Poll::Ready(value))
    }

    /// The child's slot, from a word with these marks.
    #[inline(always)]
    fn head_at(&self, marks: usize) -> *const JoinHead<T> {
        self.word.wrapping_byte_sub(mem::offset_of!(JoinHead<T>, join) + marks).cast()
    }

    /// Tells whether the child has ended, with a value or without.
    pub fn is_finished(&self) -> bool {
        self.cell().is_none_or(|(cell, home)| cell.is_finished(home))
    }

    /// Cancels the child alone. It ends without a value, and cancels nothing else.
    pub fn cancel(&self) {
        match (self.head(), self.shared()) {
            // A task that has ended has a new generation and, visible with that, no owner any more; its slot is not put to
            // use again before this handle leaves it.
            // SAFETY: this handle keeps the slot mapped.
            (Some(head), _) => cancel(unsafe { SlotRef::new(head.cast()) }),
            // SAFETY: this handle counts on it.
            (None, Some(apart)) => unsafe { (*apart).cancel() },
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

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.poll_fast(cx) {
            Some(polled) => polled.map(Ok),
            None => self.poll_slowly(cx),
        }
    }
}

impl<T> Handle<'_, T> {
    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let apart = self.word.addr() & APART;
        if self.marks() & ENTERED == 0 {
            let mut entry = Entry::resume(self.marks() & YIELDED != 0);
            let polled = entry.poll(cx);
            self.set_marks(match &polled {
                Poll::Ready(Ok(())) => apart | ENTERED,
                Poll::Pending if entry.has_yielded() => apart | YIELDED,
                _ => apart,
            });
            if let Err(c) = ready!(polled) {
                return Poll::Ready(Err(JoinError::Cancelled(c)));
            }
        }
        let mut fresh: Option<Parked> = None;
        loop {
            let Some((cell, home)) = self.cell() else { polled_after_end() };
            match cell.look(home, &mut fresh, cx) {
                Found::Value(value) => return Poll::Ready(Ok(value)),
                // Of both, the cancel came first: a failing child cancels its nursery before it is gone.
                Found::Lost if park::is_cancelled() => return Poll::Ready(Err(self.cancelled(apart))),
                Found::Lost => return Poll::Ready(Err(JoinError::Lost)),
                Found::Waiting(old) => {
                    drop(old);
                    return Poll::Pending;
                }
                Found::Cancelled(waiter) => {
                    drop(waiter);
                    return Poll::Ready(Err(self.cancelled(apart)));
                }
                Found::Park => fresh = Some(cell.park(cx)),
                Found::Taken => polled_after_end(),
            }
        }
    }

    /// The wait is over; the next one begins anew.
    fn cancelled(&mut self, apart: usize) -> JoinError {
        self.set_marks(apart);
        park::count_delivery();
        JoinError::Cancelled(park::cancelled())
    }
}

#[cold]
fn polled_after_end() -> ! {
    panic!("a `Handle` was polled after it had returned the child's value")
}

impl<T> Drop for Handle<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.word.addr() != TAKEN {
            self.leave();
        }
    }
}

impl<T> Handle<'_, T> {
    #[inline(never)]
    fn leave(&mut self) {
        let Some((cell, home)) = self.cell() else { return };
        let (value, waiter, last) = cell.leave(home);
        match (self.head(), self.shared()) {
            // SAFETY: the task has left: nobody else knows the slot.
            (Some(head), _) if last => unsafe { give_back(head.cast()) },
            // SAFETY: the handle's count, made by `into_raw`.
            (None, Some(apart)) => drop(unsafe { Arc::from_raw(apart) }),
            _ => {}
        }
        drop(waiter);
        drop(value);
    }
}
