//! What must be right before anything else is worth a look.

use crate::case::{Case, portable};
use std::sync::Mutex;
use std::time::Duration;
use trine::{Error, checkpoint, nursery, sleep, sleep_forever};

pub(super) const CASES: &[Case] = &[
    portable!(exit_waits_for_the_children, "nursery.exit-waits", "design 1"),
    portable!(first_error_cancels_siblings, "nursery.first-error-cancels", "trio test_run.py::test_child_crash_basic"),
    portable!(
        child_of_a_cancelled_nursery_runs_to_its_first_checkpoint,
        "nursery.cancelled-child-starts",
        "divergence 7"
    ),
];

/// The nursery ends when its last child has.
async fn exit_waits_for_the_children() -> trine::Result<()> {
    let start = trine::now();
    let order = Mutex::new(Vec::new());
    nursery(async |n| {
        for seconds in [3, 1, 2] {
            let order = &order;
            n.start_soon(async move {
                sleep(Duration::from_secs(seconds)).await?;
                order.lock().unwrap().push(seconds);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - start, Duration::from_secs(3));
    assert_eq!(order.into_inner().unwrap(), [1, 2, 3]);
    Ok(())
}

/// A child's error cancels its siblings and the body, and leaves the nursery in a group.
async fn first_error_cancels_siblings() -> trine::Result<()> {
    let cancelled = Mutex::new(0);
    let result = nursery(async |n| {
        for _ in 0..3 {
            n.start_soon(async {
                let result = sleep_forever().await;
                *cancelled.lock().unwrap() += 1;
                match result? {}
            });
        }
        n.start_soon(async {
            checkpoint().await?;
            Err(Error::msg("boom"))
        });
        match sleep_forever().await? {}
    })
    .await;
    let error: Error = result.map(|()| "a value").expect_err("the nursery fails");
    let leaves: Vec<_> = error.leaves().map(ToString::to_string).collect();
    assert_eq!(leaves, ["boom"]);
    assert_eq!(cancelled.into_inner().unwrap(), 3);
    Ok(())
}

/// A child that is spawned into a cancelled nursery is not thrown away: it runs to its first checkpoint.
async fn child_of_a_cancelled_nursery_runs_to_its_first_checkpoint() -> trine::Result<()> {
    let seen = Mutex::new(Vec::new());
    nursery(async |n| {
        n.cancel_children();
        n.start_soon(async {
            seen.lock().unwrap().push("started");
            checkpoint().await?;
            seen.lock().unwrap().push("went on");
            Ok(())
        });
        Ok(())
    })
    .await?;
    assert_eq!(seen.into_inner().unwrap(), ["started"]);
    Ok(())
}
