//! smol's executor, with async-io's reactor.

use super::guarded::Guarded;
use super::{Executor, Host, HostError, Local, Sendable, Subject};
use async_executor::LocalExecutor;
use std::fmt;
use std::sync::Arc;
use trine::Builder;
use trine_backend::Backend;

/// The tree is a spawned task of smol's executor.
pub struct Smol {
    backend: Arc<dyn Backend>,
}

impl Smol {
    /// The row.
    pub fn new() -> Self {
        Self { backend: trine_async_io::async_io() }
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smol")
    }
}

impl Executor for Smol {
    fn run(&self, fut: Sendable) -> Result<(), HostError> {
        let executor = async_executor::Executor::new();
        let task = executor.spawn(Guarded::new(fut));
        async_io::block_on(executor.run(task))
    }
}

impl Host for Smol {
    fn name(&self) -> &str {
        "smol"
    }

    fn run_sendable(&self, builder: Builder, fut: Sendable) -> Result<(), HostError> {
        self.run(Box::pin(builder.host(fut)))
    }

    fn stays(&self) -> bool {
        true
    }

    fn run_local(&self, builder: Builder, make: Local) -> Result<(), HostError> {
        let executor = LocalExecutor::new();
        let task = executor.spawn(Guarded::new(builder.host(make())));
        async_io::block_on(executor.run(task))
    }

    fn has_subject(&self) -> bool {
        true
    }

    fn has_driver(&self) -> bool {
        false
    }

    fn with_subject(&self, f: &mut dyn FnMut(&Subject<'_>)) {
        f(&Subject::ambient(&self.backend, self));
    }
}
