//! Tools for an adapter: a backend over an event loop that is there already.
//!
//! An adapter says how its host does a thing, by three short traits; the laws are kept here. Its `Backend` is its own.
//!
//! | tool | what the adapter says | laws |
//! |---|---|---|
//! | [`HostHandle`] | [`Host`]: makes timers and sources, starts jobs | 25, 27 to 30, 32 |
//! | [`LastingAlarm`] | [`Timer`]: rings once, may be early | 8 to 13, 30, 31 |
//! | [`LastingReadiness`] | [`Events`]: takes the next event of a direction, which may be stale | 13 to 19, 21, 30, 31 |
//! | [`HostDriver`], [`Nesting`] | its `block_on`, and where that must not be called | 6, 7, 30 |
//! | [`Life`] | when the loop ends | 30 |
//! | [`SureJob`] | nothing: it is run by whoever lets go of it | 25, 26 |
//! | [`Turns`] | nothing | 27, 28 |
//! | [`Registry`] | how its loops are told apart, if it has many | one handle for each |
//!
//! What remains is the host's own to keep: that a wake of its waker leads to a poll (2 to 5), that its events come (14,
//! 20) and end with the source (22 to 24), and that its pool has 64 threads (25).
//!
//! Three rules hold for all tools: no waker of a caller is ever in the hands of the host ([`Relay`](crate::Relay)),
//! none is cloned, woken or dropped with a lock held, and what races with the end of the loop is either refused or
//! woken.
//!
//! # Examples
//!
//! A host of timers alone: a thread for each. What a backend lacks then is how a future is blocked on.
//!
//! ```
//! use std::convert::Infallible;
//! use std::io;
//! use std::sync::mpsc;
//! use std::task::{Context, Poll, Waker};
//! use std::thread;
//! use std::time::{Duration, Instant};
//! use trine_backend::adapter::{Host, HostHandle, SureJob, Timer};
//! use trine_backend::{Handle, Source, wake_all};
//!
//! #[derive(Debug)]
//! struct Threads;
//!
//! /// Says that it has rung.
//! #[derive(Debug, Default)]
//! struct Sleeping(Option<mpsc::Receiver<()>>, Option<mpsc::Sender<Waker>>);
//!
//! impl Timer for Sleeping {
//!     fn set(&mut self, left: Duration) {
//!         let (rang, rings) = mpsc::channel();
//!         let (waits, waiters) = mpsc::channel::<Waker>();
//!         thread::spawn(move || {
//!             thread::sleep(left);
//!             drop(rang);
//!             wake_all(&waiters);
//!         });
//!         *self = Self(Some(rings), Some(waits));
//!     }
//!
//!     fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
//!         let (Some(rings), Some(waits)) = (&self.0, &self.1) else { return Poll::Pending };
//!         match rings.try_recv() {
//!             Err(mpsc::TryRecvError::Empty) if waits.send(cx.waker().clone()).is_ok() => Poll::Pending,
//!             _ => Poll::Ready(()),
//!         }
//!     }
//! }
//!
//! impl Host for Threads {
//!     type Timer = Sleeping;
//!     type Source = Infallible;
//!
//!     fn timer(&self) -> io::Result<Sleeping> {
//!         Ok(Sleeping::default())
//!     }
//!
//!     fn watch(&self, _source: Source<'_>) -> io::Result<Infallible> {
//!         Err(io::ErrorKind::Unsupported.into())
//!     }
//!
//!     fn spawn_blocking(&self, job: SureJob) {
//!         drop(job); // Its own thread will do.
//!     }
//! }
//!
//! let handle = HostHandle::new(Threads);
//! let mut alarm = handle.alarm()?;
//! let at = Instant::now() + Duration::from_millis(2);
//! alarm.set(Some(at));
//! while alarm.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
//!     thread::yield_now();
//! }
//! assert!(Instant::now() >= at);
//! handle.end();
//! assert!(alarm.is_dead() && handle.alarm().is_err());
//! # Ok::<_, io::Error>(())
//! ```

mod alarm;
mod driving;
mod handle;
mod job;
mod life;
mod readiness;
mod registry;
#[cfg(test)]
mod support;
mod system;
mod turns;

pub use alarm::{LastingAlarm, Timer};
pub use driving::{BlockOn, Driving, HostDriver, Nesting};
pub use handle::{Host, HostHandle};
pub use job::{SureJob, spawn_thread};
pub use life::{Alive, Life};
pub use readiness::{Event, Events, LastingReadiness};
pub use registry::Registry;
pub use system::{AsSource, Direction, OwnedSource, is_ready};
pub use turns::Turns;
