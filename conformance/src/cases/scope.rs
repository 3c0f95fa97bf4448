//! Cancel scopes: how a cancel gets in, and what comes out.

use super::cancel_tools::{Flag, Live, Log, after, checkpoint, forever, leaves};
use crate::case::{Case, portable, real_time};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Error, ReasonKind, Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        cancel_is_delivered_again_and_again,
        "scope.level",
        "trio test_run.py::test_cancel_edge_cases, divergence 1"
    ),
    portable!(caught_cancel_is_none, "scope.caught", "design 4.3"),
    portable!(cancel_after_the_last_checkpoint_keeps_the_value, "scope.late", "divergence 4"),
    portable!(left_scope_only_notes_the_cancel, "scope.left", "trio test_run.py::test_cancel_scope_nesting"),
    portable!(running_code_is_told_at_its_next_checkpoint, "scope.running", "design 4.1"),
    portable!(waiting_task_is_told_at_once, "scope.waiting", "design 4.1"),
    portable!(clone_cancels_the_same_scope, "scope.clones", "design 4"),
    real_time!(cancel_from_another_thread_wakes, "scope.thread", "design 3"),
    real_time!(cancel_from_another_thread_reaches_code_that_does_not_yield, "scope.thread", "design 3"),
    portable!(cancel_reaches_grandchildren, "scope.inherited", "trio test_run.py::test_cancel_inheritance"),
    portable!(
        child_of_a_cancelled_scope_starts,
        "scope.precancelled",
        "trio test_run.py::test_precancelled_task, divergence 7"
    ),
    portable!(
        child_is_under_the_nursery_and_not_under_the_spawner,
        "scope.inherited",
        "trio test_run.py::test_cancel_inheritance"
    ),
    portable!(nursery_of_a_scope_is_cancelled_as_a_whole, "scope.nursery", "design 8"),
    portable!(
        empty_nursery_in_a_cancelled_scope_says_nothing,
        "scope.empty-nursery",
        "trio test_run.py::test_trivial_yields, divergence 5"
    ),
    portable!(
        locals_are_dropped_before_the_scope_is_left,
        "scope.locals",
        "trio test_run.py::test_locals_destroyed_promptly_on_cancel"
    ),
    portable!(debug_text_shows_the_phase, "scope.debug", "trio test_run.py::test_cancel_scope_repr"),
    portable!(error_that_is_no_cancellation_passes, "scope.errors", "divergence 4"),
];

async fn cancel_is_delivered_again_and_again() -> Result<()> {
    let (scope, told) = (CancelScope::new(), AtomicU32::new(0));
    let outcome = scope
        .run(async {
            scope.cancel();
            scope.cancel();
            for _ in 0..20 {
                told.fetch_add(u32::from(trine::checkpoint().await.is_err()), Ordering::Relaxed);
                told.fetch_add(u32::from(trine::sleep_forever().await.is_err()), Ordering::Relaxed);
            }
            checkpoint().await
        })
        .await?;
    assert_eq!((outcome, told.into_inner()), (None, 40));
    trine::checkpoint().await?;
    Ok(())
}

async fn caught_cancel_is_none() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(async {
            assert!(!scope.cancel_called());
            scope.cancel();
            assert!(scope.cancel_called() && !scope.cancelled_caught());
            checkpoint().await
        })
        .await?;
    assert_eq!(outcome, None);
    assert!(scope.cancel_called() && scope.cancelled_caught());
    Ok(())
}

async fn cancel_after_the_last_checkpoint_keeps_the_value() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(async {
            trine::checkpoint().await?;
            scope.cancel();
            Ok(7)
        })
        .await?;
    assert_eq!(outcome, Some(7));
    assert!(scope.cancel_called() && !scope.cancelled_caught());
    Ok(())
}

async fn left_scope_only_notes_the_cancel() -> Result<()> {
    let scope = CancelScope::new();
    assert_eq!(scope.run(checkpoint()).await?, Some(()));
    scope.cancel();
    trine::checkpoint().await?;
    assert!(scope.cancel_called() && !scope.cancelled_caught());
    Ok(())
}

async fn running_code_is_told_at_its_next_checkpoint() -> Result<()> {
    let (scope, log) = (CancelScope::new(), Log::default());
    scope
        .run(async {
            scope.cancel();
            log.add("runs on");
            trine::checkpoint().await?;
            log.add("never");
            Ok(())
        })
        .await?;
    assert_eq!(log.take(), ["runs on"]);
    Ok(())
}

async fn waiting_task_is_told_at_once() -> Result<()> {
    let scope = CancelScope::new();
    let start = trine::now();
    nursery(async |n| {
        let waiting = n.spawn(scope.run(after(100)));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        assert_eq!(waiting.await?, None);
        Ok(())
    })
    .await?;
    assert_eq!(trine::now(), start);
    Ok(())
}

async fn clone_cancels_the_same_scope() -> Result<()> {
    let scope = CancelScope::new();
    let (inside, other) = (scope.clone(), scope.clone());
    let outcome = scope
        .run(async move {
            inside.cancel_because("by a clone");
            checkpoint().await
        })
        .await?;
    assert_eq!(outcome, None);
    assert!(other.cancelled_caught());
    assert_eq!(other.reason().map(|reason| reason.to_string()).as_deref(), Some("by a clone"));
    Ok(())
}

