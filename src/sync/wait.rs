//! What all waiting futures have in common: how a queued wait is polled, and how wakes are carried out of a lock.

use super::guarded::Guarded;
use super::queue::{Key, Progress, WaitQueue};
use crate::error::Cancelled;
use crate::sched::wakes::each;
use crate::task::park::{Entry, Op, Parked, cancelled};
use std::panic::Location;
use std::task::{Context, Poll, ready};

/// Something with a wait queue behind a lock.
pub(crate) trait Queue<S> {
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<S>) -> R) -> R;
}

impl<S> Queue<S> for Guarded<WaitQueue<S>> {
    #[inline]
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<S>) -> R) -> R {
        self.with(f)
    }
}

/// How a wait appears in the task tree, and whether cancellation ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) op: Op,
    pub(crate) at: &'static Location<'static>,
    pub(crate) shielded: bool,
}

impl Place {
    #[inline]
    pub(crate) const fn new(op: Op, at: &'static Location<'static>) -> Self {
        Self { op, at, shielded: false }
    }

    /// Begins a wait here. Not with a lock held.
    #[inline]
    pub(crate) fn park(self, cx: &mut Context<'_>) -> Parked {
        Parked::renew(self.shielded, cx, self.op, self.at)
    }
}

/// What became of a queued wait. Except when pending, its entry is free.
#[derive(Debug)]
pub(crate) enum Step<S> {
    Pending,
    Done(S),
    Cancelled(S),
    /// It was cancelled where it waited before, and has been taken elsewhere since: a cancel there is none of who polls now. The
    /// wait begins anew.
    Left(S),
}

impl<S> Step<S> {
    /// Of a wait that was cancelled.
    #[inline]
    fn cancelled(slot: S, parked: &Parked, cx: &Context<'_>) -> Self {
        if parked.is_current(cx) { Self::Cancelled(slot) } else { Self::Left(slot) }
    }

    #[inline(always)]
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

/// Waits that are left over. To drop them may run foreign code, which may panic: it comes after the future has noted that
/// its entry is free.
#[derive(Debug)]
#[must_use = "it is dropped last"]
pub(crate) struct Spare {
    _parked: Option<Parked>,
    _renewed: Option<Parked>,
}

impl Spare {
    const NONE: Self = Self { _parked: None, _renewed: None };
}

/// Polls a queued wait: one lock, two more if the task or its scope has changed. If it panics, which a waker may do that is
/// cloned here, the entry is still the future's.
#[inline]
pub(crate) fn poll_queued<S>(queue: &impl Queue<S>, key: Key, place: Place, cx: &mut Context<'_>) -> (Step<S>, Spare) {
    let progress = queue.with_queue(|queue| queue.poll(key, cx));
    follow_up(queue, progress, key, place, cx)
}

/// What follows from a poll, with the lock released. Panics as [`poll_queued`].
#[inline]
fn follow_up<S>(
    queue: &impl Queue<S>,
    progress: Progress<S, Parked>,
    key: Key,
    place: Place,
    cx: &mut Context<'_>,
) -> (Step<S>, Spare) {
    match progress {
        Progress::Waiting => (Step::Pending, Spare::NONE),
        Progress::Stale => renew_queued(queue, key, place, cx),
        Progress::Done(slot) => (Step::Done(slot), Spare::NONE),
        Progress::Cancelled(slot, parked) => {
            (Step::cancelled(slot, &parked, cx), Spare { _parked: Some(parked), ..Spare::NONE })
        }
    }
}

#[cold]
fn renew_queued<S>(queue: &impl Queue<S>, key: Key, place: Place, cx: &mut Context<'_>) -> (Step<S>, Spare) {
    let fresh = place.park(cx);
    let (progress, renewed) = queue.with_queue(|queue| queue.renew(key, fresh));
    let (step, parked) = match progress {
        Progress::Waiting | Progress::Stale => (Step::Pending, None),
        Progress::Done(slot) => (Step::Done(slot), None),
        Progress::Cancelled(slot, parked) => (Step::cancelled(slot, &parked, cx), Some(parked)),
    };
    (step, Spare { _parked: parked, _renewed: Some(renewed) })
}

/// How far a wait has come that is told of nothing but its end.
#[derive(Debug)]
pub(crate) enum Phase {
    Start(Entry),
    Queued(Key),
    Finished,
}

impl Phase {
    pub(crate) const fn new() -> Self {
        Self::Start(Entry::new())
    }

    /// Of an operation that queues in its first poll.
    pub(crate) const fn of_wait() -> Self {
        Self::Start(Entry::of_wait())
    }

    /// Its entry check, or its place in the queue. `None`: it has been let in, and is `Finished` unless it queues now.
    pub(crate) fn poll<S>(
        &mut self,
        queue: &impl Queue<S>,
        place: Place,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(), Cancelled>>> {
        match self {
            Self::Start(entry) => {
                let checked = ready!(entry.poll(cx));
                *self = Self::Finished;
                Poll::Ready(checked.err().map(Err))
            }
            Self::Queued(key) => {
                let (step, _spare) = poll_queued(queue, *key, place, cx);
                if !step.is_pending() {
                    *self = Self::Finished;
                }
                match step {
                    Step::Pending => Poll::Pending,
                    Step::Done(_) => Poll::Ready(Some(Ok(()))),
                    Step::Cancelled(_) => Poll::Ready(Some(Err(cancelled()))),
                    Step::Left(_) => {
                        *self = Self::new();
                        self.poll(queue, place, cx)
                    }
                }
            }
            Self::Finished => polled_after_end(place.op),
        }
    }
}

/// Panics because a future was polled again after it had finished.
#[cold]
pub(crate) fn polled_after_end(op: Op) -> ! {
    panic!("`{op}` polled again after it had finished")
}

/// Waits that were completed under a lock, to be woken after its release, in order.
#[derive(Debug)]
#[must_use = "the tasks have to be woken"]
pub(crate) enum Wakes<W = Parked> {
    None,
    One(W),
    Many(Vec<W>),
}

impl<W> Wakes<W> {
    pub(crate) fn push(&mut self, parked: W) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(parked),
            Self::One(first) => Self::Many(vec![first, parked]),
            Self::Many(mut all) => {
                all.push(parked);
                Self::Many(all)
            }
        };
    }
}

impl<W> From<Option<W>> for Wakes<W> {
    #[inline]
    fn from(parked: Option<W>) -> Self {
        parked.map_or(Self::None, Self::One)
    }
}

impl Wakes {
    /// Wakes them all, even if the code of one waker panics. Not with a lock held.
    #[inline(always)]
    pub(crate) fn wake(self) {
        match self {
            Self::None => {}
            Self::One(parked) => parked.wake_apart(),
            Self::Many(all) => wake_many(all),
        }
    }
}

#[cold]
#[inline(never)]
fn wake_many(all: Vec<Parked>) {
    each(all, Parked::wake);
}
