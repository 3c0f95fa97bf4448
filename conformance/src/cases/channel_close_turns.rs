//! Closing a handle in the same step as something else, and the ways to close it.

use super::sync_tools::settle;
use crate::case::{Case, portable};
use trine::channel::{Receiver, RecvError, SendError, Sender, TryRecvError, TrySendErrorKind};
use trine::{CancelScope, channel, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(by_drop_is_the_same, "close.drop", "design 10"),
    portable!(by_drop_after_close_counts_once, "close.drop", "divergence 11"),
    portable!(in_a_cancelled_scope_closes, "close.always-closes", "divergence 9"),
    portable!(then_cancel_reports_the_close, "close.completed-beats-cancelled", "divergence 3"),
    portable!(then_close_of_a_cancelled_wait_reports_the_cancel, "close.cancelled-first", "divergence 3"),
    portable!(after_the_hand_over_changes_nothing, "close.hand-over", "divergence 3"),
    portable!(of_both_sides_in_one_step, "close.both", "divergence 11"),
];

/// A handle that is dropped while the other side waits is closed.
async fn by_drop_is_the_same() -> trine::Result<()> {
    nursery(async |n| {
        let (sender, receiver) = handles(0);
        let broken = n.spawn(async move { Ok(matches!(sender.send(1).await, Err(SendError::Broken))) });
        settle().await?;
        drop(receiver);
        assert!(broken.await?);
        let (sender, receiver) = handles(0);
        let ended = n.spawn(async move { Ok(matches!(receiver.recv().await, Err(RecvError::EndOfChannel))) });
        settle().await?;
        drop(sender);
        assert!(ended.await?);
        Ok(())
    })
    .await
}

/// A handle that is closed and then dropped is one handle less.
async fn by_drop_after_close_counts_once() -> trine::Result<()> {
    let (sender, receiver) = handles(1);
    let (second, third) = (sender.clone(), sender.clone());
    sender.close();
    drop(sender);
    assert_eq!(receiver.statistics().senders, 2);
    drop(second);
    assert_eq!(receiver.statistics().senders, 1);
    third.try_send(1).unwrap();
    drop(third);
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::EndOfChannel)));
    Ok(())
}

/// Closing is no checkpoint: it happens in a cancelled scope as well.
async fn in_a_cancelled_scope_closes() -> trine::Result<()> {
    let (sender, receiver) = handles(0);
    let scope = CancelScope::new();
    scope.cancel();
    let done = scope
        .run(async {
            sender.close();
            Ok(())
        })
        .await?;
    assert_eq!(done, Some(()));
    assert!(!scope.cancelled_caught());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
    Ok(())
}

/// A wait that a close has ended reports the close, though it was cancelled in the same step.
async fn then_cancel_reports_the_close() -> trine::Result<()> {
    let ((to_close, _kept), (_other, receiver)) = (handles(0), handles(0));
    let scope = CancelScope::new();
    nursery(async |n| {
        n.start_soon(async {
            let sent = scope.run(async { Ok(to_close.send(1).await) }).await?;
            assert!(matches!(sent, Some(Err(SendError::Closed))));
            Ok(())
        });
        let inner = CancelScope::new();
        let received = n.spawn({
            let (inner, receiver) = (inner.clone(), &receiver);
            async move { inner.run(async { Ok(receiver.recv().await) }).await }
        });
        settle().await?;
        to_close.close();
        scope.cancel();
        receiver.close();
        inner.cancel();
        assert!(matches!(received.await?, Some(Err(RecvError::Closed))));
        Ok(())
    })
    .await
}

/// A wait that was cancelled before the close reports the cancel.
async fn then_close_of_a_cancelled_wait_reports_the_cancel() -> trine::Result<()> {
    let (sender, receiver) = handles(0);
    let scope = CancelScope::new();
    nursery(async |n| {
        let received = n.spawn({
            let (scope, receiver) = (scope.clone(), &receiver);
            async move { scope.run(async { Ok(receiver.recv().await) }).await }
        });
        settle().await?;
        scope.cancel();
        sender.close();
        let received = received.await?;
        assert!(matches!(received, Some(Err(RecvError::Cancelled(_)))), "{received:?}");
        Ok(())
    })
    .await
}

/// An item that was handed over is received, though the channel was closed from both sides in the same step.
async fn after_the_hand_over_changes_nothing() -> trine::Result<()> {
    let (sender, receiver) = handles(0);
    nursery(async |n| {
        let item = n.spawn(async { Ok(receiver.recv().await?) });
        settle().await?;
        sender.try_send(1).unwrap();
        receiver.close();
        sender.close();
        assert_eq!(item.await?, 1);
        Ok(())
    })
    .await
}

/// Each side's operation reports its own handle, whoever closed first.
async fn of_both_sides_in_one_step() -> trine::Result<()> {
    for sender_first in [true, false] {
        let (sender, receiver) = handles(1);
        sender.try_send(1).unwrap();
        if sender_first {
            sender.close();
            receiver.close();
        } else {
            receiver.close();
            sender.close();
        }
        assert_eq!(sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Closed);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        let counts = sender.statistics();
        assert_eq!((counts.senders, counts.receivers, counts.buffered), (0, 0, 0));
    }
    Ok(())
}

fn handles(capacity: usize) -> (Sender<u32>, Receiver<u32>) {
    channel(capacity)
}
