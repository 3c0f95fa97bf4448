//! Several threads: what they do to a tree from outside. Trees that [move](self::moves) from one to another, and what trees
//! on several threads have [between](self::between) them.

mod between;
mod moves;

use crate::support::{CountWakes, Live, block_on, oneshot, poll_once};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::time::Duration;
use trine::CancelScope;

/// Fewer rounds where each costs more.
const ROUNDS: usize = if cfg!(any(miri, trine_tsan)) { 40 } else { 200 };

#[test]
fn threads_of_a_scope_spawn_into_a_nursery() {
    let count = AtomicU32::new(0);
    block_on(trine::nursery(async |n| {
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        n.start_soon(async {
                            trine::checkpoint().await?;
                            count.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        });
                        let handle = n.spawn(async { Ok(1) });
                        drop(handle);
                    }
                });
            }
        });
        Ok(())
    }))
    .unwrap();
    assert_eq!(count.into_inner(), 200);
}

#[test]
fn handles_of_children_spawned_by_threads_give_their_values() {
    let sum = trine::run(trine::nursery(async |n| {
        let handles = std::thread::scope(|threads| {
            let spawn = |i: u32| threads.spawn(move || n.task(format!("from thread {i}")).spawn(async move { Ok(i) }));
            let threads: Vec<_> = (0..8).map(spawn).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        let mut sum = 0;
        for handle in handles {
            sum += handle.await?;
        }
        Ok(sum)
    }));
    assert_eq!(sum.unwrap(), 28);
}

#[test]
fn a_child_spawned_and_cancelled_by_a_thread_is_cancelled() {
    let ran = AtomicU32::new(0);
    block_on(trine::nursery(async |n| {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let handle = n.spawn(async {
                    trine::checkpoint().await?;
                    ran.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
                handle.cancel();
            });
        });
        Ok(())
    }))
    .unwrap();
    assert_eq!(ran.into_inner(), 0);
}

#[test]
fn children_cancelled_by_a_thread_of_the_body_are_cancelled() {
    block_on(trine::nursery(async |n| {
        for _ in 0..5 {
            n.start_soon(async { Ok(trine::sleep_forever().await.map(|_| ())?) });
        }
        trine::checkpoint().await?;
        std::thread::scope(|threads| {
            threads.spawn(|| n.cancel_children());
        });
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_spawner_works_from_many_threads_until_the_nursery_closes() {
    for _ in 0..ROUNDS / 10 {
        let ran = Arc::new(AtomicU32::new(0));
        let (tx, rx) = mpsc::channel();
        let spawned = block_on(trine::nursery(async |n| {
            let spawner = n.spawner();
            let barrier = Arc::new(Barrier::new(4));
            for _ in 0..3 {
                let (spawner, ran, tx, barrier) = (spawner.clone(), ran.clone(), tx.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    let mut spawned = 0;
                    loop {
                        let ran = ran.clone();
                        let child = async move {
                            trine::checkpoint().await?;
                            ran.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        };
                        if spawned >= 200 || spawner.start_soon(child).is_err() {
                            break;
                        }
                        spawned += 1;
                    }
                    drop(spawner);
                    tx.send(spawned).unwrap();
                });
            }
            barrier.wait();
            for _ in 0..20 {
                trine::checkpoint().await?;
            }
            Ok(())
        }));
        spawned.unwrap();
        drop(tx);
        assert_eq!(rx.iter().sum::<u32>(), ran.load(Ordering::Relaxed));
    }
}

#[test]
fn a_scope_is_cancelled_from_another_thread_while_its_task_waits() {
    for _ in 0..ROUNDS {
        let scope = CancelScope::new();
        let other = scope.clone();
        let (fire, go) = oneshot::<()>();
        let thread = std::thread::spawn(move || {
            block_on(go);
            other.cancel_because("from outside");
        });
        let outcome = block_on(scope.run(trine::nursery(async |n| {
            n.start_soon(async { Ok(trine::sleep_forever().await.map(|_| ())?) });
            n.start_soon(async { Ok(std::future::pending::<()>().await) });
            fire.fire(());
            Ok(trine::sleep_forever().await.map(|_| ())?)
        })))
        .unwrap();
        assert_eq!(outcome, None);
        assert_eq!(scope.reason().unwrap().message(), Some("from outside"));
        thread.join().unwrap();
    }
}

#[test]
fn a_scope_is_cancelled_from_another_thread_under_a_run() {
    for _ in 0..ROUNDS / 4 {
        let scope = CancelScope::new();
        let other = scope.clone();
        let thread = std::thread::spawn(move || other.cancel());
        let outcome = trine::run(scope.run(async { Ok(trine::sleep(Duration::from_secs(60)).await?) })).unwrap();
        assert_eq!(outcome, None);
        thread.join().unwrap();
    }
}

#[test]
fn a_busy_loop_sees_a_cancel_from_another_thread() {
    let scope = CancelScope::new();
    let other = scope.clone();
    let running = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !running.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            other.cancel();
        });
        let outcome: Option<()> = trine::run(scope.run(async {
            loop {
                running.store(true, Ordering::Release);
                trine::checkpoint_if_cancelled()?;
                std::hint::spin_loop();
            }
        }))
        .unwrap();
        assert_eq!(outcome, None);
    });
}

