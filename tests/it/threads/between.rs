//! Channels, locks, events and handles between trees on several threads.

use super::ROUNDS;
use crate::support::block_on;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;
use trine::sync::{Event, Mutex, Semaphore};
use trine::testing::Sequencer;
use trine::{CancelScope, Error};

#[test]
fn a_channel_between_roots_loses_and_doubles_nothing() {
    for capacity in [0, 1, 7] {
        let (tx, rx) = trine::channel::<u32>(capacity);
        let senders: Vec<_> = (0..2)
            .map(|t| {
                let tx = tx.clone();
                std::thread::spawn(move || {
                    trine::run(trine::nursery(async move |n| {
                        for part in 0..4 {
                            let tx = tx.clone();
                            n.start_soon(async move {
                                for i in 0..50 {
                                    tx.send(t * 1000 + part * 50 + i).await?;
                                }
                                Ok(())
                            });
                        }
                        Ok(())
                    }))
                })
            })
            .collect();
        drop(tx);
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let rx = rx.clone();
                std::thread::spawn(move || {
                    block_on(trine::nursery(async |n| {
                        let collect = || async {
                            let mut got = Vec::new();
                            while let Some(i) = rx.try_next().await? {
                                got.push(i);
                            }
                            Ok(got)
                        };
                        let (a, b) = (n.spawn(collect()), n.spawn(collect()));
                        let mut all = a.await?;
                        all.extend(b.await?);
                        Ok(all)
                    }))
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap().unwrap();
        }
        let mut all: Vec<u32> = receivers.into_iter().flat_map(|r| r.join().unwrap().unwrap()).collect();
        all.sort_unstable();
        let expected: Vec<u32> = (0..200).chain(1000..1200).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn items_for_receivers_that_are_cancelled_are_not_lost() {
    let (tx, rx) = trine::channel::<u32>(0);
    let sender = std::thread::spawn(move || {
        trine::run(async move {
            for i in 0..200 {
                tx.send(i).await?;
            }
            Ok::<_, Error>(())
        })
    });
    let got = trine::run(async {
        let mut got = Vec::new();
        loop {
            let scope = CancelScope::new();
            let other = scope.clone();
            let item = scope
                .run(async {
                    let (item, ()) = futures_util::join!(rx.try_next(), async {
                        trine::shielded_checkpoint().await;
                        other.cancel();
                    });
                    Ok(item?)
                })
                .await?;
            match item {
                None => {}
                Some(None) => return Ok::<_, Error>(got),
                Some(Some(item)) => got.push(item),
            }
        }
    })
    .unwrap();
    sender.join().unwrap().unwrap();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_mutex_and_a_semaphore_between_roots_exclude() {
    let mutex = Mutex::new(0u32);
    let semaphore = Semaphore::new(2);
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|threads| {
        for t in 0..3 {
            let work = trine::nursery(async |n| {
                for _ in 0..5 {
                    n.start_soon(async {
                        for _ in 0..40 {
                            let _permit = semaphore.acquire().await?;
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            let mut guard = mutex.lock().await?;
                            let value = *guard;
                            trine::checkpoint().await?;
                            *guard = value + 1;
                            drop(guard);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            threads.spawn(move || if t == 0 { trine::run(work) } else { block_on(work) }.unwrap());
        }
    });
    assert_eq!(mutex.into_inner(), 600);
    assert!(most.into_inner() <= 2);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn an_event_wakes_waiters_of_all_roots() {
    for _ in 0..ROUNDS / 10 {
        let event = Event::new();
        let ready = Barrier::new(4);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    block_on(trine::nursery(async |n| {
                        for _ in 0..10 {
                            n.start_soon(async { Ok(event.wait().await?) });
                        }
                        trine::checkpoint().await?;
                        ready.wait();
                        Ok(())
                    }))
                    .unwrap();
                });
            }
            ready.wait();
            event.set();
        });
    }
}

#[test]
fn handles_are_awaited_on_other_roots() {
    for _ in 0..ROUNDS / 4 {
        let (tx, rx) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let handle: trine::Handle<'static, u32> = rx.recv().unwrap();
            trine::run(async { handle.await.unwrap() })
        });
        block_on(trine::nursery(async |n| {
            let handle = n.spawner().spawn(async {
                for _ in 0..20 {
                    trine::checkpoint().await?;
                }
                Ok(6)
            })?;
            tx.send(handle).unwrap();
            Ok(())
        }))
        .unwrap();
        assert_eq!(waiter.join().unwrap(), 6);
    }
}

#[test]
fn handles_cancel_from_other_threads() {
    for _ in 0..ROUNDS / 4 {
        let (tx, rx) = mpsc::channel::<trine::Handle<'static, ()>>();
        let thread = std::thread::spawn(move || rx.recv().unwrap().cancel());
        block_on(trine::nursery(async |n| {
            tx.send(n.spawner().spawn(async { Ok(trine::sleep_forever().await.map(|_| ())?) })?).unwrap();
            Ok(())
        }))
        .unwrap();
        thread.join().unwrap();
    }
}

#[test]
fn a_sequencer_between_roots_loses_no_turn() {
    const TURNS: usize = ROUNDS * 100;
    let seq = Sequencer::new();
    let take_turns = |begin: usize| {
        trine::run(trine::fail_after(Duration::from_secs(20), async {
            for number in (begin..TURNS).step_by(2) {
                drop(seq.turn(number).await?);
            }
            Ok(())
        }))
    };
    std::thread::scope(|threads| {
        let both = [0, 1].map(|begin| threads.spawn(move || take_turns(begin)));
        for thread in both {
            thread.join().unwrap().unwrap();
        }
    });
}
