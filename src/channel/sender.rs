//! The sending handle.

use super::Shared;
use super::error::{TrySendError, TrySendErrorKind};
use super::machine::{HandleId, SendRefusal, Statistics};
use super::send::{Send, SendOrReturn};
use crate::sync::wait::Wakes;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sending side of a [`channel`](crate::channel()).
///
/// A clone is one more sender; the clone of a closed one is closed. Dropping a sender closes it.
pub struct Sender<T> {
    pub(super) shared: Shared<T>,
    pub(super) id: HandleId,
    /// Written under the lock of `shared`, only from false to true.
    closed: AtomicBool,
}

impl<T> Sender<T> {
    pub(super) const fn new(shared: Shared<T>, id: HandleId) -> Self {
        Self { shared, id, closed: AtomicBool::new(false) }
    }

    /// Sends `value`; waits while the buffer is full. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](super::SendError::Cancelled) if a scope around is cancelled, else
    /// [`Closed`](super::SendError::Closed) if this handle is, now or while it waits, else
    /// [`Broken`](super::SendError::Broken) if no receiver is left. The value is dropped then, and never delivered; to
    /// have it back, use [`send_or_return`](Sender::send_or_return).
    ///
    /// # Cancel safety
    ///
    /// The value and the place in the queue are lost. A send whose value was taken before the cancel came succeeds. One
    /// that is dropped (by a `select!`, say) never delivers its value, unless that was taken before.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = trine::channel(1);
    /// trine::run(async {
    ///     sender.send("hello").await?;
    ///     assert_eq!(receiver.recv().await?, "hello");
    ///     Ok::<_, trine::Error>(())
    /// })?;
    /// # Ok::<(), trine::Error>(())
    /// ```
    #[track_caller]
    pub fn send(&self, value: T) -> Send<'_, T> {
        Send::new(self, value, Location::caller())
    }

    /// Sends `value`, or gives it back; waits while the buffer is full. A checkpoint.
    ///
    /// # Errors
    ///
    /// The value, and the same errors as of [`send`](Sender::send).
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. A send that was taken before the cancel came succeeds. If the future is dropped,
    /// so is the value.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn send_or_return(&self, value: T) -> SendOrReturn<'_, T> {
        SendOrReturn::new(self, value, Location::caller())
    }

    /// Sends `value` if that is possible without waiting: if a receive waits, or there is room in the buffer.
    ///
    /// A stream that waits on a rendezvous channel does not count as a receive, since it may have been abandoned.
    ///
    /// # Errors
    ///
    /// The value, and whether this handle is closed, no receiver is left, or the channel is full.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut value = Some(value);
        let kind = match self.offer(&mut value) {
            Ok(wakes) => {
                wakes.wake();
                return Ok(());
            }
            Err(SendRefusal::Full) => TrySendErrorKind::Full,
            Err(SendRefusal::Closed) => TrySendErrorKind::Closed,
            Err(SendRefusal::Broken) => TrySendErrorKind::Broken,
        };
        value.map_or(Ok(()), |value| Err(TrySendError { value, kind }))
    }

    /// Closes this handle: wakes the sends that are blocked on it, and lets all later ones fail. Idempotent.
    ///
    /// When the last sender is closed, receivers get what is in the buffer and then the end of the channel.
    pub fn close(&self) {
        let close = |machine: &mut super::Machine<T>| {
            if self.closed.swap(true, Ordering::AcqRel) { Wakes::None } else { machine.close_sender(self.id) }
        };
        self.shared.with(close).wake();
    }

    /// Is this handle closed?
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Counts items, handles and who waits.
    pub fn statistics(&self) -> Statistics {
        self.shared.with(|machine| machine.statistics())
    }

    /// One attempt to send; takes the value iff it succeeds.
    #[inline]
    pub(super) fn offer(&self, value: &mut Option<T>) -> Result<Wakes, SendRefusal> {
        self.shared.with(|machine| if self.is_closed() { Err(SendRefusal::Closed) } else { machine.try_send(value) })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let id = self.shared.with(|machine| if self.is_closed() { None } else { Some(machine.add_sender()) });
        Self { shared: Shared::clone(&self.shared), id: id.unwrap_or(self.id), closed: AtomicBool::new(id.is_none()) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            self.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
