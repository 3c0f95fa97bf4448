//! Nurseries: what children may borrow, how they end, and what they inherit.

use crate::support::{Live, Log, OnDrop, Oops, oneshot, oopses};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex as StdMutex;
use std::time::Duration;
use trine::sync::Event;
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{CancelScope, Error, Result};

trine::task_local! {
    static REQUEST: u32;
    static USER: String;
}

async fn forever() -> Result<()> {
    trine::sleep_forever().await?;
    Ok(())
}

#[test]
fn children_share_what_they_borrow() {
    let words = StdMutex::new(Vec::new());
    run(trine::nursery(async |n| {
        for word in ["a", "b", "c"] {
            let words = &words;
            n.start_soon(async move {
                trine::checkpoint().await?;
                words.lock().unwrap().push(word);
                Ok(())
            });
        }
        Ok(())
    }))
    .unwrap();
    assert_eq!(words.into_inner().unwrap(), ["a", "b", "c"]);
}

#[test]
fn children_borrow_disjoint_parts_mutably() {
    let mut cells = [0u32; 4];
    let (left, right) = cells.split_at_mut(2);
    run(trine::nursery(async |n| {
        for cell in left.iter_mut() {
            n.start_soon(async move {
                trine::checkpoint().await?;
                *cell += 1;
                Ok(())
            });
        }
        let sum = n.spawn(async {
            right[0] = 5;
            trine::checkpoint().await?;
            right[1] = 6;
            Ok(right[0] + right[1])
        });
        assert_eq!(sum.await?, 11);
        Ok(())
    }))
    .unwrap();
    assert_eq!(cells, [1, 1, 5, 6]);
}

#[test]
fn values_of_children_may_borrow_what_the_nursery_may() {
    let text = String::from("one two three");
    let longest = run(trine::nursery(async |n| {
        let words: Vec<_> = text.split(' ').map(|w| n.spawn(async move { Ok(w) })).collect();
        let mut longest = "";
        for word in words {
            let word = word.await?;
            if word.len() > longest.len() {
                longest = word;
            }
        }
        Ok(longest)
    }));
    assert_eq!(longest.unwrap(), "three");
}

#[test]
fn local_children_share_cells() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    run(trine::local_nursery(async |n| {
        for i in 0..3 {
            let seen = seen.clone();
            n.start_soon(async move {
                seen.borrow_mut().push(i);
                trine::checkpoint().await?;
                seen.borrow_mut().push(i + 10);
                Ok(())
            });
        }
        Ok(())
    }))
    .unwrap();
    assert_eq!(*seen.borrow(), [0, 1, 2, 10, 11, 12]);
}

