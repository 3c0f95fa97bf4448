//! Futures that know nothing of cancellation, inside of scopes.

use super::cancel_tools::{Flag, Live, Log, SECOND, after, checkpoint, foreign, forever, yield_once};
use crate::case::{Case, portable};
use futures_util::FutureExt;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, EffectiveDeadline, Error, Result, cancellable, isolated, move_on_after, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(pending_future_is_dropped, "foreign.dropped", "design 4.4"),
    portable!(ready_future_keeps_its_value, "foreign.value", "design 4.4, divergence 3"),
    portable!(future_that_becomes_ready_with_the_cancel_gives_its_value, "foreign.value", "design 4.4"),
    portable!(unfinished_section_keeps_the_future, "foreign.section", "design 4.4"),
    portable!(scope_cancelled_in_its_own_poll_is_polled_once_more, "foreign.second-poll", "design 4.4"),
    portable!(wait_polled_before_the_cancel_in_the_same_poll_is_told, "foreign.second-poll", "design 4.4"),
    portable!(innermost_scope_is_judged_first, "foreign.innermost", "design 4.4"),
    portable!(code_around_an_inner_scope_cleans_up, "foreign.innermost", "design 4.4"),
    portable!(cancellable_is_told_and_drops_the_future_first, "foreign.cancellable", "design 4.4"),
    portable!(cancellable_gives_the_value, "foreign.cancellable", "design 4.4"),
    portable!(cancellable_knows_a_shield_inside, "foreign.cancellable", "design 4.4"),
    portable!(isolated_future_sees_neither_scope_nor_task, "foreign.isolated", "design 3"),
    portable!(isolated_future_is_dropped_by_a_cancelled_scope, "foreign.isolated", "design 4.4"),
    portable!(shared_future_passes_no_cancel_if_isolated, "foreign.isolated", "design 4.4"),
    portable!(lift_maps_the_error, "foreign.lift", "design 5"),
    portable!(loop_that_ignores_cancelled_is_ended, "foreign.ignorant", "design 4.4"),
    portable!(child_that_ignores_cancelled_is_ended, "foreign.ignorant", "design 4.4"),
    portable!(each_child_has_sections_of_its_own, "foreign.section", "design 4.4"),
    portable!(select_drops_a_shield_as_any_future, "foreign.select", "design 4.4"),
    portable!(join_with_a_stuck_branch_ends_when_the_other_was_told, "foreign.join", "design 4.4"),
    portable!(future_moved_out_of_a_cancelled_scope_is_not_stuck, "foreign.moved", "design 3"),
    portable!(half_run_timeout_goes_on_in_another_task, "foreign.moved", "design 3"),
];

async fn pending_future_is_dropped() -> Result<()> {
    let (live, start) = (Live::default(), trine::now());
    let outcome = move_on_after(SECOND, async {
        let _guard = live.guard();
        foreign().await
    })
    .await?;
    assert_eq!((outcome, live.count(), trine::now() - start), (None, 0, SECOND));
    Ok(())
}

async fn ready_future_keeps_its_value() -> Result<()> {
    let scope = CancelScope::new();
    scope.cancel();
    assert_eq!(scope.run(async { Ok(std::future::ready(3).await) }).await?, Some(3));
    assert!(!scope.cancelled_caught());
    Ok(())
}

async fn future_that_becomes_ready_with_the_cancel_gives_its_value() -> Result<()> {
    let (flag, scope) = (Flag::default(), CancelScope::new());
    nursery(async |n| {
        let waiting = n.spawn(scope.run(flag.wait().map(Ok)));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        flag.set();
        assert_eq!(waiting.await?, Some(()));
        Ok(())
    })
    .await
}

async fn unfinished_section_keeps_the_future() -> Result<()> {
    let (live, start) = (Live::default(), trine::now());
    let outcome = move_on_after(SECOND, async {
        let _guard = live.guard();
        futures_util::join!(shielded(after(3)), pending::<()>()).0
    })
    .await?;
    // Dropped when the section has ended, and not before.
    assert_eq!((outcome, live.count(), trine::now() - start), (None, 0, SECOND * 3));
    Ok(())
}

async fn scope_cancelled_in_its_own_poll_is_polled_once_more() -> Result<()> {
    let (scope, polls) = (CancelScope::new(), AtomicU32::new(0));
    let outcome = scope
        .run(poll_fn(|_| {
            if polls.fetch_add(1, Ordering::Relaxed) == 0 {
                scope.cancel();
                return Poll::Pending;
            }
            Poll::Ready(Ok(9))
        }))
        .await?;
    assert_eq!((outcome, polls.into_inner()), (Some(9), 2));
    Ok(())
}

