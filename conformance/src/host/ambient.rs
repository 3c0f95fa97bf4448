//! A backend that serves whoever polls.

use super::driven::Shared;
use super::guarded::{Guarded, block_on};
use super::subject::Parking;
use super::{Executor, Host, HostError, Local, Sendable, Subject};
use std::fmt;
use std::sync::Arc;
use trine::Builder;
use trine_backend::Backend;

/// Polls a hosted tree by the smallest executor there is; the tree is served by the backend's
/// [`ambient`](Backend::ambient).
pub struct Ambient {
    name: String,
    backend: Arc<dyn Backend>,
    /// The tree is told what serves it; otherwise it has to find out.
    tell: bool,
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ambient").field(&self.name).finish()
    }
}

impl Ambient {
    /// Takes a backend; the row is named after it.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { name: format!("{}-ambient", backend.name()), backend, tell: true }
    }

    /// A row in which the tree has to find out by itself that the backend serves it.
    pub fn found(name: &str, backend: Arc<dyn Backend>) -> Self {
        Self { name: name.to_owned(), backend, tell: false }
    }

    fn settings(&self, builder: Builder) -> Builder {
        if self.tell {
            builder.backend(trine::backend::Backend::new(Shared(Arc::clone(&self.backend))))
        } else {
            builder
        }
    }
}

impl Host for Ambient {
    fn name(&self) -> &str {
        &self.name
    }

    fn run_sendable(&self, builder: Builder, fut: Sendable) -> Result<(), HostError> {
        Parking.run(Box::pin(self.settings(builder).host(fut)))
    }

    fn stays(&self) -> bool {
        true
    }

    fn run_local(&self, builder: Builder, make: Local) -> Result<(), HostError> {
        block_on(Guarded::new(self.settings(builder).host(make())))
    }

    fn has_subject(&self) -> bool {
        true
    }

    fn has_driver(&self) -> bool {
        false
    }

    fn with_subject(&self, f: &mut dyn FnMut(&Subject<'_>)) {
        f(&Subject::ambient(&self.backend, &Parking));
    }
}
