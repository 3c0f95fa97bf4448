//! Code as others write it, on tokio's threads: handlers behind trait objects, layers of services, boxed trait methods,
//! generic helpers, recursion.
//!
//! What matters first is that it compiles: tokio's `spawn` asks for `Send` of everything that a body, a child or a scope
//! holds across its waits, and types that are erased or generic leave the compiler little to see that by. It is run, too,
//! by as many workers as can steal it from each other.
#![cfg(not(loom))]
#![allow(clippy::unit_arg, reason = "the tests write what users write")]

mod generic;
mod handlers;
mod layers;
mod moving;
mod recursion;
mod streams;
mod traits;

use std::pin::Pin;
use std::time::Duration;

/// What others call `BoxFuture`.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time of a timeout that is to end a wait without end.
const MS: Duration = Duration::from_millis(1);
/// Long enough that a test which waits for it has failed.
const LONG: Duration = Duration::from_secs(60);

/// Runs it as a task of a runtime with several workers.
fn on_threads<T: Send + 'static>(fut: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(fut).await.unwrap() })
}
