//! Backends by name and value, and what serves the code that runs.

use crate::run::{Builder, Hosted};
use crate::sched::context;
use std::fmt;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use trine_backend::Handle;

/// The text for whatever cannot be driven where it is.
pub(crate) const NOTHING_DRIVES: &str = "trine: nothing here can drive timers and i/o: run the program with \
     `trine::run`, or choose a backend for a foreign executor with `Backend::host`";

/// Something that can drive a run: a value, made by name or from an implementation of the backend interface.
///
/// # Examples
///
/// ```
/// let backend: trine::backend::Backend = "native".parse()?;
/// assert_eq!(backend.name(), "native");
/// # Ok::<(), trine::backend::UnknownBackend>(())
/// ```
#[derive(Clone)]
pub struct Backend {
    inner: Arc<dyn trine_backend::Backend>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.name()).finish()
    }
}

impl Backend {
    /// Takes a backend of one's own.
    pub fn new(backend: impl trine_backend::Backend) -> Self {
        Self { inner: Arc::new(backend) }
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.inner.name()
    }

    /// Makes a tree on a foreign executor use this backend, whatever would be found there.
    pub fn host<F: Future>(&self, fut: F) -> Hosted<F> {
        Builder::new().backend(self.clone()).host(fut)
    }

    pub(crate) fn inner(&self) -> &dyn trine_backend::Backend {
        &*self.inner
    }
}

/// A name that no backend of this program has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownBackend {
    name: String,
}

impl UnknownBackend {
    /// Returns the name that was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = available().iter().map(Backend::name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        write!(f, "unknown backend `{}`: this program has {known} (features of trine add others)", self.name)
    }
}

impl std::error::Error for UnknownBackend {}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        available().into_iter().find(|b| b.name() == name).ok_or_else(|| UnknownBackend { name: name.to_owned() })
    }
}

/// Returns Trine's own single-threaded backend.
#[cfg(feature = "native")]
pub fn native() -> Backend {
    Backend { inner: trine_native::native() }
}

/// Returns the backend that the environment variable `TRINE_BACKEND` names, or else the native one.
///
/// # Errors
///
/// If the variable names a backend that this program does not have, or there is none at all.
pub fn from_env() -> Result<Backend, UnknownBackend> {
    match std::env::var("TRINE_BACKEND") {
        Ok(name) if !name.is_empty() => name.parse(),
        _ => "native".parse(),
    }
}

/// Returns the backends that this program has.
pub fn available() -> Vec<Backend> {
    vec![
        #[cfg(feature = "native")]
        native(),
    ]
}

/// Returns the backend of the run around, if any.
pub fn current() -> Option<Backend> {
    context::with_root(|root| root.with_settings(|s| s.backend.clone()))?
}

/// The services for i/o where the caller runs.
pub(crate) fn current_handle() -> io::Result<Arc<dyn Handle>> {
    let handle = context::with_root(|root| root.with_settings(|s| s.handle()))
        .unwrap_or_else(|| crate::run::Settings::hosted().handle());
    handle.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, NOTHING_DRIVES))
}

/// Whether [`current_handle`] would return this one. May be false where that is made anew each time.
pub(crate) fn is_current_handle(handle: &Arc<dyn Handle>) -> bool {
    context::with_root(|root| root.with_settings(|s| s.is_handle(handle))).unwrap_or(false)
}
