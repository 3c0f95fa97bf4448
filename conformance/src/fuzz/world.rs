//! What the tasks of a program share, and what is written down about them.
//!
//! Whatever can run somebody's drop or wake is taken out of its lock first.

use super::foreign::{Oneshot, in_user_drop};
use super::interp::Joins;
use super::program::{Op, Program};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use trine::channel::{Receiver, Sender};
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Semaphore};
use trine::{CancelScope, TaskStatus};

pub(super) const PLAIN_SCOPES: u8 = 4;
/// Scopes that may be shielded.
pub(super) const SHIELD_SCOPES: u8 = 2;
pub(super) const HANDLES: u8 = 3;
pub(super) const STATUSES: u8 = 2;
pub(super) const ONESHOTS: u8 = 3;
pub(super) const CHANNELS: u8 = 4;
pub(super) const EVENTS: u8 = 3;
/// As many as conditions: each has its own.
pub(super) const MUTEXES: u8 = CONDITIONS;
pub(super) const CONDITIONS: u8 = 2;
pub(super) const SEMAPHORES: u8 = 2;
pub(super) const LIMITERS: u8 = 2;
pub(super) const LOCKS: u8 = 2;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) type Slot<T> = Mutex<Option<T>>;

fn slots<T>(count: u8, mut make: impl FnMut(u8) -> T) -> Vec<T> {
    (0..count).map(&mut make).collect()
}

/// What is counted over a whole run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Futures of blocks that have not been dropped.
    pub(super) live: AtomicI64,
    /// Items that have not been dropped.
    pub(super) items: AtomicI64,
    pub(super) steps: AtomicU64,
}

/// One channel, and what went through.
pub(super) struct Channel {
    pub(super) sender: Slot<Arc<Sender<Item>>>,
    pub(super) receiver: Slot<Arc<Receiver<Item>>>,
    pub(super) log: Mutex<ChannelLog>,
}

#[derive(Default)]
pub(super) struct ChannelLog {
    /// By number: was `send` successful, was it received, is it alive?
    items: Vec<(Option<bool>, bool, bool)>,
    /// The last number that a receiver had from a sender.
    last: HashMap<(u64, u64), usize>,
    /// A `recv` was dropped, whose item goes back to the front: the order is no longer known.
    pub(super) unordered: bool,
    pub(super) closed: bool,
}

/// What goes through channels.
pub(super) struct Item {
    world: Arc<World>,
    channel: u8,
    number: usize,
    from: u64,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.world.tally.items.fetch_sub(1, Ordering::Relaxed);
        lock(&self.world.channels[usize::from(self.channel)].log).items[self.number].2 = false;
    }
}

pub(super) struct Guarded<T> {
    pub(super) inner: Arc<T>,
    /// Who is inside.
    pub(super) holders: AtomicU32,
    /// Something happened after which the invariants of this one are not known.
    pub(super) spoiled: AtomicBool,
    pub(super) added: AtomicU32,
}

impl<T> Guarded<T> {
    fn new(inner: T) -> Self {
        Self {
            inner: Arc::new(inner),
            holders: AtomicU32::new(0),
            spoiled: AtomicBool::new(false),
            added: AtomicU32::new(0),
        }
    }
}

pub(super) type HandleSlot = Slot<(u32, Pin<Box<dyn Joins + Send>>)>;

/// See the module.
pub(super) struct World {
    pub(super) tally: Arc<Tally>,
    /// Shields are lowered, or half-run futures moved elsewhere: then a cancellation may be seen where none is.
    pub(super) toggles: bool,
    pub(super) moves: bool,
    failures: Mutex<Vec<String>>,
    dropped: AtomicBool,
    lossy: AtomicBool,
    /// Errors raised minus errors caught, by number.
    pub(super) errors: Mutex<HashMap<u32, i64>>,
    pub(super) panics: AtomicU32,
    tasks: AtomicU64,

