//! tokio: futures in `block_on` of a current-thread runtime, and as tasks of a multi-thread one.
//!
//! The task of the multi-thread runtime is made to change threads between polls: once it is pending, its next polls are
//! refused on the same thread. The worker gives its core away and waits a moment, and the task is woken, so that another
//! worker finds it. A hosted tree finds tokio's budget spent in these polls, so it goes back to its worker after each pass
//! and is moved more often. After [`MOVES`] moves the task is left where it is, so that long programs do not take for ever.

use super::guarded::Guarded;
use super::{Executor, Host, HostError, Local, Sendable, Subject, lock};
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::coop;
use trine_backend::Backend;

/// How often a future is moved to another thread.
const MOVES: usize = 32;

/// How often a poll on the same thread is refused in a row. One refusal is nearly always enough.
const REFUSALS: usize = 200;

/// How long a worker waits for another one to take over.
const PAUSE: Duration = Duration::from_micros(50);

/// The tree is hosted in `block_on` of a current-thread runtime, a new one for each run.
pub struct CurrentThread {
    backend: Arc<dyn Backend>,
}

/// The tree is a spawned task of a multi-thread runtime, and changes threads.
pub struct MultiThread {
    backend: Arc<dyn Backend>,
    runtime: Runtime,
}

impl CurrentThread {
    /// The row.
    pub fn new() -> Self {
        Self { backend: trine_tokio::tokio() }
    }
}

impl Default for CurrentThread {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CurrentThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentThread")
    }
}

impl MultiThread {
    /// The row, with a runtime of its own.
    ///
    /// # Panics
    ///
    /// If the runtime cannot be made.
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime");
        Self { backend: trine_tokio::tokio(), runtime }
    }
}

impl Default for MultiThread {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MultiThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MultiThread")
    }
}

fn current_thread() -> Result<Runtime, HostError> {
    Builder::new_current_thread().enable_all().build().map_err(|error| HostError::Broken(error.to_string()))
}

/// A current-thread runtime, a new one for each future.
impl Executor for CurrentThread {
    fn run(&self, fut: Sendable) -> Result<(), HostError> {
        current_thread()?.block_on(Guarded::new(fut))
    }
}

/// A spawned task, which changes threads.
impl Executor for MultiThread {
    fn run(&self, fut: Sendable) -> Result<(), HostError> {
        self.spawn(fut, false)
    }
}

impl MultiThread {
    fn spawn(&self, fut: Sendable, spends: bool) -> Result<(), HostError> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = self.runtime.spawn(Moving { inner: Guarded::new(fut), seen: Arc::clone(&seen), spends });
        // This thread only waits for the task: it is none of the workers.
        let ended = self.runtime.block_on(task);
        ended.unwrap_or_else(|error| Err(HostError::Broken(error.to_string())))?;
        let seen = lock(&seen);
        if seen.polls >= 2 && seen.threads.len() < 2 {
            return Err(HostError::Broken(format!("{} polls, all on one thread", seen.polls)));
        }
        Ok(())
    }
}

impl Host for CurrentThread {
    fn name(&self) -> &str {
        "tokio-current-thread"
    }

    fn run_sendable(&self, builder: trine::Builder, fut: Sendable) -> Result<(), HostError> {
        self.run(Box::pin(builder.host(fut)))
    }

    fn stays(&self) -> bool {
        true
    }

    fn run_local(&self, builder: trine::Builder, make: Local) -> Result<(), HostError> {
        current_thread()?.block_on(async { Guarded::new(builder.host(make())).await })
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

impl Host for MultiThread {
    fn name(&self) -> &str {
        "tokio-multi-thread"
    }

    fn run_sendable(&self, builder: trine::Builder, fut: Sendable) -> Result<(), HostError> {
        self.spawn(Box::pin(builder.host(fut)), true)
    }

    fn stays(&self) -> bool {
        false
    }

    fn run_local(&self, _builder: trine::Builder, _make: Local) -> Result<(), HostError> {
        Err(HostError::Broken("its futures change threads".to_owned()))
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

/// Where a future has been polled.
#[derive(Debug, Default)]
struct Seen {
    polls: usize,
    threads: HashSet<ThreadId>,
    last: Option<ThreadId>,
    moves: usize,
    refusals: usize,
}

/// A future that changes threads.
struct Moving<F> {
    inner: Guarded<F>,
    seen: Arc<Mutex<Seen>>,
    /// Each poll that is followed by a move finds tokio's budget spent.
    spends: bool,
}

impl<F: Future<Output = ()>> Future for Moving<F> {
    type Output = Result<(), HostError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let here = thread::current().id();
        let (refused, moves) = {
            let mut seen = lock(&self.seen);
            let refused = seen.last == Some(here) && seen.moves < MOVES && seen.refusals < REFUSALS;
            if refused {
                seen.refusals += 1;
            } else {
                seen.moves += usize::from(seen.last.is_some_and(|last| last != here));
                seen.refusals = 0;
                seen.polls += 1;
                seen.threads.insert(here);
                seen.last = Some(here);
            }
            (refused, seen.moves < MOVES)
        };
        if refused {
            tokio::task::block_in_place(|| thread::sleep(PAUSE));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.spends && moves {
            spend_budget(cx);
        }
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// Leaves nothing of the task's cooperative budget for this poll.
fn spend_budget(cx: &mut Context<'_>) {
    while coop::has_budget_remaining() {
        match coop::poll_proceed(cx) {
            Poll::Ready(unit) => unit.made_progress(),
            Poll::Pending => break,
        }
    }
}
