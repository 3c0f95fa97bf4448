//! L20 to L24: the end of what is read, and the life of a registration.

use super::support::{
    Count, MS, drain, fill, is_readable, pair, readable, registered_pair, send, sleep, take_data, turn,
    until_reader_is_woken_by, until_woken, wait_both, wait_readable, writable,
};
use crate::case::{Case, backend};
use crate::host::Subject;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use trine::Result;
use trine_backend::{Handle, Readiness};

pub(super) const CASES: &[Case] = &[
    backend!(hangup_wakes_reader_and_writer, "L20", "divergence 11"),
    backend!(hangup_stays_for_polls_to_come, "L20", "divergence 11"),
    backend!(end_of_the_stream_wakes_the_reader, "L20", "divergence 11"),
    backend!(reset_wakes_the_reader, "L20", "divergence 11"),
    backend!(refused_connection_wakes_the_writer, "L20", "divergence 11"),
    backend!(end_is_announced_with_the_data_before_it, "L21", "divergence 11"),
    backend!(end_after_the_data_is_announced, "L21", "divergence 11"),
    backend!(source_can_be_registered_anew, "L22", "design 2"),
    backend!(descriptor_number_can_be_reused, "L22", "divergence 11"),
    backend!(ended_registration_wakes_nobody, "L22", "divergence 2"),
    backend!(registration_ends_on_any_thread, "L22", "design 3"),
    backend!(waker_may_replace_a_source_of_the_same_batch, "L23", "design 2"),
    backend!(event_of_an_ended_registration_is_not_that_of_the_next, "L23", "divergence 11"),
    backend!(second_registration_is_refused_or_independent, "L24", "divergence 11"),
    backend!(regular_file_is_refused_or_always_ready, "L24", "design 2"),
];

fn hangup_wakes_reader_and_writer(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        let (reader, writer) = wait_both(&*readiness);
        drop(b);
        until_woken(&*handle, &reader, 1).await;
        until_woken(&*handle, &writer, 1).await;
    });
    Ok(())
}

fn hangup_stays_for_polls_to_come(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        drop(b);
        for _ in 0..3 {
            readable(&*readiness).await;
            writable(&*readiness).await;
            turn(&*handle).await;
        }
    });
    Ok(())
}

fn end_of_the_stream_wakes_the_reader(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        let shut = || b.shutdown(Shutdown::Write).expect("shut down");
        until_reader_is_woken_by(&*handle, &*readiness, shut).await;
        readable(&*readiness).await;
        assert_eq!((&a).read(&mut [0; 8]).expect("the end"), 0);
    });
    Ok(())
}

/// Two ends of a connection over loopback; the first one in non-blocking mode.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let a = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (b, _) = listener.accept().expect("the connection");
    a.set_nonblocking(true).expect("non-blocking mode");
    (a, b)
}

fn reset_wakes_the_reader(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = tcp_pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        turn(&*handle).await;
        assert_eq!(is_readable(&*readiness), None);
        // What is unread at its close makes the end a reset.
        (&a).write_all(b"unread").expect("room for a few bytes");
        socket2::SockRef::from(&b).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
        drop(b);
        readable(&*readiness).await;
        let error = (&a).read(&mut [0; 8]).expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
    Ok(())
}

fn refused_connection_wakes_the_writer(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking mode");
        let _ = socket.connect(&address.into());
        let readiness = handle.register(socket.as_fd()).expect("registered");
        writable(&*readiness).await;
        let error = socket.take_error().expect("the option");
        assert_eq!(error.map(|e| e.kind()), Some(io::ErrorKind::ConnectionRefused));
    });
    Ok(())
}

/// Reads as a stream does: clears after a short read, unless the tick says that the end came with it.
async fn read_to_the_end(a: &TcpStream, readiness: &dyn Readiness) -> usize {
    let (mut buf, mut total) = ([0; 8], 0);
    loop {
        let tick = readable(readiness).await;
        match (&mut &*a).read(&mut buf) {
            Ok(0) => return total,
            Ok(n) => {
                total += n;
                if n < buf.len() && !tick.is_hangup() {
                    readiness.clear_readable(tick);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => readiness.clear_readable(tick),
            Err(error) => panic!("{error}"),
        }
    }
}

fn end_is_announced_with_the_data_before_it(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, mut b) = tcp_pair();
        b.write_all(b"x").expect("room for a few bytes");
        b.shutdown(Shutdown::Write).expect("shut down");
        // Loopback delivers both before `shutdown` returns, so the first event holds data and end.
        let readiness = handle.register(a.as_fd()).expect("registered");
        assert_eq!(read_to_the_end(&a, &*readiness).await, 1);
        writable(&*readiness).await;
    });
    Ok(())
}

