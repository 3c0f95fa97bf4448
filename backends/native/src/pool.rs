//! Threads for blocking jobs, shared by all loops of the process: made on demand, kept for a while when idle.
//!
//! Invariants, under the lock:
//!
//! 1. `wakeups <= waiting`: each wakeup belongs to one waiting thread, which will look at the queue before it leaves;
//! 2. a queued job has a thread that will come to it: one that is busy or starting (these look at the queue until it
//!    is empty), or one with a wakeup.
//!
//! So a job is never left behind: a thread that gives up waiting has no wakeup, so no job counts on it.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use trine_backend::Job;

use crate::shared::lock;

/// More threads than this are not made; further jobs wait for one that gets free.
const MAX_THREADS: usize = 500;
/// How long a thread without a job stays.
const IDLE: Duration = Duration::from_secs(10);

static POOL: Pool = Pool::new(MAX_THREADS, IDLE);

/// Runs a job on a thread of the pool.
pub(crate) fn spawn(job: Job) -> io::Result<()> {
    POOL.spawn(job)
}

struct Pool {
    state: Mutex<State>,
    /// There is a wakeup.
    wakeup: Condvar,
    max_threads: usize,
    idle: Duration,
}

struct State {
    queue: VecDeque<Job>,
    threads: usize,
    waiting: usize,
    wakeups: usize,
}

impl Pool {
    const fn new(max_threads: usize, idle: Duration) -> Self {
        Self {
            state: Mutex::new(State { queue: VecDeque::new(), threads: 0, waiting: 0, wakeups: 0 }),
            wakeup: Condvar::new(),
            max_threads,
            idle,
        }
    }

    fn spawn(&'static self, job: Job) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.queue.push_back(job);
        if state.wakeups < state.waiting {
            state.wakeups += 1;
            drop(state);
            self.wakeup.notify_one();
            return Ok(());
        }
        if state.threads == self.max_threads {
            return Ok(());
        }
        // With the lock held, so that a failure finds the job where it was put.
        let started = thread::Builder::new().name("trine-blocking".into()).spawn(|| self.work());
        match started {
            Ok(_) => state.threads += 1,
            // Fewer threads than wanted, but the job will be run.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                let job = state.queue.pop_back();
                drop(state);
                drop(job);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The life of one thread.
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            while let Some(job) = state.queue.pop_front() {
                drop(state);
                run(job);
                state = lock(&self.state);
            }
            state.waiting += 1;
            state = self
                .wakeup
                .wait_timeout_while(state, self.idle, |state| state.wakeups == 0)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
            state.waiting -= 1;
            if state.wakeups == 0 {
                state.threads -= 1;
                return;
            }
            state.wakeups -= 1;
        }
    }
}

/// Runs a job; its panic has been reported by the hook, and ends here.
fn run(job: Job) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
        // The payload is foreign too, and may panic when dropped.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(max_threads: usize, idle: Duration) -> &'static Pool {
        Box::leak(Box::new(Pool::new(max_threads, idle)))
    }

    #[test]
    fn an_idle_thread_is_used_again() {
        let pool = pool(8, Duration::from_secs(10));
        let (tx, rx) = mpsc::channel();
        for _ in 0..50 {
            let tx = tx.clone();
            pool.spawn(Box::new(move || tx.send(thread::current().id()).unwrap())).unwrap();
            rx.recv().unwrap();
            while lock(&pool.state).waiting == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(lock(&pool.state).threads, 1);
    }

    #[test]
    fn jobs_beyond_the_limit_wait_for_a_thread() {
        let pool = pool(2, Duration::from_secs(10));
        let (tx, rx) = mpsc::channel();
        let gate = std::sync::Arc::new(std::sync::Barrier::new(2));
        for n in 0..10 {
            let (tx, gate) = (tx.clone(), gate.clone());
            pool.spawn(Box::new(move || {
                gate.wait();
                tx.send(n).unwrap();
            }))
            .unwrap();
        }
        let mut done: Vec<_> = (0..10).map(|_| rx.recv().unwrap()).collect();
        done.sort_unstable();
        assert_eq!(done, (0..10).collect::<Vec<_>>());
        assert_eq!(lock(&pool.state).threads, 2);
    }

    #[test]
    fn an_idle_thread_leaves() {
        let pool = pool(2, Duration::from_millis(1));
        pool.spawn(Box::new(|| {})).unwrap();
        while lock(&pool.state).threads > 0 {
            thread::yield_now();
        }
        let (tx, rx) = mpsc::channel();
        pool.spawn(Box::new(move || tx.send(()).unwrap())).unwrap();
        rx.recv().unwrap();
    }

    #[test]
    fn l26_a_payload_that_panics_when_dropped_does_not_kill_the_thread() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !thread::panicking() {
                    panic!("dropped");
                }
            }
        }
        let pool = pool(1, Duration::from_secs(10));
        pool.spawn(Box::new(|| std::panic::resume_unwind(Box::new(Bomb)))).unwrap();
        let (tx, rx) = mpsc::channel();
        pool.spawn(Box::new(move || tx.send(()).unwrap())).unwrap();
        rx.recv().unwrap();
    }
}
