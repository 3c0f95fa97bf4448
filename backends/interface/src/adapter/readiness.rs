//! A host's events, made into readiness that lasts until it is cleared.
//!
//! Each poll that finds nothing known takes over what the host has to say of its direction, and keeps it in a [`Level`]
//! until the caller clears that. So nothing of the host's is kept between poll and clear, and an event that comes in
//! between waits at the host for the next poll.
//!
//! Not every host is to be believed. Where several threads take events from the system, one may be late with an event
//! that was there before a clear; others report what came before the interest was armed by a wake alone, or not at all.
//! There the system is asked what is true, with `poll(2)` (laws 14 and 15).

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
    /// Takes the next event of a direction: each is reported once. `Pending` has stored the waker in place of the last
    /// one for this direction.
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

    /// Returns whether an event may be missing that came before [`poll_event`](Self::poll_event) has stored the waker:
    /// then the system is asked, too, whenever that has nothing to say.
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

#[cfg(test)]
mod tests {
    use super::super::support::{Count, race_with_the_end};
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::Waker;

    /// A source with a script for reading; nothing is ever to be written.
    #[derive(Debug, Default)]
    struct Scripted {
        events: Mutex<VecDeque<io::Result<Event>>>,
        /// What the system says.
        is_ready: AtomicBool,
        asked: AtomicUsize,
        may_miss: bool,
        /// Ends when there is nothing to report.
        ends: Option<Arc<Life>>,
    }

    impl Events for Arc<Scripted> {
        fn poll_event(&self, direction: Direction, _cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
            let event = match direction {
                Direction::Read => self.events.lock().unwrap().pop_front(),
                Direction::Write => None,
            };
            if let (None, Some(life)) = (&event, &self.ends) {
                life.end();
            }
            event.map_or(Poll::Pending, Poll::Ready)
        }

        fn is_ready(&self, direction: Direction) -> io::Result<bool> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Ok(direction == Direction::Read && self.is_ready.load(Ordering::SeqCst))
        }

        fn may_miss(&self) -> bool {
            self.may_miss
        }
    }

    impl Scripted {
        fn watched(self) -> (Arc<Self>, LastingReadiness<Arc<Self>>, Arc<Life>) {
            let (source, life) = (Arc::new(self), Arc::default());
            (Arc::clone(&source), LastingReadiness::new(source, &life).unwrap(), life)
        }

        fn report(&self, event: Event) {
            self.events.lock().unwrap().push_back(Ok(event));
        }
    }

    fn read(readiness: &impl Readiness) -> Poll<io::Result<Tick>> {
        readiness.poll_readable(&mut Context::from_waker(Waker::noop()))
    }

    /// The tick, of what must be ready.
    fn tick(readiness: &impl Readiness) -> Tick {
        match read(readiness) {
            Poll::Ready(Ok(tick)) => tick,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn l15_a_hint_that_is_not_true_is_passed_over() {
        let (source, readiness, _life) = Scripted::default().watched();
        source.report(Event::Hint);
        source.report(Event::Hint);
        assert!(read(&readiness).is_pending());
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
        source.is_ready.store(true, Ordering::SeqCst);
        assert!(read(&readiness).is_pending(), "this host misses nothing, and has said nothing");
        source.report(Event::Hint);
        assert!(!tick(&readiness).is_hangup());
    }

    #[test]
    fn l14_the_system_is_asked_where_a_host_may_miss_an_event() {
        let (source, readiness, _life) = Scripted { may_miss: true, ..Scripted::default() }.watched();
        assert!(read(&readiness).is_pending());
        source.is_ready.store(true, Ordering::SeqCst);
        let first = tick(&readiness);
        assert_eq!((tick(&readiness), source.asked.load(Ordering::SeqCst)), (first, 2), "what is known is not asked");
        readiness.clear_readable(first);
        assert_ne!(tick(&readiness), first);
    }

    #[test]
    fn l17_readiness_lasts_until_it_is_cleared_and_comes_back_with_the_next_event() {
        let (source, readiness, _life) = Scripted::default().watched();
        source.report(Event::Ready);
        let old = tick(&readiness);
        assert_eq!(tick(&readiness), old);
        readiness.clear_readable(old);
        assert!(read(&readiness).is_pending());
        source.report(Event::Hangup);
        let new = tick(&readiness);
        readiness.clear_readable(old);
        assert!(tick(&readiness) == new && new.is_hangup(), "an old tick clears nothing");
        assert_eq!(source.asked.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn l17_an_event_between_poll_and_clear_waits_at_the_host() {
        let (source, readiness, _life) = Scripted::default().watched();
        source.report(Event::Ready);
        let old = tick(&readiness);
        source.report(Event::Ready);
        readiness.clear_readable(old);
        assert_ne!(tick(&readiness), old);
    }

    #[test]
    fn l19_the_directions_have_nothing_to_do_with_each_other() {
        let (source, readiness, _life) = Scripted::default().watched();
        let cx = &mut Context::from_waker(Waker::noop());
        source.report(Event::Ready);
        assert!(readiness.poll_writable(cx).is_pending());
        let read = tick(&readiness);
        readiness.clear_writable(read);
        assert_eq!(tick(&readiness), read);
    }

    #[test]
    fn an_error_of_the_host_is_the_callers() {
        let (source, readiness, _life) = Scripted::default().watched();
        source.events.lock().unwrap().push_back(Err(io::ErrorKind::OutOfMemory.into()));
        assert!(matches!(read(&readiness), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory));
        assert!(read(&readiness).is_pending() && !readiness.is_dead());
    }

    #[test]
    fn l30_the_end_wakes_both_waiters_and_then_all_is_an_error() {
        let (source, readiness, life) = Scripted::default().watched();
        let ([reader, writer], cx) = ([(); 2].map(|()| Count::new()), &mut Context::from_waker(Waker::noop()));
        assert!(readiness.poll_readable(&mut Context::from_waker(&reader.1)).is_pending());
        assert!(readiness.poll_writable(&mut Context::from_waker(&writer.1)).is_pending());
        source.report(Event::Ready);
        life.end();
        assert_eq!((reader.0.get(), writer.0.get()), (1, 1));
        assert!(matches!(readiness.poll_readable(cx), Poll::Ready(Err(_))));
        assert!(matches!(readiness.poll_writable(cx), Poll::Ready(Err(_))));
        assert!(readiness.is_dead() && LastingReadiness::new(source, &life).is_err());
    }

    #[test]
    fn l30_an_end_in_the_midst_of_a_poll_is_found_by_it() {
        let life = Arc::default();
        let source = Arc::new(Scripted { ends: Some(Arc::clone(&life)), ..Scripted::default() });
        let readiness = LastingReadiness::new(source, &life).unwrap();
        assert!(matches!(read(&readiness), Poll::Ready(Err(_))));
    }

    #[test]
    fn l30_an_end_that_races_with_a_poll_is_not_missed() {
        let make = |life: &Arc<Life>| LastingReadiness::new(Arc::new(Scripted::default()), life).unwrap();
        race_with_the_end(make, |readiness, cx| readiness.poll_readable(cx).is_ready());
    }
}
