//! The way into a nursery for those who do not hold its root, and for those who may outlive it.
//!
//! The protocol is that of [`intake`](super::intake); here it meets tasks and wakers.

use super::core::CoreSlot;
use super::intake::Intake;
use super::open::Job;
use crate::sched::node::SlotRef;
use crate::sched::wakes::{Later, Wakes};
use crate::task::wake::WakeRef;
use std::sync::Arc;

pub(crate) struct Inbox {
    intake: Intake<Job, Arc<WakeRef>>,
    /// For same-root short cuts.
    core: SlotRef,
}

/// What a nursery was found to be.
pub(crate) enum Opening<R> {
    /// Open, and here.
    Open(R),
    Closed,
    /// Open, but this thread does not hold its root.
    Elsewhere,
}

fn wake(waker: Option<Arc<WakeRef>>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}

impl Inbox {
    pub(crate) fn new(core: *const CoreSlot) -> Self {
        // SAFETY: the nursery's slot is in use.
        let core = unsafe { SlotRef::new((*core).node()) };
        Self { intake: Intake::new(), core }
    }

    /// The nursery, alive or not.
    pub(crate) fn core(&self) -> *const CoreSlot {
        self.core.as_ptr().cast()
    }

    /// Makes the nursery look.
    pub(crate) fn ring(&self) {
        wake(self.intake.ring());
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.intake.is_rung()
    }

    pub(crate) fn take_ring(&self) -> bool {
        self.intake.take_ring()
    }

    pub(crate) fn set_waker(&self, waker: Option<WakeRef>) {
        let old = self.intake.set_waker(waker.map(Arc::new));
        drop(old);
    }

    /// Leaves a job; it comes back if the nursery is closed.
    pub(crate) fn send(&self, job: Job) -> Result<(), Job> {
        self.intake.send(job).map(wake)
    }

    pub(crate) fn take_jobs(&self) -> Vec<Job> {
        self.intake.take_jobs()
    }

    pub(crate) fn starts(&self) -> usize {
        self.intake.starts()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.intake.is_open()
    }

    /// Counts a pending `start`; false if the nursery is closed.
    pub(crate) fn begin_start(&self) -> bool {
        self.intake.begin_start()
    }

    pub(crate) fn end_start(&self) {
        wake(self.intake.end_start());
    }

    /// As [`Inbox::end_start`]; whom to wake is for later. Not with a lock held.
    pub(crate) fn end_start_later(&self, wakes: &mut Wakes) {
        wakes.extend(self.intake.end_start().map(Arc::unwrap_or_clone).map(Later::Wake));
    }

    /// The nursery has no task left: closes, unless somebody just left a job or began a start.
    pub(crate) fn close_if_empty(&self) -> bool {
        let closed = self.intake.close_if_empty();
        if closed {
            // A spawner that is kept keeps no task's memory.
            self.set_waker(None);
        }
        closed
    }

    /// Closes; what was left comes back, for the caller to drop.
    pub(crate) fn close(&self) -> Vec<Job> {
        let (jobs, waker) = self.intake.close();
        drop(waker);
        jobs
    }

    /// Runs `f`, which runs no foreign code, with the nursery, if it is open and this thread holds its root. It does not close
    /// meanwhile, also if another thread drops it.
    pub(crate) fn with_open<R>(&self, f: impl FnOnce(&CoreSlot) -> R) -> Opening<R> {
        if !self.core.is_live() {
            return Opening::Closed;
        }
        if !self.core.get().is_here() {
            return if self.is_open() { Opening::Elsewhere } else { Opening::Closed };
        }
        // SAFETY: alive, as of now, and retired only by the holder of its owner, which is this thread; a slot of this kind.
        let run = || f(unsafe { &*self.core.as_ptr().cast::<CoreSlot>() });
        self.intake.while_open(run).map_or(Opening::Closed, Opening::Open)
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
