//! The receiver as a stream.

use super::sync_tools::{poll_once, settle};
use crate::case::{Case, portable};
use futures_util::StreamExt;
use trine::channel::{Receiver, TryRecvError, TrySendErrorKind};
use trine::{CancelScope, Error, channel, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(yields_all_and_ends, "stream.items", "design 10"),
    portable!(waits_and_is_woken_for_each_item, "stream.woken", "divergence 3"),
    portable!(dropped_next_holds_nothing, "stream.dropped-next", "divergence 3"),
    portable!(cancelled_next_is_an_item_and_the_stream_goes_on, "stream.cancelled", "divergence 1"),
    portable!(ends_when_its_handle_is_closed, "stream.closed", "divergence 11"),
    portable!(ends_when_the_last_sender_goes_while_it_waits, "stream.end", "divergence 11"),
    portable!(takes_from_a_blocked_send, "stream.rendezvous", "design 10"),
    portable!(is_no_receive_for_try_send_without_a_buffer, "stream.rendezvous", "design 10"),
    portable!(receive_comes_before_it, "stream.fairness", "divergence 10"),
    portable!(two_share_each_item_once, "stream.work-sharing", "divergence 3"),
    portable!(cancel_of_a_dropped_next_is_not_told_under_a_shield, "stream.left-behind", "design 4.1"),
    portable!(cancel_of_a_dropped_next_is_not_told_after_its_scope, "stream.left-behind", "design 4.1"),
    portable!(cancel_of_a_dropped_next_is_not_told_to_another_task, "stream.left-behind", "design 4.1"),
    portable!(adapters_work_on_it, "stream.adapters", "design 10"),
];

/// All items in order, then `None`, again and again.
async fn yields_all_and_ends() -> trine::Result<()> {
    let (sender, mut receiver) = channel(3);
    for item in 0..3 {
        sender.try_send(item).unwrap();
    }
    drop(sender);
    for item in 0..3 {
        assert_eq!(receiver.next().await.transpose()?, Some(item));
    }
    for _ in 0..3 {
        assert!(receiver.next().await.is_none());
    }
    Ok(())
}

/// A stream that waits is told of every item.
async fn waits_and_is_woken_for_each_item() -> trine::Result<()> {
    let (sender, mut receiver) = channel(1);
    nursery(async |n| {
        let sum = n.spawn(async move {
            let mut sum = 0;
            while let Some(item) = receiver.next().await {
                sum += item?;
            }
            Ok(sum)
        });
        for item in 1..=10 {
            settle().await?;
            sender.try_send(item).expect("the last one has been taken");
        }
        drop(sender);
        assert_eq!(sum.await?, 55);
        Ok(())
    })
    .await
}

/// A `next()` that is dropped after it was told of an item leaves it to others, and to the next `next()`.
async fn dropped_next_holds_nothing() -> trine::Result<()> {
    let (sender, mut receiver) = channel(1);
    let other = receiver.clone();
    for taken_by_other in [true, false] {
        let mut next = Box::pin(receiver.next());
        assert!(poll_once(next.as_mut()).await.is_pending());
        sender.try_send(1).unwrap();
        drop(next);
        assert_eq!(sender.statistics().buffered, 1);
        if taken_by_other {
            assert_eq!(other.try_recv(), Ok(1));
        } else {
            assert_eq!(receiver.next().await.transpose()?, Some(1));
        }
    }
    Ok(())
}

/// Cancelled is an item; after that the same stream yields what comes.
async fn cancelled_next_is_an_item_and_the_stream_goes_on() -> trine::Result<()> {
    let (sender, mut receiver) = channel(1);
    let scope = CancelScope::new();
    nursery(async |n| {
        let it = n.spawn({
            let scope = scope.clone();
            async move {
                let mut seen = Vec::new();
                scope
                    .run(async {
                        for _ in 0..3 {
                            seen.push(receiver.next().await.expect("an item").is_err());
                        }
                        Ok(())
                    })
                    .await?;
                assert_eq!(seen, [true, true, true], "each checkpoint in a cancelled scope fails");
                Ok(receiver)
            }
        });
        settle().await?;
        scope.cancel();
        let mut receiver = it.await?;
        sender.try_send(1).unwrap();
        assert_eq!(receiver.next().await.transpose()?, Some(1));
        Ok(())
    })
    .await
}

