//! The services: fronts of the table, for any thread.

use crate::table::{Direction, Source, Table};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;
use trine_backend::{Alarm, Handle, Job, Level, Readiness, Tick, gone};

#[derive(Debug)]
pub(crate) struct PollHandle(pub(crate) Arc<Table>);

impl Handle for PollHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        if self.0.is_dead() {
            return Err(gone());
        }
        Ok(Box::new(PollAlarm { table: Arc::clone(&self.0), key: self.0.next_key(), at: None }))
    }

    fn register(&self, source: trine_backend::Source<'_>) -> io::Result<Box<dyn Readiness>> {
        if self.0.is_dead() {
            return Err(gone());
        }
        // Each registration has a duplicate of its own, so that a second one is independent (law 24).
        let source = Source { fd: source.try_clone_to_owned()?, levels: <[Level; 2]>::default() };
        Ok(Box::new(Registration { table: Arc::clone(&self.0), key: self.0.next_key(), source: Arc::new(source) }))
    }

    /// A thread for each job: there is no bound to keep (law 25), and a panic ends that thread only (law 26).
    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        thread::Builder::new().name("trine-job".to_owned()).spawn(job).map(drop)
    }

    /// Whoever asks looks (laws 27 and 28).
    fn poll_turn(&self, _cx: &mut Context<'_>, _round: u32) -> Poll<()> {
        // What is wrong with the look, the loop will say.
        let _ = self.0.glance();
        Poll::Ready(())
    }
}

#[derive(Debug)]
struct PollAlarm {
    table: Arc<Table>,
    key: u64,
    at: Option<Instant>,
}

impl Alarm for PollAlarm {
    fn set(&mut self, at: Option<Instant>) {
        self.at = at;
        self.table.set_alarm(self.key, None);
    }

    /// Decided by the clock alone: never early, and ready for good (laws 8, 10 and 11).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.at {
            Some(at) if Instant::now() >= at => return Poll::Ready(()),
            Some(at) => self.table.set_alarm(self.key, Some((at, cx.waker().clone()))),
            None => {}
        }
        if self.table.is_dead() {
            // It ended before or meanwhile: whoever polls again finds it dead.
            self.table.set_alarm(self.key, None);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_dead(&self) -> bool {
        self.table.is_dead()
    }
}

impl Drop for PollAlarm {
    fn drop(&mut self) {
        self.table.set_alarm(self.key, None);
    }
}

#[derive(Debug)]
struct Registration {
    table: Arc<Table>,
    key: u64,
    source: Arc<Source>,
}

impl Registration {
    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let (level, key) = (&self.source.levels[direction as usize], (self.key, direction));
        if self.table.is_dead() {
            return Poll::Ready(Err(gone()));
        }
        if level.tick().is_none() {
            // First the waker, then the question: what comes later, a look finds (law 14).
            self.table.set_source(key, Some((Arc::clone(&self.source), cx.waker().clone())));
            if self.source.is_ready(direction)? {
                self.table.set_source(key, None);
                level.raise(false);
            } else if self.table.is_dead() {
                self.table.set_source(key, None);
                return Poll::Ready(Err(gone()));
            }
        }
        level.tick().map_or(Poll::Pending, |tick| Poll::Ready(Ok(tick)))
    }
}

/// What lasts is found again by the next question after a clear, so no tick need say that it is the last (law 21).
impl Readiness for Registration {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.poll(Direction::Read, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.poll(Direction::Write, cx)
    }

    fn clear_readable(&self, tick: Tick) {
        self.source.levels[Direction::Read as usize].clear(tick);
    }

    fn clear_writable(&self, tick: Tick) {
        self.source.levels[Direction::Write as usize].clear(tick);
    }

    fn is_dead(&self) -> bool {
        self.table.is_dead()
    }
}

impl Drop for Registration {
    /// Law 22.
    fn drop(&mut self) {
        for direction in [Direction::Read, Direction::Write] {
            self.table.set_source((self.key, direction), None);
        }
    }
}
