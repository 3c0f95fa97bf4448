//! Jobs, rings and pending starts of a nursery.

use super::check;
use crate::nursery::intake::Intake;
use loom::sync::{Arc, Notify};
use loom::thread;

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
