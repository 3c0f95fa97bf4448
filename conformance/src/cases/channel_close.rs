//! Closing a handle: of either side, while the other waits, has items, or is gone.

use super::sync_tools::{Live, Log, settle};
use crate::case::{Case, portable};
use trine::channel::{Receiver, RecvError, SendError, Sender, TryRecvError, TrySendErrorKind};
use trine::{channel, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        wakes_the_send_that_waits_on_it,
        "close.own-send",
        "trio test_channel.py::test_close_basics, trio test_channel.py::test_close_sync"
    ),
    portable!(
        of_the_last_receiver_breaks_sends,
        "close.broken",
        "trio test_channel.py::test_close_basics, trio test_channel.py::test_close_sync"
    ),
    portable!(
        of_the_last_sender_ends_receives,
        "close.end",
        "trio test_channel.py::test_close_basics, trio test_channel.py::test_close_sync"
    ),
    portable!(
        wakes_the_receive_that_waits_on_it,
        "close.own-receive",
        "trio test_channel.py::test_close_basics, trio test_channel.py::test_close_sync"
    ),
    portable!(
        of_one_receiver_leaves_its_clones,
        "close.clones",
        "trio test_channel.py::test_receive_channel_clone_and_close"
    ),
    portable!(
        of_one_sender_wakes_only_its_own_sends,
        "close.this-handle",
        "trio test_channel.py::test_close_multiple_send_handles"
    ),
    portable!(
        of_one_receiver_wakes_only_its_own_receives,
        "close.this-handle",
        "trio test_channel.py::test_close_multiple_receive_handles"
    ),
    portable!(is_idempotent, "close.idempotent", "divergence 11"),
    portable!(of_a_clone_of_a_closed_handle_counts_nothing, "close.closed-clone", "design 10"),
    portable!(of_the_last_receiver_discards_the_buffer, "close.discards", "divergence 3"),
    portable!(of_the_last_sender_leaves_the_buffer, "close.drains", "divergence 11"),
    portable!(of_the_last_sender_leaves_no_send_behind, "close.own-send", "divergence 11"),
    portable!(ends_try_next_without_an_error, "close.try-next", "design 10"),
];

fn handles(capacity: usize) -> (Sender<u32>, Receiver<u32>) {
    channel(capacity)
}

