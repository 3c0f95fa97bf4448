//! Futures polled by an executor inside a task: `FuturesUnordered`, `join_all`, the races and joins of others.

use super::cancel_tools::{BLOCKED, Flag, Live, Log, Op, SECOND, after, foreign, forever};
use crate::case::{Case, portable};
use futures_concurrency::future::{Join, Race, TryJoin};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use trine::{CancelScope, Result, move_on_after, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(all_in_futures_unordered_are_told, "subexecutor.told", "design 3"),
    portable!(all_in_join_all_are_told, "subexecutor.told", "design 3"),
    portable!(all_in_a_concurrent_join_are_told, "subexecutor.told", "design 3"),
    portable!(all_in_nested_ones_are_told, "subexecutor.told", "design 3"),
    portable!(a_thousand_are_told, "subexecutor.told", "design 4.4"),
    portable!(every_kind_of_wait_is_told, "subexecutor.every-wait", "design 3, divergence 1"),
    portable!(every_one_is_told_again, "subexecutor.level", "divergence 1"),
    portable!(shield_behind_it_holds, "subexecutor.shield", "design 4.4"),
    portable!(clean_up_of_each_is_awaited, "subexecutor.clean-up", "design 4.4"),
    portable!(scope_behind_it_ends_alone, "subexecutor.scope", "design 4"),
    portable!(timers_behind_it_come_in_order, "subexecutor.timers", "design 3"),
    portable!(nurseries_behind_it_run_their_children, "subexecutor.nursery", "design 3"),
    portable!(races_of_others_end_with_the_first, "subexecutor.race", "design 4.4"),
    portable!(joins_of_others_end_with_the_last, "subexecutor.join", "design 4.4"),
    portable!(foreign_ones_are_dropped, "subexecutor.dropped", "design 4.4"),
];

/// Runs so many waits as `run` says, in a scope that is cancelled after a second; returns how many were told.
async fn told_of<F>(count: u32, run: impl FnOnce(Vec<Op>) -> F) -> Result<u32>
where
    F: Future<Output = Vec<Result<()>>>,
{
    let waits = (0..count).map(|i| -> Op { Box::pin(after(100 + i)) }).collect();
    let told = move_on_after(SECOND, async { Ok(run(waits).await.iter().filter(|r| r.is_err()).count()) }).await?;
    Ok(u32::try_from(told.expect("the scope has nothing to drop")).expect("few"))
}

async fn all_in_futures_unordered_are_told() -> Result<()> {
    assert_eq!(told_of(50, |waits| waits.into_iter().collect::<FuturesUnordered<_>>().collect()).await?, 50);
    Ok(())
}

async fn all_in_join_all_are_told() -> Result<()> {
    assert_eq!(told_of(20, join_all).await?, 20);
    assert_eq!(told_of(100, join_all).await?, 100);
    Ok(())
}

async fn all_in_a_concurrent_join_are_told() -> Result<()> {
    assert_eq!(told_of(50, |waits| waits.join()).await?, 50);
    Ok(())
}

async fn all_in_nested_ones_are_told() -> Result<()> {
    let told = move_on_after(SECOND, async {
        let inner = |_| join_all((0..40).map(|_| forever()));
        let all: Vec<_> = (0..40).map(inner).collect::<FuturesUnordered<_>>().collect().await;
        Ok(all.into_iter().flatten().filter(Result::is_err).count())
    })
    .await?;
    assert_eq!(told, Some(1600));
    Ok(())
}

async fn a_thousand_are_told() -> Result<()> {
    assert_eq!(told_of(1000, |waits| waits.into_iter().collect::<FuturesUnordered<_>>().collect()).await?, 1000);
    Ok(())
}

