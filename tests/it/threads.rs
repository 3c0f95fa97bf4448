//! Several threads: spawning, cancelling and waking from outside, and trees that move between roots.

use crate::support::{CountWakes, Fire, Live, block_on, oneshot, poll_once};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::time::Duration;
use trine::sync::{Event, Mutex, Semaphore};
use trine::{CancelScope, Error, Result};

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

/// A nursery whose children wait in every way there is, and the means to let them end.
struct Half {
    tree: std::pin::Pin<Box<dyn Future<Output = Result<u32>> + Send>>,
    fires: Vec<Fire<u32>>,
    scope: CancelScope,
    event: Arc<Event>,
    items: trine::channel::Sender<u32>,
}

/// `timed`: with a deadline, which needs a run.
fn half_run(live: &Live, timed: bool) -> Half {
    let (event, scope) = (Arc::new(Event::new()), CancelScope::new());
    let (items, rx) = trine::channel::<u32>(0);
    let (fires, waits): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::<u32>()).unzip();
    let (live, inner_scope, inner_event) = (live.clone(), scope.clone(), event.clone());
    let tree = Box::pin(trine::nursery(async move |n| {
        let _guard = live.guard();
        let handles: Vec<_> = waits
            .into_iter()
            .map(|wait| {
                let guard = live.guard();
                n.spawn(async move {
                    let _guard = guard;
                    let value = wait.await;
                    trine::checkpoint().await?;
                    Ok(value)
                })
            })
            .collect();
        let (guard, event) = (live.guard(), inner_event.clone());
        n.start_soon(async move {
            let _guard = guard;
            let scope = if timed { CancelScope::after(Duration::from_secs(60)) } else { CancelScope::new() };
            scope.run(async { Ok(event.wait().await?) }).await?;
            Ok(())
        });
        let (guard, scope) = (live.guard(), inner_scope);
        n.start_soon(async move {
            let _guard = guard;
            scope.run(async { Ok(trine::sleep_forever().await.map(|_| ())?) }).await?;
            Ok(())
        });
        let guard = live.guard();
        n.start_soon(trine::nursery(async move |m| {
            let _guard = guard;
            let event = inner_event;
            m.start_soon(async move { Ok(event.wait().await?) });
            Ok(())
        }));
        let mut sum = rx.recv().await?;
        for handle in handles {
            sum += handle.await?;
        }
        Ok(sum)
    }));
    Half { tree, fires, scope, event, items }
}

/// Lets all the waits end, on a thread of its own.
fn let_go(fires: Vec<Fire<u32>>, scope: CancelScope, event: Arc<Event>, items: trine::channel::Sender<u32>) {
    for fire in fires {
        fire.fire(1);
    }
    scope.cancel();
    event.set();
    block_on(items.send(10)).ok();
}

