//! Spawners: from any task and any thread, for as long as the nursery is open.

use super::nursery_tools::{Gate, Live, Log, Oops, SECOND, after, error_of, forever, oopses};
use crate::case::{Case, portable};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trine::sync::Event;
use trine::{Closed, Error, JoinError, Result, Spawner, checkpoint, checkpoint_if_cancelled, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(it_does_not_keep_the_nursery_open, "spawner.weak", "design 3"),
    portable!(after_the_end_it_is_closed, "spawner.closed", "trio test_run.py::test_nursery_closure"),
    portable!(after_a_failure_and_a_drop_it_is_closed, "spawner.closed", "design 3"),
    portable!(what_a_closed_one_is_given_is_dropped, "spawner.closed", "design 3"),
    portable!(it_is_open_while_the_nursery_waits, "spawner.open", "trio test_run.py::test_nursery_closure"),
    portable!(another_task_spawns_and_joins, "spawner.other-task", "design 3"),
    portable!(error_of_its_child_is_the_nursery_s, "spawner.error", "design 3"),
    portable!(its_children_are_under_the_nursery_s_scope, "spawner.scopes", "design 3"),
    portable!(it_cancels_the_children, "spawner.cancel-children", "design 3"),
    portable!(threads_spawn_while_the_nursery_is_open, "spawner.threads", "design 3"),
    portable!(threads_race_with_the_close, "spawner.threads-close", "divergence 3"),
    portable!(it_starts_from_another_task, "spawner.start", "design 3"),
];

async fn it_does_not_keep_the_nursery_open() -> Result<()> {
    let begin = trine::now();
    let spawner = nursery(async |n| {
        let spawner = n.spawner();
        n.start_soon(after(1, ()));
        Ok(spawner)
    })
    .await?;
    assert_eq!(trine::now() - begin, SECOND);
    assert!(spawner.is_closed());
    Ok(())
}

async fn after_the_end_it_is_closed() -> Result<()> {
    let spawner = nursery(async |n| {
        let spawner = n.spawner();
        assert!(!spawner.is_closed());
        Ok(spawner)
    })
    .await?;
    let clone = spawner.clone();
    assert!(spawner.is_closed() && clone.is_closed());
    let closed: Closed = spawner.start_soon(async { Ok(()) }).expect_err("closed");
    assert_eq!(closed.to_string(), "cannot spawn: the nursery is closed");
    assert!(clone.spawn(async { Ok(()) }).is_err());
    clone.cancel_children();
    Ok(checkpoint().await?)
}

async fn after_a_failure_and_a_drop_it_is_closed() -> Result<()> {
    let (tx, rx) = trine::channel::<Spawner>(2);
    error_of(
        nursery(async |n| {
            tx.send(n.spawner()).await?;
            Result::<()>::Err(Oops(1).into())
        })
        .await,
    );
    assert!(rx.recv().await?.is_closed());
    let mut dropped = Box::pin(nursery(async |n| {
        tx.try_send(n.spawner()).map_err(|error| error.kind)?;
        forever().await
    }));
    assert!(super::nursery_tools::poll_here(&mut dropped).await.is_pending());
    drop(dropped);
    let spawner = rx.recv().await?;
    assert!(spawner.is_closed() && spawner.start_soon(async { Ok(()) }).is_err());
    Ok(())
}

async fn what_a_closed_one_is_given_is_dropped() -> Result<()> {
    let live = Live::new();
    let spawner = nursery(async |n| Ok(n.spawner())).await?;
    for _ in 0..2 {
        let guard = live.guard();
        let refused = spawner.start_soon(async move {
            let _guard = guard;
            forever().await
        });
        assert!(refused.is_err());
        let guard = live.guard();
        let refused = spawner.spawn(async move {
            let _guard = guard;
            Ok(1)
        });
        assert!(refused.is_err());
    }
    assert_eq!(live.count(), 0);
    Ok(())
}

/// The body has ended, a child has not.
async fn it_is_open_while_the_nursery_waits() -> Result<()> {
    let log = Arc::new(Log::new());
    nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        outer.start_soon(nursery(async move |n| {
            n.start_soon(after(5, ()));
            Ok(tx.send(n.spawner()).await?)
        }));
        let spawner = rx.recv().await?;
        after(3, ()).await?;
        let its_log = Arc::clone(&log);
        spawner.start_soon(async move {
            after(4, ()).await?;
            its_log.add("child");
            Ok(())
        })?;
        after(3, ()).await?;
        assert!(!spawner.is_closed());
        after(2, ()).await?;
        assert!(spawner.is_closed());
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["child"]);
    Ok(())
}