async fn every_kind_of_wait_is_told() -> Result<()> {
    let told = AtomicU32::new(0);
    let outcome = move_on_after(SECOND, async {
        let waits = BLOCKED.iter().map(|(name, op)| {
            let told = &told;
            async move {
                let error = op().await.expect_err(name);
                assert!(error.is_cancelled(), "{name}: {error}");
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        waits.collect::<FuturesUnordered<_>>().collect::<Vec<()>>().await;
        Ok(())
    })
    .await?;
    assert_eq!((outcome, told.into_inner() as usize), (Some(()), BLOCKED.len()));
    Ok(())
}

async fn every_one_is_told_again() -> Result<()> {
    let told = AtomicU32::new(0);
    move_on_after(SECOND, async {
        let waits = (0..20).map(|_| async {
            for _ in 0..3 {
                forever().await.expect_err("cancelled");
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        waits.collect::<FuturesUnordered<_>>().collect::<Vec<()>>().await;
        Ok(())
    })
    .await?;
    assert_eq!(told.into_inner(), 60);
    Ok(())
}

async fn shield_behind_it_holds() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    move_on_after(SECOND, async {
        let mut all = FuturesUnordered::new();
        let shield = async {
            shielded(after(5)).await?;
            log.add("shielded");
            Ok(())
        };
        all.push(futures_util::future::Either::Left(shield));
        all.push(futures_util::future::Either::Right(foreign()));
        while all.next().await.is_some() {}
        Ok(())
    })
    .await?;
    assert_eq!((log.take(), trine::now() - start), (vec!["shielded"], SECOND * 5));
    Ok(())
}

async fn clean_up_of_each_is_awaited() -> Result<()> {
    let (cleaned, start) = (AtomicU32::new(0), trine::now());
    move_on_after(SECOND, async {
        let waits = (1..=10).map(|i| {
            let cleaned = &cleaned;
            async move {
                let result = forever().await;
                shielded(after(i)).await.ok();
                cleaned.fetch_add(1, Ordering::Relaxed);
                result
            }
        });
        let all: Vec<_> = waits.collect::<FuturesUnordered<_>>().collect().await;
        all.into_iter().collect::<Result<()>>()
    })
    .await?;
    assert_eq!((cleaned.into_inner(), trine::now() - start), (10, SECOND * 11));
    Ok(())
}

async fn scope_behind_it_ends_alone() -> Result<()> {
    let scope = CancelScope::new();
    let (cut, whole, ()) = futures_util::join!(scope.run(forever()), after(3), async { scope.cancel() });
    whole?;
    assert_eq!((cut?, scope.cancelled_caught()), (None, true));
    let scopes: Vec<_> = (0..40).map(|_| CancelScope::new()).collect();
    scopes[7].cancel();
    let outcomes = join_all(scopes.iter().map(|scope| scope.run(after(2)))).await;
    for (i, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome?, (i != 7).then_some(()), "{i}");
    }
    Ok(())
}

async fn timers_behind_it_come_in_order() -> Result<()> {
    let start = trine::now();
    let mut sleeps: FuturesUnordered<_> = (0..200_u64)
        .map(|i| async move {
            let time = Duration::from_millis(1 + i * 7_919 % 211);
            trine::sleep(time).await.map(|()| time)
        })
        .collect();
    let mut last = Duration::ZERO;
    while let Some(time) = sleeps.next().await {
        let time = time?;
        assert!(time >= last && trine::now() - start == time, "{time:?} after {last:?}");
        last = time;
    }
    Ok(())
}

async fn nurseries_behind_it_run_their_children() -> Result<()> {
    let done = AtomicU32::new(0);
    let nurseries = (0..10).map(|i| {
        let done = &done;
        nursery(async move |n| {
            for _ in 0..10 {
                n.start_soon(async move {
                    after(i % 3).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
            Ok(())
        })
    });
    let all: Vec<Result<()>> = nurseries.collect::<FuturesUnordered<_>>().collect().await;
    all.into_iter().collect::<Result<()>>()?;
    assert_eq!(done.into_inner(), 100);
    Ok(())
}

async fn races_of_others_end_with_the_first() -> Result<()> {
    let (live, start) = (Live::default(), trine::now());
    let first = move_on_after(SECOND * 9, async {
        let slow = async {
            let _guard = live.guard();
            after(5).await.map(|()| "slow")
        };
        (slow, async { after(1).await.map(|()| "fast") }).race().await
    })
    .await?;
    assert_eq!((first, live.count(), trine::now() - start), (Some("fast"), 0, SECOND));
    Ok(())
}

async fn joins_of_others_end_with_the_last() -> Result<()> {
    let start = trine::now();
    let both = move_on_after(SECOND * 9, async {
        let a = async { after(1).await.map(|()| 1) };
        let b = nursery(async |n| Ok(n.spawn(async { after(2).await.map(|()| 2) }).await?));
        (a, b).try_join().await
    })
    .await?;
    assert_eq!((both, trine::now() - start), (Some((1, 2)), SECOND * 2));
    Ok(())
}

async fn foreign_ones_are_dropped() -> Result<()> {
    let (live, flag) = (Live::default(), Flag::default());
    let outcome = move_on_after(SECOND, async {
        let waits = (0..50).map(|_| async {
            let _guard = live.guard();
            flag.wait().await;
        });
        waits.collect::<FuturesUnordered<_>>().collect::<Vec<()>>().await;
        Ok(())
    })
    .await?;
    assert_eq!((outcome, live.count()), (None, 0));
    Ok(())
}
