//! A backend, for the cases that judge it through its traits.

use super::guarded::{Guarded, block_on};
use super::{HostError, Sendable, kept, lock};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use trine_backend::{Backend, Driver, Handle};

/// A backend as the cases of the laws see it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    backend: &'a Arc<dyn Backend>,
    /// `None`: the backend's own loop polls.
    executor: Option<&'a dyn Executor>,
}

/// Something that polls futures and knows nothing of Trine.
pub trait Executor {
    /// Polls `fut` to its end, on this thread or on others, and waits for that.
    ///
    /// # Errors
    ///
    /// [`HostError`]; a panic of the future is `Panicked`.
    fn run(&self, fut: Sendable) -> Result<(), HostError>;
}

/// The smallest executor: it polls on this thread, and parks it until there is a wake.
#[derive(Clone, Copy, Debug)]
pub struct Parking;

impl Executor for Parking {
    fn run(&self, fut: Sendable) -> Result<(), HostError> {
        block_on(Guarded::new(fut))
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("backend", &self.backend.name())
            .field("driven", &self.executor.is_none())
            .finish()
    }
}

impl<'a> Subject<'a> {
    /// A backend whose loop drives.
    pub fn driven(backend: &'a Arc<dyn Backend>) -> Self {
        Self { backend, executor: None }
    }

    /// A backend that serves where this executor polls.
    pub fn ambient(backend: &'a Arc<dyn Backend>, executor: &'a dyn Executor) -> Self {
        Self { backend, executor: Some(executor) }
    }

    /// Returns the backend.
    pub fn backend(&self) -> &'a Arc<dyn Backend> {
        self.backend
    }

    /// Returns what polls, if it is not the backend's own loop.
    pub fn executor(&self) -> Option<&'a dyn Executor> {
        self.executor
    }

    /// Makes a loop for this thread.
    ///
    /// # Panics
    ///
    /// If the backend cannot, or this subject is polled by an executor (the case lacks `needs_driver`).
    pub fn driver(&self) -> Box<dyn Driver> {
        assert!(self.executor.is_none(), "there is no driver here");
        self.backend.driver().expect("the backend makes a driver")
    }

    /// Makes a future from the services and runs it to its end: on this thread by the backend's own loop, wherever it
    /// likes by an executor, which may move it between polls. So it owns what it uses.
    ///
    /// # Panics
    ///
    /// If the future does, or if the backend cannot drive it.
    pub fn drive<T, F>(&self, make: impl FnOnce(Arc<dyn Handle>) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let Some(executor) = self.executor else {
            let mut driver = self.driver();
            let fut = make(driver.handle());
            return drive_on(&mut *driver, fut);
        };
        let backend = Arc::clone(self.backend);
        let (fut, out) = kept(async move {
            let fut = make(backend.ambient().expect("the backend serves here"));
            // So that a future which is ready at its first poll is moved, too, if the executor moves.
            back_to_the_executor().await;
            fut.await
        });
        match executor.run(fut) {
            Ok(()) => {}
            // The report finds the place by the message.
            Err(HostError::Panicked(message)) => resume_unwind(Box::new(message)),
            Err(error) => panic!("{error}"),
        }
        let value = lock(&out).take();
        value.expect("the executor returns when the future is ready")
    }
}

async fn back_to_the_executor() {
    let mut back = false;
    poll_fn(|cx| {
        if !mem::replace(&mut back, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Runs a future to its end on a driver, on this thread; it may borrow.
///
/// # Panics
///
/// If the driver says that it cannot, or returns too early.
pub fn drive_on<T>(driver: &mut dyn Driver, fut: impl Future<Output = T>) -> T {
    let mut out = None;
    driver.drive(pin!(async { out = Some(fut.await) })).expect("drive");
    out.expect("drive returns when the future is ready")
}
