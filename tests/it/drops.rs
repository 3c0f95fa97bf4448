//! Dropping and forgetting half-run trees: nothing that was in a dropped tree lives on, and what was forgotten runs no
//! more.

use crate::support::{CountWakes, Live, Ticks, oneshot, poll_once, yield_once};
use std::sync::Mutex as StdMutex;
use std::task::Poll;
use std::time::Duration;
use trine::sync::{Condition, Event, Mutex, Semaphore};
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{CancelScope, Error, Result};

struct World {
    live: Live,
    mutex: Mutex<u32>,
    condition: Condition,
    semaphore: Semaphore,
    event: Event,
    ticks: Ticks,
}

impl World {
    fn new() -> Self {
        Self {
            live: Live::new(),
            mutex: Mutex::new(0),
            condition: Condition::new(),
            semaphore: Semaphore::new(1),
            event: Event::new(),
            ticks: Ticks::new(),
        }
    }

    async fn waits(&self) -> Result<()> {
        let _guard = self.live.guard();
        let permit = self.semaphore.acquire().await?;
        self.ticks.next().await;
        let mut lock = self.mutex.lock().await?;
        *lock += 1;
        if *lock < 3 {
            drop(permit);
            self.condition.wait_while(&mut lock, |n| *n < 3).await?;
        } else {
            self.condition.notify_all();
        }
        trine::checkpoint().await?;
        Ok(())
    }
}

/// A tree with something of everything, that ends by itself without timers.
async fn tree(world: &World) -> Result<u32> {
    let _guard = world.live.guard();
    let (tx, rx) = trine::channel::<crate::support::Guard>(0);
    let scope = CancelScope::new();
    trine::nursery(async |n| {
        let _guard = world.live.guard();
        for _ in 0..3 {
            n.start_soon(world.waits());
        }
        n.start_soon(async {
            let _guard = world.live.guard();
            for _ in 0..2 {
                tx.send(world.live.guard()).await?;
            }
            tx.close();
            Ok(())
        });
        let child = n.spawn(async {
            let _guard = world.live.guard();
            let mut count = 0;
            while let Some(_item) = rx.try_next().await? {
                world.ticks.next().await;
                count += 1;
            }
            Ok(count)
        });
        let started = n
            .start(|status| async {
                let guard = world.live.guard();
                world.ticks.next().await;
                status.started(guard);
                world.event.wait().await?;
                world.ticks.next().await;
                Ok(())
            })
            .await?;
        let raced = trine::race(
            async {
                let _guard = world.live.guard();
                trine::checkpoint().await?;
                trine::checkpoint().await?;
                Ok(world.live.guard())
            },
            async {
                let _guard = world.live.guard();
                let result = trine::sleep_forever().await;
                trine::shielded(async {
                    world.ticks.next().await;
                    Ok(())
                })
                .await?;
                result?;
                Ok(())
            },
        )
        .await?;
        let cancelled = scope
            .run(async {
                let result = trine::nursery(async |inner| {
                    inner.start_soon(async {
                        let _guard = world.live.guard();
                        trine::sleep_forever().await?;
                        Ok(())
                    });
                    trine::checkpoint().await?;
                    scope.cancel();
                    // What is foreign is dropped.
                    let _guard = world.live.guard();
                    std::future::pending::<()>().await;
                    Ok(())
                })
                .await;
                trine::shielded(async {
                    let _guard = world.live.guard();
                    for _ in 0..5 {
                        world.ticks.next().await;
                    }
                    Ok(())
                })
                .await?;
                result
            })
            .await?;
        assert!(cancelled.is_none());
        world.event.set();
        drop((started, raced));
        let mut joined = futures_util::future::join_all((0..3).map(|_| async {
            let _guard = world.live.guard();
            trine::checkpoint().await?;
            world.ticks.next().await;
            Ok::<_, Error>(1)
        }))
        .await;
        Ok(child.await? + joined.pop().unwrap()?)
    })
    .await
}

