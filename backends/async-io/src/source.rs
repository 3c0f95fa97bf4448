//! One watched descriptor: the reactor's events made into lasting readiness.
//!
//! The reactor reports each event once, to the poll after it, and arms its interest anew at the next one. A [`Level`] for
//! each direction keeps what was reported until it is cleared; while it is there, the reactor is not asked, so nothing is
//! armed. After a clear the next poll arms, and the system reports what is ready then: no news is lost in between.

use std::io;
use std::task::{Context, Poll};

use async_io::Async;
use trine_backend::{Level, Readiness, Relay, Source, Tick};

#[cfg(unix)]
type Owned = std::os::fd::OwnedFd;
#[cfg(windows)]
type Owned = std::os::windows::io::OwnedSocket;

/// A registration: ends when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Before the source, so that the reactor drops no foreign waker.
    lanes: [Lane; 2],
    /// Of a duplicate, which is closed with it.
    source: Async<Owned>,
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
    pub(crate) fn new(source: Source<'_>) -> io::Result<Self> {
        let source = Async::new_nonblocking(source.try_clone_to_owned()?)?;
        Ok(Self { lanes: Default::default(), source })
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let Lane { relay, level } = &self.lanes[direction as usize];
        relay.poll(cx, |cx| {
            if level.tick().is_none() {
                let polled = match direction {
                    Direction::Read => self.source.poll_readable(cx)?,
                    Direction::Write => self.source.poll_writable(cx)?,
                };
                if polled.is_ready() {
                    level.raise(false);
                }
            }
            level.tick().map_or(Poll::Pending, |tick| Poll::Ready(Ok(tick)))
        })
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

    /// The reactor lives as long as the process.
    fn is_dead(&self) -> bool {
        false
    }
}