async fn cancel_from_another_thread_wakes() -> Result<()> {
    for _ in 0..50 {
        let scope = CancelScope::new();
        let (begun, other) = (Flag::default(), scope.clone());
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            receive.recv().unwrap();
            other.cancel();
        });
        begun.set();
        let outcome = scope
            .run(async {
                send.send(()).unwrap();
                forever().await
            })
            .await?;
        assert_eq!(outcome, None);
        thread.join().unwrap();
    }
    Ok(())
}

async fn cancel_from_another_thread_reaches_code_that_does_not_yield() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(async {
            let other = scope.clone();
            std::thread::spawn(move || other.cancel()).join().unwrap();
            // Neither of these yields.
            assert!(scope.cancel_called());
            Ok(trine::checkpoint_if_cancelled()?)
        })
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn cancel_reaches_grandchildren() -> Result<()> {
    let (scope, told) = (CancelScope::new(), AtomicU32::new(0));
    let leaf = || async {
        let result = forever().await;
        told.fetch_add(1, Ordering::Relaxed);
        result
    };
    nursery(async |n| {
        let whole = n.spawn(scope.run(nursery(async |outer| {
            for _ in 0..3 {
                outer.start_soon(nursery(async |inner| {
                    inner.start_soon(leaf());
                    inner.start_soon(leaf());
                    leaf().await
                }));
            }
            Ok(())
        })));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        assert_eq!(whole.await?, None);
        Ok(())
    })
    .await?;
    assert_eq!(told.into_inner(), 9);
    Ok(())
}

async fn child_of_a_cancelled_scope_starts() -> Result<()> {
    let (scope, log) = (CancelScope::new(), Log::default());
    let outcome = scope
        .run(nursery(async |n| {
            scope.cancel();
            n.start_soon(async {
                log.add("started");
                trine::checkpoint().await?;
                log.add("went on");
                Ok(())
            });
            Ok(())
        }))
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["started"]));
    Ok(())
}

async fn child_is_under_the_nursery_and_not_under_the_spawner() -> Result<()> {
    let scope = CancelScope::new();
    let done = nursery(async |n| {
        let child = scope
            .run(async {
                scope.cancel();
                Ok(n.spawn(async {
                    trine::checkpoint().await?;
                    Ok(5)
                }))
            })
            .await?
            .expect("no checkpoint inside");
        Ok(child.await?)
    })
    .await?;
    assert_eq!(done, 5);
    Ok(())
}

async fn nursery_of_a_scope_is_cancelled_as_a_whole() -> Result<()> {
    let (scope, log) = (CancelScope::new(), Log::default());
    let outcome = scope
        .nursery(async |n| {
            n.start_soon(async {
                let result = forever().await;
                log.add("told");
                result
            });
            wait_all_tasks_blocked().await?;
            scope.cancel();
            let result = forever().await;
            log.add("told");
            result
        })
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["told"; 2]));
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn empty_nursery_in_a_cancelled_scope_says_nothing() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(async {
            scope.cancel();
            nursery(async |_| Ok(3)).await
        })
        .await?;
    assert_eq!(outcome, Some(3));
    assert!(!scope.cancelled_caught());
    Ok(())
}

async fn locals_are_dropped_before_the_scope_is_left() -> Result<()> {
    let (scope, live) = (CancelScope::new(), Live::default());
    let outcome = scope
        .run(nursery(async |n| {
            let (guard, before) = (live.guard(), live.guard());
            n.start_soon(async move {
                let _guard = guard;
                forever().await
            });
            wait_all_tasks_blocked().await?;
            drop(before);
            assert_eq!(live.count(), 1);
            scope.cancel();
            Ok(())
        }))
        .await?;
    assert_eq!((outcome, live.count()), (None, 0));
    Ok(())
}

async fn debug_text_shows_the_phase() -> Result<()> {
    let scope = CancelScope::new();
    let seen = Mutex::new(vec![format!("{scope:?}")]);
    scope
        .run(async {
            seen.lock().unwrap().push(format!("{scope:?}"));
            scope.cancel();
            seen.lock().unwrap().push(format!("{scope:?}"));
            Ok(())
        })
        .await?;
    seen.lock().unwrap().push(format!("{scope:?}"));
    let seen = seen.into_inner().unwrap();
    for (text, phase) in seen.iter().zip(["New", "Entered", "Entered", "Exited"]) {
        assert!(text.contains(phase), "{text}");
    }
    let shows: Vec<_> = seen.iter().map(|text| text.contains("Explicit")).collect();
    assert_eq!(shows, [false, false, true, true]);
    assert_eq!(scope.reason().map(|reason| reason.kind()), Some(ReasonKind::Explicit));
    Ok(())
}

async fn error_that_is_no_cancellation_passes() -> Result<()> {
    let scope = CancelScope::new();
    let error = scope
        .run(async {
            scope.cancel();
            trine::checkpoint().await.expect_err("cancelled");
            Err::<(), _>(Error::msg("boom"))
        })
        .await
        .expect_err("the error passes");
    assert_eq!(leaves(&error), ["boom"]);
    assert!(!scope.cancelled_caught());
    Ok(())
}
