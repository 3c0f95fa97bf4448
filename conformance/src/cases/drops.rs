//! Trees that are dropped or cut half way: nothing of them lives on, and the run goes on.

use super::nursery_tools::{Guard, Live, Log, OnDrop, SECOND, after, forever, poll_here, yield_once};
use crate::case::{Case, portable};
use std::future::{Future, pending};
use std::task::Poll;
use trine::sync::{Condition, Event, Mutex, Semaphore};
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Result, channel, checkpoint, move_on_after, nursery, race, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(tree_dropped_after_any_number_of_polls_leaves_nothing, "drop.any-poll", "design 3"),
    portable!(tree_cancelled_after_any_number_of_polls_leaves_nothing, "drop.any-poll-cancel", "design 3"),
    portable!(drop_runs_nothing_more, "drop.at-once", "design 3"),
    portable!(drop_in_a_child_leaves_its_siblings, "drop.inner", "design 3"),
    portable!(destructor_of_a_dropped_tree_spawns_in_vain, "drop.spawn", "design 3"),
    portable!(destructor_sees_what_the_nursery_may_borrow, "drop.borrow", "design 3"),
    portable!(foreign_wait_in_a_cut_scope_is_dropped_with_its_nursery, "drop.cut", "design 4"),
    portable!(
        locals_of_a_cancelled_task_are_dropped_before_the_nursery_ends,
        "drop.prompt",
        "trio test_run.py::test_locals_destroyed_promptly_on_cancel"
    ),
    portable!(
        failed_nursery_leaves_nothing_behind,
        "drop.no-leak",
        "trio test_run.py::test_nursery_cancel_doesnt_create_cyclic_garbage"
    ),
];

#[derive(Default)]
struct World {
    live: Live,
    mutex: Mutex<u32>,
    condition: Condition,
    event: Event,
}

impl World {
    async fn waits(&self, semaphore: &Semaphore) -> Result<()> {
        let _guard = self.live.guard();
        let permit = semaphore.acquire().await?;
        after(1, ()).await?;
        let mut count = self.mutex.lock().await?;
        *count += 1;
        if *count < 3 {
            drop(permit);
            self.condition.wait_while(&mut count, |count| *count < 3).await?;
        } else {
            self.condition.notify_all();
        }
        Ok(checkpoint().await?)
    }

    /// A tree with something of everything.
    async fn tree(&self) -> Result<u32> {
        let _guard = self.live.guard();
        let (tx, rx) = channel::<Guard>(0);
        let (semaphore, scope) = (Semaphore::new(1), CancelScope::new());
        nursery(async |n| {
            for _ in 0..3 {
                n.start_soon(self.waits(&semaphore));
            }
            n.start_soon(async {
                for _ in 0..2 {
                    tx.send(self.live.guard()).await?;
                }
                tx.close();
                Ok(())
            });
            let child = n.spawn(async {
                let _guard = self.live.guard();
                let mut count = 0;
                while let Some(_item) = rx.try_next().await? {
                    after(1, ()).await?;
                    count += 1;
                }
                Ok(count)
            });
            let started = n
                .start(async |status| {
                    let guard = self.live.guard();
                    after(1, ()).await?;
                    status.started(guard);
                    self.event.wait().await?;
                    after(1, ()).await
                })
                .await?;
            let raced = race(after(1, self.live.guard()), async {
                let _guard = self.live.guard();
                let result = forever().await;
                shielded(after(1, ())).await?;
                result
            })
            .await?;
            let cut = scope.nursery(async |inner| {
                inner.start_soon(async {
                    let _guard = self.live.guard();
                    forever().await
                });
                checkpoint().await?;
                scope.cancel();
                let _guard = self.live.guard();
                pending::<Result<()>>().await
            });
            assert_eq!(cut.await?, None);
            self.event.set();
            drop((started, raced));
            Ok(child.await? + 1)
        })
        .await
    }
}

/// Polls by hand, with a second between; true if it came to its end.
async fn poll_for<F: Future<Output = Result<u32>> + Unpin>(tree: &mut F, polls: usize) -> Result<bool> {
    for _ in 0..polls {
        if let Poll::Ready(value) = poll_here(tree).await {
            assert_eq!(value?, 3);
            return Ok(true);
        }
        trine::sleep(SECOND / 4).await?;
    }
    Ok(false)
}

async fn tree_dropped_after_any_number_of_polls_leaves_nothing() -> Result<()> {
    let tasks = trine::inspect::statistics().tasks;
    for polls in 0.. {
        assert!(polls < 1_000, "it never ends");
        let world = World::default();
        let mut tree = Box::pin(world.tree());
        let finished = poll_for(&mut tree, polls).await?;
        drop(tree);
        assert_eq!(world.live.count(), 0, "dropped after {polls} polls");
        assert_eq!(trine::inspect::statistics().tasks, tasks, "dropped after {polls} polls");
        // Nothing of it disturbs the run.
        after(1, ()).await?;
        if finished {
            assert!(polls > 5, "the tree takes more than {polls} polls");
            return Ok(());
        }
    }
    Ok(())
}

