//! A 4-ary heap of deadlines that knows nothing of where its entries stand.
//!
//! Who ends a timer leaves its entry behind, dead, and throws the dead ones out when there are many ([`Heap::retain`]).
//! So moving an entry writes to the heap alone. An entry is one number, compared as such: the deadline, then the serial
//! number of the timer, which settles what comes first of equal deadlines, then its slot.

use crate::time::Instant;
use std::mem;

const ARITY: usize = 4;
/// Room that is kept between two uses of a list that lives only for a moment.
pub(super) const KEPT: usize = 1024;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u128);

impl Entry {
    #[inline(always)]
    pub(super) fn new(nanos: u64, serial: u32, slot: u32) -> Self {
        Self(u128::from(nanos) << 64 | u128::from(serial) << 32 | u128::from(slot))
    }

    /// The deadline; of an entry that is in no heap yet, the duration.
    #[inline(always)]
    pub(super) fn nanos(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[inline(always)]
    pub(super) fn serial(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(super) fn is_of(self, serial: u32, slot: u32) -> bool {
        self.0 as u64 == u64::from(serial) << 32 | u64::from(slot)
    }

    #[inline(always)]
    fn is_due(self, now: Instant) -> bool {
        self.nanos() <= now.as_nanos()
    }
}

/// Empties a list, and gives back what memory is beyond [`KEPT`].
pub(super) fn reset<T>(list: &mut Vec<T>) {
    if list.capacity() > KEPT {
        *list = Vec::new();
    } else {
        list.clear();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Heap {
    entries: Vec<Entry>,
    /// Where those stand that are taken out together, meanwhile.
    tree: Vec<u32>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), tree: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline(always)]
    pub(super) fn first(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry) {
        let position = self.entries.len();
        self.entries.push(entry);
        sift_up(&mut self.entries, position);
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let last = self.entries.pop()?;
        let Some(&first) = self.entries.first() else { return Some(last) };
        sift_down(&mut self.entries, 0, last);
        Some(first)
    }

    /// Takes out the entry of a timer if it stands last. (Taken from elsewhere it would leave a hole.)
    #[inline(always)]
    pub(super) fn pop_last(&mut self, serial: u32, slot: u32) {
        if self.entries.last().is_some_and(|e| e.is_of(serial, slot)) {
            self.entries.pop();
        }
    }

    /// The first one, if no other is due with it.
    #[inline(always)]
    pub(super) fn only_due(&self, now: Instant) -> Option<Entry> {
        let (first, rest) = self.entries.split_first()?;
        (first.is_due(now) && !rest.iter().take(ARITY).any(|e| e.is_due(now))).then_some(*first)
    }

    /// Takes all that is due, in order.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Entry> {
        let tree = self.top(|e| e.is_due(now));
        let mut due: Vec<Entry> = tree.iter().map(|position| self.entries[*position as usize]).collect();
        self.remove(tree);
        due.sort_unstable();
        due
    }

    /// Throws out the first entry if it is dead, and all the dead that have only dead ones above them.
    pub(super) fn drop_top(&mut self, is_dead: impl Fn(Entry) -> bool) {
        let tree = self.top(is_dead);
        self.remove(tree);
    }

    /// Where those stand that `takes` likes, and that have only such above them. Of what is due these are all.
    ///
    /// They are a tree with the heap's top for its root, found level by level: from front to back.
    fn top(&mut self, takes: impl Fn(Entry) -> bool) -> Vec<u32> {
        let mut tree = mem::take(&mut self.tree);
        if self.first().is_some_and(&takes) {
            tree.push(0);
        }
        let mut looked_at = 0;
        while let Some(&position) = tree.get(looked_at) {
            looked_at += 1;
            let first = position as usize * ARITY + 1;
            for child in first..(first + ARITY).min(self.entries.len()) {
                if takes(self.entries[child]) {
                    tree.push(child as u32);
                }
            }
        }
        tree
    }

    /// Takes out what [`Heap::top`] has found. Filling the holes from back to front, each with what stands last, leaves a
    /// heap below each hole, and never meets one of them.
    fn remove(&mut self, mut tree: Vec<u32>) {
        for position in tree.iter().rev() {
            let last = self.entries.pop().expect("there are no fewer entries than are taken");
            if (*position as usize) < self.entries.len() {
                sift_down(&mut self.entries, *position as usize, last);
            }
        }
        // Many more may follow if many are left.
        if tree.capacity() <= self.entries.len().max(KEPT) {
            tree.clear();
            self.tree = tree;
        }
    }

    /// Adds many at once, about so many: in time that goes with their number, or if they are more than those here, with that
    /// of all.
    pub(super) fn extend(&mut self, many: usize, fresh: impl Iterator<Item = Entry>) {
        if many > self.entries.len() {
            self.entries.extend(fresh);
            self.order();
        } else {
            for entry in fresh {
                self.push(entry);
            }
        }
    }

    /// Throws out all but those that `keeps` likes; gives back memory if little is left.
    pub(super) fn retain(&mut self, keeps: impl Fn(Entry) -> bool) {
        self.entries.retain(|e| keeps(*e));
        if self.entries.capacity() / 4 > self.entries.len().max(KEPT / 4) {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        self.order();
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// As [`Heap::clear`]; gives back what memory is beyond [`KEPT`].
    pub(super) fn reset(&mut self) {
        reset(&mut self.entries);
        reset(&mut self.tree);
    }

    /// Makes a heap of entries in any order.
    fn order(&mut self) {
        for position in (0..self.entries.len().div_ceil(ARITY)).rev() {
            let entry = self.entries[position];
            sift_down(&mut self.entries, position, entry);
        }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.entries.capacity()
    }
}

#[inline(always)]
fn sift_up(entries: &mut [Entry], mut position: usize) {
    let entry = entries[position];
    while position > 0 {
        let parent = (position - 1) / ARITY;
        if entries[parent] <= entry {
            break;
        }
        entries[position] = entries[parent];
        position = parent;
    }
    entries[position] = entry;
}

/// Puts `entry` at the hole `position`, or below.
#[inline(always)]
fn sift_down(entries: &mut [Entry], mut position: usize, entry: Entry) {
    loop {
        let first = position * ARITY + 1;
        let least = match entries.get(first..) {
            // Four, and no branch that depends on them.
            Some(&[a, b, c, d, ..]) => {
                let left = first + usize::from(b < a);
                let right = first + 2 + usize::from(d < c);
                if entries[right] < entries[left] { right } else { left }
            }
            Some(few) => match (first..).zip(few).min_by_key(|(_, e)| **e) {
                Some((least, _)) => least,
                None => break,
            },
            None => break,
        };
        if entry <= entries[least] {
            break;
        }
        entries[position] = entries[least];
        position = least;
    }
    entries[position] = entry;
}
