//! The operations of channels.

use super::wait::{Kind, Wait, Waiting};
use futures_util::StreamExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trine::channel::{Receiver, Sender};

/// `recv` on an empty channel; a grant is a `try_send`.
pub(super) struct Receive(Sender<u32>, Receiver<u32>);
/// The same with `try_next`.
pub(super) struct TryNext(Sender<u32>, Receiver<u32>);
/// The same with the stream of a clone.
pub(super) struct Next(Sender<u32>, Receiver<u32>);

macro_rules! receives {
    ($receives:ident, |$receiver:ident| $wait:expr) => {
        impl Wait for $receives {
            fn make() -> Waiting<Arc<dyn Wait>> {
                let (sender, receiver) = trine::channel(1);
                Box::pin(async { Ok(Arc::new(Self(sender, receiver)) as Arc<dyn Wait>) })
            }
            fn kind(&self) -> Kind {
                Kind::Consumed
            }
            fn wait(self: Arc<Self>) -> Waiting {
                Box::pin(async move {
                    let $receiver = &self.1;
                    let item: Option<u32> = $wait;
                    assert_eq!(item, Some(7));
                    Ok(())
                })
            }
            fn grant(&self) {
                self.0.try_send(7).expect("there is room");
            }
            fn waiting(&self) -> usize {
                self.1.statistics().waiting_recv
            }
            fn try_take(&self) -> bool {
                self.1.try_recv().is_ok()
            }
        }
    };
}

receives!(Receive, |receiver| Some(receiver.recv().await?));
receives!(TryNext, |receiver| receiver.try_next().await?);
receives!(Next, |receiver| pin!(receiver.clone()).next().await.transpose()?);

/// A channel whose senders wait.
pub(super) struct Sending {
    sender: Sender<u32>,
    receiver: Receiver<u32>,
    /// The last grant found something to receive.
    received: AtomicBool,
}

/// `send` into a full buffer of one; a grant is a `try_recv`.
pub(super) struct SendFull(Sending);
/// `send` into a channel without a buffer.
pub(super) struct SendMeeting(Sending);
/// `send_or_return` into a full buffer of one.
pub(super) struct SendReturning(Sending);

impl Sending {
    /// Full already.
    fn new(capacity: u32) -> Self {
        let (sender, receiver) = trine::channel(capacity as usize);
        for filling in 0..capacity {
            sender.try_send(filling).expect("there is room");
        }
        Self { sender, receiver, received: AtomicBool::new(false) }
    }

    fn grant(&self) {
        self.received.store(self.receiver.try_recv().is_ok(), Ordering::Relaxed);
    }
}

macro_rules! sends {
    ($sends:ident($capacity:literal), |$sender:ident| $wait:expr, |$sending:ident| $take:expr) => {
        impl Wait for $sends {
            fn make() -> Waiting<Arc<dyn Wait>> {
                Box::pin(async { Ok(Arc::new(Self(Sending::new($capacity))) as Arc<dyn Wait>) })
            }
            fn kind(&self) -> Kind {
                Kind::Taken
            }
            fn wait(self: Arc<Self>) -> Waiting {
                Box::pin(async move {
                    let $sender = &self.0.sender;
                    $wait;
                    Ok(())
                })
            }
            fn grant(&self) {
                self.0.grant();
            }
            fn waiting(&self) -> usize {
                self.0.sender.statistics().waiting_send
            }
            fn try_take(&self) -> bool {
                let $sending = &self.0;
                $take
            }
        }
    };
}

sends!(SendFull(1), |sender| sender.send(7).await?, |sending| sending.sender.try_send(8).is_ok());
sends!(SendMeeting(0), |sender| sender.send(7).await?, |sending| !sending.received.load(Ordering::Relaxed));
sends!(
    SendReturning(1),
    |sender| sender.send_or_return(7).await.map_err(|(value, error)| {
        assert_eq!(value, 7);
        error
    })?,
    |sending| sending.sender.try_send(8).is_ok()
);
