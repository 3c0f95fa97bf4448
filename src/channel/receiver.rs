//! The receiving handle.

use super::Shared;
use super::error::TryRecvError;
use super::machine::{HandleId, RecvRefusal, Statistics};
use super::recv::{Recv, TryNext};
use super::stream::Watch;
use crate::sync::wait::Wakes;
use crate::task::park::Parked;
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

/// The receiving side of a [`channel`](crate::channel()).
///
/// A clone is one more receiver, and each item goes to one of them; the clone of a closed one is closed. Dropping a
/// receiver closes it.
///
/// A receiver is also a [`Stream`](futures_core::Stream) of `Result<T, Cancelled>`, which ends where
/// [`try_next`](Receiver::try_next) returns `None`.
pub struct Receiver<T> {
    pub(super) shared: Shared<T>,
    pub(super) id: HandleId,
    /// Written under the lock of `shared`, only from false to true.
    closed: AtomicBool,
    /// The state of the stream.
    pub(super) watch: Watch,
}

impl<T> Receiver<T> {
    pub(super) const fn new(shared: Shared<T>, id: HandleId, at: &'static Location<'static>) -> Self {
        Self { shared, id, closed: AtomicBool::new(false), watch: Watch::new(at) }
    }

    /// Receives the next item; waits while there is none. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](super::RecvError::Cancelled) if a scope around is cancelled, else
    /// [`Closed`](super::RecvError::Closed) if this handle is, now or while it waits, else
    /// [`EndOfChannel`](super::RecvError::EndOfChannel) if the channel is empty and no sender is left.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost, no item is: one that was handed over before the cancel came is returned, and one
    /// that was handed to a wait which is then dropped comes back to the front.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::channel::RecvError;
    ///
    /// let (sender, receiver) = trine::channel(1);
    /// trine::run(async {
    ///     sender.send(1).await?;
    ///     sender.close();
    ///     assert_eq!(receiver.recv().await?, 1);
    ///     assert!(matches!(receiver.recv().await, Err(RecvError::EndOfChannel)));
    ///     Ok::<_, trine::Error>(())
    /// })?;
    /// # Ok::<(), trine::Error>(())
    /// ```
    #[track_caller]
    pub fn recv(&self) -> Recv<'_, T> {
        Recv::new(self, Location::caller())
    }

    /// Receives the next item; `None` if there will be no more, because no sender is left or this handle is closed.
    /// Waits while there is none. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) if a scope around is cancelled, and nothing else: so a loop over a channel needs
    /// no error of its own.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Fairness
    ///
    /// First come, first served.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = trine::channel(2);
    /// sender.try_send("a").unwrap();
    /// sender.try_send("b").unwrap();
    /// drop(sender);
    /// trine::run(async {
    ///     let mut text = String::new();
    ///     while let Some(part) = receiver.try_next().await? {
    ///         text.push_str(part);
    ///     }
    ///     assert_eq!(text, "ab");
    ///     Ok::<_, trine::Error>(())
    /// })?;
    /// # Ok::<(), trine::Error>(())
    /// ```
    #[track_caller]
    pub fn try_next(&self) -> TryNext<'_, T> {
        TryNext::new(self, Location::caller())
    }

    /// Receives the next item if there is one: from the buffer, or from a send that waits.
    ///
    /// # Errors
    ///
    /// Whether this handle is closed, the channel is empty and no sender is left, or it is just empty.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.take() {
            Ok((item, moved_up)) => {
                Wakes::from(moved_up).wake();
                Ok(item)
            }
            Err(RecvRefusal::Empty) => Err(TryRecvError::Empty),
            Err(RecvRefusal::Closed) => Err(TryRecvError::Closed),
            Err(RecvRefusal::Ended) => Err(TryRecvError::EndOfChannel),
        }
    }

    /// Closes this handle: wakes the receives that are blocked on it, and lets all later ones fail. Idempotent.
    ///
    /// When the last receiver is closed, what is in the buffer is discarded, and all sends fail.
    pub fn close(&self) {
        let (wakes, discarded) = self.shared.with(|machine| {
            if self.closed.swap(true, Ordering::AcqRel) {
                (Wakes::None, VecDeque::new())
            } else {
                machine.close_receiver(self.id)
            }
        });
        wakes.wake();
        drop(discarded);
    }

    /// Is this handle closed?
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Counts items, handles and who waits.
    pub fn statistics(&self) -> Statistics {
        self.shared.with(|machine| machine.statistics())
    }

    /// One attempt to receive; the send that moved up is to be woken.
    #[inline]
    pub(super) fn take(&self) -> Result<(T, Option<Parked>), RecvRefusal> {
        self.shared.with(|machine| if self.is_closed() { Err(RecvRefusal::Closed) } else { machine.try_recv() })
    }
}

impl<T> Clone for Receiver<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        let id = self.shared.with(|machine| if self.is_closed() { None } else { Some(machine.add_receiver()) });
        Self {
            shared: Shared::clone(&self.shared),
            id: id.unwrap_or(self.id),
            closed: AtomicBool::new(id.is_none()),
            watch: Watch::new(Location::caller()),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            self.close();
        }
        self.unwatch();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
