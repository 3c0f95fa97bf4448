//! `finally`: the clean-up always runs, and never hides the error that caused it.

use super::cancel_tools::{Live, Log, SECOND, after, checkpoint, foreign, forever, leaves, panic_of};
use crate::case::{Case, portable};
use trine::{CancelScope, Error, Result, TooSlow, finally, move_on_after};

pub(super) const CASES: &[Case] = &[
    portable!(clean_up_runs_after_a_value, "finally.runs", "design 4.6"),
    portable!(clean_up_runs_shielded_after_a_cancel, "finally.runs", "design 4.6"),
    portable!(clean_up_runs_after_a_dropped_body, "finally.runs", "design 4.6"),
    portable!(clean_up_runs_after_a_panic, "finally.runs", "design 4.6"),
    portable!(clean_up_runs_in_a_scope_cancelled_beforehand, "finally.runs", "design 4.6, divergence 7"),
    portable!(clean_up_cannot_be_cancelled_from_outside, "finally.shielded", "design 4.6"),
    portable!(clean_up_takes_ten_seconds_at_most, "finally.bound", "design 4.6"),
    portable!(bound_can_be_set, "finally.bound", "design 4.6"),
    portable!(real_error_of_the_body_beats_a_cancelled_clean_up, "finally.errors", "design 4.6, divergence 14"),
    portable!(real_error_of_the_clean_up_beats_a_cancelled_body, "finally.errors", "design 4.6, divergence 14"),
    portable!(two_real_errors_form_a_group, "finally.errors", "design 4.6, divergence 14"),
    portable!(clean_up_cut_off_keeps_the_error_of_the_body, "finally.errors", "design 4.6"),
    portable!(dropping_it_drops_both, "finally.dropped", "design 1"),
];

async fn fails(message: &'static str) -> Result<()> {
    trine::checkpoint().await?;
    Err(Error::msg(message))
}

async fn clean_up_runs_after_a_value() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    let value = finally(async { Ok(1) }, async {
        after(1).await?;
        log.add("clean");
        Ok(())
    })
    .await?;
    assert_eq!((value, log.take(), trine::now() - start), (1, vec!["clean"], SECOND));
    Ok(())
}

async fn clean_up_runs_shielded_after_a_cancel() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    let clean = async {
        after(4).await?;
        log.add("clean");
        Ok(())
    };
    assert_eq!(move_on_after(SECOND, finally(forever(), clean)).await?, None);
    assert_eq!((log.take(), trine::now() - start), (vec!["clean"], SECOND * 5));
    Ok(())
}

async fn clean_up_runs_after_a_dropped_body() -> Result<()> {
    let (log, live) = (Log::default(), Live::default());
    let body = async {
        let _guard = live.guard();
        foreign().await
    };
    let clean = async {
        assert_eq!(live.count(), 0);
        after(1).await?;
        log.add("clean");
        Ok(())
    };
    assert_eq!(move_on_after(SECOND, finally(body, clean)).await?, None);
    assert_eq!(log.take(), ["clean"]);
    Ok(())
}

async fn clean_up_runs_after_a_panic() -> Result<()> {
    let log = Log::default();
    let body = async {
        trine::checkpoint().await?;
        panic!("on purpose");
        #[expect(unreachable_code, reason = "gives the type")]
        Ok(())
    };
    let clean = async {
        after(1).await?;
        log.add("clean");
        Ok(())
    };
    assert_eq!((panic_of(finally(body, clean)).await.as_str(), log.take()), ("on purpose", vec!["clean"]));
    Ok(())
}

async fn clean_up_runs_in_a_scope_cancelled_beforehand() -> Result<()> {
    let (scope, log) = (CancelScope::new(), Log::default());
    scope.cancel();
    let clean = async {
        checkpoint().await?;
        log.add("clean");
        Ok(())
    };
    assert_eq!(scope.run(finally(checkpoint(), clean)).await?, None);
    assert_eq!(log.take(), ["clean"]);
    Ok(())
}

async fn clean_up_cannot_be_cancelled_from_outside() -> Result<()> {
    let (log, start) = (Log::default(), trine::now());
    let clean = async {
        after(3).await?;
        log.add("clean");
        Ok(())
    };
    // The deadline comes while it cleans up.
    let outcome = move_on_after(SECOND, finally(async { Ok(2) }, clean)).await?;
    assert_eq!((outcome, log.take(), trine::now() - start), (Some(2), vec!["clean"], SECOND * 3));
    Ok(())
}

async fn clean_up_takes_ten_seconds_at_most() -> Result<()> {
    let start = trine::now();
    let error = finally(async { Ok(()) }, forever()).await.expect_err("too slow");
    assert!(error.find::<TooSlow>().is_some() && !error.has_cancelled());
    assert_eq!(trine::now() - start, SECOND * 10);
    Ok(())
}

async fn bound_can_be_set() -> Result<()> {
    let start = trine::now();
    let error = finally(async { Ok(()) }, foreign()).within(SECOND * 2).await.expect_err("too slow");
    assert!(error.find::<TooSlow>().is_some());
    finally(async { Ok(()) }, after(60)).within(SECOND * 61).await?;
    assert_eq!(trine::now() - start, SECOND * 62);
    Ok(())
}

async fn real_error_of_the_body_beats_a_cancelled_clean_up() -> Result<()> {
    let scope = CancelScope::new();
    scope.cancel();
    let kept = scope.run(async { Ok(checkpoint().await.expect_err("cancelled")) }).await?.expect("kept");
    let error = finally(fails("body"), async { Err(kept) }).await.expect_err("the body failed");
    assert_eq!((leaves(&error), error.has_cancelled()), (vec!["body".to_owned()], false));
    Ok(())
}

async fn real_error_of_the_clean_up_beats_a_cancelled_body() -> Result<()> {
    let error = move_on_after(SECOND, finally(forever(), fails("clean"))).await.expect_err("the clean-up failed");
    assert_eq!((leaves(&error), error.has_cancelled()), (vec!["clean".to_owned()], false));
    Ok(())
}

async fn two_real_errors_form_a_group() -> Result<()> {
    let error = finally(fails("body"), fails("clean")).await.expect_err("both failed");
    assert!(error.is_group());
    let in_order: Vec<_> = error.errors().iter().map(ToString::to_string).collect();
    assert_eq!(in_order, ["body", "clean"]);
    Ok(())
}

async fn clean_up_cut_off_keeps_the_error_of_the_body() -> Result<()> {
    let error = finally(fails("body"), forever()).await.expect_err("the body failed");
    assert!(error.leaves().any(|leaf| leaf.to_string() == "body"));
    assert!(!error.has_cancelled());
    Ok(())
}

async fn dropping_it_drops_both() -> Result<()> {
    let live = Live::default();
    for polls in 0..3 {
        let (body, clean) = (live.guard(), live.guard());
        let mut whole = Box::pin(finally(
            async move {
                let _body = body;
                after(1).await
            },
            async move {
                let _clean = clean;
                Ok(())
            },
        ));
        for _ in 0..polls {
            assert!(super::cancel_tools::poll_here(&mut whole).await.is_pending());
        }
        drop(whole);
        assert_eq!(live.count(), 0);
    }
    Ok(())
}
