//! The timers of a root: a slab of slots and a [`heap`] of deadlines. Pure: time is an argument.
//!
//! Invariants, true whenever no function of this module runs:
//!
//! - Each timer that has neither fired nor been ended has a slot with its serial number, and nobody else has: serial
//!   numbers go up with each timer of the root, so that a [`TimerKey`] or an entry that is older finds nothing. (They
//!   come again after 2^32 timers. A key lives as long as its sleeper or scope; an entry's deadline is compared, too,
//!   so that nothing fires early.)
//! - Each such timer has one live entry: in `fresh` if it is unresolved (it has a duration, but no clock has been read
//!   since it began), else in the heap, with the slot's deadline. All other entries are dead.
//! - The heap's first entry is live, or `stale` is set: then [`Timers::next`], which is exact, throws out the dead on top.
//!   The last entry of `fresh` is live: so is [`Timers::has_unresolved`] exact.
//! - There are at most twice as many entries as timers, and [`SLACK`] more. So memory is bounded by the largest number of
//!   timers that there were at a time; it is given back when there are none any more.
//!
//! What it costs, n timers being there: to make one, a constant on average, log n at most; to take one that is due, log n,
//! less if many are due together. To end one, a constant, shared out among all that are ended, since throwing out the
//! dead takes time that goes with the number of entries, of which more than half are dead then; log n where its entry
//! comes to the top meanwhile.
//!
//! A timer never fires early: [`Timers::resolve`] gets a clock value read *after* every unresolved timer began. Timers
//! fire in the order of their deadlines; those of one deadline in the order in which they were made.

mod heap;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use target::Target;

use super::sync::Cell;
use crate::time::Instant;
use heap::{Entry, Heap, KEPT, reset};
use std::mem;
use std::ptr;
use target::SPARE;

/// Dead entries that are no reason to throw them out.
const SLACK: usize = 64;

/// Names a timer of one root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: u32,
    serial: u32,
}

#[derive(Debug)]
struct Slot {
    /// The deadline; of an unresolved timer, the duration; of a free slot, the next free one.
    nanos: u64,
    /// The target's first part; [`UNRESOLVED`] or not.
    at: *const (),
    /// Its second part.
    generation: u32,
    /// Of the timer; 0 if the slot is free.
    serial: u32,
}

const _: () = assert!(size_of::<Slot>() <= 24 && size_of::<Entry>() == size_of::<Target>());

/// In the target's pointer.
const UNRESOLVED: usize = SPARE;

impl Slot {
    #[inline(always)]
    fn is_unresolved(&self) -> bool {
        self.at.addr() & UNRESOLVED != 0
    }

    #[inline(always)]
    fn take_target(&mut self) -> Target {
        let at = mem::replace(&mut self.at, ptr::null());
        // SAFETY: the parts of one target, which stood here alone.
        unsafe { Target::from_parts(at, self.generation) }
    }
}

