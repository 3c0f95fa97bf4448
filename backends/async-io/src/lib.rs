//! Runs trine on [async-io](mod@async_io): one reactor for the whole process, with a thread of its own for when nobody
//! else drives it. So its services work under every executor.
//!
//! | file | what is in it |
//! |---|---|
//! | `services` | one [`async_io::Timer`]; one [`async_io::Async`], which wakes: the system is asked what is ready |
//!
//! The rest is in [`trine_backend::adapter`], whose tools make lasting alarms and readiness of these, and end them with
//! their driver, though the reactor goes on.
//!
//! # What the reactor decides
//!
//! - A registration watches a duplicate of the descriptor, since the reactor wants to own what it watches: each
//!   registered source costs a second descriptor. A second registration of a source is independent of the first
//!   ([L24]).
//! - A lasting state (data that was left, a hang-up) is reported anew after each clear. So no
//!   [tick](trine_backend::Tick) is marked as a hang-up.
//! - Wakers run while the thread that looked for events still has the reactor to itself. A wake that waits for
//!   *another* event would wait until that thread is through; it may register, poll, set and drop what it likes
//!   ([L31]).
//!
//! [L24]: trine_backend::laws::L24
//! [L31]: trine_backend::laws::L31
#![forbid(unsafe_code)]

mod services;

use std::io;
use std::sync::{Arc, OnceLock};

use trine_backend::adapter::{Host, HostDriver, HostHandle, Nesting, SureJob};
use trine_backend::{Backend, Driver, Handle, Source};

use crate::services::{ReactorTimer, Watched};

/// Names async-io's reactor.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsyncIo;

/// Returns the async-io backend.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
///
/// let mut driver = trine_async_io::async_io().driver()?;
/// let mut answer = 0;
/// driver.drive(pin!(async { answer = 42 }))?;
/// assert_eq!(answer, 42);
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn async_io() -> Arc<dyn Backend> {
    Arc::new(AsyncIo)
}

impl Backend for AsyncIo {
    fn name(&self) -> &'static str {
        "async-io"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        // Whichever thread blocks drives the process's reactor.
        let driver = HostDriver::new(HostHandle::new(Reactor), &NESTING, (), |(), fut| async_io::block_on(fut))?;
        Ok(driver.owning(drop))
    }

    /// The reactor, which its own thread drives if nobody else does.
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        static AMBIENT: OnceLock<Arc<HostHandle<Reactor>>> = OnceLock::new();
        Some(Arc::clone(AMBIENT.get_or_init(|| HostHandle::new(Reactor))) as Arc<dyn Handle>)
    }

    fn nested_hint(&self) -> Option<&'static str> {
        NESTING.hint()
    }
}

static NESTING: Nesting = Nesting::new(
    "async-io",
    "this thread is inside a run of the async-io backend already; await the future there instead of running it",
);

/// The reactor as the host: for a driver, or for hosted trees.
#[derive(Debug)]
struct Reactor;

impl Host for Reactor {
    type Timer = ReactorTimer;
    type Source = Watched;

    fn timer(&self) -> io::Result<ReactorTimer> {
        Ok(ReactorTimer::new())
    }

    fn watch(&self, source: Source<'_>) -> io::Result<Watched> {
        Watched::new(source)
    }

    /// There is one reactor, whichever thread a source is used on.
    fn registers_early(&self) -> bool {
        true
    }

    fn spawn_blocking(&self, job: SureJob) {
        blocking::unblock(|| job.run()).detach();
    }
}
