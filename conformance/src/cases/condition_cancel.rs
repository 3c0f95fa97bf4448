//! Conditions: waits that are cancelled or dropped.

use super::sync_tools::{Log, poll_once, settle};
use crate::case::{Case, portable};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use trine::sync::{Condition, Mutex};
use trine::{CancelScope, checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(cancelled_wait_holds_the_mutex, "condition.cancelled-holds", "trio test_sync.py::test_Condition"),
    portable!(wait_in_a_cancelled_scope_unlocks, "condition.no-check-first", "divergence 9"),
    portable!(wait_that_timed_out_holds_the_mutex, "condition.cancelled-holds", "divergence 3"),
    portable!(cancelled_regains_behind_those_who_came_first, "condition.regain-in-order", "divergence 10"),
    portable!(cancelled_while_queueing_has_used_the_notification_up, "condition.used-up", "divergence 3"),
    portable!(dropped_half_way_leaves_the_guard_without_the_mutex, "condition.dropped", "divergence 3"),
    portable!(dropped_after_notify_passes_it_on, "condition.drop-passes-on", "divergence 3"),
    portable!(dropped_after_notify_all_passes_nothing_on, "condition.drop-passes-on", "divergence 3"),
];

/// A wait that fails holds the mutex when it does.
async fn cancelled_wait_holds_the_mutex() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(1), Condition::new());
    let scope = CancelScope::new();
    nursery(async |n| {
        n.start_soon(async {
            scope
                .run(async {
                    let mut guard = mutex.lock().await?;
                    assert!(condition.wait(&mut guard).await.is_err());
                    assert!(mutex.is_locked());
                    *guard += 1;
                    checkpoint().await?;
                    unreachable!("the scope is cancelled");
                })
                .await
                .map(drop::<Option<()>>)
        });
        settle().await?;
        let held = mutex.lock().await?;
        scope.cancel();
        settle().await?;
        assert_eq!((*held, condition.statistics().waiting), (1, 0));
        assert_eq!(mutex.statistics().waiting, 1, "it waits for the mutex, under a shield");
        drop(held);
        settle().await?;
        assert_eq!(*mutex.try_lock()?, 2);
        Ok(())
    })
    .await
}

/// A cancelled wait lets those in who wait for the mutex, before it regains it and fails.
async fn wait_in_a_cancelled_scope_unlocks() -> trine::Result<()> {
    let (mutex, condition, log) = (Mutex::new(()), Condition::new(), Log::new());
    let scope = CancelScope::new();
    nursery(async |n| {
        let mut guard = mutex.lock().await?;
        n.start_soon(async {
            let _guard = mutex.lock().await?;
            log.push("other");
            Ok(())
        });
        settle().await?;
        scope
            .run(async {
                scope.cancel();
                let result = condition.wait(&mut guard).await;
                log.push("waiter");
                assert!(mutex.is_locked());
                Ok(result?)
            })
            .await
            .map(drop)
    })
    .await?;
    assert!(scope.cancelled_caught());
    assert_eq!(log.take(), ["other", "waiter"]);
    Ok(())
}

/// A guard from outside of a timeout is good for use after it.
async fn wait_that_timed_out_holds_the_mutex() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(7), Condition::new());
    let mut guard = mutex.lock().await?;
    let waited = async { Ok(condition.wait(&mut guard).await?) };
    assert_eq!(move_on_after(Duration::from_secs(1), waited).await?, None);
    assert_eq!(*guard, 7);
    assert!(mutex.is_locked());
    drop(guard);
    assert!(!mutex.is_locked());
    Ok(())
}

