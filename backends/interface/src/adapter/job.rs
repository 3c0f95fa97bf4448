//! A job that is run in any case.
//!
//! A pool that shuts down drops the jobs that no thread has taken up yet. One that was accepted must run (law 25), so
//! what is dropped is run on a thread of its own.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Job;

/// Runs a job on a thread of its own.
///
/// # Errors
///
/// No thread could be started: the job was dropped.
pub fn spawn_thread(job: Job) -> io::Result<()> {
    thread::Builder::new().name("trine-blocking".into()).spawn(job).map(drop)
}

/// A job that is run exactly once, by whoever lets go of it: where [`run`](Self::run) is called; on a thread of its own
/// if it is dropped instead; where it is dropped, if no thread can be started.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use trine_backend::adapter::SureJob;
///
/// let (tx, rx) = mpsc::channel();
/// drop(SureJob::new(Box::new(move || tx.send(std::thread::current().id()).unwrap())));
/// assert_ne!(rx.recv(), Ok(std::thread::current().id()));
/// ```
pub struct SureJob(Option<Job>);

impl SureJob {
    /// Takes a job that will be run.
    pub fn new(job: Job) -> Self {
        Self(Some(job))
    }

    /// Runs it here; its panic is the caller's to bear.
    pub fn run(mut self) {
        if let Some(job) = self.0.take() {
            job();
        }
    }
}

impl fmt::Debug for SureJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SureJob").finish_non_exhaustive()
    }
}

impl Drop for SureJob {
    fn drop(&mut self) {
        let Some(job) = self.0.take() else { return };
        let kept = Arc::new(Mutex::new(Some(job)));
        let take = |kept: &Mutex<Option<Job>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let theirs = Arc::clone(&kept);
        let started = spawn_thread(Box::new(move || {
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

#[cfg(test)]
mod tests {
    use super::SureJob;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn l25_a_job_is_run_once_where_it_is_let_go_of() {
        let (tx, rx) = mpsc::channel();
        let job = || {
            let tx = tx.clone();
            SureJob::new(Box::new(move || tx.send(thread::current().id()).unwrap()))
        };
        job().run();
        assert_eq!(rx.recv(), Ok(thread::current().id()));
        drop(job());
        assert_ne!(rx.recv(), Ok(thread::current().id()));
        drop(tx);
        assert!(rx.recv().is_err(), "one ran twice");
    }

    #[test]
    fn l25_a_job_that_panics_is_not_run_again() {
        let (tx, rx) = mpsc::channel();
        let job = SureJob::new(Box::new(move || {
            tx.send(()).unwrap();
            std::panic::resume_unwind(Box::new("out"));
        }));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run())).is_err());
        assert_eq!((rx.recv(), rx.recv().is_err()), (Ok(()), true));
    }
}
