//! All interleavings of the wake protocol: `RUSTFLAGS="--cfg loom" cargo test -p trine-native --test loom --release`.
#![cfg(loom)]

#[path = "../src/notify.rs"]
mod notify;

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use notify::Notify;

/// The loop's side of the system: an unpark is remembered until a sleep takes it.
#[derive(Default)]
struct System {
    unparked: Mutex<bool>,
    changed: Condvar,
}

impl System {
    fn unpark(&self) {
        *self.unparked.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut unparked = self.unparked.lock().unwrap();
        while !*unparked {
            unparked = self.changed.wait(unparked).unwrap();
        }
        *unparked = false;
    }
}

struct World {
    notify: Notify,
    system: System,
    /// What the notifiers write, relaxed: it is the protocol that must make it visible.
    written: [AtomicUsize; 2],
}

/// With `preemptions`, only interleavings with that many forced switches (all of them take a minute for two notifiers).
fn model(notifiers: usize, preemptions: Option<usize>) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        let world = Arc::new(World {
            notify: Notify::new(),
            system: System::default(),
            written: [AtomicUsize::new(0), AtomicUsize::new(0)],
        });
        let threads: Vec<_> = (0..notifiers)
            .map(|n| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.written[n].store(1, Ordering::Relaxed);
                    if world.notify.notify() {
                        world.system.unpark();
                    }
                })
            })
            .collect();
        // The loop: "poll" looks at what was written, and ends when all is there. A lost wake is a deadlock, which
        // loom reports.
        let mut woken = true;
        loop {
            if world.notify.take() || woken {
                woken = false;
                let seen = (0..notifiers).all(|n| world.written[n].load(Ordering::Relaxed) == 1);
                if seen {
                    break;
                }
            } else if world.notify.park() {
                world.system.sleep();
                woken = world.notify.unpark();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn one_notifier_is_never_lost() {
    model(1, None);
}

#[test]
fn two_notifiers_are_never_lost() {
    model(2, Some(4));
}
