//! Tools for tests: waiting until nothing runs, and the sequencer.

use super::cancel_tools::{Flag, Log, SECOND, after, forever, yield_once};
use crate::case::{Case, clocked, on_host, portable, real_time};
use crate::host::Host;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;
use trine::sync::Event;
use trine::testing::{MockClock, Order, Sequencer, wait_all_tasks_blocked, wait_all_tasks_blocked_for};
use trine::{Builder, CancelScope, Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(blocked_is_when_all_others_wait, "quiescence.all", "trio test_testing.py::test_wait_all_tasks_blocked"),
    portable!(
        several_waiters_are_told_together,
        "quiescence.several",
        "trio test_testing.py::test_wait_all_tasks_blocked"
    ),
    portable!(
        waiting_for_it_can_be_cancelled,
        "quiescence.cancel",
        "trio test_testing.py::test_wait_all_tasks_blocked"
    ),
    portable!(yields_do_not_count_as_blocked, "quiescence.yields", "trio test_testing.py::test_wait_all_tasks_blocked"),
    clocked!(
        far_deadline_counts_as_blocked,
        "quiescence.timeouts",
        "trio test_testing.py::test_wait_all_tasks_blocked_with_timeouts"
    ),
    real_time!(
        cushions_go_off_the_smallest_first,
        "quiescence.cushion",
        "trio test_testing.py::test_wait_all_tasks_blocked_with_cushion"
    ),
    real_time!(
        short_sleeps_start_a_cushion_anew,
        "quiescence.cushion",
        "trio test_testing.py::test_wait_all_tasks_blocked_with_cushion"
    ),
    portable!(dropped_waiter_is_forgotten, "quiescence.dropped", "design 7"),
    portable!(waiter_dropped_on_another_thread_is_forgotten, "quiescence.dropped", "design 9"),
    portable!(waiter_dropped_on_another_thread_while_all_wait_is_forgotten, "quiescence.dropped", "design 9"),
    portable!(turns_come_in_the_order_of_their_numbers, "sequencer.order", "trio test_testing.py::test_Sequencer"),
    portable!(turns_of_one_task_all_come, "sequencer.order", "design 5"),
    portable!(number_is_used_once, "sequencer.once", "trio test_testing.py::test_Sequencer"),
    portable!(
        cancelled_waiter_breaks_all_the_others,
        "sequencer.cancel",
        "trio test_testing.py::test_Sequencer_cancel"
    ),
    portable!(
        broken_sequence_refuses_those_who_come_later,
        "sequencer.cancel",
        "trio test_testing.py::test_Sequencer_cancel"
    ),
    on_host!(default_order_is_that_of_spawning, "order.fifo", "divergence 10"),
    on_host!(
        shuffles_differ_by_their_seeds,
        "order.shuffle",
        "trio test_scheduler_determinism.py::test_the_trio_scheduler_is_not_deterministic, divergence 10"
    ),
    on_host!(
        shuffle_of_one_seed_is_always_the_same,
        "order.shuffle",
        "trio test_scheduler_determinism.py::test_the_trio_scheduler_is_deterministic_if_seeded, divergence 10"
    ),
];

