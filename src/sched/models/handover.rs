//! What one root's task hands over to another root's: items, permits, a lock, an event, a sleep.

use super::check;
use super::tree::{Driver, assert_all_cells_are_free};
use crate::CancelScope;
use crate::sync::{Event, Mutex, Semaphore};
use loom::thread;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Drives a future in a root of its own.
fn drive<T>(future: impl Future<Output = T>) -> T {
    let driver = Driver::new();
    let output = {
        let mut future = pin!(future);
        driver.drive(|cx| future.as_mut().poll(cx))
    };
    driver.end();
    output
}

/// Two items go from one root to another, by hand or by way of the buffer; then the channel is closed.
///
/// Fails with: a receiver, or a sender, that is not woken.
#[test]
fn items_go_from_one_root_to_another_in_order() {
    for capacity in [0, 1] {
        check("items", Some(2), move || {
            let (sender, receiver) = crate::channel(capacity);
            let other = thread::spawn(move || {
                drive(async move {
                    sender.send(1).await.unwrap();
                    sender.send(2).await.unwrap();
                });
            });
            let got = drive(async move {
                let got = [receiver.recv().await, receiver.recv().await].map(Result::unwrap);
                assert!(receiver.recv().await.is_err(), "the sender is gone");
                got
            });
            assert_eq!(got, [1, 2]);
            other.join().unwrap();
            assert_all_cells_are_free();
        });
    }
}

/// An item comes while the scope around the receiver is cancelled by another thread, before or after: it is received, or is
/// still there.
///
/// Fails with: a wait that was completed, and looks for a cancel first.
#[test]
fn an_item_meets_a_cancel() {
    for cancel_first in [false, true] {
        check("item and cancel", Some(3), move || {
            let (sender, receiver) = crate::channel(1);
            let receiver = Arc::new(receiver);
            let scope = CancelScope::new();
            let (handle, kept) = (scope.clone(), receiver.clone());
            let other = thread::spawn(move || {
                drive(scope.run(async { receiver.recv().await.map_err(crate::Error::from) })).unwrap()
            });
            if cancel_first {
                handle.cancel();
            }
            sender.try_send(7).unwrap();
            handle.cancel();
            let got = other.join().unwrap();
            assert_eq!(got.is_none(), kept.try_recv() == Ok(7), "received, or still there");
            drop((kept, sender));
            assert_all_cells_are_free();
        });
    }
}

/// A permit is given back while the one who waits for it in another root gives up.
///
/// Fails with: a wait that keeps what it was given when it is dropped.
#[test]
fn a_permit_meets_a_wait_that_is_dropped() {
    check("permit and drop", Some(3), || {
        let semaphore = Arc::new(Semaphore::new(1));
        let permit = semaphore.clone().try_acquire_owned().unwrap();
        let waiting = semaphore.clone();
        let other = thread::spawn(move || {
            let driver = Driver::new();
            let mut wait = Box::pin(waiting.acquire_owned());
            let first = driver.turn(|cx| wait.as_mut().poll(cx));
            driver.root.enter(|| drop((wait, first)));
            driver.end();
        });
        drop(permit);
        other.join().unwrap();
        assert_eq!(semaphore.available(), 1);
        drop(semaphore);
        assert_all_cells_are_free();
    });
}

/// Two roots take turns with a mutex: each sees what the other one did.
///
/// Fails with: an unlock that wakes nobody.
#[test]
fn a_mutex_goes_from_root_to_root() {
    check("mutex", Some(2), || {
        let count = Arc::new(Mutex::new(0));
        let other = {
            let count = count.clone();
            thread::spawn(move || drive(async move { *count.lock().await.unwrap() += 1 }))
        };
        drive(async { *count.lock().await.unwrap() += 1 });
        other.join().unwrap();
        assert_eq!(*count.try_lock().unwrap(), 2);
        drop(count);
        assert_all_cells_are_free();
    });
}

/// An event is set by a thread that runs no root, while a task comes to wait for it.
///
/// Fails with: a `set` that does not wake.
#[test]
fn an_event_is_set_while_a_task_comes_to_wait() {
    check("event", None, || {
        let event = Arc::new(Event::new());
        // Before there are threads: that makes what loom watches.
        assert!(!event.is_set());
        let other = {
            let event = event.clone();
            thread::spawn(move || drive(async move { event.wait().await.unwrap() }))
        };
        event.set();
        other.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// A sleep that one root has begun goes on under another, and is dropped there, while a thread runs the old one and ends it.
///
/// Fails with: a timer of another root that is ended without its hold.
#[test]
fn a_sleep_leaves_a_root_that_is_run_and_ends() {
    check("sleep", Some(3), || {
        let old = Driver::new();
        let mut sleep = Box::pin(crate::sleep(Duration::from_secs(1_000)));
        // Not left to an idle root, which would want an alarm for it.
        let poll = |driver: &Driver, sleep: &mut Pin<Box<crate::Sleep>>| {
            let polled = driver.turn(|cx| {
                assert!(sleep.as_mut().poll(cx).is_pending(), "it is early");
                Poll::Ready(())
            });
            assert!(polled.is_ready());
        };
        poll(&old, &mut sleep);
        let other = thread::spawn(move || {
            let new = Driver::new();
            poll(&new, &mut sleep);
            new.root.enter(|| drop(sleep));
            assert_eq!(new.root.timers.borrow().pending(), 0);
            new.end();
        });
        let mut another = Box::pin(crate::sleep(Duration::from_secs(2_000)));
        poll(&old, &mut another);
        old.root.enter(|| drop(another));
        old.end();
        other.join().unwrap();
        assert_all_cells_are_free();
    });
}
