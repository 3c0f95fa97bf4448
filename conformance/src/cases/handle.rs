//! Handles of children: the value, the cancel of one child, and what is told when there is no value.

use super::nursery_tools::{Live, Log, Oops, SECOND, after, error_of, forever, oopses, poll_here};
use crate::case::{Case, portable};
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use trine::testing::wait_all_tasks_blocked;
use trine::{
    CancelScope, Error, Handle, JoinError, Result, checkpoint, checkpoint_if_cancelled, move_on_after, nursery,
};

pub(super) const CASES: &[Case] = &[
    portable!(value_comes_before_or_after_the_end, "handle.value", "design 3"),
    portable!(value_is_dropped_with_the_handle, "handle.value-dropped", "design 3"),
    portable!(dropped_handle_leaves_the_child, "handle.drop", "design 3"),
    portable!(handle_is_polled_again_after_a_timeout, "handle.cancel-safe", "divergence 3"),
    portable!(cancelled_waiter_leaves_the_child, "handle.waiter-cancelled", "design 3"),
    portable!(value_is_there_for_a_waiter_that_was_cancelled, "handle.completed-and-cancel", "divergence 3"),
    portable!(cancel_stops_one_child_only, "handle.cancel", "design 3"),
    portable!(cancel_reaches_what_the_child_has_spawned, "handle.cancel", "design 3"),
    portable!(cancel_before_the_first_poll_reaches_the_body_of_the_child, "handle.cancel-first", "divergence 7"),
    portable!(cancel_after_the_end_does_nothing, "handle.cancel", "design 3"),
    portable!(cancelled_child_may_still_have_a_value, "handle.cancel-swallowed", "design 3"),
    portable!(cancelled_child_may_still_fail_the_nursery, "handle.cancel-error", "design 3"),
    portable!(cancel_respects_the_child_s_shield, "handle.cancel", "design 3"),
    portable!(child_may_cancel_itself, "handle.cancel-self", "design 3"),
    portable!(waiter_inside_a_failing_nursery_is_cancelled, "handle.failed-inside", "design 3"),
    portable!(waiter_outside_of_a_failed_nursery_is_told_lost, "handle.failed-outside", "design 3"),
    portable!(handle_is_awaited_in_another_child, "handle.elsewhere", "design 3"),
    portable!(handle_of_another_nursery_s_child_is_awaited, "handle.elsewhere", "design 3"),
    portable!(handle_is_cancelled_from_a_thread, "handle.cancel-from-thread", "design 3"),
];

async fn value_comes_before_or_after_the_end() -> Result<()> {
    nursery(async |n| {
        let (early, late) = (n.spawn(after(1, 1)), n.spawn(after(0, 2)));
        assert!(!early.is_finished());
        assert_eq!(early.await?, 1);
        assert!(late.is_finished());
        assert_eq!(late.await?, 2);
        Ok(())
    })
    .await
}

async fn value_is_dropped_with_the_handle() -> Result<()> {
    let live = Live::new();
    nursery(async |n| {
        let (kept, dropped) = (n.spawn(async { Ok(live.guard()) }), n.spawn(async { Ok(live.guard()) }));
        drop(dropped);
        after(1, ()).await?;
        assert_eq!(live.count(), 1);
        drop(kept);
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await
}

async fn dropped_handle_leaves_the_child() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        drop(n.spawn(async {
            after(1, ()).await?;
            log.add("child");
            Ok(())
        }));
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["child"]);
    Ok(())
}

async fn handle_is_polled_again_after_a_timeout() -> Result<()> {
    nursery(async |n| {
        let mut handle = n.spawn(after(5, 7));
        assert_eq!(move_on_after(SECOND, async { Ok((&mut handle).await?) }).await?, None);
        assert_eq!(handle.await?, 7);
        Ok(())
    })
    .await
}

async fn cancelled_waiter_leaves_the_child() -> Result<()> {
    let scope = CancelScope::new();
    nursery(async |n| {
        let mut handle = n.spawn(after(2, "whole"));
        let caught = scope
            .run(async {
                scope.cancel();
                let error = (&mut handle).await.expect_err("the waiter is cancelled");
                assert!(matches!(error, JoinError::Cancelled(_)));
                Err::<(), Error>(error.into())
            })
            .await?;
        assert_eq!((caught, handle.await?), (None, "whole"));
        Ok(())
    })
    .await
}

/// A cancelled waiter takes nothing, even of a child that has ended; the value waits.
async fn value_is_there_for_a_waiter_that_was_cancelled() -> Result<()> {
    nursery(async |n| {
        let mut handle = n.spawn(async { Ok(3) });
        wait_all_tasks_blocked().await?;
        let scope = CancelScope::new();
        scope.cancel();
        let caught = scope.run(async { Ok((&mut handle).await?) }).await?;
        assert_eq!((caught, handle.is_finished()), (None, true));
        assert_eq!(handle.await?, 3);
        Ok(())
    })
    .await
}

async fn cancel_stops_one_child_only() -> Result<()> {
    nursery(async |n| {
        let (sibling, child) = (n.spawn(after(3, "sibling")), n.spawn(forever()));
        wait_all_tasks_blocked().await?;
        child.cancel();
        child.cancel();
        assert!(matches!(child.await, Err(JoinError::Lost)));
        assert!(!sibling.is_finished());
        assert_eq!(sibling.await?, "sibling");
        Ok(checkpoint().await?)
    })
    .await
}

