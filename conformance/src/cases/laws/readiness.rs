//! L14 to L19: readiness, its end, and its two directions.

use super::support::{
    MS, all_news, drain, fill, is_readable, is_writable, never_woken, pair, readable, registered_pair, send, take_data,
    turn, until_reader_is_woken_by, until_woken, wait_both, wait_readable, wait_writable, writable, yield_now,
};
use crate::case::{Case, backend};
use crate::host::Subject;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use trine::Result;

pub(super) const CASES: &[Case] = &[
    backend!(data_before_the_registration_is_reported, "L14", "divergence 11"),
    backend!(data_between_registration_and_poll_is_reported, "L14", "design 2"),
    backend!(data_after_the_poll_wakes, "L14", "design 2"),
    backend!(data_of_another_thread_wakes_a_sleeping_loop, "L14", "design 2"),
    backend!(connection_wakes_the_listener, "L14", "design 2"),
    backend!(new_source_can_be_written, "L14", "design 2"),
    backend!(quiet_source_is_not_ready, "L15", "divergence 11"),
    backend!(full_source_is_not_ready, "L15", "divergence 11"),
    backend!(turns_do_not_make_a_source_ready, "L15", "design 2"),
    backend!(readiness_lasts_until_it_is_cleared, "L16", "design 2"),
    backend!(readiness_survives_a_cancelled_wait, "L16", "divergence 3"),
    backend!(cleared_source_waits_for_more_data, "L17", "design 2"),
    backend!(data_after_unread_data_is_news, "L17", "design 2"),
    backend!(clear_after_a_short_read_loses_nothing, "L17", "design 6"),
    backend!(renewed_source_reports_what_is_left, "L17", "design 2"),
    backend!(writer_waits_until_there_is_room_again, "L17", "design 2"),
    backend!(clear_with_an_old_tick_does_nothing, "L18", "design 2"),
    backend!(clear_of_one_direction_leaves_the_other, "L19", "design 2"),
    backend!(directions_have_wakers_of_their_own, "L19", "design 2"),
];

fn data_before_the_registration_is_reported(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        send(&b, b"x");
        let readiness = handle.register(a.as_fd()).expect("registered");
        readable(&*readiness).await;
    });
    Ok(())
}

fn data_between_registration_and_poll_is_reported(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for turned in [false, true] {
            let (_a, b, readiness) = registered_pair(&*handle);
            send(&b, b"x");
            if turned {
                turn(&*handle).await;
            }
            readable(&*readiness).await;
        }
    });
    Ok(())
}

fn data_after_the_poll_wakes(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        until_reader_is_woken_by(&*handle, &*readiness, || send(&b, b"x")).await;
        readable(&*readiness).await;
    });
    Ok(())
}

fn data_of_another_thread_wakes_a_sleeping_loop(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        let thread = thread::spawn(move || {
            thread::sleep(10 * MS);
            send(&b, b"x");
            b
        });
        readable(&*readiness).await;
        drop(thread.join());
    });
    Ok(())
}

fn connection_wakes_the_listener(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        listener.set_nonblocking(true).expect("non-blocking mode");
        let readiness = handle.register(listener.as_fd()).expect("registered");
        assert_eq!(is_readable(&*readiness), None);
        let address = listener.local_addr().expect("an address");
        let thread = thread::spawn(move || TcpStream::connect(address).expect("a connection"));
        readable(&*readiness).await;
        listener.accept().expect("the connection");
        drop(thread.join());
    });
    Ok(())
}

fn new_source_can_be_written(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, _b, readiness) = registered_pair(&*handle);
        writable(&*readiness).await;
        assert_eq!(is_readable(&*readiness), None);
    });
    Ok(())
}

fn quiet_source_is_not_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        send(&b, b"gone");
        drain(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        never_woken(&*handle, |waker| wait_readable(&*readiness, waker)).await;
    });
    Ok(())
}

fn full_source_is_not_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, _b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        never_woken(&*handle, |waker| wait_writable(&*readiness, waker)).await;
    });
    Ok(())
}