/// Its handle is closed by nobody but itself, so before it waits: then it is at its end.
async fn ends_when_its_handle_is_closed() -> trine::Result<()> {
    let (sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    receiver.close();
    assert!(receiver.next().await.is_none());
    assert!(receiver.clone().next().await.is_none(), "the clone of a closed one is closed");
    Ok(())
}

/// A stream that waits is told of the end.
async fn ends_when_the_last_sender_goes_while_it_waits() -> trine::Result<()> {
    let (sender, mut receiver) = channel::<u32>(1);
    nursery(async |n| {
        let end = n.spawn(async move { Ok(receiver.next().await.is_none()) });
        let clone = sender.clone();
        settle().await?;
        drop(sender);
        settle().await?;
        assert!(!end.is_finished());
        drop(clone);
        assert!(end.await?);
        Ok(())
    })
    .await
}

/// Without a buffer, a send that waits and a stream that waits meet, whoever came first.
async fn takes_from_a_blocked_send() -> trine::Result<()> {
    for send_first in [true, false] {
        let (sender, mut receiver) = channel(0);
        nursery(async |n| {
            if send_first {
                n.start_soon(async { Ok(sender.send(1).await?) });
                settle().await?;
            }
            let item = n.spawn(async move { Ok(receiver.next().await.transpose()?) });
            settle().await?;
            if !send_first {
                n.start_soon(async { Ok(sender.send(1).await?) });
            }
            assert_eq!(item.await?, Some(1));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A stream that waits may have been abandoned, so `try_send` has nobody to hand its value to.
async fn is_no_receive_for_try_send_without_a_buffer() -> trine::Result<()> {
    let (sender, mut receiver) = channel(0);
    let mut next = Box::pin(receiver.next());
    assert!(poll_once(next.as_mut()).await.is_pending());
    assert_eq!(sender.statistics().waiting_recv, 1);
    assert_eq!(sender.try_send(1).unwrap_err().kind, TrySendErrorKind::Full);
    Ok(())
}

/// A receive that came after a stream is handed the item.
async fn receive_comes_before_it() -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    let mut stream = receiver.clone();
    nursery(async |n| {
        let second = n.spawn(async move { Ok(stream.next().await.transpose()?) });
        settle().await?;
        let first = n.spawn(async { Ok(receiver.recv().await?) });
        settle().await?;
        sender.try_send(1).unwrap();
        assert_eq!(first.await?, 1);
        settle().await?;
        assert!(!second.is_finished());
        sender.try_send(2).unwrap();
        assert_eq!(second.await?, Some(2));
        Ok(())
    })
    .await
}

/// Both are told of each item, and one has it.
async fn two_share_each_item_once() -> trine::Result<()> {
    let (sender, receiver) = channel(2);
    let got = nursery(async |n| {
        let shares: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                n.spawn(async move { Ok(receiver.map(|item| Ok::<_, Error>(item?)).collect::<Vec<_>>().await) })
            })
            .collect();
        drop(receiver);
        for item in 0..40 {
            sender.send(item).await?;
        }
        drop(sender);
        let mut got = Vec::new();
        for share in shares {
            got.extend(share.await?.into_iter().collect::<trine::Result<Vec<u32>>>()?);
        }
        Ok(got)
    })
    .await?;
    let mut sorted = got.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    Ok(())
}

/// Polls a `next()` until it watches, and drops it.
async fn leave_behind(stream: &mut Receiver<u32>) {
    let mut next = Box::pin(stream.next());
    assert!(poll_once(next.as_mut()).await.is_pending());
}

async fn cancel_of_a_dropped_next_is_not_told_under_a_shield() -> trine::Result<()> {
    let (sender, mut stream) = channel(1);
    let scope = CancelScope::new();
    let cleaned_up = scope.run(async {
        leave_behind(&mut stream).await;
        scope.cancel();
        let item = shielded(async {
            sender.try_send(1).unwrap();
            Ok(stream.next().await.transpose()?)
        });
        assert_eq!(item.await.expect("not cancelled"), Some(1));
        assert!(stream.next().await.unwrap().is_err());
        Ok(())
    });
    cleaned_up.await.map(drop)
}

async fn cancel_of_a_dropped_next_is_not_told_after_its_scope() -> trine::Result<()> {
    let (sender, mut stream) = channel(1);
    let scope = CancelScope::new();
    scope
        .run(async {
            leave_behind(&mut stream).await;
            scope.cancel();
            // Passes over what was cancelled.
            sender.try_send(1).unwrap();
            Ok(())
        })
        .await?;
    assert_eq!(stream.next().await.transpose()?, Some(1));
    Ok(())
}

async fn cancel_of_a_dropped_next_is_not_told_to_another_task() -> trine::Result<()> {
    let (sender, mut stream) = channel(1);
    let (there, here) = channel(1);
    let scope = &CancelScope::new();
    nursery(async |n| {
        n.start_soon(async move {
            let left = scope.run(async move {
                leave_behind(&mut stream).await;
                scope.cancel();
                there.try_send(stream).unwrap();
                shielded(async { Ok(trine::testing::wait_all_tasks_blocked().await?) }).await
            });
            left.await.map(drop)
        });
        let mut stream = here.recv().await?;
        sender.try_send(1).unwrap();
        assert_eq!(stream.next().await.transpose()?, Some(1));
        Ok(())
    })
    .await
}

/// Foreign adapters see items, and a `Cancelled` as the error that it is.
async fn adapters_work_on_it() -> trine::Result<()> {
    let (sender, receiver) = channel(8);
    for item in 0..8 {
        sender.try_send(item).unwrap();
    }
    drop(sender);
    let chunks: Vec<Vec<_>> = receiver.clone().map(|item| item.unwrap()).chunks(3).collect().await;
    assert_eq!(chunks, [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::EndOfChannel));
    Ok(())
}
