//! Cancellations among the errors of nurseries: who strips them, and who is told.

use super::nursery_tools::{
    Log, Oops, SECOND, after, cleans_up, error_of, fails_after, fails_when_cancelled, forever, oopses,
};
use crate::case::{Case, portable};
use std::sync::Mutex;
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Cancelled, ReasonKind, Result, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(own_scope_strips_what_an_outer_one_did_not_cancel, "nursery.strip", "divergence 4"),
    portable!(
        outer_scope_strips_through_groups,
        "nursery.strip-outside",
        "trio test_run.py::test_cancel_scope_exceptiongroup_filtering, divergence 4"
    ),
    portable!(many_cancellations_count_as_one, "nursery.cancellations-merge", "design 5"),
    portable!(children_that_swallow_a_cancel_are_no_errors, "nursery.swallowed", "design 3"),
    portable!(stray_cancellation_of_a_child_is_stripped, "nursery.stray", "divergence 4"),
    portable!(stray_cancellation_of_the_body_goes_on, "nursery.stray", "divergence 4"),
    portable!(siblings_are_told_that_the_nursery_failed, "nursery.reason", "design 4"),
    portable!(child_spawned_after_the_error_is_cancelled_too, "nursery.late-child", "divergence 7"),
    portable!(error_beside_an_outer_cancel_comes_out, "nursery.error-and-cancel", "divergence 4"),
];

/// The nursery that failed catches: its cancellations are its own.
async fn own_scope_strips_what_an_outer_one_did_not_cancel() -> Result<()> {
    let scope = CancelScope::new();
    let error = error_of(
        scope
            .run(async {
                let error = error_of(
                    nursery(async |n| {
                        n.start_soon(forever());
                        n.start_soon(nursery(async |inner| {
                            inner.start_soon(forever());
                            forever().await
                        }));
                        n.start_soon(fails_after(1, 1));
                        forever().await
                    })
                    .await,
                );
                assert!(!error.has_cancelled());
                // No one else is cancelled.
                checkpoint().await?;
                Result::<()>::Err(error)
            })
            .await,
    );
    assert_eq!((error.leaves().count(), scope.cancel_called()), (1, false));
    Ok(())
}

/// Under a cancelled scope a nursery leaves all cancellations in its group; the scope takes them out, and what is left
/// keeps its place.
async fn outer_scope_strips_through_groups() -> Result<()> {
    let scope = CancelScope::new();
    let error = error_of(
        scope
            .run(async {
                let error = error_of(
                    nursery(async |n| {
                        n.start_soon(forever());
                        n.start_soon(fails_when_cancelled(1));
                        wait_all_tasks_blocked().await?;
                        scope.cancel();
                        forever().await
                    })
                    .await,
                );
                assert_eq!(oopses(&error), [1]);
                assert!(error.is_group() && error.has_cancelled() && !error.is_cancelled());
                Result::<()>::Err(error)
            })
            .await,
    );
    assert!(error.is_group() && !error.has_cancelled());
    assert_eq!((error.errors().len(), oopses(&error)), (1, vec![1]));
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn children_that_swallow_a_cancel_are_no_errors() -> Result<()> {
    let swallow = || async {
        let _ = trine::sleep_forever().await;
        Ok(())
    };
    let scope = CancelScope::after(SECOND);
    let value = scope
        .run(nursery(async |n| {
            n.start_soon(swallow());
            n.start_soon(swallow());
            swallow().await?;
            Ok(4)
        }))
        .await?;
    assert_eq!((value, scope.cancelled_caught()), (Some(4), false));
    Ok(())
}

/// A cancellation kept from a scope that has ended.
async fn stray() -> Result<Cancelled> {
    let scope = CancelScope::new();
    scope.cancel();
    let kept = scope.run(async { Ok(checkpoint().await.expect_err("cancelled")) }).await?;
    Ok(kept.expect("the scope caught nothing"))
}

/// It cancels the nursery, as any error, and the nursery's scope takes it out again: the body's value is left.
async fn stray_cancellation_of_a_child_is_stripped() -> Result<()> {
    let (log, stray) = (Log::new(), stray().await?);
    let value = nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.start_soon(async {
            after(1, ()).await?;
            Err(stray.into())
        });
        let _ = trine::sleep_forever().await;
        Ok("value")
    })
    .await?;
    assert_eq!((value, log.take().len()), ("value", 1));
    checkpoint().await?;
    Ok(())
}

/// Then there is no value, so it cannot end as if nothing was.
async fn stray_cancellation_of_the_body_goes_on() -> Result<()> {
    let (log, stray) = (Log::new(), stray().await?);
    let error = error_of(
        nursery(async |n| {
            n.start_soon(cleans_up(&log));
            wait_all_tasks_blocked().await?;
            Result::<()>::Err(stray.into())
        })
        .await,
    );
    assert_eq!((error.is_cancelled(), log.take().len()), (true, 1));
    Ok(())
}

async fn siblings_are_told_that_the_nursery_failed() -> Result<()> {
    let reasons = Mutex::new(Vec::new());
    error_of(
        nursery(async |n| {
            n.start_soon(async {
                let Err(cancelled) = trine::sleep_forever().await;
                reasons.lock().unwrap().push(cancelled.reason().kind());
                Ok(())
            });
            n.start_soon(fails_after(1, 1));
            let Err(cancelled) = trine::sleep_forever().await;
            reasons.lock().unwrap().push(cancelled.reason().kind());
            Ok(())
        })
        .await,
    );
    assert_eq!(*reasons.lock().unwrap(), [ReasonKind::Nursery; 2]);
    Ok(())
}

async fn child_spawned_after_the_error_is_cancelled_too() -> Result<()> {
    let log = Log::new();
    error_of(
        nursery(async |n| {
            n.start_soon(async { Err(Oops(1).into()) });
            let _ = trine::sleep_forever().await;
            n.start_soon(async {
                log.add("ran");
                checkpoint().await?;
                log.add("went on");
                Ok(())
            });
            Ok(())
        })
        .await,
    );
    assert_eq!(log.take(), ["ran"]);
    Ok(())
}

/// Inner nursery failed and outer scope cancelled in the same moment: the error stays, in its group.
async fn error_beside_an_outer_cancel_comes_out() -> Result<()> {
    let scope = CancelScope::new();
    let result = scope
        .run(nursery(async |n| {
            n.start_soon(async {
                after(1, ()).await?;
                scope.cancel();
                Err(Oops(1).into())
            });
            n.start_soon(forever());
            forever().await
        }))
        .await;
    let error = error_of(result);
    assert_eq!((oopses(&error), error.leaves().count(), scope.cancelled_caught()), (vec![1], 1, true));
    Ok(())
}

/// A thousand cancelled children are no group of a thousand.
async fn many_cancellations_count_as_one() -> Result<()> {
    let scope = CancelScope::new();
    let caught = scope
        .run(async {
            let error = error_of(
                nursery(async |n| {
                    for _ in 0..1_000 {
                        n.start_soon(forever());
                    }
                    wait_all_tasks_blocked().await?;
                    scope.cancel();
                    forever().await
                })
                .await,
            );
            assert!(error.is_group() && error.is_cancelled());
            assert_eq!(error.leaves().count(), 1);
            Result::<()>::Err(error)
        })
        .await?;
    assert_eq!(caught, None);
    Ok(())
}