    pub(super) scopes: Vec<Mutex<CancelScope>>,
    pub(super) handles: Vec<HandleSlot>,
    pub(super) statuses: Vec<Slot<TaskStatus<u32>>>,
    pub(super) oneshots: Vec<Oneshot>,
    pub(super) stale: Mutex<Vec<Waker>>,
    pub(super) channels: Vec<Channel>,
    pub(super) events: Vec<Event>,
    pub(super) mutexes: Vec<Arc<trine::sync::Mutex<u64>>>,
    pub(super) conditions: Vec<Condition>,
    pub(super) semaphores: Vec<Guarded<Semaphore>>,
    pub(super) limiters: Vec<Guarded<CapacityLimiter>>,
    pub(super) locks: Vec<Guarded<Lock>>,
}

impl World {
    pub(super) fn new(program: &Program, tally: Arc<Tally>) -> Self {
        let toggles = program.any(|op| matches!(op, Op::SetShield(..) | Op::Move(_)));
        Self {
            tally,
            toggles,
            moves: program.any(|op| matches!(op, Op::Move(_))),
            failures: Mutex::default(),
            dropped: AtomicBool::new(false),
            lossy: AtomicBool::new(false),
            errors: Mutex::default(),
            panics: AtomicU32::new(0),
            tasks: AtomicU64::new(0),
            scopes: slots(PLAIN_SCOPES + SHIELD_SCOPES, |_| Mutex::new(CancelScope::new())),
            handles: slots(HANDLES, |_| Mutex::default()),
            statuses: slots(STATUSES, |_| Mutex::default()),
            oneshots: slots(ONESHOTS, |_| Oneshot::default()),
            stale: Mutex::default(),
            channels: slots(CHANNELS, |i| {
                let (sender, receiver) = match i {
                    0 => trine::channel(0),
                    1 => trine::channel(1),
                    2 => trine::channel(3),
                    _ => trine::unbounded(),
                };
                Channel {
                    sender: Mutex::new(Some(Arc::new(sender))),
                    receiver: Mutex::new(Some(Arc::new(receiver))),
                    log: Mutex::default(),
                }
            }),
            events: slots(EVENTS, |_| Event::new()),
            mutexes: slots(MUTEXES, |_| Arc::new(trine::sync::Mutex::new(0))),
            conditions: slots(CONDITIONS, |_| Condition::new()),
            semaphores: slots(SEMAPHORES, |i| Guarded::new(Semaphore::new(usize::from(i) + 1))),
            limiters: slots(LIMITERS, |i| Guarded::new(CapacityLimiter::new(usize::from(i) + 1))),
            locks: slots(LOCKS, |_| Guarded::new(Lock::new())),
        }
    }

    pub(super) fn fail(&self, what: impl Into<String>) {
        lock(&self.failures).push(what.into());
    }

    pub(super) fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// User code dropped something that had not ended.
    pub(super) fn something_was_dropped(&self) {
        self.dropped.store(true, Ordering::Relaxed);
        self.lossy.store(true, Ordering::Relaxed);
    }

    /// A foreign combinator with results in hand was dropped.
    pub(super) fn results_were_lost(&self) {
        self.lossy.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.lossy.load(Ordering::Relaxed)
    }

