//! `poll_turn` for event loops that cannot be asked to look: an event of one's own, after all others.
//!
//! A byte is written into a socket pair that the loop watches. Systems queue events in the order in which sources become
//! ready, so once the byte is reported, all that was ready before it has been reported, and its wakes were delivered
//! before this one: in an earlier batch, or earlier in the same.
//!
//! Invariants, under the lock:
//!
//! 1. `sent`: there is a byte in the pair, written when everybody in `flying` had asked;
//! 2. whoever asks while it is on its way is in `next`, for that byte may be older than what is ready now;
//! 3. whoever is in neither list has been answered.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::{Handle, Readiness};

/// Answers [`Handle::poll_turn`] for a loop that offers nothing but [`Handle::register`]. Unix only.
#[derive(Debug)]
pub struct Probe {
    readiness: Box<dyn Readiness>,
    shared: Arc<Shared>,
    /// What the loop wakes: `shared`.
    waker: Waker,
    reader: UnixStream,
    writer: UnixStream,
}

#[derive(Debug, Default)]
struct Shared {
    waiters: Mutex<Waiters>,
}

/// See the module. Counted wakers, since they are cloned under the lock.
#[derive(Debug, Default)]
struct Waiters {
    sent: bool,
    flying: Vec<Arc<Waker>>,
    next: Vec<Arc<Waker>>,
}

impl Probe {
    /// Makes a probe for a loop.
    ///
    /// # Errors
    ///
    /// What the system said when the pair was made, or the loop when it was registered.
    pub fn new(handle: &dyn Handle) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let readiness = handle.register(reader.as_fd())?;
        let shared = Arc::new(Shared::default());
        Ok(Self { readiness, waker: Waker::from(Arc::clone(&shared)), shared, reader, writer })
    }

    /// As [`Handle::poll_turn`]. Those who ask are told apart by their wakers.
    pub fn poll(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        if self.look().is_err() {
            // The loop is gone, and reports nothing any more.
            return Poll::Ready(());
        }
        if round == 0 && !self.ask(cx.waker()) {
            return Poll::Ready(());
        }
        // Also arms the loop, in case it reports only what somebody waits for.
        match self.look() {
            Ok(()) if self.shared.lock().knows(cx.waker()) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Puts the caller on a list; false if no byte can be sent.
    fn ask(&self, waker: &Waker) -> bool {
        let new = Arc::new(waker.clone());
        // Of an earlier question that was given up.
        let stale;
        let mut waiters = self.shared.lock();
        stale = waiters.flying.iter().position(|w| w.will_wake(waker)).map(|i| waiters.flying.swap_remove(i));
        if !waiters.sent {
            waiters.sent = self.send();
            if !waiters.sent {
                return false;
            }
            waiters.flying.push(new);
        } else if !waiters.next.iter().any(|w| w.will_wake(waker)) {
            waiters.next.push(new);
        }
        drop(waiters);
        drop(stale);
        true
    }

    /// Takes note if the byte has been reported.
    fn look(&self) -> io::Result<()> {
        let cx = &mut Context::from_waker(&self.waker);
        while let Poll::Ready(tick) = self.readiness.poll_readable(cx) {
            let tick = tick?;
            let mut waiters = self.shared.lock();
            let mut done = Vec::new();
            if self.receive() {
                let next = mem::take(&mut waiters.next);
                waiters.sent = !next.is_empty() && self.send();
                done = mem::replace(&mut waiters.flying, next);
                if !waiters.sent {
                    // Without a byte nobody would be told: they are done, as far as anybody can say.
                    done.append(&mut waiters.flying);
                }
            }
            drop(waiters);
            done.iter().for_each(|waker| waker.wake_by_ref());
            self.readiness.clear_readable(tick);
        }
        Ok(())
    }

    fn send(&self) -> bool {
        matches!((&self.writer).write(&[0]), Ok(1))
    }

    /// Empties the pair; true if there was a byte.
    fn receive(&self) -> bool {
        let mut found = false;
        while matches!((&self.reader).read(&mut [0; 8]), Ok(n) if n > 0) {
            found = true;
        }
        found
    }
}

impl Waiters {
    fn knows(&self, waker: &Waker) -> bool {
        self.flying.iter().chain(&self.next).any(|w| w.will_wake(waker))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers: Vec<_> = {
            let waiters = self.lock();
            waiters.flying.iter().chain(&waiters.next).cloned().collect()
        };
        wakers.iter().for_each(|waker| waker.wake_by_ref());
    }
}
