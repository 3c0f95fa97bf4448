//! `start`: what comes out of it, and what of the nursery it keeps.

use super::nursery_tools::{Live, Log, Oops, SECOND, after, error_of, fails_after, forever, oopses};
use crate::case::{Case, portable};
use std::error::Error as StdError;
use std::fmt;
use trine::{Result, StartError, TaskStatus, checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(value_comes_when_the_child_has_started, "start.value", "trio test_run.py::test_nursery_start"),
    portable!(child_that_never_starts_is_an_error, "start.never", "trio test_run.py::test_nursery_start"),
    portable!(swallowed_cancel_before_started_is_never_started, "start.never", "divergence 6"),
    portable!(
        error_before_started_is_the_caller_s_alone,
        "start.error-before",
        "trio test_run.py::test_trio_run_strict_before_started, divergence 6"
    ),
    portable!(
        group_before_started_is_kept_whole,
        "start.error-before",
        "trio test_run.py::test_trio_run_strict_before_started"
    ),
    portable!(
        error_before_started_keeps_its_cause,
        "start.error-before",
        "trio test_run.py::test_start_exception_preserves_cause_and_context"
    ),
    portable!(error_after_started_is_the_nursery_s, "start.error-after", "divergence 6"),
    portable!(error_in_the_poll_of_started_is_the_nursery_s, "start.error-after", "divergence 6"),
    portable!(
        pending_start_keeps_the_nursery_open,
        "start.keeps-open",
        "trio test_run.py::test_nursery_start_keeps_nursery_open, divergence 6"
    ),
    portable!(
        pending_start_keeps_a_failing_child_s_nursery_open,
        "start.keeps-open",
        "trio test_run.py::test_nursery_start_keeps_nursery_open"
    ),
    portable!(start_into_a_closed_nursery_says_so, "start.closed", "trio test_run.py::test_nursery_start"),
    portable!(ignored_status_lets_the_function_be_called, "start.ignored", "trio test_run.py::test_nursery_start"),
    portable!(starts_nest, "start.nested", "design 3"),
];

async fn value_comes_when_the_child_has_started() -> Result<()> {
    let (log, begin) = (Log::new(), trine::now());
    nursery(async |n| {
        let value = n
            .start(async |status| {
                after(1, ()).await?;
                log.add("starts");
                status.started(7);
                after(1, ()).await?;
                log.add("goes on");
                Ok(())
            })
            .await?;
        log.add("body");
        assert_eq!((value, trine::now() - begin), (7, SECOND));
        Ok(())
    })
    .await?;
    assert_eq!((log.take().join(", ").as_str(), trine::now() - begin), ("starts, body, goes on", SECOND * 2));
    Ok(())
}

/// Whether it forgets or throws away its status.
async fn child_that_never_starts_is_an_error() -> Result<()> {
    nursery(async |n| {
        let error = error_of(n.start(async |_status: TaskStatus| Ok(())).await);
        assert_eq!(error.downcast::<StartError>().ok(), Some(StartError::NeverStarted));
        let error = error_of(
            n.start(async |status: TaskStatus| {
                drop(status);
                after(1, ()).await
            })
            .await,
        );
        assert_eq!(error.downcast::<StartError>().ok(), Some(StartError::NeverStarted));
        // The nursery is as it was.
        Ok(checkpoint().await?)
    })
    .await
}

async fn swallowed_cancel_before_started_is_never_started() -> Result<()> {
    nursery(async |n| {
        let result = move_on_after(
            SECOND,
            n.start(async |_status: TaskStatus| {
                let _ = trine::sleep_forever().await;
                Ok(())
            }),
        )
        .await;
        let error = error_of(result);
        assert_eq!(error.downcast::<StartError>().ok(), Some(StartError::NeverStarted));
        Ok(())
    })
    .await
}

/// Ungrouped, and the nursery with its other children goes on; if it leaves the body it is grouped once.
async fn error_before_started_is_the_caller_s_alone() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            let sibling = n.spawn(after(5, "sibling"));
            let error = error_of(n.start(async |_: TaskStatus| fails_after(1, 1).await).await);
            assert!(!error.is_group());
            assert_eq!(error.find::<Oops>(), Some(&Oops(1)));
            assert_eq!(sibling.await?, "sibling");
            Result::<()>::Err(error)
        })
        .await,
    );
    assert!(error.is_group() && !error.errors()[0].is_group());
    Ok(())
}

