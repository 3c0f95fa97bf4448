//! L30 to L32: the end of a loop, foreign code, and what is ambient.

use super::support::{
    Count, FAR, MS, alarm_at, fired, pair, pend, poll_alarm, readable, registered_pair, send, sleep, until_woken,
    wait_readable, waiting_alarm, writable,
};
use crate::case::{Case, backend};
use crate::host::{Subject, block_on};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use trine::Result;
use trine_backend::{Handle, Readiness};

pub(super) const CASES: &[Case] = &[
    backend!(end_of_the_driver_wakes_all_waiters, "L30", "divergence 11").needs_driver(),
    backend!(services_of_a_loop_that_is_gone_give_errors, "L30", "design 3").needs_driver(),
    backend!(source_of_a_loop_that_is_gone_can_move_to_another, "L30", "design 3").needs_driver(),
    backend!(living_loop_is_not_dead, "L30", "design 3"),
    backend!(waker_may_use_its_loop, "L31", "design 3"),
    backend!(waker_may_be_dropped_into_its_loop, "L31", "design 3"),
    backend!(job_may_use_the_loop, "L31", "divergence 15"),
    backend!(ambient_services_need_no_drive, "L32", "design 2"),
    backend!(handle_is_the_same_each_time, "L32", "design 2").needs_driver(),
    backend!(backend_has_a_name, "L32", "design 2"),
];

fn end_of_the_driver_wakes_all_waiters(subject: &Subject<'_>) -> Result<()> {
    let driver = subject.driver();
    let handle = driver.handle();
    let (a, _b) = pair();
    let ((reader, read_waker), (sleeper, alarm_waker)) = (Count::new(), Count::new());
    let readiness = handle.register(a.as_fd())?;
    let mut alarm = alarm_at(&*handle, Instant::now() + FAR);
    wait_readable(&*readiness, &read_waker);
    assert!(poll_alarm(&mut *alarm, &alarm_waker).is_pending());
    assert!(!readiness.is_dead() && !alarm.is_dead());
    drop(driver);
    if !readiness.is_dead() && !alarm.is_dead() {
        still_serves(handle);
        return Ok(());
    }
    assert!(reader.get() >= 1 && sleeper.get() >= 1, "woken {} and {} times", reader.get(), sleeper.get());
    assert!(readiness.is_dead() && alarm.is_dead());
    Ok(())
}

fn services_of_a_loop_that_is_gone_give_errors(subject: &Subject<'_>) -> Result<()> {
    let driver = subject.driver();
    let handle = driver.handle();
    let (a, _b) = pair();
    let readiness = handle.register(a.as_fd())?;
    drop(driver);
    if !readiness.is_dead() {
        still_serves(handle);
        return Ok(());
    }
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(readiness.poll_readable(cx), Poll::Ready(Err(_))));
    assert!(matches!(readiness.poll_writable(cx), Poll::Ready(Err(_))));
    assert!(handle.alarm().is_err());
    let (c, _d) = pair();
    assert!(handle.register(c.as_fd()).is_err());
    Ok(())
}

fn source_of_a_loop_that_is_gone_can_move_to_another(subject: &Subject<'_>) -> Result<()> {
    let (a, b) = pair();
    let driver = subject.driver();
    let old = driver.handle().register(a.as_fd())?;
    drop(driver);
    drop(old);
    send(&b, b"x");
    subject.drive(|handle| async move {
        let readiness = handle.register(a.as_fd()).expect("registered");
        writable(&*readiness).await;
        readable(&*readiness).await;
    });
    Ok(())
}

fn living_loop_is_not_dead(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, _b, readiness) = registered_pair(&*handle);
        let mut alarm = alarm_at(&*handle, Instant::now());
        fired(&mut *alarm).await;
        assert!(!alarm.is_dead() && !readiness.is_dead());
    });
    Ok(())
}

/// A loop that goes on without its driver does so in earnest.
fn still_serves(handle: Arc<dyn Handle>) {
    block_on(serve(handle));
}

async fn serve(handle: Arc<dyn Handle>) {
    let (_a, b, readiness) = registered_pair(&*handle);
    sleep(&*handle, MS).await;
    send(&b, b"x");
    readable(&*readiness).await;
}

