//! Reasons: what a `Cancelled` says of why.

use super::cancel_tools::{SECOND, after, checkpoint, forever};
use crate::case::{Case, clocked, portable};
use std::error::Error as _;
use std::sync::Mutex;
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{CancelScope, Cancelled, Error, ReasonKind, Result, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(explicit_reason_reaches_the_operation, "reason.explicit", "trio test_cancelled.py::test_cancel_reason"),
    portable!(deadline_is_a_reason, "reason.deadline", "trio test_cancelled.py::test_cancel_reason"),
    portable!(text_is_in_the_source_chain, "reason.text", "trio test_cancelled.py::test_Cancelled_str"),
    clocked!(
        first_reason_wins_over_a_deadline,
        "reason.first-wins",
        "trio test_cancelled.py::test_cancel_reason_not_overwritten"
    ),
    clocked!(
        first_reason_wins_over_a_cancel,
        "reason.first-wins",
        "trio test_cancelled.py::test_cancel_reason_not_overwritten_2"
    ),
    portable!(first_of_two_reasons_wins, "reason.first-wins", "design 4.5"),
    portable!(failed_child_is_the_reason_of_its_siblings, "reason.nursery", "design 4.5"),
    portable!(failed_body_is_the_reason_of_the_children, "reason.nursery", "design 4.5"),
    portable!(scope_further_out_gives_its_reason, "reason.outer", "design 4.5"),
    portable!(wait_that_was_ended_keeps_its_reason, "reason.kept", "design 4.5"),
    portable!(scope_that_was_left_in_peace_has_none, "reason.none", "design 4.5"),
];

fn text(told: std::result::Result<(), Cancelled>) -> String {
    told.expect_err("cancelled").reason().to_string()
}

async fn explicit_reason_reaches_the_operation() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            scope.cancel_because("the client left");
            let told = trine::checkpoint().await.expect_err("cancelled");
            assert_eq!(told.reason().kind(), ReasonKind::Explicit);
            assert_eq!(told.reason().message(), Some("the client left"));
            Ok(())
        })
        .await?;
    assert_eq!(scope.reason().expect("cancelled").message(), Some("the client left"));
    let plain = CancelScope::new();
    plain.cancel();
    assert_eq!(plain.reason().map(|r| (r.kind(), r.message().is_none())), Some((ReasonKind::Explicit, true)));
    Ok(())
}

async fn deadline_is_a_reason() -> Result<()> {
    for later in [false, true] {
        let scope = if later { CancelScope::new() } else { CancelScope::after(SECOND) };
        scope
            .run(async {
                if later {
                    scope.set_deadline(Some(trine::now() + SECOND));
                }
                let told = trine::sleep(SECOND * 9).await.expect_err("cancelled");
                assert_eq!(told.reason().kind(), ReasonKind::Deadline);
                Ok(())
            })
            .await?;
        assert_eq!(scope.reason().map(|r| r.kind()), Some(ReasonKind::Deadline));
    }
    Ok(())
}

async fn text_is_in_the_source_chain() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            scope.cancel_because("the client left");
            let told = trine::checkpoint().await.expect_err("cancelled");
            assert_eq!(told.to_string(), "cancelled");
            assert_eq!(told.source().map(ToString::to_string).as_deref(), Some("the client left"));
            Ok(())
        })
        .await?;
    Ok(())
}

async fn first_reason_wins_over_a_deadline(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    scope
        .run(async {
            scope.cancel_because("first");
            clock.jump(SECOND * 2);
            assert_eq!(text(trine::checkpoint().await), "first");
            assert_eq!(text(trine::checkpoint().await), "first");
            Ok(())
        })
        .await?;
    assert_eq!(scope.reason().map(|r| r.kind()), Some(ReasonKind::Explicit));
    Ok(())
}

async fn first_reason_wins_over_a_cancel(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    scope
        .run(async {
            clock.jump(SECOND * 2);
            trine::checkpoint().await.expect_err("the deadline passed");
            scope.cancel_because("second");
            let told = trine::checkpoint().await.expect_err("cancelled");
            assert_eq!((told.reason().kind(), told.reason().message()), (ReasonKind::Deadline, None));
            Ok(())
        })
        .await?;
    assert_eq!(scope.reason().map(|r| r.kind()), Some(ReasonKind::Deadline));
    Ok(())
}

async fn first_of_two_reasons_wins() -> Result<()> {
    let scope = CancelScope::new();
    scope.cancel_because("first");
    scope.cancel_because("second");
    scope.cancel();
    scope
        .run(async {
            assert_eq!(text(trine::checkpoint().await), "first");
            Ok(())
        })
        .await?;
    assert_eq!(scope.reason().map(|r| r.to_string()).as_deref(), Some("first"));
    Ok(())
}

async fn failed_child_is_the_reason_of_its_siblings() -> Result<()> {
    let seen = Mutex::new(Vec::new());
    let waits = || async {
        let told = trine::sleep_forever().await.expect_err("cancelled");
        seen.lock().unwrap().push(told.reason().kind());
        Err(told.into())
    };
    let error = nursery(async |n| {
        n.start_soon(waits());
        n.start_soon(async {
            wait_all_tasks_blocked().await?;
            Err(Error::msg("boom"))
        });
        waits().await
    })
    .await
    .map(|()| "a value")
    .expect_err("a child failed");
    assert!(!error.has_cancelled());
    assert_eq!(seen.into_inner().unwrap(), [ReasonKind::Nursery; 2]);
    Ok(())
}

async fn failed_body_is_the_reason_of_the_children() -> Result<()> {
    let seen = Mutex::new(None);
    let error = nursery(async |n| {
        n.start_soon(async {
            let told = trine::sleep_forever().await.expect_err("cancelled");
            *seen.lock().unwrap() = Some(told.reason().kind());
            Err(told.into())
        });
        Err::<(), _>(Error::msg("boom"))
    })
    .await
    .expect_err("the body failed");
    assert!(!error.has_cancelled());
    assert_eq!(seen.into_inner().unwrap(), Some(ReasonKind::Nursery));
    Ok(())
}

async fn scope_further_out_gives_its_reason() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::after(SECOND * 5));
    outer
        .run(inner.run(async {
            outer.cancel_because("outer");
            assert_eq!(text(trine::checkpoint().await), "outer");
            shielded(checkpoint()).await?;
            assert_eq!(text(trine::checkpoint().await), "outer");
            Ok(())
        }))
        .await?;
    assert_eq!(inner.reason(), None);
    Ok(())
}

/// As in Trio, what is cancelled through the scopes around keeps the reason that came first.
async fn wait_that_was_ended_keeps_its_reason() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    outer
        .run(inner.run(async {
            outer.cancel_because("first");
            assert_eq!(text(trine::checkpoint().await), "first");
            inner.cancel_because("second");
            assert_eq!(text(trine::checkpoint().await), "first");
            Ok(())
        }))
        .await?;
    Ok(())
}

async fn scope_that_was_left_in_peace_has_none() -> Result<()> {
    let scope = CancelScope::after(SECOND * 5);
    scope.run(after(1)).await?;
    assert_eq!(scope.reason(), None);
    let scope = CancelScope::new();
    nursery(async |n| {
        let whole = n.spawn(trine::move_on_after(SECOND, scope.run(forever())));
        assert_eq!(whole.await?, None);
        Ok(())
    })
    .await?;
    // It was cancelled from outside only.
    assert_eq!((scope.reason(), scope.cancel_called()), (None, false));
    Ok(())
}
