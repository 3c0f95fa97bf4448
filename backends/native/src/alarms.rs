//! The timers of one loop.
//!
//! Usually there is one, that of the run's root; sub-executors inside the run add roots of their own, possibly many.
//!
//! Invariants, under the lock:
//!
//! 1. a slot that is armed has exactly one entry in the heap with its current version; other entries are stale;
//! 2. a slot is never armed and fired at once;
//! 3. once `ended`, no slot holds a waker.
//!
//! Wakers are moved under the lock, and cloned, woken and dropped outside of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use trine_backend::Alarm;

use crate::shared::{Shared, lock};

/// All alarms of one loop.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// The heap may have entries. Set under the lock; who sets an alarm on another thread then nudges the loop, which
    /// makes it see this.
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    /// Slots without an owner.
    free: Vec<usize>,
    /// When which version of which slot is due, earliest first.
    due: BinaryHeap<Reverse<Entry>>,
    /// The loop is gone.
    ended: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    slot: usize,
    version: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Changes with every `set`; also across owners, so that an old owner's entry is stale for a new one.
    version: u64,
    at: Option<Instant>,
    fired: bool,
    /// The last poll's waker, if it was pending.
    waker: Option<Waker>,
}

impl Alarms {
    /// Returns when the loop must look at the alarms again.
    pub(crate) fn next(&self) -> Option<Instant> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut inner = lock(&self.inner);
        inner.drop_stale();
        let next = inner.due.peek().map(|Reverse(entry)| entry.at);
        self.any.store(next.is_some(), Ordering::Relaxed);
        next
    }

    /// Fires what is due, and collects whom to wake.
    pub(crate) fn fire(&self, now: Instant, wakers: &mut Vec<Waker>) {
        let mut inner = lock(&self.inner);
        loop {
            inner.drop_stale();
            let Some(Reverse(entry)) = inner.due.peek() else {
                return;
            };
            if entry.at > now {
                return;
            }
            let slot = entry.slot;
            inner.due.pop();
            let slot = &mut inner.slots[slot];
            slot.at = None;
            slot.fired = true;
            wakers.extend(slot.waker.take());
        }
    }

    /// Marks the loop as gone, and collects whom to wake.
    pub(crate) fn end(&self, wakers: &mut Vec<Waker>) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        wakers.extend(inner.slots.iter_mut().filter_map(|slot| slot.waker.take()));
    }

    /// Arms or disarms a slot, if that changes anything; true if it is now the earliest.
    fn set(&self, slot: usize, at: Option<Instant>) -> bool {
        let mut inner = lock(&self.inner);
        let current = &inner.slots[slot];
        if current.at == at && !current.fired {
            return false;
        }
        if at.is_some() {
            self.any.store(true, Ordering::Relaxed);
        }
        inner.arm(slot, at)
    }

    fn add(&self) -> Option<usize> {
        let mut inner = lock(&self.inner);
        if inner.ended {
            return None;
        }
        Some(inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(Slot::default());
            inner.slots.len() - 1
        }))
    }
}

impl Inner {
    /// Removes entries from the top until a current one is there.
    fn drop_stale(&mut self) {
        while let Some(Reverse(entry)) = self.due.peek() {
            let slot = &self.slots[entry.slot];
            if slot.version == entry.version && slot.at.is_some() {
                return;
            }
            self.due.pop();
        }
    }

    /// Arms or disarms a slot; true if it is now the earliest.
    fn arm(&mut self, index: usize, at: Option<Instant>) -> bool {
        let slot = &mut self.slots[index];
        slot.version += 1;
        slot.fired = false;
        slot.at = at;
        let version = slot.version;
        let Some(at) = at else { return false };
        // An alarm that is moved all the time leaves an entry each time: sweep when most of them must be stale.
        if self.due.len() > 2 * self.slots.len() + 32 {
            let slots = &self.slots;
            self.due.retain(|Reverse(entry)| slots[entry.slot].version == entry.version);
        }
        let earliest = self.due.peek().is_none_or(|Reverse(first)| at < first.at);
        self.due.push(Reverse(Entry { at, slot: index, version }));
        earliest
    }
}

/// One alarm: the owner of a slot.
#[derive(Debug)]
pub(crate) struct NativeAlarm {
    shared: Arc<Shared>,
    slot: usize,
}

impl NativeAlarm {
    /// `None`: the loop is gone.
    pub(crate) fn new(shared: Arc<Shared>) -> Option<Self> {
        let slot = shared.alarms.add()?;
        Some(Self { shared, slot })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared.alarms.inner)
    }
}

impl Alarm for NativeAlarm {
    fn set(&mut self, at: Option<Instant>) {
        // The loop's own thread looks at the alarms before it sleeps; any other must make it look.
        if self.shared.alarms.set(self.slot, at) {
            self.shared.nudge();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker();
        {
            let inner = self.inner();
            let slot = &inner.slots[self.slot];
            if slot.fired {
                return Poll::Ready(());
            }
            if inner.ended || slot.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                return Poll::Pending;
            }
        }
        let mut new = Some(waker.clone());
        let fired = {
            let mut inner = self.inner();
            let ended = inner.ended;
            let slot = &mut inner.slots[self.slot];
            if !slot.fired && !ended {
                std::mem::swap(&mut slot.waker, &mut new);
            }
            slot.fired
        };
        drop(new); // what was not stored, or what it replaced
        if fired { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_dead(&self) -> bool {
        self.inner().ended
    }
}

impl Drop for NativeAlarm {
    fn drop(&mut self) {
        let waker = {
            let mut inner = self.inner();
            inner.arm(self.slot, None);
            inner.free.push(self.slot);
            inner.slots[self.slot].waker.take()
        };
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_times_come_in_order_and_stale_ones_are_skipped() {
        let alarms = Alarms::default();
        let start = Instant::now();
        let at = |s| Some(start + Duration::from_secs(s));
        let (a, b) = (alarms.add().unwrap(), alarms.add().unwrap());
        alarms.set(a, at(1));
        alarms.set(b, at(2));
        assert_eq!(alarms.next(), at(1));
        alarms.set(a, at(3));
        assert_eq!(alarms.next(), at(2));
        alarms.fire(start + Duration::from_secs(2), &mut Vec::new());
        assert!(lock(&alarms.inner).slots[b].fired);
        assert!(!lock(&alarms.inner).slots[a].fired);
        alarms.set(a, None);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn an_alarm_that_is_moved_for_ever_does_not_fill_memory() {
        let alarms = Alarms::default();
        let start = Instant::now();
        let slot = alarms.add().unwrap();
        for n in 0..10_000 {
            alarms.set(slot, Some(start + Duration::from_millis(n)));
        }
        assert!(lock(&alarms.inner).due.len() < 100);
        assert_eq!(alarms.next(), Some(start + Duration::from_millis(9_999)));
    }
}
