//! The futures of the sending side.
//!
//! 1. look for cancellation and count against the step budget;
//! 2. offer the value, and else queue with it: one lock;
//! 3. if the wait takes foreign code to make: one more lock, in which the value is offered again;
//! 4. when polled again: a value that was taken is sent, even if the scope is cancelled by now.

use super::Sender;
use super::error::SendError;
use super::machine::{Machine, SendRefusal, SendSlot};
use crate::sync::guarded::{Guarded, Here};
use crate::sync::queue::{Key, WaitQueue};
use crate::sync::wait::{Place, Queue, Step, Wakes, poll_queued, polled_after_end};
use crate::task::park::{Admitted, Entry, Op, Parked, admit, cancelled};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The blocked sends of a channel.
struct Sends<'a, T>(&'a Guarded<Machine<T>>);

impl<T> Queue<SendSlot<T>> for Sends<'_, T> {
    #[inline]
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<SendSlot<T>>) -> R) -> R {
        self.0.with(|machine| f(&mut machine.sending))
    }
}

#[derive(Debug)]
enum Phase {
    Start(Entry),
    Queued(Key),
    Finished,
}

/// What became of the first attempt.
enum Attempt {
    Sent(Wakes),
    /// Full, and queued in the same section, since the wait needed no foreign code.
    Queued((Key, Wakes)),
    Refused(SendRefusal),
}

/// What both futures wrap.
struct Sending<'a, T> {
    sender: &'a Sender<T>,
    /// Until it is sent, or moves into the queue.
    value: Option<T>,
    phase: Phase,
    at: &'static Location<'static>,
}

/// The value is never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<'a, T> Sending<'a, T> {
    const fn new(sender: &'a Sender<T>, value: T, at: &'static Location<'static>) -> Self {
        Self { sender, value: Some(value), phase: Phase::Start(Entry::new()), at }
    }

    /// `Err` holds the value, and why it was not sent. What nearly all polls come to: it is taken, or must wait and queues, or
    /// was taken meanwhile. The first without a call.
    #[inline(always)]
    fn poll(&mut self, op: Op, cx: &mut Context<'_>) -> Poll<Result<(), (T, SendError)>> {
        let plainly = match &self.phase {
            Phase::Start(entry) if !entry.has_yielded() => self.begin(op, cx),
            _ => self.was_taken().map(Poll::Ready),
        };
        match plainly {
            Some(Poll::Ready(())) => {
                self.phase = Phase::Finished;
                Poll::Ready(Ok(()))
            }
            Some(Poll::Pending) => Poll::Pending,
            None => self.poll_in_full(op, cx),
        }
    }

    /// None: nothing was done.
    #[inline(always)]
    fn begin(&mut self, op: Op, cx: &Context<'_>) -> Option<Poll<()>> {
        let admitted = admit()?;
        let mut machine = self.sender.shared.lock_here()?;
        if self.sender.is_closed() {
            return None;
        }
        match machine.try_send_plainly(&mut self.value) {
            Some(receiver) => {
                drop(machine);
                admitted.count();
                if let Some(parked) = receiver {
                    // First: a waker may panic.
                    self.phase = Phase::Finished;
                    parked.wake_apart();
                }
                Some(Poll::Ready(()))
            }
            None => self.queue_plainly(admitted, machine, op, cx),
        }
    }

    /// Queues, if the channel is full, the wait needs no foreign code, and no stream has to be told.
    #[inline(never)]
    fn queue_plainly(
        &mut self,
        admitted: Admitted,
        mut machine: Here<'_, Machine<T>>,
        op: Op,
        cx: &Context<'_>,
    ) -> Option<Poll<()>> {
        if !machine.must_wait_to_send() {
            return None;
        }
        let parked = Parked::plain(cx, op, self.at)?;
        let key = machine.queue_send_plainly(self.sender.id, parked, &mut self.value);
        drop(machine);
        admitted.count();
        self.phase = Phase::Queued(key);
        Some(Poll::Pending)
    }

    #[inline(never)]
    fn was_taken(&self) -> Option<()> {
        let Phase::Queued(key) = self.phase else { return None };
        self.sender.shared.lock_here()?.sending.take_done(key, |slot| slot.value.is_none().then_some(()))
    }

    #[inline(never)]
    fn poll_in_full(&mut self, op: Op, cx: &mut Context<'_>) -> Poll<Result<(), (T, SendError)>> {
        let at = self.at;
        match &mut self.phase {
            Phase::Start(entry) => {
                let checked = match entry.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(checked) => checked,
                };
                self.phase = Phase::Finished;
                if let Err(cancelled) = checked {
                    return refused(self.value.take(), cancelled);
                }
                let Self { sender, value, .. } = self;
                let attempt = sender.shared.with(|machine| {
                    if sender.is_closed() {
                        return Attempt::Refused(SendRefusal::Closed);
                    }
                    match machine.try_send(value) {
                        Ok(wakes) => Attempt::Sent(wakes),
                        Err(SendRefusal::Full) => match Parked::plain(cx, op, at) {
                            Some(parked) => Attempt::Queued(machine.queue_send(sender.id, parked, value.take())),
                            None => Attempt::Refused(SendRefusal::Full),
                        },
                        Err(refusal) => Attempt::Refused(refusal),
                    }
                });
                match attempt {
                    Attempt::Sent(wakes) => {
                        wakes.wake();
                        Poll::Ready(Ok(()))
                    }
                    Attempt::Queued((key, wakes)) => {
                        self.phase = Phase::Queued(key);
                        wakes.wake();
                        Poll::Pending
                    }
                    Attempt::Refused(SendRefusal::Full) => self.queue(Place::new(op, at), cx),
                    Attempt::Refused(refusal) => refused(self.value.take(), refusal),
                }
            }
            Phase::Queued(key) => {
                let key = *key;
                let queue = Sends(&self.sender.shared);
                let (step, _spare) = poll_queued(&queue, key, Place::new(op, at), cx);
                if !step.is_pending() {
                    self.phase = Phase::Finished;
                }
                match step {
                    Step::Pending => Poll::Pending,
                    Step::Done(slot) => refused(slot.value, slot.refusal),
                    Step::Cancelled(slot) => refused(slot.value, cancelled()),
                    Step::Left(slot) => {
                        self.value = slot.value;
                        self.phase = Phase::Start(Entry::new());
                        self.poll_in_full(op, cx)
                    }
                }
            }
            Phase::Finished => polled_after_end(op),
        }
    }

    #[cold]
    fn leave(&self, key: Key) {
        let _remains = self.sender.shared.with(|machine| machine.leave_send(key));
    }

    #[inline(never)]
    fn queue(&mut self, place: Place, cx: &mut Context<'_>) -> Poll<Result<(), (T, SendError)>> {
        let parked = place.park(cx);
        if parked.is_cancelled() {
            return refused(self.value.take(), cancelled());
        }
        let Self { sender, value, .. } = self;
        let attempt = sender.shared.with(|machine| {
            let offered = if sender.is_closed() { Err(SendRefusal::Closed) } else { machine.try_send(value) };
            match offered {
                Err(SendRefusal::Full) => Ok(machine.queue_send(sender.id, parked, value.take())),
                decided => Err((decided, parked)),
            }
        });
        match attempt {
            Ok((key, wakes)) => {
                self.phase = Phase::Queued(key);
                wakes.wake();
                Poll::Pending
            }
            Err((Ok(wakes), _unused)) => {
                wakes.wake();
                Poll::Ready(Ok(()))
            }
            Err((Err(refusal), _unused)) => refused(self.value.take(), refusal),
        }
    }
}