async fn cancel_reaches_what_the_child_has_spawned() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let child = n.spawn(nursery(async |inner| {
            inner.start_soon(async {
                let result = forever().await;
                log.add("grandchild");
                result
            });
            // What it spawned elsewhere belongs there.
            n.start_soon(async {
                after(2, ()).await?;
                log.add("elsewhere");
                Ok(())
            });
            forever().await
        }));
        wait_all_tasks_blocked().await?;
        child.cancel();
        assert!(matches!(child.await, Err(JoinError::Lost)));
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["grandchild", "elsewhere"]);
    Ok(())
}

async fn cancel_before_the_first_poll_reaches_the_body_of_the_child() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let child = n.spawn(async {
            log.add("ran");
            checkpoint().await?;
            log.add("went on");
            Ok(())
        });
        child.cancel();
        assert!(matches!(child.await, Err(JoinError::Lost)));
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["ran"]);
    Ok(())
}

async fn cancel_after_the_end_does_nothing() -> Result<()> {
    nursery(async |n| {
        let child = n.spawn(async { Ok(1) });
        wait_all_tasks_blocked().await?;
        child.cancel();
        assert_eq!(child.await?, 1);
        Ok(checkpoint().await?)
    })
    .await
}

async fn cancelled_child_may_still_have_a_value() -> Result<()> {
    nursery(async |n| {
        let child = n.spawn(async { Ok(checkpoint().await.is_err()) });
        child.cancel();
        assert!(child.await?);
        Ok(())
    })
    .await
}

async fn cancelled_child_may_still_fail_the_nursery() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            let child = n.spawn(async {
                let _ = trine::sleep_forever().await;
                Result::<()>::Err(Oops(1).into())
            });
            wait_all_tasks_blocked().await?;
            child.cancel();
            Ok(child.await?)
        })
        .await,
    );
    assert_eq!((oopses(&error), error.has_cancelled()), (vec![1], false));
    Ok(())
}

async fn cancel_respects_the_child_s_shield() -> Result<()> {
    nursery(async |n| {
        let child = n.spawn(async {
            let value = trine::shielded(after(2, "whole")).await?;
            assert!(checkpoint_if_cancelled().is_err());
            Ok(value)
        });
        wait_all_tasks_blocked().await?;
        child.cancel();
        assert_eq!(child.await?, "whole");
        Ok(())
    })
    .await
}

/// A handle that was given to its own child.
async fn child_may_cancel_itself() -> Result<()> {
    let log = Arc::new(Log::new());
    let (tx, rx) = trine::channel::<Handle<'static, ()>>(1);
    nursery(async |n| {
        let its_log = Arc::clone(&log);
        let child = n.spawner().spawn(async move {
            let own = rx.recv().await?;
            own.cancel();
            assert!(checkpoint().await.is_err());
            its_log.add("cancelled by itself");
            Ok(())
        })?;
        Ok(tx.send(child).await?)
    })
    .await?;
    assert_eq!(log.take(), ["cancelled by itself"]);
    Ok(())
}

/// The failure cancels the nursery before the handle has anything to say.
async fn waiter_inside_a_failing_nursery_is_cancelled() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |n| {
            let child = n.spawn(async {
                after(1, ()).await?;
                Result::<()>::Err(Oops(1).into())
            });
            let result = child.await;
            assert!(matches!(result, Err(JoinError::Cancelled(_))));
            log.add("waiter");
            Ok(result?)
        })
        .await,
    );
    assert_eq!((oopses(&error), error.leaves().count(), log.take().len()), (vec![1], 1, 1));
    Ok(())
}

/// That the handle is no cancellation is what keeps the waiter's own nursery from being stopped by it.
async fn waiter_outside_of_a_failed_nursery_is_told_lost() -> Result<()> {
    nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        let failing = outer.spawn(async move {
            let result = nursery(async |inner| {
                let child = inner.spawner().spawn(async {
                    after(1, ()).await?;
                    Result::<()>::Err(Oops(1).into())
                })?;
                tx.try_send(child).map_err(|error| error.kind)?;
                Ok(())
            })
            .await;
            Ok(oopses(&error_of(result)))
        });
        let child = rx.recv().await?;
        let lost = child.await.expect_err("no value");
        assert!(matches!(lost, JoinError::Lost) && !trine::is_cancelled(&lost));
        assert_eq!(failing.await?, [1]);
        Ok(())
    })
    .await
}

async fn handle_is_awaited_in_another_child() -> Result<()> {
    nursery(async |n| {
        let first = n.spawn(after(2, 1));
        let second = n.spawn(async { Ok(first.await? + 1) });
        let third = n.spawn(async { Ok(second.await? + 1) });
        assert_eq!(third.await?, 3);
        Ok(())
    })
    .await
}

async fn handle_of_another_nursery_s_child_is_awaited() -> Result<()> {
    nursery(async |outer| {
        let mut handle = outer.spawn(after(2, "outer"));
        let value = nursery(async |inner| {
            let waits = inner.spawn(async { Ok((&mut handle).await?) });
            Ok(waits.await?)
        })
        .await?;
        assert_eq!(value, "outer");
        Ok(())
    })
    .await
}

/// Though the child never waits; by when is not said.
async fn handle_is_cancelled_from_a_thread() -> Result<()> {
    for _ in 0..20 {
        nursery(async |n| {
            let mut child = n.spawn(async {
                while checkpoint().await.is_ok() {}
                Ok("told")
            });
            assert!(matches!(poll_here(&mut child).await, Poll::Pending));
            std::thread::scope(|threads| {
                threads.spawn(|| child.cancel());
            });
            assert_eq!(child.await?, "told");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A handle can be named, kept and sent.
const _: fn() = || {
    fn sendable<T: Send + Sync + Future>() {}
    sendable::<Handle<'static, u32>>();
};
