//! One watched descriptor: tokio's events, one at a time.
//!
//! What tokio has to say of a direction is taken there at once, with tokio's own tick, so nothing of tokio's has to be
//! kept. On a multi-thread runtime several threads take events from the system, and one may be late with an event that
//! was there before a clear: there it is a hint.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle as RuntimeHandle, RuntimeFlavor};
use tokio::task::coop::unconstrained;
use trine_backend::adapter::{Direction, Event, Events, is_ready};

/// See the module.
#[derive(Debug)]
pub(crate) struct Watched {
    fd: AsyncFd<RawFd>,
    /// What an event is that is not the end of a direction.
    event: Event,
}

impl Watched {
    /// Registers with the runtime that was entered; panics if that has no I/O.
    ///
    /// The descriptor stays open until this is dropped, by the contract of `Handle::register`; tokio's newer
    /// constructors ask for the same in an `unsafe fn`. Should a caller break it, tokio keeps what the system may still
    /// point to.
    #[allow(deprecated, reason = "the successor is unsafe, and newer than the oldest tokio that is supported")]
    pub(crate) fn new(source: &impl AsRawFd) -> io::Result<Self> {
        let fd = AsyncFd::with_interest(source.as_raw_fd(), Interest::READABLE | Interest::WRITABLE)?;
        let is_alone = RuntimeHandle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        Ok(Self { fd, event: if is_alone { Event::Ready } else { Event::Hint } })
    }
}

impl Events for Watched {
    fn poll_event(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let polled = pin!(unconstrained(poll_fn(|cx| match direction {
            Direction::Read => self.fd.poll_read_ready(cx),
            Direction::Write => self.fd.poll_write_ready(cx),
        })));
        // Nothing but a shutdown makes it fail.
        let mut guard = ready!(polled.poll(cx)).map_err(|_| trine_backend::gone())?;
        let is_closed = match direction {
            Direction::Read => guard.ready().is_read_closed(),
            Direction::Write => guard.ready().is_write_closed(),
        };
        guard.clear_ready();
        Poll::Ready(Ok(if is_closed { Event::Hangup } else { self.event }))
    }

    fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        is_ready(&self.fd, direction)
    }
}
