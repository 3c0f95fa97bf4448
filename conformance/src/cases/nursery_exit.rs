//! Nurseries: their exit, their sizes, scopes as nurseries, stopping the children without the body.

use super::nursery_tools::{Live, Log, SECOND, after, error_of, fails_when_cancelled, forever, oopses, yield_once};
use crate::case::{Case, portable};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Error, checkpoint, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(exit_is_no_cancel_point, "nursery.exit-uncancelled", "divergence 5"),
    portable!(exit_in_a_cancelled_scope_has_only_the_body_s_error, "nursery.exit-uncancelled", "divergence 5"),
    portable!(exit_waits_behind_a_cancel_without_a_cancel_of_its_own, "nursery.exit-uncancelled", "divergence 5"),
    portable!(child_in_a_cancelled_scope_runs_to_its_first_checkpoint, "nursery.precancelled", "divergence 7"),
    portable!(child_moved_into_a_cancelled_nursery_is_released, "nursery.precancelled", "divergence 7"),
    portable!(cancel_children_leaves_the_body, "nursery.cancel-children", "design 3"),
    portable!(cancel_children_reaches_those_to_come, "nursery.cancel-children", "design 3"),
    portable!(cancel_children_keeps_real_errors, "nursery.cancel-children", "design 3"),
    portable!(cancel_children_respects_shields, "nursery.cancel-children", "design 3"),
    portable!(cancel_reaches_grandchildren, "nursery.cancel-inherited", "trio test_run.py::test_cancel_inheritance"),
    portable!(ten_thousand_children_end, "nursery.many", "design 3"),
    portable!(ten_thousand_children_are_cancelled, "nursery.many", "design 3"),
    portable!(forty_nurseries_nest, "nursery.deep", "design 3"),
    portable!(large_and_aligned_children_are_kept, "nursery.layout", "design 3"),
    portable!(scope_as_nursery_stops_body_and_children, "nursery.in-scope", "design 3"),
    portable!(scope_as_nursery_passes_value_and_error_on, "nursery.in-scope", "design 3"),
    portable!(scope_as_nursery_has_a_deadline, "nursery.in-scope", "design 3"),
];

/// An empty nursery in a cancelled scope ends with its value.
async fn exit_is_no_cancel_point() -> trine::Result<()> {
    let scope = CancelScope::new();
    scope.cancel();
    let value = scope.run(nursery(async |_| Ok(7))).await?;
    assert_eq!((value, scope.cancelled_caught()), (Some(7), false));
    Ok(())
}

/// The real error of a body is not replaced, nor joined by a cancellation.
async fn exit_in_a_cancelled_scope_has_only_the_body_s_error() -> trine::Result<()> {
    let scope = CancelScope::new();
    scope.cancel();
    let error = error_of(
        scope
            .run(async {
                let error = error_of(nursery(async |_| trine::Result::<()>::Err(Error::msg("body"))).await);
                assert!(error.is_group() && !error.has_cancelled());
                trine::Result::<()>::Err(error)
            })
            .await,
    );
    assert_eq!((error.errors().len(), error.to_string().as_str()), (1, "body"));
    assert!(!scope.cancelled_caught());
    Ok(())
}

/// The body has its value and waits for a child that cleans up when the scope around is cancelled.
async fn exit_waits_behind_a_cancel_without_a_cancel_of_its_own() -> trine::Result<()> {
    let (start, scope) = (trine::now(), CancelScope::after(SECOND));
    let value = scope
        .run(nursery(async |n| {
            n.start_soon(async {
                assert!(trine::sleep_forever().await.is_err());
                shielded(after(4, ())).await
            });
            Ok(7)
        }))
        .await?;
    assert_eq!((value, scope.cancelled_caught(), trine::now() - start), (Some(7), false, SECOND * 5));
    Ok(())
}