#[test]
fn deadlines_and_shields_are_moved_from_another_thread() {
    for round in 0..ROUNDS / 4 {
        let scope = CancelScope::new();
        let other = scope.clone();
        let thread = std::thread::spawn(move || {
            for i in 0..20 {
                other.set_shield(i % 2 == 0);
                other.set_deadline(Some(trine::now() + Duration::from_secs(60 + i)));
            }
            other.set_shield(false);
            // What has passed cancels at once, what is to come needs an alarm.
            other.set_deadline(Some(trine::now() + Duration::from_millis((round % 2) as u64)));
        });
        let outcome = trine::run(scope.run(async { Ok(trine::sleep(Duration::from_secs(60)).await?) })).unwrap();
        assert_eq!(outcome, None);
        thread.join().unwrap();
    }
}

#[test]
fn a_deadline_from_outside_has_the_host_poll() {
    let wakes = CountWakes::new();
    let scope = CancelScope::new();
    let mut fut = Box::pin(scope.run(async { Ok(trine::sleep_forever().await?) }));
    assert!(poll_once(fut.as_mut(), &wakes).is_pending());
    assert_eq!(wakes.count(), 0);
    // The alarm is as that poll left it: none.
    scope.set_deadline(Some(trine::now() + Duration::from_secs(60)));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn children_are_woken_by_other_threads() {
    let sum = AtomicU32::new(0);
    trine::run(trine::nursery(async |n| {
        for i in 0..100 {
            let (fire, wait) = oneshot();
            let sum = &sum;
            n.start_soon(async move {
                sum.fetch_add(wait.await, Ordering::Relaxed);
                trine::checkpoint().await?;
                Ok(())
            });
            if i % 10 == 0 {
                std::thread::spawn(move || fire.fire(1));
            } else {
                fire.fire(1);
            }
        }
        Ok(())
    }))
    .unwrap();
    assert_eq!(sum.into_inner(), 100);
}

#[test]
fn a_child_is_woken_again_and_again_by_several_threads() {
    /// A flag that is set by others, with one waiter.
    struct Bell(std::sync::Mutex<(u32, Option<std::task::Waker>)>);
    let bell = Bell(std::sync::Mutex::new((0, None)));
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                for _ in 0..500 {
                    let mut state = bell.0.lock().unwrap();
                    state.0 += 1;
                    let waker = state.1.clone();
                    drop(state);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            });
        }
        block_on(trine::nursery(async |n| {
            for _ in 0..2 {
                n.start_soon(std::future::poll_fn(|cx| {
                    let mut state = bell.0.lock().unwrap();
                    if state.0 == 1500 {
                        let other = state.1.take();
                        drop(state);
                        if let Some(other) = other {
                            other.wake();
                        }
                        return Poll::Ready(Ok(()));
                    }
                    let old = state.1.replace(cx.waker().clone());
                    drop(state);
                    if let Some(old) = old {
                        old.wake();
                    }
                    Poll::Pending
                }));
            }
            Ok(())
        }))
        .unwrap();
    });
}

#[test]
fn wakers_that_outlive_their_run_are_harmless() {
    for _ in 0..ROUNDS / 4 {
        let (tx, rx) = mpsc::channel::<std::task::Waker>();
        let thread = std::thread::spawn(move || {
            for waker in rx {
                for _ in 0..10 {
                    waker.wake_by_ref();
                    drop(waker.clone());
                }
            }
        });
        for _ in 0..3 {
            let tx = &tx;
            trine::run(trine::nursery(async |n| {
                for _ in 0..5 {
                    n.start_soon(std::future::poll_fn(move |cx| {
                        tx.send(cx.waker().clone()).unwrap();
                        Poll::Ready(Ok(()))
                    }));
                }
                std::future::poll_fn(|cx| {
                    tx.send(cx.waker().clone()).unwrap();
                    Poll::Ready(())
                })
                .await;
                Ok(())
            }))
            .unwrap();
        }
        drop(tx);
        thread.join().unwrap();
    }
}

#[test]
fn started_is_said_by_threads_while_the_caller_is_cancelled() {
    for _ in 0..ROUNDS {
        let live = Live::new();
        let scope = CancelScope::new();
        let canceller = scope.clone();
        let barrier = Arc::new(Barrier::new(2));
        let other = barrier.clone();
        let thread = std::thread::spawn(move || {
            other.wait();
            canceller.cancel();
        });
        let outcome = block_on(trine::nursery(async |n| {
            let outcome = scope
                .run(n.start(|status| {
                    let (guard, barrier) = (live.guard(), barrier.clone());
                    async move {
                        let _guard = guard;
                        let thread = std::thread::spawn(move || {
                            barrier.wait();
                            status.started(1);
                        });
                        let result = trine::sleep_forever().await;
                        thread.join().unwrap();
                        result?;
                        Ok(())
                    }
                }))
                .await?;
            // Moved: then it is the nursery's, and ends with it.
            n.cancel_children();
            Ok(outcome)
        }));
        let outcome = outcome.unwrap();
        assert!(outcome.is_none() || outcome == Some(1));
        thread.join().unwrap();
        assert_eq!(live.count(), 0);
    }
}