async fn wait_polled_before_the_cancel_in_the_same_poll_is_told() -> Result<()> {
    let scope = CancelScope::new();
    let told = scope
        .run(async {
            let (leaf, ()) = futures_util::join!(trine::sleep_forever(), async { scope.cancel() });
            Ok(leaf.is_err())
        })
        .await?;
    assert_eq!(told, Some(true));
    Ok(())
}

async fn innermost_scope_is_judged_first() -> Result<()> {
    let log = Log::default();
    let outcome = move_on_after(SECOND, async {
        let middle = CancelScope::new()
            .run(async {
                let inner = CancelScope::new().run(foreign()).await;
                log.add(if inner.is_err() { "inner told" } else { "inner caught" });
                inner
            })
            .await;
        log.add(if middle.is_err() { "middle told" } else { "middle caught" });
        middle
    })
    .await?;
    assert_eq!((outcome, log.take()), (None, vec!["inner told", "middle told"]));
    Ok(())
}

async fn code_around_an_inner_scope_cleans_up() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    let outcome = move_on_after(SECOND, async {
        let inner = move_on_after(SECOND * 60, foreign()).await;
        shielded(after(1)).await?;
        log.add("cleaned up");
        inner
    })
    .await?;
    assert_eq!((outcome, log.take(), trine::now() - start), (None, vec!["cleaned up"], SECOND * 2));
    Ok(())
}

async fn cancellable_is_told_and_drops_the_future_first() -> Result<()> {
    let (live, log) = (Live::default(), Log::default());
    let outcome = move_on_after(SECOND, async {
        let guard = live.guard();
        let result = cancellable(async move {
            let _guard = guard;
            pending::<()>().await
        })
        .await;
        assert_eq!(live.count(), 0);
        log.add("told");
        Ok(result?)
    })
    .await?;
    assert_eq!((outcome, log.take()), (None, vec!["told"]));
    Ok(())
}

async fn cancellable_gives_the_value() -> Result<()> {
    let flag = Flag::default();
    let value = nursery(async |n| {
        n.start_soon(async {
            after(1).await?;
            flag.set();
            Ok(())
        });
        Ok(cancellable(flag.wait().map(|()| 5)).await?)
    })
    .await?;
    assert_eq!(value, 5);
    Ok(())
}

async fn cancellable_knows_a_shield_inside() -> Result<()> {
    let start = trine::now();
    let outcome = move_on_after(SECOND, async { cancellable(shielded(after(4))).await? }).await?;
    assert_eq!((outcome, trine::now() - start), (Some(()), SECOND * 4));
    Ok(())
}

async fn isolated_future_sees_neither_scope_nor_task() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            scope.cancel();
            isolated(async {
                assert_eq!(trine::current_effective_deadline(), EffectiveDeadline::Never);
                assert!(trine::inspect::current_task().is_none());
                trine::checkpoint_if_cancelled().expect("no scope here");
            })
            .await;
            assert!(trine::inspect::current_task().is_some());
            trine::checkpoint_if_cancelled().expect_err("the scope is back");
            Ok(())
        })
        .await?;
    Ok(())
}

async fn isolated_future_is_dropped_by_a_cancelled_scope() -> Result<()> {
    let live = Live::default();
    let outcome = move_on_after(SECOND, async {
        let guard = live.guard();
        isolated(async move {
            let _guard = guard;
            foreign().await
        })
        .await
    })
    .await?;
    assert_eq!((outcome, live.count()), (None, 0));
    Ok(())
}

async fn shared_future_passes_no_cancel_if_isolated() -> Result<()> {
    let flag = Flag::default();
    let value = nursery(async |n| {
        let shared = isolated({
            let flag = flag.clone();
            async move { flag.wait().map(|()| 7).await }
        })
        .boxed()
        .shared();
        let cut = n.spawn(move_on_after(SECOND, shared.clone().map(Ok)));
        assert_eq!(cut.await?, None);
        flag.set();
        Ok(shared.await)
    })
    .await?;
    assert_eq!(value, 7);
    Ok(())
}

async fn lift_maps_the_error() -> Result<()> {
    assert_eq!(move_on_after(SECOND, trine::lift(async { "12".parse::<u8>() })).await?, Some(12));
    let error = move_on_after(SECOND, trine::lift(async { "x".parse::<u8>() })).await.expect_err("no number");
    assert!(error.find::<std::num::ParseIntError>().is_some());
    Ok(())
}