fn turns_do_not_make_a_source_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, _b, readiness) = registered_pair(&*handle);
        for _ in 0..20 {
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn readiness_lasts_until_it_is_cleared(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        send(&b, b"x");
        let first = all_news(&*handle, &*readiness).await;
        writable(&*readiness).await;
        for _ in 0..3 {
            yield_now().await;
            assert_eq!(is_readable(&*readiness), Some(first));
            assert!(is_writable(&*readiness).is_some());
        }
    });
    Ok(())
}

fn readiness_survives_a_cancelled_wait(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        until_reader_is_woken_by(&*handle, &*readiness, || send(&b, b"x")).await;
        // The wait that was woken is gone before it has looked, and those that follow find what it left.
        for _ in 0..3 {
            turn(&*handle).await;
            readable(&*readiness).await;
        }
    });
    Ok(())
}

fn cleared_source_waits_for_more_data(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        for _ in 0..20 {
            send(&b, b"x");
            take_data(&*handle, &a, &*readiness).await;
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn data_after_unread_data_is_news(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        send(&b, b"x");
        let tick = readable(&*readiness).await;
        readiness.clear_readable(tick); // with the data unread
        send(&b, b"y");
        readable(&*readiness).await;
    });
    Ok(())
}

fn clear_after_a_short_read_loses_nothing(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        for _ in 0..20 {
            send(&b, b"x");
            let tick = all_news(&*handle, &*readiness).await;
            assert_eq!((&a).read(&mut [0; 8]).expect("a byte"), 1); // short, and no probe after it
            assert!(!tick.is_hangup());
            readiness.clear_readable(tick);
        }
    });
    Ok(())
}

fn renewed_source_reports_what_is_left(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        for _ in 0..20 {
            send(&b, b"xy");
            for _ in 0..2 {
                let tick = readable(&*readiness).await;
                assert_eq!((&a).read(&mut [0; 1]).expect("a byte"), 1);
                if !readiness.renew_readable(a.as_fd(), tick) {
                    // Nothing was done: what was ready is so still.
                    assert!(is_readable(&*readiness).is_some());
                }
            }
            let tick = is_readable(&*readiness);
            drain(&a);
            tick.into_iter().for_each(|tick| readiness.clear_readable(tick));
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn writer_waits_until_there_is_room_again(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        for _ in 0..3 {
            writable(&*readiness).await;
            fill(&a);
            // Each read of the peer is news, and a loop on another thread may tell of some of it late.
            let mut clears = 0;
            while let Some(tick) = is_writable(&*readiness) {
                readiness.clear_writable(tick);
                turn(&*handle).await;
                clears += 1;
                assert!(clears < 100, "still writable, though there is no room");
            }
            drain(&b);
        }
    });
    Ok(())
}

fn clear_with_an_old_tick_does_nothing(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        send(&b, b"x");
        let old = take_data(&*handle, &a, &*readiness).await;
        send(&b, b"y");
        let new = all_news(&*handle, &*readiness).await;
        assert_ne!(old, new, "a tick that was used before");
        readiness.clear_readable(old);
        assert_eq!(is_readable(&*readiness), Some(new));
    });
    Ok(())
}

fn clear_of_one_direction_leaves_the_other(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        send(&b, b"x");
        writable(&*readiness).await;
        take_data(&*handle, &a, &*readiness).await;
        assert_eq!(is_readable(&*readiness), None);
        assert!(is_writable(&*readiness).is_some());

        let tick = writable(&*readiness).await;
        fill(&a);
        send(&b, b"x");
        readable(&*readiness).await;
        readiness.clear_writable(tick);
        assert!(is_readable(&*readiness).is_some());
    });
    Ok(())
}

fn directions_have_wakers_of_their_own(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        let (reader, writer) = wait_both(&*readiness);
        drain(&b);
        until_woken(&*handle, &writer, 1).await;
        assert_eq!(reader.get(), 0);
        send(&b, b"x");
        until_woken(&*handle, &reader, 1).await;
        assert_eq!(writer.get(), 1);
    });
    Ok(())
}
