//! Channels without a bound.

use super::sync_tools::{Live, settle};
use crate::case::{Case, portable};
use trine::channel::{TryRecvError, TrySendErrorKind};
use trine::{nursery, unbounded};

pub(super) const CASES: &[Case] = &[
    portable!(sends_never_wait, "unbounded.no-wait", "trio test_channel.py::test_inf_capacity"),
    portable!(has_no_capacity_to_tell, "unbounded.statistics", "trio test_channel.py::test_inf_capacity"),
    portable!(waiting_receive_is_handed_the_item, "unbounded.direct-hand-over", "divergence 10"),
    portable!(last_receiver_drops_all, "unbounded.discards", "divergence 3"),
    portable!(last_sender_leaves_all, "unbounded.drains", "divergence 11"),
];

/// Sends complete without a receiver, and what they sent comes in order.
async fn sends_never_wait() -> trine::Result<()> {
    let (sender, receiver) = unbounded();
    nursery(async |n| {
        // Nobody receives until all have been sent.
        n.spawn(async move {
            for item in 0..2000 {
                sender.send(item).await?;
            }
            Ok(())
        })
        .await?;
        for item in 0..2000 {
            assert_eq!(receiver.recv().await?, item);
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
        Ok(())
    })
    .await
}

/// The statistics have no capacity, and the peak all the same.
async fn has_no_capacity_to_tell() -> trine::Result<()> {
    let (sender, receiver) = unbounded();
    for item in 0..1000 {
        sender.try_send(item).expect("there is always room");
    }
    for _ in 0..300 {
        receiver.recv().await?;
    }
    let counts = sender.statistics();
    assert_eq!((counts.capacity, counts.buffered, counts.peak_buffered), (None, 700, 1000));
    Ok(())
}

/// An item for which a receive waits never is in the buffer.
async fn waiting_receive_is_handed_the_item() -> trine::Result<()> {
    let (sender, receiver) = unbounded();
    nursery(async |n| {
        let waiter = n.spawn(async { Ok(receiver.recv().await?) });
        settle().await?;
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(receiver.try_recv(), Ok(2), "the first one is the waiter's");
        assert_eq!(waiter.await?, 1);
        Ok(())
    })
    .await?;
    assert_eq!(receiver.statistics().peak_buffered, 1);
    Ok(())
}

/// What is in the buffer is dropped when the last receiver is closed, not when the channel is.
async fn last_receiver_drops_all() -> trine::Result<()> {
    let live = Live::default();
    let (sender, receiver) = unbounded();
    for number in 0..100 {
        sender.try_send(live.item(number)).unwrap();
    }
    let clone = receiver.clone();
    receiver.close();
    assert_eq!(live.count(), 100);
    clone.close();
    assert_eq!(live.count(), 0);
    assert_eq!(sender.try_send(live.item(0)).unwrap_err().kind, TrySendErrorKind::Broken);
    assert_eq!(live.count(), 0);
    Ok(())
}

/// What is in the buffer is received after the last sender is gone.
async fn last_sender_leaves_all() -> trine::Result<()> {
    let live = Live::default();
    let (sender, receiver) = unbounded();
    for number in 0..100 {
        sender.try_send(live.item(number)).unwrap();
    }
    drop(sender);
    for number in 0..100 {
        assert_eq!(receiver.recv().await?.number, number);
    }
    assert_eq!(receiver.try_next().await?.map(|item| item.number), None);
    assert_eq!(live.count(), 0);
    Ok(())
}
