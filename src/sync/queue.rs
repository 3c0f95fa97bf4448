//! The first come, first served queue of waits from which every channel and lock is made.
//!
//! A slab: entries live in one vector, are linked by index and recycled, so that a wait allocates nothing once the
//! vector has grown. An entry belongs to the future that pushed it, and only that future frees it, with the [`Key`] it
//! got. Beside the wait (`W`, usually a [`Parked`]) each entry has a slot (`S`) for what is handed over.
//!
//! An entry is in one of four states, told by three fields:
//!
//! | state | `queued` | `parked` | `slot` | left by |
//! |---|---|---|---|---|
//! | vacant | no | none | none | a push |
//! | waiting | yes | some | some | `pop`, `take_where`, or its owner |
//! | passed over: found cancelled by a `pop` | no | some | some | its owner |
//! | done | no | none | some | its owner |
//!
//! Invariants: the chain from `head` by `next` visits exactly the waiting entries, in order of arrival, and `prev`
//! reverses it; the chain from `free` visits exactly the vacant ones; `occupied` counts the others. A wait that is
//! cancelled stays cancelled, so an entry that was passed over never has to return.
//!
//! Nothing here wakes, clones or drops a wait or a slot: they are moved out, for the caller to treat after it has
//! released its lock.

use crate::task::park::Parked;
use std::task::Context;

/// End of a chain.
const NIL: u32 = u32::MAX;

/// A vector that has grown beyond this is given back when its last entry is freed.
const KEEP: usize = 256;

/// What the queue asks of a wait. Both may be called with a lock held.
pub(crate) trait Waiter {
    /// Was the wait cancelled since it began? Sticky.
    fn is_cancelled(&self) -> bool;
    /// Does it still wake the task that polls with `cx`?
    fn is_current(&self, cx: &Context<'_>) -> bool;
}

impl Waiter for Parked {
    #[inline]
    fn is_cancelled(&self) -> bool {
        Parked::is_cancelled(self)
    }

    #[inline]
    fn is_current(&self, cx: &Context<'_>) -> bool {
        Parked::is_current(self, cx)
    }
}

/// Names an entry, from its push until its owner frees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// How far a wait has got.
#[derive(Debug)]
pub(crate) enum Progress<S, W> {
    /// Nothing happened.
    Waiting,
    /// Nothing happened, but the wait must be renewed for this task.
    Stale,
    /// Somebody completed it. The entry is free.
    Done(S),
    /// It was cancelled. The entry is free; the wait is to be dropped with the lock released.
    Cancelled(S, W),
}

#[derive(Debug)]
struct Entry<S, W> {
    prev: u32,
    /// The next waiting entry, or the next vacant one.
    next: u32,
    queued: bool,
    parked: Option<W>,
    slot: Option<S>,
}

/// The queue; see the head of the module.
#[derive(Debug)]
pub(crate) struct WaitQueue<S, W = Parked> {
    entries: Vec<Entry<S, W>>,
    head: u32,
    tail: u32,
    free: u32,
    occupied: u32,
}

impl<S, W> WaitQueue<S, W> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), head: NIL, tail: NIL, free: NIL, occupied: 0 }
    }

    /// Is there no waiting entry? Counts those that are cancelled but have not been passed over yet.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.head == NIL
    }
}

impl<S, W: Waiter> WaitQueue<S, W> {
    /// Adds a waiting entry at the end.
    #[inline(always)]
    pub(crate) fn push_back(&mut self, parked: W, slot: S) -> Key {
        let tail = self.tail;
        let (index, entry) = self.occupy();
        entry.prev = tail;
        entry.queued = true;
        fill(&mut entry.parked, parked);
        fill(&mut entry.slot, slot);
        match tail {
            NIL => self.head = index,
            tail => self.entries[tail as usize].next = index,
        }
        self.tail = index;
        Key(index)
    }

    /// Adds an entry whose wait is over already.
    pub(crate) fn push_done(&mut self, slot: S) -> Key {
        let (index, entry) = self.occupy();
        fill(&mut entry.slot, slot);
        Key(index)
    }

