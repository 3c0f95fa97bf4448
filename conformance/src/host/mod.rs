//! Hosts: ways to run a future that uses Trine, one for each row of the matrix.
//!
//! A [`Driven`] host is a backend with a loop of its own (`Builder::run`). The others are executors that know nothing of
//! Trine and poll a hosted tree (`Builder::host`).

mod ambient;
mod driven;
mod guarded;
#[cfg(feature = "async-io")]
mod smol;
mod subject;
#[cfg(feature = "tokio")]
mod tokio;

pub use ambient::Ambient;
pub use driven::Driven;
#[cfg(unix)]
pub(crate) use guarded::block_on;
#[cfg(feature = "async-io")]
pub use smol::Smol;
pub use subject::{Executor, Parking, Subject, drive_on};
#[cfg(feature = "tokio")]
pub use tokio::{CurrentThread, MultiThread};

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use trine::{Builder, RunError};

/// A future without a value that can go to any thread.
pub type Sendable = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Makes a future without a value on the thread where it stays.
pub type Local = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A way to run a future that uses Trine.
pub trait Host: Send + Sync {
    /// Returns the name of the row.
    fn name(&self) -> &str;

    /// Runs the future to its end, with the builder's settings. `dyn Host` has a `run` whose future may
    /// have a value.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn run_sendable(&self, builder: Builder, fut: Sendable) -> Result<(), HostError>;

    /// Returns whether a future stays on the thread where it is polled first.
    fn stays(&self) -> bool;

    /// As [`run_sendable`](Self::run_sendable), for a future that must stay on one thread.
    ///
    /// # Errors
    ///
    /// [`HostError`]; `Broken` if this host moves its futures.
    fn run_local(&self, builder: Builder, make: Local) -> Result<(), HostError>;

    /// Returns whether [`with_subject`](Self::with_subject) calls its argument.
    fn has_subject(&self) -> bool;

    /// Returns whether the subject has a driver.
    fn has_driver(&self) -> bool;

    /// Calls `f` with the backend that serves here, where it serves. It is called once or not at all.
    fn with_subject(&self, f: &mut dyn FnMut(&Subject<'_>));
}

impl fmt::Debug for dyn Host + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}

impl dyn Host + '_ {
    /// Runs the future to its end, with the builder's settings.
    ///
    /// # Errors
    ///
    /// [`HostError`]: it did not come to an end, or the host is not as it should be.
    pub fn run<T: Send + 'static>(
        &self,
        builder: Builder,
        fut: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, HostError> {
        let (fut, out) = kept(fut);
        self.run_sendable(builder, fut)?;
        let value = lock(&out).take();
        value.ok_or_else(|| HostError::Broken("it returned before the future was ready".to_owned()))
    }
}

/// A future that did not come to an end on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostError {
    /// Under a virtual clock, nothing could ever happen again; with the task tree.
    Deadlock(String),
    /// It panicked; with the message.
    Panicked(String),
    /// The host could not run it, or not as it should.
    Broken(String),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(tree) => write!(f, "deadlock, nothing can happen any more\n{tree}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Broken(why) => write!(f, "the host is broken: {why}"),
        }
    }
}

impl std::error::Error for HostError {}

/// How a hosted tree says that it is deadlocked: by a panic that begins so, and goes on with the task tree.
const DEADLOCK: &str = "trine: deadlock, nothing can happen any more\n";

impl HostError {
    /// Of the payload of a panic that left the future.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = panic_text(payload);
        match text.strip_prefix(DEADLOCK) {
            Some(tree) => Self::Deadlock(tree.to_owned()),
            None => Self::Panicked(text),
        }
    }
}

impl From<RunError> for HostError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Deadlock(tree) => Self::Deadlock(tree.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").to_owned()
}

/// Runs `f`; a panic becomes an error.
fn caught(f: impl FnOnce() -> Result<(), HostError>) -> Result<(), HostError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| Err(HostError::of_panic(&*payload)))
}

/// Takes the value away from a future; it is in the second part at the end.
fn kept<T: Send + 'static>(fut: impl Future<Output = T> + Send + 'static) -> (Sendable, Arc<Mutex<Option<T>>>) {
    let slot = Arc::new(Mutex::new(None));
    let out = Arc::clone(&slot);
    let fut = async move {
        let value = fut.await;
        *lock(&out) = Some(value);
    };
    (Box::pin(fut), slot)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns all hosts of this build, in the order of the rows: `native`; with the feature `tokio`, `tokio-run` (on
/// Trine's own driver), `tokio-current-thread` and `tokio-multi-thread` (hosted); with the feature `async-io`, `async-io`
/// (on Trine's own driver), `smol` and `bare` (hosted).
pub fn all() -> Vec<Arc<dyn Host>> {
    vec![
        Arc::new(Driven::new(trine_native::native())),
        #[cfg(feature = "tokio")]
        Arc::new(Driven::named("tokio-run", trine_tokio::tokio())),
        #[cfg(feature = "tokio")]
        Arc::new(CurrentThread::new()),
        #[cfg(feature = "tokio")]
        Arc::new(MultiThread::new()),
        #[cfg(feature = "async-io")]
        Arc::new(Driven::new(trine_async_io::async_io())),
        #[cfg(feature = "async-io")]
        Arc::new(Smol::new()),
        #[cfg(feature = "async-io")]
        Arc::new(Ambient::found("bare", trine_async_io::async_io())),
    ]
}

/// Returns the hosts of that name: a row's, a backend's with all its rows, or `all`.
pub fn named(name: &str) -> Vec<Arc<dyn Host>> {
    let matches =
        |row: &str| name == "all" || row == name || row.strip_prefix(name).is_some_and(|s| s.starts_with('-'));
    all().into_iter().filter(|host| matches(host.name())).collect()
}
