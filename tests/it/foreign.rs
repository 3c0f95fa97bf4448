//! Futures that know nothing of trine, around and inside of scopes.

use crate::support::{Live, Log, OnDrop, oneshot, yield_once};
use futures_concurrency::future::{Join, Race, RaceOk, TryJoin};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, future::join_all, pin_mut, select};
use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use trine::sync::{Event, Mutex};
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{CancelScope, Cancelled, Error, Result};

const SECOND: Duration = Duration::from_secs(1);

fn scope_of<T, F: Future<Output = Result<T>>>(secs: u64, fut: F) -> trine::Scoped<F> {
    trine::move_on_after(SECOND * u32::try_from(secs).unwrap(), fut)
}

#[test]
fn a_timeout_drops_a_foreign_future() {
    let live = Live::new();
    let took = run(async {
        let began = trine::now();
        let outcome = scope_of(1, async {
            let _guard = live.guard();
            Ok(std::future::pending::<()>().await)
        })
        .await?;
        assert_eq!((outcome, live.count()), (None, 0));
        Ok::<_, Error>(trine::now() - began)
    });
    assert_eq!(took.unwrap(), SECOND);
}

#[test]
fn code_around_an_inner_scope_sees_cancelled_and_cleans_up() {
    let log = Log::new();
    let outcome = run(scope_of(1, async {
        let inner = trine::move_on_after(SECOND * 60, async { Ok(std::future::pending::<()>().await) }).await;
        log.add(if inner.is_err() { "told" } else { "not told" });
        trine::shielded(async { Ok(trine::sleep(SECOND).await?) }).await?;
        log.add("cleaned up");
        inner
    }));
    assert_eq!(outcome.unwrap(), None);
    assert_eq!(log.take(), ["told", "cleaned up"]);
}

#[test]
fn cancellable_turns_a_foreign_future_into_a_checkpoint() {
    let log = Log::new();
    let outcome = run(scope_of(1, async {
        let result: std::result::Result<(), Cancelled> = trine::cancellable(std::future::pending()).await;
        log.add("told");
        result?;
        Ok(())
    }));
    assert_eq!((outcome.unwrap(), log.take()), (None, vec!["told"]));
}

#[test]
fn a_foreign_future_that_is_ready_at_the_deadline_gives_its_value() {
    let (fire, wait) = oneshot();
    let outcome = run(trine::nursery(async |n| {
        n.start_soon(async {
            trine::sleep(SECOND).await?;
            fire.fire(1);
            Ok(())
        });
        // Woken by the child before the scope's deadline, in the same instant or later.
        scope_of(2, async { Ok(wait.await) }).await
    }));
    assert_eq!(outcome.unwrap(), Some(1));
}

#[test]
fn all_leaves_under_a_sub_executor_are_told() {
    let told = AtomicU32::new(0);
    let leaf = |i: u64| {
        let told = &told;
        async move {
            let result = trine::sleep(SECOND * 100 + Duration::from_millis(i)).await;
            if result.is_err() {
                told.fetch_add(1, Ordering::Relaxed);
            }
            result
        }
    };
    let outcome = run(scope_of(1, async {
        let mut all: FuturesUnordered<_> = (0..50).map(leaf).collect();
        let mut errors = 0;
        while let Some(result) = all.next().await {
            errors += u32::from(result.is_err());
        }
        assert_eq!(errors, 50);
        Ok(errors)
    }));
    assert_eq!((outcome.unwrap(), told.swap(0, Ordering::Relaxed)), (Some(50), 50));
    let outcome = run(scope_of(1, async {
        let results = join_all((0..50).map(leaf)).await;
        assert!(results.iter().all(std::result::Result::is_err));
        Ok(results.len())
    }));
    assert_eq!((outcome.unwrap(), told.swap(0, Ordering::Relaxed)), (Some(50), 50));
    let outcome = run(scope_of(1, async {
        let results = (0..50).map(leaf).collect::<Vec<_>>().join().await;
        assert!(results.iter().all(std::result::Result::is_err));
        Ok(results.len())
    }));
    assert_eq!((outcome.unwrap(), told.swap(0, Ordering::Relaxed)), (Some(50), 50));
}

