//! `start`: which scopes the child is under, before, at and after `started`.

use super::nursery_tools::{Log, SECOND, after, error_of, fails_after, forever, oopses};
use crate::case::{Case, portable};
use trine::testing::wait_all_tasks_blocked;
use trine::{
    CancelScope, EffectiveDeadline, Result, TaskStatus, checkpoint, checkpoint_if_cancelled,
    current_effective_deadline, fail_after, move_on_after, nursery, shielded,
};

pub(super) const CASES: &[Case] = &[
    portable!(cancelled_caller_cancels_the_child, "start.caller-cancelled", "trio test_run.py::test_nursery_start"),
    portable!(call_in_a_cancelled_scope_runs_the_child_to_a_checkpoint, "start.unchecked", "design 3, divergence 7"),
    portable!(child_that_starts_in_a_cancelled_call_stays, "start.stays", "trio test_run.py::test_nursery_start"),
    portable!(error_of_a_child_that_stayed_is_the_caller_s, "start.stays", "divergence 6"),
    portable!(cancel_of_a_child_that_stayed_leaves_no_value, "start.stays", "divergence 6"),
    portable!(cancelled_target_reaches_the_child_when_it_moves, "start.target-cancelled", "divergence 6"),
    portable!(
        cancelled_target_wakes_the_sleepers_that_move_in,
        "start.target-cancelled",
        "trio test_run.py::test_nursery_start_with_cancelled_nursery"
    ),
    portable!(call_into_a_cancelled_target_still_gives_its_value, "start.target-cancelled", "divergence 6"),
    portable!(started_switches_scopes_in_the_middle_of_a_poll, "start.switches", "divergence 6"),
    portable!(started_takes_inner_scopes_along, "start.switches", "divergence 6"),
    portable!(started_takes_inner_shields_along, "start.switches", "divergence 6"),
    portable!(child_outlives_the_caller_s_timeout, "start.switches", "divergence 6"),
    portable!(cancel_children_leaves_a_pending_start_alone, "start.cancel-children", "design 3"),
    portable!(failed_target_leaves_a_pending_start_alone, "start.failed-target", "design 3"),
];

async fn cancelled_caller_cancels_the_child() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let outcome = move_on_after(
            SECOND,
            n.start(async |_: TaskStatus| {
                let result = forever().await;
                log.add("child");
                shielded(after(2, ())).await?;
                log.add("cleaned up");
                result
            }),
        )
        .await?;
        log.add("call");
        assert_eq!(outcome, None);
        // The nursery is not cancelled.
        Ok(checkpoint().await?)
    })
    .await?;
    assert_eq!(log.take(), ["child", "cleaned up", "call"]);
    Ok(())
}

/// `start` does not check first.
async fn call_in_a_cancelled_scope_runs_the_child_to_a_checkpoint() -> Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    scope.cancel();
    nursery(async |n| {
        let outcome = scope
            .run(n.start(async |status: TaskStatus| {
                log.add("ran");
                checkpoint().await?;
                log.add("went on");
                status.started(());
                Ok(())
            }))
            .await?;
        assert_eq!(outcome, None);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["ran"]);
    Ok(())
}

/// It is still cancelled after `started`; the call ends when it does, with the value.
async fn child_that_starts_in_a_cancelled_call_stays() -> Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    nursery(async |n| {
        let outcome = scope
            .run(n.start(async |status| {
                scope.cancel();
                status.started(1);
                assert!(checkpoint().await.is_err());
                shielded(after(1, ())).await?;
                log.add("child");
                Ok(())
            }))
            .await?;
        log.add("call");
        assert_eq!((outcome, scope.cancelled_caught()), (Some(1), false));
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["child", "call"]);
    Ok(())
}

async fn error_of_a_child_that_stayed_is_the_caller_s() -> Result<()> {
    let scope = CancelScope::new();
    nursery(async |n| {
        let error = error_of(
            scope
                .run(n.start(async |status: TaskStatus| {
                    scope.cancel();
                    status.started(());
                    shielded(fails_after(1, 1)).await
                }))
                .await,
        );
        assert_eq!((oopses(&error), error.is_group()), (vec![1], false));
        Ok(checkpoint().await?)
    })
    .await
}

async fn cancel_of_a_child_that_stayed_leaves_no_value() -> Result<()> {
    let scope = CancelScope::new();
    nursery(async |n| {
        let outcome = scope
            .run(n.start(async |status: TaskStatus| {
                scope.cancel();
                status.started(());
                forever().await
            }))
            .await?;
        assert_eq!((outcome, scope.cancelled_caught()), (None, true));
        Ok(checkpoint().await?)
    })
    .await
}

/// Before `started` it belongs to the caller, whatever becomes of the target.
async fn cancelled_target_reaches_the_child_when_it_moves() -> Result<()> {
    let log = Log::new();
    let scope = CancelScope::new();
    let caught = scope
        .nursery(async |target| {
            // The caller's side is behind a shield, the target is not.
            shielded(target.start(async |status: TaskStatus| {
                scope.cancel();
                checkpoint().await?;
                log.add("not yet");
                status.started(());
                assert!(checkpoint_if_cancelled().is_err());
                let result = forever().await;
                log.add("cancelled");
                result
            }))
            .await?;
            log.add("call");
            Ok(())
        })
        .await?;
    let mut events = log.take();
    assert_eq!(events.remove(0), "not yet");
    events.sort_unstable();
    assert_eq!((caught, events.join(" ").as_str()), (None, "call cancelled"));
    Ok(())
}

