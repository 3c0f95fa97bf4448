//! One timer and one watched descriptor of the reactor.
//!
//! The reactor reports an event once, and only if it was armed before the reactor went to sleep: one that comes sooner
//! wakes the waiter, who is then told to wait on (with the reactor on its own thread that can go on for ever), and one
//! that is stale by the time it is asked for is reported all the same. So its word counts for nothing but the wake.
//! What is ready is asked of the system, once for each poll that finds nothing known, after the interest is armed: what
//! comes later, wakes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use trine_backend::Source;
use trine_backend::adapter::{self, Direction, Event, Events, OwnedSource};

/// See the module. The reactor compares with the clock before it says that a timer is due, so none is early.
#[derive(Debug)]
pub(crate) struct ReactorTimer(Timer);

impl ReactorTimer {
    pub(crate) fn new() -> Self {
        Self(Timer::never())
    }
}

impl adapter::Timer for ReactorTimer {
    fn set(&mut self, left: Duration) {
        self.0.set_after(left);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// See the module. It has a duplicate, which is closed with it.
#[derive(Debug)]
pub(crate) struct Watched(Async<OwnedSource>);

impl Watched {
    pub(crate) fn new(source: Source<'_>) -> io::Result<Self> {
        Async::new_nonblocking(source.try_clone_to_owned()?).map(Self)
    }
}

impl Events for Watched {
    fn poll_event(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        ready!(match direction {
            Direction::Read => self.0.poll_readable(cx),
            Direction::Write => self.0.poll_writable(cx),
        })?;
        Poll::Ready(Ok(Event::Hint))
    }

    fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        adapter::is_ready(&self.0, direction)
    }

    fn may_miss(&self) -> bool {
        true
    }
}
