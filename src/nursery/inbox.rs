//! The way into a nursery for those who do not hold its root, and for those who may outlive it.
//!
//! Invariants: `open` is true until the nursery has ended or is dropped, and then false for ever; jobs are taken only by
//! the nursery; `starts` counts the pending `start` calls, which keep the nursery open.
//!
//! A ring is never lost: the ringer sets `rung`, then wakes the waker it finds; the nursery leaves its waker, then looks
//! at `rung`.

use super::core::CoreSlot;
use super::open::Job;
use crate::sched::node::SlotRef;
use crate::task::wake::WakeRef;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) struct Inbox {
    state: Mutex<State>,
    rung: AtomicBool,
    /// For same-root short cuts.
    core: SlotRef,
}

struct State {
    open: bool,
    jobs: Vec<Job>,
    starts: usize,
    waker: Option<Arc<WakeRef>>,
}

impl Inbox {
    pub(crate) fn new(core: *const CoreSlot) -> Self {
        let state = State { open: true, jobs: Vec::new(), starts: 0, waker: None };
        // SAFETY: the nursery's slot is in use.
        let core = unsafe { SlotRef::new((*core).node()) };
        Self { state: Mutex::new(state), rung: AtomicBool::new(false), core }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the nursery look.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        let waker = self.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    pub(crate) fn take_ring(&self) -> bool {
        self.is_rung() && self.rung.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn set_waker(&self, waker: Option<WakeRef>) {
        let fresh = waker.map(Arc::new);
        let old = std::mem::replace(&mut self.lock().waker, fresh);
        drop(old);
    }

    /// Leaves a job; it comes back if the nursery is closed.
    pub(crate) fn send(&self, job: Job) -> Result<(), Job> {
        {
            let mut state = self.lock();
            if !state.open {
                drop(state);
                return Err(job);
            }
            state.jobs.push(job);
        }
        self.ring();
        Ok(())
    }

    pub(crate) fn take_jobs(&self) -> Vec<Job> {
        std::mem::take(&mut self.lock().jobs)
    }

    pub(crate) fn starts(&self) -> usize {
        self.lock().starts
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Counts a pending `start`; false if the nursery is closed.
    pub(crate) fn begin_start(&self) -> bool {
        let mut state = self.lock();
        if state.open {
            state.starts += 1;
        }
        state.open
    }

    pub(crate) fn end_start(&self) {
        self.lock().starts -= 1;
        self.ring();
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
    pub(crate) fn close(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.open = false;
        let waker = state.waker.take();
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(waker);
        jobs
    }

    /// The nursery, if it is open and this thread holds its root.
    pub(crate) fn here(&self) -> Option<&CoreSlot> {
        if !self.core.get().is_here() || !self.core.is_live() || !self.is_open() {
            return None;
        }
        // SAFETY: alive: it is retired only by the holder of its owner, which is this thread, and a slot of this kind.
        Some(unsafe { &*self.core.as_ptr().cast::<CoreSlot>() })
    }
}
