//! A pair of connected streams in memory, for tests of protocols without a network.
//!
//! Two [pipes](pipe), one for each direction. Each stream reads from one and writes to the other. The life of an
//! operation is that of all (`task/park`); the lock of a pipe is held for the look at it, and no waker is made, woken or
//! dropped in there. A poll-based operation has no future of its own, so each direction of a stream keeps its state, as
//! sockets do (`net/contend`).

mod pipe;

use crate::net::Shutdown;
use crate::net::contend::{self, Contenders, Lane as _};
use crate::net::wait::busy;
use crate::sync::wait::Wakes;
use crate::task::park::{self, Entry, Op, Parked};
use pipe::{End, Pipe, Progress};
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

const READ: Op = Op::MemoryStreamRead;
const WRITE: Op = Op::MemoryStreamWrite;
const WRITE_ALL: Op = Op::MemoryStreamWriteAll;

/// Makes two streams that are connected: what is written to one is read from the other. Each direction takes in
/// `capacity` bytes that have not been read.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// # Examples
///
/// ```
/// use trine::net::Shutdown;
///
/// let (client, server) = trine::testing::duplex(4);
/// let answer = trine::testing::run(trine::nursery(async |n| {
///     n.start_soon(async {
///         let mut buf = [0; 16];
///         loop {
///             let read = server.read(&mut buf).await?;
///             if read == 0 {
///                 break server.shutdown(Shutdown::Write).await?;
///             }
///             server.write_all(&buf[..read].to_ascii_uppercase()).await?;
///         }
///         Ok(())
///     });
///     n.start_soon(async {
///         client.write_all(b"hello, world").await?;
///         client.shutdown(Shutdown::Write).await?;
///         Ok(())
///     });
///     let (mut answer, mut buf) = (Vec::new(), [0_u8; 16]);
///     loop {
///         match client.read(&mut buf).await? {
///             0 => return Ok(answer),
///             read => answer.extend_from_slice(&buf[..read]),
///         }
///     }
/// }))?;
/// assert_eq!(answer, b"HELLO, WORLD");
/// # Ok::<(), trine::Error>(())
/// ```
pub fn duplex(capacity: usize) -> (MemoryStream, MemoryStream) {
    assert!(capacity > 0, "a stream in memory without room for a byte moves nothing: its capacity must not be 0");
    let (here, there) = (Arc::new(Shared::new(capacity)), Arc::new(Shared::new(capacity)));
    (MemoryStream::new(here.clone(), there.clone()), MemoryStream::new(there, here))
}

/// One of two connected streams in memory, see [`duplex`]. Dropping it closes it: the other one reads what was written,
/// and then the end; what it writes is a [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// As with a [`TcpStream`](crate::net::TcpStream), all operations take `&self`: one task may read while another one
/// writes. A second task in the same direction gets [`ResourceBusy`](io::ErrorKind::ResourceBusy). The traits
/// [`futures_io::AsyncRead`] and [`futures_io::AsyncWrite`] are implemented for it and for `&` it, with the same rule for
/// who waits by them.
pub struct MemoryStream {
    /// To read from, and to write to.
    lanes: [Lane; 2],
}

/// A pipe behind its lock.
struct Shared(Mutex<Pipe<Parked>>);

impl Shared {
    fn new(capacity: usize) -> Self {
        Self(Mutex::new(Pipe::new(capacity)))
    }

    fn lock(&self) -> MutexGuard<'_, Pipe<Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An end leaves; adds whom to wake.
    fn leave(&self, end: End, wakes: &mut Wakes) {
        let told = self.lock().leave(end);
        told.into_iter().flatten().for_each(|waiter| wakes.push(waiter));
    }
}

/// One direction of a stream.
struct Lane {
    pipe: Arc<Shared>,
    end: End,
    /// An operation is on its way.
    busy: AtomicBool,
    /// The poll-based operations that wait. Taken out by whoever has claimed the lane.
    contenders: Mutex<Contenders<Wait>>,
}

impl MemoryStream {
    fn new(reads: Arc<Shared>, writes: Arc<Shared>) -> Self {
        Self { lanes: [Lane::new(reads, End::Read), Lane::new(writes, End::Write)] }
    }

    fn lane(&self, end: End) -> &Lane {
        &self.lanes[end as usize]
    }

    /// Reads what is there into `buf`, after waiting for the first byte, and returns how many bytes that are. None means
    /// that the other side sends no more.
    ///
    /// # Errors
    ///
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another task reads; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: nothing was read.
    #[track_caller]
    pub fn read<'a>(&'a self, buf: &'a mut [u8]) -> MemoryRead<'a> {
        MemoryRead { op: Exclusive::new(self.lane(End::Read), READ), buf }
    }