/// Uses every service of the loop that wakes it.
struct Busy {
    handle: Arc<dyn Handle>,
    readiness: Mutex<Option<Box<dyn Readiness>>>,
    count: Count,
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut alarm = alarm_at(&*self.handle, Instant::now());
        let _ = alarm.poll(cx);
        let (a, _b) = pair();
        let _ = self.handle.register(a.as_fd()).expect("registered").poll_writable(cx);
        let _ = self.handle.poll_turn(cx, 0);
        self.handle.spawn_blocking(Box::new(|| ())).expect("accepted");
        if let Some(readiness) = &*self.readiness.lock().expect("unpoisoned") {
            if let Poll::Ready(tick) = readiness.poll_readable(cx) {
                readiness.clear_readable(tick.expect("a tick"));
            }
        }
        self.count.add();
    }
}

fn waker_may_use_its_loop(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let busy = Arc::new(Busy { handle: Arc::clone(&handle), readiness: Mutex::default(), count: Count::default() });
        let waker = Waker::from(Arc::clone(&busy));
        let readiness = handle.register(a.as_fd()).expect("registered");
        let _alarm = waiting_alarm(&*handle, 5 * MS, &waker);
        wait_readable(&*readiness, &waker);
        *busy.readiness.lock().expect("unpoisoned") = Some(readiness);
        send(&b, b"x");
        until_woken(&*handle, &busy.count, 2).await;
        // Its loop holds it and it holds the loop: undone by hand.
        drop(busy.readiness.lock().expect("unpoisoned").take());
    });
    Ok(())
}

/// Uses the loop when it is dropped.
struct Last(Arc<dyn Handle>);

impl Wake for Last {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Last {
    fn drop(&mut self) {
        let mut alarm = alarm_at(&*self.0, Instant::now() + FAR);
        let _ = poll_alarm(&mut *alarm, Waker::noop());
        let (a, _b) = pair();
        drop(self.0.register(a.as_fd()).expect("registered"));
    }
}

fn waker_may_be_dropped_into_its_loop(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        let mut alarm = alarm_at(&*handle, Instant::now() + 2 * MS);
        let last = || Waker::from(Arc::new(Last(Arc::clone(&handle))));
        for _ in 0..2 {
            // The second round drops the wakers of the first.
            let _ = poll_alarm(&mut *alarm, &last());
            wait_readable(&*readiness, &last());
        }
        send(&b, b"x");
        sleep(&*handle, 5 * MS).await;
        readable(&*readiness).await;
    });
    Ok(())
}

fn job_may_use_the_loop(subject: &Subject<'_>) -> Result<()> {
    let (tx, rx) = mpsc::channel();
    subject.drive(|handle| async move {
        let inner = Arc::clone(&handle);
        pend(|cx| {
            let waker = cx.waker().clone();
            let job = move || {
                let (a, _b) = pair();
                drop(inner.register(a.as_fd()).expect("registered"));
                let mut alarm = alarm_at(&*inner, Instant::now() + FAR);
                let _ = poll_alarm(&mut *alarm, Waker::noop());
                drop(alarm);
                tx.send(()).expect("listened to");
                waker.wake();
            };
            handle.spawn_blocking(Box::new(job)).expect("accepted");
        })
        .await;
    });
    rx.recv()?;
    Ok(())
}

fn ambient_services_need_no_drive(subject: &Subject<'_>) -> Result<()> {
    // On a plain thread, or where the subject's executor polls.
    match subject.executor() {
        Some(_) => subject.drive(serve),
        None => subject.backend().ambient().map_or((), still_serves),
    }
    Ok(())
}

fn handle_is_the_same_each_time(subject: &Subject<'_>) -> Result<()> {
    let driver = subject.driver();
    assert!(Arc::ptr_eq(&driver.handle(), &driver.handle()));
    Ok(())
}

fn backend_has_a_name(subject: &Subject<'_>) -> Result<()> {
    let backend = Arc::clone(subject.backend());
    for name in [subject.backend().name(), subject.drive(|_| async move { backend.name() })] {
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{name:?}");
    }
    Ok(())
}
