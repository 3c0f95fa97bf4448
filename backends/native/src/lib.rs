//! Trine's own backend: a single-threaded event loop on mio.
//!
//! | file | what is in it |
//! |---|---|
//! | `driver` | the loop: poll, look, park |
//! | `notify` | the protocol between a loop that goes to sleep and threads that wake it, with its proof |
//! | `shared` | what the driver, its handles and its wakers share |
//! | `alarms` | the timers of one loop |
//! | `sources` | the registered descriptors of one loop: who gets which event |
//! | `source` | the readiness of one descriptor: one atomic word and two wakers |
//! | `watch` | what the system is told to report of one descriptor |
//! | `pool` | threads for blocking jobs, for the whole process |
//!
//! The loop serves its services only while it is being driven: a `block_on` of another executor *inside* the driven
//! future blocks the loop, so a timer or a socket awaited in there waits for ever. [`Backend::nested_hint`] refuses
//! the one case that can be recognised, a run inside a run.
#![forbid(unsafe_code)]

mod alarms;
mod driver;
mod notify;
mod pool;
mod shared;
mod source;
mod sources;
mod watch;

use std::io;
use std::sync::Arc;

use trine_backend::{Backend, Driver, Handle};

/// Names the native event loop. Each driver is a loop of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Native;

/// Returns the native backend.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
///
/// let mut driver = trine_native::native().driver()?;
/// let mut answer = 0;
/// driver.drive(pin!(async { answer = 42 }))?;
/// assert_eq!(answer, 42);
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn native() -> Arc<dyn Backend> {
    Arc::new(Native)
}

impl Backend for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        Ok(Box::new(driver::NativeDriver::new()?))
    }

    /// A native loop runs only while it is driven, so it cannot serve a foreign executor.
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        None
    }

    fn nested_hint(&self) -> Option<&'static str> {
        driver::is_driving().then_some(
            "this thread is inside a run of the native backend already; await the future there instead of running it",
        )
    }
}
