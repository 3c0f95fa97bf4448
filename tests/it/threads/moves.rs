//! Half-run trees that go on, or are dropped, on another thread than the one that began them.

use super::ROUNDS;
use crate::support::{CountWakes, Fire, Live, block_on, oneshot, poll_once};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use trine::sync::Event;
use trine::{CancelScope, Result};

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
