//! The mutex and its guards.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use trine::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use trine::{CancelScope, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(lock_is_held_across_awaits, "mutex.exclusion", "divergence 10"),
    portable!(unlocking_hands_it_over, "mutex.direct-hand-over", "divergence 10"),
    portable!(cancelled_holder_unlocks, "mutex.release-in-cancelled-scope", "divergence 9"),
    portable!(unlocking_is_no_checkpoint, "mutex.release-no-checkpoint", "divergence 9"),
    portable!(panic_does_not_poison, "mutex.no-poison", "design 10"),
    portable!(owned_guard_outlives_the_handle, "mutex.owned", "design 10"),
    portable!(guard_may_change_hands, "mutex.guard-moves", "design 10"),
    portable!(value_is_reached_without_locking, "mutex.into-inner", "design 10"),
    portable!(statistics_count, "mutex.statistics", "design 10"),
    portable!(unsized_values_are_locked, "mutex.unsized", "design 10"),
];

/// Nobody gets in between two accesses of the holder.
async fn lock_is_held_across_awaits() -> trine::Result<()> {
    let total = Mutex::new(0);
    nursery(async |n| {
        for amount in 1..=20 {
            let total = &total;
            n.start_soon(async move {
                let mut total = total.lock().await?;
                let before = *total;
                for _ in 0..3 {
                    checkpoint().await?;
                }
                *total = before + amount;
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(total.into_inner(), 210);
    Ok(())
}

/// From the unlock on it is the waiter's: `try_lock` cannot take it in between.
async fn unlocking_hands_it_over() -> trine::Result<()> {
    let mutex = Mutex::new(());
    nursery(async |n| {
        let held = mutex.lock().await?;
        let waiter = n.spawn(async { Ok(mutex.lock().await.map(drop)?) });
        settle().await?;
        drop(held);
        assert!(mutex.is_locked());
        assert!(mutex.try_lock().is_err());
        waiter.await?;
        assert!(mutex.try_lock().is_ok());
        Ok(())
    })
    .await
}

/// The guard of a task that is cancelled goes with it, and the next has the mutex.
async fn cancelled_holder_unlocks() -> trine::Result<()> {
    let mutex = Mutex::new(1);
    let scope = CancelScope::new();
    nursery(async |n| {
        n.start_soon(async {
            scope
                .run(async {
                    let mut guard = mutex.lock().await?;
                    *guard = 2;
                    match trine::sleep_forever().await? {}
                })
                .await
                .map(drop::<Option<()>>)
        });
        settle().await?;
        let next = n.spawn(async { Ok(*mutex.lock().await?) });
        settle().await?;
        scope.cancel();
        assert_eq!(next.await?, 2);
        Ok(())
    })
    .await
}

/// Dropping a guard lets nobody else run, and looks for no cancellation.
async fn unlocking_is_no_checkpoint() -> trine::Result<()> {
    let mutex = Mutex::new(());
    let log = Log::new();
    let scope = CancelScope::new();
    nursery(async |n| {
        let held = mutex.lock().await?;
        n.start_soon(async {
            let _guard = mutex.lock().await?;
            log.push("waiter");
            Ok(())
        });
        settle().await?;
        scope
            .run(async {
                scope.cancel();
                drop(held);
                log.push("holder");
                Ok(())
            })
            .await
            .map(drop)
    })
    .await?;
    assert!(!scope.cancelled_caught());
    assert_eq!(log.take(), ["holder", "waiter"]);
    Ok(())
}

/// The guard is dropped by a panic, and the value is as it was left.
async fn panic_does_not_poison() -> trine::Result<()> {
    let mutex = Mutex::new(1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = mutex.try_lock().expect("it is free");
        *guard = 2;
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    assert!(!mutex.is_locked());
    assert_eq!(*mutex.lock().await?, 2);
    Ok(())
}

/// An owned guard keeps the mutex alive.
async fn owned_guard_outlives_the_handle() -> trine::Result<()> {
    let mutex = Arc::new(Mutex::new("value".to_owned()));
    let weak = Arc::downgrade(&mutex);
    let guard = mutex.lock_owned().await?;
    assert_eq!(*guard, "value");
    assert!(weak.upgrade().is_some_and(|mutex| mutex.is_locked()));
    drop(guard);
    assert!(weak.upgrade().is_none());
    Ok(())
}

/// A guard is no task's: another may unlock with it.
async fn guard_may_change_hands() -> trine::Result<()> {
    let mutex = Arc::new(Mutex::new(0));
    let (sender, receiver) = trine::channel::<OwnedMutexGuard<u32>>(0);
    nursery(async |n| {
        n.start_soon(async {
            let mut guard = receiver.recv().await?;
            *guard += 1;
            Ok(())
        });
        let mut guard = Arc::clone(&mutex).lock_owned().await?;
        *guard += 1;
        Ok(sender.send(guard).await?)
    })
    .await?;
    assert_eq!(*mutex.try_lock()?, 2);
    Ok(())
}

/// An exclusive borrow needs no lock.
async fn value_is_reached_without_locking() -> trine::Result<()> {
    let mut mutex = Mutex::from(1);
    *mutex.get_mut() += 1;
    *mutex.lock().await? += 1;
    assert_eq!(mutex.into_inner(), 3);
    Ok(())
}

/// Locked or not, and how many wait.
async fn statistics_count() -> trine::Result<()> {
    let mutex = Mutex::new(());
    assert!(!mutex.statistics().locked);
    let scope = CancelScope::new();
    nursery(async |n| {
        let guard: MutexGuard<'_, ()> = mutex.lock().await?;
        for _ in 0..2 {
            n.start_soon(async { Ok(mutex.lock().await.map(drop)?) });
        }
        n.start_soon(async { scope.run(async { Ok(mutex.lock().await.map(drop)?) }).await.map(drop) });
        settle().await?;
        assert_eq!((mutex.statistics().locked, mutex.statistics().waiting), (true, 3));
        scope.cancel();
        assert_eq!(mutex.statistics().waiting, 2);
        drop(guard);
        Ok(())
    })
    .await?;
    assert_eq!((mutex.statistics().locked, mutex.statistics().waiting), (false, 0));
    Ok(())
}

/// A mutex may hold a slice or a trait object.
async fn unsized_values_are_locked() -> trine::Result<()> {
    let mutex: Arc<Mutex<[u8]>> = Arc::new(Mutex::new([1, 2, 3]));
    mutex.lock().await?.reverse();
    assert_eq!(*mutex.try_lock_owned()?, [3, 2, 1]);
    Ok(())
}
