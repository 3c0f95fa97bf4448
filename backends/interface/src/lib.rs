//! what Trine asks of an event loop: five small object-safe traits, and the numbered [laws] they must keep.
//!
//! Only what cannot be written above this seam is behind it. Scheduling, cancellation, timers, sockets, name
//! lookup, processes and signals are written once, in `trine`, on top of these services:
//!
//! | service | where |
//! |---|---|
//! | drive one future to its end on this thread | [`Driver::drive`] |
//! | one re-armable timer for each root | [`Handle::alarm`] |
//! | readiness of a file descriptor or socket | [`Handle::register`] |
//! | run a closure on a pool thread | [`Handle::spawn_blocking`] |
//! | look for ready I/O once, without blocking | [`Handle::poll_turn`] |
//! | may another child be polled now? | [`Handle::has_budget`] |
//!
//! A [`Backend`] is a value that names an event loop and makes [`Driver`]s for it. A driver owns the loop of one
//! thread. Its [`Handle`] gives out the services, is shared freely between threads, and may outlive the driver
//! (law [L30](laws::L30) says what happens then).
//!
//! # Writing a backend
//!
//! Implement the five traits, then let the conformance suite judge: it has at least one case for each law that can
//! be seen through the traits. Where a law needs help from inside the loop to be provoked, [`laws::Law::tested_by`]
//! says that the backend must test it itself. Three rules are broken most often:
//!
//! 1. clone, wake and drop wakers with no lock held (law [L31](laws::L31)), and wake many with [`wake_all`];
//! 2. after storing a waker, look at the state again (laws [L2](laws::L2), [L14](laws::L14));
//! 3. a clear must not erase an event that the caller has not seen (law [L18](laws::L18)).
//!
//! A backend that is an adapter to another event loop has these from here: [`Relay`] for the first two, [`Level`] for
//! the third, and `Probe` (Unix) for [`Handle::poll_turn`]. The module `adapter` (feature `adapter`, on by default)
//! puts them together: with it an adapter says how its host does a thing, and the laws are kept for it.
//!
//! | file | what is in it |
//! |---|---|
//! | `laws` | the contract |
//! | `tick` | which event a readiness came from |
//! | `relay`, `level`, `probe` | a waker, a readiness, a turn of one's own |
//! | `wakes` | many wakers at once |
//! | `adapter` | tools for adapters, made of these |
#![forbid(unsafe_code)]

#[cfg(feature = "adapter")]
pub mod adapter;
pub mod laws;
mod level;
#[cfg(unix)]
mod probe;
mod relay;
mod tick;
mod wakes;

pub use level::Level;
#[cfg(unix)]
pub use probe::Probe;
pub use relay::Relay;
pub use tick::Tick;
pub use wakes::wake_all;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A closure for a pool thread.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// What can be registered for readiness: a file descriptor on Unix, a socket on Windows.
#[cfg(unix)]
pub type Source<'fd> = std::os::fd::BorrowedFd<'fd>;
/// What can be registered for readiness: a file descriptor on Unix, a socket on Windows.
#[cfg(windows)]
pub type Source<'fd> = std::os::windows::io::BorrowedSocket<'fd>;

/// An event loop by name: makes a [`Driver`] for a run, or finds the loop that already serves this place.
pub trait Backend: Send + Sync + 'static {
    /// Returns the name by which users choose this backend, as in `TRINE_BACKEND=native`.
    fn name(&self) -> &'static str;

    /// Makes a loop for this thread.
    ///
    /// # Errors
    ///
    /// What the operating system said when the loop's own descriptors were opened.
    fn driver(&self) -> io::Result<Box<dyn Driver>>;

    /// Returns what can serve a future that some other executor polls, here and now; `None` if nothing can.
    fn ambient(&self) -> Option<Arc<dyn Handle>>;

    /// Returns why a driver must not be driven here, with the fix, if that would be wrong (say, within the async
    /// context of the same runtime).
    fn nested_hint(&self) -> Option<&'static str> {
        None
    }
}

/// The loop of one thread.
pub trait Driver {
    /// Returns the services of this loop: the same `Arc` each time, so that handles can be compared by address.
    fn handle(&self) -> Arc<dyn Handle>;

    /// Polls `fut` on this thread until it is ready.
    ///
    /// May be called again once it has returned.
    ///
    /// # Errors
    ///
    /// The loop could not wait for events, or this thread is inside a `drive` already ([L6](laws::L6)). The future is
    /// then pending still.
    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()>;
}

