//! What the traits do not show of this backend, and the laws that it must test itself.
#![cfg(unix)]

use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use trine_async_io::async_io as backend;
use trine_backend::{Handle, Tick};

/// Sends a message for each wake.
struct Send(Mutex<mpsc::Sender<()>>);

impl Wake for Send {
    fn wake(self: Arc<Self>) {
        // A wake after the end of the test finds nobody.
        let _ = self.0.lock().unwrap().send(());
    }
}

/// Polls on this thread, without any executor, until it is ready.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let (tx, rx) = mpsc::channel();
    let waker = Waker::from(Arc::new(Send(Mutex::new(tx))));
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        rx.recv().unwrap();
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

fn ambient() -> Arc<dyn Handle> {
    backend().ambient().unwrap()
}

#[test]
fn hosted_trees_have_one_handle_and_each_driver_its_own() {
    assert!(Arc::ptr_eq(&ambient(), &ambient()));
    let drivers = [(); 2].map(|()| backend().driver().unwrap());
    assert!(!Arc::ptr_eq(&drivers[0].handle(), &drivers[1].handle()));
    assert!(Arc::ptr_eq(&drivers[0].handle(), &drivers[0].handle()));
}

#[test]
fn l32_the_reactor_serves_a_thread_that_drives_nothing() {
    let at = Instant::now() + Duration::from_millis(2);
    let mut alarm = ambient().alarm().unwrap();
    alarm.set(Some(at));
    block_on(|cx| alarm.poll(cx));
    assert!(Instant::now() >= at);

    let (a, b) = pair();
    let readiness = ambient().register(a.as_fd()).unwrap();
    for _ in 0..50 {
        assert!(readiness.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending());
        (&b).write_all(b"x").unwrap();
        let tick = block_on(|cx| readiness.poll_readable(cx)).unwrap();
        assert_eq!((&a).read(&mut [0; 8]).unwrap(), 1);
        readiness.clear_readable(tick);
    }
}

#[test]
fn l18_a_clear_with_an_old_tick_does_nothing() {
    let (a, b) = pair();
    let readiness = ambient().register(a.as_fd()).unwrap();
    let next = || -> Tick {
        (&b).write_all(b"x").unwrap();
        block_on(|cx| readiness.poll_readable(cx)).unwrap()
    };
    let old = next();
    readiness.clear_readable(old);
    let new = next();
    assert_ne!(old, new);
    readiness.clear_readable(old);
    let now = readiness.poll_readable(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(now, Poll::Ready(Ok(tick)) if tick == new));
}

#[test]
fn l23_no_event_of_an_ended_registration_reaches_the_next_one() {
    for _ in 0..100 {
        let ((a, b), (c, d)) = (pair(), pair());
        let old = ambient().register(a.as_fd()).unwrap();
        assert!(old.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending());
        (&b).write_all(b"x").unwrap();
        drop(old);
        // Most likely with the key of the old one, whose event may be on its way.
        let new = ambient().register(c.as_fd()).unwrap();
        block_on(|cx| match new.poll_readable(cx) {
            Poll::Ready(_) => panic!("invented"),
            Poll::Pending => Poll::Ready(()),
        });
        (&d).write_all(b"y").unwrap();
        block_on(|cx| new.poll_readable(cx)).unwrap();
    }
}

#[test]
fn a_registration_leaves_the_descriptor_to_its_owner() {
    let (a, b) = pair();
    let first = ambient().register(a.as_fd()).unwrap();
    let second = ambient().register(a.as_fd()).unwrap();
    drop(first);
    (&b).write_all(b"x").unwrap();
    block_on(|cx| second.poll_readable(cx)).unwrap();
    drop(second);
    drop(a);
    // Nobody keeps the other end open.
    assert_eq!((&b).write(b"y").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

/// L31: wakers are dropped and woken with no lock of the backend held, so they may use what they belong to.
#[test]
fn l31_a_waker_that_uses_its_own_services_is_no_deadlock() {
    struct Reenter(Arc<dyn Handle>);
    impl Wake for Reenter {
        fn wake(self: Arc<Self>) {
            let mut alarm = self.0.alarm().unwrap();
            alarm.set(Some(Instant::now() + Duration::from_secs(1000)));
            assert!(alarm.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }
    impl Drop for Reenter {
        fn drop(&mut self) {
            drop(self.0.alarm());
        }
    }
    let mut driver = backend().driver().unwrap();
    let handle = driver.handle();
    driver
        .drive(pin!(async {
            let (a, b) = pair();
            let readiness = handle.register(a.as_fd()).unwrap();
            let mut alarm = handle.alarm().unwrap();
            alarm.set(Some(Instant::now() + Duration::from_millis(1)));
            for _ in 0..2 {
                // The second waker replaces the first, which is dropped.
                let waker = Waker::from(Arc::new(Reenter(Arc::clone(&handle))));
                let cx = &mut Context::from_waker(&waker);
                let _ = alarm.poll(cx);
                assert!(readiness.poll_readable(cx).is_pending());
            }
            (&b).write_all(b"x").unwrap();
            poll_fn(|cx| readiness.poll_readable(cx)).await.unwrap();
            poll_fn(|cx| alarm.poll(cx)).await;
        }))
        .unwrap();
}
