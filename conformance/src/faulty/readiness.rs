//! Registrations that break L14 to L22.

use super::Fault;
use super::wrap::{Twist, twisted};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use trine_backend::{Readiness, Tick};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "readiness-before-the-first-poll-is-lost",
        law: "L14",
        noticed_by: "laws::readiness::data_between_registration_and_poll_is_reported",
        wrap: |inner| twisted(inner, Twisting(Kind::LosesTheFirst)),
    },
    Fault {
        name: "readiness-is-invented",
        law: "L15",
        noticed_by: "laws::readiness::quiet_source_is_not_ready",
        wrap: |inner| twisted(inner, Twisting(Kind::Invents)),
    },
    Fault {
        name: "readiness-is-used-up-by-a-poll",
        law: "L16",
        noticed_by: "laws::readiness::readiness_lasts_until_it_is_cleared",
        wrap: |inner| twisted(inner, Twisting(Kind::UsedUp)),
    },
    Fault {
        name: "readiness-is-stale",
        law: "L17",
        noticed_by: "laws::readiness::cleared_source_waits_for_more_data",
        wrap: |inner| twisted(inner, Twisting(Kind::Stale)),
    },
    Fault {
        name: "old-tick-clears-news",
        law: "L18",
        noticed_by: "laws::readiness::clear_with_an_old_tick_does_nothing",
        wrap: |inner| twisted(inner, Twisting(Kind::ClearsNews)),
    },
    Fault {
        name: "directions-are-cleared-together",
        law: "L19",
        noticed_by: "laws::readiness::clear_of_one_direction_leaves_the_other",
        wrap: |inner| twisted(inner, Twisting(Kind::ClearsBoth)),
    },
    Fault {
        name: "end-does-not-wake-the-writer",
        law: "L20",
        noticed_by: "laws::registration::hangup_wakes_reader_and_writer",
        wrap: |inner| twisted(inner, Twisting(Kind::DeafWriter)),
    },
    Fault {
        name: "tick-does-not-tell-the-end",
        law: "L21",
        noticed_by: "laws::registration::end_is_announced_with_the_data_before_it",
        wrap: |inner| twisted(inner, Twisting(Kind::HidesTheEnd)),
    },
    Fault {
        name: "registration-is-leaked-on-drop",
        law: "L22",
        noticed_by: "laws::registration::ended_registration_wakes_nobody",
        wrap: |inner| twisted(inner, Twisting(Kind::Leaks)),
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What is ready at the first poll is forgotten.
    LosesTheFirst,
    /// Says of a reader what is true of the writer.
    Invents,
    /// A poll clears.
    UsedUp,
    /// A clear does nothing.
    Stale,
    /// A clear takes whatever is newest.
    ClearsNews,
    /// A clear takes both directions.
    ClearsBoth,
    /// Keeps no waker of a writer.
    DeafWriter,
    /// Has no tick that says `is_hangup`.
    HidesTheEnd,
    /// Goes on after its drop.
    Leaks,
}

struct Twisting(Kind);

impl Twist for Twisting {
    fn readiness(&self, inner: Box<dyn Readiness>) -> Box<dyn Readiness> {
        Box::new(Faulty { kind: self.0, inner: Some(inner), polled: AtomicBool::new(false) })
    }
}

#[derive(Debug)]
struct Faulty {
    kind: Kind,
    /// `None` only while it is dropped.
    inner: Option<Box<dyn Readiness>>,
    polled: AtomicBool,
}

impl Faulty {
    fn inner(&self) -> &dyn Readiness {
        &**self.inner.as_ref().expect("alive")
    }

    fn newest_readable(&self) -> Option<Tick> {
        match self.inner().poll_readable(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(tick)) => Some(tick),
            _ => None,
        }
    }

    fn newest_writable(&self) -> Option<Tick> {
        match self.inner().poll_writable(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(tick)) => Some(tick),
            _ => None,
        }
    }
}

impl Readiness for Faulty {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let first = !self.polled.swap(true, Ordering::SeqCst);
        if self.kind == Kind::Invents {
            return self.inner().poll_writable(cx);
        }
        let polled = self.inner().poll_readable(cx);
        if let Poll::Ready(Ok(tick)) = polled {
            match self.kind {
                Kind::LosesTheFirst if first => {
                    self.inner().clear_readable(tick);
                    return self.inner().poll_readable(cx);
                }
                Kind::UsedUp => self.inner().clear_readable(tick),
                Kind::HidesTheEnd => return Poll::Ready(Ok(tick.hangup(false))),
                _ => {}
            }
        }
        polled
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        match self.kind {
            Kind::DeafWriter => self.inner().poll_writable(&mut Context::from_waker(Waker::noop())),
            _ => self.inner().poll_writable(cx),
        }
    }

    fn clear_readable(&self, tick: Tick) {
        match self.kind {
            Kind::Stale => {}
            Kind::ClearsNews => {
                if let Some(newest) = self.newest_readable() {
                    self.inner().clear_readable(newest);
                }
            }
            Kind::ClearsBoth => {
                self.inner().clear_readable(tick);
                if let Some(newest) = self.newest_writable() {
                    self.inner().clear_writable(newest);
                }
            }
            _ => self.inner().clear_readable(tick),
        }
    }

    fn clear_writable(&self, tick: Tick) {
        self.inner().clear_writable(tick);
    }

    fn is_dead(&self) -> bool {
        self.inner().is_dead()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let inner = self.inner.take();
        if self.kind == Kind::Leaks {
            std::mem::forget(inner);
        }
    }
}
