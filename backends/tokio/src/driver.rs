//! Drives one future on this thread: on a runtime made for it, or as a guest of another one.
//!
//! tokio refuses to block a thread that is polling one of its tasks, by a panic, and cannot be asked beforehand. But
//! such a thread has a cooperative budget, and no other thread has one: so that is looked for. What it misses (a task
//! that made itself unconstrained) is found when tokio panics before the future was polled.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use trine_backend::adapter::{Driving, is_driving, refusal, unless_refused};
use trine_backend::{Driver, Handle};

use crate::NESTED;
use crate::budget;
use crate::runtime::{TokioHandle, handle_of};

/// Events that are taken in before the tasks run that they wake: as few as the caches hold. With tokio's 1,024 an echo on
/// 4,096 connections takes a few percent more.
const EVENTS: usize = 64;

thread_local! {
    /// This thread is inside a `drive`.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread polls something for tokio, so that it must not be blocked.
pub(crate) fn is_async_context() -> bool {
    is_driving(&DRIVING) || budget::is_in_force()
}

/// Blocks on a runtime.
#[derive(Debug)]
pub(crate) struct TokioDriver {
    handle: Arc<TokioHandle>,
    /// The runtime, if it was made for this. Taken when dropped.
    own: Option<Runtime>,
}

impl TokioDriver {
    /// The owner of a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().max_io_events_per_tick(EVENTS).build()?;
        Ok(Self { handle: handle_of(runtime.handle().clone()), own: Some(runtime) })
    }

    /// The guest of a runtime that others own.
    pub(crate) fn guest(handle: Arc<TokioHandle>) -> io::Result<Self> {
        if handle.is_dead() { Err(trine_backend::gone()) } else { Ok(Self { handle, own: None }) }
    }
}

impl Driver for TokioDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        if is_async_context() {
            return Err(refusal(NESTED));
        }
        let _driving = Driving::enter(&DRIVING, NESTED)?;
        unless_refused(NESTED, fut, |fut| match &self.own {
            Some(runtime) => runtime.block_on(fut),
            None => self.handle.host().runtime.block_on(fut),
        })
    }
}

impl Drop for TokioDriver {
    fn drop(&mut self) {
        if let Some(runtime) = self.own.take() {
            self.handle.end();
            // Waits for no job, and may happen anywhere, also within another runtime.
            runtime.shutdown_background();
        }
    }
}