#[test]
fn all_leaves_under_nested_sub_executors_are_told() {
    let outcome = run(scope_of(1, async {
        let inner = |_| join_all((0..10).map(|_| trine::sleep_forever()));
        let all = (0..10).map(inner).collect::<FuturesUnordered<_>>().collect::<Vec<_>>().await;
        Ok(all.into_iter().flatten().filter(std::result::Result::is_err).count())
    }));
    assert_eq!(outcome.unwrap(), Some(100));
}

#[test]
fn a_thousand_leaves_under_a_sub_executor_are_told() {
    let event = Event::new();
    let outcome = run(scope_of(1, async {
        let all: Vec<_> = (0..1000).map(|_| event.wait()).collect::<FuturesUnordered<_>>().collect().await;
        Ok(all.iter().filter(|r| r.is_err()).count())
    }));
    assert_eq!(outcome.unwrap(), Some(1000));
}

#[test]
fn every_kind_of_wait_is_told_under_a_sub_executor() {
    let (event, mutex) = (Event::new(), Mutex::new(()));
    let (_tx, rx) = trine::channel::<u32>(0);
    let (tx_full, _rx_full) = trine::channel::<u32>(0);
    let outcome = run(scope_of(1, async {
        let _held = mutex.lock().await?;
        let waits: Vec<Pin<Box<dyn Future<Output = bool> + Send + '_>>> = vec![
            Box::pin(event.wait().map(|r| r.is_err())),
            Box::pin(mutex.lock().map(|r| r.is_err())),
            Box::pin(rx.recv().map(|r| r.is_err())),
            Box::pin(rx.try_next().map(|r| r.is_err())),
            Box::pin(tx_full.send(1).map(|r| r.is_err())),
            Box::pin(trine::sleep(SECOND * 9).map(|r| r.is_err())),
            Box::pin(trine::sleep_forever().map(|r| r.is_err())),
            Box::pin(trine::cancellable(std::future::pending::<()>()).map(|r| r.is_err())),
            Box::pin(scope_of(99, async { Ok(trine::sleep_forever().await?) }).map(|r| r.is_err())),
            Box::pin(trine::nursery(async |_| Ok(trine::sleep_forever().await?)).map(|r| r.is_err())),
            Box::pin(
                trine::race(async { Ok(trine::sleep_forever().await?) }, async { Ok(trine::sleep_forever().await?) })
                    .map(|r| r.is_err()),
            ),
        ];
        let count = waits.len();
        let told: Vec<bool> = waits.into_iter().collect::<FuturesUnordered<_>>().collect().await;
        assert_eq!(told, vec![true; count]);
        Ok(())
    }));
    assert_eq!(outcome.unwrap(), Some(()));
}

#[test]
fn a_shield_behind_a_sub_executor_holds() {
    let log = Log::new();
    let took = run(async {
        let began = trine::now();
        scope_of(1, async {
            let mut all = FuturesUnordered::<Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>>::new();
            all.push(Box::pin(trine::shielded(async {
                trine::sleep(SECOND * 5).await?;
                log.add("shielded");
                Ok(())
            })));
            all.push(Box::pin(async { Ok(std::future::pending::<()>().await) }));
            while all.next().await.is_some() {}
            Ok(())
        })
        .await?;
        Ok::<_, Error>(trine::now() - began)
    });
    assert_eq!((took.unwrap(), log.take()), (SECOND * 5, vec!["shielded"]));
}

#[test]
fn each_child_has_holds_of_its_own() {
    let log = Log::new();
    run(scope_of(
        1,
        trine::nursery(async |n| {
            n.start_soon(async {
                trine::shielded(async { Ok(trine::sleep(SECOND * 9).await?) }).await?;
                log.add("shielded child");
                Ok(())
            });
            n.start_soon(async {
                let _dropped = OnDrop(|| log.add("foreign child"));
                std::future::pending().await
            });
            let _dropped = OnDrop(|| log.add("body"));
            std::future::pending::<()>().await;
            Ok(())
        }),
    ))
    .unwrap();
    let order = log.take();
    assert_eq!(order.len(), 3);
    assert_eq!(order[2], "shielded child", "{order:?}");
}

#[test]
fn a_shielded_checkpoint_is_never_dropped_half_way() {
    let log = Log::new();
    run(async {
        let scope = CancelScope::new();
        scope
            .run(async {
                scope.cancel();
                trine::shielded_checkpoint().await;
                log.add("after the shielded checkpoint");
                trine::checkpoint().await?;
                Ok(())
            })
            .await
    })
    .unwrap();
    assert_eq!(log.take(), ["after the shielded checkpoint"]);
}