    /// Completes the first wait that is not cancelled: takes it out of the queue and returns it, to be woken once the
    /// lock is released, with its slot, to be filled before. Cancelled ones before it are passed over.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<(W, &mut S)> {
        while self.head != NIL {
            let index = self.head;
            // The first one: nothing is before it.
            let entry = &mut self.entries[index as usize];
            entry.queued = false;
            let next = entry.next;
            let live = entry.parked.as_ref().is_some_and(|parked| !parked.is_cancelled());
            self.head = next;
            match next {
                NIL => self.tail = NIL,
                next => self.entries[next as usize].prev = NIL,
            }
            if live {
                let entry = &mut self.entries[index as usize];
                return entry.parked.take().zip(entry.slot.as_mut());
            }
        }
        None
    }

    /// Completes every wait that is not cancelled and whose slot `matches`; `taken` gets the wait, and fills the slot.
    pub(crate) fn take_where(&mut self, matches: impl Fn(&S) -> bool, mut taken: impl FnMut(W, &mut S)) {
        let mut index = self.head;
        while index != NIL {
            let entry = &self.entries[index as usize];
            let next = entry.next;
            let live = entry.parked.as_ref().is_some_and(|parked| !parked.is_cancelled());
            if live && entry.slot.as_ref().is_some_and(&matches) {
                self.unlink(index);
                let entry = &mut self.entries[index as usize];
                if let Some((parked, slot)) = entry.parked.take().zip(entry.slot.as_mut()) {
                    taken(parked, slot);
                }
            }
            index = next;
        }
    }

    /// Takes what a completed wait was handed, for its owner, if `take` finds it. Frees the entry then, and forgets what else
    /// is in its slot; else nothing is done.
    #[inline(always)]
    pub(crate) fn take_done<R>(&mut self, key: Key, take: impl FnOnce(&mut S) -> Option<R>) -> Option<R> {
        let entry = self.entries.get_mut(key.0 as usize)?;
        if entry.parked.is_some() {
            return None;
        }
        let taken = take(entry.slot.as_mut()?)?;
        std::mem::forget(entry.slot.take());
        self.vacate(key);
        Some(taken)
    }

    /// Looks how far a wait has got, for its owner. Frees the entry if the wait is over.
    #[inline(always)]
    pub(crate) fn poll(&mut self, key: Key, cx: &Context<'_>) -> Progress<S, W> {
        let entry = &self.entries[key.0 as usize];
        if let Some(parked) = &entry.parked {
            if entry.queued && !parked.is_cancelled() {
                return if parked.is_current(cx) { Progress::Waiting } else { Progress::Stale };
            }
        }
        match self.remove(key) {
            (slot, None) => Progress::Done(slot),
            (slot, Some(parked)) => Progress::Cancelled(slot, parked),
        }
    }

    /// Exchanges the wait of an entry that was [`Progress::Stale`], unless it is over by now. Returns how far it has
    /// got, and the wait that is left over, to be dropped with the lock released.
    pub(crate) fn renew(&mut self, key: Key, fresh: W) -> (Progress<S, W>, W) {
        let entry = &mut self.entries[key.0 as usize];
        if let Some(parked) = &mut entry.parked {
            if entry.queued && !parked.is_cancelled() {
                let old = std::mem::replace(parked, fresh);
                // It may have been polled inside a scope that was cancelled before.
                if !parked.is_cancelled() {
                    return (Progress::Waiting, old);
                }
                return match self.remove(key) {
                    (slot, Some(parked)) => (Progress::Cancelled(slot, parked), old),
                    (slot, None) => (Progress::Done(slot), old),
                };
            }
        }
        match self.remove(key) {
            (slot, None) => (Progress::Done(slot), fresh),
            (slot, Some(parked)) => (Progress::Cancelled(slot, parked), fresh),
        }
    }

    /// Frees an entry, for its owner. The wait is there iff nobody completed it.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: Key) -> (S, Option<W>) {
        let Key(index) = key;
        if self.entries[index as usize].queued {
            self.unlink(index);
        }
        let entry = &mut self.entries[index as usize];
        let parked = entry.parked.take();
        let slot = entry.slot.take().expect("an entry is freed once, by its owner");
        self.vacate(key);
        (slot, parked)
    }

    /// Frees an entry that has neither wait nor slot.
    #[inline(always)]
    fn vacate(&mut self, Key(index): Key) {
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.occupied -= 1;
        if self.occupied == 0 && self.entries.len() > KEEP {
            self.give_back();
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        self.entries = Vec::new();
        self.free = NIL;
    }

    /// The slots of the waits that are not cancelled, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        let mut index = self.head;
        std::iter::from_fn(move || {
            while index != NIL {
                let entry = &self.entries[index as usize];
                index = entry.next;
                if entry.parked.as_ref().is_some_and(|parked| !parked.is_cancelled()) {
                    return entry.slot.as_ref();
                }
            }
            None
        })
    }

    /// The number of waits that are not cancelled. Takes time in proportion.
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Takes a vacant entry, which is linked to none.
    #[inline(always)]
    fn occupy(&mut self) -> (u32, &mut Entry<S, W>) {
        if self.free == NIL {
            self.grow();
        }
        self.occupied += 1;
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = std::mem::replace(&mut entry.next, NIL);
        (index, entry)
    }

    /// Makes a vacant entry.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NIL);
        self.free = index.expect("fewer than 2^32 waits in one queue");
        self.entries.push(Entry { prev: NIL, next: NIL, queued: false, parked: None, slot: None });
    }

    #[inline(always)]
    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.queued = false;
        let (prev, next) = (entry.prev, entry.next);
        match prev {
            NIL => self.head = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => self.entries[next as usize].prev = prev,
        }
    }
}

/// Writes to a place that is empty, which is therefore not dropped: word by word, as what is read back soon has to be.
#[inline(always)]
fn fill<T>(place: &mut Option<T>, value: T) {
    std::mem::forget(place.replace(value));
}

#[cfg(test)]
mod tests;