async fn another_task_spawns_and_joins() -> Result<()> {
    nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        outer.start_soon(nursery(async move |n| {
            tx.send(n.spawner()).await?;
            after(2, ()).await
        }));
        let spawner = rx.recv().await?;
        let (flag, set) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (told, wait) = (Arc::clone(&flag), Arc::clone(&set));
        let child = spawner.spawn(async move {
            wait.wait().await?;
            told.set();
            Ok(4)
        })?;
        set.set();
        flag.wait().await?;
        assert_eq!(child.await?, 4);
        Ok(())
    })
    .await
}

async fn error_of_its_child_is_the_nursery_s() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.spawner().start_soon(async {
                checkpoint().await?;
                Err(Oops(1).into())
            })?;
            forever().await
        })
        .await,
    );
    assert_eq!((oopses(&error), error.is_group()), (vec![1], true));
    Ok(())
}

/// And not under those around the call.
async fn its_children_are_under_the_nursery_s_scope() -> Result<()> {
    nursery(async |n| {
        let (spawner, scope) = (n.spawner(), trine::CancelScope::new());
        let mut child = None;
        scope
            .run(async {
                scope.cancel();
                child = Some(spawner.spawn(async {
                    checkpoint().await?;
                    Ok("out of the scope")
                })?);
                Ok(())
            })
            .await?;
        assert_eq!(child.expect("it was spawned").await?, "out of the scope");
        Ok(())
    })
    .await
}

async fn it_cancels_the_children() -> Result<()> {
    nursery(async |n| {
        let spawner = n.spawner();
        let child = spawner.spawn(forever())?;
        checkpoint().await?;
        spawner.cancel_children();
        assert!(matches!(child.await, Err(JoinError::Lost)));
        let late = spawner.spawn(async { Ok(checkpoint_if_cancelled().is_err()) })?;
        assert!(late.await?);
        Ok(checkpoint().await?)
    })
    .await
}

async fn threads_spawn_while_the_nursery_is_open() -> Result<()> {
    let ran = Arc::new(AtomicUsize::new(0));
    nursery(async |n| {
        let gate = Gate::new();
        let left = Arc::new(AtomicUsize::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (spawner, gate, left, ran) = (n.spawner(), gate.clone(), Arc::clone(&left), Arc::clone(&ran));
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let ran = Arc::clone(&ran);
                        spawner.start_soon(async move {
                            checkpoint().await?;
                            ran.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        })?;
                    }
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        gate.open();
                    }
                    Ok::<_, Closed>(())
                })
            })
            .collect();
        gate.opened().await;
        for thread in threads {
            thread.join().expect("it ends")?;
        }
        Ok(())
    })
    .await?;
    assert_eq!(ran.load(Ordering::SeqCst), 200);
    Ok(())
}

/// Each child that was accepted ran to its end before the nursery did, and each that was refused was dropped.
async fn threads_race_with_the_close() -> Result<()> {
    for _ in 0..30 {
        let (live, ran) = (Live::new(), Arc::new(AtomicUsize::new(0)));
        let gate = Gate::new();
        let thread = nursery(async |n| {
            let (spawner, live, ran, gate) = (n.spawner(), live.clone(), Arc::clone(&ran), gate.clone());
            let thread = std::thread::spawn(move || {
                let mut accepted = 0;
                for i in 0..200 {
                    let (guard, ran) = (live.guard(), Arc::clone(&ran));
                    let spawned = spawner.start_soon(async move {
                        let _guard = guard;
                        ran.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                    accepted += usize::from(spawned.is_ok());
                    if i == 3 {
                        gate.open();
                    }
                }
                accepted
            });
            Ok(thread)
        });
        let thread = thread.await?;
        let ran_by_then = ran.load(Ordering::SeqCst);
        gate.opened().await;
        let accepted = thread.join().expect("it ends");
        assert_eq!((ran.load(Ordering::SeqCst), live.count()), (accepted, 0));
        assert_eq!(ran_by_then, accepted);
    }
    Ok(())
}

async fn it_starts_from_another_task() -> Result<()> {
    nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        let closed = outer.spawn(nursery(async move |n| {
            tx.send(n.spawner()).await?;
            after(1, ()).await
        }));
        let spawner = rx.recv().await?;
        let value = outer
            .spawn(spawner.start(|status| async move {
                after(2, ()).await?;
                status.started("value");
                after(2, ()).await
            }))
            .await?;
        assert_eq!((value, closed.is_finished()), ("value", false));
        closed.await?;
        Ok::<_, Error>(())
    })
    .await
}
