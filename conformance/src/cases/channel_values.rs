//! Channels: what becomes of each value.

use super::sync_tools::{Live, poll_once, settle};
use crate::case::{Case, portable};
use trine::channel::{SendError, TryRecvError, TrySendErrorKind};
use trine::{CancelScope, channel, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(try_send_gives_the_value_back, "channel.try-kinds", "design 10"),
    portable!(values_that_were_not_sent_are_dropped_once, "channel.drops", "divergence 3"),
    portable!(send_or_return_returns_the_value, "channel.send-or-return", "divergence 3"),
    portable!(values_of_cancelled_sends_are_never_delivered, "channel.cancelled-send", "divergence 3"),
    portable!(dropped_waits_keep_the_order_of_items, "channel.back-to-front", "divergence 3"),
    portable!(borrowed_values_can_be_sent, "channel.borrows", "design 10"),
];

/// The error of `try_send` has the value, whatever the reason.
async fn try_send_gives_the_value_back() -> trine::Result<()> {
    let live = Live::default();
    let (sender, receiver) = channel(0);
    let refused = |kind| {
        let error = sender.try_send(live.item(7)).unwrap_err();
        assert_eq!((error.kind, error.value.number), (kind, 7));
    };
    refused(TrySendErrorKind::Full);
    drop(receiver);
    refused(TrySendErrorKind::Broken);
    sender.close();
    refused(TrySendErrorKind::Closed);
    assert_eq!(live.count(), 0);
    Ok(())
}

/// Whatever a send fails of, its value is dropped, once.
async fn values_that_were_not_sent_are_dropped_once() -> trine::Result<()> {
    let live = &Live::default();
    let (sender, receiver) = &channel(0);
    let scope = &CancelScope::new();
    nursery(async |n| {
        n.start_soon(async move { scope.run(async { Ok(sender.send(live.item(1)).await?) }).await.map(drop) });
        let closing = sender.clone();
        n.start_soon(async move {
            let send = closing.send(live.item(2));
            settle().await?;
            closing.close();
            assert!(send.await.is_err());
            Ok(())
        });
        n.start_soon(async move {
            assert!(sender.send(live.item(3)).await.is_err());
            Ok(())
        });
        settle().await?;
        scope.cancel();
        settle().await?;
        assert_eq!(live.count(), 1, "the one that waits");
        receiver.close();
        Ok(())
    })
    .await?;
    assert_eq!(live.count(), 0);
    Ok(())
}

/// `send_or_return` gives back what was not sent: cancelled, closed while it waits, broken while it waits.
async fn send_or_return_returns_the_value() -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let (first, second) = (sender.clone(), sender.clone());
    nursery(async |n| {
        let scope = CancelScope::new();
        let cancelled = n.spawn({
            let (scope, sender) = (scope.clone(), &sender);
            async move {
                let back = scope.run(async { Ok(sender.send_or_return(1).await) }).await?;
                assert!(matches!(back, Some(Err((1, SendError::Cancelled(_))))));
                Ok(())
            }
        });
        let closed = n.spawn(async {
            assert!(matches!(first.send_or_return(2).await, Err((2, SendError::Closed))));
            Ok(())
        });
        let broken = n.spawn(async {
            assert!(matches!(second.send_or_return(3).await, Err((3, SendError::Broken))));
            Ok(())
        });
        settle().await?;
        scope.cancel();
        cancelled.await?;
        first.close();
        closed.await?;
        receiver.close();
        Ok(broken.await?)
    })
    .await
}

/// Of sends that wait, the cancelled one is left out, wherever it stands.
async fn values_of_cancelled_sends_are_never_delivered() -> trine::Result<()> {
    for (capacity, place) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
        let (sender, receiver) = channel(capacity);
        let scope = CancelScope::new();
        nursery(async |n| {
            for item in 0..3 {
                let (sender, scope) = (&sender, if item == place { scope.clone() } else { CancelScope::new() });
                n.start_soon(async move { scope.run(async { Ok(sender.send(item).await?) }).await.map(drop) });
                settle().await?;
            }
            scope.cancel();
            for item in (0..3).filter(|&item| item != place) {
                assert_eq!(receiver.recv().await?, item);
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            Ok(())
        })
        .await?;
        assert!(scope.cancelled_caught());
    }
    Ok(())
}

/// Items that were handed to receives which are then dropped come back to the front, in their order.
async fn dropped_waits_keep_the_order_of_items() -> trine::Result<()> {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let (sender, receiver) = channel(2);
        let mut waits: Vec<_> = (0..3).map(|_| Some(Box::pin(receiver.recv()))).collect();
        for wait in waits.iter_mut().flatten() {
            assert!(poll_once(wait.as_mut()).await.is_pending());
        }
        for item in 0..5 {
            sender.try_send(item).expect("three are handed over, two are buffered");
        }
        for place in order {
            waits[place] = None;
        }
        for item in 0..5 {
            assert_eq!(receiver.try_recv(), Ok(item));
        }
    }
    Ok(())
}

/// Items may borrow from what was declared before the channel.
async fn borrowed_values_can_be_sent() -> trine::Result<()> {
    let text = "one two three".to_owned();
    let (sender, receiver) = channel(0);
    let words = nursery(async |n| {
        n.start_soon(async {
            for word in text.split(' ') {
                sender.send(word).await?;
            }
            sender.close();
            Ok(())
        });
        let mut words = Vec::new();
        while let Some(word) = receiver.try_next().await? {
            words.push(word);
        }
        Ok(words)
    })
    .await?;
    assert_eq!(words, ["one", "two", "three"]);
    Ok(())
}
