//! Drives one future on this thread: on a runtime made for it, or as a guest of another one.
//!
//! tokio refuses to block a thread that is polling one of its tasks, by a panic, and cannot be asked beforehand. But such
//! a thread has a cooperative budget, and no other thread has one: so that is looked for. What it misses (a task that
//! made itself unconstrained) is found when tokio panics before the future was polled.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};
use tokio::task::coop;
use trine_backend::{Driver, Handle};

use crate::runtime::TokioHandle;

thread_local! {
    /// This thread is inside a `drive`.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread polls something for tokio, so that it must not be blocked.
pub(crate) fn is_async_context() -> bool {
    DRIVING.try_with(Cell::get).unwrap_or(false) || has_budget_at_all()
}

/// Whether there is a budget in force, whatever is left of it.
fn has_budget_at_all() -> bool {
    // More than any budget of tokio's, which is a byte.
    const ENOUGH: usize = 256;
    if !coop::has_budget_remaining() {
        return true;
    }
    let cx = &mut Context::from_waker(Waker::noop());
    let mut units = Vec::with_capacity(ENOUGH);
    let mut spent = false;
    while !spent && units.len() < ENOUGH {
        match coop::poll_proceed(cx) {
            Poll::Ready(unit) => units.push(unit),
            Poll::Pending => spent = true,
        }
    }
    // Each gives back what was there before it: the last one first.
    while units.pop().is_some() {}
    spent
}

/// Marks this thread as inside a `drive`.
struct Driving;

impl Driving {
    fn enter() -> io::Result<Self> {
        if is_async_context() {
            return Err(refused());
        }
        DRIVING.set(true);
        Ok(Self)
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.set(false);
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Deadlock, crate::NESTED)
}

/// Blocks on the future by `block_on`, and tells tokio's refusal from the future's own panic.
fn drive(
    fut: Pin<&mut dyn Future<Output = ()>>,
    block_on: impl FnOnce(Pin<&mut dyn Future<Output = ()>>),
) -> io::Result<()> {
    let _driving = Driving::enter()?;
    let polled = Cell::new(false);
    let mut fut = fut;
    let mut watched = std::pin::pin!(poll_fn(|cx| {
        polled.set(true);
        fut.as_mut().poll(cx)
    }));
    match catch_unwind(AssertUnwindSafe(|| block_on(watched.as_mut()))) {
        Ok(()) => Ok(()),
        Err(_) if !polled.get() => Err(refused()),
        Err(panic) => resume_unwind(panic),
    }
}

/// The owner of a runtime.
#[derive(Debug)]
pub(crate) struct OwnDriver {
    /// Taken when dropped.
    runtime: Option<Runtime>,
    handle: Arc<TokioHandle>,
}

impl OwnDriver {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { handle: TokioHandle::of(runtime.handle().clone()), runtime: Some(runtime) })
    }
}

impl Driver for OwnDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let Some(runtime) = &self.runtime else { return Err(trine_backend::gone()) };
        drive(fut, |fut| runtime.block_on(fut))
    }
}

impl Drop for OwnDriver {
    fn drop(&mut self) {
        self.handle.end();
        if let Some(runtime) = self.runtime.take() {
            // Waits for no job, and may happen anywhere, also within another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Blocks on a runtime that others own.
#[derive(Debug)]
pub(crate) struct GuestDriver {
    handle: Arc<TokioHandle>,
}

impl GuestDriver {
    pub(crate) fn new(handle: Arc<TokioHandle>) -> Self {
        Self { handle }
    }
}

impl Driver for GuestDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        drive(fut, |fut| self.handle.runtime().block_on(fut))
    }
}