#[test]
fn a_scope_cancelled_during_its_own_poll_is_polled_once_more() {
    let log = Log::new();
    run(async {
        let scope = CancelScope::new();
        let polls = Cell::new(0);
        scope
            .run(std::future::poll_fn(|_| {
                polls.set(polls.get() + 1);
                if polls.get() == 1 {
                    scope.cancel();
                } else {
                    log.add("polled again");
                }
                Poll::<Result<()>>::Pending
            }))
            .await
    })
    .unwrap();
    assert_eq!(log.take(), ["polled again"]);
}

#[test]
fn a_leaf_polled_before_the_cancel_in_one_poll_is_told() {
    let told = run(async {
        let scope = CancelScope::new();
        scope
            .run(async {
                let (leaf, ()) = futures_util::join!(trine::sleep_forever(), async { scope.cancel() });
                Ok(leaf.is_err())
            })
            .await
    });
    assert_eq!(told.unwrap(), Some(true));
}

#[test]
fn a_loop_that_ignores_cancelled_ends_and_siblings_go_on() {
    let live = Live::new();
    let deliveries = AtomicU32::new(0);
    let log = Log::new();
    run(trine::nursery(async |n| {
        n.start_soon(async {
            let scope = CancelScope::new();
            scope.cancel();
            scope
                .run(async {
                    let _guard = live.guard();
                    loop {
                        let _ = trine::checkpoint().await;
                        deliveries.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .await?
                .unwrap_or(());
            log.add("ignorant");
            Ok(())
        });
        for _ in 0..20 {
            trine::checkpoint().await?;
        }
        log.add("sibling");
        Ok(())
    }))
    .unwrap();
    assert_eq!((log.take(), live.count()), (vec!["sibling", "ignorant"], 0));
    let deliveries = deliveries.into_inner();
    assert!((1_000..=200_000).contains(&deliveries), "{deliveries} deliveries");
}

#[test]
fn a_child_that_ignores_cancelled_is_dropped() {
    let live = Live::new();
    run(scope_of(
        1,
        trine::nursery(async |n| {
            n.start_soon(async {
                let _guard = live.guard();
                loop {
                    let _ = trine::sleep(SECOND).await;
                }
            });
            n.start_soon(async { Ok(trine::sleep_forever().await.map(|_| ())?) });
            Ok(trine::sleep_forever().await.map(|_| ())?)
        }),
    ))
    .unwrap();
    assert_eq!(live.count(), 0);
}

#[test]
fn foreign_races_and_joins_run_in_scopes() {
    run(async {
        let first = scope_of(9, async {
            let a = async {
                trine::sleep(SECOND).await?;
                Ok::<_, Error>("a")
            };
            let b = async {
                std::future::pending::<()>().await;
                Ok("b")
            };
            (a, b).race().await
        })
        .await?;
        assert_eq!(first, Some("a"));
        let both = scope_of(9, async {
            let a = async { Ok::<_, Error>(trine::sleep(SECOND).await.map(|()| 1)?) };
            let b = trine::nursery(async |n| {
                let child = n.spawn(async { Ok(trine::sleep(SECOND * 2).await.map(|()| 2)?) });
                Ok(child.await?)
            });
            (a, b).try_join().await
        })
        .await?;
        assert_eq!(both, Some((1, 2)));
        let cut = scope_of(1, async {
            let (a, b) = (trine::sleep_forever(), std::future::pending::<()>()).join().await;
            a?;
            Ok(b)
        })
        .await?;
        assert_eq!(cut, None);
        let dropped = scope_of(1, async {
            let waits: Vec<_> = (0..5).map(|_| std::future::pending::<Result<u32>>()).collect();
            Ok(waits.race_ok().await.is_ok())
        })
        .await?;
        assert_eq!(dropped, None);
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn select_drops_a_shield_as_any_future() {
    let live = Live::new();
    let took = run(async {
        let began = trine::now();
        let outcome = scope_of(1, async {
            let shield = trine::shielded(async {
                let _guard = live.guard();
                Ok(trine::sleep(SECOND * 99).await?)
            })
            .fuse();
            let other = trine::sleep(SECOND * 2).fuse();
            pin_mut!(shield, other);
            // At one second the scope is cancelled: the sleep is told, so the select ends and drops the shield.
            select! {
                result = shield => result,
                result = other => Ok(result?),
            }
        })
        .await?;
        assert_eq!((outcome, live.count()), (None, 0));
        Ok::<_, Error>(trine::now() - began)
    });
    assert_eq!(took.unwrap(), SECOND);
}

#[test]
fn an_isolated_future_sees_no_scope_and_no_task() {
    run(scope_of(1, async {
        trine::isolated(async {
            assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
            assert!(trine::inspect::current_task().is_none());
            trine::checkpoint().await.unwrap();
        })
        .await;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn an_isolated_shared_future_does_not_pass_a_cancel_to_other_sharers() {
    let outcome = run(trine::nursery(async |n| {
        let shared = trine::isolated(async { trine::sleep(SECOND * 5).await.is_ok() }).boxed().shared();
        let other = n.spawn(scope_of(1, {
            let shared = shared.clone();
            async move { Ok(shared.await) }
        }));
        let value = shared.await;
        assert_eq!(other.await?, None);
        Ok(value)
    }));
    assert!(outcome.unwrap());
}

#[test]
fn a_stuck_foreign_branch_of_join_is_dropped_once_the_others_were_told() {
    let log = Log::new();
    let outcome = run(scope_of(1, async {
        let (a, ()) = futures_util::join!(
            async {
                let result = trine::sleep_forever().await;
                log.add("told");
                result
            },
            std::future::pending::<()>(),
        );
        a?;
        Ok(())
    }));
    assert_eq!((outcome.unwrap(), log.take()), (None, vec!["told"]));
}

#[test]
fn cleanup_of_a_leaf_under_a_sub_executor_is_awaited() {
    let log = Log::new();
    run(scope_of(1, async {
        let leaf = |name| {
            let log = &log;
            async move {
                let result = trine::sleep_forever().await;
                trine::shielded(async { Ok(trine::sleep(SECOND).await?) }).await.ok();
                log.add(name);
                result
            }
        };
        let all = [leaf("a"), leaf("b"), leaf("c")].into_iter().collect::<FuturesUnordered<_>>();
        let all: Vec<_> = all.collect().await;
        assert!(all.iter().all(std::result::Result::is_err));
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take().len(), 3);
}

#[test]
fn nurseries_behind_a_sub_executor_run_their_children() {
    let total = AtomicU32::new(0);
    run(async {
        let all = (0..10)
            .map(|i| {
                let total = &total;
                trine::nursery(async move |n| {
                    for _ in 0..10 {
                        n.start_soon(async move {
                            trine::sleep(Duration::from_millis(i)).await?;
                            yield_once().await;
                            total.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        });
                    }
                    Ok(())
                })
            })
            .collect::<FuturesUnordered<_>>();
        let all: Vec<_> = all.collect().await;
        assert!(all.iter().all(std::result::Result::is_ok));
    });
    assert_eq!(total.into_inner(), 100);
}

#[test]
fn a_future_moved_to_another_task_half_way_goes_on_there() {
    run(trine::nursery(async |n| {
        let mut sleep = Box::pin(trine::move_on_after(SECOND * 3, async { Ok(trine::sleep(SECOND * 2).await?) }));
        let pending = std::future::poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        let began = trine::now();
        let child = n.spawn(async move { sleep.await });
        assert_eq!(child.await?, Some(()));
        assert_eq!(trine::now() - began, SECOND * 2);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_wait_moved_out_of_a_cancelled_scope_is_not_stuck() {
    run(trine::nursery(async |n| {
        let (tx, rx) = trine::channel::<u32>(0);
        let mut recv = Box::pin(async move { rx.recv().await });
        let scope = CancelScope::new();
        scope
            .run(async {
                let pending = std::future::poll_fn(|cx| Poll::Ready(recv.as_mut().poll(cx).is_pending())).await;
                assert!(pending);
                Ok(())
            })
            .await?;
        let child = n.spawn(async move { Ok(recv.await?) });
        wait_all_tasks_blocked().await?;
        tx.send(4).await?;
        assert_eq!(child.await?, 4);
        Ok(())
    }))
    .unwrap();
}
