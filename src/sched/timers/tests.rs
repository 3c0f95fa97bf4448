use super::{KEPT, SLACK, Target, TimerKey, Timers};
use crate::time::Instant;
use std::task::Waker;

fn at(n: u64) -> Instant {
    Instant::from_nanos(n)
}

fn target(number: u32) -> Target {
    Target::numbered(number)
}

/// As a root expires its timers: one alone, or all together.
fn take(t: &mut Timers, now: u64) -> Vec<u32> {
    let due = match t.take_only_due(at(now)) {
        Some(only) => vec![only],
        None => t.take_due(at(now)),
    };
    due.iter().map(Target::number).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

#[test]
fn unresolved_timer_begins_when_it_is_resolved() {
    let mut t = Timers::new();
    let a = t.insert_after(5, target(1));
    let b = t.insert_after(3, target(2));
    let c = t.insert_after(1, target(3));
    assert!(t.remove(b).is_some());
    assert_eq!(t.deadline(c, || at(10)), Some(at(11)));
    t.resolve(at(100));
    assert_eq!(t.deadline(a, || unreachable!()), Some(at(105)));
    assert!(!t.is_fired(a));
    assert_eq!(take(&mut t, 11), [3]);
    assert!(t.is_fired(c));
    assert_eq!(t.next(), Some(at(105)));
}

#[test]
fn recycled_slot_is_another_timer() {
    let mut t = Timers::new();
    let a = t.insert_at(at(1), target(1));
    t.remove(a);
    let b = t.insert_at(at(2), target(2));
    assert!(t.is_fired(a));
    assert!(!t.is_fired(b));
    assert!(t.remove(a).is_none());
    assert_eq!(t.next(), Some(at(2)));
}

#[test]
fn serial_number_that_comes_again_fires_nothing_early() {
    let mut t = Timers::new();
    t.insert_at(at(1), target(1));
    let old = t.insert_at(at(2), target(2));
    t.insert_at(at(300), target(3));
    t.remove(old);
    // As after 2^32 timers.
    t.serial = old.serial - 1;
    assert_eq!(t.insert_at(at(200), target(4)), old);
    assert_eq!(take(&mut t, 199), [1]);
    assert_eq!(t.next(), Some(at(200)));
    assert_eq!(take(&mut t, 300), [4, 3]);
}

#[test]
fn no_timer_has_the_serial_number_of_a_free_slot() {
    let mut t = Timers::new();
    t.serial = u32::MAX - 1;
    let keys: Vec<TimerKey> = (0..3).map(|n| t.insert_at(at(n), target(n as u32))).collect();
    assert_eq!(keys.iter().map(|k| k.serial).collect::<Vec<_>>(), [u32::MAX, 1, 2]);
    assert_eq!(take(&mut t, 5), [0, 1, 2]);
    assert!(keys.iter().all(|k| t.is_fired(*k)));
}

#[test]
fn timers_of_one_deadline_fire_as_they_were_made() {
    let mut t = Timers::new();
    t.insert_after(7, target(1));
    t.insert_at(at(7), target(2));
    t.insert_after(7, target(3));
    t.insert_at(at(6), target(4));
    t.resolve(at(0));
    assert_eq!(take(&mut t, 7), [4, 1, 2, 3]);
}

#[test]
fn ended_timer_is_not_next_and_asks_for_no_clock() {
    let mut t = Timers::new();
    let first = t.insert_at(at(1), target(1));
    let second = t.insert_at(at(2), target(2));
    t.insert_at(at(3), target(3));
    t.remove(second);
    t.remove(first);
    assert_eq!(t.next(), Some(at(3)));
    let a = t.insert_after(1, target(4));
    let b = t.insert_after(1, target(5));
    t.remove(a);
    t.remove(b);
    assert!(!t.has_unresolved());
}

#[test]
fn plain_timer_that_is_alone_leaves_nothing() {
    let mut t = Timers::new();
    let plainly = |t: &mut Timers, number| {
        // SAFETY: this does not panic.
        unsafe { t.insert_plainly(|| (target(number), 5)) }
    };
    // There is no room yet.
    assert_eq!(plainly(&mut t, 1), None);
    assert_eq!(t.pending(), 0);
    let a = t.insert_after(5, target(1));
    t.remove(a);
    let address = target(0).address();
    let b = plainly(&mut t, 2).unwrap();
    assert!(!t.remove_only(a, address));
    assert!(!t.remove_only(b, std::ptr::null()));
    assert!(t.remove_only(b, address));
    assert!(!t.remove_only(b, address));
    assert!(t.slots.is_empty() && t.heap.len() == 0 && !t.has_unresolved() && t.pending() == 0);
    // In the place of one that is free, beside another one, and resolved: it stays.
    let [c, d] = [3, 4].map(|number| plainly(&mut t, number).unwrap());
    t.remove(c);
    let e = plainly(&mut t, 5).unwrap();
    assert_eq!((e.slot, t.slots.len()), (c.slot, 2));
    assert!(!t.remove_only(e, address) && !t.remove_only(d, address));
    t.remove(d);
    t.remove(e);
    let f = plainly(&mut t, 6).unwrap();
    t.resolve(at(10));
    assert!(!t.remove_only(f, address));
    assert_eq!(take(&mut t, 15), [6]);
}

#[test]
fn timer_of_the_largest_duration_never_fires_early() {
    let mut t = Timers::new();
    let forever = t.insert_after(u64::MAX, target(1));
    t.resolve(at(5));
    assert_eq!(t.deadline(forever, || unreachable!()), Some(at(u64::MAX)));
    assert_eq!(take(&mut t, u64::MAX - 1), []);
    assert_eq!(take(&mut t, u64::MAX), [1]);
}

#[test]
fn targets_that_a_root_takes_back_leave_the_deadlines() {
    let mut t = Timers::new();
    let a = t.insert_at(at(4), Target::wake_foreign(Waker::noop()));
    let b = t.insert_after(3, target(2));
    t.resolve(at(10));
    assert_eq!(t.take_targets().len(), 2);
    assert_eq!(t.deadline(a, || unreachable!()), Some(at(4)));
    assert_eq!(t.deadline(b, || unreachable!()), Some(at(13)));
    assert!(t.remove(a).is_none());
    assert_eq!(t.pending(), 1);
}

#[test]
fn storm_of_timers_that_are_ended_takes_no_memory() {
    let mut t = Timers::new();
    let live: Vec<TimerKey> = (0..100).map(|n| t.insert_at(at(1 << 40 | n), target(0))).collect();
    let mut random = Random(1);
    for n in 0..100_000u64 {
        let deadline = random.below(1 << 41);
        // Now and then two at a time, so that neither is the last one.
        let key = t.insert_at(at(deadline), target(1));
        let other = t.insert_after(deadline, target(2));
        if n % 3 == 0 {
            t.resolve(at(n));
        }
        t.remove(key);
        t.remove(other);
        assert!(t.heap.len() + t.fresh.len() <= 2 * live.len() + SLACK);
    }
    assert!(t.slots.len() <= 102);
    assert!(t.heap.room() <= 4 * live.len() + 4 * SLACK);
    assert_eq!(t.pending(), 100);
    for key in live {
        t.remove(key);
    }
    assert!(t.slots.is_empty() && t.heap.len() == 0 && t.fresh.is_empty());
}

#[test]
fn memory_of_many_is_given_back() {
    let mut t = Timers::new();
    let keep = t.insert_at(at(1), target(0));
    let keys: Vec<TimerKey> = (0..50_000).map(|n| t.insert_at(at(n + 2), target(0))).collect();
    for key in keys {
        t.remove(key);
    }
    assert!(t.heap.room() <= 1024);
    t.remove(keep);
    assert_eq!(t.slots.capacity(), 0);
}

#[test]
fn memory_that_is_kept_between_uses_is_bounded() {
    let mut t = Timers::new();
    for many in [1, 256, 257, 1000, 3000, 256] {
        // As many dead entries as there may be beside them.
        let keys: Vec<TimerKey> = (0..many).map(|n| t.insert_at(at(n + 2), target(0))).collect();
        for n in 0..3 * many {
            let key = t.insert_at(at(n / 2), target(1));
            let other = t.insert_after(n, target(2));
            t.remove(key);
            t.remove(other);
        }
        for key in keys {
            t.remove(key);
        }
        let room = [t.slots.capacity(), t.heap.room(), t.fresh.capacity()];
        assert!(room.into_iter().all(|room| room <= KEPT), "{many}: {room:?}");
    }
}

/// A timer as one would have it without a thought for speed.
struct Plain {
    key: TimerKey,
    number: u32,
    made: u64,
    /// Unresolved, with its duration; else with its deadline.
    when: Result<u64, u64>,
}

/// The timers beside a plain list of them.
struct Pair {
    timers: Timers,
    plain: Vec<Plain>,
    /// Keys of timers that are no more.
    gone: Vec<TimerKey>,
    made: u64,
    now: u64,
}

impl Pair {
    fn new() -> Self {
        Self { timers: Timers::new(), plain: Vec::new(), gone: Vec::new(), made: 0, now: 0 }
    }

    fn insert(&mut self, random: &mut Random, spread: u64) {
        self.made += 1;
        let number = self.made as u32;
        let nanos = random.below(spread);
        let (key, when) = if random.below(2) == 0 {
            // SAFETY: this does not panic.
            let plainly = unsafe { self.timers.insert_plainly(|| (target(number), nanos)) };
            (plainly.unwrap_or_else(|| self.timers.insert_after(nanos, target(number))), Err(nanos))
        } else {
            (self.timers.insert_at(at(self.now + nanos), target(number)), Ok(self.now + nanos))
        };
        self.plain.push(Plain { key, number, made: self.made, when });
    }

    fn remove(&mut self, index: usize) {
        let ended = self.plain.remove(index);
        if self.timers.remove_only(ended.key, target(ended.number).address()) {
            assert!(self.plain.is_empty() && ended.when.is_err());
        } else {
            assert_eq!(self.timers.remove(ended.key).map(|t| t.number()), Some(ended.number));
        }
        assert!(!self.timers.remove_only(ended.key, target(ended.number).address()));
        assert!(self.timers.remove(ended.key).is_none());
        self.gone.push(ended.key);
    }

    fn retarget(&mut self, index: usize) {
        self.made += 1;
        let timer = &mut self.plain[index];
        let old = self.timers.set_target(timer.key, target(self.made as u32));
        assert_eq!(old.map(|t| t.number()), Some(timer.number));
        timer.number = self.made as u32;
    }

    fn ask(&mut self, index: usize) {
        let timer = &mut self.plain[index];
        let deadline = timer.when.unwrap_or_else(|d| self.now + d);
        let now = self.now;
        assert_eq!(self.timers.deadline(timer.key, || at(now)), Some(at(deadline)));
        timer.when = Ok(deadline);
    }

    fn resolve(&mut self) {
        self.timers.resolve(at(self.now));
        for timer in &mut self.plain {
            timer.when = Ok(timer.when.unwrap_or_else(|d| self.now + d));
        }
    }

    fn advance(&mut self, by: u64) {
        self.now += by;
        let all = std::mem::take(&mut self.plain).into_iter();
        let (mut due, left): (Vec<_>, Vec<_>) = all.partition(|t| t.when.is_ok_and(|d| d <= self.now));
        self.plain = left;
        due.sort_by_key(|t| (t.when.unwrap_or(0), t.made));
        let numbers: Vec<u32> = due.iter().map(|t| t.number).collect();
        assert_eq!(take(&mut self.timers, self.now), numbers);
        self.gone.extend(due.iter().map(|t| t.key));
    }

    fn check(&mut self) {
        let t = &mut self.timers;
        assert_eq!(t.pending(), self.plain.len());
        assert_eq!(t.next(), self.plain.iter().filter_map(|t| t.when.ok()).min().map(at));
        assert_eq!(t.has_unresolved(), self.plain.iter().any(|t| t.when.is_err()));
        assert!(self.plain.iter().all(|p| !t.is_fired(p.key)));
        assert!(self.gone.iter().rev().take(20).all(|key| t.is_fired(*key)));
        assert!(t.heap.len() + t.fresh.len() <= 2 * t.pending() + SLACK);
    }
}

#[test]
fn timers_do_what_a_plain_list_does() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut pair = Pair::new();
        // Few or many at a time, with many deadlines alike or hardly any.
        let size = [4, 40, 400][seed as usize % 3];
        let spread = [10, 1_000, 1_000_000][seed as usize / 3 % 3];
        for _ in 0..1_500 {
            let index = random.below(pair.plain.len().max(1) as u64) as usize;
            let crowd = pair.plain.len() as u64;
            match random.below(16) {
                _ if crowd == 0 => pair.insert(&mut random, spread),
                0..=6 if crowd < size => pair.insert(&mut random, spread),
                0..=8 => pair.remove(index),
                9 => pair.remove(pair.plain.len() - 1),
                10 => pair.retarget(index),
                11 => pair.ask(index),
                12 | 13 => pair.resolve(),
                _ => {
                    let by = random.below(spread / size + 2);
                    pair.advance(by);
                }
            }
            pair.check();
        }
        pair.resolve();
        pair.advance(2 * spread);
        pair.check();
        assert_eq!(pair.timers.pending(), 0);
    }
}
