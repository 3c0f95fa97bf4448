//! `start`: calls that are dropped or panic, and `started` said by others than the child.

use super::nursery_tools::{
    Gate, Guard, Live, Log, Oops, SECOND, after, cleans_up, error_of, forever, oopses, panic_of, poll_here,
};
use crate::case::{Case, portable};
use std::sync::Mutex;
use trine::{Error, Result, TaskStatus, checkpoint, fail_after, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(dropped_start_lets_the_nursery_close, "start.dropped", "design 3"),
    portable!(dropped_start_drops_the_child, "start.dropped", "design 3"),
    portable!(unpolled_start_runs_nothing, "start.lazy", "design 3"),
    portable!(value_that_nobody_takes_is_dropped, "start.value-dropped", "design 3"),
    portable!(panic_before_started_is_the_caller_s, "start.panic", "design 3"),
    portable!(panic_after_started_is_the_nursery_s, "start.panic", "design 3"),
    portable!(another_task_says_started, "start.by-another", "divergence 6"),
    portable!(another_thread_says_started, "start.by-another", "divergence 6"),
];

async fn dropped_start_lets_the_nursery_close() -> Result<()> {
    let begin = trine::now();
    nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        let target = outer.spawn(nursery(async move |target| {
            tx.send(target.spawner()).await?;
            after(1, ()).await
        }));
        let spawner = rx.recv().await?;
        let mut start = Box::pin(spawner.start(|_: TaskStatus| forever()));
        assert!(poll_here(&mut start).await.is_pending());
        after(2, ()).await?;
        assert!(!target.is_finished());
        drop(start);
        target.await?;
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - begin, SECOND * 2);
    Ok(())
}

/// At once; and a `started` that comes later finds nobody.
async fn dropped_start_drops_the_child() -> Result<()> {
    let (live, kept) = (Live::new(), Mutex::new(None));
    nursery(async |n| {
        let mut start = Box::pin(n.start(|status: TaskStatus| {
            *kept.lock().unwrap() = Some(status);
            let guard = live.guard();
            async move {
                let _guard = guard;
                forever().await
            }
        }));
        assert!(poll_here(&mut start).await.is_pending());
        assert_eq!(live.count(), 1);
        drop(start);
        assert_eq!(live.count(), 0);
        let status = kept.lock().unwrap().take();
        status.expect("the child took it").started(());
        Ok(checkpoint().await?)
    })
    .await
}

async fn unpolled_start_runs_nothing() -> Result<()> {
    let (live, log) = (Live::new(), Log::new());
    nursery(async |n| {
        let (guard, log) = (live.guard(), &log);
        let start = n.start(move |status: TaskStatus| async move {
            let _guard = guard;
            log.add("ran");
            status.started(());
            Ok(())
        });
        drop(start);
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await?;
    assert!(log.take().is_empty());
    Ok(())
}

/// The call is dropped between `started` and its next poll; the child has moved all the same.
async fn value_that_nobody_takes_is_dropped() -> Result<()> {
    let (live, log, kept) = (Live::new(), Log::new(), Mutex::new(None));
    nursery(async |n| {
        let mut start = Box::pin(n.start(async |status| {
            *kept.lock().unwrap() = Some(status);
            after(2, ()).await?;
            log.add("moved");
            Ok(())
        }));
        assert!(poll_here(&mut start).await.is_pending());
        let status: TaskStatus<Guard> = kept.lock().unwrap().take().expect("the child's status");
        status.started(live.guard());
        drop(start);
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["moved"]);
    Ok(())
}

async fn panic_before_started_is_the_caller_s() -> Result<()> {
    nursery(async |n| {
        let sibling = n.spawn(after(5, "sibling"));
        let text = panic_of(n.start(async |_: TaskStatus| -> Result<()> {
            checkpoint().await?;
            panic!("before");
        }))
        .await;
        assert_eq!((text.as_str(), sibling.await?), ("before", "sibling"));
        Ok(())
    })
    .await
}

async fn panic_after_started_is_the_nursery_s() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.start(async |status: TaskStatus| -> Result<()> {
            status.started(());
            checkpoint().await?;
            panic!("after");
        })
        .await?;
        log.add("started");
        fail_after(SECOND, forever()).await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().join(", ").as_str()), ("after", "started, cleaned up"));
    Ok::<_, Error>(())
}

async fn another_task_says_started() -> Result<()> {
    let log = Log::new();
    let (tx, rx) = trine::channel::<TaskStatus<u32>>(1);
    nursery(async |n| {
        n.start_soon(async {
            let status = rx.recv().await?;
            after(1, ()).await?;
            status.started(9);
            Ok(())
        });
        let start = n.start(async |status| {
            tx.send(status).await?;
            after(10, ()).await?;
            log.add("moved");
            Ok(())
        });
        assert_eq!(fail_after(SECOND * 2, start).await?, 9);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["moved"]);
    Ok(())
}

async fn another_thread_says_started() -> Result<()> {
    for _ in 0..20 {
        let error = error_of(
            nursery(async |n| {
                let gate = Gate::new();
                let fail = gate.clone();
                let mut thread = None;
                let value = n
                    .start(|status| {
                        thread = Some(std::thread::spawn(move || status.started(3)));
                        async move {
                            fail.opened().await;
                            Err(Oops(1).into())
                        }
                    })
                    .await?;
                assert_eq!(value, 3);
                thread.take().expect("it was spawned").join().expect("it ends");
                gate.open();
                forever().await
            })
            .await,
        );
        assert_eq!((oopses(&error), error.is_group()), (vec![1], true));
    }
    Ok(())
}
