//! Code of users that is called in the middle of something, and there panics, or drops, polls or spawns what is around it.

use crate::support::{CountWakes, OnDrop, Oops, block_on, oopses, panic_text, poll_on, poll_once, yield_once};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use trine::testing::{MockClock, run};
use trine::{Builder, CancelScope, Error, Result, Spawner, StartError, TaskStatus};

const SECOND: Duration = Duration::from_secs(1);

trine::task_local! { static KEY: u32; }

type Tree = Pin<Box<trine::NurseryFuture<'static, ()>>>;

async fn forever() -> Result<()> {
    Ok(trine::sleep_forever().await.map(drop)?)
}

/// A nursery that was polled once, and its spawner.
async fn opened() -> (Tree, Spawner) {
    let (tx, rx) = trine::unbounded();
    let mut tree: Tree = Box::pin(trine::nursery(async move |n| {
        tx.try_send(n.spawner()).map_err(|e| e.kind)?;
        forever().await
    }));
    assert!(futures::poll!(tree.as_mut()).is_pending());
    (tree, rx.recv().await.unwrap())
}

/// Counts what happens to it while it is being polled: a poll as one, a drop as a thousand.
struct Watched<F> {
    polling: Arc<AtomicBool>,
    bad: Arc<AtomicUsize>,
    fut: Pin<Box<F>>,
}

