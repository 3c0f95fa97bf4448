//! `finally`: the clean-up always runs, and never hides the error that caused it.

use crate::support::{Live, Log, Oops, oopses};
use std::time::Duration;
use trine::testing::run;
use trine::{CancelScope, Error, Result, TooSlow, finally};

async fn after(secs: u64) -> Result<()> {
    trine::sleep(Duration::from_secs(secs)).await?;
    Ok(())
}

async fn fails(n: u32) -> Result<()> {
    trine::checkpoint().await?;
    Err(Oops(n).into())
}

#[test]
fn cleanup_runs_after_a_value() {
    let log = Log::new();
    let value = run(finally(async { Ok(1) }, async {
        after(1).await?;
        log.add("cleanup");
        Ok(())
    }));
    assert_eq!((value.unwrap(), log.take()), (1, vec!["cleanup"]));
}

#[test]
fn cleanup_s_error_takes_the_place_of_a_value() {
    assert_eq!(oopses(&run(finally(async { Ok(1) }, fails(2))).unwrap_err()), [2]);
}

#[test]
fn two_real_errors_form_a_group() {
    let error = run(finally(fails(1), fails(2))).unwrap_err();
    assert!(error.is_group());
    assert_eq!(oopses(&error), [1, 2]);
}

#[test]
fn body_s_error_beats_a_cancelled_of_the_cleanup() {
    let result = run(finally(fails(1), async {
        // A scope of its own that is cancelled, so that a bare `Cancelled` comes out of the clean-up.
        let scope = CancelScope::new();
        let mut kept = None;
        scope.cancel();
        scope
            .run(async {
                kept = trine::checkpoint().await.err();
                Ok(())
            })
            .await?;
        Err(kept.unwrap().into())
    }));
    let error = result.unwrap_err();
    assert_eq!(oopses(&error), [1]);
    assert!(!error.is_group() && !error.has_cancelled());
}

#[test]
fn cleanup_s_error_beats_a_cancelled_body() {
    let error = run(trine::move_on_after(Duration::from_secs(1), finally(after(5), fails(2)))).unwrap_err();
    assert_eq!(oopses(&error), [2]);
    assert!(!error.has_cancelled());
}

#[test]
fn cleanup_runs_shielded_after_a_cancel() {
    let log = Log::new();
    let result = run(trine::move_on_after(
        Duration::from_secs(1),
        finally(after(5), async {
            after(5).await?;
            log.add("cleanup");
            Ok(())
        }),
    ));
    assert_eq!((result.unwrap(), log.take()), (None, vec!["cleanup"]));
}

#[test]
fn cleanup_runs_after_a_foreign_body_was_dropped() {
    let (log, live) = (Log::new(), Live::new());
    let result: Result<Option<()>> = run(trine::move_on_after(
        Duration::from_secs(1),
        finally(
            async {
                let _guard = live.guard();
                std::future::pending().await
            },
            async {
                assert_eq!(live.count(), 0);
                after(1).await?;
                log.add("cleanup");
                Ok(())
            },
        ),
    ));
    assert_eq!((result.unwrap(), log.take()), (None, vec!["cleanup"]));
}

#[test]
fn cleanup_is_bounded_by_ten_seconds_unless_told() {
    let took = |within: Option<u64>| {
        run(async {
            let began = trine::now();
            let mut whole = finally(async { Ok(()) }, async { Ok(trine::sleep(Duration::from_secs(99)).await?) });
            if let Some(secs) = within {
                whole = whole.within(Duration::from_secs(secs));
            }
            let error: Error = whole.await.unwrap_err();
            let late = error.find::<TooSlow>().expect("the clean-up's");
            assert_eq!(late.to_string(), "the clean-up took too long and was cut off");
            trine::now() - began
        })
    };
    assert_eq!(took(None), Duration::from_secs(10));
    assert_eq!(took(Some(2)), Duration::from_secs(2));
}

#[test]
fn cleanup_that_is_cut_off_keeps_the_body_s_error() {
    let error = run(finally(fails(1), after(99))).unwrap_err();
    assert!(oopses(&error).contains(&1));
}

#[test]
fn cleanup_runs_after_a_panic_of_the_body() {
    let log = Log::new();
    let text = crate::support::panic_text(|| {
        let result: Result<()> = run(finally(
            async {
                trine::checkpoint().await?;
                panic!("body");
            },
            async {
                after(1).await?;
                log.add("cleanup");
                Ok(())
            },
        ));
        drop(result);
    });
    assert_eq!((text.as_str(), log.take()), ("body", vec!["cleanup"]));
}

#[test]
fn a_panic_of_the_body_with_a_panicking_destructor_still_cleans_up() {
    let log = Log::new();
    let text = crate::support::panic_text(|| {
        let result: Result<()> = run(finally(std::future::poll_fn(|_| panic!("body")), async {
            log.add("cleanup");
            Ok(())
        }));
        drop(result);
    });
    assert_eq!((text.as_str(), log.take()), ("body", vec!["cleanup"]));
}

#[test]
fn dropping_it_drops_both() {
    let live = Live::new();
    let (a, b) = (live.guard(), live.guard());
    let whole = finally(
        async move {
            let _a = a;
            after(1).await
        },
        async move {
            let _b = b;
            Ok(())
        },
    );
    drop(whole);
    assert_eq!(live.count(), 0);
}
