//! A backend, for the cases that judge it through its traits.

use super::guarded;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
    /// Polls `fut` to its end, on this thread.
    fn block_on(&self, fut: Pin<&mut dyn Future<Output = ()>>);
}

/// The smallest executor: it parks the thread until there is a wake.
#[derive(Clone, Copy, Debug)]
pub struct Parking;

impl Executor for Parking {
    fn block_on(&self, fut: Pin<&mut dyn Future<Output = ()>>) {
        guarded::block_on(fut);
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

    /// Makes a future from the services and runs it to its end on this thread.
    ///
    /// # Panics
    ///
    /// If the backend cannot drive it.
    pub fn drive<T, F: Future<Output = T>>(&self, make: impl FnOnce(Arc<dyn Handle>) -> F) -> T {
        let Some(executor) = self.executor else {
            let mut driver = self.driver();
            let fut = make(driver.handle());
            return drive_on(&mut *driver, fut);
        };
        let mut out = None;
        executor.block_on(pin!(async {
            let handle = self.backend.ambient().expect("the backend serves here");
            out = Some(make(handle).await);
        }));
        out.expect("the executor returns when the future is ready")
    }
}

/// Runs a future to its end on a driver.
///
/// # Panics
///
/// If the driver says that it cannot, or returns too early.
pub fn drive_on<T>(driver: &mut dyn Driver, fut: impl Future<Output = T>) -> T {
    let mut out = None;
    driver.drive(pin!(async { out = Some(fut.await) })).expect("drive");
    out.expect("drive returns when the future is ready")
}
