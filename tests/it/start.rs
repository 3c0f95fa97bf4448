//! `start`: where a child runs before and after it has started, in the hard cases.

use crate::support::{Live, Log, Oops, block_on, oneshot, oopses};
use std::sync::Mutex as StdMutex;
use std::time::Duration;
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{CancelScope, Error, Result, StartError, TaskStatus};

async fn forever() -> Result<()> {
    trine::sleep_forever().await?;
    Ok(())
}

#[test]
fn caller_cancelled_before_started_cancels_the_child() {
    let log = Log::new();
    let outcome = run(trine::nursery(async |n| {
        let outcome = trine::move_on_after(
            Duration::from_secs(1),
            n.start(async |_status: TaskStatus| {
                let result = trine::sleep_forever().await;
                log.add("child was cancelled");
                result?;
                Ok(())
            }),
        )
        .await?;
        // The nursery itself is not cancelled.
        trine::checkpoint().await?;
        Ok(outcome)
    }))
    .unwrap();
    assert_eq!((outcome, log.take()), (None, vec!["child was cancelled"]));
}

#[test]
fn a_child_that_starts_in_a_cancelled_call_stays_and_the_call_ends_with_it() {
    let (log, scope) = (Log::new(), CancelScope::new());
    run(trine::nursery(async |n| {
        let outcome = scope
            .run(n.start(async |status: TaskStatus<u32>| {
                scope.cancel();
                status.started(1);
                // Still under the caller's cancelled scope.
                assert!(trine::checkpoint().await.is_err());
                trine::shielded(async { Ok(trine::sleep(Duration::from_secs(1)).await?) }).await?;
                log.add("child ended");
                Ok(())
            }))
            .await?;
        log.add("call ended");
        assert_eq!(outcome, Some(1));
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["child ended", "call ended"]);
}

#[test]
fn a_target_that_is_cancelled_cancels_the_child_when_it_has_started() {
    let log = Log::new();
    run(trine::nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        outer.start_soon(async move {
            trine::move_on_after(
                Duration::from_secs(1),
                trine::nursery(async |target| {
                    tx.send(target.spawner()).await?;
                    forever().await
                }),
            )
            .await?;
            Ok(())
        });
        let target = rx.recv().await?;
        let (fire, go) = oneshot::<()>();
        let (tx, rx) = trine::channel::<bool>(1);
        let start = target.start(|status| async move {
            go.await;
            // The target was cancelled at one second; this child does not belong to it yet.
            let before = trine::checkpoint_if_cancelled().is_ok();
            status.started(());
            // A spawner's child moves when it has been polled: until then it is the call's.
            trine::shielded_checkpoint().await;
            let after = trine::checkpoint_if_cancelled().is_err();
            tx.send(before && after).await.unwrap_err();
            tx.try_send(before && after).unwrap();
            Ok(())
        });
        let caller = outer.spawn(start);
        trine::sleep(Duration::from_secs(2)).await?;
        log.add("the pending start keeps the target open");
        assert!(!target.is_closed());
        fire.fire(());
        caller.await?;
        assert!(rx.recv().await?);
        wait_all_tasks_blocked().await?;
        assert!(target.is_closed());
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["the pending start keeps the target open"]);
}

#[test]
fn an_error_before_started_comes_out_of_start_alone() {
    run(trine::nursery(async |n| {
        let result = n
            .start(async |_: TaskStatus| {
                trine::checkpoint().await?;
                Err(Oops(1).into())
            })
            .await;
        let error = result.unwrap_err();
        assert!(!error.is_group());
        assert_eq!(error.downcast::<Oops>().unwrap(), Oops(1));
        trine::checkpoint().await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn an_error_after_started_is_the_nursery_s() {
    let error = run(trine::nursery(async |n| {
        n.start(async |status: TaskStatus| {
            status.started(());
            trine::checkpoint().await?;
            Err(Oops(2).into())
        })
        .await?;
        forever().await
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [2]);
}

#[test]
fn an_error_right_after_started_in_the_same_poll_is_the_nursery_s() {
    let error = run(trine::nursery(async |n| {
        let value = n
            .start(|status| async move {
                status.started(7);
                Err(Oops(3).into())
            })
            .await;
        // The value arrived; the cancel comes at the next checkpoint.
        assert_eq!(value.unwrap(), 7);
        assert!(trine::checkpoint().await.is_err());
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [3]);
}

#[test]
fn a_child_that_returns_without_having_started_is_an_error() {
    run(trine::nursery(async |n| {
        let error = n.start(async |_: TaskStatus| Ok(())).await.unwrap_err();
        assert_eq!(error.downcast::<StartError>().unwrap(), StartError::NeverStarted);
        let error = n
            .start(async |status: TaskStatus| {
                drop(status);
                trine::checkpoint().await?;
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(error.downcast::<StartError>().unwrap(), StartError::NeverStarted);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn started_switches_scopes_at_once_in_the_middle_of_a_poll() {
    run(trine::nursery(async |n| {
        let scope = CancelScope::after(Duration::from_secs(100));
        let inner = scope.clone();
        scope
            .run(n.start(|status| async move {
                assert!(matches!(trine::current_effective_deadline(), trine::EffectiveDeadline::At(_)));
                status.started(());
                assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
                inner.cancel();
                // It no longer belongs to the caller's scope, so that cancel is not its own.
                trine::checkpoint().await?;
                trine::sleep(Duration::from_secs(1)).await?;
                Ok(())
            }))
            .await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn started_switches_what_inner_scopes_hang_under() {
    let (log, scope) = (Log::new(), CancelScope::new());
    let inner = scope.clone();
    run(trine::nursery(async |n| {
        scope
            .run(n.start(async |status: TaskStatus| {
                trine::move_on_after(Duration::from_secs(50), async {
                    trine::nursery(async |m| {
                        m.start_soon(async {
                            trine::sleep(Duration::from_secs(2)).await?;
                            log.add("grandchild");
                            Ok(())
                        });
                        status.started(());
                        inner.cancel();
                        trine::sleep(Duration::from_secs(1)).await?;
                        log.add("child");
                        Ok(())
                    })
                    .await
                })
                .await?;
                Ok(())
            }))
            .await?;
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["child", "grandchild"]);
}

#[test]
fn another_task_may_say_started() {
    let (tx, rx) = trine::channel::<TaskStatus<u32>>(1);
    run(trine::nursery(async |n| {
        n.start_soon(async {
            let status = rx.recv().await?;
            trine::sleep(Duration::from_secs(1)).await?;
            status.started(9);
            Ok(())
        });
        let value = trine::fail_after(
            Duration::from_secs(2),
            n.start(async |status| {
                tx.send(status).await?;
                // Outlives the caller's timeout, since it has moved by then.
                trine::sleep(Duration::from_secs(10)).await?;
                Ok(())
            }),
        )
        .await?;
        assert_eq!(value, 9);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn another_thread_may_say_started() {
    for _ in 0..50 {
        let error = block_on(trine::nursery(async |n| {
            let (fire, end) = oneshot::<()>();
            let value = n
                .start(|status| async move {
                    std::thread::spawn(move || status.started(3));
                    end.await;
                    Err(Oops(1).into())
                })
                .await?;
            assert_eq!(value, 3);
            fire.fire(());
            forever().await
        }))
        .unwrap_err();
        assert_eq!(oopses(&error), [1]);
    }
}

#[test]
fn a_start_that_is_dropped_before_started_drops_the_child() {
    let live = Live::new();
    run(trine::nursery(async |n| {
        let kept = StdMutex::new(None);
        {
            let mut start = Box::pin(n.start(|status: TaskStatus| {
                *kept.lock().unwrap() = Some(status);
                let guard = live.guard();
                async move {
                    let _guard = guard;
                    forever().await
                }
            }));
            std::future::poll_fn(|cx| {
                assert!(start.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            assert_eq!(live.count(), 1);
        }
        assert_eq!(live.count(), 0);
        // Nobody listens any more.
        kept.into_inner().unwrap().unwrap().started(());
        trine::checkpoint().await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_start_that_was_never_polled_runs_nothing() {
    let live = Live::new();
    run(trine::nursery(async |n| {
        let guard = live.guard();
        let start = n.start(|status| async move {
            let _guard = guard;
            status.started(());
            Ok(())
        });
        drop(start);
        assert_eq!(live.count(), 0);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_pending_start_keeps_the_nursery_open() {
    let log = Log::new();
    let (tx, rx) = trine::channel(1);
    run(trine::nursery(async |outer| {
        outer.start_soon(async {
            trine::nursery(async |target| {
                tx.send(target.spawner()).await?;
                Ok(trine::sleep(Duration::from_secs(1)).await?)
            })
            .await?;
            log.add("target closed");
            Ok(())
        });
        let target = rx.recv().await?;
        target
            .start(|status| async move {
                trine::sleep(Duration::from_secs(3)).await?;
                status.started(());
                trine::sleep(Duration::from_secs(3)).await?;
                Ok(())
            })
            .await?;
        log.add("started");
        trine::sleep(Duration::from_secs(1)).await?;
        log.add("child still runs");
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["started", "child still runs", "target closed"]);
}

#[test]
fn a_pending_start_that_is_dropped_lets_the_nursery_close() {
    run(trine::nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        let target = outer.spawn(async move {
            trine::nursery(async |target| {
                tx.send(target.spawner()).await?;
                trine::sleep(Duration::from_millis(1)).await?;
                Ok(())
            })
            .await
        });
        let spawner = rx.recv().await?;
        let start = spawner.start(|_: TaskStatus| forever());
        assert!(trine::move_on_after(Duration::from_secs(1), start).await?.is_none());
        target.await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_panic_before_started_goes_on_in_the_caller() {
    let log = Log::new();
    let text = crate::support::panic_text(|| {
        run(trine::nursery(async |n| {
            n.start_soon(async {
                let result = trine::sleep_forever().await;
                log.add("sibling was cancelled");
                result?;
                Ok(())
            });
            n.start(async |_: TaskStatus| -> Result<()> {
                trine::checkpoint().await?;
                panic!("before started");
            })
            .await
        }))
        .unwrap();
    });
    assert_eq!((text.as_str(), log.take()), ("before started", vec!["sibling was cancelled"]));
}

#[test]
fn an_ignored_status_lets_the_function_be_called_directly() {
    async fn serve(status: TaskStatus<u16>) -> Result<u32> {
        status.started(80);
        trine::checkpoint().await?;
        Ok(1)
    }
    assert_eq!(run(serve(TaskStatus::ignored())).unwrap(), 1);
}

#[test]
fn nested_starts_hand_over_through_both_levels() {
    run(trine::nursery(async |n| {
        let value = n
            .start(async |status| {
                let inner = n
                    .start(|status| async move {
                        status.started(1);
                        Ok(trine::sleep(Duration::from_secs(5)).await?)
                    })
                    .await?;
                status.started(inner + 1);
                Ok(())
            })
            .await?;
        assert_eq!(value, 2);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_spawner_starts_from_another_root_on_another_thread() {
    for _ in 0..50 {
        let live = Live::new();
        block_on(trine::nursery(async |n| {
            let spawner = n.spawner();
            let (fire, done) = oneshot::<()>();
            let live = &live;
            let home = std::thread::current().id();
            let (guard, thread) = (
                live.guard(),
                std::thread::spawn({
                    let spawner = spawner.clone();
                    let guard = live.guard();
                    move || {
                        let value = trine::run(spawner.start(|status| async move {
                            let _guard = guard;
                            assert_ne!(std::thread::current().id(), home);
                            trine::checkpoint().await?;
                            status.started(5);
                            trine::checkpoint().await?;
                            // It has come to the nursery's thread.
                            assert_eq!(std::thread::current().id(), home);
                            trine::checkpoint().await?;
                            Ok(())
                        }));
                        fire.fire(());
                        value
                    }
                }),
            );
            done.await;
            assert_eq!(thread.join().unwrap()?, 5);
            drop(guard);
            Ok(())
        }))
        .unwrap();
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_handed_over_child_is_dropped_when_the_nursery_is() {
    for _ in 0..50 {
        let live = Live::new();
        {
            let (tx, rx) = std::sync::mpsc::channel();
            let wakes = crate::support::CountWakes::new();
            let mut nursery = Box::pin(trine::nursery(async |n| {
                tx.send(n.spawner()).unwrap();
                std::future::pending::<Result<()>>().await
            }));
            assert!(crate::support::poll_once(nursery.as_mut(), &wakes).is_pending());
            let spawner = rx.recv().unwrap();
            let guard = live.guard();
            let thread = std::thread::spawn(move || {
                trine::run(spawner.start(|status| async move {
                    let _guard = guard;
                    status.started(());
                    forever().await
                }))
            });
            thread.join().unwrap().unwrap();
            assert_eq!(live.count(), 1);
        }
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_start_into_a_nursery_that_closed_says_so() {
    run(async {
        let spawner = trine::nursery(async |n| Ok(n.spawner())).await?;
        let error = spawner.start(|s| async move { Ok(s.started(())) }).await.unwrap_err();
        assert_eq!(error.downcast::<StartError>().unwrap(), StartError::Closed);
        Ok::<_, Error>(())
    })
    .unwrap();
}