impl<F: Future> Watched<F> {
    fn new(bad: &Arc<AtomicUsize>, fut: F) -> Self {
        Self { polling: Arc::default(), bad: bad.clone(), fut: Box::pin(fut) }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.polling.swap(true, Ordering::SeqCst) {
            this.bad.fetch_add(1, Ordering::SeqCst);
            return Poll::Pending;
        }
        let polling = this.polling.clone();
        let polled = this.fut.as_mut().poll(cx);
        polling.store(false, Ordering::SeqCst);
        polled
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        if self.polling.load(Ordering::SeqCst) {
            self.bad.fetch_add(1000, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_started_child_may_drop_its_nursery() {
    let bad = Arc::new(AtomicUsize::new(0));
    run(async {
        let (tree, spawner) = opened().await;
        let started = spawner.start(|status: TaskStatus<u32>| {
            Watched::new(&bad, async move {
                status.started(7);
                drop(tree);
                trine::shielded_checkpoint().await;
                Ok(())
            })
        });
        assert_eq!(started.await.unwrap(), 7);
        // One that takes it along.
        let (tree, spawner) = opened().await;
        let started = spawner.start(|status: TaskStatus<u32>| async move {
            let _tree = tree;
            status.started(8);
            Ok(())
        });
        assert_eq!(started.await.unwrap(), 8);
    });
    assert_eq!(bad.load(Ordering::SeqCst), 0);
}

#[test]
fn a_started_child_may_poll_its_nursery() {
    let bad = Arc::new(AtomicUsize::new(0));
    run(async {
        let (mut tree, spawner) = opened().await;
        let started = spawner.start(|status: TaskStatus<u32>| {
            Watched::new(&bad, async move {
                status.started(7);
                for _ in 0..3 {
                    assert!(futures::poll!(tree.as_mut()).is_pending());
                    trine::current_effective_deadline();
                    trine::shielded_checkpoint().await;
                }
                Ok(())
            })
        });
        // The nursery is within the child: so the child stays where it is.
        assert_eq!(started.await.unwrap(), 7);
        assert!(spawner.is_closed());
    });
    assert_eq!(bad.load(Ordering::SeqCst), 0);
}

#[test]
fn a_started_child_may_await_its_nursery() {
    let result = run(async {
        let (tx, rx) = trine::unbounded();
        let mut tree: Tree = Box::pin(trine::nursery(async move |n| {
            tx.try_send(n.spawner()).map_err(|e| e.kind)?;
            Ok(trine::sleep(SECOND).await?)
        }));
        assert!(futures::poll!(tree.as_mut()).is_pending());
        let spawner: Spawner = rx.recv().await.unwrap();
        let started = spawner.start(|status: TaskStatus<u32>| async move {
            assert!(futures::poll!(tree.as_mut()).is_pending());
            status.started(7);
            tree.await
        });
        trine::move_on_after(5 * SECOND, started).await
    });
    assert_eq!(result.unwrap(), Some(7));
}

#[test]
fn a_spawner_made_while_its_nursery_is_dropped_is_closed() {
    run(async {
        let slot = Arc::new(Mutex::new(None));
        let kept = slot.clone();
        let mut tree = Box::pin(trine::nursery(async move |n| {
            let _last = OnDrop(move || *kept.lock().unwrap() = Some(n.spawner()));
            forever().await
        }));
        assert!(futures::poll!(tree.as_mut()).is_pending());
        drop(tree);
        let spawner: Spawner = slot.lock().unwrap().take().unwrap();
        assert!(spawner.is_closed());
        assert!(spawner.start_soon(async { Ok(()) }).is_err());
        // A nursery that has its place by now.
        let other = trine::nursery(async |_| {
            let start = spawner.start(|status: TaskStatus<u32>| async move {
                status.started(7);
                Err(Oops(1).into())
            });
            let refused = start.await.unwrap_err();
            assert!(matches!(refused.find(), Some(StartError::Closed)), "{refused}");
            Ok(())
        });
        other.await.unwrap();
    });
}

#[test]
fn the_nursery_of_a_started_child_may_be_dropped_by_another_thread() {
    for _ in 0..if cfg!(trine_tsan) { 20 } else { 100 } {
        let bad = Arc::new(AtomicUsize::new(0));
        run(async {
            let (tree, spawner) = opened().await;
            let (said, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let dropper = std::thread::spawn({
                let (said, heard) = (said.clone(), heard.clone());
                move || {
                    while !said.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    heard.store(true, Ordering::SeqCst);
                    drop(tree);
                }
            });
            let started = spawner.start(|status: TaskStatus<u32>| {
                Watched::new(&bad, async move {
                    status.started(7);
                    said.store(true, Ordering::SeqCst);
                    while !heard.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    trine::shielded_checkpoint().await;
                    Ok(())
                })
            });
            assert_eq!(started.await.unwrap(), 7);
            dropper.join().unwrap();
        });
        assert_eq!(bad.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_start_that_panicked_is_over() {
    let tree = trine::nursery(async |n| {
        let mut start = Box::pin(n.start(|_: TaskStatus<u32>| async {
            if true {
                panic!("child");
            }
            Ok(())
        }));
        poll_fn(|cx| {
            let mut poll = || panic_text(|| drop(start.as_mut().poll(cx)));
            assert_eq!(poll(), "child");
            assert!(poll().contains("polled after it had finished"));
            Poll::Ready(())
        })
        .await;
        Ok(())
    });
    run(tree).unwrap();
}

#[test]
fn a_child_that_says_started_before_it_exists_is_moved() {
    let result = run(trine::nursery(async |n| {
        let started = n.start(|status: TaskStatus<u32>| {
            status.started(1);
            async { Err(Oops(3).into()) }
        });
        assert_eq!(started.await?, 1);
        Ok(())
    }));
    assert_eq!(oopses(&result.unwrap_err()), [3]);
}

#[test]
fn a_start_is_counted_off_though_its_value_panics_when_dropped() {
    let scope = &CancelScope::new();
    let result = run(trine::move_on_after(
        5 * SECOND,
        trine::nursery(async |n| {
            let mut call = Box::pin(scope.run(n.start(async |status| {
                scope.cancel();
                status.started(OnDrop(|| panic!("value")));
                trine::shielded(forever()).await
            })));
            assert!(futures::poll!(call.as_mut()).is_pending());
            assert_eq!(panic_text(|| drop(call)), "value");
            Ok(())
        }),
    ));
    assert!(matches!(result, Ok(Some(()))));
}

#[test]
fn a_shield_ends_though_its_body_panics_when_dropped() {
    let outcome = run(trine::move_on_after(SECOND, async {
        let mut shield = Box::pin(trine::shielded(async {
            let _bomb = OnDrop(|| panic!("drop"));
            pending::<Result<()>>().await
        }));
        assert!(futures::poll!(shield.as_mut()).is_pending());
        assert_eq!(panic_text(|| drop(shield)), "drop");
        pending::<Result<()>>().await
    }));
    assert_eq!(outcome.unwrap(), None);
}

#[test]
fn a_scope_that_was_refused_stays_refused() {
    let scope = CancelScope::new();
    let ran = &AtomicBool::new(false);
    run(async {
        scope.run(async { Ok(()) }).await.unwrap();
        let mut second = pin!(scope.nursery(async move |_| {
            ran.store(true, Ordering::SeqCst);
            Ok(())
        }));
        poll_fn(|cx| Poll::Ready(assert!(poll_on(second.as_mut(), cx).is_none()))).await;
    });
    assert!(!ran.load(Ordering::SeqCst));
}

#[test]
fn a_scope_goes_by_its_own_clock_whoever_asks() {
    let scope = CancelScope::after(3600 * SECOND);
    let body = async {
        let asked = scope.clone();
        let ask = move || trine::run(async move { asked.cancel_called() });
        assert!(!std::thread::spawn(ask).join().unwrap(), "cancelled an hour early");
        let moved = scope.clone();
        let deadline = trine::now() + SECOND;
        let set = move || trine::run(async move { moved.set_deadline(Some(deadline)) });
        std::thread::spawn(set).join().unwrap();
        assert!(!scope.cancel_called(), "cancelled a second early");
        Ok(())
    };
    assert_eq!(Builder::new().clock(MockClock::new()).run(scope.run(body)).unwrap(), Some(()));
}

#[test]
fn task_locals_are_in_force_in_a_hosted_tree_and_after_it() {
    let is_set = || KEY.try_with(|value| *value) == Ok(7);
    block_on(KEY.scope(7, async {
        trine::nursery(async |n| {
            assert!(is_set());
            n.start_soon(async {
                trine::checkpoint().await?;
                assert!(is_set());
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
        assert!(is_set());
        trine::shielded(async { Ok(yield_once().await) }).await.unwrap();
        assert!(is_set());
    }));
    assert!(!is_set());
}

#[test]
fn a_child_of_a_spawner_has_the_locals_of_who_spawned_it() {
    let locals = run(trine::nursery(async |n| {
        let (tx, rx) = trine::unbounded();
        n.start_soon(KEY.scope(
            7,
            trine::nursery(async move |inner| {
                tx.send(inner.spawner()).await?;
                Ok(trine::sleep(SECOND).await?)
            }),
        ));
        let spawner = rx.recv().await?;
        let ask = || spawner.spawn(async { Ok(KEY.try_with(|value| *value).ok()) });
        let (plain, bound) = (ask()?, KEY.scope(8, async { ask() }).await?);
        Ok((plain.await?, bound.await?))
    }));
    assert_eq!(locals.unwrap(), (None, Some(8)));
}

/// Binds the local once more in each generation.
fn generation(spawner: Spawner, left: u32) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    Box::pin(KEY.scope(left, async move {
        if left > 0 {
            spawner.clone().start_soon(generation(spawner, left - 1))?;
        }
        Ok(())
    }))
}

#[test]
fn task_locals_of_many_generations_are_dropped_one_by_one() {
    let tree = trine::nursery(async |n| Ok(n.spawner().start_soon(generation(n.spawner(), 100_000))?));
    run(tree).unwrap();
}

#[test]
fn what_is_done_in_isolation_counts_against_the_budget() {
    let (event, ran) = (trine::sync::Event::new(), std::cell::Cell::new(false));
    event.set();
    let tree = trine::local_nursery(async |n| {
        n.start_soon(async {
            for _ in 0..10_000 {
                if ran.get() {
                    return Ok(());
                }
                trine::isolated(event.wait()).await?;
            }
            panic!("the sibling starved");
        });
        n.start_soon(async { Ok(ran.set(true)) });
        Ok(())
    });
    run(tree).unwrap();
}

#[test]
fn an_error_that_panics_when_it_is_merged_is_a_panic() {
    #[derive(Debug)]
    struct Touchy;
    impl From<trine::Cancelled> for Touchy {
        fn from(_: trine::Cancelled) -> Self {
            Self
        }
    }
    impl trine::TaskError for Touchy {
        fn is_cancelled(&self) -> bool {
            false
        }
        fn merge(_: Self, _: Vec<Self>) -> Self {
            panic!("merge")
        }
    }
    let tree = trine::typed::nursery::<Touchy, _>(async |n| {
        n.start_soon(async { Err(Touchy) });
        Ok(())
    });
    assert_eq!(panic_text(|| drop(run(tree))), "merge");
}

type Bag = Arc<Mutex<Option<Tree>>>;

/// Polls what is in the bag, once or to its end.
async fn poll_bag(bag: &Bag, once: bool) -> Result<()> {
    let mut tree = bag.lock().unwrap().take().unwrap();
    if !once {
        return tree.await;
    }
    assert!(futures::poll!(tree.as_mut()).is_pending());
    *bag.lock().unwrap() = Some(tree);
    Ok(())
}

/// The second task lives where the first one did.
async fn polled_by_two_tasks(tree: Tree, then: impl AsyncFnOnce() -> Result<()>) {
    let bag = &Arc::new(Mutex::new(Some(tree)));
    let ended = trine::local_nursery(async move |n| {
        n.spawn(poll_bag(bag, true)).await?;
        n.start_soon(poll_bag(bag, false));
        trine::sleep(SECOND).await?;
        then().await
    });
    assert_eq!(trine::move_on_after(5 * SECOND, ended).await.unwrap(), Some(()), "not woken");
}

#[test]
fn a_nursery_that_changes_tasks_hears_of_its_spawner() {
    run(async {
        let (tx, rx) = trine::unbounded();
        let done = Arc::new(trine::sync::Event::new());
        let waits = done.clone();
        let tree = Box::pin(trine::nursery(async move |n| {
            tx.try_send(n.spawner()).map_err(|e| e.kind)?;
            Ok(waits.wait().await?)
        }));
        let then = async || Ok(rx.recv().await?.start_soon(async move { Ok(done.set()) })?);
        polled_by_two_tasks(tree, then).await;
    });
}

#[test]
fn a_nursery_that_changes_tasks_hears_of_a_cancel_inside() {
    run(async {
        let scope = CancelScope::new();
        let inner = scope.clone();
        let tree = Box::pin(trine::nursery(async move |n| {
            n.start_soon(async move {
                let outcome = inner.nursery(async |m| {
                    m.start_soon(forever());
                    Ok(())
                });
                outcome.await.map(drop)
            });
            Ok(())
        }));
        polled_by_two_tasks(tree, async || Ok(scope.cancel())).await;
    });
}

/// A waker that polls on the spot.
struct Inline(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let Some(mut fut) = self.0.try_lock().ok().and_then(|mut fut| fut.take()) else { return };
        let waker = Waker::from(self.clone());
        if fut.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.0.lock().unwrap() = Some(fut);
        }
    }
}

#[test]
fn what_a_waker_polls_is_not_inside_of_the_scope_that_woke_it() {
    let event = Arc::new(trine::sync::Event::new());
    let seen = Arc::new(Mutex::new(None));
    let tree = Box::pin({
        let (event, seen) = (event.clone(), seen.clone());
        async move {
            let result = trine::nursery(async |_| {
                event.wait().await?;
                Ok(trine::checkpoint().await?)
            });
            *seen.lock().unwrap() = Some(result.await.map_err(|e: Error| e.to_string()));
        }
    });
    let other = Arc::new(Inline(Mutex::new(Some(tree))));
    other.clone().wake();
    let scope = CancelScope::new();
    let woken = scope.run(async {
        scope.cancel();
        event.set();
        Ok(())
    });
    trine::run(woken).unwrap();
    for _ in 0..5 {
        other.clone().wake();
    }
    assert_eq!(*seen.lock().unwrap(), Some(Ok(())));
}

#[test]
fn what_a_waker_polls_at_a_yield_is_not_inside_of_the_scope_either() {
    let seen = Arc::new(Mutex::new(None));
    let tree = Box::pin({
        let seen = seen.clone();
        async move {
            let result = trine::nursery(async |_| Ok(trine::checkpoint().await?));
            *seen.lock().unwrap() = Some(result.await.map_err(|e: Error| e.to_string()));
        }
    });
    let other = Arc::new(Inline(Mutex::new(Some(tree))));
    let scope = CancelScope::new();
    let yields = scope.run(async {
        scope.cancel();
        let waker = Waker::from(other.clone());
        let mut yields = Box::pin(trine::shielded_checkpoint());
        assert!(yields.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        Ok(())
    });
    trine::run(yields).unwrap();
    for _ in 0..5 {
        other.clone().wake();
    }
    assert_eq!(*seen.lock().unwrap(), Some(Ok(())));
}

#[test]
fn destructors_do_anything() {
    let log = Arc::new(AtomicUsize::new(0));
    for drop_after in 0..3 {
        let mut tree = Box::pin(trine::nursery(async |n| {
            for _ in 0..3 {
                let log = log.clone();
                n.start_soon(async move {
                    let _last = OnDrop(|| {
                        log.fetch_add(1, Ordering::Relaxed);
                        n.start_soon(async { Ok(()) });
                        drop(n.spawn(async { Ok(1) }));
                        drop(n.start(|status: TaskStatus<()>| async move {
                            status.started(());
                            Ok(())
                        }));
                        n.cancel_children();
                    });
                    forever().await
                });
            }
            forever().await
        }));
        let wakes = CountWakes::new();
        for _ in 0..drop_after {
            assert!(poll_once(tree.as_mut(), &wakes).is_pending());
        }
        drop(tree);
    }
    assert_eq!(log.load(Ordering::Relaxed), 6);
}