#[test]
fn inner_children_spawn_into_outer_nurseries() {
    let log = Log::new();
    run(trine::nursery(async |outer| {
        trine::nursery(async |inner| {
            inner.start_soon(async {
                outer.start_soon(async {
                    trine::sleep(Duration::from_secs(5)).await?;
                    log.add("outer child");
                    Ok(())
                });
                log.add("inner child");
                Ok(())
            });
            Ok(())
        })
        .await?;
        log.add("inner nursery");
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["inner child", "inner nursery", "outer child"]);
}

#[test]
fn nursery_waits_for_children_of_children() {
    let count = StdMutex::new(0);
    run(trine::nursery(async |n| {
        n.start_soon(async {
            trine::checkpoint().await?;
            n.start_soon(async {
                trine::checkpoint().await?;
                n.start_soon(async {
                    trine::checkpoint().await?;
                    *count.lock().unwrap() += 1;
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
    assert_eq!(count.into_inner().unwrap(), 1);
}

#[test]
fn spawning_from_a_destructor_during_drop_drops_the_new_child() {
    let live = Live::new();
    run(async {
        let dropped = trine::move_on_after(Duration::from_secs(1), async {
            // `pending` knows nothing of cancellation: the scope drops the nursery.
            trine::nursery(async |n| {
                let live = &live;
                let spawn = OnDrop(move || {
                    let guard = live.guard();
                    n.start_soon(async move {
                        let _guard = guard;
                        unreachable!("a nursery that is being dropped runs nothing");
                    });
                    let handle = n.spawn(async move { Ok(1) });
                    handle.cancel();
                    n.cancel_children();
                });
                n.start_soon(async move {
                    let _spawn = spawn;
                    trine::shielded(async {
                        std::future::pending::<()>().await;
                        Ok(())
                    })
                    .await
                });
                Ok(())
            })
            .await
        });
        let mut dropped = Box::pin(dropped);
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        drop(dropped);
    });
    assert_eq!(live.count(), 0);
}

#[test]
fn a_child_may_spawn_from_its_destructor_when_it_ends() {
    let log = Log::new();
    run(trine::nursery(async |n| {
        let log = &log;
        let spawn = OnDrop(move || {
            n.start_soon(async move {
                log.add("spawned by destructor");
                Ok(())
            });
        });
        n.start_soon(async move {
            let _spawn = spawn;
            trine::checkpoint().await?;
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["spawned by destructor"]);
}

#[test]
fn cancel_children_leaves_the_body_running() {
    let log = Log::new();
    run(trine::nursery(async |n| {
        for _ in 0..2 {
            n.start_soon(async {
                let result = trine::sleep_forever().await;
                log.add("child");
                result?;
                Ok(())
            });
        }
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        n.cancel_children();
        trine::sleep(Duration::from_secs(1)).await?;
        // Future ones, too.
        n.start_soon(async {
            assert!(trine::checkpoint_if_cancelled().is_err());
            log.add("late child");
            forever().await
        });
        trine::sleep(Duration::from_secs(1)).await?;
        log.add("body");
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["child", "child", "late child", "body"]);
}

#[test]
fn cancel_children_keeps_errors_that_are_real() {
    let error = run(trine::nursery(async |n| {
        n.start_soon(forever());
        n.start_soon(async {
            let _ = trine::sleep_forever().await;
            Err(Oops(2).into())
        });
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [2]);
    assert!(!error.has_cancelled());
}

#[test]
fn names_are_seen_in_the_tree_and_by_the_child() {
    run(trine::nursery(async |n| {
        let name = || trine::inspect::current_task().and_then(|t| t.name).map(|n| n.into_owned());
        let a = n.task("static").spawn(async move { Ok(name()) });
        let b = n.task(format!("reader {}", 7)).spawn(async move { Ok(name()) });
        n.task("started")
            .start(|status| async move {
                assert_eq!(name().as_deref(), Some("started"));
                status.started(());
                trine::checkpoint().await?;
                assert_eq!(name().as_deref(), Some("started"));
                Ok(())
            })
            .await?;
        assert_eq!(a.await?.as_deref(), Some("static"));
        assert_eq!(b.await?.as_deref(), Some("reader 7"));
        n.task("sleeper").start_soon(forever());
        wait_all_tasks_blocked().await?;
        let tree = trine::inspect::tree().to_string();
        assert!(tree.contains("`sleeper`") && tree.contains("sleep_forever"), "{tree}");
        n.cancel_children();
        Ok(())
    }))
    .unwrap();
}

#[test]
fn task_locals_are_those_of_the_spawner() {
    run(trine::nursery(async |n| {
        REQUEST
            .scope(1, async {
                n.start_soon(async {
                    assert_eq!(REQUEST.get(), 1);
                    trine::checkpoint().await?;
                    assert_eq!(REQUEST.get(), 1);
                    REQUEST.scope(2, async { assert_eq!(REQUEST.get(), 2) }).await;
                    assert_eq!(REQUEST.get(), 1);
                    Ok(())
                });
                USER.scope("ann".to_owned(), async {
                    n.start_soon(async {
                        assert_eq!((REQUEST.get(), USER.get()), (1, "ann".to_owned()));
                        Ok(())
                    });
                })
                .await;
            })
            .await;
        n.start_soon(async {
            assert!(REQUEST.try_with(|_| ()).is_err());
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

#[test]
fn task_locals_live_while_children_that_inherited_them_do() {
    trine::task_local! { static HELD: crate::support::Guard; }
    let live = Live::new();
    run(trine::nursery(async |n| {
        HELD.scope(live.guard(), async { n.start_soon(async { Ok(trine::sleep(Duration::from_secs(1)).await?) }) })
            .await;
        trine::checkpoint().await?;
        assert_eq!(live.count(), 1);
        trine::sleep(Duration::from_secs(2)).await?;
        assert_eq!(live.count(), 0);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn errors_of_body_and_children_form_one_group_in_order() {
    let error = run(trine::nursery(async |n| {
        n.start_soon(async { Err(Oops(1).into()) });
        n.start_soon(async {
            let _ = trine::sleep_forever().await;
            Err(Oops(2).into())
        });
        let _ = trine::sleep_forever().await;
        Err::<(), _>(Oops(3).into())
    }))
    .unwrap_err();
    assert!(error.is_group());
    let mut found = oopses(&error);
    assert_eq!(found[0], 1);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
}

#[test]
fn scoped_nursery_gives_none_when_it_is_cancelled_and_its_value_otherwise() {
    let value = run(async {
        let scope = CancelScope::new();
        let cut = scope
            .nursery(async |n| {
                n.start_soon(forever());
                n.start_soon(async {
                    trine::checkpoint().await?;
                    scope.cancel_because("enough");
                    Ok(())
                });
                forever().await?;
                Ok(1)
            })
            .await?;
        assert!(cut.is_none() && scope.cancelled_caught());
        let whole = CancelScope::after(Duration::from_secs(9)).nursery(async |_| Ok(2)).await?;
        let mut local = 0;
        let late = CancelScope::after(Duration::from_secs(9))
            .local_nursery(async |n| {
                n.start_soon(async {
                    local = 1;
                    forever().await
                });
                Ok(3)
            })
            .await?;
        assert_eq!((late, local), (None, 1));
        Ok::<_, Error>(whole)
    });
    assert_eq!(value.unwrap(), Some(2));
}

#[test]
fn a_nursery_inside_a_cancelled_scope_runs_its_children_to_their_first_checkpoint() {
    let log = Log::new();
    run(async {
        let scope = CancelScope::new();
        scope.cancel();
        scope
            .run(trine::nursery(async |n| {
                n.start_soon(async {
                    log.add("ran");
                    trine::checkpoint().await?;
                    unreachable!("the scope is cancelled");
                });
                Ok(())
            }))
            .await
    })
    .unwrap();
    assert_eq!(log.take(), ["ran"]);
}

#[test]
fn a_child_much_larger_than_a_slot_is_run_and_dropped() {
    let live = Live::new();
    let sum = run(trine::nursery(async |n| {
        let big = [3u8; 5000];
        let guard = live.guard();
        let handle = n.spawn(async move {
            let _guard = guard;
            trine::checkpoint().await?;
            Ok(big.iter().map(|b| u32::from(*b)).sum::<u32>())
        });
        Ok(handle.await?)
    }));
    assert_eq!((sum.unwrap(), live.count()), (15000, 0));
}

#[test]
fn over_aligned_children_are_aligned() {
    #[repr(align(256))]
    struct Wide(u8);
    run(trine::nursery(async |n| {
        let wide = Wide(1);
        n.start_soon(async move {
            let wide = wide;
            trine::checkpoint().await?;
            assert_eq!((&raw const wide).addr() % 256, 0);
            assert_eq!(wide.0, 1);
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_foreign_wake_resumes_a_child() {
    run(trine::nursery(async |n| {
        let (fire, wait) = oneshot();
        let child = n.spawn(async move { Ok(wait.await) });
        wait_all_tasks_blocked().await?;
        fire.fire(5);
        assert_eq!(child.await?, 5);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_spawner_says_closed_after_the_nursery_has_ended() {
    run(async {
        let spawner = trine::nursery(async |n| Ok(n.spawner())).await?;
        assert!(spawner.is_closed());
        assert!(spawner.start_soon(async { Ok(()) }).is_err());
        assert!(spawner.spawn(async { Ok(()) }).is_err());
        assert!(spawner.start(|s| async { Ok::<_, Error>(s.started(())) }).await.is_err());
        spawner.cancel_children();
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn a_spawner_spawns_from_another_task_of_the_run() {
    run(trine::nursery(async |outer| {
        let done = std::sync::Arc::new(Event::new());
        let (tx, rx) = trine::channel(1);
        outer.start_soon(async move {
            trine::nursery(async |inner| {
                tx.send(inner.spawner()).await?;
                trine::sleep(Duration::from_secs(1)).await?;
                Ok(())
            })
            .await
        });
        let spawner = rx.recv().await?;
        let (flag, set) = (done.clone(), done.clone());
        spawner.start_soon(async move {
            set.set();
            Ok(())
        })?;
        assert_eq!(spawner.spawn(async { Ok(4) })?.await?, 4);
        flag.wait().await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_thousand_children_in_shuffled_order_all_run() {
    use trine::testing::{MockClock, Order};
    for order in [Order::Fifo, Order::Lifo, Order::Shuffle(1), Order::Shuffle(2)] {
        let sum = StdMutex::new(0u32);
        trine::Builder::new()
            .clock(MockClock::new().autojump())
            .order(order)
            .run(trine::nursery(async |n| {
                for i in 0..1000 {
                    let sum = &sum;
                    n.start_soon(async move {
                        trine::sleep(Duration::from_millis(u64::from(i % 7))).await?;
                        *sum.lock().unwrap() += i;
                        Ok(())
                    });
                }
                Ok(())
            }))
            .unwrap();
        assert_eq!(sum.into_inner().unwrap(), 499_500);
    }
}

/// A tree that is deeper than a turn has polls still comes to its innermost task.
#[test]
fn nurseries_lie_in_each_other_deeper_than_a_turn_is_long() {
    fn deep(levels: u32) -> std::pin::Pin<Box<dyn Future<Output = trine::Result<u32>> + Send>> {
        Box::pin(async move {
            if levels == 0 {
                trine::checkpoint().await?;
                return Ok(1);
            }
            trine::nursery(async move |n| {
                n.start_soon(async { Ok(trine::checkpoint().await?) });
                Ok(deep(levels - 1).await? + 1)
            })
            .await
        })
    }
    let run = || run(deep(3_000)).unwrap();
    let levels = std::thread::Builder::new().stack_size(1 << 28).spawn(run).unwrap().join().unwrap();
    assert_eq!(levels, 3_001);
}