impl<T> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Phase::Queued(key) = self.phase {
            self.leave(key);
        }
    }
}

impl From<SendRefusal> for SendError {
    fn from(refusal: SendRefusal) -> Self {
        match refusal {
            SendRefusal::Closed => Self::Closed,
            SendRefusal::Broken => Self::Broken,
            SendRefusal::Full => unreachable!("a send waits while the channel is full"),
        }
    }
}

/// What a send ends with, given what is left of its value: nothing if it was taken.
fn refused<T>(value: Option<T>, why: impl Into<SendError>) -> Poll<Result<(), (T, SendError)>> {
    Poll::Ready(value.map_or(Ok(()), |value| Err((value, why.into()))))
}

/// The future of [`Sender::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a, T> {
    inner: Sending<'a, T>,
}

impl<'a, T> Send<'a, T> {
    pub(super) const fn new(sender: &'a Sender<T>, value: T, at: &'static Location<'static>) -> Self {
        Self { inner: Sending::new(sender, value, at) }
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(Op::ChannelSend, cx).map_err(|(_value, error)| error)
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("phase", &self.inner.phase).finish_non_exhaustive()
    }
}

/// The future of [`Sender::send_or_return`].
#[must_use = "futures do nothing unless awaited"]
pub struct SendOrReturn<'a, T> {
    inner: Sending<'a, T>,
}

impl<'a, T> SendOrReturn<'a, T> {
    pub(super) const fn new(sender: &'a Sender<T>, value: T, at: &'static Location<'static>) -> Self {
        Self { inner: Sending::new(sender, value, at) }
    }
}

impl<T> Future for SendOrReturn<'_, T> {
    type Output = Result<(), (T, SendError)>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(Op::ChannelSendOrReturn, cx)
    }
}

impl<T> fmt::Debug for SendOrReturn<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendOrReturn").field("phase", &self.inner.phase).finish_non_exhaustive()
    }
}
