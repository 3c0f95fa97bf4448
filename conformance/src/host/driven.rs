//! A backend that drives with a loop of its own.

use super::{Host, HostError, Local, Sendable, Subject, caught};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use trine::Builder;
use trine_backend::{Backend, Driver, Handle};

/// Runs futures by `Builder::run` on a backend, a loop for each.
pub struct Driven {
    name: String,
    backend: Arc<dyn Backend>,
}

impl fmt::Debug for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driven").field(&self.name).finish()
    }
}

impl Driven {
    /// Takes a backend; the row has its name.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let name = backend.name();
        Self::named(name, backend)
    }

    /// Takes a backend, with a name for the row.
    pub fn named(name: &str, backend: Arc<dyn Backend>) -> Self {
        Self { name: name.to_owned(), backend }
    }

    fn run(&self, builder: Builder, fut: Pin<Box<dyn Future<Output = ()> + '_>>) -> Result<(), HostError> {
        let backend = trine::backend::Backend::new(Shared(Arc::clone(&self.backend)));
        Ok(builder.backend(backend).try_run(fut)?)
    }
}

impl Host for Driven {
    fn name(&self) -> &str {
        &self.name
    }

    fn run_sendable(&self, builder: Builder, fut: Sendable) -> Result<(), HostError> {
        caught(|| self.run(builder, fut))
    }

    fn stays(&self) -> bool {
        true
    }

    fn run_local(&self, builder: Builder, make: Local) -> Result<(), HostError> {
        caught(|| self.run(builder, make()))
    }

    fn has_subject(&self) -> bool {
        true
    }

    fn has_driver(&self) -> bool {
        true
    }

    fn with_subject(&self, f: &mut dyn FnMut(&Subject<'_>)) {
        f(&Subject::driven(&self.backend));
    }
}

/// A backend that is one already, as a value of its own.
pub(crate) struct Shared(pub(crate) Arc<dyn Backend>);

impl Backend for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        self.0.driver()
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        self.0.ambient()
    }

    fn nested_hint(&self) -> Option<&'static str> {
        self.0.nested_hint()
    }
}
