//! Who waits for what, and the look.
//!
//! Invariants:
//!
//! 1. no waker is cloned, woken or dropped with the lock held (law 31): what comes out of a slot is handed out of the
//!    locked part;
//! 2. keys are never reused, so what a look found for a registration that has ended reaches nobody (law 23);
//! 3. whoever adds something to wait for interrupts the look that may be going on (laws 12 and 14).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use trine_backend::{Level, wake_all};

#[derive(Debug)]
pub(crate) struct Table {
    waiting: Mutex<Waiting>,
    last_key: AtomicU64,
    dead: AtomicBool,
    /// A byte is in the pair.
    interrupted: AtomicBool,
    reader: UnixStream,
    writer: UnixStream,
}

#[derive(Debug, Default)]
struct Waiting {
    alarms: BTreeMap<u64, (Instant, Waker)>,
    /// By registration and direction.
    sources: BTreeMap<(u64, Direction), (Arc<Source>, Waker)>,
}

/// One registration.
#[derive(Debug)]
pub(crate) struct Source {
    /// A duplicate, so that it is open for as long as somebody looks at it.
    pub(crate) fd: OwnedFd,
    /// What is known of each direction, until it is cleared (laws 16 to 19).
    pub(crate) levels: [Level; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

impl Direction {
    fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::IN | PollFlags::PRI,
            Self::Write => PollFlags::OUT,
        }
    }
}

impl Source {
    /// Asks the system without waiting; errors and hang-ups are told unasked (law 20).
    pub(crate) fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        Ok(ask(&mut [PollFd::new(&self.fd, direction.flags())], Some(Duration::ZERO))? > 0)
    }
}

/// `poll(2)`, again after a signal.
fn ask(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout
        .map(|t| Timespec { tv_sec: t.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: t.subsec_nanos().into() });
    loop {
        match poll(fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

impl Table {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self {
            waiting: Mutex::default(),
            last_key: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            reader,
            writer,
        })
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.last_key.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the look of the loop that is going on, or else the next one.
    pub(crate) fn interrupt(&self) {
        if !self.interrupted.swap(true, Ordering::SeqCst) {
            // A full pair has a byte in it, too.
            let _ = (&self.writer).write(&[0]);
        }
    }

    /// Lets this alarm wake, in place of what it did before (law 13). `None`: it does not any more.
    pub(crate) fn set_alarm(&self, key: u64, alarm: Option<(Instant, Waker)>) {
        let is_set = alarm.is_some();
        let old = match alarm {
            Some(alarm) => self.lock().alarms.insert(key, alarm),
            None => self.lock().alarms.remove(&key),
        };
        drop(old);
        if is_set {
            self.interrupt();
        }
    }

    /// As [`set_alarm`](Self::set_alarm), for one direction of a source.
    pub(crate) fn set_source(&self, key: (u64, Direction), source: Option<(Arc<Source>, Waker)>) {
        let old = match source {
            Some(source) => self.lock().sources.insert(key, source),
            None => self.lock().sources.remove(&key),
        };
        drop(old);
        // If it is gone, too: a look may still hold its duplicate open.
        self.interrupt();
    }

    /// The loop's look: wakes whom it concerns, and sleeps until there is somebody, if it may.
    pub(crate) fn look(&self, may_sleep: bool) -> io::Result<()> {
        let timeout = if may_sleep { None } else { Some(Duration::ZERO) };
        self.look_with(Some(&self.reader), timeout)
    }

    /// A look of anybody, at once. It leaves the interrupt to the loop, which may be asleep.
    pub(crate) fn glance(&self) -> io::Result<()> {
        self.look_with(None, Some(Duration::ZERO))
    }

    fn look_with(&self, interrupt: Option<&UnixStream>, timeout: Option<Duration>) -> io::Result<()> {
        let (sources, next) = {
            let waiting = self.lock();
            let sources: Vec<_> = waiting.sources.iter().map(|(key, (source, _))| (*key, Arc::clone(source))).collect();
            (sources, waiting.alarms.values().map(|(at, _)| *at).min())
        };
        let timeout = timeout.or_else(|| next.map(|at| at.saturating_duration_since(Instant::now())));
        let mut fds: Vec<_> =
            sources.iter().map(|((_, direction), source)| PollFd::new(&source.fd, direction.flags())).collect();
        fds.extend(interrupt.map(|reader| PollFd::new(reader, PollFlags::IN)));
        ask(&mut fds, timeout)?;
        if let (Some(mut reader), Some(fd)) = (interrupt, fds.get(sources.len())) {
            if !fd.revents().is_empty() {
                // What is changed after this is seen by the next look, which reads the table anew.
                while matches!(reader.read(&mut [0; 8]), Ok(n) if n > 0) {}
                self.interrupted.store(false, Ordering::SeqCst);
            }
        }
        let told = sources.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        let told: Vec<_> = told.map(|((key, source), _)| (*key, Arc::clone(source))).collect();
        self.wake(&told);
        Ok(())
    }

    /// Wakes who waits for these directions, and whose alarm is due.
    fn wake(&self, told: &[((u64, Direction), Arc<Source>)]) {
        let now = Instant::now();
        let mut wakers = Vec::new();
        {
            let mut waiting = self.lock();
            for (key, source) in told {
                if let Some((_, waker)) = waiting.sources.remove(key) {
                    source.levels[key.1 as usize].raise(false);
                    wakers.push(waker);
                }
            }
            let due: Vec<_> = waiting.alarms.iter().filter(|(_, (at, _))| *at <= now).map(|(key, _)| *key).collect();
            wakers.extend(due.iter().filter_map(|key| waiting.alarms.remove(key)).map(|(_, waker)| waker));
        }
        wake_all(wakers);
    }

    /// Law 30: wakes all who wait.
    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.lock());
        let alarms = waiting.alarms.into_values().map(|(_, waker)| waker);
        wake_all(alarms.chain(waiting.sources.into_values().map(|(_, waker)| waker)));
    }
}
