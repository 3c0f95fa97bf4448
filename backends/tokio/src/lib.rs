//! Runs trine on [tokio](mod@tokio): on a runtime of its own, or within any runtime of yours.
//!
//! | file | what is in it |
//! |---|---|
//! | `driver` | drives one future on this thread, and knows where that is not possible |
//! | `runtime` | what trine knows of one runtime, for as long as that lives |
//! | `alarm` | one [`tokio::time::Sleep`], lasting once it has fired |
//! | `source` | one [`tokio::io::unix::AsyncFd`], its events made into lasting readiness |
//! | `jobs` | [`spawn_blocking`](tokio::task::spawn_blocking), with nothing lost at shutdown |
//!
//! Whatever tokio's locks might meet of foreign wakers goes through [`trine_backend::Relay`], and no poll of tokio's
//! timers and sources here counts against the task's cooperative budget; [`Handle::has_budget`] reports that budget to the
//! tree, so that it stops polling children once they can do nothing but ask for more.
//!
//! # What tokio decides
//!
//! - *A hang-up stays.* tokio never takes back that a direction is closed, so a poll of that direction is ready at each
//!   time, also just after a clear ([L17]), and its ticks are marked as hang-ups. An error that comes alone (`EPOLLERR`,
//!   say of a datagram socket) is reported to writers only ([L20]).
//! - *A runtime must be driven.* A current-thread runtime that was only [entered](tokio::runtime::Handle::enter) serves
//!   nothing until somebody blocks on it ([L32]); it cannot be told from one that another thread drives.
//! - *Timers and I/O can be off.* That cannot be asked, only tried: once for each runtime, by using it and catching tokio's
//!   panic. For such a runtime the panic hook therefore reports tokio's text once (which says what to enable), and with
//!   `panic = "abort"` the program ends with it.
//! - *A paused clock* (tokio's `test-util`) moves tokio's timers, and trine's clock stays: an alarm then fires when its
//!   real instant has come, and the runtime is busy until then. Use `trine::testing` for virtual time.
//! - *Fewer blocking threads* than 64, if a runtime was built with them, mean fewer jobs at a time ([L25]).
//! - On Windows tokio watches only sockets that it made itself: [`Handle::register`] says `Unsupported`.
//!
//! [L17]: trine_backend::laws::L17
//! [L20]: trine_backend::laws::L20
//! [L25]: trine_backend::laws::L25
//! [L32]: trine_backend::laws::L32
#![forbid(unsafe_code)]

mod alarm;
mod driver;
mod jobs;
mod runtime;
#[cfg(unix)]
mod source;

use std::io;
use std::sync::Arc;

pub use tokio::runtime::Handle as RuntimeHandle;
use trine_backend::{Backend, Driver, Handle};

use crate::runtime::TokioHandle;

/// Names tokio: a current-thread runtime for each driver, and for hosted trees the runtime around them.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Tokio;

/// Returns the tokio backend.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
///
/// let mut driver = trine_tokio::tokio().driver()?;
/// let mut answer = 0;
/// driver.drive(pin!(async { answer = 42 }))?;
/// assert_eq!(answer, 42);
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn tokio() -> Arc<dyn Backend> {
    Arc::new(Tokio)
}

impl Backend for Tokio {
    fn name(&self) -> &'static str {
        NAME
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        Ok(Box::new(driver::OwnDriver::new()?))
    }

    /// The runtime around, if it has both timers and I/O.
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        let handle = TokioHandle::current()?;
        (handle.is_whole() && !handle.is_dead()).then_some(handle as Arc<dyn Handle>)
    }

    fn nested_hint(&self) -> Option<&'static str> {
        driver::is_async_context().then_some(NESTED)
    }
}

/// Returns the backend of one particular runtime, wherever its futures are polled.
///
/// Its drivers block this thread on the runtime, whose own threads drive it: a current-thread runtime must be driven by
/// somebody else meanwhile.
pub fn tokio_handle(runtime: RuntimeHandle) -> Arc<dyn Backend> {
    Arc::new(OneRuntime { handle: TokioHandle::of(runtime) })
}

/// See [`tokio_handle`].
#[derive(Debug)]
struct OneRuntime {
    handle: Arc<TokioHandle>,
}

impl Backend for OneRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        if self.handle.is_dead() {
            return Err(trine_backend::gone());
        }
        Ok(Box::new(driver::GuestDriver::new(Arc::clone(&self.handle))))
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        (!self.handle.is_dead()).then(|| Arc::clone(&self.handle) as Arc<dyn Handle>)
    }

    fn nested_hint(&self) -> Option<&'static str> {
        driver::is_async_context().then_some(NESTED)
    }
}

/// Returns the handle of a runtime around the caller that was built without timers or I/O: what it lacks is an error that
/// says so.
pub fn incomplete() -> Option<Arc<dyn Handle>> {
    let handle = TokioHandle::current()?;
    (!handle.is_whole() && !handle.is_dead()).then_some(handle as Arc<dyn Handle>)
}

const NAME: &str = "tokio";

const NESTED: &str = "this thread is inside the async context of tokio, which must not be blocked: await the future there \
     instead of running it (trine needs no `run` inside tokio), or run it on a thread of its own";
