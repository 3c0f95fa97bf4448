//! One watched descriptor: tokio's events made into lasting readiness.
//!
//! Each poll takes over what tokio has to say of its direction: it is cleared there at once, with tokio's own tick, and
//! kept in a [`Level`] until the caller clears that. So nothing of tokio's has to be kept between poll and clear, and an
//! event that comes in between waits at tokio for the next poll.
//!
//! Where several threads take events from the system, one may be late with an event that was there before a clear. So on
//! a multi-thread runtime the system is asked whether an event is still true (law L15).

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::RuntimeFlavor;
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
    /// Events may be late.
    checks: bool,
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
        let checks = handle.runtime().runtime_flavor() != RuntimeFlavor::CurrentThread;
        Ok(Self { lanes: Default::default(), source, handle, checks })
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let Lane { relay, level } = &self.lanes[direction as usize];
        relay.poll(cx, |cx| {
            while let Poll::Ready(event) = self.take_over(direction, cx) {
                let closed = event?;
                if closed || !self.checks || is_ready(&self.source, direction)? {
                    level.raise(closed);
                    break;
                }
            }
            level.tick().map_or(Poll::Pending, |tick| Poll::Ready(Ok(tick)))
        })
    }

    /// Takes what tokio has for a direction: whether that is closed.
    fn take_over(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
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
        Poll::Ready(Ok(closed))
    }
}

/// Asks the system, without waiting.
fn is_ready(source: &AsyncFd<RawFd>, direction: Direction) -> io::Result<bool> {
    let flags = match direction {
        Direction::Read => PollFlags::IN | PollFlags::PRI,
        Direction::Write => PollFlags::OUT,
    };
    // Errors and hang-ups are told unasked.
    let mut asked = [PollFd::new(source, flags)];
    loop {
        match poll(&mut asked, Some(&Timespec::default())) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
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
