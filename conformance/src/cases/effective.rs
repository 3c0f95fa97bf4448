//! The effective deadline: what code may ask before it begins something long.

use super::cancel_tools::SECOND;
use crate::case::{Case, portable};
use trine::{CancelScope, EffectiveDeadline, Result, current_effective_deadline, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        effective_deadline_is_the_earliest_up_to_the_shield,
        "deadline.effective",
        "trio test_run.py::test_current_effective_deadline, divergence 8"
    ),
    portable!(
        effective_deadline_follows_a_move,
        "deadline.effective",
        "trio test_run.py::test_current_effective_deadline"
    ),
    portable!(
        effective_deadline_of_a_cancelled_scope,
        "deadline.effective",
        "trio test_run.py::test_current_effective_deadline"
    ),
];

async fn effective_deadline_is_the_earliest_up_to_the_shield() -> Result<()> {
    assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
    let at = |n: u32| EffectiveDeadline::At(trine::now() + SECOND * n);
    trine::move_on_after(SECOND * 20, async {
        assert_eq!(current_effective_deadline(), at(20));
        trine::move_on_after(SECOND * 30, async {
            assert_eq!(current_effective_deadline(), at(20));
            trine::move_on_after(SECOND * 5, async {
                assert_eq!(current_effective_deadline(), at(5));
                trine::shielded_for(SECOND * 60, async {
                    assert_eq!(current_effective_deadline(), at(60));
                    trine::shielded(async {
                        assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
                        Ok(())
                    })
                    .await
                })
                .await
            })
            .await
        })
        .await?;
        assert_eq!(current_effective_deadline(), at(20));
        nursery(async |n| {
            let child = n.spawn(async { Ok(current_effective_deadline()) });
            assert_eq!(child.await?, at(20));
            Ok(())
        })
        .await
    })
    .await?;
    assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
    Ok(())
}

async fn effective_deadline_follows_a_move() -> Result<()> {
    let scope = CancelScope::new();
    scope
        .run(async {
            let deadline = trine::now() + SECOND;
            scope.set_deadline(Some(deadline));
            assert_eq!(current_effective_deadline(), EffectiveDeadline::At(deadline));
            scope.set_deadline(None);
            assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
            Ok(())
        })
        .await?;
    Ok(())
}

async fn effective_deadline_of_a_cancelled_scope() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    outer
        .run(inner.run(async {
            outer.cancel();
            assert_eq!(current_effective_deadline(), EffectiveDeadline::Cancelled);
            inner.set_shield(true);
            assert_eq!(current_effective_deadline(), EffectiveDeadline::Never);
            inner.set_shield(false);
            assert_eq!(current_effective_deadline(), EffectiveDeadline::Cancelled);
            Ok(())
        }))
        .await?;
    Ok(())
}
