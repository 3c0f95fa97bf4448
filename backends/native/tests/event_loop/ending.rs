//! What is left of a loop whose driver has been dropped.

use std::os::fd::AsFd;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::support::{Count, Mined, drive, driver, registered_pair, writable};

/// L30, with one wake for each, and no more from then on.
#[test]
fn end_of_the_driver_wakes_each_waiter_once() {
    let driver = driver();
    let handle = driver.handle();
    let (count, waker) = Count::new();
    let cx = &mut Context::from_waker(&waker);
    let (_a, _b, readiness) = registered_pair(&*handle);
    let mut alarm = handle.alarm().unwrap();
    alarm.set(Some(Instant::now() + Duration::from_secs(1_000)));
    assert!(readiness.poll_readable(cx).is_pending());
    assert!(alarm.poll(cx).is_pending());
    drop(driver);
    assert_eq!(count.get(), 2);
    drop((readiness, alarm));
    assert_eq!(count.get(), 2);
}

#[test]
fn a_waker_that_panics_at_the_end_keeps_no_other_from_its_wake() {
    let driver = driver();
    let mined = Mined::new(&*driver.handle());
    assert!(mined.blows_up_alone(|| drop(driver)));
}

/// Whoever asks for a turn would wait for ever otherwise.
#[test]
fn turn_of_a_loop_that_is_gone_ends_at_once() {
    let driver = driver();
    let handle = driver.handle();
    drop(driver);
    let (_count, waker) = Count::new();
    assert!(handle.poll_turn(&mut Context::from_waker(&waker), 0).is_ready());
}

/// L30: its registration ends by its drop, as with a loop that lives.
#[test]
fn source_moves_on_once_its_old_registration_is_dropped() {
    let driver = driver();
    let (a, _b, old) = registered_pair(&*driver.handle());
    drop(driver);
    assert!(old.is_dead());
    drop(old);
    drive(|handle| async move { writable(&*handle.register(a.as_fd()).unwrap()).await });
}
