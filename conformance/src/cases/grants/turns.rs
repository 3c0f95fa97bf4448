//! Grant, cancel and drop in one step.

use super::wait::{Kind, Make, Wait};
use crate::cases::sync_tools::{poll_once, settle};
use std::sync::Arc;
use trine::sync::Event;
use trine::{CancelScope, Handle, Nursery, nursery};

/// Waits in a task of its own, in that scope.
fn spawn<'s>(n: &'s Nursery<'s, '_>, it: &Arc<dyn Wait>, scope: &CancelScope) -> Handle<'s, Option<()>> {
    let (it, scope) = (Arc::clone(it), scope.clone());
    n.spawn(async move { scope.run(it.wait()).await })
}

/// What was granted before the cancel came is returned, and the scope has caught nothing.
pub(super) async fn granted_then_cancelled(make: Make) -> trine::Result<()> {
    let it = make().await?;
    let scope = CancelScope::new();
    let result = nursery(async |n| {
        let waiter = spawn(n, &it, &scope);
        settle().await?;
        assert_eq!(it.waiting(), 1);
        it.grant();
        scope.cancel();
        Ok(waiter.await?)
    })
    .await?;
    assert_eq!(result, Some(()), "completed beats cancelled");
    assert!(scope.cancel_called() && !scope.cancelled_caught());
    assert_eq!(it.waiting(), 0);
    assert_eq!(it.try_take(), it.kind().is_left_after_use(), "it was granted once");
    Ok(())
}

/// What is granted after the cancel goes to the next who waits, or stays.
pub(super) async fn cancelled_then_granted(make: Make) -> trine::Result<()> {
    for has_next in [false, true] {
        let it = make().await?;
        let scope = CancelScope::new();
        let result = nursery(async |n| {
            let waiter = spawn(n, &it, &scope);
            settle().await?;
            let next = has_next.then(|| spawn(n, &it, &CancelScope::new()));
            settle().await?;
            assert_eq!(it.waiting(), 1 + usize::from(has_next));
            scope.cancel();
            assert_eq!(it.waiting(), usize::from(has_next), "a cancelled wait is not seen, even before it has run");
            it.grant();
            if let Some(next) = next {
                assert_eq!(next.await?, Some(()));
            }
            Ok(waiter.await?)
        })
        .await?;
        assert_eq!(result, None, "cancelled means it did not happen");
        assert!(scope.cancelled_caught());
        let is_left = if has_next { it.kind().is_left_after_use() } else { it.kind() != Kind::Fleeting };
        assert_eq!(it.try_take(), is_left);
    }
    Ok(())
}

/// What was granted to a wait that is then dropped goes on to the next who waits, or comes back.
pub(super) async fn dropped_after_the_grant(make: Make) -> trine::Result<()> {
    for has_next in [false, true] {
        let it = make().await?;
        let drop_it = Event::new();
        nursery(async |n| {
            let mut wait = Arc::clone(&it).wait();
            let drop_it = &drop_it;
            n.start_soon(async move {
                assert!(poll_once(wait.as_mut()).await.is_pending());
                drop_it.wait().await?;
                drop(wait);
                Ok(())
            });
            settle().await?;
            let next = has_next.then(|| spawn(n, &it, &CancelScope::new()));
            settle().await?;
            assert_eq!(it.waiting(), 1 + usize::from(has_next));
            it.grant();
            drop_it.set();
            settle().await?;
            if let Some(next) = next {
                if it.kind() == Kind::Taken {
                    assert_eq!(it.waiting(), 1, "the grant has taken the first's value");
                    it.grant();
                }
                assert_eq!(next.await?, Some(()));
            }
            Ok(())
        })
        .await?;
        let is_left =
            if has_next { it.kind().is_left_after_use() } else { !matches!(it.kind(), Kind::Fleeting | Kind::Taken) };
        assert_eq!(it.try_take(), is_left);
        assert_eq!(it.waiting(), 0);
    }
    Ok(())
}
