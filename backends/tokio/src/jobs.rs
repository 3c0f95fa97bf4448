//! Blocking jobs on tokio's pool, with nothing lost at shutdown.
//!
//! A runtime that shuts down drops the jobs that no thread has taken up yet, and may drop one that comes later at once. A
//! job that was accepted must run (law L25), so what tokio drops is run on a thread of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle as RuntimeHandle;
use trine_backend::Job;

/// Runs a job on the runtime's pool.
pub(crate) fn spawn(runtime: &RuntimeHandle, job: Job) -> io::Result<()> {
    let accepted = Accepted(Some(job));
    // tokio panics if the pool has no thread and cannot start one; the job is then queued or dropped, and run in the end.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(move || accepted.run()))));
    Ok(())
}

/// Runs a job on a thread of its own.
pub(crate) fn spawn_elsewhere(job: Job) -> io::Result<()> {
    thread::Builder::new().name("trine-blocking".into()).spawn(job).map(drop)
}

/// A job that will be run, by whoever lets go of it.
struct Accepted(Option<Job>);

impl Accepted {
    fn run(mut self) {
        if let Some(job) = self.0.take() {
            job();
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        let Some(job) = self.0.take() else { return };
        let kept = Arc::new(Mutex::new(Some(job)));
        let take = |kept: &Mutex<Option<Job>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let theirs = Arc::clone(&kept);
        let started = spawn_elsewhere(Box::new(move || {
            if let Some(job) = take(&theirs) {
                job();
            }
        }));
        if started.is_err() {
            // Late and here is better than never: somebody may wait for it. Its panic is reported by the hook.
            if let Some(job) = take(&kept) {
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        }
    }
}
