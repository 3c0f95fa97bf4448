//! `start` across roots: the call is driven by one root, the nursery by another, and `started` may be said by a third.

use super::check;
use super::tree::{Driver, Flag, Until, assert_all_cells_are_free};
use crate::sched::context;
use crate::{Error, NurseryFuture, Result, Spawner, TaskStatus};
use loom::thread;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Slot<T> = Arc<Mutex<Option<T>>>;

/// A nursery that was polled once, whose body waits for the flag, and its spawner.
fn open(driver: &Driver, flag: &Arc<Flag>) -> (Pin<Box<NurseryFuture<'static, ()>>>, Spawner) {
    let made: Slot<Spawner> = Slot::default();
    let (body, give) = (Until(flag.clone()), made.clone());
    let mut nursery: Pin<Box<NurseryFuture<'static, ()>>> = Box::pin(crate::nursery(async move |n| {
        let spawner = n.spawner();
        *give.lock().unwrap() = Some(spawner);
        body.await
    }));
    assert!(driver.turn(|cx| nursery.as_mut().poll(cx)).is_pending());
    let spawner = made.lock().unwrap().take().unwrap();
    (nursery, spawner)
}

/// How often a child was polled under the root that it belongs to in the end, and dropped.
#[derive(Default)]
struct Seen {
    polls: AtomicUsize,
    drops: AtomicUsize,
}