/// A send that waits on a handle which is closed fails with `Closed`, and so do all later ones.
async fn wakes_the_send_that_waits_on_it() -> trine::Result<()> {
    let (sender, receiver) = handles(0);
    nursery(async |n| {
        n.start_soon(async {
            assert!(matches!(sender.send(1).await, Err(SendError::Closed)));
            Ok(())
        });
        settle().await?;
        sender.close();
        assert_eq!(sender.statistics().waiting_send, 0);
        Ok(())
    })
    .await?;
    for _ in 0..2 {
        assert_eq!(sender.try_send(2).unwrap_err().kind, TrySendErrorKind::Closed);
        assert!(matches!(sender.send(2).await, Err(SendError::Closed)));
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
    Ok(())
}

/// Sends that wait on any handle fail with `Broken` when the last receiver is closed, and so do all later ones.
async fn of_the_last_receiver_breaks_sends() -> trine::Result<()> {
    for capacity in 0..2 {
        let (sender, receiver) = handles(capacity);
        let other = sender.clone();
        nursery(async |n| {
            for sender in [&sender, &other] {
                n.start_soon(async move {
                    let result = loop {
                        if let Err(error) = sender.send(1).await {
                            break error;
                        }
                    };
                    assert!(matches!(result, SendError::Broken));
                    Ok(())
                });
            }
            settle().await?;
            receiver.close();
            Ok(())
        })
        .await?;
        for _ in 0..2 {
            assert_eq!(sender.try_send(2).unwrap_err().kind, TrySendErrorKind::Broken);
            assert!(matches!(sender.send(2).await, Err(SendError::Broken)));
        }
        assert!(!sender.is_closed());
    }
    Ok(())
}

/// Receives that wait on any handle fail with `EndOfChannel` when the last sender is closed, and so do all later ones.
async fn of_the_last_sender_ends_receives() -> trine::Result<()> {
    for capacity in 0..2 {
        let (sender, receiver) = handles(capacity);
        let other = receiver.clone();
        nursery(async |n| {
            for receiver in [&receiver, &other] {
                n.start_soon(async move {
                    assert!(matches!(receiver.recv().await, Err(RecvError::EndOfChannel)));
                    Ok(())
                });
            }
            settle().await?;
            sender.close();
            assert_eq!(receiver.statistics().waiting_recv, 0);
            Ok(())
        })
        .await?;
        for _ in 0..2 {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
            assert!(matches!(receiver.recv().await, Err(RecvError::EndOfChannel)));
        }
        assert!(!receiver.is_closed());
    }
    Ok(())
}

/// A receive that waits on a handle which is closed fails with `Closed`, and so do all later ones.
async fn wakes_the_receive_that_waits_on_it() -> trine::Result<()> {
    let (sender, receiver) = handles(0);
    nursery(async |n| {
        n.start_soon(async {
            assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
            Ok(())
        });
        settle().await?;
        receiver.close();
        Ok(())
    })
    .await?;
    for _ in 0..2 {
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
    }
    assert_eq!(sender.try_send(2).unwrap_err().kind, TrySendErrorKind::Broken);
    Ok(())
}

/// The channel is in use until the last clone of the receiver is closed; the clone of a closed one is closed.
async fn of_one_receiver_leaves_its_clones() -> trine::Result<()> {
    let (sender, first) = handles(10);
    let second = first.clone();
    sender.try_send(1).unwrap();
    first.close();
    assert_eq!(first.try_recv(), Err(TryRecvError::Closed));
    assert!(first.clone().is_closed());
    sender.try_send(2).unwrap();
    assert_eq!((second.recv().await?, second.recv().await?), (1, 2));
    second.close();
    assert_eq!(sender.try_send(3).unwrap_err().kind, TrySendErrorKind::Broken);
    assert!(second.clone().is_closed());
    Ok(())
}

/// Sends on the clones wait on.
async fn of_one_sender_wakes_only_its_own_sends() -> trine::Result<()> {
    let (first, receiver) = handles(0);
    let second = first.clone();
    nursery(async |n| {
        n.start_soon(async {
            assert!(matches!(first.send(1).await, Err(SendError::Closed)));
            Ok(())
        });
        n.start_soon(async { Ok(second.send(2).await?) });
        settle().await?;
        first.close();
        settle().await?;
        assert_eq!(receiver.statistics().waiting_send, 1);
        assert_eq!(receiver.recv().await?, 2);
        Ok(())
    })
    .await
}

/// Receives on the clones wait on.
async fn of_one_receiver_wakes_only_its_own_receives() -> trine::Result<()> {
    let (sender, first) = handles(0);
    let second = first.clone();
    nursery(async |n| {
        n.start_soon(async {
            assert!(matches!(first.recv().await, Err(RecvError::Closed)));
            Ok(())
        });
        n.start_soon(async {
            assert_eq!(second.recv().await?, 1);
            Ok(())
        });
        settle().await?;
        first.close();
        settle().await?;
        assert_eq!(sender.statistics().waiting_recv, 1);
        Ok(sender.send(1).await?)
    })
    .await
}

/// Closing twice is closing once.
async fn is_idempotent() -> trine::Result<()> {
    let (sender, receiver) = handles(1);
    let (other_sender, other_receiver) = (sender.clone(), receiver.clone());
    for _ in 0..3 {
        sender.close();
        receiver.close();
        assert!(sender.is_closed() && receiver.is_closed());
    }
    let counts = other_sender.statistics();
    assert_eq!((counts.senders, counts.receivers), (1, 1));
    other_sender.send(1).await?;
    assert_eq!(other_receiver.recv().await?, 1);
    Ok(())
}

/// The clone of a closed handle is closed, and its drop closes nothing.
async fn of_a_clone_of_a_closed_handle_counts_nothing() -> trine::Result<()> {
    let (sender, receiver) = handles(1);
    let (open_sender, open_receiver) = (sender.clone(), receiver.clone());
    sender.close();
    receiver.close();
    for _ in 0..3 {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        assert!(sender.is_closed() && receiver.is_closed());
        assert_eq!(sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Closed);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        sender.close();
        receiver.close();
    }
    let counts = open_sender.statistics();
    assert_eq!((counts.senders, counts.receivers), (1, 1));
    drop(open_receiver);
    assert_eq!(open_sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Broken);
    Ok(())
}

/// What nobody can receive any more is dropped at once, in the buffer and in sends that wait.
async fn of_the_last_receiver_discards_the_buffer() -> trine::Result<()> {
    let live = Live::default();
    let (sender, receiver) = channel(2);
    nursery(async |n| {
        for number in 0..2 {
            sender.try_send(live.item(number)).unwrap();
        }
        n.start_soon(async {
            assert!(sender.send(live.item(2)).await.is_err());
            Ok(())
        });
        settle().await?;
        assert_eq!(live.count(), 3);
        receiver.close();
        assert_eq!(live.count(), 1, "the one that the send takes back");
        settle().await?;
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await?;
    assert_eq!(sender.statistics().buffered, 0);
    Ok(())
}

/// What was sent before the last sender was closed is received; then comes the end.
async fn of_the_last_sender_leaves_the_buffer() -> trine::Result<()> {
    let (sender, receiver) = handles(3);
    for item in 0..3 {
        sender.send(item).await?;
    }
    sender.close();
    for item in 0..3 {
        assert_eq!(receiver.recv().await?, item);
    }
    assert!(matches!(receiver.recv().await, Err(RecvError::EndOfChannel)));
    Ok(())
}

/// The value of a send that waits when its handle is closed is not delivered.
async fn of_the_last_sender_leaves_no_send_behind() -> trine::Result<()> {
    let (sender, receiver) = handles(1);
    nursery(async |n| {
        sender.try_send(1).unwrap();
        n.start_soon(async {
            assert!(matches!(sender.send_or_return(2).await, Err((2, SendError::Closed))));
            Ok(())
        });
        settle().await?;
        sender.close();
        assert_eq!(receiver.recv().await?, 1);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
        Ok(())
    })
    .await
}

/// `try_next` sees both kinds of end as `None`, also while it waits.
async fn ends_try_next_without_an_error() -> trine::Result<()> {
    let log = Log::new();
    let (sender, receiver) = handles(0);
    let (other, closed) = handles(0);
    nursery(async |n| {
        for receiver in [&receiver, &closed] {
            let log = log.clone();
            n.start_soon(async move {
                log.push(receiver.try_next().await?);
                Ok(())
            });
        }
        settle().await?;
        drop(sender);
        closed.close();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), [None, None]);
    drop(other);
    assert_eq!((receiver.try_next().await?, closed.try_next().await?), (None, None));
    Ok(())
}