#[test]
fn a_tree_dropped_after_any_number_of_polls_leaves_nothing() {
    let mut polls = 0;
    loop {
        let world = World::new();
        let wakes = CountWakes::new();
        let mut fut = Box::pin(tree(&world));
        let mut finished = false;
        for k in 0..polls {
            if let Poll::Ready(value) = poll_once(fut.as_mut(), &wakes) {
                assert_eq!(value.unwrap(), 3);
                finished = true;
                break;
            }
            world.ticks.tick();
            assert!(wakes.count() > k, "pending without a wake after {k} polls");
        }
        drop(fut);
        assert_eq!(world.live.count(), 0, "dropped after {polls} polls");
        if finished {
            break;
        }
        polls += 1;
        assert!(polls < 1000, "it never ends");
    }
}

/// Polls by hand one level below the root, so that each of the tree's own passes is one poll.
#[test]
fn a_tree_inside_a_run_dropped_after_any_number_of_polls_leaves_nothing() {
    let mut polls = 0;
    loop {
        let world = World::new();
        let finished = run(async {
            let mut fut = Box::pin(tree(&world));
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| Poll::Ready(fut.as_mut().poll(cx))).await;
                if let Poll::Ready(value) = polled {
                    assert_eq!(value.unwrap(), 3);
                    return true;
                }
                world.ticks.tick();
                yield_once().await;
            }
            drop(fut);
            // The run goes on.
            trine::sleep(Duration::from_secs(1)).await.unwrap();
            assert_eq!(trine::inspect::statistics().tasks, 1);
            false
        });
        assert_eq!(world.live.count(), 0, "dropped after {polls} polls");
        if finished {
            break;
        }
        polls += 1;
        assert!(polls < 1000, "it never ends");
    }
    assert!(polls > 5, "the tree takes more than one pass: {polls}");
}

#[test]
fn a_tree_cancelled_after_any_number_of_polls_leaves_nothing() {
    let mut polls = 0;
    loop {
        let world = World::new();
        let finished = run(async {
            let scope = CancelScope::new();
            let mut fut = Box::pin(scope.run(tree(&world)));
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| Poll::Ready(fut.as_mut().poll(cx))).await;
                if let Poll::Ready(value) = polled {
                    assert_eq!(value.unwrap(), Some(3));
                    return true;
                }
                world.ticks.tick();
                yield_once().await;
            }
            scope.cancel();
            // What is foreign or shielded may still need a few ticks.
            loop {
                let polled = std::future::poll_fn(|cx| Poll::Ready(fut.as_mut().poll(cx))).await;
                if let Poll::Ready(value) = polled {
                    assert_eq!(value.unwrap(), None);
                    break;
                }
                world.ticks.tick();
                yield_once().await;
            }
            trine::checkpoint().await.unwrap();
            assert_eq!(trine::inspect::statistics().tasks, 1);
            false
        });
        assert_eq!(world.live.count(), 0, "cancelled after {polls} polls");
        if finished {
            break;
        }
        polls += 1;
        assert!(polls < 1000, "it never ends");
    }
}

/// Polls once and forgets.
async fn forget_half_run<F: Future>(fut: F) {
    let mut fut = Box::pin(fut);
    let pending = std::future::poll_fn(|cx| Poll::Ready(fut.as_mut().poll(cx).is_pending())).await;
    assert!(pending);
    std::mem::forget(fut);
}