async fn blocked_is_when_all_others_wait() -> Result<()> {
    let (log, event) = (Log::default(), Event::new());
    nursery(async |n| {
        for _ in 0..3 {
            n.start_soon(async {
                for _ in 0..10 {
                    trine::checkpoint().await?;
                }
                log.add("busy");
                event.wait().await?;
                log.add("woken");
                Ok(())
            });
        }
        wait_all_tasks_blocked().await?;
        log.add("blocked");
        event.set();
        wait_all_tasks_blocked().await?;
        log.add("blocked");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["busy", "busy", "busy", "blocked", "woken", "woken", "woken", "blocked"]);
    Ok(())
}

async fn several_waiters_are_told_together() -> Result<()> {
    let log = Log::default();
    nursery(async |n| {
        for _ in 0..3 {
            n.start_soon(async {
                wait_all_tasks_blocked().await?;
                log.add("told");
                Ok(())
            });
        }
        for _ in 0..20 {
            trine::checkpoint().await?;
        }
        log.add("body");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["body", "told", "told", "told"]);
    Ok(())
}

async fn waiting_for_it_can_be_cancelled() -> Result<()> {
    let scope = CancelScope::new();
    nursery(async |n| {
        let waiter = n.spawn(scope.run(async { Ok(wait_all_tasks_blocked().await?) }));
        for _ in 0..5 {
            trine::checkpoint().await?;
        }
        assert!(!waiter.is_finished());
        scope.cancel();
        assert_eq!(waiter.await?, None);
        Ok(())
    })
    .await
}

async fn yields_do_not_count_as_blocked() -> Result<()> {
    let log = Log::default();
    nursery(async |n| {
        n.start_soon(async {
            for _ in 0..50 {
                yield_once().await;
            }
            log.add("done");
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        log.add("blocked");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["done", "blocked"]);
    Ok(())
}

async fn far_deadline_counts_as_blocked(clock: MockClock) -> Result<()> {
    let start = trine::now();
    nursery(async |n| {
        let sleeper = n.spawn(after(10));
        wait_all_tasks_blocked().await?;
        assert_eq!((sleeper.is_finished(), trine::now()), (false, start));
        clock.jump(SECOND * 10);
        wait_all_tasks_blocked().await?;
        assert!(sleeper.is_finished());
        Ok(())
    })
    .await
}

async fn cushions_go_off_the_smallest_first() -> Result<()> {
    let log = Log::default();
    nursery(async |n| {
        for (millis, name) in [(12, "last"), (0, "first"), (6, "middle"), (0, "first"), (6, "middle")] {
            let log = &log;
            n.start_soon(async move {
                wait_all_tasks_blocked_for(Duration::from_millis(millis)).await?;
                log.add(name);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["first", "first", "middle", "middle", "last"]);
    Ok(())
}

async fn short_sleeps_start_a_cushion_anew() -> Result<()> {
    let log = Log::default();
    nursery(async |n| {
        n.start_soon(async {
            for _ in 0..20 {
                trine::sleep(Duration::from_millis(1)).await?;
            }
            log.add("slept");
            Ok(())
        });
        // Longer than any of the sleeps, however late they wake.
        wait_all_tasks_blocked_for(Duration::from_millis(400)).await?;
        log.add("blocked");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["slept", "blocked"]);
    Ok(())
}

async fn dropped_waiter_is_forgotten() -> Result<()> {
    let start = trine::now();
    for _ in 0..10 {
        let mut waiter = Box::pin(wait_all_tasks_blocked());
        assert!(super::cancel_tools::poll_here(&mut waiter).await.is_pending());
    }
    after(1).await?;
    wait_all_tasks_blocked().await?;
    assert_eq!(trine::now() - start, SECOND);
    Ok(())
}

async fn waiter_dropped_on_another_thread_is_forgotten() -> Result<()> {
    dropped_on_another_thread(|thread| thread.join().expect("it ends")).await
}

/// It has put the run to sleep.
async fn waiter_dropped_on_another_thread_while_all_wait_is_forgotten() -> Result<()> {
    dropped_on_another_thread(drop).await
}

/// A waiter with a long cushion is dropped on another thread: nobody waits for the cushion.
async fn dropped_on_another_thread(after_that: fn(JoinHandle<()>)) -> Result<()> {
    let (begin, cushion) = (std::time::Instant::now(), Duration::from_secs(20));
    let mut waiter = Box::pin(wait_all_tasks_blocked_for(cushion));
    assert!(super::cancel_tools::poll_here(&mut waiter).await.is_pending());
    after_that(std::thread::spawn(move || {
        // Long enough that the run has nothing to do, and no measure of anything.
        std::thread::sleep(Duration::from_millis(20));
        drop(waiter);
    }));
    after(1).await?;
    assert!(begin.elapsed() < cushion);
    Ok(())
}

async fn turns_come_in_the_order_of_their_numbers() -> Result<()> {
    let (seq, order) = (Sequencer::new(), Mutex::new(Vec::new()));
    nursery(async |n| {
        for mine in [[1, 6], [5, 7], [0, 3], [2, 4]] {
            let (seq, order) = (&seq, &order);
            n.start_soon(async move {
                for number in mine {
                    let _turn = seq.turn(number).await?;
                    // The others must not get in here.
                    trine::checkpoint().await?;
                    order.lock().unwrap().push(number);
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(order.into_inner().unwrap(), (0..8).collect::<Vec<_>>());
    Ok(())
}

/// More of them than a task has steps.
async fn turns_of_one_task_all_come() -> Result<()> {
    let (seq, log) = (Sequencer::new(), Mutex::new(Vec::new()));
    let turn = async |number| {
        drop(seq.turn(number).await.expect("nobody was cancelled"));
        log.lock().unwrap().push(number);
    };
    let mut turns: Vec<_> = (0..100).rev().map(|number| Box::pin(turn(number))).collect();
    poll_fn(|cx| {
        turns.retain_mut(|turn| turn.as_mut().poll(cx).is_pending());
        if turns.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert!(log.lock().unwrap().iter().copied().eq(0..100));
    Ok(())
}

async fn number_is_used_once() -> Result<()> {
    let seq = Sequencer::new();
    drop(seq.turn(0).await?);
    let text = seq.turn(0).await.map(drop).expect_err("used").to_string();
    assert!(text.contains("twice"), "{text}");
    drop(seq.turn(1).await?);
    Ok(())
}

async fn cancelled_waiter_breaks_all_the_others() -> Result<()> {
    let (seq, scope) = (Sequencer::new(), CancelScope::new());
    nursery(async |n| {
        let cancelled = n.spawn(scope.run(async { seq.turn(1).await.map(drop) }));
        let others: Vec<_> = [2, 3]
            .map(|i| {
                n.spawn({
                    let seq = &seq;
                    async move { Ok(seq.turn(i).await.map(drop).expect_err("broken").to_string()) }
                })
            })
            .into();
        wait_all_tasks_blocked().await?;
        scope.cancel();
        assert_eq!(cancelled.await?, None);
        for other in others {
            let text = other.await?;
            assert!(text.contains("broken"), "{text}");
        }
        Ok(())
    })
    .await
}

async fn broken_sequence_refuses_those_who_come_later() -> Result<()> {
    let (seq, scope) = (Sequencer::new(), CancelScope::after(SECOND));
    assert_eq!(scope.run(async { seq.turn(1).await.map(drop) }).await?, None);
    for number in [0, 2] {
        let text = seq.turn(number).await.map(drop).expect_err("broken").to_string();
        assert!(text.contains("broken"), "{text}");
    }
    Ok(())
}

/// In which order twenty children run that all can.
fn order_under(host: &dyn Host, order: Order) -> Result<Vec<u32>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, flag) = (Arc::clone(&seen), Flag::default());
    host.run(Builder::new().order(order).clock(MockClock::new().autojump()), async move {
        nursery(async |n| {
            for i in 0..20 {
                let (inside, flag) = (&inside, &flag);
                n.start_soon(async move {
                    inside.lock().unwrap().push(i);
                    flag.wait().await;
                    inside.lock().unwrap().push(i);
                    Ok(())
                });
            }
            wait_all_tasks_blocked().await?;
            flag.set();
            Ok(())
        })
        .await?;
        trine::move_on_after(SECOND, forever()).await.map(drop)
    })??;
    let seen = seen.lock().unwrap().clone();
    let mut sorted = seen[20..].to_vec();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..20));
    Ok(seen)
}

fn default_order_is_that_of_spawning(host: &dyn Host) -> Result<()> {
    assert!(order_under(host, Order::Fifo)?.into_iter().eq((0..20).chain(0..20)));
    Ok(())
}

fn shuffles_differ_by_their_seeds(host: &dyn Host) -> Result<()> {
    let seen = (0..10).map(|seed| order_under(host, Order::Shuffle(seed))).collect::<Result<Vec<_>>>()?;
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len());
    Ok(())
}

fn shuffle_of_one_seed_is_always_the_same(host: &dyn Host) -> Result<()> {
    let first = order_under(host, Order::Shuffle(5))?;
    for _ in 0..9 {
        assert_eq!(order_under(host, Order::Shuffle(5))?, first);
    }
    Ok(())
}
