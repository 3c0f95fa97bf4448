//! Runs trine on [tokio](mod@tokio): on a runtime of its own, or within any runtime of yours.
//!
//! | file | what is in it |
//! |---|---|
//! | `budget` | what tokio lets a task do before it returns, and a tree of tasks |
//! | `driver` | drives one future on this thread, and knows where that is not possible |
//! | `runtime` | what trine knows of one runtime, for as long as that lives |
//! | `timer` | one [`tokio::time::Sleep`] |
//! | `source` | one [`tokio::io::unix::AsyncFd`], whose events are taken one at a time |
//!
//! The rest is in [`trine_backend::adapter`], whose tools make lasting alarms and readiness of these, keep foreign
//! wakers away from tokio's locks, and lose no job at a shutdown. No poll of tokio's timers and sources here counts
//! against the task's cooperative budget; [`Handle::has_budget`] reports that budget to the tree, so that it stops
//! polling children once they can do nothing but ask for more.
//!
//! # What tokio decides
//!
//! - *A hang-up stays.* tokio never takes back that a direction is closed, so a poll of that direction is ready at each
//!   time, also just after a clear ([L17]), and its ticks are marked as hang-ups. An error that comes alone
//!   (`EPOLLERR`, say of a datagram socket) is reported to writers only ([L20]).
//! - *A runtime must be driven.* A current-thread runtime that was only [entered](tokio::runtime::Handle::enter) serves
//!   nothing until somebody blocks on it ([L32]); it cannot be told from one that another thread drives.
//! - *Timers and I/O can be off.* That cannot be asked, only tried: once for each runtime, by using it and catching
//!   tokio's panic. For such a runtime the panic hook therefore reports tokio's text once (which says what to enable),
//!   and with `panic = "abort"` the program ends with it.
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

mod budget;
mod driver;
mod runtime;
#[cfg(unix)]
mod source;
mod timer;

use std::io;
use std::sync::Arc;

pub use tokio::runtime::Handle as RuntimeHandle;
use trine_backend::{Backend, Driver, Handle};

use crate::runtime::{TokioHandle, handle_of};

/// Names tokio: a current-thread runtime for each driver, and for hosted trees the runtime around them; or one
/// particular runtime for both.
#[derive(Clone, Debug, Default)]
pub struct Tokio {
    /// The particular one.
    one: Option<Arc<TokioHandle>>,
}

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
    Arc::new(Tokio::default())
}

/// Returns the backend of one particular runtime, wherever its futures are polled.
///
/// Its drivers block this thread on the runtime, whose own threads drive it: a current-thread runtime must be driven by
/// somebody else meanwhile.
pub fn tokio_handle(runtime: RuntimeHandle) -> Arc<dyn Backend> {
    Arc::new(Tokio { one: Some(handle_of(runtime)) })
}

/// Returns the handle of a runtime around the caller that was built without timers or I/O: what it lacks is an error
/// that says so.
pub fn incomplete() -> Option<Arc<dyn Handle>> {
    around().filter(|handle| !handle.host().lacks().is_empty())?.served()
}

/// The runtime around.
fn around() -> Option<Arc<TokioHandle>> {
    RuntimeHandle::try_current().ok().map(handle_of)
}

impl Backend for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        self.one.clone().map_or_else(driver::owner, driver::guest)
    }

    /// The runtime, if it was chosen; the one around, if it has both timers and I/O.
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        let chosen = self.one.clone();
        chosen.or_else(|| around().filter(|handle| handle.host().lacks().is_empty()))?.served()
    }

    fn nested_hint(&self) -> Option<&'static str> {
        driver::NESTING.hint()
    }
}
