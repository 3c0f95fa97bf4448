//! A task that produces into a channel, where Trio wraps a generator (`as_safe_channel`): what is true of both.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use trine::channel::{RecvError, SendError, Sender};
use trine::{CancelScope, channel, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(is_received_to_the_end, "producer.end", "trio test_channel.py::test_as_safe_channel_exhaust"),
    portable!(two_nest, "producer.nested", "trio test_channel.py::test_as_safe_channel_nested_loop"),
    portable!(
        several_receive_in_the_order_of_waiting,
        "producer.receivers",
        "trio test_channel.py::test_as_safe_channel_multiple_receiver"
    ),
    portable!(
        scope_around_a_send_is_the_producers_own,
        "producer.scope",
        "trio test_channel.py::test_as_safe_channel_doesnt_leak_cancellation"
    ),
    portable!(
        receiver_closed_between_two_items,
        "producer.close",
        "trio test_channel.py::test_as_safe_channel_close_between_iteration"
    ),
    portable!(
        receiver_closed_by_the_producer,
        "producer.close",
        "trio test_channel.py::test_as_safe_channel_close_during_iteration"
    ),
];

/// Sends what a loop yields, and ends the channel.
async fn produce(sender: Sender<u32>, items: std::ops::Range<u32>) -> trine::Result<()> {
    for item in items {
        sender.send(item).await?;
    }
    Ok(())
}

/// All items, then the end.
async fn is_received_to_the_end() -> trine::Result<()> {
    let items = nursery(async |n| {
        let (sender, receiver) = channel(0);
        n.start_soon(produce(sender, 0..10));
        let mut items = Vec::new();
        while let Some(item) = receiver.try_next().await? {
            items.push(item);
        }
        Ok(items)
    })
    .await?;
    assert_eq!(items, (0..10).collect::<Vec<_>>());
    Ok(())
}

/// A producer inside of another's loop.
async fn two_nest() -> trine::Result<()> {
    let mut pairs = Vec::new();
    nursery(async |n| {
        let (sender, outer) = channel(0);
        n.start_soon(produce(sender, 0..3));
        while let Some(first) = outer.try_next().await? {
            nursery(async |n| {
                let (sender, inner) = channel(0);
                n.start_soon(produce(sender, 0..2));
                while let Some(second) = inner.try_next().await? {
                    pairs.push((first, second));
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await?;
    assert_eq!(pairs, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    Ok(())
}

/// Who waits first gets the first item.
async fn several_receive_in_the_order_of_waiting() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let log = Log::new();
    nursery(async |n| {
        for who in 0..3 {
            let (receiver, log) = (receiver.clone(), log.clone());
            n.start_soon(async move {
                log.push((who, receiver.recv().await?));
                Ok(())
            });
            settle().await?;
        }
        n.start_soon(produce(sender, 0..3));
        Ok(())
    })
    .await?;
    let mut got = log.take();
    got.sort_unstable();
    assert_eq!(got, [(0, 0), (1, 1), (2, 2)]);
    Ok(())
}

/// A cancelled scope around a send cancels the producer there, and not who receives.
async fn scope_around_a_send_is_the_producers_own() -> trine::Result<()> {
    let items = nursery(async |n| {
        let (sender, receiver) = channel(0);
        n.start_soon(async move {
            let scope = CancelScope::new();
            scope.cancel();
            assert_eq!(scope.run(async { Ok(sender.send(1).await?) }).await?, None);
            Ok(sender.send(2).await?)
        });
        let mut items = Vec::new();
        while let Some(item) = receiver.try_next().await? {
            items.push(item);
            checkpoint().await?;
        }
        checkpoint().await?;
        Ok(items)
    })
    .await?;
    assert_eq!(items, [2]);
    Ok(())
}

/// The next receive says so, and the producer learns that nobody listens.
async fn receiver_closed_between_two_items() -> trine::Result<()> {
    nursery(async |n| {
        let (sender, receiver) = channel(0);
        let broken = n.spawn(async move {
            sender.send(1).await?;
            Ok(matches!(sender.send(2).await, Err(SendError::Broken)))
        });
        assert_eq!(receiver.recv().await?, 1);
        receiver.close();
        assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
        assert!(broken.await?);
        Ok(())
    })
    .await
}

/// The receive that waits says so, without harm to either.
async fn receiver_closed_by_the_producer() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    nursery(async |n| {
        n.start_soon(async {
            sender.send(1).await?;
            settle().await?;
            receiver.close();
            assert!(matches!(sender.send(2).await, Err(SendError::Broken)));
            Ok(())
        });
        assert_eq!(receiver.recv().await?, 1);
        assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
        Ok(())
    })
    .await
}
