//! The lock that belongs to a task.

use super::sync_tools::settle;
use crate::case::{Case, portable};
use std::sync::Arc;
use trine::sync::{Event, Lock, LockError};
use trine::{CancelScope, Error, is_cancelled, nursery, race};

pub(super) const CASES: &[Case] = &[
    portable!(belongs_to_its_task, "lock.owner", "trio test_sync.py::test_Lock_and_StrictFIFOLock"),
    portable!(is_broken_once_its_owner_has_ended, "lock.broken", "trio test_sync.py::test_lock_acquire_unowned_lock"),
    portable!(breaks_under_those_who_wait, "lock.broken", "trio test_sync.py::test_lock_multiple_acquire"),
    portable!(goes_to_the_first_who_waits, "lock.hand-over", "trio test_sync.py::test_lock_handover"),
    portable!(stays_broken, "lock.broken", "divergence 3"),
    portable!(breaks_when_its_owner_is_cancelled, "lock.broken", "divergence 3"),
    portable!(outside_of_any_task_it_cannot_be_had, "lock.no-task", "design 10"),
    portable!(bodies_scopes_and_branches_are_one_task, "lock.task-identity", "design 10"),
    portable!(cancelled_acquire_does_not_own_it, "lock.cancelled", "divergence 3"),
    portable!(handed_to_a_task_that_ends_without_looking_goes_on, "lock.hand-over", "divergence 3"),
    portable!(errors_of_cancelled_acquires_are_cancellations, "lock.error-identity", "divergence 14"),
];

/// The owner cannot acquire it again, others cannot release it, and nobody gets it without waiting.
async fn belongs_to_its_task() -> trine::Result<()> {
    let lock = Lock::new();
    assert!(!lock.is_locked());
    assert!(matches!(lock.release(), Err(LockError::NotOwner)));
    lock.acquire().await?;
    assert!(lock.is_locked());
    assert!(matches!(lock.acquire().await, Err(LockError::AlreadyOwner)));
    assert!(matches!(lock.try_acquire(), Err(LockError::AlreadyOwner)));
    nursery(async |n| {
        n.spawn(async {
            assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock)));
            assert!(matches!(lock.release(), Err(LockError::NotOwner)));
            Ok(())
        })
        .await?;
        let scope = CancelScope::new();
        let waiter = n.spawn({
            let (lock, scope) = (&lock, scope.clone());
            async move { scope.run(async { Ok(lock.acquire().await?) }).await }
        });
        settle().await?;
        assert_eq!((lock.statistics().locked, lock.statistics().waiting), (true, 1));
        scope.cancel();
        assert_eq!(waiter.await?, None);
        assert_eq!((lock.statistics().locked, lock.statistics().waiting), (true, 0));
        Ok(())
    })
    .await?;
    lock.release()?;
    assert!(!lock.is_locked());
    lock.try_acquire()?;
    Ok(lock.release()?)
}

/// A task that ends with the lock breaks it: who comes later learns so.
async fn is_broken_once_its_owner_has_ended() -> trine::Result<()> {
    let lock = Lock::new();
    nursery(async |n| {
        n.start_soon(async { Ok(lock.acquire().await?) });
        Ok(())
    })
    .await?;
    assert!(lock.is_locked());
    assert!(matches!(lock.acquire().await, Err(LockError::Broken)));
    assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock)));
    Ok(())
}

/// Those who wait when the owner ends learn so at once, all of them.
async fn breaks_under_those_who_wait() -> trine::Result<()> {
    let (lock, end) = (Lock::new(), Event::new());
    nursery(async |n| {
        n.start_soon(async {
            lock.acquire().await?;
            Ok(end.wait().await?)
        });
        settle().await?;
        for _ in 0..3 {
            n.start_soon(async {
                assert!(matches!(lock.acquire().await, Err(LockError::Broken)));
                Ok(())
            });
        }
        settle().await?;
        assert_eq!(lock.statistics().waiting, 3);
        end.set();
        Ok(())
    })
    .await?;
    assert!(lock.is_locked());
    Ok(())
}

/// A release makes the waiter the owner, with all that goes with it: its end breaks the lock, the releaser's does not.
async fn goes_to_the_first_who_waits() -> trine::Result<()> {
    let (lock, end) = (Lock::new(), Event::new());
    nursery(async |n| {
        let first = n.spawn(async {
            lock.acquire().await?;
            settle().await?;
            Ok(lock.release()?)
        });
        settle_started(&lock).await?;
        n.start_soon(async {
            lock.acquire().await?;
            assert!(matches!(lock.acquire().await, Err(LockError::AlreadyOwner)));
            Ok(end.wait().await?)
        });
        first.await?;
        settle().await?;
        assert!(lock.is_locked(), "the second has it, and the end of the first has not touched it");
        let third = n.spawn(async { Ok(matches!(lock.acquire().await, Err(LockError::Broken))) });
        settle().await?;
        assert!(!third.is_finished());
        end.set();
        assert!(third.await?, "the end of the second breaks it");
        Ok(())
    })
    .await
}

