//! Safe programs that once broke an invariant of the unsafe core. Run them under the address sanitizer, too.
#![allow(clippy::async_yields_async, reason = "half-run futures are what is moved between runs here")]

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use trine::CancelScope;
use trine::inspect::{Instrument, TaskInfo};
use trine::sync::Event;

/// Panics in its first drop, counts all.
struct Bomb<'a>(&'a Cell<u32>);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[test]
fn a_body_that_panics_when_dropped_is_dropped_once() {
    let drops = Cell::new(0);
    let mut nursery = trine::local_nursery(async |_n| {
        let _bomb = Bomb(&drops);
        std::future::pending::<()>().await;
        Ok(())
    });
    trine::run(async {
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut nursery).poll(cx))).await.is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(nursery))).is_err());
    });
    assert_eq!(drops.get(), 1);
}

struct PanicsAtExit(AtomicUsize);

impl Instrument for PanicsAtExit {
    fn task_exited(&self, _: &TaskInfo) {
        // The second to end is the child, after the body.
        if self.0.fetch_add(1, Ordering::Relaxed) == 1 {
            panic!("instrument");
        }
    }
}

struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Unlike an async block, it owns something after it has returned.
struct Holds(#[expect(dead_code, reason = "only dropped")] Counts);

impl Future for Holds {
    type Output = trine::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_child_is_dropped_once_although_an_instrument_panics() {
    let drops = Arc::new(AtomicUsize::new(0));
    let result = catch_unwind(AssertUnwindSafe(|| {
        trine::Builder::new().instrument(PanicsAtExit(AtomicUsize::new(0))).run(trine::nursery(async |n| {
            let counts = Counts(drops.clone());
            n.start_soon(Holds(counts));
            Ok(())
        }))
    }));
    drop(result);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

struct SpawnsWhenDropped<'scope, 'env> {
    nursery: &'scope trine::Nursery<'scope, 'env>,
    again: u32,
    drops: &'env AtomicUsize,
}

impl Drop for SpawnsWhenDropped<'_, '_> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
        if self.again > 0 {
            let next = SpawnsWhenDropped { nursery: self.nursery, again: self.again - 1, drops: self.drops };
            self.nursery.start_soon(async move {
                let _next = next;
                Ok(())
            });
        }
    }
}

#[test]
fn destructors_may_spawn_into_the_nursery_that_is_dropped() {
    let drops = AtomicUsize::new(0);
    let mut nursery = trine::nursery(async |n| {
        let first = SpawnsWhenDropped { nursery: n, again: 5, drops: &drops };
        n.start_soon(async move {
            let _first = first;
            trine::sleep_forever().await?;
            Ok(())
        });
        trine::sleep_forever().await?;
        Ok(())
    });
    trine::run(async {
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut nursery).poll(cx))).await.is_pending());
        drop(nursery);
    });
    assert_eq!(drops.load(Ordering::Relaxed), 6);
}

trine::task_local! {
    static LOCAL: LooksAtItself;
}

struct LooksAtItself;

impl Drop for LooksAtItself {
    fn drop(&mut self) {
        // The value is going: it must not be found any more.
        assert!(LOCAL.try_with(|_| ()).is_err());
    }
}

#[test]
fn a_task_local_that_is_being_dropped_is_not_found() {
    let seen = Rc::new(Cell::new(false));
    let flag = seen.clone();
    let mut nursery = trine::local_nursery(async move |n| {
        let child = LOCAL.scope(LooksAtItself, async {
            n.start_soon(async {
                trine::sleep_forever().await?;
                Ok(())
            });
        });
        child.await;
        flag.set(true);
        trine::sleep_forever().await?;
        Ok(())
    });
    trine::run(async {
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut nursery).poll(cx))).await.is_pending());
        drop(nursery);
    });
    assert!(seen.get());
}

#[test]
fn a_deadline_that_no_clock_was_read_for_moves_to_another_run() {
    let mut scope = trine::run(async {
        let mut scope = Box::pin(trine::move_on_after(Duration::from_millis(5), async {
            trine::sleep_forever().await?;
            Ok(())
        }));
        assert!(std::future::poll_fn(|cx| Poll::Ready(scope.as_mut().poll(cx))).await.is_pending());
        scope
    });
    assert_eq!(trine::run(async { scope.as_mut().await }).unwrap(), None);
}

/// A sub-executor that polls its future only if that future's own waker was woken.
struct OnlyIfWoken<F> {
    fut: F,
    flag: Arc<Flag>,
}

struct Flag {
    woken: std::sync::atomic::AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let parent = self.parent.lock().unwrap().clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

impl<F> OnlyIfWoken<F> {
    fn new(fut: F) -> Self {
        let woken = std::sync::atomic::AtomicBool::new(true);
        Self { fut, flag: Arc::new(Flag { woken, parent: Mutex::new(None) }) }
    }
}

impl<F: Future + Unpin> Future for OnlyIfWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        *self.flag.parent.lock().unwrap() = Some(cx.waker().clone());
        if !self.flag.woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.flag.clone());
        Pin::new(&mut self.fut).poll(&mut Context::from_waker(&waker))
    }
}