    pub(super) fn next_task(&self) -> u64 {
        self.tasks.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts as one live future.
    pub(super) fn alive(self: &Arc<Self>) -> Alive {
        self.tally.live.fetch_add(1, Ordering::Relaxed);
        Alive(self.clone())
    }

    /// A promise that a section ends unless user code drops it.
    pub(super) fn section(self: &Arc<Self>, what: &'static str) -> Section {
        Section { world: self.clone(), what, ended: false }
    }

    pub(super) fn item(self: &Arc<Self>, channel: u8, from: u64) -> (usize, Item) {
        self.tally.items.fetch_add(1, Ordering::Relaxed);
        let mut log = lock(&self.channels[usize::from(channel)].log);
        log.items.push((None, false, true));
        let number = log.items.len() - 1;
        (number, Item { world: self.clone(), channel, number, from })
    }

    pub(super) fn sent(&self, channel: u8, number: usize, success: bool) {
        let mut log = lock(&self.channels[usize::from(channel)].log);
        log.items[number].0 = Some(success);
        if !success && log.items[number].1 {
            drop(log);
            self.fail(format!("item {number} of channel {channel} was received, but its send failed"));
        }
    }

    /// `order`: is it known that it comes in order?
    pub(super) fn received(&self, item: Item, by: u64, order: bool) {
        let mut problem = None;
        {
            let mut log = lock(&self.channels[usize::from(item.channel)].log);
            let entry = &mut log.items[item.number];
            if entry.1 {
                problem = Some("was received twice");
            }
            if entry.0 == Some(false) {
                problem = Some("was received, but its send failed");
            }
            entry.1 = true;
            let last = log.last.insert((item.from, by), item.number);
            if order && !log.unordered && last.is_some_and(|last| last > item.number) {
                problem = Some("came out of order");
            }
        }
        if let Some(problem) = problem {
            self.fail(format!("item {} of channel {} {problem}", item.number, item.channel));
        }
        drop(item);
    }

    /// At the end of a program: what must be true with all of its futures gone.
    pub(super) fn check(&self) {
        for (i, channel) in self.channels.iter().enumerate() {
            let receiver = lock(&channel.receiver).clone();
            let (lost, waiting) = {
                let log = lock(&channel.log);
                let lost = |item: &(Option<bool>, bool, bool)| {
                    item.0 == Some(true) && !item.1 && !item.2 && receiver.is_some() && !log.closed
                };
                let waiting = log.items.iter().filter(|item| item.2).count();
                (log.items.iter().filter(|item| lost(item)).count(), waiting)
            };
            if lost > 0 {
                self.fail(format!("{lost} items of channel {i} were sent and are lost"));
            }
            if let Some(receiver) = receiver {
                let mut left = 0;
                while let Ok(item) = receiver.try_recv() {
                    left += 1;
                    self.received(item, u64::MAX, false);
                }
                if left != waiting {
                    self.fail(format!("channel {i} had {left} items left, but {waiting} are alive"));
                }
            }
        }
        for (i, mutex) in self.mutexes.iter().enumerate() {
            if mutex.is_locked() {
                self.fail(format!("mutex {i} is still locked"));
            }
        }
        for (i, semaphore) in self.semaphores.iter().enumerate() {
            let expected = i + 1 + semaphore.added.load(Ordering::Relaxed) as usize;
            let available = semaphore.inner.available();
            if available != expected {
                self.fail(format!("semaphore {i} has {available} of {expected} permits"));
            }
        }
        for (i, limiter) in self.limiters.iter().enumerate() {
            if limiter.inner.borrowed() != 0 {
                self.fail(format!("{} tokens of limiter {i} did not come back", limiter.inner.borrowed()));
            }
        }
        for (i, one) in self.locks.iter().enumerate() {
            if one.inner.is_locked() && !one.spoiled.load(Ordering::Relaxed) {
                self.fail(format!("lock {i} is still locked"));
            }
        }
    }

    /// Lets go of all that programs leave here.
    pub(super) fn clear(&self) {
        let handles: Vec<_> = self.handles.iter().map(|slot| lock(slot).take()).collect();
        let statuses: Vec<_> = self.statuses.iter().map(|slot| lock(slot).take()).collect();
        drop((handles, statuses));
        self.oneshots.iter().for_each(Oneshot::forget_wakers);
        let stale = std::mem::take(&mut *lock(&self.stale));
        drop(stale);
        for channel in &self.channels {
            let sender = lock(&channel.sender).take();
            let receiver = lock(&channel.receiver).take();
            drop((sender, receiver));
        }
    }
}

pub(super) struct Alive(Arc<World>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.tally.live.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Section {
    world: Arc<World>,
    what: &'static str,
    ended: bool,
}

impl Section {
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        // Moved half-run out of the scope that it was in, behind a combinator that has not polled it since, a section
        // has no place in the tree: nobody tells it of a cancel, and it holds nothing open.
        if !self.ended && !self.world.moves && !in_user_drop() && !std::thread::panicking() {
            self.world.fail(format!("{} was dropped before its end", self.what));
        }
    }
}
