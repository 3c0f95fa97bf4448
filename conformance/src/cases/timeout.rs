//! `move_on_*`, `fail_*`, `shielded_for`: timeouts around a future.

use super::cancel_tools::{SECOND, after, foreign, forever, leaves};
use crate::case::{Case, clocked, portable};
use std::sync::Mutex;
use trine::testing::MockClock;
use trine::{
    CancelScope, Error, ReasonKind, Result, TooSlow, fail_after, fail_at, move_on_after, move_on_at, shielded,
    shielded_for,
};

pub(super) const CASES: &[Case] = &[
    portable!(move_on_after_cuts_off_without_an_error, "timeout.move-on", "trio test_timeouts.py::test_move_on_after"),
    portable!(move_on_in_time_gives_the_value, "timeout.move-on", "trio test_timeouts.py::test_move_on_after"),
    portable!(move_on_at_is_absolute, "timeout.move-on-at", "trio test_timeouts.py::test_move_on_after"),
    portable!(
        fail_after_and_fail_at_are_too_slow_at_the_deadline_only,
        "timeout.fail",
        "trio test_timeouts.py::test_fail"
    ),
    portable!(too_slow_says_why_and_is_no_cancellation, "timeout.too-slow", "design 8"),
    portable!(fail_after_passes_other_errors, "timeout.fail-errors", "trio test_timeouts.py::test_fail"),
    portable!(
        fail_after_cancelled_from_outside_is_cancelled,
        "timeout.fail-outer",
        "trio test_timeouts.py::test_fail, divergence 4"
    ),
    clocked!(fail_after_late_with_a_value_keeps_it, "timeout.fail-late", "trio test_timeouts.py::test_fail"),
    portable!(
        own_deadline_counts_behind_a_shield,
        "timeout.shielded",
        "trio test_timeouts.py::test_move_on_after_moves_on_even_if_shielded"
    ),
    portable!(
        fail_after_fails_behind_a_shield,
        "timeout.shielded",
        "trio test_timeouts.py::test_fail_after_fails_even_if_shielded"
    ),
    portable!(
        shield_of_a_timeout_keeps_the_outer_cancel_out_until_lowered,
        "timeout.shielded",
        "trio test_timeouts.py::test_context_shields_from_outer"
    ),
    portable!(
        shielded_for_keeps_the_outer_cancel_out,
        "timeout.shielded-for",
        "trio test_timeouts.py::test_context_shields_from_outer, design 4.5"
    ),
    portable!(shielded_for_is_bounded, "timeout.shielded-for", "design 4.5"),
    portable!(
        instant_before_time_began_is_just_past,
        "timeout.extremes",
        "trio test_timeouts.py::test_timeouts_raise_value_error"
    ),
];

async fn move_on_after_cuts_off_without_an_error() -> Result<()> {
    let start = trine::now();
    assert_eq!(move_on_after(SECOND * 3, after(99)).await?, None);
    assert_eq!(trine::now() - start, SECOND * 3);
    Ok(())
}

async fn move_on_in_time_gives_the_value() -> Result<()> {
    let start = trine::now();
    let value = move_on_after(SECOND * 3, async { after(1).await.map(|()| 8) }).await?;
    assert_eq!((value, trine::now() - start), (Some(8), SECOND));
    Ok(())
}

async fn move_on_at_is_absolute() -> Result<()> {
    let start = trine::now();
    let waits = move_on_at(start + SECOND * 3, forever());
    after(2).await?;
    assert_eq!(waits.await?, None);
    assert_eq!(trine::now() - start, SECOND * 3);
    Ok(())
}

async fn fail_after_and_fail_at_are_too_slow_at_the_deadline_only() -> Result<()> {
    let start = trine::now();
    let late = fail_after(SECOND, forever()).await.expect_err("too slow");
    assert!(late.find::<TooSlow>().is_some());
    assert_eq!(trine::now() - start, SECOND);
    let late = fail_at(start + SECOND * 2, forever()).await.expect_err("too slow");
    assert!(late.find::<TooSlow>().is_some());
    assert_eq!(trine::now() - start, SECOND * 2);
    fail_after(SECOND * 2, after(1)).await?;
    fail_at(start + SECOND * 9, after(1)).await
}