    /// Writes as much of `buf` as there is room for, after waiting for some, and returns how many bytes that are.
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the other stream is gone or reads no more, or this direction was
    /// shut down; [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another task writes; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing was written.
    #[track_caller]
    pub fn write<'a>(&'a self, buf: &'a [u8]) -> MemoryWrite<'a> {
        MemoryWrite { op: Exclusive::new(self.lane(End::Write), WRITE), buf }
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). An unknown part was written by then.
    ///
    /// # Cancel safety
    ///
    /// An unknown part was written. A stream that is to be used further must not be cancelled within.
    #[track_caller]
    pub fn write_all<'a>(&'a self, buf: &'a [u8]) -> MemoryWriteAll<'a> {
        MemoryWriteAll { op: Exclusive::new(self.lane(End::Write), WRITE_ALL), rest: buf }
    }

    /// Ends the stream in one direction or both. The other side reads its end once it has read the rest; if it writes
    /// what is read no more, the pipe is broken. Reading goes on with what was written before.
    ///
    /// # Errors
    ///
    /// A cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing was ended.
    pub fn shutdown(&self, how: Shutdown) -> MemoryShutdown<'_> {
        MemoryShutdown { stream: self, entry: Some(Entry::new()), how }
    }

    /// Returns whom to wake, which comes last: a waker may panic.
    fn end(&self, how: Shutdown) -> Wakes {
        let mut wakes = Wakes::None;
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.lane(End::Read).pipe.leave(End::Read, &mut wakes);
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.lane(End::Write).pipe.leave(End::Write, &mut wakes);
        }
        wakes
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive()
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let wakes = self.end(Shutdown::Both);
        self.lane(End::Read).pipe.lock().discard();
        for lane in &self.lanes {
            let waiter = lane.pipe.lock().give_up(lane.end);
            drop(waiter);
        }
        wakes.wake();
    }
}

/// What an attempt came to.
struct Attempt<T> {
    /// `None`: it has to wait.
    done: Option<io::Result<T>>,
    /// Whom it has served.
    wake: Option<Parked>,
}

impl<T> Attempt<T> {
    const fn wait(wake: Option<Parked>) -> Self {
        Self { done: None, wake }
    }

    const fn done(result: io::Result<T>, wake: Option<Parked>) -> Self {
        Self { done: Some(result), wake }
    }
}

fn read(pipe: &mut Pipe<Parked>, buf: &mut [u8]) -> Attempt<usize> {
    match pipe.read(buf) {
        Some((n, wake)) => Attempt::done(Ok(n), wake),
        None => Attempt::wait(None),
    }
}

fn write(pipe: &mut Pipe<Parked>, buf: &[u8]) -> Attempt<usize> {
    match pipe.write(buf) {
        Some(Ok((n, wake))) => Attempt::done(Ok(n), wake),
        Some(Err(error)) => Attempt::done(Err(error), None),
        None => Attempt::wait(None),
    }
}

/// Writes what there is room for of `rest`, which shrinks by that.
fn write_all(pipe: &mut Pipe<Parked>, rest: &mut &[u8]) -> Attempt<()> {
    if rest.is_empty() {
        return Attempt::done(Ok(()), None);
    }
    match pipe.write(rest) {
        Some(Ok((n, wake))) => {
            *rest = &rest[n..];
            if rest.is_empty() { Attempt::done(Ok(()), wake) } else { Attempt::wait(wake) }
        }
        Some(Err(error)) => Attempt::done(Err(error), None),
        None => Attempt::wait(None),
    }
}

impl Lane {
    fn new(pipe: Arc<Shared>, end: End) -> Self {
        Self { pipe, end, busy: AtomicBool::new(false), contenders: Mutex::default() }
    }

    /// For the poll-based traits.
    fn poll<T>(
        &self,
        op: Op,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&mut Pipe<Parked>) -> Attempt<T>,
    ) -> Poll<io::Result<T>> {
        let begin = || Wait::new(op, Location::caller());
        contend::poll(self, cx, begin, |wait, cx| wait.poll(self, cx, attempt))
    }
}

impl contend::Lane for Lane {
    type Wait = Wait;

    fn claim(&self) -> bool {
        !self.busy.swap(true, Ordering::Acquire)
    }

    fn release(&self) {
        self.busy.store(false, Ordering::Release);
    }

    fn exchange(&self, contenders: Contenders<Wait>) -> Contenders<Wait> {
        mem::replace(&mut *self.contenders.lock().unwrap_or_else(PoisonError::into_inner), contenders)
    }

    /// The waiter in the pipe may be another one's.
    fn turned(wait: &mut Wait) {
        wait.waits = false;
    }
}

/// The state of one operation.
struct Wait {
    op: Op,
    at: &'static Location<'static>,
    /// `None`: entered.
    entry: Option<Entry>,
    /// It has a waiter in the pipe, or had one that was served.
    waits: bool,
}

impl Wait {
    fn new(op: Op, at: &'static Location<'static>) -> Self {
        Self { op, at, entry: Some(Entry::new()), waits: false }
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(entry) = &mut self.entry {
            let entered = ready!(entry.poll(cx));
            self.entry = None;
            entered?;
        }
        Poll::Ready(Ok(()))
    }

