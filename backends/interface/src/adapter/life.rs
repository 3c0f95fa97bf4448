//! The life of a loop, for what it gave out.
//!
//! A loop may end while others hold its handle, alarms and registrations, and some hosts go on when a driver of theirs is
//! dropped. What was given out ends with the driver nevertheless (law 30): a tree must not depend on what it left behind.
//!
//! Invariants:
//!
//! 1. while somebody has [`Life::alive`], it does not end: [`Life::end`] waits. No foreign code runs under it;
//! 2. a relay that has joined is woken by the end; one that comes later is refused. So whoever stores a waker in it and then
//!    looks again finds the end, or is found by it.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;

use crate::{Relay, gone};

/// Whether a loop is there. See [`HostHandle::end`](super::HostHandle::end).
#[derive(Debug, Default)]
pub struct Life {
    ended: AtomicBool,
    /// Written by the end, read by whoever must not be overtaken by it.
    gate: RwLock<()>,
    members: Mutex<Members>,
}

/// Keeps a loop from ending: the end waits until it is dropped.
#[derive(Debug)]
pub struct Alive<'a> {
    _gate: RwLockReadGuard<'a, ()>,
}

/// The relays of what was given out. Their wakers own nothing foreign, so they may be dropped under the lock.
#[derive(Debug, Default)]
struct Members {
    last: u64,
    wakers: HashMap<u64, Waker>,
}

/// A relay's place among those that are woken at the end.
#[derive(Debug)]
pub(super) struct Member {
    life: Arc<Life>,
    key: u64,
}

impl Life {
    /// Returns whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Keeps it from ending; `None`: it has ended.
    pub fn alive(&self) -> Option<Alive<'_>> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        (!self.has_ended()).then_some(Alive { _gate: gate })
    }

    /// Ends it when nobody keeps it from that, and wakes whoever waits. A second call does nothing.
    pub fn end(&self) {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.ended.store(true, Ordering::SeqCst);
        drop(gate);
        let wakers = mem::take(&mut self.members().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Joins.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(super) fn join(life: &Arc<Life>, relay: &Relay) -> io::Result<Self> {
        let mut members = life.members();
        if life.has_ended() {
            return Err(gone());
        }
        members.last += 1;
        let key = members.last;
        members.wakers.insert(key, relay.waker().clone());
        drop(members);
        Ok(Self { life: Arc::clone(life), key })
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.life.members().wakers.remove(&self.key);
    }
}
