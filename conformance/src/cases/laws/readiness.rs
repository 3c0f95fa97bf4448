//! L14 to L19: readiness, its end, and its two directions.

use super::support::{
    Count, MS, drain, fill, is_readable, is_writable, pair, readable, send, sleep, turn, until_woken, wait_readable,
    wait_writable, writable, yield_now,
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
            let (a, b) = pair();
            let readiness = handle.register(a.as_fd()).expect("registered");
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
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        let (count, waker) = Count::new();
        wait_readable(&*readiness, &waker);
        send(&b, b"x");
        until_woken(&*handle, &count, 1).await;
        readable(&*readiness).await;
    });
    Ok(())
}

fn data_of_another_thread_wakes_a_sleeping_loop(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
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
        let (a, _b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
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
        let (count, waker) = Count::new();
        for _ in 0..5 {
            wait_readable(&*readiness, &waker);
            sleep(&*handle, MS).await;
        }
        assert_eq!(count.get(), 0);
    });
    Ok(())
}

fn full_source_is_not_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, _b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        let (count, waker) = Count::new();
        for _ in 0..5 {
            wait_writable(&*readiness, &waker);
            sleep(&*handle, MS).await;
        }
        assert_eq!(count.get(), 0);
    });
    Ok(())
}

fn turns_do_not_make_a_source_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, _b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        for _ in 0..20 {
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn readiness_lasts_until_it_is_cleared(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        send(&b, b"x");
        let first = readable(&*readiness).await;
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
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        let (count, waker) = Count::new();
        // Whoever waits so is gone by the time that the data comes.
        wait_readable(&*readiness, &waker);
        send(&b, b"x");
        until_woken(&*handle, &count, 1).await;
        drop(waker);
        readable(&*readiness).await;
    });
    Ok(())
}

fn cleared_source_waits_for_more_data(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        for _ in 0..20 {
            send(&b, b"x");
            let tick = readable(&*readiness).await;
            drain(&a);
            readiness.clear_readable(tick);
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn data_after_unread_data_is_news(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
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
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        for _ in 0..20 {
            send(&b, b"x");
            let tick = readable(&*readiness).await;
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
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
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
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        send(&b, b"x");
        let old = readable(&*readiness).await;
        drain(&a);
        readiness.clear_readable(old);
        send(&b, b"y");
        let new = readable(&*readiness).await;
        assert_ne!(old, new, "a tick that was used before");
        readiness.clear_readable(old);
        assert_eq!(is_readable(&*readiness), Some(new));
    });
    Ok(())
}

fn clear_of_one_direction_leaves_the_other(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        send(&b, b"x");
        let tick = readable(&*readiness).await;
        writable(&*readiness).await;
        drain(&a);
        readiness.clear_readable(tick);
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
        let ((reader, read_waker), (writer, write_waker)) = (Count::new(), Count::new());
        wait_readable(&*readiness, &read_waker);
        wait_writable(&*readiness, &write_waker);
        drain(&b);
        until_woken(&*handle, &writer, 1).await;
        assert_eq!(reader.get(), 0);
        send(&b, b"x");
        until_woken(&*handle, &reader, 1).await;
        assert_eq!(writer.get(), 1);
    });
    Ok(())
}