/// Tasks of the child that sleep when another says `started` are woken by the cancel that they move under.
async fn cancelled_target_wakes_the_sleepers_that_move_in() -> Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    let caught = scope
        .nursery(async |target| {
            scope.cancel();
            shielded(target.start(async |status: TaskStatus| {
                nursery(async |inner| {
                    for _ in 0..3 {
                        inner.start_soon(async {
                            let result = forever().await;
                            log.add("sleeper");
                            result
                        });
                    }
                    wait_all_tasks_blocked().await?;
                    status.started(());
                    Ok(())
                })
                .await
            }))
            .await
        })
        .await?;
    assert_eq!((caught, log.take().len()), (None, 3));
    Ok(())
}

async fn call_into_a_cancelled_target_still_gives_its_value() -> Result<()> {
    nursery(async |n| {
        n.cancel_children();
        let value = n
            .start(async |status| {
                // The children are cancelled; this is none yet.
                checkpoint().await?;
                status.started(3);
                forever().await
            })
            .await?;
        assert_eq!(value, 3);
        Ok(())
    })
    .await
}

async fn started_switches_scopes_in_the_middle_of_a_poll() -> Result<()> {
    let scope = CancelScope::after(SECOND * 100);
    let log = Log::new();
    nursery(async |n| {
        scope
            .run(n.start(async |status: TaskStatus| {
                assert!(matches!(current_effective_deadline(), EffectiveDeadline::At(_)));
                status.started(());
                assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
                scope.cancel();
                checkpoint().await?;
                after(1, ()).await?;
                log.add("untouched");
                Ok(())
            }))
            .await?;
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["untouched"]);
    Ok(())
}

/// A scope and a nursery that the child has entered before, with a child of its own.
async fn started_takes_inner_scopes_along() -> Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    nursery(async |n| {
        scope
            .run(n.start(async |status: TaskStatus| {
                let inner = nursery(async |inner| {
                    inner.start_soon(async {
                        after(2, ()).await?;
                        log.add("grandchild");
                        Ok(())
                    });
                    status.started(());
                    scope.cancel();
                    after(1, ()).await?;
                    log.add("child");
                    Ok(())
                });
                move_on_after(SECOND * 50, inner).await?;
                Ok(())
            }))
            .await?;
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["child", "grandchild"]);
    Ok(())
}

/// A shield entered before `started` goes on to shield, against the new scopes.
async fn started_takes_inner_shields_along() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        n.start(async |status: TaskStatus| {
            shielded(async {
                status.started(());
                after(3, ()).await?;
                log.add("behind the shield");
                Ok(())
            })
            .await?;
            let result = forever().await;
            log.add("cancelled");
            result
        })
        .await?;
        n.cancel_children();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["behind the shield", "cancelled"]);
    Ok(())
}

async fn child_outlives_the_caller_s_timeout() -> Result<()> {
    let (log, begin) = (Log::new(), trine::now());
    nursery(async |n| {
        let value = fail_after(
            SECOND * 2,
            n.start(async |status| {
                after(1, ()).await?;
                status.started(9);
                after(10, ()).await?;
                log.add("ended");
                Ok(())
            }),
        )
        .await?;
        assert_eq!(value, 9);
        Ok(())
    })
    .await?;
    assert_eq!((log.take().len(), trine::now() - begin), (1, SECOND * 11));
    Ok(())
}

/// It is no child yet.
async fn cancel_children_leaves_a_pending_start_alone() -> Result<()> {
    nursery(async |n| {
        let value = n
            .start(async |status| {
                n.cancel_children();
                after(1, ()).await?;
                status.started(1);
                assert!(checkpoint().await.is_err());
                Ok(())
            })
            .await?;
        assert_eq!(value, 1);
        Ok(())
    })
    .await
}

/// A call from outside of a nursery that fails meanwhile goes on until the child has started, and then hits the cancel.
async fn failed_target_leaves_a_pending_start_alone() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    let (seen_tx, seen) = trine::channel(1);
    nursery(async |outer| {
        let failing = outer.spawn(async move {
            let result = nursery(async |target| {
                tx.send(target.spawner()).await?;
                fails_after(1, 1).await
            })
            .await;
            Ok(oopses(&error_of(result)))
        });
        let target = rx.recv().await?;
        let value = target
            .start(|status| async move {
                after(2, ()).await?;
                status.started(4);
                // The child of a spawner moves when it has been polled.
                trine::shielded_checkpoint().await;
                let told = checkpoint_if_cancelled().is_err();
                seen_tx.try_send(told).map_err(|error| error.kind)?;
                Ok(())
            })
            .await?;
        assert_eq!((value, seen.recv().await?, failing.await?), (4, true, vec![1]));
        Ok(())
    })
    .await
}