async fn child_in_a_cancelled_scope_runs_to_its_first_checkpoint() -> trine::Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    scope.cancel();
    let result = scope
        .run(nursery(async |n| {
            n.start_soon(async {
                log.add("ran");
                checkpoint().await?;
                log.add("went on");
                Ok(())
            });
            Ok(())
        }))
        .await?;
    assert_eq!((result, log.take()), (None, vec!["ran".to_owned()]));
    Ok(())
}

/// What was moved into a child that never got further is dropped before the nursery ends.
async fn child_moved_into_a_cancelled_nursery_is_released() -> trine::Result<()> {
    let live = Live::new();
    nursery(async |n| {
        n.cancel_children();
        for _ in 0..10 {
            let guard = live.guard();
            n.start_soon(async move {
                let _guard = guard;
                forever().await
            });
        }
        assert_eq!(live.count(), 10);
        wait_all_tasks_blocked().await?;
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await
}

async fn cancel_children_leaves_the_body() -> trine::Result<()> {
    let log = Log::new();
    let value = nursery(async |n| {
        for _ in 0..2 {
            n.start_soon(async {
                let result = forever().await;
                log.add("child");
                result
            });
        }
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        n.cancel_children();
        after(1, ()).await?;
        log.add("body");
        Ok(5)
    })
    .await?;
    assert_eq!((value, log.take().join(" ").as_str()), (5, "child child body"));
    Ok(())
}

async fn cancel_children_reaches_those_to_come() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        n.cancel_children();
        after(1, ()).await?;
        n.start_soon(async {
            assert!(trine::checkpoint_if_cancelled().is_err());
            n.start_soon(async {
                assert!(trine::checkpoint_if_cancelled().is_err());
                log.add("grandchild");
                Ok(())
            });
            Ok(())
        });
        after(1, ()).await
    })
    .await?;
    assert_eq!(log.take(), ["grandchild"]);
    Ok(())
}

async fn cancel_children_keeps_real_errors() -> trine::Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.start_soon(forever());
            n.start_soon(fails_when_cancelled(2));
            wait_all_tasks_blocked().await?;
            n.cancel_children();
            // The error cancels the body, as any other.
            forever().await
        })
        .await,
    );
    assert_eq!((oopses(&error), error.has_cancelled()), (vec![2], false));
    Ok(())
}

