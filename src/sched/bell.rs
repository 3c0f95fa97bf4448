//! What makes a root's host poll it.
//!
//! Whoever leaves something for the root first leaves it, then rings; the one who finds the bell silent wakes the host.
//! The turn leaves its host's waker, then silences the bell, then looks: so it sees what was left by everybody who
//! found the bell ringing, and who rings after that finds the new waker.

use super::sync::{AtomicBool, Mutex, Ordering};
use std::mem;

/// See the module. `W` is cloned under a lock, so that must run no foreign code.
pub(crate) struct Bell<W> {
    rung: AtomicBool,
    host: Mutex<Option<W>>,
}

impl<W: Clone> Bell<W> {
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false), host: Mutex::new(None) }
    }

    /// Rings. The host comes back if it must be woken.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<W> {
        // A read-modify-write also when it rings already: the turn that silences it must see what the caller left.
        if self.rung.swap(true, Ordering::AcqRel) { None } else { self.host() }
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Silences the bell; true if it rang. What a stale look misses, its ringer wakes the host for.
    pub(crate) fn silence(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn host(&self) -> Option<W> {
        self.host.lock().unwrap_or_else(|_| unreachable!()).clone()
    }

    /// Exchanges the host; the old one is for the caller to drop.
    pub(crate) fn set_host(&self, host: Option<W>) -> Option<W> {
        mem::replace(&mut *self.host.lock().unwrap_or_else(|_| unreachable!()), host)
    }
}
