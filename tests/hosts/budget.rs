//! tokio's cooperative budget, and the tree's own: who gives way to whom.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::coop;
use trine::{Builder, Result, backend, local_nursery};

use crate::support::{current_thread, multi_thread, ok};

/// What tokio grants a task for each poll.
const COOP: usize = 128;

#[test]
fn children_that_drain_channels_of_tokio_are_not_polled_in_vain() -> Result<()> {
    const CHILDREN: usize = 1_000;
    const MESSAGES: usize = 1_000;
    let test = async || {
        let polls = &Cell::new(0);
        local_nursery(async |n| {
            for _ in 0..CHILDREN {
                let (tx, mut rx) = mpsc::unbounded_channel();
                (0..MESSAGES).try_for_each(|i| tx.send(i))?;
                drop(tx);
                n.start_soon(async move {
                    let mut next = 0;
                    poll_fn(|cx| {
                        polls.set(polls.get() + 1);
                        while let Poll::Ready(message) = rx.poll_recv(cx) {
                            let Some(i) = message else { return Poll::Ready(()) };
                            assert_eq!(i, next);
                            next += 1;
                        }
                        Poll::Pending
                    })
                    .await;
                    assert_eq!(next, MESSAGES);
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        // Each child once, and again for each time the budget ran out; and the pass that finds out that there is one.
        let needed = 2 * CHILDREN + CHILDREN * (MESSAGES + 1) / COOP + 1;
        assert!(polls.get() <= needed + needed / 4, "{} polls for {needed}", polls.get());
        ok()
    };
    current_thread().block_on(test())?;
    Builder::new().backend(backend::tokio()).run(test())
}

/// A child that receives `messages` that are ready, and counts them.
fn drain(messages: usize, received: Arc<AtomicUsize>) -> impl Future<Output = Result<()>> + Send {
    let (tx, mut rx) = mpsc::unbounded_channel();
    (0..messages).for_each(|i| tx.send(i).unwrap());
    async move {
        drop(tx);
        while rx.recv().await.is_some() {
            received.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Stands behind all that is runnable now. (`yield_now` of tokio also waits until it has looked for events.)
fn turn_of_its_own() -> impl Future<Output = ()> {
    let mut begun = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut begun, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn a_turn_has_several_budgets_of_its_host_and_then_the_others_go_on() -> Result<()> {
    const CHILDREN: usize = 64;
    const MESSAGES: usize = 1_000;
    /// Budgets of a turn.
    const GRANTS: usize = 8;
    let runtimes = [current_thread(), multi_thread()];
    for (runtime, is_alone) in runtimes.iter().zip([true, false]) {
        runtime.block_on(async move {
            let received = Arc::new(AtomicUsize::new(0));
            let tree = trine::nursery({
                let received = received.clone();
                async move |n| {
                    (0..CHILDREN).for_each(|_| n.start_soon(drain(MESSAGES, received.clone())));
                    Ok(())
                }
            });
            let turns = Arc::new(AtomicUsize::new(0));
            let counted = {
                let (turns, mut tree) = (turns.clone(), Box::pin(tree));
                poll_fn(move |cx| {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tree.as_mut().poll(cx)
                })
            };
            let tree = tokio::spawn(counted);
            let plain = tokio::spawn({
                let received = received.clone();
                async move {
                    let mut longest = 0;
                    while received.load(Ordering::Relaxed) < CHILDREN * MESSAGES {
                        let before = received.load(Ordering::Relaxed);
                        turn_of_its_own().await;
                        longest = longest.max(received.load(Ordering::Relaxed) - before);
                    }
                    longest
                }
            });
            tree.await??;
            assert_eq!(received.load(Ordering::Relaxed), CHILDREN * MESSAGES);
            // A return for each eight budgets, the one that finds out that there is one, and the rest of each child.
            let (turns, budgets) = (turns.load(Ordering::Relaxed), CHILDREN * MESSAGES / COOP);
            assert!((budgets / GRANTS..budgets / GRANTS * 2).contains(&turns), "{turns} turns for {budgets} budgets");
            // On several threads it runs beside the tree.
            let longest = plain.await?;
            assert!(!is_alone || longest <= GRANTS * COOP, "{longest} messages while another task waited");
            ok()
        })?;
    }
    Ok(())
}

#[test]
fn a_busy_tree_lets_the_other_tasks_of_its_runtime_go_on() -> Result<()> {
    const TURNS: usize = 50;
    current_thread().block_on(async {
        let steps = Arc::new(AtomicUsize::new(0));
        let local = tokio::task::LocalSet::new();
        let gaps = local.spawn_local({
            let steps = steps.clone();
            async move {
                let mut gaps = Vec::new();
                for _ in 0..TURNS {
                    let before = steps.load(Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    gaps.push(steps.load(Ordering::Relaxed) - before);
                }
                gaps
            }
        });
        let scope = trine::CancelScope::new();
        let gaps = local
            .run_until(async {
                let busy = scope.nursery(async |n| {
                    for _ in 0..100 {
                        n.start_soon({
                            let steps = &steps;
                            async move {
                                loop {
                                    trine::checkpoint().await?;
                                    steps.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        });
                    }
                    Ok(())
                });
                tokio::join!(busy, async {
                    let gaps = gaps.await;
                    scope.cancel();
                    gaps
                })
                .1
            })
            .await?;
        assert_eq!(gaps.len(), TURNS);
        // A turn polls at most 1024 tasks, and no task counts twice in a poll here.
        assert!(gaps.iter().all(|gap| *gap <= 2 * 1024), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap > 0), "the tree stood still: {gaps:?}");
        ok()
    })
}

#[test]
fn a_neighbour_in_the_same_task_that_spends_the_budget_does_not_starve_the_tree() -> Result<()> {
    current_thread().block_on(async {
        let (tx, mut rx) = mpsc::unbounded_channel();
        (0..1_000_000).try_for_each(|i| tx.send(i))?;
        let done = Rc::new(Cell::new(false));
        let tree = async {
            let result = local_nursery(async |n| {
                for _ in 0..10 {
                    n.start_soon(async {
                        for _ in 0..10 {
                            trine::checkpoint().await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await;
            done.set(true);
            result
        };
        let neighbour = async {
            while !done.get() {
                assert!(rx.recv().await.is_some(), "the tree stood still");
            }
        };
        tokio::join!(neighbour, tree).1
    })
}

#[test]
fn entering_a_nursery_is_no_checkpoint_though_the_budget_is_spent() -> Result<()> {
    current_thread().block_on(async {
        let (spent, waiting, seen) = (Cell::new(false), Cell::new(None), RefCell::new(Vec::new()));
        let mut tree = pin!(local_nursery(async |n| {
            // By the timer the tree meets its host, and at the end of a turn it learns that this one has a budget.
            trine::sleep(Duration::from_millis(1)).await?;
            spent.set(true);
            for _ in 0..2 {
                let mut left = None;
                poll_fn(|cx| match left.replace(()) {
                    Some(()) => Poll::Ready(()),
                    None => {
                        waiting.set(Some(cx.waker().clone()));
                        Poll::Pending
                    }
                })
                .await;
            }
            n.start_soon(async {
                seen.borrow_mut().push("sibling");
                Ok(())
            });
            local_nursery(async |inner| {
                seen.borrow_mut().push("body");
                local_nursery(async |_| {
                    seen.borrow_mut().push("body of its body");
                    Ok(())
                })
                .await?;
                inner.start_soon(async {
                    seen.borrow_mut().push("child");
                    Ok(())
                });
                Ok(())
            })
            .await
        }));
        poll_fn(|cx| {
            while spent.get() && coop::has_budget_remaining() {
                let Poll::Ready(unit) = coop::poll_proceed(cx) else { break };
                unit.made_progress();
            }
            let polled = tree.as_mut().poll(cx);
            if let Some(waker) = waiting.take() {
                waker.wake();
            }
            polled
        })
        .await?;
        assert_eq!(*seen.borrow(), ["body", "body of its body", "sibling", "child"]);
        ok()
    })
}

#[test]
fn a_tree_that_spends_the_budget_first_learns_that_its_polls_are_long() -> Result<()> {
    current_thread().block_on(async {
        let (tx, mut rx) = mpsc::unbounded_channel();
        (0..10_000).try_for_each(|i| tx.send(i))?;
        let late = local_nursery(async |n| {
            let late = n.spawn(async move {
                // So many that a budget is spent, and the only child waits for the next turn, before a stretch of polls is used up.
                let mut long_step = async || {
                    for _ in 0..COOP / 32 {
                        rx.recv().await.expect("the sender is there");
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    trine::checkpoint().await
                };
                for _ in 0..COOP {
                    long_step().await?;
                }
                let timeout = Duration::from_millis(4);
                let mut late = 0;
                trine::move_on_after(timeout, async {
                    // The time of a timer begins with the end of the poll that makes it, at the latest.
                    long_step().await?;
                    let start = Instant::now();
                    loop {
                        late += usize::from(start.elapsed() >= timeout);
                        long_step().await?;
                    }
                })
                .await
                .map(|left: Option<()>| assert_eq!(left, None))?;
                Ok(late)
            });
            Ok(late.await?)
        })
        .await?;
        assert!(late <= 4, "{late} steps were begun after the deadline");
        ok()
    })
}
