//! The order of those who wait.

use super::wait::{Kind, Make};
use crate::cases::sync_tools::{Log, settle};
use std::sync::Arc;
use trine::{CancelScope, nursery};

/// Whoever leaves the queue, the others keep their order and none is passed over.
pub(super) async fn cancelled_at_each_place(make: Make) -> trine::Result<()> {
    for place in 0..3 {
        let served = order_without(make, 3, Some(place)).await?;
        let others: Vec<_> = (0..3).filter(|&i| i != place).collect();
        assert_eq!(served, others, "without the one at {place}");
    }
    Ok(())
}

/// First come, first served.
pub(super) async fn served_in_order(make: Make) -> trine::Result<()> {
    assert_eq!(order_without(make, 6, None).await?, [0, 1, 2, 3, 4, 5]);
    Ok(())
}

/// Lets so many queue up one after the other, cancels one, grants until all are served: in which order were they?
async fn order_without(make: Make, count: usize, cancelled: Option<usize>) -> trine::Result<Vec<usize>> {
    let it = make().await?;
    let log = Log::new();
    let scopes: Vec<_> = (0..count).map(|_| CancelScope::new()).collect();
    nursery(async |n| {
        for (i, scope) in scopes.iter().enumerate() {
            let (it, scope, log) = (Arc::clone(&it), scope.clone(), log.clone());
            n.start_soon(async move {
                if scope.run(it.wait()).await?.is_some() {
                    log.push(i);
                }
                Ok(())
            });
            settle().await?;
        }
        assert_eq!(it.waiting(), count);
        if let Some(place) = cancelled {
            scopes[place].cancel();
        }
        for left in (0..count - usize::from(cancelled.is_some())).rev() {
            it.grant();
            settle().await?;
            if matches!(it.kind(), Kind::Consumed | Kind::Taken | Kind::Fleeting) {
                assert_eq!(it.waiting(), left, "one grant serves one");
            }
        }
        Ok(())
    })
    .await?;
    let mut served = log.take();
    if it.kind() == Kind::Lasting {
        served.sort_unstable(); // all at once
    }
    Ok(served)
}
