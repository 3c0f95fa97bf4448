//! A backend to learn from: one `poll(2)` for all that waits, and a thread for each job. Unix only.
//!
//! It keeps every law and is fit for a few hundred descriptors; each look costs time in proportion to those that are
//! waited for. `backends/README.md` walks through it.
//!
//! | file | what is in it |
//! |---|---|
//! | `driver` | [`Driver`]: polls one future when it was woken, looks otherwise |
//! | `table` | who waits for what; the look itself |
//! | `handle` | [`Handle`], [`Alarm`] and [`Readiness`]: fronts of the table |
//!
//! [`Alarm`]: trine_backend::Alarm
//! [`Readiness`]: trine_backend::Readiness
#![cfg(unix)]
#![forbid(unsafe_code)]

mod driver;
mod handle;
mod table;

use std::io;
use std::sync::Arc;
use trine_backend::{Backend, Driver, Handle};

/// Names the backend; it has no state of its own.
#[derive(Clone, Copy, Debug)]
struct Poll;

/// Returns the backend.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
///
/// let mut driver = trine_example_backend::poll().driver()?;
/// let mut answer = 0;
/// driver.drive(pin!(async { answer = 42 }))?;
/// assert_eq!(answer, 42);
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn poll() -> Arc<dyn Backend> {
    Arc::new(Poll)
}

impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        Ok(Box::new(driver::PollDriver::new()?))
    }

    /// Nothing here serves without its loop (law 32).
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        None
    }

    fn nested_hint(&self) -> Option<&'static str> {
        driver::NESTING.hint()
    }
}
