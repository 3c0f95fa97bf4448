//! Channels: order, capacity, hand-over, many on both sides, statistics, values.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use std::time::Duration;
use trine::channel::{TryRecvError, TrySendErrorKind};
use trine::{CancelScope, channel, move_on_after, nursery, sleep};

pub(super) const CASES: &[Case] = &[
    portable!(basics, "channel.basics", "trio test_channel.py::test_channel"),
    portable!(receive_that_timed_out_is_no_ghost, "channel.no-ghost", "trio test_channel.py::test_553"),
    portable!(many_producers, "channel.clones", "trio test_channel.py::test_channel_multiple_producers"),
    portable!(many_consumers, "channel.work-sharing", "trio test_channel.py::test_channel_multiple_consumers"),
    portable!(
        handed_over_is_not_to_be_stolen,
        "channel.direct-hand-over",
        "trio test_channel.py::test_channel_fairness"
    ),
    portable!(without_a_buffer_both_wait, "channel.rendezvous", "trio test_channel.py::test_unbuffered"),
    portable!(statistics_count, "channel.statistics", "trio test_channel.py::test_statistics"),
    portable!(each_capacity_is_kept_to, "channel.capacity", "design 10"),
    portable!(buffer_and_blocked_sends_are_one_queue, "channel.fifo", "divergence 10"),
    portable!(try_recv_takes_from_a_blocked_send, "channel.try-kinds", "design 10"),
    portable!(closed_is_said_before_broken, "channel.try-kinds", "divergence 14"),
    portable!(ready_receivers_take_turns, "channel.fair", "divergence 10"),
];

/// What one handle on each side does, from the first send to the end.
async fn basics() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    assert_eq!(sender.try_send(2).unwrap_err().kind, TrySendErrorKind::Full);
    assert_eq!(receiver.recv().await?, 1);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(2).await?;
    sender.close();
    sender.close();
    assert_eq!(sender.try_send(3).unwrap_err().kind, TrySendErrorKind::Closed);
    assert_eq!(receiver.try_recv(), Ok(2), "what was sent before the close is received");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
    assert_eq!(receiver.try_next().await?, None);
    receiver.close();
    receiver.close();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    Ok(())
}

/// A receive that timed out takes no part in what follows.
async fn receive_that_timed_out_is_no_ghost() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    let none = move_on_after(Duration::from_secs(10), async { Ok(receiver.recv().await?) }).await?;
    assert_eq!(none, None);
    sender.try_send("item").unwrap();
    assert_eq!(sender.statistics().buffered, 1);
    assert_eq!(receiver.recv().await?, "item");
    Ok(())
}

/// The channel ends when the last clone of the sender is gone.
async fn many_producers() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let mut received = nursery(async |n| {
        for producer in 0..10 {
            let sender = sender.clone();
            n.start_soon(async move {
                for i in 0..3 {
                    sender.send(producer * 10 + i).await?;
                }
                Ok(())
            });
        }
        drop(sender);
        let mut received = Vec::new();
        while let Some(item) = receiver.try_next().await? {
            received.push(item);
        }
        Ok(received)
    })
    .await?;
    received.sort_unstable();
    let all: Vec<_> = (0..10).flat_map(|producer| (0..3).map(move |i| producer * 10 + i)).collect();
    assert_eq!(received, all);
    Ok(())
}

/// Consumers share: each gets something, each item goes to exactly one.
async fn many_consumers() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    let log = Log::new();
    nursery(async |n| {
        for consumer in 0..5 {
            let (receiver, log) = (receiver.clone(), log.clone());
            n.start_soon(async move {
                while let Some(item) = receiver.try_next().await? {
                    log.push((consumer, item));
                }
                Ok(())
            });
        }
        drop(receiver);
        for item in 0..100 {
            sender.send(item).await?;
        }
        drop(sender);
        Ok(())
    })
    .await?;
    let got = log.take();
    let mut items: Vec<_> = got.iter().map(|(_, item)| *item).collect();
    items.sort_unstable();
    assert_eq!(items, (0..100).collect::<Vec<_>>());
    for consumer in 0..5 {
        let share = got.iter().filter(|(who, _)| *who == consumer).count();
        assert!(share >= 10, "consumer {consumer} got {share} of 100");
    }
    Ok(())
}

/// An item that a receive waited for is its own at once, and so is a place that a send waited for.
async fn handed_over_is_not_to_be_stolen() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    nursery(async |n| {
        let waiter = n.spawn(async { Ok(receiver.recv().await?) });
        settle().await?;
        sender.try_send(1).unwrap();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(waiter.await?, 1);

        sender.try_send(2).unwrap();
        let waiter = n.spawn(async { Ok(sender.send(3).await?) });
        settle().await?;
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(sender.try_send(4).unwrap_err().kind, TrySendErrorKind::Full);
        waiter.await?;
        assert_eq!(receiver.try_recv(), Ok(3));
        Ok(())
    })
    .await
}

