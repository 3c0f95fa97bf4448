//! Shields: what they keep out, and when.

use super::cancel_tools::{Flag, Live, Log, SECOND, after, checkpoint, forever};
use crate::case::{Case, portable};
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Result, move_on_after, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(toggling_counts_at_once, "shield.toggle", "trio test_run.py::test_cancel_shielding"),
    portable!(own_cancel_passes_the_shield, "shield.own", "trio test_run.py::test_cancel_shielding"),
    portable!(inner_cancel_works_behind_the_shield, "shield.inner", "trio test_run.py::test_cancel_shielding"),
    portable!(lowering_wakes_a_sleeper_at_once, "shield.lowered", "trio test_run.py::test_cancel_shield_abort"),
    portable!(
        lowering_without_a_cancel_outside_does_nothing,
        "shield.lowered",
        "trio test_run.py::test_cancel_shield_abort"
    ),
    portable!(shield_raised_in_the_step_of_the_cancel_comes_too_late, "shield.order", "design 4.2"),
    portable!(shield_raised_while_waiting_keeps_the_cancel_out, "shield.raised", "design 4.5"),
    portable!(cancel_waits_behind_the_shield, "shield.after", "divergence 1"),
    portable!(nursery_waits_for_a_shielded_child, "shield.child", "divergence 2"),
    portable!(children_of_a_shielded_nursery_are_shielded, "shield.nursery", "design 4.5"),
    portable!(foreign_future_under_a_shield_is_kept, "shield.foreign", "design 4.4"),
    portable!(nested_shields_each_keep_what_is_outside_out, "shield.nested", "design 4.5"),
];

async fn toggling_counts_at_once() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let outcome = outer
        .run(inner.run(async {
            outer.cancel();
            trine::checkpoint().await.expect_err("no shield");
            inner.set_shield(true);
            trine::checkpoint().await.expect("shielded");
            inner.set_shield(false);
            trine::checkpoint().await.expect_err("no shield any more");
            inner.set_shield(true);
            trine::checkpoint().await.expect("shielded again");
            Ok(())
        }))
        .await?;
    assert_eq!(outcome, Some(Some(())));
    Ok(())
}

async fn own_cancel_passes_the_shield() -> Result<()> {
    let scope = CancelScope::new().shielded();
    let outcome = scope
        .run(async {
            scope.cancel();
            checkpoint().await
        })
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn inner_cancel_works_behind_the_shield() -> Result<()> {
    let inner = CancelScope::new();
    let outcome = shielded(inner.run(async {
        inner.cancel();
        checkpoint().await
    }))
    .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn lowering_wakes_a_sleeper_at_once() -> Result<()> {
    let (outer, inner, start) = (CancelScope::new(), CancelScope::new().shielded(), trine::now());
    nursery(async |n| {
        let sleeper = n.spawn(outer.run(inner.run(after(1000))));
        wait_all_tasks_blocked().await?;
        outer.cancel();
        wait_all_tasks_blocked().await?;
        assert!(!sleeper.is_finished());
        inner.set_shield(false);
        assert_eq!(sleeper.await?, None);
        assert_eq!(trine::now(), start);
        Ok(())
    })
    .await
}

async fn lowering_without_a_cancel_outside_does_nothing() -> Result<()> {
    let (inner, start) = (CancelScope::new().shielded(), trine::now());
    nursery(async |n| {
        let sleeper = n.spawn(inner.run(after(10)));
        wait_all_tasks_blocked().await?;
        inner.set_shield(false);
        assert_eq!(sleeper.await?, Some(()));
        assert_eq!(trine::now() - start, SECOND * 10);
        Ok(())
    })
    .await
}

/// The cancel ends a wait when it is called, not when the task is next polled.
async fn shield_raised_in_the_step_of_the_cancel_comes_too_late() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    nursery(async |n| {
        let sleeper = n.spawn(outer.run(inner.run(async {
            let told = forever().await;
            trine::checkpoint().await.expect("the shield is up by now");
            told
        })));
        wait_all_tasks_blocked().await?;
        outer.cancel();
        inner.set_shield(true);
        assert_eq!(sleeper.await?, None);
        Ok(())
    })
    .await
}

async fn shield_raised_while_waiting_keeps_the_cancel_out() -> Result<()> {
    let (outer, inner, start) = (CancelScope::new(), CancelScope::new(), trine::now());
    nursery(async |n| {
        let sleeper = n.spawn(outer.run(inner.run(after(10))));
        wait_all_tasks_blocked().await?;
        inner.set_shield(true);
        outer.cancel();
        assert_eq!(sleeper.await?, Some(Some(())));
        assert_eq!(trine::now() - start, SECOND * 10);
        Ok(())
    })
    .await
}

async fn cancel_waits_behind_the_shield() -> Result<()> {
    let log = Log::default();
    let outcome = move_on_after(SECOND, async {
        for _ in 0..3 {
            shielded(after(2)).await?;
            log.add("shielded");
            trine::checkpoint().await.expect_err("cancelled behind the shield");
        }
        checkpoint().await
    })
    .await?;
    assert_eq!((outcome, log.take()), (None, vec!["shielded"; 3]));
    Ok(())
}

async fn nursery_waits_for_a_shielded_child() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    let outcome = move_on_after(
        SECOND,
        nursery(async |n| {
            n.start_soon(async {
                shielded(after(5)).await?;
                log.add("shielded child");
                Ok(())
            });
            n.start_soon(async {
                let result = forever().await;
                log.add("child");
                result
            });
            let result = forever().await;
            assert_eq!(trine::now() - start, SECOND);
            result
        }),
    )
    .await?;
    // The shielded child has no checkpoint after its shield, so it ends well.
    assert_eq!((outcome, log.take()), (None, vec!["child", "shielded child"]));
    assert_eq!(trine::now() - start, SECOND * 5);
    Ok(())
}

async fn children_of_a_shielded_nursery_are_shielded() -> Result<()> {
    let start = trine::now();
    let outcome = move_on_after(
        SECOND,
        shielded(nursery(async |n| {
            n.start_soon(after(3));
            n.start_soon(nursery(async |inner| {
                inner.start_soon(after(4));
                after(2).await
            }));
            Ok(())
        })),
    )
    .await?;
    assert_eq!((outcome, trine::now() - start), (Some(()), SECOND * 4));
    Ok(())
}

async fn foreign_future_under_a_shield_is_kept() -> Result<()> {
    let (live, flag, scope) = (Live::default(), Flag::default(), CancelScope::new());
    nursery(async |n| {
        let whole = n.spawn(scope.run(async {
            shielded(async {
                let _guard = live.guard();
                flag.wait().await;
                Ok(())
            })
            .await
        }));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        wait_all_tasks_blocked().await?;
        assert_eq!((live.count(), whole.is_finished()), (1, false));
        flag.set();
        assert_eq!((whole.await?, live.count()), (Some(()), 0));
        Ok(())
    })
    .await
}

async fn nested_shields_each_keep_what_is_outside_out() -> Result<()> {
    let (outer, middle) = (CancelScope::new(), CancelScope::new().shielded());
    let outcome = outer
        .run(async {
            outer.cancel();
            middle
                .run(async {
                    middle.cancel();
                    shielded(after(1)).await?;
                    trine::checkpoint().await.expect_err("the middle one is cancelled");
                    checkpoint().await
                })
                .await
        })
        .await?;
    assert_eq!(outcome, Some(None));
    assert!(middle.cancelled_caught() && !outer.cancelled_caught());
    Ok(())
}