async fn loop_that_ignores_cancelled_is_ended() -> Result<()> {
    let (live, log, told) = (Live::default(), Log::default(), AtomicU32::new(0));
    nursery(async |n| {
        n.start_soon(async {
            let scope = CancelScope::new();
            scope.cancel();
            let outcome = scope
                .run(async {
                    let _guard = live.guard();
                    loop {
                        let _ = trine::checkpoint().await;
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .await?;
            let _: Option<()> = outcome;
            log.add("ignorant");
            Ok(())
        });
        for _ in 0..20 {
            trine::checkpoint().await?;
        }
        log.add("sibling");
        Ok(())
    })
    .await?;
    assert_eq!((log.take(), live.count()), (vec!["sibling", "ignorant"], 0));
    // A thousand in one poll, then at most a hundred rounds.
    let told = told.into_inner();
    assert!((1_000..=200_000).contains(&told), "{told}");
    Ok(())
}

async fn child_that_ignores_cancelled_is_ended() -> Result<()> {
    let (live, log) = (Live::default(), Log::default());
    let outcome = move_on_after(
        SECOND,
        nursery(async |n| {
            n.start_soon(async {
                let _guard = live.guard();
                loop {
                    let _ = after(1).await;
                }
            });
            n.start_soon(async {
                let result = forever().await;
                log.add("told");
                result
            });
            forever().await
        }),
    )
    .await?;
    assert_eq!((outcome, live.count(), log.take()), (None, 0, vec!["told"]));
    Ok(())
}

async fn each_child_has_sections_of_its_own() -> Result<()> {
    let (live, start) = (Live::default(), trine::now());
    move_on_after(
        SECOND,
        nursery(async |n| {
            n.start_soon(async {
                let _guard = live.guard();
                foreign().await
            });
            n.start_soon(async {
                shielded(async {
                    after(4).await?;
                    // The sibling that is foreign did not wait for this section.
                    assert_eq!((live.count(), trine::now() - start), (0, SECOND * 4));
                    Ok(())
                })
                .await
            });
            foreign().await
        }),
    )
    .await?;
    assert_eq!(trine::now() - start, SECOND * 4);
    Ok(())
}

async fn select_drops_a_shield_as_any_future() -> Result<()> {
    let (live, start) = (Live::default(), trine::now());
    let outcome = move_on_after(SECOND, async {
        let shield = shielded(async {
            let _guard = live.guard();
            after(99).await
        })
        .fuse();
        let other = after(2).fuse();
        futures_util::pin_mut!(shield, other);
        futures_util::select! { result = shield => result, result = other => result }
    })
    .await?;
    assert_eq!((outcome, live.count(), trine::now() - start), (None, 0, SECOND));
    Ok(())
}

async fn join_with_a_stuck_branch_ends_when_the_other_was_told() -> Result<()> {
    let log = Log::default();
    let told = async {
        let result = forever().await;
        log.add("told");
        result
    };
    let outcome = move_on_after(SECOND, async { futures_util::join!(told, pending::<()>()).0 }).await?;
    assert_eq!((outcome, log.take()), (None, vec!["told"]));
    Ok(())
}

async fn future_moved_out_of_a_cancelled_scope_is_not_stuck() -> Result<()> {
    nursery(async |n| {
        let (tx, rx) = trine::channel(0);
        let mut recv = Box::pin(async move { Ok::<u8, Error>(rx.recv().await?) });
        let scope = CancelScope::new();
        scope
            .run(async {
                assert!(super::cancel_tools::poll_here(&mut recv).await.is_pending());
                Ok(())
            })
            .await?;
        let child = n.spawn(recv);
        scope.cancel();
        wait_all_tasks_blocked().await?;
        tx.send(4).await?;
        assert_eq!(child.await?, 4);
        Ok(())
    })
    .await
}

async fn half_run_timeout_goes_on_in_another_task() -> Result<()> {
    let start = trine::now();
    nursery(async |n| {
        let mut waits = Box::pin(move_on_after(SECOND * 3, async {
            yield_once().await;
            checkpoint().await?;
            forever().await
        }));
        assert!(super::cancel_tools::poll_here(&mut waits).await.is_pending());
        after(1).await?;
        assert_eq!(n.spawn(waits).await?, None);
        assert_eq!(trine::now() - start, SECOND * 3);
        Ok(())
    })
    .await
}
