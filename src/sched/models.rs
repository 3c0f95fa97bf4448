//! All interleavings of every hand-off between threads, with the very types that roots and nurseries are made of:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p trine --lib models`.
//!
//! Each model names a change of the product code that it was seen to fail with.

use super::bell::Bell;
use super::count::Count;
use super::gate::Gate;
use super::stack::{Admission, Link, Linked, Pile, Stack};
use crate::nursery::intake::Intake;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

/// The number of interleavings is printed with `--nocapture`.
fn check(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    let start = std::time::Instant::now();
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings in {:?}", runs.load(std::sync::atomic::Ordering::Relaxed), start.elapsed());
}

/// What a root's memory is to its users: touched by each, unmapped by the last.
struct Memory {
    count: Count,
    bytes: UnsafeCell<u32>,
    unmapped: AtomicUsize,
}

// SAFETY: the model is about this very question; loom watches the cells.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn touch(&self) {
        self.bytes.with(|b| {
            // SAFETY: loom checks that nobody writes meanwhile.
            assert_eq!(unsafe { *b }, 0);
        });
    }

    fn unmap(&self) {
        self.unmapped.fetch_add(1, Ordering::Relaxed);
        // SAFETY: loom checks that nobody reads meanwhile.
        self.bytes.with_mut(|b| unsafe { *b = 1 });
    }

    fn dec(&self, holds: bool) {
        self.touch();
        if self.count.dec(holds) {
            self.unmap();
        }
    }
}

/// Two users in other threads, one of whom makes a third, and the owner, who counts without atomics and ends.
///
/// Fails with: `Relaxed` for the `Release` in `dec`; without the load that follows; with `end` that forgets `local`.
#[test]
fn exactly_one_sees_the_count_reach_zero_and_nobody_uses_the_memory_then() {
    check("count", None, || {
        let memory = Arc::new(Memory { count: Count::new(), bytes: UnsafeCell::new(0), unmapped: AtomicUsize::new(0) });
        memory.count.inc(true);
        memory.count.inc(true);
        let first = {
            let memory = memory.clone();
            thread::spawn(move || memory.dec(false))
        };
        let second = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.count.inc(false);
                memory.dec(false);
                memory.dec(false);
            })
        };
        memory.count.inc(true);
        memory.dec(true);
        memory.touch();
        if memory.count.end() {
            memory.unmap();
        }
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(memory.unmapped.load(Ordering::Relaxed), 1);
    });
}

/// A task's header, as far as wakes are concerned.
struct Item {
    link: Link<Item>,
    /// The number of the root that owns it.
    owner: AtomicU32,
    /// Touched by whoever took the item from a stack, until it may be pushed again.
    taken: AtomicBool,
}

impl Linked for Item {
    fn link(&self) -> &Link<Self> {
        &self.link
    }
}

