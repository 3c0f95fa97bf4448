//! What belongs to tokio, inside scopes and nurseries, cancelled without a wrapper.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use trine::{Builder, CancelScope, Result, backend, move_on_after, nursery};

use crate::support::{LONG, MS, current_thread, multi_thread, ok};

/// Runs a test within tokio in each way there is.
fn on_tokio<F: Future<Output = Result<()>>>(test: impl Fn() -> F) -> Result<()> {
    current_thread().block_on(test())?;
    multi_thread().block_on(test())?;
    Builder::new().backend(backend::tokio()).run(test())
}

#[test]
fn waits_of_tokio_are_cancelled() -> Result<()> {
    on_tokio(|| async {
        let (notify, lock) = (Notify::new(), Mutex::new(()));
        let (_tx, mut rx) = mpsc::channel::<()>(1);
        let (_one, two) = oneshot::channel::<()>();
        let _held = lock.lock().await;
        let dropped = AtomicUsize::new(0);
        struct Count<'a>(&'a AtomicUsize);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let scope = CancelScope::new();
        let caught = scope
            .nursery(async |n| {
                let count = || Count(&dropped);
                let (a, b, c, d, e) = (count(), count(), count(), count(), count());
                n.start_soon(async move {
                    let _a = a;
                    notify.notified().await;
                    Ok(())
                });
                n.start_soon(async {
                    let _b = b;
                    drop(lock.lock().await);
                    Ok(())
                });
                n.start_soon(async {
                    let _c = c;
                    rx.recv().await;
                    Ok(())
                });
                n.start_soon(async {
                    let _d = d;
                    tokio::time::sleep(LONG).await;
                    Ok(())
                });
                n.start_soon(async {
                    let _e = e;
                    Ok(two.await?)
                });
                trine::checkpoint().await?;
                scope.cancel();
                Ok(())
            })
            .await?;
        assert!(caught.is_none());
        assert_eq!(dropped.into_inner(), 5);
        ok()
    })
}

#[test]
fn tasks_and_jobs_of_tokio_are_left_by_a_timeout() -> Result<()> {
    on_tokio(|| async {
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let job = tokio::task::spawn_blocking(move || gate.recv().is_err());
        let task = tokio::spawn(std::future::pending::<()>());
        let abort = task.abort_handle();
        assert!(move_on_after(MS, async { Ok(task.await?) }).await?.is_none());
        assert!(!abort.is_finished()); // tokio's tasks go on when their handles are dropped
        abort.abort();
        let mut job = job;
        assert!(move_on_after(MS, async { Ok((&mut job).await?) }).await?.is_none());
        drop(release);
        assert!(job.await?);
        ok()
    })
}

#[test]
fn selects_and_joins_of_tokio_have_branches_of_both_kinds() -> Result<()> {
    on_tokio(|| async {
        let (tx, rx) = trine::channel(0);
        let (done, is_done) = oneshot::channel();
        let (sent, received, ()) = tokio::join!(tx.send(1), rx.recv(), async { done.send(2).unwrap() });
        sent?;
        assert_eq!(received?, 1);
        tokio::select! {
            value = is_done => assert_eq!(value?, 2),
            result = trine::sleep(LONG) => unreachable!("{result:?}"),
        }
        tokio::select! {
            result = trine::sleep(MS) => result?,
            () = tokio::time::sleep(LONG) => unreachable!(),
        }
        ok()
    })
}

#[test]
fn channels_of_tokio_connect_children_and_tasks() -> Result<()> {
    on_tokio(|| async {
        let (tx, mut rx) = mpsc::channel(2);
        let total = Arc::new(Mutex::new(0));
        let task = {
            let (tx, total) = (tx.clone(), total.clone());
            tokio::spawn(async move {
                for i in 0..50 {
                    tx.send(i).await.unwrap();
                }
                *total.lock().await += 1;
            })
        };
        nursery(async |n| {
            n.start_soon(async {
                let tx = tx;
                for i in 50..100 {
                    tx.send(i).await?;
                }
                *total.lock().await += 1;
                Ok(())
            });
            let mut sum = 0;
            while let Some(i) = rx.recv().await {
                sum += i;
            }
            assert_eq!(sum, 4950);
            Ok(())
        })
        .await?;
        task.await?;
        assert_eq!(*total.lock().await, 2);
        ok()
    })
}

#[test]
fn a_scope_cancelled_by_a_task_of_tokio() -> Result<()> {
    on_tokio(|| async {
        let scope = CancelScope::new();
        let task = tokio::spawn({
            let scope = scope.clone();
            async move { scope.cancel() }
        });
        assert!(scope.run(std::future::pending::<Result<()>>()).await?.is_none());
        task.await?;
        ok()
    })
}
