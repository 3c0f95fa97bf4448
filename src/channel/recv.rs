//! The futures of the receiving side.
//!
//! 1. look for cancellation and count against the step budget;
//! 2. take an item: one lock;
//! 3. else queue: one more lock, in which an item is looked for again;
//! 4. when polled again: an item that was handed over is returned, even if the scope is cancelled by now.

use super::Receiver;
use super::error::RecvError;
use super::machine::{Machine, RecvRefusal, RecvSlot, Remains};
use crate::error::Cancelled;
use crate::sync::guarded::{Guarded, Here};
use crate::sync::queue::{Key, WaitQueue};
use crate::sync::wait::{Place, Queue, Step, Wakes, poll_queued, polled_after_end};
use crate::task::park::{Admitted, Entry, Op, Parked, admit, cancelled};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The blocked receives of a channel.
struct Receives<'a, T>(&'a Guarded<Machine<T>>);

impl<T> Queue<RecvSlot<T>> for Receives<'_, T> {
    #[inline]
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<RecvSlot<T>>) -> R) -> R {
        self.0.with(|machine| f(&mut machine.receiving))
    }
}

#[derive(Debug)]
enum Phase {
    Start(Entry),
    Queued(Key),
    Finished,
}

/// What became of the first attempt.
enum Attempt<T> {
    Received(T, Option<Parked>),
    /// Empty, and queued in the same section, since the wait needed no foreign code.
    Queued(Key),
    Refused(RecvRefusal),
}

/// What both futures wrap.
struct Receiving<'a, T> {
    receiver: &'a Receiver<T>,
    phase: Phase,
    at: &'static Location<'static>,
}

impl<'a, T> Receiving<'a, T> {
    const fn new(receiver: &'a Receiver<T>, at: &'static Location<'static>) -> Self {
        Self { receiver, phase: Phase::Start(Entry::new()), at }
    }

    /// What nearly all polls come to: there is something to receive, or there is not and this queues, or an item was handed
    /// over. The first without a call.
    #[inline(always)]
    fn poll(&mut self, op: Op, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let plainly = match &self.phase {
            Phase::Start(entry) if !entry.has_yielded() => self.begin(op, cx),
            _ => self.take_handed().map(Poll::Ready),
        };
        match plainly {
            Some(Poll::Ready(item)) => {
                self.phase = Phase::Finished;
                Poll::Ready(Ok(item))
            }
            Some(Poll::Pending) => Poll::Pending,
            None => self.poll_in_full(op, cx),
        }
    }

    /// None: nothing was done.
    #[inline(always)]
    fn begin(&mut self, op: Op, cx: &Context<'_>) -> Option<Poll<T>> {
        let admitted = admit()?;
        let receiver = self.receiver;
        let mut machine = receiver.shared.lock_here()?;
        if receiver.is_closed() {
            return None;
        }
        match machine.try_recv() {
            Ok((item, moved_up)) => {
                drop(machine);
                admitted.count();
                if let Some(parked) = moved_up {
                    // First: a waker may panic.
                    self.phase = Phase::Finished;
                    parked.wake_apart();
                }
                Some(Poll::Ready(item))
            }
            Err(RecvRefusal::Empty) => self.queue_plainly(admitted, machine, op, cx),
            Err(_) => None,
        }
    }

    /// Queues, if the wait needs no foreign code.
    #[inline(never)]
    fn queue_plainly(
        &mut self,
        admitted: Admitted,
        mut machine: Here<'_, Machine<T>>,
        op: Op,
        cx: &Context<'_>,
    ) -> Option<Poll<T>> {
        let key = machine.queue_recv(self.receiver.id, Parked::plain(cx, op, self.at)?);
        drop(machine);
        admitted.count();
        self.phase = Phase::Queued(key);
        Some(Poll::Pending)
    }

    #[inline(never)]
    fn take_handed(&self) -> Option<T> {
        let Phase::Queued(key) = self.phase else { return None };
        self.receiver.shared.lock_here()?.receiving.take_done(key, |slot| slot.item.take())
    }