#[test]
fn a_half_run_nursery_finishes_on_another_thread_after_its_root_is_gone() {
    for _ in 0..ROUNDS {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, true);
        trine::run(async {
            std::future::poll_fn(|cx| {
                assert!(tree.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        let waker = std::thread::spawn(move || let_go(fires, scope, event, items));
        let runner = std::thread::spawn(move || trine::run(tree));
        assert_eq!(runner.join().unwrap().unwrap(), 14);
        waker.join().unwrap();
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_half_run_nursery_finishes_on_another_thread_while_its_old_root_runs() {
    for _ in 0..ROUNDS {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, true);
        let (moved, done) = oneshot::<()>();
        let runner = trine::run(async {
            // A sibling that keeps the old root busy while the tree moves.
            trine::nursery(async |n| {
                std::future::poll_fn(|cx| {
                    assert!(tree.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                let runner = std::thread::spawn(move || {
                    let result = trine::run(tree);
                    moved.fire(());
                    result
                });
                n.start_soon(async move {
                    let_go(fires, scope, event, items);
                    for _ in 0..50 {
                        trine::checkpoint().await?;
                    }
                    done.await;
                    Ok(())
                });
                Ok(runner)
            })
            .await
        })
        .unwrap();
        assert_eq!(runner.join().unwrap().unwrap(), 14);
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_half_run_nursery_is_polled_on_two_threads_in_turn() {
    for _ in 0..ROUNDS / 4 {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, false);
        let waker = std::thread::spawn(move || let_go(fires, scope, event, items));
        // Each thread has a root of its own for every poll.
        for i in 0.. {
            let polled = if i % 2 == 0 {
                let once =
                    || trine::run(async { std::future::poll_fn(|cx| Poll::Ready(tree.as_mut().poll(cx))).await });
                std::thread::scope(|threads| threads.spawn(once).join().unwrap())
            } else {
                poll_once(tree.as_mut(), &CountWakes::new())
            };
            if let Poll::Ready(sum) = polled {
                assert_eq!(sum.unwrap(), 14);
                break;
            }
            std::thread::yield_now();
        }
        waker.join().unwrap();
        drop(tree);
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_half_run_hosted_nursery_finishes_under_a_run_elsewhere() {
    for _ in 0..ROUNDS {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, false);
        assert!(poll_once(tree.as_mut(), &CountWakes::new()).is_pending());
        let waker = std::thread::spawn(move || let_go(fires, scope, event, items));
        let runner = std::thread::spawn(move || trine::run(async { tree.await }));
        assert_eq!(runner.join().unwrap().unwrap(), 14);
        waker.join().unwrap();
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_subtree_is_dropped_on_another_thread_while_its_root_runs() {
    for _ in 0..ROUNDS {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, true);
        let (dropped, done) = oneshot::<()>();
        let dropper = trine::run(trine::nursery(async |n| {
            std::future::poll_fn(|cx| {
                assert!(tree.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let dropper = std::thread::spawn(move || {
                drop(tree);
                dropped.fire(());
            });
            n.start_soon(async move {
                let_go(fires, scope, event, items);
                for _ in 0..50 {
                    trine::checkpoint().await?;
                }
                Ok(())
            });
            n.start_soon(async {
                for _ in 0..20 {
                    n.start_soon(async { Ok(trine::checkpoint().await?) });
                    trine::checkpoint().await?;
                }
                Ok(())
            });
            done.await;
            Ok(dropper)
        }))
        .unwrap();
        dropper.join().unwrap();
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_subtree_is_dropped_elsewhere_right_after_a_poll_there() {
    // The poll asks the old root to let go; the drop comes before or after it has.
    for _ in 0..ROUNDS {
        let live = Live::new();
        let Half { mut tree, fires, scope, event, items } = half_run(&live, false);
        let (dropped, done) = oneshot::<()>();
        let dropper = trine::run(trine::nursery(async |n| {
            std::future::poll_fn(|cx| {
                assert!(tree.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let dropper = std::thread::spawn(move || {
                let _ = poll_once(tree.as_mut(), &CountWakes::new());
                drop(tree);
                dropped.fire(());
            });
            n.start_soon(async move {
                for _ in 0..50 {
                    trine::checkpoint().await?;
                }
                let_go(fires, scope, event, items);
                Ok(())
            });
            done.await;
            Ok(dropper)
        }))
        .unwrap();
        dropper.join().unwrap();
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn a_channel_between_roots_loses_and_doubles_nothing() {
    for capacity in [0, 1, 7] {
        let (tx, rx) = trine::channel::<u32>(capacity);
        let senders: Vec<_> = (0..2)
            .map(|t| {
                let tx = tx.clone();
                std::thread::spawn(move || {
                    trine::run(trine::nursery(async move |n| {
                        for part in 0..4 {
                            let tx = tx.clone();
                            n.start_soon(async move {
                                for i in 0..50 {
                                    tx.send(t * 1000 + part * 50 + i).await?;
                                }
                                Ok(())
                            });
                        }
                        Ok(())
                    }))
                })
            })
            .collect();
        drop(tx);
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let rx = rx.clone();
                std::thread::spawn(move || {
                    block_on(trine::nursery(async |n| {
                        let collect = || async {
                            let mut got = Vec::new();
                            while let Some(i) = rx.try_next().await? {
                                got.push(i);
                            }
                            Ok(got)
                        };
                        let (a, b) = (n.spawn(collect()), n.spawn(collect()));
                        let mut all = a.await?;
                        all.extend(b.await?);
                        Ok(all)
                    }))
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap().unwrap();
        }
        let mut all: Vec<u32> = receivers.into_iter().flat_map(|r| r.join().unwrap().unwrap()).collect();
        all.sort_unstable();
        let expected: Vec<u32> = (0..200).chain(1000..1200).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn items_for_receivers_that_are_cancelled_are_not_lost() {
    let (tx, rx) = trine::channel::<u32>(0);
    let sender = std::thread::spawn(move || {
        trine::run(async move {
            for i in 0..200 {
                tx.send(i).await?;
            }
            Ok::<_, Error>(())
        })
    });
    let got = trine::run(async {
        let mut got = Vec::new();
        loop {
            let scope = CancelScope::new();
            let other = scope.clone();
            let item = scope
                .run(async {
                    let (item, ()) = futures_util::join!(rx.try_next(), async {
                        trine::shielded_checkpoint().await;
                        other.cancel();
                    });
                    Ok(item?)
                })
                .await?;
            match item {
                None => {}
                Some(None) => return Ok::<_, Error>(got),
                Some(Some(item)) => got.push(item),
            }
        }
    })
    .unwrap();
    sender.join().unwrap().unwrap();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_mutex_and_a_semaphore_between_roots_exclude() {
    let mutex = Mutex::new(0u32);
    let semaphore = Semaphore::new(2);
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|threads| {
        for t in 0..3 {
            let work = trine::nursery(async |n| {
                for _ in 0..5 {
                    n.start_soon(async {
                        for _ in 0..40 {
                            let _permit = semaphore.acquire().await?;
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            let mut guard = mutex.lock().await?;
                            let value = *guard;
                            trine::checkpoint().await?;
                            *guard = value + 1;
                            drop(guard);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            threads.spawn(move || if t == 0 { trine::run(work) } else { block_on(work) }.unwrap());
        }
    });
    assert_eq!(mutex.into_inner(), 600);
    assert!(most.into_inner() <= 2);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn an_event_wakes_waiters_of_all_roots() {
    for _ in 0..ROUNDS / 10 {
        let event = Event::new();
        let ready = Barrier::new(4);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    block_on(trine::nursery(async |n| {
                        for _ in 0..10 {
                            n.start_soon(async { Ok(event.wait().await?) });
                        }
                        trine::checkpoint().await?;
                        ready.wait();
                        Ok(())
                    }))
                    .unwrap();
                });
            }
            ready.wait();
            event.set();
        });
    }
}

#[test]
fn handles_are_awaited_on_other_roots() {
    for _ in 0..ROUNDS / 4 {
        let (tx, rx) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let handle: trine::Handle<'static, u32> = rx.recv().unwrap();
            trine::run(async { handle.await.unwrap() })
        });
        block_on(trine::nursery(async |n| {
            let handle = n.spawner().spawn(async {
                for _ in 0..20 {
                    trine::checkpoint().await?;
                }
                Ok(6)
            })?;
            tx.send(handle).unwrap();
            Ok(())
        }))
        .unwrap();
        assert_eq!(waiter.join().unwrap(), 6);
    }
}

#[test]
fn handles_cancel_from_other_threads() {
    for _ in 0..ROUNDS / 4 {
        let (tx, rx) = mpsc::channel::<trine::Handle<'static, ()>>();
        let thread = std::thread::spawn(move || rx.recv().unwrap().cancel());
        block_on(trine::nursery(async |n| {
            tx.send(n.spawner().spawn(async { Ok(trine::sleep_forever().await.map(|_| ())?) })?).unwrap();
            Ok(())
        }))
        .unwrap();
        thread.join().unwrap();
    }
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