impl Item {
    fn new(owner: u32) -> Self {
        Self { link: Link::new(), owner: AtomicU32::new(owner), taken: AtomicBool::new(false) }
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
        match item.link.admit(self.number) {
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
/// Fails with: a `load` in place of the read-modify-write in `Link::admit` for an item that is there (stale data seen
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
                    assert_eq!(item.link.admit(1), Admission::Granted);
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

struct Held {
    gate: Gate<usize>,
    /// The holder's half.
    inside: UnsafeCell<Vec<usize>>,
}

// SAFETY: the model is about this very question; loom watches the cell.
unsafe impl Sync for Held {}
// SAFETY: as above.
unsafe impl Send for Held {}

impl Held {
    fn run(&self, mail: usize) {
        // SAFETY: loom checks that nobody else is inside.
        self.inside.with_mut(|v| unsafe { (*v).push(mail) });
    }

    fn read(&self) {
        for mail in self.gate.take_mail() {
            self.run(mail);
        }
    }
}

/// One thread performs twice while the owner makes a turn and ends: each operation is run once, and nobody else is inside.
///
/// Fails with: an end that shuts the gate after it has read the mail for the last time; `Relaxed` for the `Release` in
/// `Hold::drop`; a `perform` that does not run what was posted before.
#[test]
fn mail_is_run_once_and_under_the_hold() {
    check("gate", None, || {
        let root = Arc::new(Held { gate: Gate::new(), inside: UnsafeCell::new(Vec::new()) });
        root.gate.open();
        let sender = {
            let root = root.clone();
            thread::spawn(move || {
                for mail in 0..2 {
                    let _ = root.gate.perform(mail, |mail| root.run(mail));
                }
            })
        };
        {
            let _turn = root.gate.hold();
            root.read();
        }
        {
            let _end = root.gate.hold();
            root.gate.shut();
            root.read();
        }
        sender.join().unwrap();
        let _hold = root.gate.hold();
        // SAFETY: held.
        root.inside.with(|v| assert_eq!(unsafe { &*v }, &[0, 1], "in order, each once"));
    });
}

/// Mail that had to be left makes the host run a turn, which finds it.
///
/// Fails with: a `perform` that says false after it has posted (the bell is not rung).
#[test]
fn mail_that_was_left_brings_a_turn() {
    check("gate and bell", None, || {
        let root = Arc::new((
            Held { gate: Gate::new(), inside: UnsafeCell::new(Vec::new()) },
            Bell::<Arc<Notify>>::new(),
            Arc::new(Notify::new()),
        ));
        root.0.gate.open();
        let sender = {
            let root = root.clone();
            thread::spawn(move || {
                if root.0.gate.perform(7, |mail| root.0.run(mail)) {
                    if let Some(host) = root.1.ring() {
                        host.notify();
                    }
                } else {
                    // Run on the spot; the host needs no turn, but the model must end.
                    root.2.notify();
                }
            })
        };
        drop(root.1.set_host(Some(root.2.clone())));
        loop {
            {
                let _turn = root.0.gate.hold();
                if root.1.silence() {
                    root.0.read();
                }
                // SAFETY: held.
                if root.0.inside.with(|v| unsafe { !(*v).is_empty() }) {
                    break;
                }
            }
            root.2.wait();
        }
        sender.join().unwrap();
    });
}

/// Two threads give slots back, the owner takes them: links are plain memory, and no slot is lost or found twice.
///
/// Fails with: `Relaxed` for the exchange in `Pile::push` or the swap in `Pile::take`.
#[test]
fn slots_given_back_are_found_once() {
    struct Slot(UnsafeCell<*const Slot>, u32);
    struct Slots(Pile<Slot>, [Slot; 2]);
    // SAFETY: loom watches the links.
    unsafe impl Sync for Slots {}
    // SAFETY: as above.
    unsafe impl Send for Slots {}
    fn collect(slots: &Slots, found: &mut Vec<u32>) {
        let mut at = slots.0.take();
        while !at.is_null() {
            // SAFETY: slots outlive the model; loom watches the links.
            unsafe {
                found.push((*at).1);
                at = (*at).0.with(|next| *next);
            }
        }
    }
    check("pool", None, || {
        let slot = |n| Slot(UnsafeCell::new(std::ptr::null()), n);
        let slots = Arc::new(Slots(Pile::new(), [slot(0), slot(1)]));
        let threads: Vec<_> = (0..2)
            .map(|i| {
                let slots = slots.clone();
                thread::spawn(move || {
                    let slot = &slots.1[i];
                    // SAFETY: the slot is this thread's until it has been pushed.
                    slots.0.push(slot, |top| slot.0.with_mut(|next| unsafe { *next = top }));
                })
            })
            .collect();
        let mut found = Vec::new();
        collect(&slots, &mut found);
        for t in threads {
            t.join().unwrap();
        }
        collect(&slots, &mut found);
        found.sort_unstable();
        assert_eq!(found, [0, 1]);
    });
}

/// A spawner sends a job while a pending start ends, and the nursery wants to close: the job is run, or comes back; the
/// nursery does not sleep for ever.
///
/// Fails with: a nursery that looks at the ring before it leaves its waker; a `close_if_empty` that does not look at the
/// jobs; a `ring` that takes the waker before it sets `rung`.
#[test]
fn a_job_is_run_or_comes_back_and_the_nursery_hears_of_it() {
    check("inbox", Some(3), || {
        let inbox = Arc::new(Intake::<u32, Arc<Notify>>::new());
        assert!(inbox.begin_start());
        let sender = {
            let inbox = inbox.clone();
            thread::spawn(move || match inbox.send(7) {
                Ok(waker) => {
                    if let Some(waker) = waker {
                        waker.notify();
                    }
                    true
                }
                Err(_) => false,
            })
        };
        let starter = {
            let inbox = inbox.clone();
            thread::spawn(move || {
                if let Some(waker) = inbox.end_start() {
                    waker.notify();
                }
            })
        };
        let host = Arc::new(Notify::new());
        let mut jobs = 0;
        loop {
            if inbox.take_ring() {
                jobs += inbox.take_jobs().len();
            }
            if inbox.starts() == 0 && inbox.close_if_empty() {
                break;
            }
            drop(inbox.set_waker(Some(host.clone())));
            if !inbox.is_rung() {
                host.wait();
            }
        }
        let sent = sender.join().unwrap();
        starter.join().unwrap();
        assert_eq!(jobs, usize::from(sent));
    });
}
