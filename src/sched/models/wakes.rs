//! Stacks and bell: the way of a wake from another thread, in small; whole trees are in [`adoption`](super::adoption).

use super::check;
use crate::sched::bell::Bell;
use crate::sched::gate::Gate;
use crate::sched::stack::{Admission, Linked, Place, Stack};
use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

/// A task's header, as far as wakes are concerned.
struct Item {
    next: AtomicPtr<Item>,
    place: Place,
    /// The number of the root that owns it.
    owner: AtomicU32,
    /// Touched by whoever took the item from a stack, until it may be pushed again.
    taken: AtomicBool,
}

impl Linked for Item {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

impl Item {
    fn new(owner: u32) -> Self {
        Self {
            next: AtomicPtr::new(std::ptr::null_mut()),
            place: Place::new(),
            owner: AtomicU32::new(owner),
            taken: AtomicBool::new(false),
        }
    }
}

struct Shore {
    number: u32,
    stack: Stack<Item>,
    bell: Bell<Arc<Notify>>,
    /// Stands for `Mail::Wake`.
    mail: Mutex<Vec<*const Item>>,
}

// SAFETY: items outlive the model's threads.
unsafe impl Sync for Shore {}
// SAFETY: as above.
unsafe impl Send for Shore {}

impl Shore {
    fn new(number: u32) -> Self {
        let shore = Self { number, stack: Stack::new(), bell: Bell::new(), mail: Mutex::new(Vec::new()) };
        drop(shore.bell.set_host(Some(Arc::new(Notify::new()))));
        shore
    }

    /// As `remote::push`.
    fn push(&self, item: &Item) {
        match item.place.admit(self.number) {
            // SAFETY: admitted; outlives the model.
            Admission::Granted => unsafe { self.stack.push(item) },
            Admission::There => {}
            Admission::Elsewhere => self.mail.lock().unwrap().push(item),
        }
        if let Some(host) = self.bell.ring() {
            host.notify();
        }
    }

    /// As a turn: sleeps until it was told, then takes in. Says how many wakes there were.
    fn turn(&self) -> usize {
        let host = self.bell.host().unwrap();
        while !self.bell.silence() {
            host.wait();
        }
        let mut wakes = self.mail.lock().unwrap().drain(..).count();
        let mut taken = self.stack.take();
        // SAFETY: as `push`.
        while let Some(item) = unsafe { taken.next() } {
            let _ = item;
            wakes += 1;
        }
        wakes
    }
}

/// Two threads wake one task after they have changed something each; the root sleeps unless it is told. A lost wake is
/// a deadlock, which loom reports.
///
/// Fails with: a `load` in place of the read-modify-write in `Place::admit` for an item that is there (stale data seen
/// with the last wake); `Taken::next` that leaves the item marked; a bell that wakes nobody; `Bell::silence` after the
/// stack was taken.
#[test]
fn no_wake_is_lost_between_stack_and_bell() {
    check("stack and bell", Some(3), || {
        let root = Arc::new((Shore::new(1), Item::new(1), AtomicBool::new(false), AtomicBool::new(false)));
        let threads: Vec<_> = (0..2)
            .map(|i| {
                let root = root.clone();
                thread::spawn(move || {
                    let flag = if i == 0 { &root.2 } else { &root.3 };
                    flag.store(true, Ordering::Relaxed);
                    root.0.push(&root.1);
                })
            })
            .collect();
        let mut seen = (false, false);
        while seen != (true, true) {
            if root.0.turn() > 0 {
                // The poll of the task.
                seen = (root.2.load(Ordering::Relaxed), root.3.load(Ordering::Relaxed));
            }
        }
        for t in threads {
            t.join().unwrap();
        }
    });
}

/// A task moves from a root that is never run again, on whose stack it may lie, to another one; the change that was made
/// last is seen there.
///
/// Fails with: `Elsewhere` taken for `There`.
#[test]
fn a_wake_finds_a_task_that_moved_away_from_a_root_that_is_never_run_again() {
    check("moved away", Some(3), || {
        let world = Arc::new((Shore::new(1), Shore::new(2), Item::new(1), Mutex::new(0)));
        let waker = {
            let world = world.clone();
            thread::spawn(move || {
                let (old, new, item, data) = &*world;
                for _ in 0..2 {
                    *data.lock().unwrap() += 1;
                    if item.owner.load(Ordering::Acquire) == 1 { old.push(item) } else { new.push(item) }
                }
            })
        };
        let (_, new, item, data) = &*world;
        // Adopts: the new root wakes all that it adopts.
        item.owner.store(2, Ordering::Release);
        let mut seen = *data.lock().unwrap();
        while seen < 2 {
            if new.turn() > 0 {
                seen = *data.lock().unwrap();
            }
        }
        waker.join().unwrap();
    });
}

/// A root ends while others push: whatever they push is taken, by the end or by themselves, and only once.
///
/// Fails with: the end's drain before the gate is shut.
#[test]
fn what_is_pushed_while_a_root_ends_is_drained_once() {
    struct Ending {
        stack: Stack<Item>,
        gate: Gate<()>,
        items: [Item; 2],
    }
    impl Ending {
        fn drain(&self) {
            let mut taken = self.stack.take();
            // SAFETY: items outlive the model.
            while let Some(item) = unsafe { taken.next() } {
                // SAFETY: as above.
                assert!(!unsafe { &*item }.taken.swap(true, Ordering::Relaxed), "taken twice");
            }
        }
    }
    check("end and stack", None, || {
        let root = Arc::new(Ending { stack: Stack::new(), gate: Gate::new(), items: [Item::new(1), Item::new(1)] });
        root.gate.open();
        let threads: Vec<_> = (0..2)
            .map(|i| {
                let root = root.clone();
                thread::spawn(move || {
                    let item = &root.items[i];
                    assert_eq!(item.place.admit(1), Admission::Granted);
                    // SAFETY: admitted; outlives the model.
                    unsafe { root.stack.push(item) };
                    if root.gate.is_shut() {
                        root.drain();
                    }
                })
            })
            .collect();
        root.gate.shut();
        root.drain();
        for t in threads {
            t.join().unwrap();
        }
        assert!(root.items.iter().all(|i| i.taken.load(Ordering::Relaxed)), "left behind");
    });
}