#[test]
fn a_forgotten_nursery_runs_no_more_and_the_run_goes_on() {
    let ran = StdMutex::new(0);
    let (fire, wait) = oneshot::<()>();
    run(async {
        let event = Event::new();
        forget_half_run(trine::nursery(async |n| {
            let ran = &ran;
            n.start_soon(async move {
                *ran.lock().unwrap() += 1;
                trine::sleep(Duration::from_secs(1)).await?;
                *ran.lock().unwrap() += 100;
                Ok(())
            });
            n.start_soon(async move {
                wait.await;
                *ran.lock().unwrap() += 100;
                Ok(())
            });
            n.start_soon(async {
                // Its deadline fires when nobody is there to see it.
                trine::move_on_after(
                    Duration::from_secs(2),
                    trine::nursery(async |m| {
                        m.start_soon(async { Ok(trine::sleep(Duration::from_secs(3)).await?) });
                        Ok(trine::sleep(Duration::from_secs(4)).await?)
                    }),
                )
                .await?;
                *ran.lock().unwrap() += 100;
                Ok(())
            });
            trine::sleep(Duration::from_secs(5)).await?;
            Ok(())
        }))
        .await;
        assert_eq!(*ran.lock().unwrap(), 1);
        fire.fire(());
        trine::sleep(Duration::from_secs(10)).await?;
        event.set();
        trine::nursery(async |n| {
            for _ in 0..20 {
                n.start_soon(async { Ok(trine::sleep(Duration::from_secs(1)).await?) });
            }
            wait_all_tasks_blocked().await?;
            let _ = trine::inspect::tree().to_string();
            Ok(())
        })
        .await
    })
    .unwrap();
    assert_eq!(*ran.lock().unwrap(), 1);
}

#[test]
fn forgotten_scopes_shields_and_races_are_harmless() {
    run(async {
        let scope = CancelScope::new();
        forget_half_run(scope.run(async { Ok(trine::sleep(Duration::from_secs(1)).await?) })).await;
        forget_half_run(trine::race(async { Ok(trine::sleep(Duration::from_secs(1)).await?) }, async {
            Ok(trine::sleep(Duration::from_secs(2)).await?)
        }))
        .await;
        forget_half_run(trine::fail_after(Duration::from_secs(1), std::future::pending::<Result<()>>())).await;
        let (tx, rx) = trine::channel::<u32>(1);
        forget_half_run(rx.recv()).await;
        tx.send(1).await?;
        trine::sleep(Duration::from_secs(5)).await?;
        scope.cancel();
        trine::checkpoint().await?;
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn a_child_whose_nursery_forgot_a_nursery_ends() {
    run(trine::nursery(async |n| {
        n.start_soon(async {
            forget_half_run(trine::nursery(async |m| {
                m.start_soon(async { Ok(trine::sleep(Duration::from_secs(1)).await?) });
                Ok(())
            }))
            .await;
            Ok(())
        });
        Ok(trine::sleep(Duration::from_secs(3)).await?)
    }))
    .unwrap();
}

#[test]
fn a_forgotten_start_leaves_the_run_alive() {
    let live = Live::new();
    run(async {
        let outcome = trine::move_on_after(Duration::from_secs(5), async {
            trine::nursery(async |n| {
                let (tx, rx) = std::sync::mpsc::channel();
                forget_half_run(n.start(move |status| {
                    tx.send(status).unwrap();
                    async move { Ok(trine::sleep(Duration::from_secs(1)).await?) }
                }))
                .await;
                trine::sleep(Duration::from_secs(2)).await?;
                let status: trine::TaskStatus<crate::support::Guard> = rx.recv().unwrap();
                status.started(live.guard());
                trine::checkpoint().await?;
                Ok(())
            })
            .await
        })
        .await;
        drop(outcome);
        trine::sleep(Duration::from_secs(20)).await
    })
    .unwrap();
}

#[test]
fn handles_outlive_what_they_stand_for() {
    let scope = CancelScope::new();
    let (spawner, handle) = run(async {
        let mut handle = None;
        let kept = &mut handle;
        let spawner = scope
            .nursery(async move |n| {
                let spawner = n.spawner();
                *kept = Some(spawner.spawn(async { Ok(trine::sleep_forever().await.map(|_| ())?) })?);
                trine::checkpoint().await?;
                n.cancel_children();
                Ok(spawner)
            })
            .await
            .unwrap();
        (spawner, handle.unwrap())
    });
    scope.cancel();
    scope.set_deadline(None);
    scope.set_shield(true);
    handle.cancel();
    assert!(handle.is_finished() && spawner.unwrap().is_closed());
}
