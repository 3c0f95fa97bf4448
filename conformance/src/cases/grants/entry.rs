//! Operations that need not wait.

use super::wait::Make;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trine::{CancelScope, checkpoint, nursery};

/// In a cancelled scope an operation fails even if it could complete, and has no effect.
pub(super) async fn in_a_cancelled_scope_takes_nothing(make: Make) -> trine::Result<()> {
    let it = make().await?;
    it.grant();
    let scope = CancelScope::new();
    scope.cancel();
    assert_eq!(scope.run(Arc::clone(&it).wait()).await?, None);
    assert_eq!(it.waiting(), 0);
    assert!(it.try_take(), "it is still there");
    Ok(())
}

/// A task whose operations all complete at once lets others run all the same.
pub(super) async fn those_that_need_not_wait_yield(make: Make) -> trine::Result<()> {
    let it = make().await?;
    let turns = AtomicUsize::new(0);
    nursery(async |n| {
        n.start_soon(async {
            loop {
                checkpoint().await?;
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..640 {
            it.grant();
            Arc::clone(&it).wait().await?;
        }
        n.cancel_children();
        Ok(())
    })
    .await?;
    let turns = turns.into_inner();
    // Nine yields, of which the other task spends one or two on its start, by the order.
    assert!(turns >= 6, "{turns} turns for others in 640 operations, whose budget is 64");
    Ok(())
}
