//! The life of a loop, for what it gave out.
//!
//! A loop may end while others hold its handle, alarms and registrations, and some hosts go on when a driver of theirs
//! is dropped. What was given out ends with the driver nevertheless (law 30): a tree must not depend on what it left
//! behind.
//!
//! Invariants:
//!
//! 1. while somebody has [`Life::alive`], it does not end: [`Life::end`] waits. No foreign code runs under it;
//! 2. a relay that has joined is woken by the end; one that comes later is refused. So whoever stores a waker in it and
//!    then looks again finds the end, or is found by it.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;

use crate::{Relay, gone, wake_all};

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
        wake_all(wakers.into_values());
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

#[cfg(test)]
mod tests {
    use super::super::support::Count;
    use super::*;
    use std::sync::mpsc;
    use std::task::{Context, Poll};
    use std::thread;

    /// Lets somebody wait in a relay.
    fn wait(relay: &Relay, waker: &Waker) {
        assert!(relay.poll(&mut Context::from_waker(waker), |_| Poll::<()>::Pending).is_pending());
    }

    #[test]
    fn l30_the_end_wakes_who_has_joined_and_has_not_left() {
        let (life, relays) = (Arc::new(Life::default()), [(); 3].map(|()| Relay::new()));
        let [first, second, third] = relays.each_ref().map(|relay| Member::join(&life, relay).unwrap());
        let counts = relays.each_ref().map(|relay| {
            let (count, waker) = Count::new();
            wait(relay, &waker);
            count
        });
        drop(second);
        life.end();
        assert_eq!(counts.map(|count| count.get()), [1, 0, 1]);
        life.end();
        assert!(Member::join(&life, &relays[1]).is_err() && life.alive().is_none());
        drop((first, third));
    }

    #[test]
    fn l30_the_end_wakes_all_though_a_waker_panics() {
        struct Bomb;
        impl std::task::Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("a waker's own panic");
            }
        }
        let (life, relays) = (Arc::new(Life::default()), [(); 8].map(|()| Relay::new()));
        let _members = relays.each_ref().map(|relay| Member::join(&life, relay).unwrap());
        let (count, waker) = Count::new();
        wait(&relays[0], &Waker::from(Arc::new(Bomb)));
        relays[1..].iter().for_each(|relay| wait(relay, &waker));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life.end())).is_err());
        assert_eq!(count.get(), 7);
    }

    #[test]
    fn the_end_waits_for_those_who_keep_it_away() {
        let life = Arc::new(Life::default());
        let (tx, rx) = mpsc::channel();
        let alive = life.alive().unwrap();
        let ending = thread::spawn({
            let life = Arc::clone(&life);
            move || {
                tx.send(()).unwrap();
                life.end();
            }
        });
        rx.recv().unwrap();
        for _ in 0..1_000 {
            assert!(!life.has_ended());
            thread::yield_now();
        }
        drop(alive);
        ending.join().unwrap();
        assert!(life.has_ended());
    }

    #[test]
    fn l31_a_waker_of_the_end_may_ask_for_it() {
        struct Asks(Arc<Life>, Relay);
        impl std::task::Wake for Asks {
            fn wake(self: Arc<Self>) {
                assert!(self.0.has_ended() && self.0.alive().is_none());
                assert!(Member::join(&self.0, &self.1).is_err());
                self.0.end();
            }
        }
        let (life, relay) = (Arc::new(Life::default()), Relay::new());
        let _member = Member::join(&life, &relay).unwrap();
        wait(&relay, &Waker::from(Arc::new(Asks(Arc::clone(&life), Relay::new()))));
        life.end();
    }
}
