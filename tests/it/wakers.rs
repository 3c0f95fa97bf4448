//! A waker that panics when it is cloned, or called, leaves nothing behind that belongs to nobody.

use crate::support::panic_text;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use trine::channel;
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex, Semaphore};
use trine::testing::run;

fn bomb() -> Waker {
    fn clone(_: *const ()) -> RawWaker {
        panic!("cloned")
    }
    fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: no function touches the data.
    unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) }
}

/// Polls a wait until it is queued, and then with a waker that cannot be cloned; then it is dropped.
async fn explode<F: Future>(mut wait: Pin<Box<F>>) {
    poll_fn(|cx| {
        assert!(wait.as_mut().poll(cx).is_pending());
        let polled = || assert!(wait.as_mut().poll(&mut Context::from_waker(&bomb())).is_pending());
        assert_eq!(panic_text(polled), "cloned");
        Poll::Ready(())
    })
    .await;
}

#[test]
fn no_item_is_handed_to_a_receive_that_is_gone() {
    run(async {
        let (tx, rx) = channel(1);
        explode(Box::pin(rx.recv())).await;
        explode(Box::pin(rx.try_next())).await;
        tx.try_send(1).unwrap();
        assert_eq!(rx.statistics().buffered, 1);
        assert_eq!(rx.try_recv(), Ok(1));
    });
}

#[test]
fn no_item_is_taken_from_a_send_that_is_gone() {
    run(async {
        let (tx, rx) = channel(1);
        tx.try_send(1).unwrap();
        explode(Box::pin(tx.send(2))).await;
        assert_eq!((rx.try_recv(), rx.try_recv().is_err()), (Ok(1), true));
    });
}

#[test]
fn a_stream_goes_on() {
    run(async {
        let (tx, mut rx) = channel(1);
        explode(Box::pin(futures_util::StreamExt::next(&mut rx))).await;
        tx.try_send(1).unwrap();
        assert_eq!(futures_util::StreamExt::next(&mut rx).await.unwrap().unwrap(), 1);
    });
}

#[test]
fn no_unit_is_handed_to_a_wait_that_is_gone() {
    run(async {
        let mutex = Mutex::new(());
        let guard = mutex.lock().await.unwrap();
        explode(Box::pin(mutex.lock())).await;
        drop(guard);
        assert!(!mutex.is_locked());

        let semaphore = Semaphore::new(0);
        explode(Box::pin(semaphore.acquire())).await;
        semaphore.add_permits(1);
        assert_eq!(semaphore.available(), 1);

        let limiter = CapacityLimiter::new(0);
        explode(Box::pin(limiter.acquire())).await;
        limiter.set_total(1);
        assert_eq!(limiter.borrowed(), 0);

        let lock = Lock::new();
        trine::nursery(async |n| {
            lock.acquire().await?;
            n.spawn(async {
                explode(Box::pin(lock.acquire())).await;
                Ok(())
            })
            .await?;
            lock.release()?;
            assert!(!lock.is_locked());
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn no_notification_is_used_up_by_a_wait_that_is_gone() {
    run(async {
        let (mutex, condition) = (Mutex::new(()), Condition::new());
        let mut gone = mutex.lock().await.unwrap();
        explode(Box::pin(condition.wait(&mut gone))).await;
        trine::nursery(async |n| {
            let waiter = n.spawn(async {
                let mut guard = mutex.lock().await?;
                Ok(condition.wait(&mut guard).await?)
            });
            trine::testing::wait_all_tasks_blocked().await?;
            condition.notify(1);
            Ok(waiter.await?)
        })
        .await
        .unwrap();
        drop(gone);
    });
}

#[test]
fn an_event_is_set_all_the_same() {
    run(async {
        let event = Event::new();
        explode(Box::pin(event.wait())).await;
        event.set();
        event.wait().await.unwrap();
    });
}

/// A waker that panics when it is called.
fn mine() -> Waker {
    fn clone(data: *const ()) -> RawWaker {
        RawWaker::new(data, &VTABLE)
    }
    fn wake(_: *const ()) {
        panic!("woken")
    }
    fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, nothing);
    // SAFETY: no function touches the data.
    unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) }
}

#[test]
fn a_send_is_over_though_the_receiver_it_wakes_panics() {
    run(async {
        let (tx, rx) = channel(0);
        let (mut first, mut second) = (Box::pin(rx.recv()), Box::pin(rx.recv()));
        assert!(first.as_mut().poll(&mut Context::from_waker(&mine())).is_pending());
        // The lock is the root's from here on, so that the send takes the short way.
        assert!(poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await);
        let mut send = Box::pin(tx.send(1));
        poll_fn(|cx| {
            let mut poll = || drop(send.as_mut().poll(cx));
            assert_eq!(panic_text(&mut poll), "woken");
            assert!(panic_text(&mut poll).contains("polled again"));
            // The second one was handed nothing.
            Poll::Ready(assert!(second.as_mut().poll(cx).is_pending()))
        })
        .await;
        assert_eq!(first.await.unwrap(), 1);
        tx.send(2).await.unwrap();
        assert_eq!(second.await.unwrap(), 2);
    });
}

#[test]
fn a_receive_is_over_though_the_sender_it_wakes_panics() {
    run(async {
        let (tx, rx) = channel(1);
        tx.send(1).await.unwrap();
        let mut send = Box::pin(tx.send(2));
        assert!(send.as_mut().poll(&mut Context::from_waker(&mine())).is_pending());
        let mut recv = Box::pin(rx.recv());
        poll_fn(|cx| {
            let mut poll = || drop(recv.as_mut().poll(cx));
            assert_eq!(panic_text(&mut poll), "woken");
            Poll::Ready(assert!(panic_text(&mut poll).contains("polled again")))
        })
        .await;
        send.await.unwrap();
        assert_eq!(rx.recv().await.unwrap(), 2);
    });
}
