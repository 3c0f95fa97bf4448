//! The timers of a root: a slab of slots and an indexed 4-ary heap of deadlines. Pure: time is an argument.
//!
//! State of a slot: `Free`, `Unresolved` (it has a duration, but no clock has been read since it began), `Waiting` in
//! the heap, or `Fired`. A slot's generation changes when it is freed, so a stale [`TimerKey`] finds nothing.
//!
//! A timer never fires early: [`Timers::resolve`] gets a clock value read *after* every unresolved timer began.

use crate::sched::node::SlotRef;
use crate::task::wake::WakeRef;
use crate::time::Instant;
use std::time::Duration;

/// Names a timer of one root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: u32,
}

/// What happens at the deadline.
#[derive(Debug)]
pub(crate) enum Target {
    /// Somebody sleeps.
    Wake(WakeRef),
    /// A scope is cancelled.
    Scope(SlotRef),
}

#[derive(Debug)]
enum State {
    Free { next: u32 },
    Unresolved { position: u32, after: Duration },
    Waiting { position: u32 },
    Fired,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
    target: Option<Target>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Instant,
    slot: u32,
}

const NIL: u32 = u32::MAX;
const ARITY: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Timers {
    slots: Vec<Slot>,
    free: u32,
    heap: Vec<Entry>,
    unresolved: Vec<u32>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NIL, heap: Vec::new(), unresolved: Vec::new() }
    }

    /// The earliest deadline, of those that are resolved.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|e| e.deadline)
    }

    #[inline]
    pub(crate) fn has_unresolved(&self) -> bool {
        !self.unresolved.is_empty()
    }

    /// How many timers have not fired.
    pub(crate) fn pending(&self) -> usize {
        self.heap.len() + self.unresolved.len()
    }

    pub(crate) fn insert_at(&mut self, deadline: Instant, target: Target) -> TimerKey {
        let slot = self.allocate(target);
        self.heap.push(Entry { deadline, slot });
        self.sift_up(self.heap.len() - 1);
        self.key(slot)
    }

    /// A timer that begins at the next [`Timers::resolve`].
    pub(crate) fn insert_after(&mut self, after: Duration, target: Target) -> TimerKey {
        let slot = self.allocate(target);
        let position = self.unresolved.len() as u32;
        self.unresolved.push(slot);
        self.slots[slot as usize].state = State::Unresolved { position, after };
        self.key(slot)
    }

    fn key(&self, slot: u32) -> TimerKey {
        TimerKey { slot, generation: self.slots[slot as usize].generation }
    }

    fn allocate(&mut self, target: Target) -> u32 {
        let slot = self.free;
        if slot == NIL {
            self.slots.push(Slot { generation: 0, state: State::Fired, target: Some(target) });
            return (self.slots.len() - 1) as u32;
        }
        let s = &mut self.slots[slot as usize];
        if let State::Free { next } = s.state {
            self.free = next;
        }
        s.state = State::Fired;
        s.target = Some(target);
        slot
    }

    fn find(&mut self, key: TimerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)
    }

    /// Has it fired (or does it not exist any more)?
    #[inline]
    pub(crate) fn is_fired(&self, key: TimerKey) -> bool {
        match self.slots.get(key.slot as usize) {
            Some(s) if s.generation == key.generation => matches!(s.state, State::Fired),
            _ => true,
        }
    }

    /// Exchanges the target; the old one is for the caller to drop.
    pub(crate) fn set_target(&mut self, key: TimerKey, target: Target) -> Option<Target> {
        match self.find(key) {
            Some(s) => s.target.replace(target),
            None => Some(target),
        }
    }

    /// The deadline of a timer, resolving it with `now` if need be.
    pub(crate) fn deadline(&mut self, key: TimerKey, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let slot = self.find(key)?;
        match slot.state {
            State::Waiting { position } => Some(self.heap[position as usize].deadline),
            State::Unresolved { position, after } => {
                let deadline = now() + after;
                self.forget_unresolved(position);
                self.heap.push(Entry { deadline, slot: key.slot });
                self.sift_up(self.heap.len() - 1);
                Some(deadline)
            }
            State::Fired | State::Free { .. } => None,
        }
    }

    /// Ends a timer. Its target comes back, for the caller to drop.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Target> {
        let slot = self.find(key)?;
        match slot.state {
            State::Free { .. } => return None,
            State::Unresolved { position, .. } => self.forget_unresolved(position),
            State::Waiting { position } => self.remove_from_heap(position as usize),
            State::Fired => {}
        }
        self.release(key.slot)
    }

    fn release(&mut self, slot: u32) -> Option<Target> {
        let next = self.free;
        self.free = slot;
        let s = &mut self.slots[slot as usize];
        s.generation = s.generation.wrapping_add(1);
        s.state = State::Free { next };
        s.target.take()
    }

    fn forget_unresolved(&mut self, position: u32) {
        self.unresolved.swap_remove(position as usize);
        if let Some(&moved) = self.unresolved.get(position as usize) {
            if let State::Unresolved { position: p, .. } = &mut self.slots[moved as usize].state {
                *p = position;
            }
        }
    }

    /// Gives every unresolved timer its deadline.
    pub(crate) fn resolve(&mut self, now: Instant) {
        while let Some(slot) = self.unresolved.pop() {
            if let State::Unresolved { after, .. } = self.slots[slot as usize].state {
                self.heap.push(Entry { deadline: now + after, slot });
                self.sift_up(self.heap.len() - 1);
            }
        }
    }

    /// Takes the next timer that is due. A sleeper's slot stays, fired; a scope's is freed.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Target> {
        let &Entry { deadline, slot } = self.heap.first()?;
        if deadline > now {
            return None;
        }
        self.remove_from_heap(0);
        let s = &mut self.slots[slot as usize];
        s.state = State::Fired;
        match s.target {
            Some(Target::Scope(_)) => self.release(slot),
            _ => s.target.take(),
        }
    }

    /// The root ends: every target comes back. Deadlines can still be asked for, by sleepers that move elsewhere.
    pub(crate) fn take_targets(&mut self) -> Vec<Target> {
        self.slots.iter_mut().filter_map(|s| s.target.take()).collect()
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot as usize].state = State::Waiting { position: position as u32 };
    }

    fn sift_up(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.heap[parent].deadline <= entry.deadline {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let first = position * ARITY + 1;
            if first >= self.heap.len() {
                break;
            }
            let end = (first + ARITY).min(self.heap.len());
            let mut least = first;
            for child in first + 1..end {
                if self.heap[child].deadline < self.heap[least].deadline {
                    least = child;
                }
            }
            if entry.deadline <= self.heap[least].deadline {
                break;
            }
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, entry);
    }

    fn remove_from_heap(&mut self, position: usize) {
        let Some(last) = self.heap.pop() else { return };
        if position == self.heap.len() {
            return;
        }
        self.place(position, last);
        if position > 0 && self.heap[(position - 1) / ARITY].deadline > last.deadline {
            self.sift_up(position);
        } else {
            self.sift_down(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn target() -> Target {
        Target::Wake(WakeRef::from_waker(Waker::noop()))
    }

    fn at(n: u64) -> Instant {
        Instant::from_nanos(n)
    }

    #[test]
    fn timers_fire_in_order_of_their_deadlines() {
        let mut t = Timers::new();
        let mut seed = 7u64;
        let mut keys = Vec::new();
        for _ in 0..500 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            keys.push((seed >> 40, t.insert_at(at(seed >> 40), target())));
        }
        for (_, key) in keys.iter().step_by(3) {
            assert!(t.remove(*key).is_some());
            assert!(t.remove(*key).is_none());
        }
        let mut left: Vec<u64> = keys.iter().enumerate().filter(|(i, _)| i % 3 != 0).map(|(_, (d, _))| *d).collect();
        left.sort_unstable();
        for deadline in left {
            assert_eq!(t.next(), Some(at(deadline)));
            assert!(t.pop_due(at(deadline.wrapping_sub(1))).is_none() || deadline == 0);
            assert!(t.pop_due(at(deadline)).is_some());
        }
        assert_eq!(t.next(), None);
    }

    #[test]
    fn unresolved_timer_begins_when_it_is_resolved() {
        let mut t = Timers::new();
        let a = t.insert_after(Duration::from_nanos(5), target());
        let b = t.insert_after(Duration::from_nanos(3), target());
        let c = t.insert_after(Duration::from_nanos(1), target());
        assert!(t.remove(b).is_some());
        assert_eq!(t.deadline(c, || at(10)), Some(at(11)));
        t.resolve(at(100));
        assert_eq!(t.deadline(a, || unreachable!()), Some(at(105)));
        assert!(!t.is_fired(a));
        assert!(t.pop_due(at(11)).is_some());
        assert!(t.is_fired(c));
        assert_eq!(t.next(), Some(at(105)));
    }

    #[test]
    fn recycled_slot_is_another_timer() {
        let mut t = Timers::new();
        let a = t.insert_at(at(1), target());
        t.remove(a);
        let b = t.insert_at(at(2), target());
        assert!(t.is_fired(a));
        assert!(!t.is_fired(b));
        assert!(t.remove(a).is_none());
        assert_eq!(t.next(), Some(at(2)));
    }
}