async fn cancel_children_respects_shields() -> trine::Result<()> {
    let start = trine::now();
    nursery(async |n| {
        let shielded = n.spawn(shielded(after(3, "whole")));
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        assert_eq!(shielded.await?, "whole");
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - start, SECOND * 3);
    Ok(())
}

/// Through three levels of nurseries and the scopes between, each told once.
async fn cancel_reaches_grandchildren() -> trine::Result<()> {
    let (count, scope) = (Mutex::new(0), CancelScope::new());
    let leaf = async || {
        let result = forever().await;
        *count.lock().unwrap() += 1;
        result
    };
    let caught = scope
        .nursery(async |top| {
            for _ in 0..2 {
                let count = &count;
                top.start_soon(nursery(async move |middle| {
                    for _ in 0..2 {
                        middle.start_soon(async {
                            let result = forever().await;
                            *count.lock().unwrap() += 1;
                            result
                        });
                    }
                    trine::move_on_after(SECOND * 100, nursery(async |_| forever().await)).await?;
                    Ok(())
                }));
            }
            wait_all_tasks_blocked().await?;
            scope.cancel();
            leaf().await
        })
        .await?;
    assert_eq!((caught, count.into_inner().unwrap()), (None, 5));
    Ok(())
}

async fn ten_thousand_children_end() -> trine::Result<()> {
    let sum = Mutex::new(0_u32);
    nursery(async |n| {
        for i in 0..10_000 {
            let sum = &sum;
            n.start_soon(async move {
                after(i % 3, ()).await?;
                *sum.lock().unwrap() += i;
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(sum.into_inner().unwrap(), 49_995_000);
    Ok(())
}

async fn ten_thousand_children_are_cancelled() -> trine::Result<()> {
    let live = Live::new();
    let error = error_of(
        nursery(async |n| {
            for _ in 0..10_000 {
                let guard = live.guard();
                n.start_soon(async move {
                    let _guard = guard;
                    forever().await
                });
            }
            wait_all_tasks_blocked().await?;
            trine::Result::<()>::Err(Error::msg("enough"))
        })
        .await,
    );
    assert_eq!((error.leaves().count(), live.count()), (1, 0));
    Ok(())
}

fn nested<'a>(depth: u32, log: &'a Log) -> Pin<Box<dyn Future<Output = trine::Result<u32>> + Send + 'a>> {
    Box::pin(nursery(async move |n| {
        if depth == 0 {
            after(1, ()).await?;
            log.add("bottom");
            return Ok(0);
        }
        Ok(n.spawn(nested(depth - 1, log)).await? + 1)
    }))
}

/// Each in a child of the one around.
async fn forty_nurseries_nest() -> trine::Result<()> {
    let log = Log::new();
    assert_eq!((nested(40, &log).await?, log.take()), (40, vec!["bottom".to_owned()]));
    let scope = CancelScope::new();
    let caught = scope
        .nursery(async |n| {
            n.start_soon(async { nested(40, &log).await.map(drop) });
            yield_once().await;
            scope.cancel();
            Ok(())
        })
        .await?;
    assert_eq!((caught, log.take().len()), (None, 0));
    Ok(())
}

async fn large_and_aligned_children_are_kept() -> trine::Result<()> {
    #[repr(align(256))]
    struct Wide(u8);
    nursery(async |n| {
        let (big, wide) = ([3_u8; 5_000], Wide(1));
        let sum = n.spawn(async move {
            checkpoint().await?;
            Ok(big.iter().map(|byte| u32::from(*byte)).sum::<u32>())
        });
        n.start_soon(async move {
            let wide = wide;
            checkpoint().await?;
            assert_eq!(((&raw const wide).addr() % 256, wide.0), (0, 1));
            Ok(())
        });
        assert_eq!(sum.await?, 15_000);
        Ok(())
    })
    .await
}

async fn scope_as_nursery_stops_body_and_children() -> trine::Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    let caught = scope
        .nursery(async |n| {
            n.start_soon(async {
                let result = forever().await;
                log.add("child");
                result
            });
            n.start_soon(async {
                after(1, ()).await?;
                scope.cancel_because("enough");
                Ok(())
            });
            let result = forever().await;
            log.add("body");
            result
        })
        .await?;
    let mut events = log.take();
    events.sort_unstable();
    assert_eq!((caught, events.join(" ").as_str()), (None, "body child"));
    assert!(scope.cancelled_caught());
    assert_eq!(scope.reason().and_then(|reason| reason.message().map(str::to_owned)).as_deref(), Some("enough"));
    Ok(())
}

/// With nothing cancelled a value is `Some`, and an error comes in a group, which cancelled the scope.
async fn scope_as_nursery_passes_value_and_error_on() -> trine::Result<()> {
    let scope = CancelScope::new();
    assert_eq!(scope.nursery(async |_| Ok(2)).await?, Some(2));
    assert!(!scope.cancel_called());
    let failing = CancelScope::new();
    let error = error_of(
        failing
            .nursery(async |n| {
                n.start_soon(async { Err(Error::msg("child")) });
                forever().await
            })
            .await,
    );
    assert!(error.is_group() && error.to_string() == "child" && failing.cancel_called());
    Ok(())
}

async fn scope_as_nursery_has_a_deadline() -> trine::Result<()> {
    let (start, scope) = (trine::now(), CancelScope::after(SECOND));
    let caught = scope
        .nursery(async |n| {
            n.start_soon(forever());
            Ok(3)
        })
        .await?;
    // The body had a value, but a child was cut.
    assert_eq!((caught, trine::now() - start), (None, SECOND));
    Ok(())
}
