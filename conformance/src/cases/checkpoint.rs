//! Checkpoints: every operation is one, in both of its states; when they yield and when they look.

use super::cancel_tools::{BLOCKED, Live, Log, Polls, READY, after, checkpoint, poll_here};
use crate::case::{Case, portable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use trine::sync::{Event, Mutex, Semaphore};
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Error, Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        operation_that_could_complete_is_cancelled,
        "checkpoint.ready",
        "trio test_run.py::test_cancel_points, divergence 9"
    ),
    portable!(
        operation_that_would_wait_is_cancelled_before_it,
        "checkpoint.blocked",
        "trio test_run.py::test_cancel_points, divergence 9"
    ),
    portable!(
        operation_that_waits_is_cancelled_where_it_waits,
        "checkpoint.waiting",
        "trio test_run.py::test_cancel_points, divergence 1"
    ),
    portable!(cancelled_operation_did_nothing, "checkpoint.nothing-done", "divergence 3"),
    portable!(ready_operations_let_others_run, "checkpoint.budget", "divergence 9, divergence 10"),
    portable!(budget_is_sixty_four_steps, "checkpoint.budget", "design 4"),
    portable!(budget_yield_comes_before_the_operation, "checkpoint.budget", "design 4.4"),
    portable!(budget_yield_in_a_cancelled_scope_keeps_the_operation_undone, "checkpoint.budget", "design 4.4"),
    portable!(checkpoint_always_yields, "checkpoint.yields", "trio test_run.py::test_trivial_yields"),
    portable!(checkpoint_looks_before_the_yield, "checkpoint.looks", "design 4"),
    portable!(checkpoint_looks_after_the_yield, "checkpoint.looks", "trio test_run.py::test_cancel_points"),
    portable!(sleep_of_nothing_looks_after_the_yield, "checkpoint.looks", "trio test_timeouts.py::test_sleep"),
    portable!(
        checkpoint_if_cancelled_looks_and_never_yields,
        "checkpoint.if-cancelled",
        "trio test_run.py::test_cancel_points"
    ),
    portable!(
        shielded_checkpoint_yields_and_never_fails,
        "checkpoint.shielded",
        "trio test_run.py::test_cancel_points, trio test_run.py::test_trivial_yields"
    ),
    portable!(shielded_checkpoint_is_not_dropped_half_way, "checkpoint.shielded", "design 4.4"),
    portable!(
        error_of_a_body_in_a_cancelled_scope_is_kept,
        "checkpoint.nursery",
        "trio test_run.py::test_trivial_yields"
    ),
    portable!(leaving_a_nursery_is_no_cancel_point, "checkpoint.nursery", "divergence 5"),
];

/// Runs a future in a scope that is cancelled already.
async fn cancelled<T>(fut: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let scope = CancelScope::new();
    scope.cancel();
    scope.run(fut).await
}