async fn too_slow_says_why_and_is_no_cancellation() -> Result<()> {
    let error = fail_after(SECOND, foreign()).await.expect_err("too slow");
    assert!(!error.has_cancelled() && !trine::is_cancelled(&*error));
    let reason = error.find::<TooSlow>().expect("too slow").reason().kind();
    assert_eq!(reason, ReasonKind::Deadline);
    Ok(())
}

async fn fail_after_passes_other_errors() -> Result<()> {
    let error = fail_after(SECOND, async {
        after(9).await.expect_err("the deadline comes first");
        Err::<(), _>(Error::msg("boom"))
    })
    .await
    .expect_err("it fails");
    assert_eq!(leaves(&error), ["boom"]);
    Ok(())
}

async fn fail_after_cancelled_from_outside_is_cancelled() -> Result<()> {
    let (scope, seen) = (CancelScope::new(), Mutex::new(None));
    let outcome = scope
        .run(async {
            let result = fail_after(SECOND, async {
                scope.cancel();
                after(9).await
            })
            .await;
            *seen.lock().unwrap() = result.as_ref().err().map(|e| (e.is_cancelled(), e.find::<TooSlow>().is_some()));
            result
        })
        .await?;
    assert_eq!((outcome, seen.into_inner().unwrap()), (None, Some((true, false))));
    Ok(())
}

async fn fail_after_late_with_a_value_keeps_it(clock: MockClock) -> Result<()> {
    let value = fail_after(SECOND, async {
        clock.jump(SECOND * 5);
        Ok(4)
    })
    .await?;
    assert_eq!(value, 4);
    Ok(())
}

async fn own_deadline_counts_behind_a_shield() -> Result<()> {
    let (start, scope) = (trine::now(), CancelScope::after(SECOND * 2).shielded());
    assert_eq!(scope.run(forever()).await?, None);
    assert_eq!(trine::now() - start, SECOND * 2);
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn fail_after_fails_behind_a_shield() -> Result<()> {
    let start = trine::now();
    let outcome = move_on_after(SECOND, async {
        let error = shielded(fail_after(SECOND * 3, forever())).await.expect_err("too slow");
        assert!(error.find::<TooSlow>().is_some());
        Ok(trine::now() - start)
    })
    .await?;
    assert_eq!(outcome, Some(SECOND * 3));
    Ok(())
}

async fn shield_of_a_timeout_keeps_the_outer_cancel_out_until_lowered() -> Result<()> {
    let start = trine::now();
    let (outer, inner) = (CancelScope::new(), CancelScope::after(SECOND * 50).shielded());
    let outcome = outer
        .run(async {
            outer.cancel();
            inner
                .run(async {
                    trine::checkpoint().await?;
                    after(5).await?;
                    inner.set_shield(false);
                    trine::checkpoint().await.expect_err("the shield is down");
                    forever().await
                })
                .await
        })
        .await?;
    assert_eq!((outcome, trine::now() - start), (None, SECOND * 5));
    assert!(outer.cancelled_caught() && !inner.cancelled_caught());
    Ok(())
}

async fn shielded_for_keeps_the_outer_cancel_out() -> Result<()> {
    let start = trine::now();
    let outcome = move_on_after(SECOND, async {
        let cleaned = shielded_for(SECOND * 10, after(4)).await?;
        assert_eq!((cleaned, trine::now() - start), (Some(()), SECOND * 4));
        trine::checkpoint().await.expect_err("the outer deadline has passed");
        forever().await
    })
    .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn shielded_for_is_bounded() -> Result<()> {
    let start = trine::now();
    assert_eq!(move_on_after(SECOND, shielded_for(SECOND * 3, forever())).await?, Some(None));
    assert_eq!(trine::now() - start, SECOND * 3);
    assert_eq!(move_on_after(SECOND, shielded_for(SECOND * 3, foreign())).await?, Some(None));
    assert_eq!(trine::now() - start, SECOND * 6);
    Ok(())
}

async fn instant_before_time_began_is_just_past() -> Result<()> {
    let past = trine::now() - std::time::Duration::MAX;
    assert!(past < trine::now());
    assert_eq!(move_on_at(past, forever()).await?, None);
    assert!(fail_at(past, forever()).await.is_err_and(|e| e.find::<TooSlow>().is_some()));
    trine::sleep_until(past).await?;
    Ok(())
}
