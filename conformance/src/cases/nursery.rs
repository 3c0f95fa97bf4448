//! Nurseries: who may be spawned when and from where, and what it may borrow.

use super::nursery_tools::{Live, Log, OnDrop, after, forever, yield_once};
use crate::case::{Case, portable};
use std::sync::Mutex;
use trine::{CancelScope, Nursery, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(two_children_take_turns, "nursery.turns", "trio test_run.py::test_basic_interleave"),
    portable!(nothing_happens_before_the_first_poll, "nursery.lazy", "design 3"),
    portable!(nursery_of_nothing_has_a_value, "nursery.empty", "divergence 5"),
    portable!(child_does_not_run_inside_the_spawn, "nursery.starts-later", "design 3"),
    portable!(children_start_in_the_order_of_their_spawn, "nursery.fifo", "divergence 10").fifo(),
    portable!(children_share_what_they_borrow, "nursery.borrow", "design 3"),
    portable!(children_borrow_disjoint_parts_mutably, "nursery.borrow-mut", "design 3"),
    portable!(value_may_borrow_what_the_nursery_may, "nursery.borrow-value", "design 3"),
    portable!(nursery_is_filled_by_functions_and_loops, "nursery.borrow-function", "design 3"),
    portable!(exit_waits_for_children_of_children, "nursery.exit-waits", "trio test_run.py::test_nursery_closure"),
    portable!(
        last_child_spawns_the_next_while_the_nursery_closes,
        "nursery.spawn-at-exit",
        "trio test_run.py::test_nursery_closure, divergence 5"
    ),
    portable!(destructor_of_an_ended_child_spawns, "nursery.spawn-at-exit", "divergence 5"),
    portable!(inner_child_spawns_into_the_outer_nursery, "nursery.spawn-outwards", "design 3"),
    portable!(child_is_under_its_nursery_and_not_under_its_spawner, "nursery.scopes-of-child", "design 3"),
    portable!(other_threads_spawn_through_a_reference, "nursery.spawn-from-thread", "design 3"),
];