    #[inline(never)]
    fn poll_in_full(&mut self, op: Op, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let at = self.at;
        match &mut self.phase {
            Phase::Start(entry) => {
                let checked = match entry.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(checked) => checked,
                };
                self.phase = Phase::Finished;
                checked?;
                let receiver = self.receiver;
                let attempt = receiver.shared.with(|machine| {
                    if receiver.is_closed() {
                        return Attempt::Refused(RecvRefusal::Closed);
                    }
                    match machine.try_recv() {
                        Ok((item, moved_up)) => Attempt::Received(item, moved_up),
                        Err(RecvRefusal::Empty) => match Parked::plain(cx, op, at) {
                            Some(parked) => Attempt::Queued(machine.queue_recv(receiver.id, parked)),
                            None => Attempt::Refused(RecvRefusal::Empty),
                        },
                        Err(refusal) => Attempt::Refused(refusal),
                    }
                });
                match attempt {
                    Attempt::Received(item, moved_up) => {
                        Wakes::from(moved_up).wake();
                        Poll::Ready(Ok(item))
                    }
                    Attempt::Queued(key) => {
                        self.phase = Phase::Queued(key);
                        Poll::Pending
                    }
                    Attempt::Refused(RecvRefusal::Empty) => self.queue(Place::new(op, at), cx),
                    Attempt::Refused(refusal) => Poll::Ready(Err(refusal.into())),
                }
            }
            Phase::Queued(key) => {
                let key = *key;
                let queue = Receives(&self.receiver.shared);
                let (step, _spare) = poll_queued(&queue, key, Place::new(op, at), cx);
                if !step.is_pending() {
                    self.phase = Phase::Finished;
                }
                match step {
                    Step::Pending => Poll::Pending,
                    Step::Done(RecvSlot { item: Some(item), .. }) => Poll::Ready(Ok(item)),
                    Step::Done(RecvSlot { refusal: RecvRefusal::Ended, .. }) => Poll::Ready(self.look_again()),
                    Step::Done(slot) => Poll::Ready(Err(slot.refusal.into())),
                    Step::Cancelled(_) => Poll::Ready(Err(cancelled().into())),
                    Step::Left(_) => {
                        self.phase = Phase::Start(Entry::new());
                        self.poll_in_full(op, cx)
                    }
                }
            }
            Phase::Finished => polled_after_end(op),
        }
    }

    /// The last sender has gone while this waited. What others were handed may have come back since.
    #[cold]
    fn look_again(&self) -> Result<T, RecvError> {
        let (item, moved_up) = self.receiver.take()?;
        Wakes::from(moved_up).wake();
        Ok(item)
    }

    #[cold]
    fn leave(&self, key: Key) {
        let remains = self.receiver.shared.with(|machine| machine.leave_recv(key));
        let Remains { wakes, spare: _spare, value: _value } = remains;
        wakes.wake();
    }

    #[inline(never)]
    fn queue(&mut self, place: Place, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let parked = place.park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Err(cancelled().into()));
        }
        let receiver = self.receiver;
        let attempt = receiver.shared.with(|machine| {
            let taken = if receiver.is_closed() { Err(RecvRefusal::Closed) } else { machine.try_recv() };
            match taken {
                Err(RecvRefusal::Empty) => Ok(machine.queue_recv(receiver.id, parked)),
                decided => Err((decided, parked)),
            }
        });
        match attempt {
            Ok(key) => {
                self.phase = Phase::Queued(key);
                Poll::Pending
            }
            Err((Ok((item, moved_up)), _unused)) => {
                Wakes::from(moved_up).wake();
                Poll::Ready(Ok(item))
            }
            Err((Err(refusal), _unused)) => Poll::Ready(Err(refusal.into())),
        }
    }
}

impl<T> Drop for Receiving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Phase::Queued(key) = self.phase {
            self.leave(key);
        }
    }
}

impl From<RecvRefusal> for RecvError {
    fn from(refusal: RecvRefusal) -> Self {
        match refusal {
            RecvRefusal::Closed => Self::Closed,
            RecvRefusal::Ended => Self::EndOfChannel,
            RecvRefusal::Empty => unreachable!("a receive waits while the channel is empty"),
        }
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T> {
    inner: Receiving<'a, T>,
}

impl<'a, T> Recv<'a, T> {
    pub(super) const fn new(receiver: &'a Receiver<T>, at: &'static Location<'static>) -> Self {
        Self { inner: Receiving::new(receiver, at) }
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(Op::ChannelRecv, cx)
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("phase", &self.inner.phase).finish_non_exhaustive()
    }
}

/// The future of [`Receiver::try_next`].
#[must_use = "futures do nothing unless awaited"]
pub struct TryNext<'a, T> {
    inner: Receiving<'a, T>,
}

impl<'a, T> TryNext<'a, T> {
    pub(super) const fn new(receiver: &'a Receiver<T>, at: &'static Location<'static>) -> Self {
        Self { inner: Receiving::new(receiver, at) }
    }
}

impl<T> Future for TryNext<'_, T> {
    type Output = Result<Option<T>, Cancelled>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(Op::ChannelTryNext, cx).map(|received| match received {
            Ok(item) => Ok(Some(item)),
            Err(RecvError::Closed | RecvError::EndOfChannel) => Ok(None),
            Err(RecvError::Cancelled(cancelled)) => Err(cancelled),
        })
    }
}

impl<T> fmt::Debug for TryNext<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryNext").field("phase", &self.inner.phase).finish_non_exhaustive()
    }
}
