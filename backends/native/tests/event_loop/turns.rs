//! Turns: one of them reports everything, and each thing once.

use std::os::fd::AsFd;
use std::task::Context;
use std::thread;

use crate::support::{
    Count, Mined, drain, drive, drive_on, driver, fill, is_writable, pair, pend, readable, send, turn, wait_both,
    waker, writable,
};

/// L19 and L27.
#[test]
fn turn_wakes_the_direction_that_is_ready_once() {
    drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).unwrap();
        let (reader, writer) = wait_both(&*readiness);
        drain(&b);
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (0, 1));
        send(&b, b"x");
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (1, 1));
        let tick = readable(&*readiness).await;
        readiness.clear_readable(tick);
        assert!(is_writable(&*readiness).is_some());
    });
}

/// L20 and L27.
#[test]
fn turn_after_a_hangup_wakes_both_directions_once() {
    drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).unwrap();
        let (reader, writer) = wait_both(&*readiness);
        drop(b);
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (1, 1));
        readable(&*readiness).await;
        writable(&*readiness).await;
    });
}

/// L28, where no driver need help: another thread looks by itself while the loop sleeps.
#[test]
fn turn_on_another_thread_does_not_wait_for_the_loop() {
    let mut driver = driver();
    let handle = driver.handle();
    drive_on(&mut *driver, async {
        let waker = waker().await;
        let thread = thread::spawn(move || {
            let (count, counting) = Count::new();
            let cx = &mut Context::from_waker(&counting);
            let mut rounds = 0;
            while handle.poll_turn(cx, rounds).is_pending() {
                rounds += 1;
                assert_eq!(count.get(), rounds as usize);
            }
            assert!(rounds <= 1, "{rounds} rounds");
            waker.wake();
        });
        pend(|_| {}).await;
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_that_panics_in_a_turn_keeps_no_other_from_its_wake() {
    drive(|handle| async move {
        let mined = Mined::new(&*handle);
        mined.send();
        assert!(mined.blows_up_alone(|| {
            let _ = handle.poll_turn(&mut Context::from_waker(std::task::Waker::noop()), 0);
        }));
    });
}
