//! When a connection that was accepted is registered.

use crate::support::{CountWakes, poll_once};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use trine::backend::Backend;
use trine::net::TcpListener;
use trine_backend::{Alarm, Driver, Handle, Job, Readiness, Source};

/// Counts registrations, and refuses each.
#[derive(Debug, Default)]
struct Refusing {
    registers_early: bool,
    asked: AtomicUsize,
}

impl Handle for Refusing {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn register(&self, _source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::OutOfMemory.into())
    }

    fn registers_early(&self) -> bool {
        self.registers_early
    }

    fn spawn_blocking(&self, _job: Job) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn poll_turn(&self, _cx: &mut Context<'_>, _round: u32) -> Poll<()> {
        Poll::Ready(())
    }
}

struct Refuses(Arc<Refusing>);

impl trine_backend::Backend for Refuses {
    fn name(&self) -> &'static str {
        "refuses"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        Some(self.0.clone())
    }
}

/// How often a registration was asked for: once the connection was accepted, and once somebody waited for it.
fn asked(registers_early: bool) -> (usize, usize) {
    let host = Arc::new(Refusing { registers_early, ..Refusing::default() });
    let wakes = CountWakes::new();
    let mut tree = pin!(Backend::new(Refuses(host.clone())).host(async {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
        // It is there: nobody has to wait for it.
        let (stream, _) = listener.accept().await?;
        let accepted = host.asked.load(Ordering::Relaxed);
        let refused = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory, "the wait tells why there is none");
        Ok::<_, io::Error>((accepted, host.asked.load(Ordering::Relaxed)))
    }));
    match poll_once(tree.as_mut(), &wakes) {
        Poll::Ready(asked) => asked.unwrap(),
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

#[test]
fn a_connection_is_registered_when_it_is_accepted_if_its_loop_wants_that() {
    assert_eq!(asked(true), (1, 2));
}

#[test]
fn a_connection_is_registered_when_it_is_first_waited_for() {
    assert_eq!(asked(false), (0, 1));
}
