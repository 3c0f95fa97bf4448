//! What all byte streams over a socket share: the futures of their operations, and the poll-based traits.
//!
//! A poll-based operation has no future of its own to keep its state in, so each direction of a stream has a place for it
//! ([`contend`]). A read that is given up (its future dropped after `Pending`) leaves its wait there until the next one is
//! done or the end of the stream: the task tree then shows a wait that nobody is in.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::contend;
use super::source::{AsSource, Direction, Done, Source};
use super::wait::{Exclusive, Side, Wait};
use crate::task::park::{Entry, Op};

/// A socket of the standard library that carries a stream of bytes.
pub(crate) trait Socket: AsSource + Sized {
    /// The names of the operations in the task tree.
    const NAMES: Names;

    fn recv(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn send(&self, buf: &[u8]) -> io::Result<usize>;
    fn end(&self, how: Shutdown) -> io::Result<()>;
}

/// See [`Socket::NAMES`].
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) read: Op,
    pub(crate) write: Op,
    pub(crate) write_all: Op,
    pub(crate) shutdown: Op,
}

/// A connected, non-blocking socket.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    source: Source<S>,
}

impl<S: Socket> Stream<S> {
    pub(crate) fn new(source: Source<S>) -> Self {
        Self { source }
    }

    pub(crate) fn io(&self) -> &S {
        self.source.io()
    }

    #[track_caller]
    pub(crate) fn read<'a>(&'a self, buf: &'a mut [u8]) -> Read<'a, S> {
        Read { op: self.op(Direction::Read, S::NAMES.read), buf }
    }

    #[track_caller]
    pub(crate) fn write<'a>(&'a self, buf: &'a [u8]) -> Write<'a, S> {
        Write { op: self.op(Direction::Write, S::NAMES.write), buf }
    }

    #[track_caller]
    pub(crate) fn write_all<'a>(&'a self, buf: &'a [u8]) -> WriteAll<'a, S> {
        WriteAll { op: self.op(Direction::Write, S::NAMES.write_all), rest: buf }
    }

    #[track_caller]
    pub(crate) fn shutdown(&self, how: Shutdown) -> ShutDown<'_, S> {
        ShutDown { io: self.io(), wait: Wait::new(Direction::Write, S::NAMES.shutdown, Location::caller()), how }
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return poll_nothing(cx);
        }
        self.poll_lane(Direction::Read, S::NAMES.read, cx, |io| read(io, buf))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return poll_nothing(cx);
        }
        self.poll_lane(Direction::Write, S::NAMES.write, cx, |io| write(io, buf))
    }

    pub(crate) fn poll_close(&self) -> Poll<io::Result<()>> {
        Poll::Ready(self.io().end(Shutdown::Write))
    }

    #[track_caller]
    fn op(&self, direction: Direction, name: Op) -> Exclusive<'_, S> {
        let wait = Wait::new(direction, name, Location::caller());
        Exclusive::new(&self.source, wait)
    }

    fn poll_lane<T>(
        &self,
        direction: Direction,
        name: Op,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&S) -> io::Result<Done<T>>,
    ) -> Poll<io::Result<T>> {
        let lane = Side { source: &self.source, direction };
        let begin = || Wait::new(direction, name, Location::caller());
        contend::poll(&lane, cx, begin, |wait, cx| wait.poll(cx, &self.source, attempt))
    }
}

/// A poll-based operation with an empty buffer: a checkpoint, and nothing to wait for. It keeps no state, since who yields
/// here has a new step budget.
#[cold]
fn poll_nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    Poll::Ready(ready!(Entry::new().poll(cx)).map(|()| 0).map_err(io::Error::from))
}

/// Whether a call that moved less than it had room for has drained its direction. So it is with epoll and kqueue;
/// elsewhere only "would block" tells.
const SHORT_IS_DRAINED: bool = cfg!(unix);

fn read<S: Socket>(io: &S, buf: &mut [u8]) -> io::Result<Done<usize>> {
    let value = io.recv(buf)?;
    let short = 0 < value && value < buf.len();
    Ok(Done { value, drained: SHORT_IS_DRAINED && short })
}

fn write<S: Socket>(io: &S, buf: &[u8]) -> io::Result<Done<usize>> {
    let value = io.send(buf)?;
    let short = 0 < value && value < buf.len();
    Ok(Done { value, drained: SHORT_IS_DRAINED && short })
}

/// Sends all of `rest`, which shrinks by what was sent.
fn write_all<S: Socket>(io: &S, rest: &mut &[u8]) -> io::Result<Done<()>> {
    while !rest.is_empty() {
        let done = write(io, rest)?;
        if done.value == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *rest = &rest[done.value..];
        if done.drained {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
    Ok(Done { value: (), drained: false })
}

/// The future of `read`.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Read<'a, S> {
    op: Exclusive<'a, S>,
    buf: &'a mut [u8],
}

/// The future of `write`.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Write<'a, S> {
    op: Exclusive<'a, S>,
    buf: &'a [u8],
}

/// The future of `write_all`.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct WriteAll<'a, S> {
    op: Exclusive<'a, S>,
    rest: &'a [u8],
}

/// The future of `shutdown`.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct ShutDown<'a, S> {
    io: &'a S,
    wait: Wait,
    how: Shutdown,
}

impl<S: Socket> Future for Read<'_, S> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, buf } = self.get_mut();
        if buf.is_empty() {
            return op.poll_nothing(cx).map_ok(|()| 0);
        }
        op.poll(cx, |io| read(io, buf))
    }
}

impl<S: Socket> Future for Write<'_, S> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, buf } = self.get_mut();
        if buf.is_empty() {
            return op.poll_nothing(cx).map_ok(|()| 0);
        }
        op.poll(cx, |io| write(io, buf))
    }
}

impl<S: Socket> Future for WriteAll<'_, S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, rest } = self.get_mut();
        if rest.is_empty() {
            return op.poll_nothing(cx);
        }
        op.poll(cx, |io| write_all(io, rest))
    }
}

impl<S: Socket> Future for ShutDown<'_, S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.wait.poll_entry(cx))?;
        Poll::Ready(self.io.end(self.how))
    }
}

impl<S> fmt::Debug for Read<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Write<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for WriteAll<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAll").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ShutDown<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutDown").finish_non_exhaustive()
    }
}
