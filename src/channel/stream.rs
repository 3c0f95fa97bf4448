//! The receiver as a stream.
//!
//! A stream cannot know whether the `next()` that polled it has been dropped. So it is never handed an item: it watches,
//! is told when there may be something to receive, and takes it when it is polled. What it watches with stays behind
//! when a `next()` is dropped, and does no harm: an item that nobody comes for stays where others find it.

use super::Receiver;
use super::machine::{Machine, RecvRefusal, WatchSlot};
use crate::error::Cancelled;
use crate::sync::guarded::Guarded;
use crate::sync::queue::{Key, WaitQueue};
use crate::sync::wait::{Place, Queue, Step, Wakes, poll_queued};
use crate::task::park::{Entry, Op, cancelled};
use futures_core::Stream;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The streams that watch a channel.
struct Watches<'a, T>(&'a Guarded<Machine<T>>);

impl<T> Queue<WatchSlot> for Watches<'_, T> {
    #[inline]
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<WatchSlot>) -> R) -> R {
        self.0.with(|machine| f(&mut machine.watching))
    }
}

/// The stream's state between polls.
#[derive(Debug)]
pub(super) struct Watch {
    /// The entry check of the item to come.
    entry: Entry,
    /// Where it watches.
    key: Option<Key>,
    /// Where the handle was made: all that is known of who waits.
    at: &'static Location<'static>,
}

impl Watch {
    pub(super) const fn new(at: &'static Location<'static>) -> Self {
        Self { entry: Entry::new(), key: None, at }
    }
}

/// Receives item by item, as [`try_next`](Receiver::try_next) does.
///
/// # Errors
///
/// An item `Err(Cancelled)` if a scope around is cancelled; the stream may be polled on after that.
///
/// # Cancel safety
///
/// A dropped `next()` holds nothing.
///
/// # Fairness
///
/// A stream that waits is told of an item, not handed it, so a receiver that uses
/// [`recv`](Receiver::recv) or [`try_next`](Receiver::try_next) meanwhile comes first, and of several streams that wait
/// each item wakes all. Workers that share a channel do better with `try_next`.
impl<T> Stream for Receiver<T> {
    type Item = Result<T, Cancelled>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let place = Place::new(Op::ChannelNext, this.watch.at);
        if let Some(key) = this.watch.key {
            let (step, _spare) = poll_queued(&Watches(&this.shared), key, place, cx);
            if !step.is_pending() {
                this.watch.key = None;
            }
            match step {
                Step::Pending => return Poll::Pending,
                // The watch of a `next()` that was dropped: its cancel is not told to another one.
                Step::Left(_) => {}
                Step::Cancelled(_) => return Poll::Ready(Some(Err(cancelled()))),
                // It was told before a cancel came, so an item is taken even if that has come by now.
                Step::Done(_) => {
                    if let Some(next) = this.take_next() {
                        return Poll::Ready(next);
                    }
                }
            }
        }
        match this.watch.entry.poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(checked) => {
                this.watch.entry = Entry::new();
                if let Err(cancelled) = checked {
                    return Poll::Ready(Some(Err(cancelled)));
                }
            }
        }
        if let Some(next) = this.take_next() {
            return Poll::Ready(next);
        }
        this.watch(place, cx)
    }
}

impl<T> Receiver<T> {
    /// One attempt: the next item, the end, or nothing yet.
    fn take_next(&self) -> Option<Option<Result<T, Cancelled>>> {
        match self.take() {
            Ok((item, moved_up)) => {
                Wakes::from(moved_up).wake();
                Some(Some(Ok(item)))
            }
            Err(RecvRefusal::Closed | RecvRefusal::Ended) => Some(None),
            Err(RecvRefusal::Empty) => None,
        }
    }

    fn watch(&mut self, place: Place, cx: &mut Context<'_>) -> Poll<Option<Result<T, Cancelled>>> {
        let parked = place.park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Some(Err(cancelled())));
        }
        let attempt = self.shared.with(|machine| {
            let taken = if self.is_closed() { Err(RecvRefusal::Closed) } else { machine.try_recv() };
            match taken {
                Err(RecvRefusal::Empty) => Ok(machine.watch(self.id, parked)),
                decided => Err((decided, parked)),
            }
        });
        match attempt {
            Ok(key) => {
                self.watch.key = Some(key);
                Poll::Pending
            }
            Err((Ok((item, moved_up)), _unused)) => {
                Wakes::from(moved_up).wake();
                Poll::Ready(Some(Ok(item)))
            }
            Err((Err(_), _unused)) => Poll::Ready(None),
        }
    }

    /// Stops watching, for the handle's drop.
    pub(super) fn unwatch(&mut self) {
        if let Some(key) = self.watch.key.take() {
            let _left = self.shared.with(|machine| machine.watching.remove(key));
        }
    }
}
