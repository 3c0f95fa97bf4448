//! Starts the executors that the contenders run on, and the two counters that several of them share.

use std::{
    cell::Cell,
    future::{Future, pending, poll_fn},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use async_executor::LocalExecutor;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{runtime, sync::Notify, task::LocalSet};

use crate::harness::NATIVE;

thread_local! {
    /// The backend that [`on_trine`] uses.
    static BACKEND: Cell<&'static str> = const { Cell::new(NATIVE) };
}

/// The names of trine's backends in this program.
pub(crate) fn backends() -> impl Iterator<Item = &'static str> {
    trine::backend::available().into_iter().map(|backend| backend.name())
}

/// Makes [`on_trine`] use another backend within `f`.
pub(crate) fn on_backend<T>(name: &'static str, f: impl FnOnce() -> T) -> T {
    let before = BACKEND.replace(name);
    let result = f();
    BACKEND.set(before);
    result
}

/// Runs `body` on trine, on the backend that [`on_backend`] names, or else the native one.
pub(crate) fn on_trine<T>(body: impl Future<Output = trine::Result<T>>) -> T {
    let backend = BACKEND.get().parse().expect("a backend of this program");
    trine::Builder::new().backend(backend).run(body).expect("a workload does not fail")
}

/// Builds tokio's single-threaded runtime, whole.
pub(crate) fn tokio_runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Runs `body` on tokio's single-threaded runtime.
pub(crate) fn on_tokio<T>(body: impl Future<Output = T>) -> T {
    tokio_runtime().block_on(body)
}

/// Runs `body` as a task of tokio's runtime of many threads.
pub(crate) fn on_tokio_threads<T: Send + 'static>(body: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async { tokio::spawn(body).await.expect("a workload does not panic") })
}

/// Runs `body` in a tokio `LocalSet`.
pub(crate) fn on_local_set<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio_runtime();
    LocalSet::new().block_on(&runtime, body)
}

/// Runs `body` beside the tasks of a smol `LocalExecutor`, without I/O or timers.
pub(crate) fn on_smol<T>(body: impl AsyncFnOnce(&LocalExecutor<'_>) -> T) -> T {
    let executor = LocalExecutor::new();
    futures_lite::future::block_on(executor.run(body(&executor)))
}

/// Polls `future` once, for what it starts, and gives up its wait.
pub(crate) async fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Counts children that have reached a point, so that the clock can start when all have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrivals(Arc<AtomicUsize>);

impl Arrivals {
    /// Counts one child.
    pub(crate) fn arrive(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells whether all of `count` are there.
    pub(crate) fn complete(&self, count: usize) -> bool {
        self.0.load(Ordering::Relaxed) >= count
    }
}

/// A waiter that reports its arrival and then waits for ever.
pub(crate) fn park(arrivals: Arrivals) -> impl Future<Output = ()> {
    park_for(arrivals)
}

/// The same, whatever it is to return.
pub(crate) async fn park_for<T>(arrivals: Arrivals) -> T {
    arrivals.arrive();
    pending().await
}

/// Polls `children` until all of `ops` are parked.
pub(crate) async fn park_all<F: Future>(children: &mut FuturesUnordered<F>, arrivals: &Arrivals, ops: usize) {
    while !arrivals.complete(ops) {
        poll_once(children.next()).await;
    }
}

/// Tells when the last of a number of detached `Send` tasks is done.
#[derive(Debug, Clone)]
pub(crate) struct Countdown(Arc<(AtomicUsize, Notify)>);

impl Countdown {
    /// Expects `count` tasks.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new((AtomicUsize::new(count), Notify::new())))
    }

    /// Counts one task as done.
    pub(crate) fn done(&self) {
        if self.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.1.notify_one();
        }
    }

    /// Waits for the last one.
    pub(crate) async fn wait(&self) {
        self.0.1.notified().await;
    }
}

/// The same for tasks of one thread, without an atomic per task.
#[derive(Debug, Clone)]
pub(crate) struct LocalCountdown(Rc<(Cell<usize>, Notify)>);

impl LocalCountdown {
    /// Expects `count` tasks.
    pub(crate) fn new(count: usize) -> Self {
        Self(Rc::new((Cell::new(count), Notify::new())))
    }

    /// Counts one task as done.
    pub(crate) fn done(&self) {
        let left = self.0.0.get() - 1;
        self.0.0.set(left);
        if left == 0 {
            self.0.1.notify_one();
        }
    }

    /// Waits for the last one.
    pub(crate) async fn wait(&self) {
        self.0.1.notified().await;
    }
}