/// With a capacity of 0 a send and a receive wait for each other.
async fn without_a_buffer_both_wait() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    assert_eq!(sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Full);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let start = trine::now();
    nursery(async |n| {
        n.start_soon(async {
            sender.send(2).await?;
            assert_eq!(trine::now() - start, Duration::from_secs(5), "it waits for the receive");
            sleep(Duration::from_secs(5)).await?;
            Ok(sender.send(3).await?)
        });
        sleep(Duration::from_secs(5)).await?;
        assert_eq!(receiver.recv().await?, 2);
        assert_eq!(receiver.recv().await?, 3);
        assert_eq!(trine::now() - start, Duration::from_secs(10), "it waits for the send");
        Ok(())
    })
    .await?;
    assert_eq!(receiver.statistics().peak_buffered, 0);
    Ok(())
}

/// Both sides see the same counts; those who were cancelled are not counted.
async fn statistics_count() -> trine::Result<()> {
    let (sender, receiver) = channel(2);
    let clone = sender.clone();
    let scope = CancelScope::new();
    nursery(async |n| {
        for item in 0..2 {
            sender.try_send(item).unwrap();
        }
        for _ in 0..2 {
            n.start_soon(async { send_in(&CancelScope::new(), &sender).await });
        }
        settle().await?;
        n.start_soon(async { send_in(&scope, &clone).await });
        settle().await?;
        let counts = sender.statistics();
        assert_eq!(counts, receiver.statistics());
        assert_eq!((counts.buffered, counts.capacity, counts.peak_buffered), (2, Some(2), 2));
        assert_eq!((counts.senders, counts.receivers), (2, 1));
        assert_eq!((counts.waiting_send, counts.waiting_recv), (3, 0));
        scope.cancel();
        assert_eq!(sender.statistics().waiting_send, 2);
        clone.close();
        assert_eq!(sender.statistics().senders, 1);
        for _ in 0..4 {
            receiver.recv().await?;
        }
        Ok(())
    })
    .await?;
    let counts = receiver.statistics();
    assert_eq!((counts.buffered, counts.peak_buffered, counts.waiting_send), (0, 2, 0));
    nursery(async |n| {
        n.start_soon(async { Ok(receiver.recv().await.map(drop)?) });
        settle().await?;
        assert_eq!(sender.statistics().waiting_recv, 1);
        Ok(sender.send(9).await?)
    })
    .await?;
    assert_eq!(sender.statistics().peak_buffered, 2);
    Ok(())
}

async fn send_in(scope: &CancelScope, sender: &trine::channel::Sender<u32>) -> trine::Result<()> {
    scope.run(async { Ok(sender.send(7).await?) }).await.map(drop)
}

/// So many fit, and not one more; the peak is what there was at once.
async fn each_capacity_is_kept_to() -> trine::Result<()> {
    for capacity in [0, 1, 2, 3, 7, 64] {
        let (sender, receiver) = channel(capacity);
        for round in 0..3 {
            for item in 0..capacity {
                sender.try_send(item).expect("there is room");
            }
            assert_eq!(sender.try_send(capacity).unwrap_err().kind, TrySendErrorKind::Full, "in round {round}");
            for item in 0..capacity {
                assert_eq!(receiver.try_recv(), Ok(item));
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        assert_eq!(receiver.statistics().peak_buffered, capacity);
        assert_eq!(receiver.statistics().capacity, Some(capacity));
    }
    Ok(())
}

/// What waits comes after what is in the buffer, and all comes in the order of the sends.
async fn buffer_and_blocked_sends_are_one_queue() -> trine::Result<()> {
    for capacity in 0..4 {
        let (sender, receiver) = channel(capacity);
        nursery(async |n| {
            for item in 0..6 {
                let sender = &sender;
                n.start_soon(async move { Ok(sender.send(item).await?) });
                settle().await?;
            }
            assert_eq!(sender.statistics().waiting_send, 6 - capacity);
            for item in 0..6 {
                assert_eq!(receiver.recv().await?, item);
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// With and without a buffer, `try_recv` finds what a send waits with.
async fn try_recv_takes_from_a_blocked_send() -> trine::Result<()> {
    for capacity in 0..2 {
        let (sender, receiver) = channel(capacity);
        nursery(async |n| {
            n.start_soon(async {
                for item in 0..=capacity {
                    sender.send(item).await?;
                }
                Ok(())
            });
            settle().await?;
            for item in 0..=capacity {
                assert_eq!(receiver.try_recv(), Ok(item));
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// An operation on a closed handle says so, also when the other side is gone, or an item is there.
async fn closed_is_said_before_broken() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    drop(receiver);
    sender.close();
    assert_eq!(sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Closed);
    let (sender, receiver) = channel(1);
    let other = receiver.clone();
    sender.try_send(1).unwrap();
    receiver.close();
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    assert_eq!((other.try_recv(), other.try_recv()), (Ok(1), Err(TryRecvError::EndOfChannel)));
    Ok(())
}

/// Two receivers that always come back get every other item.
async fn ready_receivers_take_turns() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let log = Log::new();
    nursery(async |n| {
        for who in 0..2 {
            let (receiver, log) = (receiver.clone(), log.clone());
            n.start_soon(async move {
                while let Some(()) = receiver.try_next().await? {
                    log.push(who);
                }
                Ok(())
            });
            settle().await?;
        }
        for _ in 0..10 {
            sender.send(()).await?;
            settle().await?;
        }
        sender.close();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    Ok(())
}
