//! Dropping and cancelling at every point: an operation that got so many polls and no more leaves nothing behind.

use super::cancel_tools::{
    BLOCKED, Guard, Live, NamedOp, READY, SECOND, after, foreign, forever, poll_here, yield_once,
};
use crate::case::{Case, portable};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::task::{Poll, Waker};
use trine::sync::{Condition, Event, Mutex};
use trine::{CancelScope, Result, TaskStatus, cancellable, finally, inspect, move_on_after, nursery, race, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(blocked_operation_dropped, "drop.blocked", "design 1, divergence 3"),
    portable!(ready_operation_dropped, "drop.ready", "design 1, divergence 3"),
    portable!(nursery_dropped, "drop.nursery", "design 1"),
    portable!(scopes_dropped, "drop.scopes", "design 1"),
    portable!(finally_dropped, "drop.finally", "design 1"),
    portable!(race_dropped, "drop.race", "design 1"),
    portable!(start_dropped, "drop.start", "design 1"),
    portable!(sub_executor_dropped, "drop.subexecutor", "design 1"),
    portable!(rendezvous_dropped, "drop.channel", "design 4.2, divergence 3"),
    portable!(condition_dropped, "drop.condition", "design 4.2, divergence 3"),
    portable!(nursery_cancelled, "cancel.nursery", "divergence 3"),
    portable!(scopes_cancelled, "cancel.scopes", "divergence 3"),
    portable!(race_cancelled, "cancel.race", "divergence 3"),
    portable!(start_cancelled, "cancel.start", "divergence 6"),
    portable!(rendezvous_cancelled, "cancel.channel", "divergence 3"),
];

type Boxed = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What is counted, and the ticks by which a program goes on: none within one poll of the whole.
#[derive(Clone, Default)]
struct World {
    live: Live,
    ticks: Arc<StdMutex<(usize, Vec<Waker>)>>,
}

impl World {
    fn guard(&self) -> Guard {
        self.live.guard()
    }

