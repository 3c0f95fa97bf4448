//! A tree that is handed from task to task, half-run.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use trine::channel::Receiver;
use trine::{CancelScope, Result, fail_after, nursery};

use crate::{Boxed, LONG, MS, on_threads};

type Tree = Boxed<'static, Result<u64>>;

/// Adds up what comes, with a child that sleeps, one that waits for tokio and one that owns a lock of Trine.
fn tree(numbers: Receiver<u64>, signal: oneshot::Receiver<u64>) -> Tree {
    Box::pin(fail_after(
        LONG,
        nursery(async move |n| {
            let lock = Arc::new(trine::sync::Lock::new());
            let sum = n.spawn(async move {
                let mut sum = 0;
                while let Some(number) = numbers.try_next().await? {
                    sum += number;
                }
                Ok(sum)
            });
            let slept = n.spawn(async {
                for _ in 0..5 {
                    trine::sleep(MS).await?;
                    tokio::time::sleep(MS).await;
                }
                Ok(1)
            });
            lock.acquire().await?;
            let signalled = signal.await?;
            // It is the same task to Trine, whichever task of tokio polls it.
            lock.release()?;
            Ok(signalled + slept.await? + sum.await?)
        }),
    ))
}

/// Polls it a few times and passes it on; the last one awaits it.
async fn runner(mut inbox: mpsc::Receiver<Tree>, next: Option<mpsc::Sender<Tree>>) -> Option<Result<u64>> {
    let mut tree = inbox.recv().await?;
    let Some(next) = next else { return Some(tree.await) };
    for _ in 0..2 {
        let polled = futures::poll!(tree.as_mut());
        assert!(polled.is_pending(), "it ended at {polled:?} without its last number");
        tokio::task::yield_now().await;
    }
    assert!(next.send(tree).await.is_ok());
    None
}

#[test]
fn from_task_to_task_through_channels() {
    const HOPS: usize = 12;
    on_threads(async {
        let (tx, rx) = trine::channel(1);
        let (signal, signalled) = oneshot::channel();
        let (first, mut inbox) = mpsc::channel(1);
        let mut runners = Vec::new();
        for _ in 0..HOPS {
            let (next, its_inbox) = mpsc::channel(1);
            runners.push(tokio::spawn(runner(inbox, Some(next))));
            inbox = its_inbox;
        }
        let last = tokio::spawn(runner(inbox, None));
        assert!(first.send(tree(rx, signalled)).await.is_ok());
        // Numbers come while it is on its way; the signal when it has arrived.
        let numbers = tokio::spawn(async move {
            for number in 1..=100 {
                tx.send(number).await.unwrap();
            }
        });
        for runner in runners {
            assert!(runner.await.unwrap().is_none());
        }
        signal.send(1_000).unwrap();
        numbers.await.unwrap();
        assert_eq!(last.await.unwrap().unwrap().unwrap(), 1_000 + 1 + 5_050);
    });
}

#[test]
fn from_a_select_that_gave_up_to_a_task() {
    on_threads(async {
        let (tx, rx) = trine::channel(1);
        let (signal, signalled) = oneshot::channel();
        let mut tree = tree(rx, signalled);
        tokio::select! {
            result = &mut tree => unreachable!("{result:?}"),
            () = tokio::time::sleep(MS) => {}
        }
        let rest = tokio::spawn(tree);
        signal.send(2).unwrap();
        tx.send(3).await.unwrap();
        drop(tx);
        assert_eq!(rest.await.unwrap().unwrap(), 6);
    });
}

#[test]
fn shared_by_tasks_that_poll_it_in_turn() {
    on_threads(async {
        let (tx, rx) = trine::unbounded();
        let (signal, signalled) = oneshot::channel();
        let shared = Arc::new(Mutex::new(Some(tree(rx, signalled))));
        let pollers: Vec<_> = (0..6)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        if let Some(tree) = &mut *shared.lock().await {
                            assert!(futures::poll!(tree.as_mut()).is_pending());
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for number in 0..10 {
            tx.send(number).await.unwrap();
            tokio::task::yield_now().await;
        }
        for poller in pollers {
            poller.await.unwrap();
        }
        drop(tx);
        signal.send(0).unwrap();
        let tree = shared.lock().await.take().unwrap();
        assert_eq!(tree.await.unwrap(), 46);
    });
}

#[test]
fn cancelled_from_another_task_while_on_its_way() {
    on_threads(async {
        let scope = CancelScope::new();
        let (inner, cancels) = (scope.clone(), scope.clone());
        let mut tree: Boxed<'static, Result<Option<()>>> = Box::pin(async move {
            inner
                .nursery(async |n| {
                    for _ in 0..3 {
                        n.start_soon(async { Ok(trine::sleep(LONG).await?) });
                    }
                    trine::sleep_forever().await?;
                    Ok(())
                })
                .await
        });
        assert!(futures::poll!(tree.as_mut()).is_pending());
        let (next, mut inbox) = mpsc::channel::<Boxed<'static, Result<Option<()>>>>(1);
        let rest = tokio::spawn(async move { inbox.recv().await.unwrap().await });
        let cancel = tokio::spawn(async move { cancels.cancel() });
        assert!(next.send(tree).await.is_ok());
        cancel.await.unwrap();
        assert!(rest.await.unwrap().unwrap().is_none());
        assert!(scope.cancelled_caught());
    });
}
