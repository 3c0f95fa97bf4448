//! The handle of a child: its value, and a way to cancel it alone.
//!
//! State of a [`JoinCell`]: `Running`, then `Done` with the value or `Lost`, then `Taken`. It changes under the lock;
//! the waiter is woken after.

use crate::error::{JoinError, Result};
use crate::sched::node::SlotRef;
use crate::sched::remote::{self, Mail};
use crate::sync::guarded::Guarded;
use crate::task::header::Header;
use crate::task::park::{self, Entry, Parked};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
}

pub(crate) struct JoinCell<T> {
    state: Guarded<State<T>>,
    /// The task, if it did not exist yet when the handle was made.
    late: OnceLock<Late>,
}

/// What a handle that came before its task knows of it.
#[derive(Default)]
struct Late {
    state: Mutex<(Option<SlotRef>, bool)>,
}

/// Cancels a task, wherever it is.
fn cancel(slot: SlotRef) {
    remote::tell(Mail::Cancel(slot));
}

impl<T> JoinCell<T> {
    #[inline]
    pub(crate) fn new() -> Arc<Self> {
        let state = State { stage: Stage::Running, waiter: None };
        Arc::new(Self { state: Guarded::new(state), late: OnceLock::new() })
    }

    /// The task exists now, later than the handle.
    pub(crate) fn bind(&self, h: &Header) {
        // SAFETY: a task's header heads its slot.
        let slot = unsafe { SlotRef::new(&h.node) };
        let late = self.late.get_or_init(Late::default);
        let cancelled = {
            let mut state = late.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = Some(slot.clone());
            state.1
        };
        if cancelled {
            cancel(slot);
        }
    }

    fn cancel_late(&self) {
        let late = self.late.get_or_init(Late::default);
        let slot = {
            let mut state = late.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 = true;
            state.0.clone()
        };
        if let Some(slot) = slot {
            cancel(slot);
        }
    }

    #[inline]
    fn complete(&self, stage: Stage<T>) {
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
    /// `None` if the task did not exist yet.
    task: Option<SlotRef>,
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
    #[inline]
    pub(crate) fn new(cell: Arc<JoinCell<T>>, task: Option<SlotRef>) -> Self {
        Self { cell, task, entry: Some(Entry::new()), at: Location::caller(), scope: PhantomData }
    }

    /// Tells whether the child has ended, with a value or without.
    pub fn is_finished(&self) -> bool {
        self.cell.state.with(|state| !matches!(state.stage, Stage::Running))
    }

    /// Cancels the child alone. It ends without a value, and cancels nothing else.
    pub fn cancel(&self) {
        match &self.task {
            Some(slot) => cancel(slot.clone()),
            None => self.cell.cancel_late(),
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
            let step = this.cell.state.with(|state| match &mut state.stage {
                Stage::Running => {
                    if let Some(parked) = &state.waiter {
                        if parked.is_cancelled() {
                            return Step::Cancelled(state.waiter.take());
                        }
                        if parked.is_current(cx) {
                            return Step::Waiting(None);
                        }
                    }
                    match fresh.take() {
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
                    this.entry = Some(Entry::new());
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
                    this.entry = Some(Entry::new());
                    park::count_delivery();
                    return Poll::Ready(Err(JoinError::Cancelled(park::cancelled())));
                }
                Step::Park => fresh = Some(Parked::new(cx, OP, this.at)),
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
    fn drop(&mut self) {
        let waiter = self.cell.state.with(|state| state.waiter.take());
        drop(waiter);
    }
}