/// To regain the mutex a cancelled wait queues as everybody does.
async fn cancelled_regains_behind_those_who_came_first() -> trine::Result<()> {
    let (mutex, condition, log) = (Mutex::new(()), Condition::new(), Log::new());
    let scope = CancelScope::new();
    nursery(async |n| {
        n.start_soon(async {
            let mut guard = mutex.lock().await?;
            let waited = scope.run(async { Ok(condition.wait(&mut guard).await?) }).await?;
            assert_eq!(waited, None);
            log.push("cancelled");
            Ok(())
        });
        settle().await?;
        let held = mutex.lock().await?;
        n.start_soon(async {
            let _guard = mutex.lock().await?;
            log.push("first");
            Ok(())
        });
        settle().await?;
        scope.cancel();
        settle().await?;
        drop(held);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["first", "cancelled"]);
    Ok(())
}

/// The notification of a wait that is cancelled while it queues for the mutex is spent: the next one waits on.
async fn cancelled_while_queueing_has_used_the_notification_up() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    let scope = CancelScope::new();
    nursery(async |n| {
        let first = n.spawn(async {
            let mut guard = mutex.lock().await?;
            scope.run(async { Ok(condition.wait(&mut guard).await?) }).await
        });
        settle().await?;
        let second = n.spawn(async {
            let mut guard = mutex.lock().await?;
            Ok(condition.wait(&mut guard).await?)
        });
        settle().await?;
        let held = mutex.lock().await?;
        condition.notify(1);
        scope.cancel();
        settle().await?;
        drop(held);
        assert_eq!(first.await?, None);
        settle().await?;
        assert_eq!(condition.statistics().waiting, 1);
        condition.notify(1);
        Ok(second.await?)
    })
    .await
}

/// After that, access panics, the drop does nothing, and waiting with it panics.
async fn dropped_half_way_leaves_the_guard_without_the_mutex() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(7), Condition::new());
    let mut guard = mutex.lock().await?;
    {
        let mut wait = Box::pin(condition.wait(&mut guard));
        assert!(poll_once(wait.as_mut()).await.is_pending());
        assert!(!mutex.is_locked());
    }
    assert_eq!(condition.statistics().waiting, 0);
    assert!(catch_unwind(AssertUnwindSafe(|| *guard)).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| *guard = 8)).is_err());
    let other = mutex.try_lock()?;
    drop(guard);
    assert!(mutex.is_locked(), "the drop of a guard that holds nothing unlocks nothing");
    assert_eq!(*other, 7);
    Ok(())
}

/// A notification that a dropped wait has got goes to the next one; also when the mutex was handed to it.
async fn dropped_after_notify_passes_it_on() -> trine::Result<()> {
    for is_locked in [false, true] {
        let (mutex, condition) = (Mutex::new(()), Condition::new());
        nursery(async |n| {
            let mut guard = mutex.lock().await?;
            let mut wait = Box::pin(condition.wait(&mut guard));
            assert!(poll_once(wait.as_mut()).await.is_pending());
            let next = n.spawn(async {
                let mut guard = mutex.lock().await?;
                Ok(condition.wait(&mut guard).await?)
            });
            settle().await?;
            let held = is_locked.then(|| mutex.try_lock()).transpose()?;
            condition.notify(1);
            drop(wait);
            drop(held);
            Ok(next.await?)
        })
        .await?;
        assert!(!mutex.is_locked());
    }
    Ok(())
}

/// All who waited were notified, so one that is dropped has nothing to pass on: who comes later waits.
async fn dropped_after_notify_all_passes_nothing_on() -> trine::Result<()> {
    let (mutex, other, condition) = (Mutex::new(()), Mutex::new(()), Condition::new());
    nursery(async |n| {
        let mut guard = mutex.lock().await?;
        let mut wait = Box::pin(condition.wait(&mut guard));
        assert!(poll_once(wait.as_mut()).await.is_pending());
        condition.notify_all();
        let later = n.spawn(async {
            let mut guard = other.lock().await?;
            Ok(condition.wait(&mut guard).await?)
        });
        settle().await?;
        assert_eq!(condition.statistics().waiting, 1);
        drop(wait);
        assert_eq!(condition.statistics().waiting, 1);
        assert!(!mutex.is_locked());
        condition.notify(1);
        Ok(later.await?)
    })
    .await
}
