//! The life of a driver, for what it gave out.
//!
//! The reactor goes on when a driver is dropped. Its alarms and registrations end nevertheless, as on every backend: a
//! tree must not depend on which one it left behind (law L30). What hosted trees get has no driver, and never ends.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use trine_backend::Relay;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Life {
    ended: AtomicBool,
    members: Mutex<Members>,
}

/// The relays of what was given out. Their wakers own nothing foreign, so they may be dropped under the lock.
#[derive(Debug, Default)]
struct Members {
    last: u64,
    wakers: HashMap<u64, Waker>,
}

/// A relay's place among those that are woken at the end.
#[derive(Debug)]
pub(crate) struct Member {
    /// `None`: it never ends.
    life: Option<Arc<Life>>,
    key: u64,
}

impl Life {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Ends it, and wakes whoever waits.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let wakers = mem::take(&mut self.members().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Joins, unless it has ended.
    pub(crate) fn join(life: Option<&Arc<Life>>, relay: &Relay) -> io::Result<Self> {
        let Some(life) = life else { return Ok(Self { life: None, key: 0 }) };
        let mut members = life.members();
        if life.has_ended() {
            return Err(trine_backend::gone());
        }
        members.last += 1;
        let key = members.last;
        members.wakers.insert(key, relay.waker().clone());
        Ok(Self { life: Some(Arc::clone(life)), key })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.has_ended())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(life) = &self.life {
            life.members().wakers.remove(&self.key);
        }
    }
}
