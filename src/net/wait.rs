//! The checkpoint around an operation on a [`Source`]: the entry check, cancellation of the wait, one task in each
//! direction.
//!
//! A wait has two wakers in flight: the loop holds one for news of the descriptor, [`Parked`] one for a cancel. When
//! polled again, the descriptor is asked first, so that an operation that can be completed beats a cancel that came
//! with it.

use std::io;
use std::panic::Location;
use std::task::{Context, Poll, ready};

use super::contend::{self, Contenders};
use super::source::{AsSource, Direction, Done, Source};
use crate::run::{self, Outside};
use crate::task::park::{self, Entry, Op, Parked};

/// The state of one checkpoint operation on a source.
#[derive(Debug)]
pub(crate) struct Wait {
    direction: Direction,
    /// What the task tree shows.
    op: Op,
    at: &'static Location<'static>,
    /// `None`: entered.
    entry: Option<Entry>,
    /// While it is pending.
    parked: Option<Parked>,
    /// Likewise: a virtual clock hears that something outside may end the wait.
    outside: Option<Outside>,
}

impl Wait {
    pub(crate) fn new(direction: Direction, op: Op, at: &'static Location<'static>) -> Self {
        Self { direction, op, at, entry: Some(Entry::new()), parked: None, outside: None }
    }

    /// As [`new`](Self::new), for the second half of an operation whose first half was the checkpoint.
    pub(crate) fn entered(direction: Direction, op: Op, at: &'static Location<'static>) -> Self {
        Self { entry: None, ..Self::new(direction, op, at) }
    }

    /// Performs the entry check, once.
    #[inline]
    pub(crate) fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(entry) = &mut self.entry {
            let entered = ready!(entry.poll(cx));
            self.entry = None;
            entered?;
        }
        Poll::Ready(Ok(()))
    }

    /// Tries `attempt` until it does not block, or the wait is cancelled.
    pub(crate) fn poll<S: AsSource, T>(
        &mut self,
        cx: &mut Context<'_>,
        source: &Source<S>,
        attempt: impl FnMut(&S) -> io::Result<Done<T>>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_entry(cx))?;
        match source.poll(self.direction, cx, attempt) {
            Poll::Ready(result) => {
                self.end();
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_parked(cx).map(Err),
        }
    }

    /// Waits for a cancel.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let cancelled = match &self.parked {
            Some(parked) if parked.is_cancelled() => true,
            Some(parked) if parked.is_current(cx) => false,
            _ => {
                self.outside = run::outside();
                self.parked.insert(Parked::new(cx, self.op, self.at)).is_cancelled()
            }
        };
        if cancelled {
            self.end();
            return Poll::Ready(park::cancelled().into());
        }
        Poll::Pending
    }

    /// The wait is over.
    #[inline]
    fn end(&mut self) {
        if self.parked.is_some() {
            self.parked = None;
        }
        if self.outside.is_some() {
            self.outside = None;
        }
    }
}

/// One direction of a source, for the poll-based operations in it.
pub(crate) struct Side<'a, S> {
    pub(crate) source: &'a Source<S>,
    pub(crate) direction: Direction,
}

impl<S> contend::Lane for Side<'_, S> {
    type Wait = Wait;

    fn claim(&self) -> bool {
        self.source.claim(self.direction)
    }

    fn release(&self) {
        self.source.release(self.direction);
    }

    fn exchange(&self, contenders: Contenders<Wait>) -> Contenders<Wait> {
        self.source.exchange_contenders(self.direction, contenders)
    }

    /// The descriptor is asked in any case.
    fn turned(_: &mut Wait) {}
}

/// An operation that has its direction of a source to itself from its first poll on.
#[derive(Debug)]
pub(crate) struct Exclusive<'a, S> {
    source: &'a Source<S>,
    wait: Wait,
    claimed: bool,
}

impl<'a, S> Exclusive<'a, S> {
    pub(crate) fn new(source: &'a Source<S>, wait: Wait) -> Self {
        Self { source, wait, claimed: false }
    }

    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&S) -> io::Result<Done<T>>,
    ) -> Poll<io::Result<T>>
    where
        S: AsSource,
    {
        if !self.claimed {
            ready!(self.wait.poll_entry(cx))?;
            if !self.source.claim(self.wait.direction) {
                return Poll::Ready(Err(busy()));
            }
            self.claimed = true;
            if self.source.has_contenders() {
                contend::displace(&Side { source: self.source, direction: self.wait.direction });
            }
        }
        let result = ready!(self.wait.poll(cx, self.source, attempt));
        self.release();
        Poll::Ready(result)
    }

    /// For an operation that has nothing to move: only a checkpoint. The direction may be in use, or not ready for long.
    #[cold]
    pub(crate) fn poll_nothing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait.poll_entry(cx)
    }

    fn release(&mut self) {
        if self.claimed {
            self.claimed = false;
            self.source.release(self.wait.direction);
        }
    }
}

impl<S> Drop for Exclusive<'_, S> {
    fn drop(&mut self) {
        self.release();
    }
}

/// The error of the second task in one direction.
pub(crate) fn busy() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another task waits for the same here: use it in one task at a time, or share it through a `Mutex`",
    )
}
