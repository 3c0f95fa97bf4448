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
     `trine::run`, add the feature `async-io` of trine, which serves any executor, or `tokio`, which serves within \
     a tokio runtime, or choose a backend with `Backend::host`";

/// Every backend there is, in the order in which they are looked for. The feature has the name.
const KNOWN: [&str; 3] = ["native", "tokio", "async-io"];

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
        let here: Vec<_> = available().iter().map(Backend::name).collect();
        let here = if here.is_empty() { "none".to_owned() } else { here.join(", ") };
        let name = &self.name;
        if KNOWN.contains(&name.as_str()) {
            write!(f, "backend `{name}` is not in this program, which has {here}: add the feature `{name}` of trine")
        } else {
            write!(f, "unknown backend `{name}`: this program has {here} (features of trine add others)")
        }
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

/// Returns the tokio backend: a run gets a current-thread runtime of its own; a tree that is hosted on it by
/// [`Backend::host`], the runtime around it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// // Whatever belongs to tokio works inside, and is cancelled like everything else.
/// let done = trine::Builder::new().backend(trine::backend::tokio()).run(trine::move_on_after(
///     Duration::from_millis(1),
///     std::future::pending::<trine::Result<()>>(),
/// ));
/// assert!(done?.is_none());
/// # Ok::<(), trine::Error>(())
/// ```
#[cfg(feature = "tokio")]
pub fn tokio() -> Backend {
    Backend { inner: trine_tokio::tokio() }
}

/// Returns the backend of one particular tokio runtime, for trees that another executor polls.
///
/// A run on it blocks this thread on the runtime: a current-thread runtime must be driven by another thread meanwhile.
#[cfg(feature = "tokio")]
pub fn tokio_handle(runtime: trine_tokio::RuntimeHandle) -> Backend {
    Backend { inner: trine_tokio::tokio_handle(runtime) }
}

/// Returns the async-io backend, whose reactor has a thread of its own and serves trees on any executor.
#[cfg(feature = "async-io")]
pub fn async_io() -> Backend {
    Backend { inner: trine_async_io::async_io() }
}

/// Returns the backend that the environment variable `TRINE_BACKEND` names, or else the native one (without that
/// feature, the first of those that this program has).
///
/// # Errors
///
/// If the variable names a backend that this program does not have (the text says which feature adds it), or there is
/// none at all.
pub fn from_env() -> Result<Backend, UnknownBackend> {
    match std::env::var("TRINE_BACKEND") {
        Ok(name) if !name.is_empty() => name.parse(),
        _ => available().into_iter().next().ok_or_else(|| UnknownBackend { name: KNOWN[0].to_owned() }),
    }
}

/// Returns the backends that this program has, the native one first.
pub fn available() -> Vec<Backend> {
    vec![
        #[cfg(feature = "native")]
        native(),
        #[cfg(feature = "tokio")]
        tokio(),
        #[cfg(feature = "async-io")]
        async_io(),
    ]
}

/// Returns the backend of the run around, if any.
pub fn current() -> Option<Backend> {
    context::with_root(|root| root.with_settings(|s| s.backend.clone()))?
}

/// What serves a tree on a foreign executor, here and now: the runtime around it, or else what serves anywhere.
pub(crate) fn detect() -> Option<(Backend, Arc<dyn Handle>)> {
    let found = available().into_iter().find_map(|backend| {
        let handle = backend.inner.ambient()?;
        Some((backend, handle))
    });
    #[cfg(feature = "tokio")]
    let found = found.or_else(|| trine_tokio::incomplete().map(|handle| (tokio(), handle)));
    found
}

/// The services for i/o where the caller runs.
pub(crate) fn current_handle() -> io::Result<Arc<dyn Handle>> {
    let handle = context::with_root(|root| root.with_settings(|s| s.handle()))
        .unwrap_or_else(|| detect().map(|(_, handle)| handle));
    handle.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, NOTHING_DRIVES))
}

/// Whether [`current_handle`] would return this one.
pub(crate) fn is_current_handle(handle: &Arc<dyn Handle>) -> bool {
    context::with_root(|root| root.is_handle(handle))
        .unwrap_or_else(|| detect().is_some_and(|(_, found)| Arc::ptr_eq(&found, handle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_backend_whose_feature_is_off_is_told_by_its_feature() {
        for name in KNOWN {
            match name.parse::<Backend>() {
                Ok(backend) => assert_eq!(backend.name(), name),
                Err(error) => assert!(error.to_string().ends_with(&format!("add the feature `{name}` of trine"))),
            }
        }
        let error = "twisted".parse::<Backend>().unwrap_err().to_string();
        assert!(error.starts_with("unknown backend `twisted`"), "{error}");
    }
}
