//! Entry of cancel scopes: before it, and only once.

use super::cancel_tools::{Log, after, checkpoint, forever, panic_of};
use crate::case::{Case, portable};
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        cancel_before_entry_stops_at_the_first_checkpoint,
        "scope.unentered",
        "trio test_run.py::test_cancel_unbound"
    ),
    portable!(second_entry_panics, "scope.once", "trio test_run.py::test_cancel_unbound, divergence 4"),
    portable!(entry_inside_itself_panics, "scope.once", "trio test_run.py::test_cancel_unbound"),
    portable!(entry_by_two_tasks_panics, "scope.once", "trio test_run.py::test_cancel_unbound"),
    portable!(shield_before_entry_counts, "scope.unentered", "trio test_run.py::test_cancel_unbound"),
];

async fn cancel_before_entry_stops_at_the_first_checkpoint() -> Result<()> {
    let (scope, log) = (CancelScope::new(), Log::default());
    scope.cancel();
    assert!(scope.cancel_called());
    let outcome = scope
        .run(async {
            log.add("entered");
            trine::checkpoint().await?;
            log.add("went on");
            Ok(())
        })
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["entered"]));
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn second_entry_panics() -> Result<()> {
    let scope = CancelScope::new();
    scope.run(checkpoint()).await?;
    let text = panic_of(scope.run(checkpoint())).await;
    assert!(text.contains("entered only once"), "{text}");
    Ok(())
}

async fn entry_inside_itself_panics() -> Result<()> {
    let scope = CancelScope::new();
    let text = scope.run(async { Ok(panic_of(scope.run(checkpoint())).await) }).await?;
    assert!(text.is_some_and(|text| text.contains("entered only once")));
    // The scope that was entered is not hurt.
    scope.cancel();
    assert!(!scope.cancelled_caught());
    Ok(())
}

async fn entry_by_two_tasks_panics() -> Result<()> {
    let scope = CancelScope::new();
    nursery(async |n| {
        let first = n.spawn(scope.run(forever()));
        wait_all_tasks_blocked().await?;
        let text = panic_of(scope.run(checkpoint())).await;
        assert!(text.contains("entered only once"), "{text}");
        assert!(!first.is_finished());
        scope.cancel();
        assert_eq!(first.await?, None);
        Ok(())
    })
    .await
}

async fn shield_before_entry_counts() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    inner.set_shield(true);
    assert!(inner.is_shielded() && CancelScope::new().shielded().is_shielded());
    outer.cancel();
    let log = Log::default();
    let outcome = outer
        .run(async {
            assert_eq!(inner.run(after(1)).await?, Some(()));
            log.add("shielded");
            checkpoint().await
        })
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["shielded"]));
    Ok(())
}
