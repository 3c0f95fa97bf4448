//! The hand-off between a nursery and those who leave something for it: jobs, a ring, and whether it is open.
//!
//! Invariants: `open` is true until the nursery has ended or is dropped, and then false for ever; jobs are taken only by
//! the nursery; `starts` counts the pending `start` calls, which keep the nursery open.
//!
//! A ring is never lost: the ringer sets `rung`, then wakes the waker it finds; the nursery leaves its waker, then looks
//! at `rung`.

use crate::sched::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use std::mem;
use std::sync::PoisonError;

/// See the module. `W` is cloned under the lock, so that must run no foreign code.
pub(crate) struct Intake<J, W> {
    state: Mutex<State<J, W>>,
    rung: AtomicBool,
}

struct State<J, W> {
    open: bool,
    jobs: Vec<J>,
    starts: usize,
    waker: Option<W>,
}

impl<J, W: Clone> Intake<J, W> {
    pub(crate) fn new() -> Self {
        let state = State { open: true, jobs: Vec::new(), starts: 0, waker: None };
        Self { state: Mutex::new(state), rung: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State<J, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the nursery look, if the caller wakes whom it gets.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<W> {
        self.rung.store(true, Ordering::SeqCst);
        self.lock().waker.clone()
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    pub(crate) fn take_ring(&self) -> bool {
        self.is_rung() && self.rung.swap(false, Ordering::SeqCst)
    }

    /// Exchanges the waker; the old one is for the caller to drop. Look at the ring afterwards.
    pub(crate) fn set_waker(&self, waker: Option<W>) -> Option<W> {
        mem::replace(&mut self.lock().waker, waker)
    }

    /// Leaves a job, and rings; it comes back if the nursery is closed.
    pub(crate) fn send(&self, job: J) -> Result<Option<W>, J> {
        {
            let mut state = self.lock();
            if !state.open {
                return Err(job);
            }
            state.jobs.push(job);
        }
        Ok(self.ring())
    }

    pub(crate) fn take_jobs(&self) -> Vec<J> {
        mem::take(&mut self.lock().jobs)
    }

    pub(crate) fn starts(&self) -> usize {
        self.lock().starts
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Runs `f` if it is open, and keeps it open for so long.
    pub(crate) fn while_open<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let state = self.lock();
        state.open.then(f)
    }

    /// Counts a pending `start`; false if the nursery is closed.
    pub(crate) fn begin_start(&self) -> bool {
        let mut state = self.lock();
        if state.open {
            state.starts += 1;
        }
        state.open
    }

    /// Ends a pending `start`, and rings.
    #[must_use]
    pub(crate) fn end_start(&self) -> Option<W> {
        self.lock().starts -= 1;
        self.ring()
    }

    /// The nursery has no task left: closes, unless somebody just left a job or began a start.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        if state.jobs.is_empty() && state.starts == 0 && !self.is_rung() {
            state.open = false;
        }
        !state.open
    }

    /// Closes; what was left comes back, for the caller to drop.
    pub(crate) fn close(&self) -> (Vec<J>, Option<W>) {
        let mut state = self.lock();
        state.open = false;
        (mem::take(&mut state.jobs), state.waker.take())
    }
}
