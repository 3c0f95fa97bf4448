//! Semaphores and their permits.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use trine::sync::{OwnedPermit, Semaphore};
use trine::{CancelScope, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(counts_and_hands_over, "semaphore.basics", "trio test_sync.py::test_Semaphore"),
    portable!(lets_so_many_in_at_once, "semaphore.bound", "divergence 10"),
    portable!(forgotten_permit_never_comes_back, "semaphore.forget", "design 10"),
    portable!(added_permits_go_to_those_who_wait_first, "semaphore.add", "divergence 10"),
    portable!(too_many_permits_are_refused, "semaphore.bounded", "design 10"),
    portable!(owned_permit_keeps_it_alive, "semaphore.owned", "design 10"),
    portable!(permit_belongs_to_no_task, "semaphore.not-owned", "design 10"),
    portable!(permit_is_given_back_in_a_cancelled_scope, "semaphore.release-in-cancelled-scope", "divergence 9"),
    portable!(starts_empty_and_is_filled, "semaphore.zero", "design 10"),
];

/// The count goes down and up; with somebody waiting it stays at 0.
async fn counts_and_hands_over() -> trine::Result<()> {
    let semaphore = Semaphore::new(2);
    let first = semaphore.acquire().await?;
    assert_eq!(semaphore.available(), 1);
    let second = semaphore.try_acquire()?;
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire().is_err());
    nursery(async |n| {
        let waiter = n.spawn(async {
            let _permit = semaphore.acquire().await?;
            checkpoint().await?;
            Ok(())
        });
        settle().await?;
        assert_eq!(semaphore.statistics().waiting, 1);
        drop(first);
        assert_eq!((semaphore.available(), semaphore.statistics().waiting), (0, 0));
        assert!(semaphore.try_acquire().is_err(), "it is the waiter's");
        waiter.await?;
        assert_eq!(semaphore.available(), 1);
        Ok(())
    })
    .await?;
    drop(second);
    assert_eq!(semaphore.available(), 2);
    Ok(())
}

/// As many as there are permits are inside, and no more.
async fn lets_so_many_in_at_once() -> trine::Result<()> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (semaphore, inside, most) = (Semaphore::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
    nursery(async |n| {
        for _ in 0..20 {
            n.start_soon(async {
                let _permit = semaphore.acquire().await?;
                most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                settle().await?;
                inside.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!((most.into_inner(), semaphore.available()), (3, 3));
    Ok(())
}

/// There is one permit less, for good; also of the owned kind.
async fn forgotten_permit_never_comes_back() -> trine::Result<()> {
    let semaphore = Arc::new(Semaphore::new(3));
    semaphore.acquire().await?.forget();
    assert_eq!(semaphore.available(), 2);
    Arc::clone(&semaphore).acquire_owned().await?.forget();
    assert_eq!(semaphore.available(), 1);
    let last = semaphore.try_acquire()?;
    assert!(semaphore.try_acquire().is_err());
    drop(last);
    assert_eq!(semaphore.available(), 1);
    assert_eq!(Arc::strong_count(&semaphore), 1, "a forgotten permit keeps nothing alive");
    semaphore.add_permits(2);
    assert_eq!(semaphore.available(), 3);
    Ok(())
}

/// Of five who wait, the first three are served, and what is left over stays.
async fn added_permits_go_to_those_who_wait_first() -> trine::Result<()> {
    let (semaphore, log) = (Semaphore::new(0), Log::new());
    nursery(async |n| {
        for who in 0..5 {
            let (semaphore, log) = (&semaphore, &log);
            n.start_soon(async move {
                semaphore.acquire().await?.forget();
                log.push(who);
                Ok(())
            });
            settle().await?;
        }
        semaphore.add_permits(3);
        assert_eq!((semaphore.available(), semaphore.statistics().waiting), (0, 2));
        settle().await?;
        let mut served = log.take();
        served.sort_unstable();
        assert_eq!(served, [0, 1, 2]);
        semaphore.add_permits(3);
        assert_eq!((semaphore.available(), semaphore.statistics().waiting), (1, 0));
        Ok(())
    })
    .await
}

/// The count cannot overflow, and is as before when it would.
async fn too_many_permits_are_refused() -> trine::Result<()> {
    let semaphore = Semaphore::new(usize::MAX);
    let caught = catch_unwind(AssertUnwindSafe(|| semaphore.add_permits(1)));
    assert!(caught.is_err());
    assert_eq!(semaphore.available(), usize::MAX);
    let _permit = semaphore.acquire().await?;
    assert_eq!(semaphore.available(), usize::MAX - 1);
    Ok(())
}

/// An owned permit outlives all other handles.
async fn owned_permit_keeps_it_alive() -> trine::Result<()> {
    let semaphore = Arc::new(Semaphore::new(1));
    let weak = Arc::downgrade(&semaphore);
    let permit = semaphore.acquire_owned().await?;
    let other = weak.upgrade().expect("the permit keeps it");
    assert!(Arc::clone(&other).try_acquire_owned().is_err());
    drop(permit);
    assert!(other.try_acquire_owned().is_ok());
    assert!(weak.upgrade().is_none());
    Ok(())
}

/// One task acquires, another gives back.
async fn permit_belongs_to_no_task() -> trine::Result<()> {
    let semaphore = Arc::new(Semaphore::new(1));
    let (sender, receiver) = trine::channel::<OwnedPermit>(0);
    nursery(async |n| {
        n.start_soon(async { Ok(receiver.recv().await.map(drop)?) });
        let permit = Arc::clone(&semaphore).acquire_owned().await?;
        sender.send(permit).await?;
        // The first one has been given back by the other task.
        Ok(semaphore.acquire().await.map(drop)?)
    })
    .await
}

/// Giving back is no checkpoint.
async fn permit_is_given_back_in_a_cancelled_scope() -> trine::Result<()> {
    let semaphore = Semaphore::new(1);
    let scope = CancelScope::new();
    let done = scope
        .run(async {
            let permit = semaphore.acquire().await?;
            scope.cancel();
            drop(permit);
            Ok(())
        })
        .await?;
    assert_eq!((done, semaphore.available()), (Some(()), 1));
    assert!(!scope.cancelled_caught());
    Ok(())
}

/// With no permits all wait, until some are added.
async fn starts_empty_and_is_filled() -> trine::Result<()> {
    let semaphore = Semaphore::new(0);
    assert!(semaphore.try_acquire().is_err());
    nursery(async |n| {
        let waiter = n.spawn(async { Ok(semaphore.acquire().await.map(drop)?) });
        settle().await?;
        assert!(!waiter.is_finished());
        semaphore.add_permits(1);
        Ok(waiter.await?)
    })
    .await?;
    assert_eq!(semaphore.available(), 1);
    Ok(())
}
