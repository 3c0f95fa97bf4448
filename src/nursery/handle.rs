//! The handle of a child: its value, and a way to cancel it alone.
//!
//! State of a [`JoinCell`]: `Running`, then `Done` with the value or `Lost`, then `Taken`. It changes under the lock;
//! the waiter is woken after.

use crate::error::{JoinError, Result};
use crate::sched::node::SlotRef;
use crate::sched::remote::{self, Mail};
use crate::task::header::Header;
use crate::task::park::{self, Entry, Parked};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

enum Stage<T> {
    Running,
    Done(T),
    Lost,
    Taken,
}

struct State<T> {
    stage: Stage<T>,
    waiter: Option<Parked>,
    task: Option<SlotRef>,
    /// Cancelled before the task existed.
    cancel: bool,
}

pub(crate) struct JoinCell<T> {
    state: Mutex<State<T>>,
}

impl<T> JoinCell<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { stage: Stage::Running, waiter: None, task: None, cancel: false };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task exists now.
    pub(crate) fn bind(&self, h: &Header) {
        // SAFETY: a task's header heads its slot.
        let slot = unsafe { SlotRef::new(&h.node) };
        let mut state = self.lock();
        let cancel = state.cancel;
        state.task = Some(slot);
        drop(state);
        if cancel {
            self.cancel();
        }
    }

    fn cancel(&self) {
        let task = {
            let mut state = self.lock();
            state.cancel = true;
            state.task.clone()
        };
        if let Some(slot) = task {
            let owner = slot.get().owner();
            if slot.is_live() && !owner.is_null() {
                // SAFETY: an owner is a root cell.
                unsafe { remote::perform(owner, Mail::Cancel(slot)) };
            }
        }
    }

    fn complete(&self, stage: Stage<T>) {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Running) {
            drop(state);
            return;
        }
        state.stage = stage;
        let (waiter, task) = (state.waiter.take(), state.task.take());
        drop(state);
        drop(task);
        if let Some(waiter) = waiter {
            waiter.wake();
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

struct LostOnDrop<T>(Arc<JoinCell<T>>);

impl<T> Drop for LostOnDrop<T> {
    fn drop(&mut self) {
        self.0.complete(Stage::Lost);
    }
}

impl<F, T> Joined<F, T> {
    pub(crate) fn new(fut: F, cell: Arc<JoinCell<T>>) -> Self {
        Self { fut, lost: LostOnDrop(cell) }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Joined<F, T> {
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match ready!(this.fut.poll(cx)) {
            Ok(value) => {
                this.lost.0.complete(Stage::Done(value));
                Poll::Ready(Ok(()))
            }
            // The nursery is cancelled before the handle completes: with the drop of this future.
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}

/// A child's value to be. Dropping the handle does nothing to the child.
#[must_use = "await it for the value, or use `start_soon`"]
pub struct Handle<'scope, T> {
    cell: Arc<JoinCell<T>>,
    entry: Option<Entry>,
    at: &'static Location<'static>,
    scope: PhantomData<&'scope ()>,
}

impl<T> Unpin for Handle<'_, T> {}

impl<T> fmt::Debug for Handle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> Handle<'_, T> {
    #[track_caller]
    pub(crate) fn new(cell: Arc<JoinCell<T>>) -> Self {
        Self { cell, entry: Some(Entry::new()), at: Location::caller(), scope: PhantomData }
    }

    /// Tells whether the child has ended, with a value or without.
    pub fn is_finished(&self) -> bool {
        !matches!(self.cell.lock().stage, Stage::Running)
    }

    /// Cancels the child alone. It ends without a value, and cancels nothing else.
    pub fn cancel(&self) {
        self.cell.cancel();
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const OP: &str = "Handle";
        let this = &mut *self;
        if let Some(entry) = &mut this.entry {
            if let Err(c) = ready!(entry.poll(cx)) {
                this.entry = Some(Entry::new());
                return Poll::Ready(Err(JoinError::Cancelled(c)));
            }
            this.entry = None;
        }
        let mut fresh: Option<Parked> = None;
        loop {
            let mut state = this.cell.lock();
            match std::mem::replace(&mut state.stage, Stage::Taken) {
                Stage::Done(value) => {
                    drop(state);
                    drop(fresh);
                    return Poll::Ready(Ok(value));
                }
                Stage::Lost => {
                    state.stage = Stage::Lost;
                    drop(state);
                    drop(fresh);
                    if park::is_cancelled() {
                        // Of both, the cancel came first: a failing child cancels its nursery before it is gone.
                        park::count_delivery();
                        this.entry = Some(Entry::new());
                        return Poll::Ready(Err(JoinError::Cancelled(park::cancelled())));
                    }
                    return Poll::Ready(Err(JoinError::Lost));
                }
                Stage::Taken => {
                    drop(state);
                    panic!("a `Handle` was polled after it had returned the child's value");
                }
                Stage::Running => state.stage = Stage::Running,
            }
            if let Some(parked) = &state.waiter {
                if parked.is_cancelled() {
                    let waiter = state.waiter.take();
                    drop(state);
                    drop((waiter, fresh));
                    this.entry = Some(Entry::new());
                    return Poll::Ready(Err(JoinError::Cancelled(park::cancelled())));
                }
                if parked.is_current(cx) {
                    drop(state);
                    drop(fresh);
                    return Poll::Pending;
                }
            }
            match fresh.take() {
                Some(parked) => {
                    let old = state.waiter.replace(parked);
                    drop(state);
                    drop(old);
                    return Poll::Pending;
                }
                None => {
                    drop(state);
                    fresh = Some(Parked::new(cx, OP, this.at));
                }
            }
        }
    }
}

impl<T> Drop for Handle<'_, T> {
    fn drop(&mut self) {
        let waiter = self.cell.lock().waiter.take();
        drop(waiter);
    }
}
