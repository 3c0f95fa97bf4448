//! Channels between tasks.
//!
//! [`channel`](crate::channel()) makes one with a buffer of some capacity, 0 for a *rendezvous*, where each send waits for
//! its receiver; [`unbounded`] makes one whose sends never wait. Both sides may be cloned: several
//! receivers share the items, each of which goes to one of them.
//!
//! Items come out in the order in which they went in, and who waits is served in the order of arrival. An item goes
//! directly to the first receive that waits, and a place that becomes free to the first send that does, so that nobody
//! can take them in between. A wait that was served before a cancel arrives succeeds; one that reports a cancellation
//! sent or received nothing. An item that was handed to a receive which is then dropped comes back to the front.
//!
//! Dropping a handle closes it. When the last sender is closed, receivers get what is left and then the end of the
//! channel; when the last receiver is closed, what is left is discarded, and senders learn that the channel is broken.
//!
//! `machine` is the channel without wakers; `sender`, `send`, `receiver`, `recv` and `stream` are the public face of its
//! two sides.

mod error;
mod machine;
mod receiver;
mod recv;
mod send;
mod sender;
mod stream;

pub use self::error::{RecvError, SendError, TryRecvError, TrySendError, TrySendErrorKind};
pub use self::machine::Statistics;
pub use self::receiver::Receiver;
pub use self::recv::{Recv, TryNext};
pub use self::send::{Send, SendOrReturn};
pub use self::sender::Sender;

use self::machine::Machine;
use crate::sync::guarded::Guarded;
use std::panic::Location;
use std::sync::Arc;

/// A channel's machine behind its lock, as its handles share it.
type Shared<T> = Arc<Guarded<Machine<T>>>;

/// Makes a channel whose buffer takes `capacity` items; with 0, every send waits until a receive takes its value.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = trine::channel(1);
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async move {
///         for i in 0..3 {
///             sender.send(i).await?; // waits whenever one is in the buffer
///         }
///         Ok(()) // drops the sender, and so ends the channel
///     });
///     let mut sum = 0;
///     while let Some(i) = receiver.try_next().await? {
///         sum += i;
///     }
///     assert_eq!(sum, 3);
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (machine, sender, receiver) = Machine::new(capacity);
    let shared = Arc::new(Guarded::new(machine));
    (Sender::new(Arc::clone(&shared), sender), Receiver::new(shared, receiver, Location::caller()))
}

/// Makes a channel whose sends never wait.
///
/// Its buffer grows without bound if the receivers are slower than the senders, so prefer [`channel`](crate::channel())
/// where the senders are not trusted to stop by themselves.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = trine::unbounded();
/// for i in 0..1000 {
///     sender.try_send(i).expect("there is always room");
/// }
/// assert_eq!(receiver.statistics().buffered, 1000);
/// assert_eq!(receiver.try_recv(), Ok(0));
/// ```
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::marker::PhantomPinned;

    const fn is_send_and_sync<T: std::marker::Send + Sync>() {}
    const fn is_unpin<T: Unpin>() {}

    #[test]
    fn handles_and_futures_are_send_and_sync_if_the_items_are_send() {
        is_send_and_sync::<Sender<Cell<u8>>>();
        is_send_and_sync::<Receiver<Cell<u8>>>();
        is_send_and_sync::<Recv<'_, Cell<u8>>>();
        is_send_and_sync::<TryNext<'_, Cell<u8>>>();
        is_send_and_sync::<Send<'_, u8>>();
        is_send_and_sync::<SendOrReturn<'_, u8>>();
    }

    #[test]
    fn everything_can_be_moved() {
        is_unpin::<Receiver<PhantomPinned>>();
        is_unpin::<Recv<'_, PhantomPinned>>();
        is_unpin::<TryNext<'_, PhantomPinned>>();
        is_unpin::<Send<'_, PhantomPinned>>();
        is_unpin::<SendOrReturn<'_, PhantomPinned>>();
    }
}