struct OnDrop(Arc<Seen>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says that it has started in its first poll, and goes on in the next, which must be under `home`.
fn says_started(status: TaskStatus<u32>, home: usize, seen: Arc<Seen>) -> impl Future<Output = Result<()>> + Send {
    let guard = OnDrop(seen);
    let mut status = Some(status);
    poll_fn(move |cx| {
        if let Some(status) = status.take() {
            status.started(7);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        assert_eq!(context::root().addr(), home, "runs on under the nursery's root");
        guard.0.polls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    })
}

/// The child is handed over to a nursery that another thread runs, and ends there.
///
/// Fails with: a pending start that ends before the child has been sent.
#[test]
fn a_child_is_handed_to_a_nursery_of_another_root() {
    check("handed over", Some(2), || {
        let body = Flag::new();
        let seen = Arc::new(Seen::default());
        let home = Driver::new();
        let (mut nursery, spawner) = open(&home, &body);
        let root = std::ptr::from_ref(home.root).addr();
        let body_waker = body.waker();
        let caller = {
            let (body, seen) = (body.clone(), seen.clone());
            thread::spawn(move || {
                let driver = Driver::new();
                let mut start = Box::pin(spawner.start::<u32, _, _>(|status| says_started(status, root, seen)));
                let value = driver.drive(|cx| start.as_mut().poll(cx));
                assert_eq!(value.unwrap(), 7);
                drop((start, spawner));
                driver.end();
                body.set();
                body_waker.wake();
            })
        };
        home.drive(|cx| nursery.as_mut().poll(cx)).unwrap();
        drop(nursery);
        home.end();
        caller.join().unwrap();
        assert_eq!((seen.polls.load(Ordering::Relaxed), seen.drops.load(Ordering::Relaxed)), (1, 1));
        assert_all_cells_are_free();
    });
}

/// The nursery is dropped, and its root ends, while the child is on its way: it is dropped, once, or ends in the call.
///
/// Fails with: a `Handed` that does not end the slot when it is dropped.
#[test]
fn a_child_is_dropped_once_if_the_nursery_goes_while_it_is_handed_over() {
    check("handed to nobody", None, || {
        let body = Flag::new();
        let seen = Arc::new(Seen::default());
        let home = Driver::new();
        let (nursery, spawner) = open(&home, &body);
        drop(body.waker());
        let caller = {
            let seen = seen.clone();
            thread::spawn(move || {
                let driver = Driver::new();
                let here = std::ptr::from_ref(driver.root).addr();
                let mut start = Box::pin(spawner.start::<u32, _, _>(|status| says_started(status, here, seen)));
                let value = driver.drive(|cx| start.as_mut().poll(cx));
                assert!(value.is_ok() || matches!(value, Err(ref e) if !e.is_cancelled()));
                drop((start, spawner));
                driver.end();
            })
        };
        drop(nursery);
        home.end();
        caller.join().unwrap();
        assert_eq!(seen.drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}

/// What the models below share: a call that was polled once under a root of its own, by a child that waits for the flag and
/// has given its status away.
struct Call {
    driver: Driver,
    start: Pin<Box<crate::Start<'static, u32, Error>>>,
    status: TaskStatus<u32>,
    seen: Arc<Seen>,
}

fn call(spawner: &Spawner, flag: &Arc<Flag>) -> Call {
    let given: Slot<TaskStatus<u32>> = Slot::default();
    let seen = Arc::new(Seen::default());
    let driver = Driver::new();
    let (give, wait, guard) = (given.clone(), Until(flag.clone()), OnDrop(seen.clone()));
    let mut start = Box::pin(spawner.start(|status| async move {
        let _guard = guard;
        *give.lock().unwrap() = Some(status);
        wait.await
    }));
    assert!(driver.turn(|cx| start.as_mut().poll(cx)).is_pending());
    let status = given.lock().unwrap().take().unwrap();
    Call { driver, start, status, seen }
}

/// A third thread says that the child has started, while the call's root waits and the nursery's does. Then the call hands
/// it over, or finds it at its end.
///
/// Fails with: `started` that does not wake.
#[test]
fn a_third_thread_says_started() {
    check("started by a third", Some(2), || {
        let (body, child) = (Flag::new(), Flag::new());
        let home = Driver::new();
        let (mut nursery, spawner) = open(&home, &body);
        let Call { driver, mut start, status, seen } = call(&spawner, &child);
        drop(spawner);
        let body_waker = body.waker();
        drop(child.waker());
        let third = thread::spawn(move || {
            child.set();
            status.started(7);
        });
        let caller = {
            let body = body.clone();
            thread::spawn(move || {
                let value = driver.drive(|cx| start.as_mut().poll(cx));
                assert_eq!(value.unwrap(), 7);
                drop(start);
                driver.end();
                body.set();
                body_waker.wake();
            })
        };
        home.drive(|cx| nursery.as_mut().poll(cx)).unwrap();
        drop(nursery);
        home.end();
        third.join().unwrap();
        caller.join().unwrap();
        assert_eq!(seen.drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}

/// The call is dropped while a third thread says that the child has started: the child is dropped with it, once, and the
/// nursery does not wait for it.
///
/// Fails with: a call that does not give back its pending start.
#[test]
fn the_call_is_dropped_while_a_third_thread_says_started() {
    check("started too late", Some(2), || {
        let (body, child) = (Flag::new(), Flag::new());
        let home = Driver::new();
        let (mut nursery, spawner) = open(&home, &body);
        let Call { driver, start, status, seen } = call(&spawner, &child);
        drop(spawner);
        drop(child.waker());
        let third = thread::spawn(move || status.started(7));
        let caller = thread::spawn(move || {
            drop(start);
            driver.end();
        });
        body.set();
        body.waker().wake();
        home.drive(|cx| nursery.as_mut().poll(cx)).unwrap();
        drop(nursery);
        home.end();
        third.join().unwrap();
        caller.join().unwrap();
        assert_eq!(seen.drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}

/// A thread wakes the child while it is handed over, from a root that is not polled again after that.
///
/// Fails with: an arrival that does not hold limbo.
#[test]
fn a_child_is_woken_while_it_is_handed_over() {
    check("woken on the way", Some(3), || {
        let (body, child) = (Flag::new(), Flag::new());
        let home = Driver::new();
        let (mut nursery, spawner) = open(&home, &body);
        let Call { driver, mut start, status, seen } = call(&spawner, &child);
        drop(spawner);
        let waker = child.waker();
        let third = thread::spawn(move || {
            child.set();
            waker.wake();
        });
        status.started(7);
        assert_eq!(driver.drive(|cx| start.as_mut().poll(cx)).unwrap(), 7);
        drop(start);
        body.set();
        body.waker().wake();
        home.drive(|cx| nursery.as_mut().poll(cx)).unwrap();
        drop(nursery);
        home.end();
        third.join().unwrap();
        driver.end();
        assert_eq!(seen.drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}