fn end_after_the_data_is_announced(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, mut b) = tcp_pair();
        let readiness = handle.register(a.as_fd()).expect("registered");
        let thread = thread::spawn(move || {
            for _ in 0..5 {
                b.write_all(b"x").expect("room for a few bytes");
                thread::sleep(MS);
            }
            b.shutdown(Shutdown::Write).expect("shut down");
            b
        });
        assert_eq!(read_to_the_end(&a, &*readiness).await, 5);
        drop(thread.join());
    });
    Ok(())
}

fn source_can_be_registered_anew(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        send(&b, b"x");
        for _ in 0..100 {
            let readiness = handle.register(a.as_fd()).expect("registered");
            readable(&*readiness).await;
        }
    });
    Ok(())
}

fn descriptor_number_can_be_reused(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..20 {
            let (a, b, readiness) = registered_pair(&*handle);
            send(&b, b"x");
            readable(&*readiness).await;
            drop(readiness);
            drop((a, b));
            // Most likely of the same number.
            let (_c, _d, readiness) = registered_pair(&*handle);
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn ended_registration_wakes_nobody(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let (count, waker) = Count::new();
        let readiness = handle.register(a.as_fd()).expect("registered");
        wait_readable(&*readiness, &waker);
        drop(readiness);
        let after_the_drop = count.get();
        send(&b, b"x");
        turn(&*handle).await;
        sleep(&*handle, 2 * MS).await;
        assert_eq!(count.get(), after_the_drop, "woken by a registration that is gone");
    });
    Ok(())
}

fn registration_ends_on_any_thread(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        send(&b, b"x");
        for _ in 0..50 {
            let readiness = handle.register(a.as_fd()).expect("registered");
            readable(&*readiness).await;
            thread::spawn(move || drop(readiness)).join().expect("a drop");
        }
    });
    Ok(())
}

/// When woken, replaces all old registrations by one of a source that is not ready.
struct Swap {
    handle: Arc<dyn Handle>,
    quiet: UnixStream,
    old: Mutex<Vec<Box<dyn Readiness>>>,
    new: Mutex<Option<Box<dyn Readiness>>>,
}

impl Wake for Swap {
    fn wake(self: Arc<Self>) {
        let old = std::mem::take(&mut *self.old.lock().expect("unpoisoned"));
        if !old.is_empty() {
            drop(old);
            let new = self.handle.register(self.quiet.as_fd()).expect("registered");
            *self.new.lock().expect("unpoisoned") = Some(new);
        }
    }
}

fn waker_may_replace_a_source_of_the_same_batch(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let [(a, a_peer), (b, b_peer), (quiet, _quiet_peer)] = [pair(), pair(), pair()];
        let swap = Arc::new(Swap { handle: Arc::clone(&handle), quiet, old: Mutex::default(), new: Mutex::default() });
        let waker = Waker::from(Arc::clone(&swap));
        for source in [&a, &b] {
            let readiness = handle.register(source.as_fd()).expect("registered");
            wait_readable(&*readiness, &waker);
            swap.old.lock().expect("unpoisoned").push(readiness);
        }
        send(&a_peer, b"x");
        send(&b_peer, b"x");
        turn(&*handle).await;
        sleep(&*handle, 2 * MS).await;
        let new = swap.new.lock().expect("unpoisoned").take().expect("it was woken");
        assert_eq!(is_readable(&*new), None);
    });
    Ok(())
}

fn event_of_an_ended_registration_is_not_that_of_the_next(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..20 {
            let (a, b, readiness) = registered_pair(&*handle);
            send(&b, b"x"); // the event is there, and nobody has looked
            drop(readiness);
            drain(&a);
            let readiness = handle.register(a.as_fd()).expect("registered");
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
    Ok(())
}

fn second_registration_is_refused_or_independent(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b) = pair();
        let first = handle.register(a.as_fd()).expect("registered");
        let second = handle.register(a.as_fd());
        send(&b, b"x");
        readable(&*first).await;
        if let Ok(second) = second {
            readable(&*second).await;
            drop(second);
            take_data(&*handle, &a, &*first).await;
            send(&b, b"y");
            readable(&*first).await;
        }
    });
    Ok(())
}

fn regular_file_is_refused_or_always_ready(subject: &Subject<'_>) -> Result<()> {
    let file = File::open(std::env::current_exe()?)?;
    subject.drive(|handle| async move {
        if let Ok(readiness) = handle.register(file.as_fd()) {
            readable(&*readiness).await;
        }
    });
    Ok(())
}
