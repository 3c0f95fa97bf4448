//! Registrations: what is refused, what a clear leaves, and what a drop leaves.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Context;

use crate::support::{Count, drain, drive, driver, fill, is_readable, is_writable, readable, registered_pair, send};
use crate::support::{turn, writable};

/// L17, where no second clear is needed: the loop tells of nothing late.
#[test]
fn one_clear_makes_a_full_source_pending() {
    drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        for _ in 0..3 {
            let tick = writable(&*readiness).await;
            fill(&a);
            readiness.clear_writable(tick);
            turn(&*handle).await;
            assert_eq!(is_writable(&*readiness), None);
            drain(&b);
        }
    });
}

/// L18: also a source that is ready gets a new tick by more data, so a clear with the old one cannot hide it.
#[test]
fn data_that_comes_while_the_source_is_ready_makes_a_new_tick() {
    drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        send(&b, b"x");
        let old = readable(&*readiness).await;
        send(&b, b"y");
        turn(&*handle).await;
        readiness.clear_readable(old);
        assert!(is_readable(&*readiness).is_some_and(|new| new != old));
    });
}

/// L22: not only is nobody woken, the waker is gone.
#[test]
fn dropped_registration_leaves_no_waker_behind() {
    drive(|handle| async move {
        let (_a, _b, readiness) = registered_pair(&*handle);
        let (count, waker) = Count::new();
        assert!(readiness.poll_readable(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&count), 3);
        drop(readiness);
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

/// L24 leaves a choice.
#[test]
fn second_registration_is_refused_and_the_first_goes_on() {
    drive(|handle| async move {
        let (a, b, first) = registered_pair(&*handle);
        let error = handle.register(a.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        send(&b, b"x");
        readable(&*first).await;
    });
}

/// L24 leaves a choice.
#[test]
fn regular_file_is_refused() {
    let file = File::open("Cargo.toml").unwrap();
    assert!(driver().handle().register(file.as_fd()).is_err());
}