/// Until somebody has it.
async fn settle_started(lock: &Lock) -> trine::Result<()> {
    while !lock.is_locked() {
        trine::checkpoint().await?;
    }
    Ok(())
}

/// Nothing mends it.
async fn stays_broken() -> trine::Result<()> {
    let lock = Lock::new();
    nursery(async |n| {
        n.start_soon(async { Ok(lock.acquire().await?) });
        Ok(())
    })
    .await?;
    for _ in 0..3 {
        assert!(matches!(lock.release(), Err(LockError::NotOwner)));
        assert!(matches!(lock.acquire().await, Err(LockError::Broken)));
        assert!(lock.is_locked());
    }
    Ok(())
}

/// However it ends.
async fn breaks_when_its_owner_is_cancelled() -> trine::Result<()> {
    let lock = Lock::new();
    nursery(async |n| {
        n.start_soon(async {
            lock.acquire().await?;
            match trine::sleep_forever().await? {}
        });
        settle().await?;
        n.cancel_children();
        Ok(())
    })
    .await?;
    assert!(matches!(lock.acquire().await, Err(LockError::Broken)));
    Ok(())
}

/// A thread is no task.
async fn outside_of_any_task_it_cannot_be_had() -> trine::Result<()> {
    let lock = Arc::new(Lock::new());
    lock.acquire().await?;
    let elsewhere = Arc::clone(&lock);
    std::thread::spawn(move || {
        assert!(matches!(elsewhere.try_acquire(), Err(LockError::NoTask)));
        assert!(matches!(elsewhere.release(), Err(LockError::NoTask)));
        assert!(elsewhere.is_locked());
    })
    .join()
    .expect("it does not panic");
    Ok(lock.release()?)
}

/// What a task opens is the same task: it has the lock, and may release it.
async fn bodies_scopes_and_branches_are_one_task() -> trine::Result<()> {
    let lock = Lock::new();
    lock.acquire().await?;
    nursery(async |_| {
        assert!(matches!(lock.try_acquire(), Err(LockError::AlreadyOwner)));
        let in_scope = async {
            lock.release()?;
            Ok(lock.acquire().await?)
        };
        assert_eq!(CancelScope::new().run(in_scope).await?, Some(()));
        let left = async { Ok(matches!(lock.try_acquire(), Err(LockError::AlreadyOwner))) };
        let right = async { match trine::sleep_forever().await? {} };
        let _: trine::Either<bool, ()> = race(left, right).await?;
        Ok(())
    })
    .await?;
    lock.release()?;
    assert!(!lock.is_locked());
    Ok(())
}

/// Cancelled before or while it waits, it cannot release what it did not get.
async fn cancelled_acquire_does_not_own_it() -> trine::Result<()> {
    let lock = Lock::new();
    let scope = CancelScope::new();
    scope
        .run(async {
            scope.cancel();
            assert!(matches!(lock.acquire().await, Err(LockError::Cancelled(_))));
            Ok(())
        })
        .await?;
    assert!(!lock.is_locked());
    assert!(matches!(lock.release(), Err(LockError::NotOwner)));
    Ok(())
}

/// A task that was handed the lock, and ends by dropping its wait, is passed over; the lock is not broken.
async fn handed_to_a_task_that_ends_without_looking_goes_on() -> trine::Result<()> {
    let (lock, end) = (Lock::new(), Event::new());
    lock.acquire().await?;
    nursery(async |n| {
        n.start_soon(async {
            let mut wait = Box::pin(lock.acquire());
            assert!(super::sync_tools::poll_once(wait.as_mut()).await.is_pending());
            Ok(end.wait().await?)
        });
        settle().await?;
        let next = n.spawn(async {
            lock.acquire().await?;
            Ok(lock.release()?)
        });
        settle().await?;
        lock.release()?;
        end.set();
        Ok(next.await?)
    })
    .await?;
    assert!(!lock.is_locked());
    Ok(())
}

/// `?` keeps them apart from real errors.
async fn errors_of_cancelled_acquires_are_cancellations() -> trine::Result<()> {
    let lock = Lock::new();
    let scope = CancelScope::new();
    scope.cancel();
    let caught = scope
        .run(async {
            let error = lock.acquire().await.expect_err("the scope is cancelled");
            assert!(is_cancelled(&error));
            assert!(Error::from(error.clone()).is_cancelled());
            Err::<(), _>(error.into())
        })
        .await?;
    assert_eq!(caught, None);
    assert!(!Error::from(LockError::NotOwner).is_cancelled());
    assert!(!is_cancelled(&LockError::Broken));
    Ok(())
}
