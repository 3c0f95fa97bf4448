//! Two runs on two threads that share a channel: nothing is lost, and nothing comes twice.

use super::sync_tools::{Live, poll_once};
use crate::case::{Case, on_host};
use crate::host::Host;
use futures_util::StreamExt;
use std::future::Future;
use std::thread;
use std::time::Duration;
use trine::channel::SendError;
use trine::{Builder, Error, channel, checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    on_host!(items_keep_their_order, "contention.channel-order", "divergence 3"),
    on_host!(items_of_many_are_each_received_once, "contention.channel-conserves", "divergence 3"),
    on_host!(cancelled_receives_lose_no_item, "contention.cancel-conserves", "divergence 3"),
    on_host!(cancelled_sends_give_back_or_deliver, "contention.cancel-conserves", "divergence 3"),
    on_host!(dropped_receives_lose_no_item, "contention.drop-conserves", "divergence 3"),
    on_host!(streams_miss_no_item, "contention.stream", "divergence 3"),
    on_host!(closing_drops_what_is_not_received, "contention.close-conserves", "divergence 11"),
];

/// How much is done in each case.
pub(super) const COUNT: usize = 400;

/// Runs both at once, each on a thread and in a run of its own.
pub(super) fn both<A: Send + 'static, B: Send + 'static>(
    host: &dyn Host,
    first: impl Future<Output = trine::Result<A>> + Send + 'static,
    second: impl Future<Output = trine::Result<B>> + Send + 'static,
) -> trine::Result<(A, B)> {
    thread::scope(|s| {
        let first = s.spawn(|| host.run(Builder::new(), first));
        let second = host.run(Builder::new(), second)?;
        let first = first.join().map_err(|_| Error::msg("the first thread panicked"))??;
        Ok((first?, second?))
    })
}

/// One sends and one receives, through buffers of several sizes.
fn items_keep_their_order(host: &dyn Host) -> trine::Result<()> {
    for capacity in [0, 1, 7] {
        let (sender, receiver) = channel(capacity);
        let sends = async move {
            for item in 0..COUNT {
                sender.send(item).await?;
            }
            Ok(())
        };
        let receives = async move {
            for item in 0..COUNT {
                assert_eq!(receiver.recv().await?, item);
            }
            assert_eq!(receiver.try_next().await?, None);
            Ok(())
        };
        both(host, sends, receives)?;
    }
    Ok(())
}

/// Both send and both receive.
fn items_of_many_are_each_received_once(host: &dyn Host) -> trine::Result<()> {
    for capacity in [0, 3] {
        let (sender, receiver) = channel(capacity);
        let run = |from: usize| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            async move {
                nursery(async |n| {
                    n.start_soon(async move {
                        for item in from..from + COUNT {
                            sender.send(item).await?;
                        }
                        Ok(())
                    });
                    let mut got = Vec::new();
                    while let Some(item) = receiver.try_next().await? {
                        got.push(item);
                    }
                    Ok(got)
                })
                .await
            }
        };
        let (first, second) = (run(0), run(COUNT));
        drop((sender, receiver));
        let (mut got, more) = both(host, first, second)?;
        got.extend(more);
        got.sort_unstable();
        assert_eq!(got, (0..2 * COUNT).collect::<Vec<_>>());
    }
    Ok(())
}

/// Receives are given up all the time: what they did not return, others do.
fn cancelled_receives_lose_no_item(host: &dyn Host) -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let sends = async move {
        for item in 0..COUNT {
            sender.send(item).await?;
        }
        Ok(())
    };
    let receives = async move {
        let (mut next, mut tries) = (0, 0_u64);
        while next < COUNT {
            tries += 1;
            let patience = Duration::from_micros(tries % 40);
            if let Some(item) = move_on_after(patience, async { Ok(receiver.recv().await?) }).await? {
                assert_eq!(item, next);
                next += 1;
            }
        }
        Ok(())
    };
    both(host, sends, receives)?;
    Ok(())
}

/// Sends are given up all the time: each value comes back or is delivered, never both.
fn cancelled_sends_give_back_or_deliver(host: &dyn Host) -> trine::Result<()> {
    let (sender, receiver) = channel(0);
    let sends = async move {
        for item in 0..COUNT {
            let (mut value, mut tries) = (Some(item), 0_u64);
            while let Some(back) = value.take() {
                tries += 1;
                let patience = Duration::from_micros(tries % 40);
                let sent = move_on_after(patience, async {
                    match sender.send_or_return(back).await {
                        Ok(()) => Ok(None),
                        Err((back, SendError::Cancelled(_))) => Ok(Some(back)),
                        Err((_, error)) => Err(error.into()),
                    }
                });
                value = sent.await?.flatten();
            }
        }
        Ok(())
    };
    let receives = async move {
        let mut got = Vec::new();
        while let Some(item) = receiver.try_next().await? {
            got.push(item);
        }
        Ok(got)
    };
    let ((), got) = both(host, sends, receives)?;
    assert_eq!(got, (0..COUNT).collect::<Vec<_>>());
    Ok(())
}

/// Receives are dropped while they may be handed something.
fn dropped_receives_lose_no_item(host: &dyn Host) -> trine::Result<()> {
    let (sender, receiver) = channel(1);
    let sends = async move {
        for item in 0..COUNT {
            sender.send(item).await?;
        }
        Ok(())
    };
    let receives = async move {
        let mut next = 0;
        while next < COUNT {
            let mut wait = Box::pin(receiver.recv());
            if let std::task::Poll::Ready(item) = poll_once(wait.as_mut()).await {
                assert_eq!(item?, next);
                next += 1;
            }
            drop(wait);
            checkpoint().await?;
        }
        Ok(())
    };
    both(host, sends, receives)?;
    Ok(())
}

/// A stream that waits is woken for what comes from elsewhere.
fn streams_miss_no_item(host: &dyn Host) -> trine::Result<()> {
    for capacity in [0, 2] {
        let (sender, mut receiver) = channel(capacity);
        let sends = async move {
            for item in 0..COUNT {
                sender.send(item).await?;
            }
            Ok(())
        };
        let receives = async move {
            let mut next = 0;
            while let Some(item) = receiver.next().await {
                assert_eq!(item?, next);
                next += 1;
            }
            Ok(next)
        };
        assert_eq!(both(host, sends, receives)?, ((), COUNT));
    }
    Ok(())
}

/// The receiver goes while the sender is busy: each value is dropped once, wherever it is.
fn closing_drops_what_is_not_received(host: &dyn Host) -> trine::Result<()> {
    for enough in 0..20 {
        let live = Live::default();
        let items = live.clone();
        let (sender, receiver) = channel(2);
        let sends = async move {
            for number in 0.. {
                match sender.send(items.item(number)).await {
                    Ok(()) => {}
                    Err(SendError::Broken) => return Ok(number),
                    Err(error) => return Err(error.into()),
                }
            }
            unreachable!("the receiver goes")
        };
        let receives = async move {
            for number in 0..enough {
                assert_eq!(receiver.recv().await?.number, number);
            }
            Ok(())
        };
        let (sent, ()) = both(host, sends, receives)?;
        assert!(sent >= enough);
        assert_eq!(live.count(), 0);
    }
    Ok(())
}
