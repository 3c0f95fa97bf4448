//! What is left when trees are forgotten half way, or dropped: no harm.

use super::nursery_tools::{Gate, Guard, Live, Log, SECOND, after, forever, poll_here};
use crate::case::{Case, portable};
use std::future::Future;
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Result, TaskStatus, checkpoint, move_on_after, nursery, race};

pub(super) const CASES: &[Case] = &[
    portable!(forgotten_nursery_runs_no_more, "drop.forgotten", "design 3"),
    portable!(forgotten_start_and_race_are_harmless, "drop.forgotten", "design 3"),
    portable!(handles_outlive_what_they_stand_for, "drop.handles", "design 3"),
    portable!(wakes_of_a_dropped_tree_are_harmless, "drop.late-wake", "divergence 7"),
];

/// Polls once, and forgets.
async fn forget_half_run<F: Future>(fut: F) {
    let mut fut = Box::pin(fut);
    assert!(poll_here(&mut fut).await.is_pending());
    std::mem::forget(fut);
}

async fn forgotten_nursery_runs_no_more() -> Result<()> {
    let (log, gate) = (Log::new(), Gate::new());
    forget_half_run(nursery(async |n| {
        n.start_soon(async {
            log.add("began");
            after(1, ()).await?;
            log.add("slept");
            Ok(())
        });
        n.start_soon(async {
            gate.opened().await;
            log.add("was woken");
            Ok(())
        });
        forever().await
    }))
    .await;
    gate.open();
    after(10, ()).await?;
    nursery(async |n| {
        n.start_soon(after(1, ()));
        Ok(wait_all_tasks_blocked().await?)
    })
    .await?;
    assert_eq!(log.take(), ["began"]);
    Ok(())
}

/// Though it is told to start where there is nobody to take the value.
async fn forgotten_start_and_race_are_harmless() -> Result<()> {
    let (live, kept) = (Live::new(), std::sync::Mutex::new(None));
    forget_half_run(race(after(1, ()), after(2, ()))).await;
    let result = move_on_after(
        SECOND * 5,
        nursery(async |n| {
            forget_half_run(n.start(|status: TaskStatus<Guard>| {
                *kept.lock().unwrap() = Some(status);
                after(1, ())
            }))
            .await;
            after(2, ()).await?;
            let status = kept.lock().unwrap().take();
            status.expect("a status").started(live.guard());
            Ok(checkpoint().await?)
        }),
    );
    // The child that nobody polls any more may have ended or be cut.
    assert!(result.await.is_ok());
    after(10, ()).await
}

async fn handles_outlive_what_they_stand_for() -> Result<()> {
    let scope = CancelScope::new();
    let mut handle = None;
    let kept = &mut handle;
    let spawner = scope
        .nursery(async move |n| {
            let spawner = n.spawner();
            *kept = Some(spawner.spawn(forever())?);
            checkpoint().await?;
            n.cancel_children();
            Ok(spawner)
        })
        .await?;
    let handle = handle.expect("it was spawned");
    scope.cancel();
    scope.set_deadline(None);
    scope.set_shield(true);
    handle.cancel();
    assert!(handle.is_finished() && spawner.is_some_and(|spawner| spawner.is_closed()));
    Ok(checkpoint().await?)
}

async fn wakes_of_a_dropped_tree_are_harmless() -> Result<()> {
    for _ in 0..20 {
        let gate = Gate::new();
        let mut tree = Box::pin(nursery(async |n| {
            for _ in 0..5 {
                n.start_soon(async {
                    gate.opened().await;
                    Ok(())
                });
            }
            forever().await
        }));
        assert!(poll_here(&mut tree).await.is_pending());
        std::thread::scope(|threads| {
            threads.spawn(|| gate.open());
            drop(tree);
        });
        checkpoint().await?;
    }
    Ok(())
}
