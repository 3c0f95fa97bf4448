//! Drives one future on this thread: on a runtime made for it, or as a guest of another one.
//!
//! tokio refuses to block a thread that is polling one of its tasks, by a panic, and cannot be asked beforehand. But
//! such a thread has a cooperative budget, and no other thread has one: so that is looked for. What it misses (a task
//! that made itself unconstrained) is found when tokio panics before the future was polled.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use trine_backend::Driver;
use trine_backend::adapter::{HostDriver, Nesting};

use crate::budget;
use crate::runtime::{TokioHandle, handle_of};

/// Events that are taken in before the tasks run that they wake: as few as the caches hold. With tokio's 1,024 an echo on
/// 4,096 connections takes a few percent more.
const EVENTS: usize = 64;

pub(crate) static NESTING: Nesting = Nesting::new(
    "tokio",
    "this thread is inside the async context of tokio, which must not be blocked: await the future there instead of \
     running it (trine needs no `run` inside tokio), or run it on a thread of its own",
)
.or_where(budget::is_in_force);

/// The owner of a runtime.
pub(crate) fn owner() -> io::Result<Box<dyn Driver>> {
    let runtime = Builder::new_current_thread().enable_all().max_io_events_per_tick(EVENTS).build()?;
    let handle = handle_of(runtime.handle().clone());
    let driver = HostDriver::new(handle, &NESTING, runtime, |runtime, fut| runtime.block_on(fut))?;
    // Waits for no job, and may happen anywhere, also within another runtime.
    Ok(driver.owning(Runtime::shutdown_background))
}

/// The guest of a runtime that others own.
pub(crate) fn guest(handle: Arc<TokioHandle>) -> io::Result<Box<dyn Driver>> {
    let runtime = handle.host().runtime.clone();
    Ok(HostDriver::new(handle, &NESTING, runtime, |runtime, fut| runtime.block_on(fut))?)
}
