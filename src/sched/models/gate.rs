//! The gate: mail is run once, in order, under the hold, and not left behind.

use super::check;
use crate::sched::bell::Bell;
use crate::sched::gate::Gate;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Notify};
use loom::thread;

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

/// Two threads perform, and a third holds the gate for a short operation, after which no turn ever comes: what was left
/// is run by whoever releases the gate last, once, and in the order in which each thread sent it.
///
/// Fails with: a `sweep` without its fence; without the new try after `post`; without the look after the release in
/// `perform_some`; an owner that does not sweep.
#[test]
fn mail_of_two_performers_is_not_left_behind_by_short_holds() {
    check("two performers", Some(3), || {
        let root = Arc::new(Held { gate: Gate::new(), inside: UnsafeCell::new(Vec::new()) });
        root.gate.open();
        let performers: Vec<_> = [&[1, 2][..], &[11]]
            .into_iter()
            .map(|mails| {
                let root = root.clone();
                thread::spawn(move || {
                    for mail in mails {
                        let _left = root.gate.perform(*mail, |mail| root.run(mail));
                    }
                })
            })
            .collect();
        drop(root.gate.hold_briefly());
        let _left = root.gate.has_late_mail() && root.gate.sweep(|mail| root.run(mail));
        for t in performers {
            t.join().unwrap();
        }
        let _hold = root.gate.try_hold().unwrap();
        root.inside.with(|v| {
            // SAFETY: held.
            let run = unsafe { &*v };
            assert_eq!(run.iter().filter(|m| **m < 10).collect::<Vec<_>>(), [&1, &2]);
            assert_eq!(run.iter().filter(|m| **m > 10).collect::<Vec<_>>(), [&11]);
        });
    });
}

/// The same while the root ends: an operation is run by the end, or by its sender under a short hold after it.
///
/// Fails with: an end that does not read its mail after it has shut the gate; a `post` that takes mail although the gate
/// is shut.
#[test]
fn mail_of_two_performers_survives_the_end() {
    check("two performers and the end", Some(3), || {
        let root = Arc::new(Held { gate: Gate::new(), inside: UnsafeCell::new(Vec::new()) });
        root.gate.open();
        let performers: Vec<_> = [1, 11]
            .into_iter()
            .map(|mail| {
                let root = root.clone();
                thread::spawn(move || root.gate.perform(mail, |mail| root.run(mail)))
            })
            .collect();
        {
            let _end = root.gate.hold();
            root.read();
            root.gate.shut();
            root.read();
        }
        for t in performers {
            t.join().unwrap();
        }
        let _hold = root.gate.try_hold().unwrap();
        root.inside.with(|v| {
            // SAFETY: held.
            let mut run = unsafe { (*v).clone() };
            run.sort_unstable();
            assert_eq!(run, [1, 11]);
        });
    });
}