/// Two tasks that only yield alternate, whoever begins.
async fn two_children_take_turns() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        for name in ["a", "b"] {
            let log = &log;
            n.start_soon(async move {
                for _ in 0..10 {
                    log.add(name);
                    checkpoint().await?;
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    let events = log.take();
    assert_eq!(events.len(), 20);
    for pass in events.chunks(2) {
        assert_ne!(pass[0], pass[1], "each runs once in a pass: {events:?}");
    }
    Ok(())
}

/// A nursery that is not polled is nothing but a value: its body does not run, and what it holds is dropped with it.
async fn nothing_happens_before_the_first_poll() -> trine::Result<()> {
    let (log, live) = (Log::new(), Live::new());
    let guard = live.guard();
    let log_ref = &log;
    let unpolled = nursery(async move |n| {
        let _guard = guard;
        log_ref.add("body");
        n.start_soon(forever());
        Ok(())
    });
    yield_once().await;
    assert_eq!(live.count(), 1);
    drop(unpolled);
    assert_eq!((live.count(), log.take().len()), (0, 0));
    Ok(())
}

/// Without children the body's value is the nursery's.
async fn nursery_of_nothing_has_a_value() -> trine::Result<()> {
    assert_eq!(nursery(async |_| Ok(7)).await?, 7);
    assert_eq!(nursery(async |_| nursery(async |_| Ok("inner")).await).await?, "inner");
    Ok(())
}

/// A child first runs when the body waits, not in the call that spawns it.
async fn child_does_not_run_inside_the_spawn() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        n.start_soon(async {
            log.add("child");
            Ok(())
        });
        let handle = n.spawn(async {
            log.add("child");
            Ok(())
        });
        assert!(!handle.is_finished());
        log.add("body");
        handle.await?;
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["body", "child", "child"]);
    Ok(())
}

/// In the default order.
async fn children_start_in_the_order_of_their_spawn() -> trine::Result<()> {
    let order = Mutex::new(Vec::new());
    nursery(async |n| {
        for i in 0..100 {
            let order = &order;
            n.start_soon(async move {
                order.lock().unwrap().push(i);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert!(order.into_inner().unwrap().into_iter().eq(0..100));
    Ok(())
}

async fn children_share_what_they_borrow() -> trine::Result<()> {
    let words = Mutex::new(Vec::new());
    nursery(async |n| {
        for word in ["a", "b", "c"] {
            let words = &words;
            n.start_soon(async move {
                checkpoint().await?;
                words.lock().unwrap().push(word);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    let mut words = words.into_inner().unwrap();
    words.sort_unstable();
    assert_eq!(words, ["a", "b", "c"]);
    Ok(())
}

async fn children_borrow_disjoint_parts_mutably() -> trine::Result<()> {
    let mut cells = [0; 8];
    nursery(async |n| {
        for (i, cell) in cells.iter_mut().enumerate() {
            n.start_soon(async move {
                *cell += 1;
                checkpoint().await?;
                *cell += i;
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(cells, [1, 2, 3, 4, 5, 6, 7, 8]);
    Ok(())
}

/// A child's value and the nursery's are references into what is around the nursery.
async fn value_may_borrow_what_the_nursery_may() -> trine::Result<()> {
    let text = String::from("one two three");
    let longest = nursery(async |n| {
        let words: Vec<_> = text.split(' ').map(|word| n.spawn(async move { Ok(word) })).collect();
        let mut longest = "";
        for word in words {
            let word = word.await?;
            if word.len() > longest.len() {
                longest = word;
            }
        }
        Ok(longest)
    })
    .await?;
    assert_eq!(longest, "three");
    Ok(())
}

fn count_up<'s, 'e>(n: &'s Nursery<'s, 'e>, count: &'e Mutex<u32>) {
    n.start_soon(async {
        checkpoint().await?;
        *count.lock().unwrap() += 1;
        Ok(())
    });
}

async fn nursery_is_filled_by_functions_and_loops() -> trine::Result<()> {
    let count = Mutex::new(0);
    nursery(async |n| {
        for _ in 0..5 {
            count_up(n, &count);
        }
        Ok(())
    })
    .await?;
    assert_eq!(count.into_inner().unwrap(), 5);
    Ok(())
}

async fn exit_waits_for_children_of_children() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        n.start_soon(async {
            after(1, ()).await?;
            n.start_soon(async {
                after(1, ()).await?;
                n.start_soon(async {
                    after(1, ()).await?;
                    log.add("third");
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        });
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["third"]);
    Ok(())
}

fn chain<'s>(n: &'s Nursery<'s, '_>, left: u32) {
    if left > 0 {
        n.start_soon(async move {
            checkpoint().await?;
            chain(n, left - 1);
            Ok(())
        });
    }
}

/// The body has ended and one child lives: what that spawns as its last act keeps the nursery open. When none is left it
/// is closed.
async fn last_child_spawns_the_next_while_the_nursery_closes() -> trine::Result<()> {
    let log = Log::new();
    let spawner = nursery(async |n| {
        n.start_soon(async {
            after(1, ()).await?;
            n.start_soon(async {
                chain(n, 1_000);
                log.add("chained");
                Ok(())
            });
            Ok(())
        });
        Ok(n.spawner())
    })
    .await?;
    assert_eq!(log.take(), ["chained"]);
    assert!(spawner.is_closed() && spawner.start_soon(async { Ok(()) }).is_err());
    Ok(())
}

/// Of a child that is the last one, too.
async fn destructor_of_an_ended_child_spawns() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let log = &log;
        let spawn = OnDrop(move || {
            n.start_soon(async move {
                after(1, ()).await?;
                log.add("spawned by a destructor");
                Ok(())
            });
        });
        n.start_soon(async move {
            let _spawn = spawn;
            Ok(checkpoint().await?)
        });
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["spawned by a destructor"]);
    Ok(())
}

/// The inner nursery does not wait for it, the outer one does.
async fn inner_child_spawns_into_the_outer_nursery() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |outer| {
        nursery(async |inner| {
            inner.start_soon(async {
                outer.start_soon(async {
                    after(5, ()).await?;
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
    })
    .await?;
    assert_eq!(log.take(), ["inner child", "inner nursery", "outer child"]);
    Ok(())
}

/// A cancelled scope around the spawn does not reach the child; the spawner's cancelled nursery neither.
async fn child_is_under_its_nursery_and_not_under_its_spawner() -> trine::Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let scope = CancelScope::new();
        scope
            .run(async {
                n.start_soon(async {
                    after(1, ()).await?;
                    log.add("out of the scope");
                    Ok(())
                });
                scope.cancel();
                nursery(async |inner| {
                    inner.start_soon(async {
                        n.start_soon(async {
                            after(2, ()).await?;
                            log.add("out of the inner nursery");
                            Ok(())
                        });
                        forever().await
                    });
                    forever().await
                })
                .await
            })
            .await?;
        assert!(scope.cancelled_caught());
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["out of the scope", "out of the inner nursery"]);
    Ok(())
}

/// `&Nursery` goes to other threads; what they spawn runs where the nursery does.
async fn other_threads_spawn_through_a_reference() -> trine::Result<()> {
    let seen = Mutex::new(Vec::new());
    nursery(async |n| {
        let seen = &seen;
        std::thread::scope(|threads| {
            for i in 0..4 {
                threads.spawn(move || {
                    n.start_soon(async move {
                        checkpoint().await?;
                        seen.lock().unwrap().push(i);
                        Ok(())
                    });
                });
            }
        });
        Ok(())
    })
    .await?;
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    Ok(())
}
