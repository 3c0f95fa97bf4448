//! What was handed to a wait that is then dropped or forgotten.

use super::cancel_tools::{BLOCKED, SECOND, after, poll_here};
use crate::case::{Case, portable};
use trine::channel::RecvError;
use trine::sync::{Mutex, Semaphore};
use trine::testing::wait_all_tasks_blocked;
use trine::{Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(item_handed_to_a_dropped_wait_goes_on, "drop.hand-over", "design 4.2, divergence 3"),
    portable!(item_that_comes_back_after_the_last_sender_is_received, "drop.hand-over", "design 4.2, divergence 3"),
    portable!(permit_handed_to_a_dropped_wait_goes_on, "drop.hand-over", "design 4.2, divergence 3"),
    portable!(lock_handed_to_a_dropped_wait_goes_on, "drop.hand-over", "design 4.2, divergence 3"),
    portable!(forgotten_future_harms_nobody, "drop.forgotten", "design 1"),
];

async fn item_handed_to_a_dropped_wait_goes_on() -> Result<()> {
    let (tx, rx) = trine::channel(0);
    let mut first = Box::pin(rx.recv());
    assert!(poll_here(&mut first).await.is_pending());
    tx.try_send(1)?;
    drop(first);
    assert_eq!(rx.recv().await?, 1);
    Ok(())
}

async fn item_that_comes_back_after_the_last_sender_is_received() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    let (mut first, mut second) = (Box::pin(rx.recv()), Box::pin(rx.recv()));
    assert!(poll_here(&mut first).await.is_pending());
    assert!(poll_here(&mut second).await.is_pending());
    tx.try_send(1)?;
    // Nobody will send any more, so the second one need not wait; but the first one's item is still to come back.
    drop(tx);
    drop(first);
    assert_eq!(second.await?, 1);
    assert!(matches!(rx.recv().await, Err(RecvError::EndOfChannel)));
    Ok(())
}

async fn permit_handed_to_a_dropped_wait_goes_on() -> Result<()> {
    let semaphore = Semaphore::new(0);
    nursery(async |n| {
        let mut first = Box::pin(semaphore.acquire());
        assert!(poll_here(&mut first).await.is_pending());
        let second = n.spawn(async { Ok(semaphore.acquire().await.map(drop)?) });
        wait_all_tasks_blocked().await?;
        semaphore.add_permits(1);
        assert_eq!(semaphore.available(), 0);
        drop(first);
        second.await?;
        assert_eq!(semaphore.available(), 1);
        Ok(())
    })
    .await
}

async fn lock_handed_to_a_dropped_wait_goes_on() -> Result<()> {
    let mutex = Mutex::new(0);
    nursery(async |n| {
        let held = mutex.lock().await?;
        let mut first = Box::pin(mutex.lock());
        assert!(poll_here(&mut first).await.is_pending());
        let second = n.spawn(async {
            *mutex.lock().await? += 1;
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        drop(held);
        drop(first);
        second.await?;
        assert!(!mutex.is_locked());
        assert_eq!(*mutex.try_lock()?, 1);
        Ok(())
    })
    .await
}

async fn forgotten_future_harms_nobody() -> Result<()> {
    let start = trine::now();
    for (_, op) in BLOCKED {
        let mut fut = op();
        assert!(poll_here(&mut fut).await.is_pending());
        std::mem::forget(fut);
    }
    after(1).await?;
    wait_all_tasks_blocked().await?;
    nursery(async |n| {
        (1..20).for_each(|i| n.start_soon(after(i)));
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - start, SECOND * 20);
    Ok(())
}
