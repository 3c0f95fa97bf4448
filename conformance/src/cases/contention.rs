//! Two runs on two threads that share a primitive: nothing is lost, nothing is made, and never are too many inside.

use super::sync_tools::{Live, poll_once};
use crate::case::{Case, on_host};
use crate::host::Host;
use futures_util::StreamExt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use trine::channel::SendError;
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex, Semaphore};
use trine::{Builder, Error, channel, checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    on_host!(items_keep_their_order, "contention.channel-order", "divergence 3"),
    on_host!(items_of_many_are_each_received_once, "contention.channel-conserves", "divergence 3"),
    on_host!(cancelled_receives_lose_no_item, "contention.cancel-conserves", "divergence 3"),
    on_host!(cancelled_sends_give_back_or_deliver, "contention.cancel-conserves", "divergence 3"),
    on_host!(dropped_receives_lose_no_item, "contention.drop-conserves", "divergence 3"),
    on_host!(streams_miss_no_item, "contention.stream", "divergence 3"),
    on_host!(closing_drops_what_is_not_received, "contention.close-conserves", "divergence 11"),
    on_host!(mutex_excludes, "contention.mutex", "divergence 10"),
    on_host!(lock_excludes, "contention.lock", "divergence 10"),
    on_host!(semaphore_keeps_its_permits, "contention.semaphore", "divergence 3"),
    on_host!(limiter_is_resized_meanwhile, "contention.limiter", "divergence 15"),
    on_host!(conditions_alternate, "contention.condition", "divergence 3"),
    on_host!(events_wake_the_other_run, "contention.event", "divergence 3"),
];

/// How much is done in each case.
const COUNT: usize = 400;

/// Runs both at once, each on a thread and in a run of its own.
fn both<A: Send + 'static, B: Send + 'static>(
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

/// A value that is read, left for a while and written.
fn mutex_excludes(host: &dyn Host) -> trine::Result<()> {
    let mutex = Arc::new(Mutex::new(0));
    let run = || {
        let mutex = Arc::clone(&mutex);
        async move {
            nursery(async |n| {
                for _ in 0..2 {
                    n.start_soon(async {
                        for _ in 0..COUNT / 2 {
                            let mut guard = mutex.lock().await?;
                            let before = *guard;
                            checkpoint().await?;
                            *guard = before + 1;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        }
    };
    both(host, run(), run())?;
    assert_eq!(*mutex.try_lock()?, 2 * COUNT);
    Ok(())
}

/// The same with a lock that has owners.
fn lock_excludes(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Lock::new(), AtomicUsize::new(0)));
    let run = || {
        let shared = Arc::clone(&shared);
        async move {
            let (lock, inside) = &*shared;
            for _ in 0..COUNT {
                lock.acquire().await?;
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                checkpoint().await?;
                inside.fetch_sub(1, Ordering::Relaxed);
                lock.release()?;
            }
            Ok(())
        }
    };
    both(host, run(), run())?;
    assert!(!shared.0.is_locked());
    Ok(())
}

/// Permits are waited for in vain, dropped and held, and at the end all are there.
fn semaphore_keeps_its_permits(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Semaphore::new(2), AtomicUsize::new(0)));
    let run = || {
        let shared = Arc::clone(&shared);
        async move {
            let (semaphore, inside) = &*shared;
            nursery(async |n| {
                for task in 0..3 {
                    n.start_soon(async move {
                        for i in 0..COUNT / 4 {
                            let patience = Duration::from_micros((i as u64 * 7 + task) % 50);
                            let work = async {
                                let _permit = semaphore.acquire().await?;
                                assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                                let result = checkpoint().await;
                                inside.fetch_sub(1, Ordering::Relaxed);
                                Ok(result?)
                            };
                            move_on_after(patience, work).await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        }
    };
    both(host, run(), run())?;
    assert_eq!((shared.0.available(), shared.0.statistics().waiting), (2, 0));
    Ok(())
}

/// One borrows while the other moves the total: nobody is forgotten, and never are more out than ever were allowed.
fn limiter_is_resized_meanwhile(host: &dyn Host) -> trine::Result<()> {
    let limiter = Arc::new(CapacityLimiter::new(0));
    let (resized, done) = (Arc::clone(&limiter), Arc::new(Event::new()));
    let is_done = Arc::clone(&done);
    let borrows = async move {
        nursery(async |n| {
            for _ in 0..5 {
                n.start_soon(async {
                    for _ in 0..COUNT / 4 {
                        let _token = limiter.acquire().await?;
                        assert!(limiter.borrowed() <= 3);
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(limiter.statistics().waiting, 0);
        done.set();
        Ok(limiter.borrowed())
    };
    let resizes = async move {
        for total in [1, 3, 0, 2].into_iter().cycle() {
            if is_done.is_set() {
                break;
            }
            resized.set_total(total);
            checkpoint().await?;
        }
        Ok(())
    };
    assert_eq!(both(host, borrows, resizes)?, (0, ()));
    Ok(())
}

/// Two runs take turns at a value.
fn conditions_alternate(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Mutex::new(0), Condition::new()));
    let run = |parity: usize| {
        let shared = Arc::clone(&shared);
        async move {
            let (mutex, condition) = &*shared;
            for _ in 0..COUNT {
                let mut turn = mutex.lock().await?;
                condition.wait_while(&mut turn, |turn| *turn % 2 != parity).await?;
                *turn += 1;
                condition.notify(1);
            }
            Ok(())
        }
    };
    both(host, run(0), run(1))?;
    assert_eq!(*shared.0.try_lock()?, 2 * COUNT);
    Ok(())
}

/// A set is seen by a wait that begins at the same time.
fn events_wake_the_other_run(host: &dyn Host) -> trine::Result<()> {
    let events: Arc<Vec<_>> = Arc::new((0..2 * COUNT).map(|_| Event::new()).collect());
    let run = |parity: usize| {
        let events = Arc::clone(&events);
        async move {
            for (i, event) in events.iter().enumerate() {
                if i % 2 == parity {
                    event.set();
                } else {
                    event.wait().await?;
                }
            }
            Ok(())
        }
    };
    both(host, run(0), run(1))?;
    assert!(events.iter().all(|event| event.is_set() && event.statistics().waiting == 0));
    Ok(())
}