#[test]
fn a_wake_reaches_a_nursery_whose_run_has_ended() {
    let (tx, rx) = trine::channel::<u32>(1);
    let mut moved = trine::run(async {
        let nursery = trine::nursery(async move |n| {
            let child = n.spawn(async move { Ok(rx.recv().await?) });
            Ok(child.await?)
        });
        let mut wrapped = OnlyIfWoken::new(nursery);
        for _ in 0..3 {
            assert!(std::future::poll_fn(|cx| Poll::Ready(poll_with(&mut wrapped, cx))).await.is_pending());
            trine::checkpoint().await.unwrap();
        }
        wrapped
    });
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        tx.try_send(7).unwrap();
        tx
    });
    let got = trine::run(trine::fail_after(Duration::from_secs(5), async { (&mut moved).await }));
    assert_eq!(got.unwrap(), 7);
    drop(sender.join());
}

fn poll_with<F: Future + Unpin>(fut: &mut F, cx: &mut Context<'_>) -> Poll<F::Output> {
    Pin::new(fut).poll(cx)
}

#[test]
fn a_watcher_of_idleness_moves_to_another_run() {
    let mut waits = trine::run(async {
        let mut waits = Box::pin(trine::testing::wait_all_tasks_blocked());
        assert!(std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await.is_pending());
        waits
    });
    let done = trine::run(trine::move_on_after(Duration::from_secs(5), async { Ok(waits.as_mut().await?) }));
    assert_eq!(done.unwrap(), Some(()));
}

#[test]
fn a_child_is_handed_over_to_a_nursery_on_another_thread() {
    let got = trine::run(trine::fail_after(
        Duration::from_secs(5),
        trine::nursery(async |n| {
            let spawner = n.spawner();
            let (tx, rx) = trine::channel::<u32>(1);
            let thread = std::thread::spawn(move || {
                trine::run(spawner.start(|status| async move {
                    status.started(1);
                    trine::sleep(Duration::from_millis(1)).await?;
                    tx.send(2).await?;
                    Ok(())
                }))
            });
            let sent = rx.recv().await?;
            assert_eq!(thread.join().unwrap().unwrap(), 1);
            Ok(sent)
        }),
    ));
    assert_eq!(got.unwrap(), 2);
}

/// A nursery hops from thread to thread while siblings that stay behind wake and cancel its children.
#[test]
fn a_nursery_moves_while_others_wake_and_cancel_its_children() {
    for round in 0..200 {
        let (tx, rx) = trine::channel::<u32>(4);
        let scope = trine::CancelScope::new();
        let inner = scope.clone();
        let mut nursery = Box::pin(trine::nursery(async move |n| {
            for _ in 0..3 {
                let rx = rx.clone();
                n.start_soon(async move {
                    while rx.recv().await.is_ok() {}
                    Ok(())
                });
            }
            inner
                .run(async {
                    trine::sleep_forever().await?;
                    Ok(())
                })
                .await?;
            n.cancel_children();
            Ok(())
        }));
        let (nurseries, hop) = std::sync::mpsc::channel();
        let (done, finished) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let mut fut: Pin<Box<dyn Future<Output = trine::Result<()>> + Send>> = hop.recv().unwrap();
            if round % 3 == 0 {
                drop(fut);
            } else {
                trine::run(trine::fail_after(Duration::from_secs(20), async { fut.as_mut().await })).unwrap();
            }
            done.send(()).unwrap();
        });
        trine::run(trine::fail_after(Duration::from_secs(30), async {
            assert!(std::future::poll_fn(|cx| Poll::Ready(nursery.as_mut().poll(cx))).await.is_pending());
            nurseries.send(nursery as _).unwrap();
            for i in 0..50 {
                let _ = tx.try_send(i);
                if i == 20 {
                    scope.cancel();
                }
                let _ = trine::inspect::tree().to_string();
                trine::checkpoint().await?;
            }
            while finished.try_recv().is_err() {
                trine::sleep(Duration::from_micros(200)).await?;
            }
            Ok(())
        }))
        .unwrap();
        other.join().unwrap();
    }
}

/// Panics when it is told to.
#[derive(Default)]
struct LoudWaker(AtomicBool);

impl Wake for LoudWaker {
    fn wake(self: Arc<Self>) {
        if self.0.load(Ordering::SeqCst) {
            panic!("in a waker");
        }
    }
}

#[test]
fn a_nursery_ends_once_also_if_a_waker_panics_then() {
    let (loud, event, scope) = (Arc::new(LoudWaker::default()), Event::new(), CancelScope::new());
    let shield = CancelScope::new().shielded();
    trine::run(async {
        let waker = Waker::from(loud.clone());
        let mut scoped = Box::pin(scope.run(async {
            shield.nursery(async |_| Ok(event.wait().await?)).await?;
            Ok(())
        }));
        let mut poll = || scoped.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!poll());
        scope.cancel();
        event.set();
        // The end of the shield is told to the scope around, whose waker this is.
        loud.0.store(true, Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
        loud.0.store(false, Ordering::SeqCst);
        // Another one may have the memory of the first.
        trine::nursery(async |n| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            drop(scoped);
            Ok(())
        })
        .await
    })
    .unwrap();
}