const NIL: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct Timers {
    slots: Vec<Slot>,
    /// The first free slot.
    free: u64,
    /// Timers that have neither fired nor been ended. In a cell, so that the models watch who touches it.
    pending: Cell<usize>,
    /// Of the last timer.
    serial: u32,
    heap: Heap,
    /// The heap's first entry may be dead.
    stale: bool,
    fresh: Vec<TimerKey>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NIL,
            pending: Cell::new(0),
            serial: 0,
            heap: Heap::new(),
            stale: false,
            fresh: Vec::new(),
        }
    }

    /// The earliest deadline, of those that are resolved.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Instant> {
        if self.stale {
            self.prune();
        }
        self.heap.first().map(|e| Instant::from_nanos(e.nanos()))
    }

    #[inline]
    pub(crate) fn has_unresolved(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// How many timers have not fired.
    pub(crate) fn pending(&self) -> usize {
        self.pending.get()
    }

    #[inline]
    pub(crate) fn insert_at(&mut self, deadline: Instant, target: Target) -> TimerKey {
        let key = self.allocate(deadline.as_nanos(), target, 0);
        self.heap.push(Entry::new(deadline.as_nanos(), key.serial, key.slot));
        key
    }

    /// A timer that begins at the next [`Timers::resolve`], and takes so many nanoseconds.
    #[inline]
    pub(crate) fn insert_after(&mut self, after: u64, target: Target) -> TimerKey {
        let key = self.allocate(after, target, UNRESOLVED);
        self.fresh.push(key);
        key
    }

    /// As [`Timers::insert_after`], where no list has to grow. `timer`, its target and duration, is asked for when that is sure.
    /// None: nothing was done.
    ///
    /// # Safety
    /// `timer` does not panic.
    #[inline(always)]
    pub(crate) unsafe fn insert_plainly(&mut self, timer: impl FnOnce() -> (Target, u64)) -> Option<TimerKey> {
        let serial = self.serial.checked_add(1)?;
        if self.fresh.len() == self.fresh.capacity() {
            return None;
        }
        let place = if self.free == NIL {
            // Fewer than 2^32: room is doubled, and `allocate` makes no more than that.
            let place = self.slots.len();
            if place == self.slots.capacity() {
                return None;
            }
            // SAFETY: there is room, and it is written below.
            unsafe { self.slots.set_len(place + 1) };
            place
        } else {
            let place = self.free as usize;
            self.free = self.slots.get(place)?.nanos;
            place
        };
        self.serial = serial;
        self.pending.set(self.pending.get() + 1);
        let (target, nanos) = timer();
        let (at, generation) = target.into_parts();
        let key = TimerKey { slot: place as u32, serial };
        // SAFETY: the slot is there, and what it held has nothing to drop; the list has room for one more.
        unsafe {
            let slot = Slot { nanos, at: at.map_addr(|a| a | UNRESOLVED), generation, serial };
            self.slots.as_mut_ptr().add(place).write(slot);
            let fresh = self.fresh.len();
            self.fresh.as_mut_ptr().add(fresh).write(key);
            self.fresh.set_len(fresh + 1);
        }
        Some(key)
    }

    #[inline(always)]
    fn allocate(&mut self, nanos: u64, target: Target, flag: usize) -> TimerKey {
        self.pending.set(self.pending.get() + 1);
        let serial = self.serial.checked_add(1).unwrap_or(1);
        self.serial = serial;
        let (at, generation) = target.into_parts();
        let slot = Slot { nanos, at: at.map_addr(|a| a | flag), generation, serial };
        let place = self.free;
        if place == NIL {
            let place = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
            self.slots.push(slot);
            return TimerKey { slot: place, serial };
        }
        let free = &mut self.slots[place as usize];
        self.free = free.nanos;
        *free = slot;
        TimerKey { slot: place as u32, serial }
    }

    /// The slot of a timer that has neither fired nor been ended.
    #[inline(always)]
    fn find(&mut self, key: TimerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot as usize).filter(|s| s.serial == key.serial)
    }

    /// Has it fired (or does it not exist any more)?
    #[inline(always)]
    pub(crate) fn is_fired(&self, key: TimerKey) -> bool {
        self.slots.get(key.slot as usize).is_none_or(|s| s.serial != key.serial)
    }

    /// Exchanges the target; the old one is for the caller to drop.
    pub(crate) fn set_target(&mut self, key: TimerKey, target: Target) -> Option<Target> {
        let Some(slot) = self.find(key) else { return Some(target) };
        let flag = slot.at.addr() & UNRESOLVED;
        let old = slot.take_target();
        let (at, generation) = target.into_parts();
        slot.at = at.map_addr(|a| a | flag);
        slot.generation = generation;
        (!old.is_none()).then_some(old)
    }

    /// The deadline of a timer, resolving it with `now` if need be.
    pub(crate) fn deadline(&mut self, key: TimerKey, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let slot = self.find(key)?;
        if slot.is_unresolved() {
            slot.at = slot.at.map_addr(|a| a & !UNRESOLVED);
            slot.nanos = now().as_nanos().saturating_add(slot.nanos);
            let deadline = slot.nanos;
            self.heap.push(Entry::new(deadline, key.serial, key.slot));
            self.forget_fresh(key);
            return Some(Instant::from_nanos(deadline));
        }
        Some(Instant::from_nanos(slot.nanos))
    }

    /// Ends a timer. Its target comes back, for the caller to drop.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Target> {
        let slot = self.find(key)?;
        let unresolved = slot.is_unresolved();
        let target = self.release(key.slot);
        self.forget(key, unresolved);
        (!target.is_none()).then_some(target)
    }

    /// Ends a timer whose target has nothing to drop, or that has ended before. False: nothing was done, the target has.
    #[inline(always)]
    pub(crate) fn remove_plainly(&mut self, key: TimerKey) -> bool {
        let Some(slot) = self.find(key) else { return true };
        if Target::is_boxed_part(slot.at) {
            return false;
        }
        let unresolved = slot.is_unresolved();
        if self.pending.get() == 1 {
            self.pending.set(0);
            self.forget_all();
        } else {
            mem::forget(self.release(key.slot));
            self.forget(key, unresolved);
        }
        true
    }

    /// Ends a timer, if it is unresolved, the only one since there was none, and wakes the task at this address, which is at home.
    /// False: nothing was done.
    #[inline(always)]
    pub(crate) fn remove_only(&mut self, key: TimerKey, target: *const ()) -> bool {
        let [slot] = &*self.slots else { return false };
        if key.slot != 0 || slot.serial != key.serial || slot.at != target.map_addr(|a| a | UNRESOLVED) {
            return false;
        }
        // One slot has been used since all was cleared, and once. So nothing else was, and no list became large.
        debug_assert!(self.pending.get() == 1 && self.free == NIL && self.fresh == [key]);
        debug_assert!(self.heap.len() == 0 && !self.stale);
        self.pending.set(0);
        // What is in the slot has nothing to drop: a plain target has no box.
        self.slots.clear();
        self.fresh.clear();
        true
    }

    /// The slot of a timer was freed, which was `unresolved` or not.
    #[inline(always)]
    fn forget(&mut self, key: TimerKey, unresolved: bool) {
        if self.pending.get() == 0 {
            self.forget_all();
        } else if unresolved {
            self.forget_fresh(key);
        } else {
            self.forget_resolved(key);
        }
    }

    /// Frees a slot; its entry is dead from now on.
    #[inline(always)]
    fn release(&mut self, place: u32) -> Target {
        self.pending.set(self.pending.get() - 1);
        let slot = &mut self.slots[place as usize];
        slot.serial = 0;
        slot.nanos = self.free;
        self.free = u64::from(place);
        slot.take_target()
    }

    /// There is no timer any more: neither is there anything that a slot or an entry would be needed for.
    #[inline(always)]
    fn forget_all(&mut self) {
        // No list is larger than KEPT unless there were so many slots: there are no more entries than 2 * KEPT / 4 + SLACK.
        if self.slots.capacity() > KEPT / 4 {
            self.give_back();
        }
        // What is in the slots has nothing to drop: the targets are gone, or plain.
        self.slots.clear();
        self.free = NIL;
        self.heap.clear();
        self.stale = false;
        self.fresh.clear();
    }

    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        reset(&mut self.slots);
        self.heap.reset();
        reset(&mut self.fresh);
    }

    fn forget_fresh(&mut self, key: TimerKey) {
        if self.fresh.last() == Some(&key) {
            self.fresh.pop();
            while self.fresh.last().is_some_and(|e| !is_fresh(&self.slots, *e)) {
                self.fresh.pop();
            }
        }
        self.throw_out();
    }

    fn forget_resolved(&mut self, key: TimerKey) {
        self.heap.pop_last(key.serial, key.slot);
        // Not thrown out at once: if many are ended together, [`Timers::throw_out`] has less work with them.
        self.stale |= self.heap.first().is_some_and(|e| e.is_of(key.serial, key.slot));
        self.throw_out();
    }

    /// Makes sure that the heap's first entry is live.
    #[inline(never)]
    fn prune(&mut self) {
        let slots = &self.slots;
        while self.heap.first().is_some_and(|e| !is_waiting(slots, e)) {
            self.heap.drop_top(|e| !is_waiting(slots, e));
        }
        self.stale = false;
    }

    /// Throws out the dead entries if there are too many.
    #[inline(always)]
    fn throw_out(&mut self) {
        if self.heap.len() + self.fresh.len() > 2 * self.pending.get() + SLACK {
            self.throw_out_now();
        }
    }

    #[cold]
    #[inline(never)]
    fn throw_out_now(&mut self) {
        let slots = &self.slots;
        self.heap.retain(|e| is_waiting(slots, e));
        self.stale = false;
        self.fresh.retain(|e| is_fresh(slots, *e));
    }

    /// Gives every unresolved timer its deadline.
    pub(crate) fn resolve(&mut self, now: Instant) {
        let slots = &mut self.slots;
        let resolved = self.fresh.iter().filter_map(|key| {
            if !is_fresh(slots, *key) {
                return None;
            }
            let slot = &mut slots[key.slot as usize];
            slot.at = slot.at.map_addr(|a| a & !UNRESOLVED);
            slot.nanos = now.as_nanos().saturating_add(slot.nanos);
            Some(Entry::new(slot.nanos, key.serial, key.slot))
        });
        self.heap.extend(self.fresh.len(), resolved);
        reset(&mut self.fresh);
    }

    /// Takes the next timer that is due, if there is one and no other is due as well.
    #[inline(always)]
    pub(crate) fn take_only_due(&mut self, now: Instant) -> Option<Target> {
        if self.stale {
            self.prune();
        }
        let entry = self.heap.only_due(now)?;
        self.heap.pop();
        let target = self.release(entry.slot());
        self.take_end();
        Some(target)
    }

    /// Takes all timers that are due, in order.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Target> {
        let due = self.heap.take_due(now);
        // Both are of one size and alignment, so that the list stays where it is.
        let targets = due
            .into_iter()
            .filter_map(|e| if is_waiting(&self.slots, e) { Some(self.release(e.slot())) } else { None })
            .collect();
        self.take_end();
        targets
    }

    /// After entries were taken from the heap.
    #[inline(always)]
    fn take_end(&mut self) {
        if self.pending.get() == 0 {
            self.forget_all();
        } else {
            self.stale = true;
            self.throw_out();
        }
    }

    /// The root ends: every target comes back. Deadlines can still be asked for, by sleepers that move elsewhere.
    pub(crate) fn take_targets(&mut self) -> Vec<Target> {
        debug_assert!(!self.has_unresolved());
        self.slots.iter_mut().map(Slot::take_target).filter(|t| !t.is_none()).collect()
    }
}

/// Is this the key of an unresolved timer?
#[inline(always)]
fn is_fresh(slots: &[Slot], key: TimerKey) -> bool {
    slots.get(key.slot as usize).is_some_and(|s| s.serial == key.serial && s.is_unresolved())
}

/// Is this the entry of a timer that waits for its deadline?
#[inline(always)]
fn is_waiting(slots: &[Slot], entry: Entry) -> bool {
    slots
        .get(entry.slot() as usize)
        .is_some_and(|s| s.serial == entry.serial() && s.nanos == entry.nanos() && !s.is_unresolved())
}

impl Drop for Timers {
    fn drop(&mut self) {
        // What stands in boxes.
        for slot in &mut self.slots {
            drop(slot.take_target());
        }
    }
}
