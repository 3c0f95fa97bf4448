//! One watched descriptor: tokio's events made into lasting readiness.
//!
//! Each poll takes over what tokio has to say of its direction: it is cleared there at once, with tokio's own tick, and
//! kept in a [`Level`] until the caller clears that. So nothing of tokio's has to be kept between poll and clear, and an
//! event that comes in between waits at tokio for the next poll.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::unconstrained;
use trine_backend::{Level, Readiness, Relay, Source, Tick};

use crate::runtime::TokioHandle;

/// Registers with the runtime that was entered; panics if that has no I/O.
///
/// The descriptor stays open until this is dropped, by the contract of `Handle::register`; tokio's newer constructors ask
/// for the same in an `unsafe fn`. Should a caller break it, tokio keeps what the system may still point to.
#[allow(deprecated, reason = "the successor is unsafe, and newer than the oldest tokio that is supported")]
pub(crate) fn watch(source: &impl AsRawFd) -> io::Result<AsyncFd<RawFd>> {
    AsyncFd::with_interest(source.as_raw_fd(), Interest::READABLE | Interest::WRITABLE)
}

/// A registration: ends when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Before the source, so that tokio drops no foreign waker.
    lanes: [Lane; 2],
    source: AsyncFd<RawFd>,
    handle: Arc<TokioHandle>,
}

#[derive(Debug, Default)]
struct Lane {
    relay: Relay,
    level: Level,
}

#[derive(Clone, Copy)]
enum Direction {
    Read = 0,
    Write = 1,
}

impl Registration {
    pub(crate) fn new(handle: Arc<TokioHandle>, source: Source<'_>) -> io::Result<Self> {
        let source = {
            let _inside = handle.runtime().enter();
            watch(&source)?
        };
        Ok(Self { lanes: Default::default(), source, handle })
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let Lane { relay, level } = &self.lanes[direction as usize];
        relay.poll(cx, |cx| {
            if let Poll::Ready(result) = self.take_over(direction, level, cx) {
                result?;
            }
            level.tick().map_or(Poll::Pending, |tick| Poll::Ready(Ok(tick)))
        })
    }

    /// Takes over what tokio has for a direction.
    fn take_over(&self, direction: Direction, level: &Level, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handle.is_dead() {
            return Poll::Ready(Err(trine_backend::gone()));
        }
        let polled = pin!(unconstrained(std::future::poll_fn(|cx| match direction {
            Direction::Read => self.source.poll_read_ready(cx),
            Direction::Write => self.source.poll_write_ready(cx),
        })));
        // Nothing but a shutdown makes it fail.
        let mut event = ready!(polled.poll(cx)).map_err(|_| trine_backend::gone())?;
        let closed = match direction {
            Direction::Read => event.ready().is_read_closed(),
            Direction::Write => event.ready().is_write_closed(),
        };
        event.clear_ready();
        level.raise(closed);
        Poll::Ready(Ok(()))
    }
}

impl Readiness for Registration {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.poll(Direction::Read, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.poll(Direction::Write, cx)
    }

    fn clear_readable(&self, tick: Tick) {
        self.lanes[Direction::Read as usize].level.clear(tick);
    }

    fn clear_writable(&self, tick: Tick) {
        self.lanes[Direction::Write as usize].level.clear(tick);
    }

    fn is_dead(&self) -> bool {
        self.handle.is_dead()
    }
}
