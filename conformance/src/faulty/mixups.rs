//! Registrations that are taken for each other: against L23 and L24.

use super::Fault;
use super::wrap::{Twist, twisted};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use trine_backend::{Handle, Readiness, Source, Tick};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "event-of-an-ended-registration-reaches-another",
        law: "L23",
        noticed_by: "laws::registration::waker_may_replace_a_source_of_the_same_batch",
        wrap: |inner| twisted(inner, Haunted::default()),
    },
    Fault {
        name: "second-registration-is-silent",
        law: "L24",
        noticed_by: "laws::registration::second_registration_is_refused_or_independent",
        wrap: |inner| twisted(inner, Silent),
    },
];

/// Registrations that have ended, and still speak.
type Ghosts = Arc<Mutex<Vec<Box<dyn Readiness>>>>;

#[derive(Default)]
struct Haunted(Ghosts);

#[derive(Debug)]
struct Medium {
    ghosts: Ghosts,
    /// `None` only while it is dropped.
    inner: Option<Box<dyn Readiness>>,
}

impl Twist for Haunted {
    fn readiness(&self, inner: Box<dyn Readiness>) -> Box<dyn Readiness> {
        Box::new(Medium { ghosts: Arc::clone(&self.0), inner: Some(inner) })
    }
}

impl Medium {
    fn inner(&self) -> &dyn Readiness {
        &**self.inner.as_ref().expect("alive")
    }
}

impl Readiness for Medium {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        for ghost in &*self.ghosts.lock().unwrap_or_else(PoisonError::into_inner) {
            let polled = ghost.poll_readable(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                return polled;
            }
        }
        self.inner().poll_readable(cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.inner().poll_writable(cx)
    }

    fn clear_readable(&self, tick: Tick) {
        self.inner().clear_readable(tick);
    }

    fn clear_writable(&self, tick: Tick) {
        self.inner().clear_writable(tick);
    }

    fn is_dead(&self) -> bool {
        self.inner().is_dead()
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
        ghosts.extend(self.inner.take());
    }
}

/// Accepts a second registration, of which nothing is ever heard.
struct Silent;

#[derive(Debug)]
struct Never;

impl Twist for Silent {
    fn register(&self, handle: &dyn Handle, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        match handle.register(source) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Box::new(Never)),
            other => other,
        }
    }
}

impl Readiness for Never {
    fn poll_readable(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        Poll::Pending
    }

    fn poll_writable(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        Poll::Pending
    }

    fn clear_readable(&self, _tick: Tick) {}

    fn clear_writable(&self, _tick: Tick) {}

    fn is_dead(&self) -> bool {
        false
    }
}
