//! What the fuzz found, each as small as it could be made.

use std::time::Duration;
use trine::{
    CancelScope, EffectiveDeadline, Error, Result, checkpoint, current_effective_deadline, nursery, race, sleep,
};

async fn fails(message: &'static str) -> Result<()> {
    Err(Error::msg(message))
}

#[test]
fn cancellation_of_losers_stays_inside_the_race() {
    let error = trine::testing::run(race(
        async { Ok(checkpoint().await?) },
        nursery(async |n| {
            n.start_soon(async { Ok(sleep(Duration::from_secs(60)).await?) });
            let _ = sleep(Duration::from_secs(60)).await;
            fails("clean-up failed").await
        }),
    ))
    .unwrap_err();
    assert!(!error.has_cancelled(), "{error}");
    assert_eq!(error.leaves().map(ToString::to_string).collect::<Vec<_>>(), ["clean-up failed"]);
}

#[test]
fn effective_deadline_knows_of_a_cancel_by_another_thread() {
    let scope = CancelScope::new();
    let seen = trine::testing::run(scope.run(async {
        std::thread::scope(|s| s.spawn(|| scope.cancel()).join()).unwrap();
        let seen = current_effective_deadline();
        assert!(trine::checkpoint_if_cancelled().is_err());
        Ok(seen)
    }))
    .unwrap();
    assert_eq!(seen, Some(EffectiveDeadline::Cancelled));
}
