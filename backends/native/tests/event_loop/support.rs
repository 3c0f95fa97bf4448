//! Futures over the traits, connected sockets, counting wakers.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use trine_backend::{Driver, Handle, Readiness, Tick};

pub(crate) fn driver() -> Box<dyn Driver> {
    trine_native::native().driver().unwrap()
}

/// Drives a future made from a handle, on a driver of its own.
pub(crate) fn drive<T, F: Future<Output = T>>(fut: impl FnOnce(Arc<dyn Handle>) -> F) -> T {
    let mut driver = driver();
    let fut = fut(driver.handle());
    drive_on(&mut *driver, fut)
}

pub(crate) fn drive_on<T>(driver: &mut dyn Driver, fut: impl Future<Output = T>) -> T {
    let mut out = None;
    driver.drive(pin!(async { out = Some(fut.await) })).unwrap();
    out.unwrap()
}

pub(crate) async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Pending once, having done `f` with the context.
pub(crate) async fn pend(f: impl FnOnce(&mut Context<'_>)) {
    let mut f = Some(f);
    poll_fn(|cx| match f.take() {
        Some(f) => {
            f(cx);
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
}

/// One probe, to its end.
pub(crate) async fn turn(handle: &dyn Handle) {
    let mut round = 0;
    poll_fn(|cx| {
        assert!(round < 1_000, "no end of rounds");
        round += 1;
        handle.poll_turn(cx, round - 1)
    })
    .await;
}

pub(crate) async fn readable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_readable(cx)).await.unwrap()
}

pub(crate) async fn writable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_writable(cx)).await.unwrap()
}

/// One look, with a waker that does nothing.
pub(crate) fn is_readable(readiness: &dyn Readiness) -> Option<Tick> {
    match readiness.poll_readable(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(tick) => Some(tick.unwrap()),
        Poll::Pending => None,
    }
}

/// One look, with a waker that does nothing.
pub(crate) fn is_writable(readiness: &dyn Readiness) -> Option<Tick> {
    match readiness.poll_writable(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(tick) => Some(tick.unwrap()),
        Poll::Pending => None,
    }
}

/// Leaves a waker of its own with each direction, neither of which may be ready; the reader's count is the first one.
pub(crate) fn wait_both(readiness: &dyn Readiness) -> (Arc<Count>, Arc<Count>) {
    let ((reader, read_waker), (writer, write_waker)) = (Count::new(), Count::new());
    assert!(readiness.poll_readable(&mut Context::from_waker(&read_waker)).is_pending());
    assert!(readiness.poll_writable(&mut Context::from_waker(&write_waker)).is_pending());
    (reader, writer)
}

/// Two ends of a connection, in non-blocking mode.
pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// Two ends of a connection, and the registration of the first one.
pub(crate) fn registered_pair(handle: &dyn Handle) -> (UnixStream, UnixStream, Box<dyn Readiness>) {
    let (a, b) = pair();
    let readiness = handle.register(a.as_fd()).unwrap();
    (a, b, readiness)
}

pub(crate) fn send(mut stream: &UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

/// Writes until there is no room.
pub(crate) fn fill(mut stream: &UnixStream) {
    while stream.write(&[0; 4096]).is_ok() {}
}

/// Reads until there is nothing.
pub(crate) fn drain(mut stream: &UnixStream) {
    while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
}

/// A waker that panics.
pub(crate) fn bomb() -> Waker {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own panic");
        }
    }
    Waker::from(Arc::new(Bomb))
}

/// Three registered connections. A counting waker waits for reading at the first and the last one, and at the second one a
/// waker that panics.
pub(crate) struct Mined {
    counts: [Arc<Count>; 2],
    peers: [UnixStream; 3],
    _registered: [(UnixStream, Box<dyn Readiness>); 3],
}

impl Mined {
    pub(crate) fn new(handle: &dyn Handle) -> Self {
        let ((first, first_waker), (last, last_waker)) = (Count::new(), Count::new());
        let parts = [first_waker, bomb(), last_waker].map(|waker| {
            let (a, b, readiness) = registered_pair(handle);
            assert!(readiness.poll_readable(&mut Context::from_waker(&waker)).is_pending());
            (b, (a, readiness))
        });
        let [(b0, r0), (b1, r1), (b2, r2)] = parts;
        Self { counts: [first, last], peers: [b0, b1, b2], _registered: [r0, r1, r2] }
    }

    /// Makes all of them readable.
    pub(crate) fn send(&self) {
        self.peers.iter().for_each(|peer| send(peer, b"x"));
    }

    /// Whether `f` panics and the two that count are woken by it, once.
    pub(crate) fn blows_up_alone(&self, f: impl FnOnce()) -> bool {
        let panics = catch_unwind(AssertUnwindSafe(f)).is_err();
        panics && self.counts.iter().all(|count| count.get() == 1)
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