    fn tick(&self) {
        let wakers = {
            let mut ticks = self.ticks.lock().unwrap();
            ticks.0 += 1;
            std::mem::take(&mut ticks.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn next_tick(&self) {
        let seen = self.ticks.lock().unwrap().0;
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut ticks = self.ticks.lock().unwrap();
            if ticks.0 > seen {
                return Poll::Ready(());
            }
            ticks.1.push(waker);
            Poll::Pending
        })
        .await;
    }

    /// Waits for so many ticks, each of them a checkpoint.
    async fn steps(&self, n: usize) -> Result<Guard> {
        let guard = self.guard();
        for _ in 0..n {
            cancellable(self.next_tick()).await?;
        }
        Ok(guard)
    }

    /// Polls at most `polls` times, with a tick after each.
    async fn polls<F: Future + Unpin>(&self, fut: &mut F, polls: usize) -> Option<F::Output> {
        for _ in 0..polls {
            if let Poll::Ready(result) = poll_here(fut).await {
                return Some(result);
            }
            self.tick();
            yield_once().await;
        }
        None
    }
}

/// Nothing of what was polled is left: no value, no task but this one, no timer.
fn assert_clean(live: &Live, what: &str, polls: usize) {
    assert_eq!(live.count(), 0, "{what} after {polls} polls: values are left");
    let left = inspect::statistics();
    assert_eq!((left.tasks, left.timers), (1, 0), "{what} after {polls} polls: tasks, timers");
}

/// Polls what `make` makes 0, 1, 2 times and so on until it ends within them, then drops it. Returns how many polls it
/// took.
async fn drop_at_each_poll(make: impl Fn(World) -> Boxed) -> Result<usize> {
    for polls in 0..100 {
        let world = World::default();
        let mut fut = make(world.clone());
        let ended = world.polls(&mut fut, polls).await;
        drop(fut);
        assert_clean(&world.live, "dropped", polls);
        if let Some(result) = ended {
            return result.map(|()| polls);
        }
    }
    panic!("it never ends");
}

/// As [`drop_at_each_poll`], but cancels instead and awaits the rest.
async fn cancel_at_each_poll(make: impl Fn(World) -> Boxed) -> Result<usize> {
    for polls in 0..100 {
        let (world, scope) = (World::default(), CancelScope::new());
        let mut fut = Box::pin(scope.run(make(world.clone())));
        let ended = world.polls(&mut fut, polls).await;
        let before = ended.is_some();
        scope.cancel();
        // What is shielded goes on with the ticks.
        let ended = if before { ended } else { world.polls(&mut fut, 100).await };
        let outcome = ended.expect("it ends")?;
        assert_clean(&world.live, "cancelled", polls);
        if before {
            assert_eq!(outcome, Some(()));
            return Ok(polls);
        }
    }
    panic!("it never ends");
}

/// Drops each operation after each of its first polls.
async fn drop_operations(operations: &'static [NamedOp]) -> Result<()> {
    for (name, op) in operations {
        for polls in 0..4 {
            let live = Live::default();
            let guard = live.guard();
            let mut fut: Boxed = Box::pin(async move {
                let _guard = guard;
                op().await
            });
            for _ in 0..polls {
                if poll_here(&mut fut).await.is_ready() {
                    break;
                }
                yield_once().await;
            }
            drop(fut);
            assert_clean(&live, name, polls);
        }
    }
    // Time goes on as if there had been nothing.
    let start = trine::now();
    after(1).await?;
    assert_eq!(trine::now() - start, SECOND);
    Ok(())
}

async fn blocked_operation_dropped() -> Result<()> {
    drop_operations(BLOCKED).await
}

async fn ready_operation_dropped() -> Result<()> {
    drop_operations(READY).await
}

fn a_nursery(world: World) -> Boxed {
    Box::pin(async move {
        nursery(async |n| {
            n.start_soon(async { world.steps(3).await.map(drop) });
            let child = n.spawn(world.steps(2));
            let inner = n.spawn(nursery(async |inner| {
                inner.start_soon(async { world.steps(1).await.map(drop) });
                world.steps(4).await
            }));
            let (_a, _b, _c) = (world.steps(2).await?, child.await?, inner.await?);
            Ok(())
        })
        .await
    })
}

async fn nursery_dropped() -> Result<()> {
    assert!(drop_at_each_poll(a_nursery).await? > 4);
    Ok(())
}

async fn nursery_cancelled() -> Result<()> {
    assert!(cancel_at_each_poll(a_nursery).await? > 4);
    Ok(())
}

fn scopes(world: World) -> Boxed {
    Box::pin(async move {
        let scope = CancelScope::after(SECOND * 50);
        let outcome = scope
            .run(async {
                let _a = shielded(move_on_after(SECOND * 9, world.steps(2))).await?;
                scope.cancel();
                let _b = shielded(world.steps(2)).await?;
                let _guard = world.guard();
                foreign().await
            })
            .await?;
        assert_eq!(outcome, None);
        trine::fail_after(SECOND, world.steps(2)).await.map(drop)
    })
}

async fn scopes_dropped() -> Result<()> {
    assert!(drop_at_each_poll(scopes).await? > 4);
    Ok(())
}

async fn scopes_cancelled() -> Result<()> {
    assert!(cancel_at_each_poll(scopes).await? > 4);
    Ok(())
}

async fn finally_dropped() -> Result<()> {
    let polls = drop_at_each_poll(|world| {
        Box::pin(async move {
            finally(async { world.steps(3).await.map(drop) }, async { world.steps(3).await.map(drop) }).await
        })
    })
    .await?;
    assert!(polls > 4);
    Ok(())
}

fn a_race(world: World) -> Boxed {
    Box::pin(async move {
        let winner = race(world.steps(3), async {
            let _guard = world.guard();
            let result = forever().await;
            shielded(world.steps(3)).await?;
            result
        })
        .await?;
        drop(winner);
        Ok(())
    })
}

async fn race_dropped() -> Result<()> {
    assert!(drop_at_each_poll(a_race).await? > 4);
    Ok(())
}

async fn race_cancelled() -> Result<()> {
    assert!(cancel_at_each_poll(a_race).await? > 4);
    Ok(())
}

fn a_start(world: World) -> Boxed {
    Box::pin(async move {
        nursery(async |n| {
            let value = n
                .start(|status: TaskStatus<Guard>| async {
                    let guard = world.steps(2).await?;
                    status.started(guard);
                    world.steps(3).await.map(drop)
                })
                .await?;
            world.steps(1).await?;
            drop(value);
            Ok(())
        })
        .await
    })
}

async fn start_dropped() -> Result<()> {
    assert!(drop_at_each_poll(a_start).await? > 4);
    Ok(())
}

async fn start_cancelled() -> Result<()> {
    assert!(cancel_at_each_poll(a_start).await? > 4);
    Ok(())
}

async fn sub_executor_dropped() -> Result<()> {
    let polls = drop_at_each_poll(|world| {
        Box::pin(async move {
            let mut all: FuturesUnordered<_> = (1..40).map(|n| world.steps(n % 4)).collect();
            while let Some(guard) = all.next().await {
                drop(guard?);
                cancellable(world.next_tick()).await?;
            }
            Ok(())
        })
    })
    .await?;
    assert!(polls > 4);
    Ok(())
}

fn a_rendezvous(world: World) -> Boxed {
    Box::pin(async move {
        let (tx, rx) = trine::channel::<Guard>(0);
        nursery(async |n| {
            n.start_soon(async {
                let tx = tx;
                for _ in 0..3 {
                    cancellable(world.next_tick()).await?;
                    tx.send(world.guard()).await?;
                }
                Ok(())
            });
            while let Some(item) = rx.try_next().await? {
                cancellable(world.next_tick()).await?;
                drop(item);
            }
            Ok(())
        })
        .await
    })
}

async fn rendezvous_dropped() -> Result<()> {
    assert!(drop_at_each_poll(a_rendezvous).await? > 3);
    Ok(())
}

async fn rendezvous_cancelled() -> Result<()> {
    assert!(cancel_at_each_poll(a_rendezvous).await? > 3);
    Ok(())
}

async fn condition_dropped() -> Result<()> {
    let polls = drop_at_each_poll(|world| {
        Box::pin(async move {
            let (mutex, condition, event) = (Mutex::new(0), Condition::new(), Event::new());
            nursery(async |n| {
                for _ in 0..3 {
                    n.start_soon(async {
                        let _guard = world.guard();
                        let mut held = mutex.lock().await?;
                        condition.wait_while(&mut held, |n| *n < 2).await?;
                        cancellable(world.next_tick()).await?;
                        event.set();
                        Ok(())
                    });
                }
                for _ in 0..2 {
                    cancellable(world.next_tick()).await?;
                    *mutex.lock().await? += 1;
                    condition.notify_all();
                }
                Ok(event.wait().await?)
            })
            .await
        })
    })
    .await?;
    assert!(polls > 3);
    Ok(())
}
