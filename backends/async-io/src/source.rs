//! One watched descriptor: the reactor wakes, the system says what is ready.
//!
//! The reactor reports an event once, and only if it was armed before the reactor went to sleep: one that comes sooner
//! wakes the waiter, who is then told to wait on (with the reactor on its own thread that can go on for ever), and one
//! that is stale by the time it is asked for is reported all the same. So its word counts for nothing but the wake. What
//! is ready is asked of the system, once for each poll that finds nothing known, after the interest is armed: what comes
//! later, wakes. A [`Level`] for each direction keeps the answer until it is cleared.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_io::Async;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use trine_backend::{Level, Readiness, Relay, Source, Tick};

use crate::life::{Life, Member};

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

#[derive(Debug)]
struct Lane {
    relay: Relay,
    level: Level,
    member: Member,
}

impl Lane {
    fn new(life: Option<&Arc<Life>>) -> io::Result<Self> {
        let relay = Relay::new();
        let member = Member::join(life, &relay)?;
        Ok(Self { relay, level: Level::default(), member })
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Read = 0,
    Write = 1,
}

impl Registration {
    pub(crate) fn new(life: Option<&Arc<Life>>, source: Source<'_>) -> io::Result<Self> {
        let lanes = [Lane::new(life)?, Lane::new(life)?];
        Ok(Self { lanes, source: Async::new_nonblocking(source.try_clone_to_owned()?)? })
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let Lane { relay, level, member } = &self.lanes[direction as usize];
        relay.poll(cx, |cx| {
            if member.has_ended() {
                return Poll::Ready(Err(trine_backend::gone()));
            }
            while level.tick().is_none() {
                let armed = match direction {
                    Direction::Read => self.source.poll_readable(cx)?,
                    Direction::Write => self.source.poll_writable(cx)?,
                };
                if is_ready(self.source.get_ref(), direction)? {
                    level.raise(false);
                } else if armed.is_pending() {
                    return Poll::Pending;
                }
            }
            level.tick().map_or(Poll::Pending, |tick| Poll::Ready(Ok(tick)))
        })
    }
}

/// Asks the system, without waiting.
fn is_ready(source: &Owned, direction: Direction) -> io::Result<bool> {
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
        self.lanes[0].member.has_ended()
    }
}
