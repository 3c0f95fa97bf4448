//! A host's events, made into readiness that lasts until it is cleared.
//!
//! Each poll that finds nothing known takes over what the host has to say of its direction, and keeps it in a [`Level`] until
//! the caller clears that. So nothing of the host's is kept between poll and clear, and an event that comes in between waits
//! at the host for the next poll.
//!
//! Not every host is to be believed. Where several threads take events from the system, one may be late with an event that
//! was there before a clear; others report what came before the interest was armed by a wake alone, or not at all. There the
//! system is asked what is true, with `poll(2)` (laws 14 and 15).

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::life::Member;
use super::{Direction, Life};
use crate::{Level, Readiness, Relay, Tick, gone};

/// What a host says of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is ready.
    Ready,
    /// It is ready for good, and no further event will say so: the tick is marked as a [hang-up](Tick::is_hangup).
    Hangup,
    /// It was ready at some time since it was registered: the system is to be asked.
    Hint,
}

/// One source that a host watches in both directions, until this is dropped.
pub trait Events: Send + Sync + Debug {
    /// Takes the next event of a direction: each is reported once. `Pending` has stored the waker in place of the last one
    /// for this direction.
    ///
    /// # Errors
    ///
    /// What the host says about the registration; [`gone`] if that ended.
    fn poll_event(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Event>>;

    /// Asks the system whether a direction is ready now, in truth: by [`is_ready`](super::is_ready).
    ///
    /// # Errors
    ///
    /// What the system said.
    fn is_ready(&self, direction: Direction) -> io::Result<bool>;

    /// Returns whether an event may be missing that came before [`poll_event`](Self::poll_event) has stored the waker: then
    /// the system is asked, too, whenever that has nothing to say.
    fn may_miss(&self) -> bool {
        false
    }
}

/// A host that watches nothing.
impl Events for Infallible {
    fn poll_event(&self, _direction: Direction, _cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        match *self {}
    }

    fn is_ready(&self, _direction: Direction) -> io::Result<bool> {
        match *self {}
    }
}

/// A [`Readiness`] of a host's [`Events`].
#[derive(Debug)]
pub struct LastingReadiness<S> {
    /// Before the source, so that the host drops no foreign waker.
    lanes: [Lane; 2],
    source: S,
}

#[derive(Debug)]
struct Lane {
    relay: Relay,
    level: Level,
    member: Member,
}

impl Lane {
    fn new(life: &Arc<Life>) -> io::Result<Self> {
        let relay = Relay::new();
        let member = Member::join(life, &relay)?;
        Ok(Self { relay, level: Level::default(), member })
    }
}

impl<S: Events> LastingReadiness<S> {
    /// Makes the readiness of what a host watches, for as long as the loop lives.
    ///
    /// # Errors
    ///
    /// The loop is gone.
    pub fn new(source: S, life: &Arc<Life>) -> io::Result<Self> {
        Ok(Self { lanes: [Lane::new(life)?, Lane::new(life)?], source })
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let Lane { relay, level, member } = &self.lanes[direction as usize];
        relay.poll(cx, |cx| {
            if member.life().has_ended() {
                return Poll::Ready(Err(gone()));
            }
            loop {
                if let Some(tick) = level.tick() {
                    return Poll::Ready(Ok(tick));
                }
                match self.source.poll_event(direction, cx)? {
                    Poll::Ready(Event::Ready) => level.raise(false),
                    Poll::Ready(Event::Hangup) => level.raise(true),
                    Poll::Ready(Event::Hint) if !self.source.is_ready(direction)? => {}
                    Poll::Pending if !self.source.may_miss() || !self.source.is_ready(direction)? => {
                        return Poll::Pending;
                    }
                    // The system has said so.
                    Poll::Ready(Event::Hint) | Poll::Pending => level.raise(false),
                }
            }
        })
    }
}

impl<S: Events> Readiness for LastingReadiness<S> {
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
        self.lanes[0].member.life().has_ended()
    }
}
