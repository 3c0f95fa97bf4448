//! `poll_turn` for event loops that cannot be asked to look: an event of one's own, after all others.
//!
//! A byte is written into a socket pair that the loop watches. Systems queue events in the order in which sources become
//! ready, so once the byte is reported, all that was ready before it has been reported, and its wakes were delivered
//! before this one: in an earlier batch, or earlier in the same.
//!
//! Protocol, by those who ask, one at a time (`turn`):
//!
//! 1. the pair is empty, and the loop is armed with this probe's waker;
//! 2. a byte is written, on behalf of everybody who has asked so far (`flying`);
//! 3. the waker is called: that is the report. Whoever is polled next reads the byte, and all in `flying` are answered;
//!    those who asked meanwhile (`next`, for whom that byte may be too old) begin at 1.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::wakes::each;
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
    /// Held by whoever takes a step. A byte is on its way.
    turn: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The loop has called the waker.
    reported: AtomicBool,
    waiters: Mutex<Waiters>,
}

/// See the module; who is in neither list has been answered. The wakers are counted, since they are cloned under the lock.
#[derive(Debug, Default)]
struct Waiters {
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
        let waker = Waker::from(Arc::clone(&shared));
        Ok(Self { readiness, shared, waker, reader, writer, turn: Mutex::new(false) })
    }

    /// As [`Handle::poll_turn`]. Those who ask are told apart by their wakers.
    pub fn poll(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        let asks = (round == 0).then(|| Arc::new(cx.waker().clone()));
        let answered = self.step(asks);
        let waits = self.shared.lock().knows(cx.waker());
        let others = answered.iter().filter(|waker| !waker.will_wake(cx.waker()));
        each(others, |waker| waker.wake_by_ref());
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Takes note of a report and of a new question, and writes a byte if it is time; returns who has been answered.
    fn step(&self, asks: Option<Arc<Waker>>) -> Vec<Arc<Waker>> {
        let mut sent = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answered = Vec::new();
        if self.shared.reported.swap(false, Ordering::SeqCst) {
            self.receive();
            *sent = false;
            answered = mem::take(&mut self.shared.lock().flying);
        }
        if let Some(waker) = asks {
            answered.extend(self.shared.lock().ask(waker));
        }
        if !*sent && self.shared.lock().begin() {
            *sent = self.arm() && self.send();
            if !*sent {
                // The loop is gone, and reports nothing any more.
                answered.append(&mut self.shared.lock().flying);
            }
        }
        answered
    }

    /// Makes the loop call the waker at the next event.
    fn arm(&self) -> bool {
        let cx = &mut Context::from_waker(&self.waker);
        while let Poll::Ready(result) = self.readiness.poll_readable(cx) {
            let Ok(tick) = result else { return false };
            self.readiness.clear_readable(tick);
        }
        true
    }

    fn send(&self) -> bool {
        matches!((&self.writer).write(&[0]), Ok(1))
    }

    fn receive(&self) {
        while matches!((&self.reader).read(&mut [0; 8]), Ok(n) if n > 0) {}
    }
}

impl Waiters {
    fn knows(&self, waker: &Waker) -> bool {
        self.flying.iter().chain(&self.next).any(|w| w.will_wake(waker))
    }

    /// Adds a question; what comes back is for the caller to drop: an older one that was given up, or the waker if it has
    /// just asked.
    fn ask(&mut self, waker: Arc<Waker>) -> Option<Arc<Waker>> {
        if self.next.iter().any(|w| w.will_wake(&waker)) {
            return Some(waker);
        }
        let old = self.flying.iter().position(|w| w.will_wake(&waker)).map(|i| self.flying.swap_remove(i));
        self.next.push(waker);
        old
    }

    /// Everybody is to wait for the next byte; true if there is anybody.
    fn begin(&mut self) -> bool {
        self.flying.append(&mut self.next);
        !self.flying.is_empty()
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
        self.reported.store(true, Ordering::SeqCst);
        // All of them, since anybody's next poll takes the next step.
        let wakers: Vec<_> = {
            let waiters = self.lock();
            waiters.flying.iter().chain(&waiters.next).cloned().collect()
        };
        each(wakers, |waker| waker.wake_by_ref());
    }
}
