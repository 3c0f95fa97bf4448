//! Polls, alarms and the host's budget.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::support::{Count, Mined, drive, drive_on, driver, pend};

/// L4, where two polls are not too many: one at the start, and one for the alarm.
#[test]
fn future_that_waits_for_an_alarm_is_polled_twice() {
    let polls = drive(|handle| {
        let (mut polls, mut alarm) = (0, handle.alarm().unwrap());
        alarm.set(Some(Instant::now() + Duration::from_millis(20)));
        poll_fn(move |cx| {
            polls += 1;
            alarm.poll(cx).map(|()| polls)
        })
    });
    assert_eq!(polls, 2);
}

/// L12: not only is it not woken, it is gone.
#[test]
fn dropped_alarm_leaves_no_waker_behind() {
    drive(|handle| async move {
        let (count, waker) = Count::new();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + Duration::from_secs(1_000)));
        assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&count), 3);
        drop(alarm);
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

/// L29: nobody counts here.
#[test]
fn there_is_always_budget() {
    drive(|handle| async move {
        for _ in 0..1_000 {
            assert!(handle.has_budget());
            let _ = handle.alarm().unwrap().poll(&mut Context::from_waker(std::task::Waker::noop()));
        }
    });
}

/// L32: it serves only while it is driven.
#[test]
fn loop_is_nobody_s_ambient() {
    assert!(trine_native::native().ambient().is_none());
    drive(|_| async { assert!(trine_native::native().ambient().is_none()) });
    assert_eq!(trine_native::native().name(), "native");
}

/// An event is told once: whom the loop did not wake for it would wait for ever.
#[test]
fn a_waker_that_panics_keeps_no_other_from_its_wake() {
    let mut driver = driver();
    let mined = Mined::new(&*driver.handle());
    mined.send();
    assert!(mined.blows_up_alone(|| drive_on(&mut *driver, pend(|_| ()))));
    drive_on(&mut *driver, async {}); // it goes on
}
