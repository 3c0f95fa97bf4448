//! Waits that have begun in a scope, and are taken out of it: a cancel there is none of who polls them later.

use super::cancel_tools::{SECOND, after, forever, poll_here};
use crate::case::{Case, portable};
use std::future::Future;
use trine::sync::{Condition, Event, Lock, Mutex, Semaphore};
use trine::{CancelScope, Result, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(receive_goes_on_after_its_scope, "wait.taken-along", "design 4.1"),
    portable!(send_goes_on_after_its_scope, "wait.taken-along", "design 4.1"),
    portable!(locks_go_on_after_their_scope, "wait.taken-along", "design 4.1"),
    portable!(event_goes_on_after_its_scope, "wait.taken-along", "design 4.1"),
    portable!(condition_goes_on_after_its_scope, "wait.taken-along", "design 4.1"),
    portable!(handle_goes_on_after_its_scope, "wait.taken-along", "design 4.1"),
    portable!(wait_goes_on_under_a_shield, "wait.taken-along", "design 4.1"),
    portable!(wait_goes_on_in_another_task, "wait.taken-along", "design 4.1"),
    portable!(wait_that_is_taken_into_a_cancelled_scope_is_cancelled, "wait.taken-along", "design 4.1"),
];

/// Polls a wait inside a scope, which is then cancelled, does `then`, and leaves the scope.
async fn leave_with<F: Future + Unpin>(wait: &mut F, then: impl FnOnce()) -> Result<()> {
    let scope = CancelScope::new();
    let inside = scope.run(async {
        assert!(poll_here(wait).await.is_pending());
        scope.cancel();
        // Passes over what is cancelled.
        then();
        Ok(())
    });
    inside.await.map(drop)
}

async fn receive_goes_on_after_its_scope() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    let mut receive = Box::pin(rx.recv());
    leave_with(&mut receive, || tx.try_send(1).expect("there is room")).await?;
    assert_eq!(receive.await.expect("not cancelled"), 1);
    Ok(())
}

async fn send_goes_on_after_its_scope() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    tx.try_send(1)?;
    let mut send = Box::pin(tx.send(2));
    leave_with(&mut send, || assert_eq!(rx.try_recv(), Ok(1))).await?;
    send.await.expect("not cancelled");
    assert_eq!(rx.try_recv(), Ok(2));
    Ok(())
}

async fn locks_go_on_after_their_scope() -> Result<()> {
    let (mutex, semaphore, lock) = (Mutex::new(()), Semaphore::new(0), Lock::new());
    let guard = mutex.lock().await?;
    let mut wait = Box::pin(mutex.lock());
    leave_with(&mut wait, || drop(guard)).await?;
    drop(wait.await.expect("not cancelled"));
    let mut wait = Box::pin(semaphore.acquire());
    leave_with(&mut wait, || semaphore.add_permits(1)).await?;
    wait.await.expect("not cancelled").forget();
    nursery(async |n| {
        let owner = n.spawn(async {
            lock.acquire().await?;
            after(1).await?;
            Ok(lock.release()?)
        });
        trine::testing::wait_all_tasks_blocked().await?;
        let mut wait = Box::pin(lock.acquire());
        leave_with(&mut wait, || ()).await?;
        owner.await?;
        wait.await.expect("not cancelled");
        Ok(lock.release()?)
    })
    .await
}

async fn event_goes_on_after_its_scope() -> Result<()> {
    let event = Event::new();
    let mut wait = Box::pin(event.wait());
    leave_with(&mut wait, || event.set()).await?;
    wait.await.expect("not cancelled");
    Ok(())
}

async fn condition_goes_on_after_its_scope() -> Result<()> {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    let mut guard = mutex.lock().await?;
    nursery(async |n| {
        n.start_soon(async {
            after(1).await?;
            condition.notify_all();
            Ok(())
        });
        let mut wait = Box::pin(condition.wait(&mut guard));
        leave_with(&mut wait, || condition.notify(1)).await?;
        wait.await.expect("not cancelled");
        Ok(())
    })
    .await?;
    assert!(mutex.is_locked());
    Ok(())
}

async fn handle_goes_on_after_its_scope() -> Result<()> {
    nursery(async |n| {
        let mut handle = n.spawn(async {
            after(1).await?;
            Ok(5)
        });
        leave_with(&mut handle, || ()).await?;
        assert_eq!(handle.await.expect("not cancelled"), 5);
        Ok(())
    })
    .await
}

async fn wait_goes_on_under_a_shield() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    let scope = CancelScope::new();
    let inside = scope.run(async {
        let mut receive = Box::pin(rx.recv());
        let mut never = Box::pin(trine::sleep_forever());
        assert!(poll_here(&mut receive).await.is_pending() && poll_here(&mut never).await.is_pending());
        scope.cancel();
        let cleaned_up = shielded(async {
            tx.try_send(1)?;
            assert!(poll_here(&mut never).await.is_pending());
            Ok(receive.await?)
        });
        assert_eq!(cleaned_up.await.expect("not cancelled"), 1);
        Ok(())
    });
    inside.await.map(drop)
}

async fn wait_goes_on_in_another_task() -> Result<()> {
    let (tx, rx) = trine::channel::<u32>(1);
    let (give, take) = trine::unbounded();
    let scope = &CancelScope::new();
    nursery(async |n| {
        n.start_soon(async move {
            let inside = scope.run(async move {
                let mut receive = Box::pin(async move { rx.recv().await });
                assert!(poll_here(&mut receive).await.is_pending());
                scope.cancel();
                give.try_send(receive).map_err(|error| error.kind)?;
                shielded(after(1)).await
            });
            inside.await.map(drop)
        });
        let receive = take.recv().await?;
        tx.try_send(7)?;
        assert_eq!(receive.await.expect("not cancelled"), 7);
        Ok(())
    })
    .await
}

async fn wait_that_is_taken_into_a_cancelled_scope_is_cancelled() -> Result<()> {
    let (_tx, rx) = trine::channel::<u32>(1);
    let mut receive = Box::pin(rx.recv());
    assert!(poll_here(&mut receive).await.is_pending());
    nursery(async |n| {
        let mut handle = n.spawn(forever());
        assert!(poll_here(&mut handle).await.is_pending());
        let scope = CancelScope::new();
        let inside = scope.run(async {
            scope.cancel();
            assert!(receive.await.is_err() && handle.await.is_err());
            Ok(())
        });
        inside.await?;
        n.cancel_children();
        Ok(())
    })
    .await?;
    assert_eq!(trine::move_on_after(SECOND, async { Ok(rx.recv().await?) }).await?, None);
    Ok(())
}