/// A group that the child's code made stays one.
async fn group_before_started_is_kept_whole() -> Result<()> {
    nursery(async |n| {
        let error = error_of(
            n.start(async |_: TaskStatus| {
                nursery(async |inner| {
                    inner.start_soon(fails_after(1, 1));
                    forever().await
                })
                .await
            })
            .await,
        );
        assert!(error.is_group() && !error.errors()[0].is_group());
        assert_eq!((error.errors().len(), oopses(&error)), (1, vec![1]));
        Ok(())
    })
    .await
}

#[derive(Debug)]
struct Caused(Oops);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caused")
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

async fn error_before_started_keeps_its_cause() -> Result<()> {
    nursery(async |n| {
        let error = error_of(
            n.start(async |_: TaskStatus| {
                checkpoint().await?;
                Err(Caused(Oops(5)).into())
            })
            .await,
        );
        assert_eq!(error.source().and_then(|cause| cause.downcast_ref::<Oops>()), Some(&Oops(5)));
        assert!(error.downcast::<Caused>().is_ok());
        Ok(())
    })
    .await
}

async fn error_after_started_is_the_nursery_s() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |n| {
            n.start(async |status: TaskStatus| {
                status.started(());
                fails_after(1, 2).await
            })
            .await?;
            log.add("started");
            forever().await
        })
        .await,
    );
    assert_eq!((oopses(&error), error.errors().len(), log.take().len()), (vec![2], 1, 1));
    Ok(())
}

/// The value was there, so the call gives it; the cancel comes at the next checkpoint.
async fn error_in_the_poll_of_started_is_the_nursery_s() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            let value = n
                .start(async |status| {
                    status.started(7);
                    Err(Oops(3).into())
                })
                .await;
            assert_eq!(value.ok(), Some(7));
            assert!(checkpoint().await.is_err());
            Ok(())
        })
        .await,
    );
    assert_eq!((oopses(&error), error.is_group()), (vec![3], true));
    Ok(())
}

/// Past the end of its body and of all other children.
async fn pending_start_keeps_the_nursery_open() -> Result<()> {
    let log = Log::new();
    let (tx, rx) = trine::channel(1);
    nursery(async |outer| {
        outer.start_soon(async {
            nursery(async |target| {
                tx.send(target.spawner()).await?;
                after(1, ()).await
            })
            .await?;
            log.add("target closed");
            Ok(())
        });
        let target = rx.recv().await?;
        target
            .start(|status| async move {
                after(3, ()).await?;
                status.started(());
                after(3, ()).await
            })
            .await?;
        log.add("started");
        after(1, ()).await?;
        log.add("child still runs");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["started", "child still runs", "target closed"]);
    Ok(())
}

/// When that child fails before it has started, the nursery closes without an error.
async fn pending_start_keeps_a_failing_child_s_nursery_open() -> Result<()> {
    let (tx, rx) = trine::channel(1);
    nursery(async |outer| {
        let target = outer.spawn(nursery(async move |target| {
            tx.send(target.spawner()).await?;
            after(1, ()).await
        }));
        let spawner = rx.recv().await?;
        let result = spawner
            .start(|_: TaskStatus| async move {
                after(2, ()).await?;
                Err(Oops(1).into())
            })
            .await;
        assert_eq!(oopses(&error_of(result)), [1]);
        target.await?;
        assert!(spawner.is_closed());
        Ok(())
    })
    .await
}

async fn start_into_a_closed_nursery_says_so() -> Result<()> {
    let live = Live::new();
    let spawner = nursery(async |n| Ok(n.spawner())).await?;
    let guard = live.guard();
    let start = spawner.start(|status: TaskStatus| async move {
        let _guard = guard;
        status.started(());
        Ok(())
    });
    assert_eq!(error_of(start.await).downcast::<StartError>().ok(), Some(StartError::Closed));
    assert_eq!(live.count(), 0);
    Ok(())
}

async fn ignored_status_lets_the_function_be_called() -> Result<()> {
    async fn serve(status: TaskStatus<u16>) -> Result<()> {
        status.started(80);
        Ok(checkpoint().await?)
    }
    serve(TaskStatus::ignored()).await?;
    nursery(async |n| {
        assert_eq!(n.start(serve).await?, 80);
        Ok(())
    })
    .await
}

async fn starts_nest() -> Result<()> {
    let begin = trine::now();
    nursery(async |n| {
        let value = n
            .start(async |status| {
                let inner = n
                    .start(async |status| {
                        status.started(1);
                        after(5, ()).await
                    })
                    .await?;
                status.started(inner + 1);
                Ok(())
            })
            .await?;
        assert_eq!((value, trine::now()), (2, begin));
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - begin, SECOND * 5);
    Ok(())
}
