//! What the tasks of a program share: the recorder, the names, the resources.
//!
//! Names map to handles of the library that are cheap to clone; a lookup clones and lets go of the map, so that no
//! operation of the library ever runs with one of these maps locked.

use super::Children;
use crate::scenario::form::Raised;
use crate::scenario::model::{Amount, Deadline, Resource};
use crate::scenario::trace::Recorder;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine::channel::{Receiver, Sender};
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Semaphore};
use trine::{CancelScope, Instant, Result, Spawner};

/// A map from names, shared by all tasks.
#[derive(Debug)]
pub(super) struct Names<T> {
    /// What the names stand for in messages.
    what: &'static str,
    bound: Mutex<HashMap<String, T>>,
}

impl<T> Names<T> {
    fn new(what: &'static str) -> Self {
        Self { what, bound: Mutex::new(HashMap::new()) }
    }

    pub(super) fn bind(&self, name: &str, value: T) {
        // What the name stood for before is dropped with the map unlocked.
        let _before = self.lock().insert(name.to_owned(), value);
    }

    pub(super) fn find(&self, name: &str) -> Option<T>
    where
        T: Clone,
    {
        self.lock().get(name).cloned()
    }

    /// What `name` stands for; if nothing, the error says so, and no trace expects that.
    pub(super) fn expect(&self, name: &str) -> Result<T>
    where
        T: Clone,
    {
        self.find(name).ok_or_else(|| Raised::named(format!("no {} `{name}`", self.what)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a channel.
#[derive(Clone)]
pub(super) enum Handle {
    Sender(Arc<Sender<i64>>),
    Receiver(Arc<Receiver<i64>>),
}

/// A condition and the lock of its own.
pub(super) struct Cond {
    pub(super) condition: Condition,
    pub(super) mutex: Arc<trine::sync::Mutex<()>>,
}

/// What the tasks of a running program share.
pub(in crate::scenario) struct World {
    pub(super) children: Children,
    pub(super) recorder: Arc<Recorder>,
    /// Tick 0.
    pub(super) start: Instant,
    /// How long a tick is.
    tick: Duration,
    /// How many tasks there have been: each has its number.
    tasks: AtomicU64,
    /// Nurseries are scopes, too.
    pub(super) scopes: Names<CancelScope>,
    /// Which scopes have been entered by an `enter` statement.
    pub(super) entered: Names<()>,
    pub(super) nurseries: Names<Spawner>,
    pub(super) handles: Names<Handle>,
    pub(super) events: Names<Arc<Event>>,
    pub(super) locks: Names<Arc<Lock>>,
    pub(super) semaphores: Names<Arc<Semaphore>>,
    pub(super) conditions: Names<Arc<Cond>>,
    pub(super) limiters: Names<Arc<super::sync::Limiter>>,
}

impl World {
    /// A world with these resources in which it is tick 0 now.
    pub(in crate::scenario) fn new(
        resources: &[Resource],
        children: Children,
        tick: Duration,
        recorder: Arc<Recorder>,
    ) -> Self {
        let world = Self {
            children,
            recorder,
            start: trine::now(),
            tick,
            tasks: AtomicU64::new(0),
            scopes: Names::new("scope"),
            entered: Names::new("entered scope"),
            nurseries: Names::new("nursery"),
            handles: Names::new("channel handle"),
            events: Names::new("event"),
            locks: Names::new("lock"),
            semaphores: Names::new("semaphore"),
            conditions: Names::new("condition"),
            limiters: Names::new("limiter"),
        };
        for resource in resources {
            world.create(resource);
        }
        world
    }

    fn create(&self, resource: &Resource) {
        match resource {
            Resource::Event { name } => self.events.bind(name, Arc::new(Event::new())),
            Resource::Channel { name, cap } => {
                let (sender, receiver) = match *cap {
                    Amount::Finite(capacity) => trine::channel(capacity),
                    Amount::Infinite => trine::unbounded(),
                };
                self.handles.bind(&format!("{name}.tx"), Handle::Sender(Arc::new(sender)));
                self.handles.bind(&format!("{name}.rx"), Handle::Receiver(Arc::new(receiver)));
            }
            Resource::Lock { name } => self.locks.bind(name, Arc::new(Lock::new())),
            Resource::Sem { name, initial } => self.semaphores.bind(name, Arc::new(Semaphore::new(*initial))),
            Resource::Cond { name } => {
                let mutex = Arc::new(trine::sync::Mutex::new(()));
                self.conditions.bind(name, Arc::new(Cond { condition: Condition::new(), mutex }));
            }
            Resource::Limiter { name, total } => {
                self.limiters.bind(name, Arc::new(super::sync::Limiter::new(tokens(*total))));
            }
        }
    }

    pub(super) fn next_task(&self) -> u64 {
        self.tasks.fetch_add(1, Ordering::Relaxed)
    }

    /// Ticks from the start to `at`, as traces print them.
    pub(super) fn ticks(&self, at: Instant) -> Value {
        let (sign, distance) = if at >= self.start { (1, at - self.start) } else { (-1, self.start - at) };
        let (distance, tick) = (distance.as_nanos(), self.tick.as_nanos());
        match i64::try_from(distance / tick) {
            Ok(whole) if distance % tick == 0 => Value::from(sign * whole),
            // Off the ticks: under a virtual clock, different from every expected time.
            _ => Value::from(sign as f64 * (distance as f64 / tick as f64)),
        }
    }

    /// How long so many ticks are.
    pub(super) fn length(&self, ticks: u64) -> Duration {
        self.tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Notes that something will happen at `at`, unless it is given up; nothing if it happens at once.
    pub(super) fn arm(&self, at: Instant) {
        if at > trine::now() {
            self.recorder.arm(self.ticks(at));
        }
    }

    /// The instant of a tick.
    pub(super) fn at(&self, tick: i64) -> Instant {
        self.shift(self.start, tick)
    }

    /// The deadline that a scope gets which is, or has been, entered now.
    pub(super) fn deadline(&self, deadline: Deadline) -> Option<Instant> {
        match deadline {
            Deadline::Rel(ticks) => Some(self.shift(trine::now(), ticks)),
            Deadline::Abs(tick) => Some(self.at(tick)),
            Deadline::Inf => None,
        }
    }

    /// `at`, so many ticks later or earlier.
    fn shift(&self, at: Instant, ticks: i64) -> Instant {
        let distance = self.length(ticks.unsigned_abs());
        if ticks < 0 { at - distance } else { at + distance }
    }
}

pub(super) fn tokens(amount: Amount) -> usize {
    match amount {
        Amount::Finite(number) => number,
        Amount::Infinite => CapacityLimiter::UNLIMITED,
    }
}