async fn tree_cancelled_after_any_number_of_polls_leaves_nothing() -> Result<()> {
    let tasks = trine::inspect::statistics().tasks;
    for polls in 0.. {
        assert!(polls < 1_000, "it never ends");
        let (world, scope) = (World::default(), CancelScope::new());
        let mut tree = Box::pin(async {
            match scope.run(world.tree()).await? {
                Some(value) => Ok(value),
                // What a tree that was cut is worth here.
                None => Ok(3),
            }
        });
        let finished = poll_for(&mut tree, polls).await?;
        if !finished {
            scope.cancel();
            tree.await?;
        }
        assert_eq!(world.live.count(), 0, "cancelled after {polls} polls");
        assert_eq!(trine::inspect::statistics().tasks, tasks, "cancelled after {polls} polls");
        if finished {
            return Ok(());
        }
    }
    Ok(())
}

/// Destructors run, nothing else; children before what they borrow.
async fn drop_runs_nothing_more() -> Result<()> {
    let (log, live) = (Log::new(), Live::new());
    let mut tree = Box::pin(nursery(async |n| {
        for _ in 0..3 {
            let guard = live.guard();
            n.start_soon(async {
                let _guard = guard;
                let result = forever().await;
                log.add("cleaned up");
                shielded(after(1, ())).await?;
                result
            });
        }
        let result = forever().await;
        log.add("body");
        result
    }));
    assert!(poll_here(&mut tree).await.is_pending());
    assert_eq!(live.count(), 3);
    drop(tree);
    assert_eq!(live.count(), 0);
    yield_once().await;
    assert!(log.take().is_empty());
    Ok(())
}

async fn drop_in_a_child_leaves_its_siblings() -> Result<()> {
    let live = Live::new();
    nursery(async |n| {
        let sibling = n.spawn(after(3, "sibling"));
        n.start_soon(async {
            let mut inner = Box::pin(nursery(async |inner| {
                let guard = live.guard();
                inner.start_soon(async move {
                    let _guard = guard;
                    forever().await
                });
                forever().await
            }));
            assert!(poll_here(&mut inner).await.is_pending());
            after(1, ()).await?;
            drop(inner);
            assert_eq!(live.count(), 0);
            Ok(checkpoint().await?)
        });
        assert_eq!(sibling.await?, "sibling");
        Ok(())
    })
    .await
}

/// Its children are dropped with the others.
async fn destructor_of_a_dropped_tree_spawns_in_vain() -> Result<()> {
    let (live, log) = (Live::new(), Log::new());
    let mut tree = Box::pin(nursery(async |n| {
        let (live, log) = (&live, &log);
        let spawn = OnDrop(move || {
            let guard = live.guard();
            n.start_soon(async move {
                let _guard = guard;
                log.add("ran");
                Ok(())
            });
            n.spawn(async move { Ok(1) }).cancel();
            n.cancel_children();
        });
        n.start_soon(async move {
            let _spawn = spawn;
            forever().await
        });
        forever().await
    }));
    assert!(poll_here(&mut tree).await.is_pending());
    drop(tree);
    yield_once().await;
    assert_eq!((live.count(), log.take().len()), (0, 0));
    Ok(())
}

async fn destructor_sees_what_the_nursery_may_borrow() -> Result<()> {
    let words = std::sync::Mutex::new(Vec::new());
    let text = String::from("still there");
    let mut tree = Box::pin(nursery(async |n| {
        for _ in 0..2 {
            let (words, text) = (&words, &text);
            let tell = OnDrop(move || words.lock().unwrap().push(text.as_str()));
            n.start_soon(async move {
                let _tell = tell;
                pending().await
            });
        }
        pending::<Result<()>>().await
    }));
    assert!(poll_here(&mut tree).await.is_pending());
    drop(tree);
    assert_eq!(words.into_inner().unwrap(), ["still there"; 2]);
    Ok(())
}

async fn foreign_wait_in_a_cut_scope_is_dropped_with_its_nursery() -> Result<()> {
    let live = Live::new();
    let cut = move_on_after(
        SECOND,
        nursery(async |n| {
            for _ in 0..3 {
                let guard = live.guard();
                n.start_soon(async move {
                    let _guard = guard;
                    pending().await
                });
            }
            let _guard = live.guard();
            pending::<Result<()>>().await
        }),
    );
    assert_eq!((cut.await?, live.count()), (None, 0));
    Ok(())
}

async fn locals_of_a_cancelled_task_are_dropped_before_the_nursery_ends() -> Result<()> {
    let live = Live::new();
    nursery(async |n| {
        n.start_soon(async {
            let _guard = live.guard();
            forever().await
        });
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        wait_all_tasks_blocked().await?;
        // The body has not ended, the child has.
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await
}

/// Neither the tasks, nor the errors, nor what they hold.
async fn failed_nursery_leaves_nothing_behind() -> Result<()> {
    let (live, tasks) = (Live::new(), trine::inspect::statistics().tasks);
    #[derive(Debug)]
    struct Holds(#[expect(dead_code, reason = "it lives")] Guard);
    impl std::fmt::Display for Holds {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("holds")
        }
    }
    impl std::error::Error for Holds {}
    let result = nursery(async |n| {
        for _ in 0..3 {
            n.start_soon(async {
                let _guard = live.guard();
                let _ = trine::sleep_forever().await;
                Err(Holds(live.guard()).into())
            });
        }
        wait_all_tasks_blocked().await?;
        Result::<()>::Err(Holds(live.guard()).into())
    })
    .await;
    assert_eq!((live.count(), trine::inspect::statistics().tasks), (4, tasks));
    drop(result);
    assert_eq!(live.count(), 0);
    Ok(())
}
