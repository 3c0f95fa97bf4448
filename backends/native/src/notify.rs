//! Waking a loop that may be asleep: the protocol and its proof.
//!
//! The loop sleeps in a system call. A thread that wants it to look again sets the state to `NOTIFIED`, and only if
//! the loop was asleep does it pay for the system call that ends the sleep ("unpark"). The unpark is sticky itself:
//! it ends the next sleep if it comes before it (an eventfd in edge-triggered epoll, a user event in kqueue).
//!
//! | from | by | to |
//! |---|---|---|
//! | `RUNNING`, `PARKED`, `NOTIFIED` | `notify`, any thread; who sees `PARKED` unparks | `NOTIFIED` |
//! | `NOTIFIED` | `take`, the loop, before it polls | `RUNNING` |
//! | `RUNNING` | `park`, the loop, before it sleeps; fails if `NOTIFIED` | `PARKED` |
//! | `PARKED`, `NOTIFIED` | `unpark`, the loop, after it slept | `RUNNING` |
//!
//! *No wake is lost.* Claim: after `notify` returns and the unpark it asked for is done, the loop polls again, and that
//! poll sees all that the notifier wrote before.
//!
//! 1. All changes are read-modify-writes of one word, so they have one order. Look at the first change made by the loop
//!    after a given `notify`; only notifiers come between, so it finds `NOTIFIED`.
//! 2. It cannot be `park`, which fails on `NOTIFIED`. So it is `take` or `unpark`; both report the notification to the
//!    loop, which then polls. Their `Acquire` meets the notifier's `Release` (later notifiers continue the release
//!    sequence), so the poll sees the writes.
//! 3. That change does come: if the loop was `PARKED` when `notify` came, `notify` said so and the caller unparks, so
//!    the sleep ends and `unpark` follows. If it was not, the next `park` fails, and the loop returns to `take`.
//!
//! *Spurious wakes are harmless.* A notifier may unpark late, when the loop has been woken by something else meanwhile;
//! the next sleep then ends at once, nothing is reported, and the loop sleeps again without polling.
//!
//! `tests/loom.rs` checks both claims on all interleavings of two notifiers and a loop.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

const RUNNING: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// The state of one loop, as its notifiers see it.
#[derive(Debug)]
pub(crate) struct Notify {
    state: AtomicU8,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(RUNNING) }
    }

    /// Asks for another poll. If this returns true, the loop is asleep and the caller must end its sleep.
    #[must_use]
    pub(crate) fn notify(&self) -> bool {
        self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }

    /// Takes a notification, if there is one. Loop only.
    pub(crate) fn take(&self) -> bool {
        // A stale `RUNNING` here only delays the notification to `park`, which fails.
        self.state.load(Ordering::Relaxed) == NOTIFIED && self.unpark()
    }

    /// Announces a sleep; false if there is a notification instead. Loop only.
    #[must_use]
    pub(crate) fn park(&self) -> bool {
        self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Announces the end of a sleep, and takes the notification that came during it. Loop only.
    pub(crate) fn unpark(&self) -> bool {
        self.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }
}