    /// Tries until it can be done or the wait is cancelled. The caller has the lane.
    fn poll<T>(
        &mut self,
        lane: &Lane,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Pipe<Parked>) -> Attempt<T>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_entry(cx))?;
        let mut fresh: Option<Parked> = None;
        loop {
            let mut pipe = lane.pipe.lock();
            let mut wake = None;
            match if self.waits { pipe.progress(lane.end) } else { Progress::Served } {
                Progress::Cancelled => return self.cancelled(lane, pipe),
                Progress::Waiting if pipe.waiter(lane.end).is_some_and(|w| w.is_current(cx)) => return Poll::Pending,
                Progress::Waiting => {}
                Progress::Served => {
                    let attempt = attempt(&mut pipe);
                    wake = attempt.wake;
                    if let Some(result) = attempt.done {
                        self.waits = false;
                        drop(pipe);
                        wake.into_iter().for_each(Parked::wake);
                        return Poll::Ready(result);
                    }
                }
            }
            // It has to wait. A waiter is made with the lock released; then one looks again.
            match fresh.take() {
                Some(waiter) if waiter.is_cancelled() => return self.cancelled(lane, pipe),
                Some(waiter) => {
                    self.waits = true;
                    // Its own, or one of a poll-based operation that was left or has been woken.
                    let old = pipe.wait(lane.end, waiter);
                    drop(pipe);
                    wake.into_iter().for_each(Parked::wake);
                    drop(old);
                    return Poll::Pending;
                }
                None => {
                    drop(pipe);
                    wake.into_iter().for_each(Parked::wake);
                    fresh = Some(Parked::new(cx, self.op, self.at));
                }
            }
        }
    }

    fn cancelled<T>(&mut self, lane: &Lane, mut pipe: MutexGuard<'_, Pipe<Parked>>) -> Poll<io::Result<T>> {
        let waiter = if mem::take(&mut self.waits) { pipe.give_up(lane.end) } else { None };
        drop(pipe);
        drop(waiter);
        park::count_delivery();
        Poll::Ready(Err(park::cancelled().into()))
    }

    /// For the end of an operation that is not complete.
    fn give_up(&mut self, lane: &Lane) {
        if self.waits {
            self.waits = false;
            let waiter = lane.pipe.lock().give_up(lane.end);
            drop(waiter);
        }
    }
}

/// An operation that has its direction of a stream to itself from its first poll on.
struct Exclusive<'a> {
    lane: &'a Lane,
    wait: Wait,
    claimed: bool,
}

impl<'a> Exclusive<'a> {
    #[track_caller]
    fn new(lane: &'a Lane, op: Op) -> Self {
        Self { lane, wait: Wait::new(op, Location::caller()), claimed: false }
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&mut Pipe<Parked>) -> Attempt<T>,
    ) -> Poll<io::Result<T>> {
        if !self.claimed {
            ready!(self.wait.poll_entry(cx))?;
            if !self.lane.claim() {
                return Poll::Ready(Err(busy()));
            }
            self.claimed = true;
            contend::displace(self.lane);
        }
        let result = ready!(self.wait.poll(self.lane, cx, attempt));
        self.release();
        Poll::Ready(result)
    }

    fn release(&mut self) {
        if self.claimed {
            self.claimed = false;
            self.wait.give_up(self.lane);
            self.lane.release();
        }
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// The future of [`MemoryStream::read`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct MemoryRead<'a> {
    op: Exclusive<'a>,
    buf: &'a mut [u8],
}

/// The future of [`MemoryStream::write`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct MemoryWrite<'a> {
    op: Exclusive<'a>,
    buf: &'a [u8],
}

/// The future of [`MemoryStream::write_all`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct MemoryWriteAll<'a> {
    op: Exclusive<'a>,
    rest: &'a [u8],
}

/// The future of [`MemoryStream::shutdown`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct MemoryShutdown<'a> {
    stream: &'a MemoryStream,
    entry: Option<Entry>,
    how: Shutdown,
}

impl Future for MemoryRead<'_> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, buf } = self.get_mut();
        op.poll(cx, |pipe| read(pipe, buf))
    }
}

impl Future for MemoryWrite<'_> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, buf } = self.get_mut();
        op.poll(cx, |pipe| write(pipe, buf))
    }
}

impl Future for MemoryWriteAll<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, rest } = self.get_mut();
        op.poll(cx, |pipe| write_all(pipe, rest))
    }
}

impl Future for MemoryShutdown<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(entry) = &mut self.entry {
            let entered = ready!(entry.poll(cx));
            self.entry = None;
            entered?;
        }
        self.stream.end(self.how).wake();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for MemoryRead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRead").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWrite").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryWriteAll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriteAll").finish_non_exhaustive()
    }
}

impl futures_io::AsyncRead for &MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.lane(End::Read).poll(READ, cx, |pipe| read(pipe, buf))
    }
}

impl futures_io::AsyncWrite for &MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lane(End::Write).poll(WRITE, cx, |pipe| write(pipe, buf))
    }

    /// Does nothing: what was written can be read at once.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream in this direction. Not a checkpoint, so that clean-up needs no shield for it.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end(Shutdown::Write).wake();
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncRead for MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl futures_io::AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}