async fn operation_that_could_complete_is_cancelled() -> Result<()> {
    for (name, op) in READY {
        op().await.unwrap_or_else(|e| panic!("{name}: {e}"));
        cancelled(async {
            for _ in 0..3 {
                let error = op().await.expect_err(name);
                assert!(error.is_cancelled(), "{name}: {error}");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn operation_that_would_wait_is_cancelled_before_it() -> Result<()> {
    let start = trine::now();
    for (name, op) in BLOCKED {
        cancelled(async {
            for _ in 0..3 {
                let error = op().await.expect_err(name);
                assert!(error.is_cancelled(), "{name}: {error}");
            }
            Ok(())
        })
        .await?;
    }
    assert_eq!(trine::now(), start);
    Ok(())
}

async fn operation_that_waits_is_cancelled_where_it_waits() -> Result<()> {
    let start = trine::now();
    for (name, op) in BLOCKED {
        let scope = CancelScope::new();
        let outcome = nursery(async |n| {
            let waiting = n.spawn(scope.run(op()));
            wait_all_tasks_blocked().await?;
            assert!(!waiting.is_finished(), "{name}");
            scope.cancel();
            Ok(waiting.await?)
        })
        .await?;
        assert_eq!((outcome, scope.cancelled_caught()), (None, true), "{name}");
    }
    assert_eq!(trine::now(), start);
    Ok(())
}

async fn cancelled_operation_did_nothing() -> Result<()> {
    let (tx, rx) = trine::channel(2);
    tx.try_send(1)?;
    let (mutex, semaphore, live) = (Mutex::new(()), Semaphore::new(1), Live::default());
    cancelled(async {
        rx.recv().await.expect_err("cancelled");
        rx.try_next().await.expect_err("cancelled");
        tx.send(2).await.expect_err("cancelled");
        assert_eq!(tx.send_or_return(3).await.expect_err("cancelled").0, 3);
        mutex.lock().await.expect_err("cancelled");
        semaphore.acquire().await.expect_err("cancelled");
        Ok(())
    })
    .await?;
    assert_eq!((rx.try_recv()?, rx.try_recv().is_err()), (1, true));
    assert_eq!((mutex.is_locked(), semaphore.available()), (false, 1));
    // A value whose send is cancelled is dropped.
    let (tx, _rx) = trine::channel(1);
    cancelled(async { Ok(tx.send(live.guard()).await.expect_err("cancelled")) }).await?;
    assert_eq!(live.count(), 0);
    Ok(())
}

async fn ready_operations_let_others_run() -> Result<()> {
    for (name, op) in READY {
        let (ran, count) = (AtomicBool::new(false), AtomicU32::new(0));
        nursery(async |n| {
            n.start_soon(async {
                ran.store(true, Ordering::Relaxed);
                Ok(())
            });
            while !ran.load(Ordering::Relaxed) {
                op().await?;
                count.fetch_add(1, Ordering::Relaxed);
                // One budget and the operation that had to yield, twice where the order lets the body go first again.
                assert!(count.load(Ordering::Relaxed) <= 130, "{name} starves its siblings");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Polls of a child that does so many operations which never wait.
async fn polls_for(operations: usize) -> Result<usize> {
    let (polls, event) = (Polls::default(), Event::new());
    event.set();
    nursery(async |n| {
        n.start_soon(polls.of(async {
            for _ in 0..operations {
                event.wait().await?;
            }
            Ok(())
        }));
        Ok(())
    })
    .await?;
    Ok(polls.count())
}

async fn budget_is_sixty_four_steps() -> Result<()> {
    assert_eq!(polls_for(64).await?, 1);
    assert_eq!(polls_for(65).await?, 2);
    // The one that had to yield is not among the next sixty-four that did not.
    assert_eq!((polls_for(64 + 65).await?, polls_for(64 + 65 + 1).await?), (2, 3));
    Ok(())
}

async fn budget_yield_comes_before_the_operation() -> Result<()> {
    let (tx, rx) = trine::unbounded();
    (0..65).try_for_each(|i| tx.try_send(i))?;
    nursery(async |n| {
        n.start_soon(async {
            for _ in 0..64 {
                rx.recv().await?;
            }
            let mut last = Box::pin(rx.recv());
            assert!(poll_here(&mut last).await.is_pending());
            assert_eq!(rx.statistics().buffered, 1);
            drop(last);
            assert_eq!(rx.try_recv()?, 64);
            Ok(())
        });
        Ok(())
    })
    .await
}

async fn budget_yield_in_a_cancelled_scope_keeps_the_operation_undone() -> Result<()> {
    let (tx, rx) = trine::unbounded();
    (0..65).try_for_each(|i| tx.try_send(i))?;
    let scope = CancelScope::new();
    nursery(async |n| {
        let reader = n.spawn(scope.run(async {
            for _ in 0..64 {
                rx.recv().await?;
            }
            scope.cancel();
            rx.recv().await?;
            Ok(())
        }));
        assert_eq!(reader.await?, None);
        Ok(())
    })
    .await?;
    assert_eq!(rx.try_recv()?, 64);
    Ok(())
}

async fn checkpoint_always_yields() -> Result<()> {
    let mut yields = 0;
    let mut one = Box::pin(trine::checkpoint());
    yields += u32::from(poll_here(&mut one).await.is_pending());
    assert!(matches!(poll_here(&mut one).await, Poll::Ready(Ok(()))));
    for duration in [Duration::ZERO; 2] {
        let mut one = Box::pin(trine::sleep(duration));
        yields += u32::from(poll_here(&mut one).await.is_pending());
        assert!(matches!(poll_here(&mut one).await, Poll::Ready(Ok(()))));
    }
    let mut one = Box::pin(trine::sleep_until(trine::now()));
    yields += u32::from(poll_here(&mut one).await.is_pending());
    assert!(matches!(poll_here(&mut one).await, Poll::Ready(Ok(()))));
    assert_eq!(yields, 4);
    Ok(())
}

async fn checkpoint_looks_before_the_yield() -> Result<()> {
    cancelled(async {
        assert!(matches!(poll_here(&mut Box::pin(trine::checkpoint())).await, Poll::Ready(Err(_))));
        assert!(matches!(poll_here(&mut Box::pin(trine::sleep(Duration::ZERO))).await, Poll::Ready(Err(_))));
        assert!(matches!(poll_here(&mut Box::pin(trine::sleep_until(trine::now()))).await, Poll::Ready(Err(_))));
        Ok(())
    })
    .await?;
    Ok(())
}

async fn checkpoint_looks_after_the_yield() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            let mut one = Box::pin(trine::checkpoint());
            assert!(poll_here(&mut one).await.is_pending());
            scope.cancel();
            assert!(matches!(poll_here(&mut one).await, Poll::Ready(Err(_))));
            Ok(())
        })
        .await?;
    Ok(())
}

async fn sleep_of_nothing_looks_after_the_yield() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            let mut one = Box::pin(trine::sleep(Duration::ZERO));
            assert!(poll_here(&mut one).await.is_pending());
            scope.cancel();
            assert!(matches!(poll_here(&mut one).await, Poll::Ready(Err(_))));
            Ok(())
        })
        .await?;
    Ok(())
}

async fn checkpoint_if_cancelled_looks_and_never_yields() -> Result<()> {
    let (ran, scope) = (AtomicBool::new(false), CancelScope::new());
    nursery(async |n| {
        n.start_soon(async {
            ran.store(true, Ordering::Relaxed);
            Ok(())
        });
        for _ in 0..1000 {
            trine::checkpoint_if_cancelled()?;
        }
        assert!(!ran.load(Ordering::Relaxed));
        Ok(())
    })
    .await?;
    let outcome = scope
        .run(async {
            scope.cancel();
            Ok(trine::checkpoint_if_cancelled()?)
        })
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn shielded_checkpoint_yields_and_never_fails() -> Result<()> {
    cancelled(async {
        let mut one = Box::pin(trine::shielded_checkpoint());
        assert!(poll_here(&mut one).await.is_pending());
        assert!(poll_here(&mut one).await.is_ready());
        Ok(())
    })
    .await?;
    Ok(())
}

async fn shielded_checkpoint_is_not_dropped_half_way() -> Result<()> {
    let log = Log::default();
    let outcome = cancelled(async {
        for _ in 0..3 {
            trine::shielded_checkpoint().await;
            log.add("went on");
        }
        checkpoint().await
    })
    .await?;
    assert_eq!((outcome, log.take()), (None, vec!["went on"; 3]));
    Ok(())
}

async fn error_of_a_body_in_a_cancelled_scope_is_kept() -> Result<()> {
    let error = cancelled(nursery(async |_| Err::<(), _>(Error::msg("boom")))).await.expect_err("the body failed");
    assert!(error.is_group() && error.find::<trine::Cancelled>().is_none());
    assert_eq!(error.leaves().map(ToString::to_string).collect::<Vec<_>>(), ["boom"]);
    Ok(())
}

/// The body is done when the cancel comes; the children end well behind their shields.
async fn leaving_a_nursery_is_no_cancel_point() -> Result<()> {
    let (scope, token) = (CancelScope::new(), Arc::new(()));
    let outcome = scope
        .run(nursery(async |n| {
            let held = Arc::clone(&token);
            n.start_soon(trine::shielded(async move {
                after(2).await?;
                drop(held);
                Ok(())
            }));
            trine::checkpoint().await?;
            scope.cancel();
            Ok(6)
        }))
        .await?;
    assert_eq!((outcome, Arc::strong_count(&token)), (Some(6), 1));
    Ok(())
}
