//! The server loop.

use super::net::listener;
use super::sync_tools::settle;
use crate::case::{Case, portable, real_time};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trine::net::{self, Listener, TcpStream};
use trine::{Error, TaskStatus, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    real_time!(many_are_served_at_once, "serve.concurrent", "divergence 10"),
    real_time!(
        listener_is_closed_when_it_ends,
        "serve.closes",
        "trio test_highlevel_open_tcp_listeners.py::test_serve_tcp, \
         trio test_highlevel_serve_listeners.py::test_serve_listeners_basic"
    ),
    portable!(
        streams_and_listener_are_dropped,
        "serve.closes",
        "trio test_highlevel_serve_listeners.py::test_serve_listeners_basic"
    ),
    portable!(
        unknown_error_ends_it,
        "serve.errors",
        "trio test_highlevel_serve_listeners.py::test_serve_listeners_accept_unrecognized_error"
    ),
    portable!(
        shortage_is_waited_out,
        "serve.errors",
        "trio test_highlevel_serve_listeners.py::test_serve_listeners_accept_capacity_error"
    ),
    portable!(errors_of_one_connection_are_passed_over, "serve.errors", "divergence 14"),
    portable!(error_of_a_handler_cancels_the_others, "serve.errors", "divergence 5"),
];

/// Connections that are counted while they live; `accept` first returns these errors, then connections, then waits.
struct Fake {
    errors: Vec<fn() -> io::Error>,
    connections: usize,
    accepted: AtomicUsize,
    live: Arc<()>,
}

impl Fake {
    fn new(errors: Vec<fn() -> io::Error>, connections: usize) -> (Self, Arc<()>) {
        let live = Arc::new(());
        (Self { errors, connections, accepted: AtomicUsize::new(0), live: Arc::clone(&live) }, live)
    }
}

impl Listener for Fake {
    type Stream = Arc<()>;

    async fn accept(&self) -> io::Result<Arc<()>> {
        trine::checkpoint().await.map_err(io::Error::from)?;
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = self.errors.get(number) {
            return Err(error());
        }
        if number >= self.errors.len() + self.connections {
            match trine::sleep_forever().await.map_err(io::Error::from)? {}
        }
        Ok(Arc::clone(&self.live))
    }
}

async fn shout(stream: TcpStream) -> trine::Result<()> {
    let mut buf = [0; 64];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n].to_ascii_uppercase()).await?,
        }
    }
}

/// No client waits for another one.
async fn many_are_served_at_once() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    nursery(async |n| {
        n.start_soon(net::serve(listener, shout));
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(TcpStream::connect(address).await?);
        }
        for client in clients.iter().rev() {
            client.write_all(b"hey").await?;
            let mut buf = [0; 8];
            assert_eq!(client.read(&mut buf).await?, 3);
            assert_eq!(&buf[..3], b"HEY");
        }
        n.cancel_children();
        Ok(())
    })
    .await
}

/// `start` hands out the address; after a cancel, nobody listens there and clients see the end.
async fn listener_is_closed_when_it_ends() -> trine::Result<()> {
    let (client, address) = nursery(async |n| {
        let address = n
            .start(async |status: TaskStatus<SocketAddr>| {
                let (listener, address) = listener().await?;
                status.started(address);
                net::serve(listener, shout).await
            })
            .await?;
        let client = TcpStream::connect(address).await?;
        client.write_all(b"a").await?;
        let mut buf = [0; 8];
        assert_eq!((client.read(&mut buf).await?, buf[0]), (1, b'A'));
        n.cancel_children();
        Ok((client, address))
    })
    .await?;
    assert_eq!(client.read(&mut [0; 8]).await?, 0);
    let error = TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}

/// A stream is gone when its handler is, the listener when the server is.
async fn streams_and_listener_are_dropped() -> trine::Result<()> {
    let (listener, live) = Fake::new(vec![], 3);
    let handled = AtomicUsize::new(0);
    nursery(async |n| {
        n.start_soon(net::serve(listener, async |stream| {
            let last = handled.fetch_add(1, Ordering::Relaxed) == 2;
            if last {
                pending::<()>().await;
            }
            drop(stream);
            Ok(())
        }));
        settle().await?;
        assert_eq!(handled.load(Ordering::Relaxed), 3);
        assert_eq!(Arc::strong_count(&live), 3, "the test's, the listener's, and one that is being handled");
        n.cancel_children();
        Ok(())
    })
    .await?;
    assert_eq!(Arc::strong_count(&live), 1);
    Ok(())
}

/// What says that the listener is no good ends the server; handlers are cancelled, and the error is found.
async fn unknown_error_ends_it() -> trine::Result<()> {
    let (listener, live) = Fake::new(vec![|| io::ErrorKind::InvalidInput.into()], 0);
    let error = net::serve(listener, async |_| Ok(())).await.expect_err("the listener fails");
    assert_eq!(error.find::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::InvalidInput));
    assert!(!error.has_cancelled());
    assert_eq!(Arc::strong_count(&live), 1);
    Ok(())
}

/// Ten tries in 950 ms: each 100 ms after the last one.
async fn shortage_is_waited_out() -> trine::Result<()> {
    let (listener, _live) = Fake::new(vec![|| io::ErrorKind::OutOfMemory.into(); 100], 0);
    let served = move_on_after(Duration::from_millis(950), net::serve(&listener, async |_| Ok(()))).await?;
    assert_eq!(served, None);
    assert_eq!(listener.accepted.into_inner(), 10);
    Ok(())
}

/// A connection that failed before it was accepted is no trouble of the server, and takes no time.
async fn errors_of_one_connection_are_passed_over() -> trine::Result<()> {
    let errors: Vec<fn() -> io::Error> = vec![
        || io::ErrorKind::ConnectionAborted.into(),
        || io::ErrorKind::ConnectionReset.into(),
        || io::ErrorKind::NetworkUnreachable.into(),
        || io::ErrorKind::PermissionDenied.into(),
    ];
    let (listener, _live) = Fake::new(errors, 2);
    let (handled, start) = (AtomicUsize::new(0), trine::now());
    nursery(async |n| {
        n.start_soon(net::serve(listener, async |_| {
            handled.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
        settle().await?;
        assert_eq!(handled.load(Ordering::Relaxed), 2);
        assert_eq!(trine::now(), start);
        n.cancel_children();
        Ok(())
    })
    .await
}

/// The server ends with the handler's error, once all others have seen their cancel.
async fn error_of_a_handler_cancels_the_others() -> trine::Result<()> {
    let (listener, _live) = Fake::new(vec![], 3);
    let (started, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let result = net::serve(listener, async |_| {
        if started.fetch_add(1, Ordering::Relaxed) == 2 {
            return Err(Error::msg("enough"));
        }
        let result = trine::sleep_forever().await;
        cancelled.fetch_add(1, Ordering::Relaxed);
        match result? {}
    })
    .await;
    let error = result.expect_err("a handler fails");
    let leaves: Vec<_> = error.leaves().map(ToString::to_string).collect();
    assert_eq!(leaves, ["enough"]);
    assert_eq!(cancelled.into_inner(), 2);
    Ok(())
}