/// The services of a running loop.
pub trait Handle: Send + Sync + Debug + 'static {
    /// Makes a timer that is not set.
    ///
    /// # Errors
    ///
    /// The loop is gone, or it has no timers.
    fn alarm(&self) -> io::Result<Box<dyn Alarm>>;

    /// Watches `source` in both directions.
    ///
    /// The caller puts it into non-blocking mode beforehand and keeps it open until the [`Readiness`] is dropped.
    ///
    /// # Errors
    ///
    /// The loop is gone or has no I/O, the source is of a kind that cannot be watched (a regular file), or it is
    /// registered already and the system knows only one registration of each.
    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>>;

    /// Returns whether a source that is sure to be waited for is best registered as soon as it is there, not at the first
    /// wait: so if this loop serves whatever thread the source will be used on.
    ///
    /// What the loop has for sources that come together then lies together in memory, not each between the buffers of its
    /// user, which a loop with hundreds of them notices at every turn. A loop of one thread says no: the source may be on its
    /// way to another one.
    fn registers_early(&self) -> bool {
        false
    }

    /// Runs `job` on a thread where blocking does no harm. Its result, and the end of it, are the job's own affair.
    ///
    /// # Errors
    ///
    /// No thread could be started and none is there to wait for; the job is then dropped without being run.
    fn spawn_blocking(&self, job: Job) -> io::Result<()>;

    /// Looks for ready I/O once without blocking: `Ready` when all that was ready at the first call of this probe
    /// has been reported and the wakes for it are delivered.
    ///
    /// `round` counts the calls of one probe from 0. `Pending` has arranged a wake.
    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()>;

    /// Returns whether another child may be polled now. If false, what has been polled returns to the host soon.
    fn has_budget(&self) -> bool {
        true
    }

    /// Begins a turn: all that a tree does on this thread between two returns to its host. It is not called before
    /// [`has_budget`](Self::has_budget) has once said no.
    ///
    /// A host that grants each of its tasks a budget may grant a turn several, as it does a group of tasks:
    /// [`has_budget`](Self::has_budget) then renews a budget that is spent, a bounded number of times
    /// ([L33](laws::L33)).
    fn begin_turn(&self) {}

    /// Ends the turn that this thread has begun, also when it unwinds. Before that, the thread begins no other one.
    fn end_turn(&self) {}
}

/// One timer that can be set again and again.
pub trait Alarm: Send + Debug {
    /// Replaces the instant at which the alarm fires; `None`: it does not. A wake is promised only after the next
    /// poll.
    fn set(&mut self, at: Option<Instant>);

    /// `Ready` once the instant has passed, and from then on until the alarm is set again. `Pending` has stored the
    /// waker in place of the last one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns whether the loop that served it is gone: make a new one.
    fn is_dead(&self) -> bool {
        false
    }
}

/// A registered source: is it worth trying to read, to write?
///
/// One waiter for each direction; a second poll of the same direction replaces the waker of the first. Dropping it
/// ends the registration, on whichever thread.
pub trait Readiness: Send + Sync + Debug {
    /// `Ready` if a read may have something to say since the last clear: data, the end, a connection, an error.
    /// `Pending` has stored the waker in place of the last one for this direction.
    ///
    /// # Errors
    ///
    /// The loop is gone ([`is_dead`](Self::is_dead)), or what the system says about the registration.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>>;

    /// As [`poll_readable`](Self::poll_readable), for writing.
    ///
    /// # Errors
    ///
    /// As there.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>>;

    /// Takes back the readiness that `tick` stands for, unless something newer came. To be called after a read that
    /// would have blocked; after one that got less than it had room for, if `tick` is not a
    /// [hang-up](Tick::is_hangup).
    fn clear_readable(&self, tick: Tick);

    /// As [`clear_readable`](Self::clear_readable), for writing.
    fn clear_writable(&self, tick: Tick);

    /// Takes back the readiness that `tick` stands for, as [`clear_readable`](Self::clear_readable) does, but reports it
    /// anew if there is something to read still: what a caller wants who has read, and does not know whether that was
    /// all. `source` is what was registered.
    ///
    /// Returns false if it has done nothing, because this loop cannot do that, or not now: the caller tries again
    /// instead, until a read would block.
    fn renew_readable(&self, source: Source<'_>, tick: Tick) -> bool {
        let _ = (source, tick);
        false
    }

    /// Returns whether the loop that served it is gone: register anew.
    fn is_dead(&self) -> bool;
}

/// Returns the error of a service whose loop is gone.
pub fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the event loop that served this is gone")
}
