//! The runtimes on io_uring. Each says whether this kernel lets it start; where not, its rows say why.
//!
//! A workload runs as a task there: monoio polls the future of its `block_on` for as long as that wakes itself, so that
//! no other task has a turn.

use std::{
    fmt::Display,
    future::{Future, ready},
    io,
    time::Duration,
};

use compio::runtime as compio_runtime;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use monoio::{IoUringDriver, RuntimeBuilder, time::TimeDriver};

use super::local::Local;

/// A runtime that did not start, in words.
fn refused<T>(started: Result<T, impl Display>) -> Result<(), String> {
    started.map(drop).map_err(|error| format!("does not start: {error}"))
}

/// monoio by ByteDance.
#[derive(Debug)]
pub(crate) struct Monoio;

fn monoio() -> io::Result<monoio::Runtime<TimeDriver<IoUringDriver>>> {
    RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()
}

impl Monoio {
    /// Whether it starts here.
    pub(crate) fn available() -> Result<(), String> {
        if !monoio::utils::detect_uring() {
            return Err("the kernel has not what its io_uring driver needs".into());
        }
        refused(monoio())
    }
}

impl Local for Monoio {
    fn run<T: 'static>(body: impl Future<Output = T> + 'static) -> T {
        monoio().expect("it has started before").block_on(async { monoio::spawn(body).await })
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        monoio::spawn(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        monoio::spawn(future);
    }

    /// A task of monoio that wakes itself goes to the front of the queue: it would be polled again before any other.
    fn yield_now() -> impl Future<Output = ()> {
        monoio::spawn(ready(()))
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        monoio::time::sleep(duration)
    }
}

/// compio.
#[derive(Debug)]
pub(crate) struct Compio;

impl Compio {
    /// Whether it starts here.
    pub(crate) fn available() -> Result<(), String> {
        refused(compio_runtime::Runtime::new())
    }
}

impl Local for Compio {
    fn run<T: 'static>(body: impl Future<Output = T> + 'static) -> T {
        let runtime = compio_runtime::Runtime::new().expect("it has started before");
        runtime.block_on(async { compio_runtime::spawn(body).await.expect("the body does not panic") })
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        let handle = compio_runtime::spawn(future);
        async move { handle.await.expect("a child does not panic") }
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        compio_runtime::spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        compio_runtime::time::sleep(duration)
    }
}

/// glommio by Datadog.
#[derive(Debug)]
pub(crate) struct Glommio;

fn glommio() -> Result<LocalExecutor, String> {
    LocalExecutorBuilder::new(Placement::Unbound).make().map_err(|error| error.to_string())
}

impl Glommio {
    /// Whether it starts here: it wants 512 KiB of locked memory.
    pub(crate) fn available() -> Result<(), String> {
        refused(glommio())
    }
}

impl Local for Glommio {
    fn run<T: 'static>(body: impl Future<Output = T> + 'static) -> T {
        glommio().expect("it has started before").run(async { glommio::spawn_local(body).await })
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        glommio::spawn_local(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        glommio::timer::sleep(duration)
    }
}

/// Where monoio is said to yield.
pub(crate) const NO_YIELD: &str = "has no yield that lets others run: an empty task is spawned and awaited";
