//! A host that rations: what a tree tells it of its turns, and when it asks.

use crate::support::{CountWakes, poll_once};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};
use trine::backend::Backend;
use trine::{inspect, nursery};
use trine_backend::{Alarm, Driver, Handle, Job, Readiness, Source};

/// Says no before the first turn begins, and then to each question but so many in a turn. It has no services, so nothing
/// here may wait for one.
#[derive(Debug, Default)]
struct Rationed {
    left: AtomicUsize,
    begun: AtomicUsize,
    inside: AtomicUsize,
    /// It was asked in the frame of a task that is called "child".
    asked_as_child: AtomicBool,
}

/// Questions of a turn that are answered with yes.
const YES: usize = 10;
/// More than a nursery does in its first turn, in which it is not limited yet.
const STEPS: usize = 100;
/// Polls of a first turn.
const FIRST: usize = 64;

impl Rationed {
    fn begun(&self) -> usize {
        assert_eq!(self.inside.load(Ordering::Relaxed), 0, "a turn that has not ended");
        self.begun.load(Ordering::Relaxed)
    }
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Handle for Rationed {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        unsupported()
    }

    fn register(&self, _source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        unsupported()
    }

    fn spawn_blocking(&self, _job: Job) -> io::Result<()> {
        unsupported()
    }

    fn poll_turn(&self, _cx: &mut Context<'_>, _round: u32) -> Poll<()> {
        Poll::Ready(())
    }

    fn has_budget(&self) -> bool {
        if inspect::current_task().is_some_and(|task| task.name.as_deref() == Some("child")) {
            self.asked_as_child.store(true, Ordering::Relaxed);
        }
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn begin_turn(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.inside.fetch_add(1, Ordering::Relaxed);
        self.left.store(YES, Ordering::Relaxed);
    }

    fn end_turn(&self) {
        assert!(self.inside.fetch_sub(1, Ordering::Relaxed) > 0, "an end without a beginning");
    }
}

struct Rations(Arc<Rationed>);

impl trine_backend::Backend for Rations {
    fn name(&self) -> &'static str {
        "rations"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        unsupported()
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        Some(self.0.clone())
    }
}

fn rationed() -> (Arc<Rationed>, Backend) {
    let host = Arc::new(Rationed::default());
    (host.clone(), Backend::new(Rations(host)))
}

#[test]
fn turns_begin_once_the_host_has_said_no_and_each_ends() {
    let (host, backend) = rationed();
    let wakes = CountWakes::new();
    let mut tree = pin!(backend.host(nursery(async |n| {
        for _ in 0..5 {
            n.start_soon(async {
                for _ in 0..STEPS {
                    trine::checkpoint().await?;
                }
                Ok(())
            });
        }
        Ok(())
    })));
    let mut polls = 0;
    loop {
        let before = (host.begun(), wakes.count());
        let polled = poll_once(tree.as_mut(), &wakes);
        polls += 1;
        if let Poll::Ready(result) = polled {
            result.unwrap();
            break;
        }
        assert!(wakes.count() > before.1, "stopped for the budget without a wake");
        assert_eq!(host.begun() - before.0, usize::from(polls > 1), "poll {polls}");
    }
    // After the first turn one task goes on in any case, and as many more as the host allows.
    let least = (5 * STEPS - FIRST) / (YES + 1);
    assert!((least..least + 10).contains(&polls), "{polls} polls, at least {least}");
}

#[test]
fn the_host_is_not_asked_as_a_task() {
    let (host, backend) = rationed();
    let mut tree = pin!(backend.host(nursery(async |n| {
        for _ in 0..5 {
            n.task("child").start_soon(async {
                for _ in 0..STEPS {
                    trine::checkpoint().await?;
                }
                Ok(())
            });
        }
        Ok(())
    })));
    let wakes = CountWakes::new();
    while poll_once(tree.as_mut(), &wakes).is_pending() {}
    assert!(host.begun() > 0, "it was asked, and said no");
    assert!(!host.asked_as_child.load(Ordering::Relaxed));
}

#[test]
fn a_turn_that_unwinds_ends() {
    let (host, backend) = rationed();
    let wakes = CountWakes::new();
    let mut tree = Box::pin(backend.host(nursery(async |n| {
        n.start_soon(async {
            for _ in 0..STEPS {
                trine::checkpoint().await?;
            }
            panic!("of a child")
        });
        Ok(())
    })));
    let caught = loop {
        match catch_unwind(AssertUnwindSafe(|| poll_once(tree.as_mut(), &wakes))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(_)) => panic!("no panic"),
            Err(panic) => break panic,
        }
    };
    assert_eq!(caught.downcast_ref(), Some(&"of a child"));
    assert!(host.begun() > 0);
}

#[test]
fn a_tree_whose_host_ends_each_turn_learns_that_its_polls_are_long() {
    let (_, backend) = rationed();
    let late = &AtomicUsize::new(0);
    let long_step = async || {
        thread::sleep(Duration::from_millis(1));
        trine::checkpoint().await
    };
    let mut tree = pin!(backend.host(nursery(async |n| {
        n.start_soon(async {
            for _ in 0..STEPS {
                long_step().await?;
            }
            let timeout = Duration::from_millis(4);
            trine::move_on_after(timeout, async {
                // The time of a timer begins with the end of the poll that makes it, at the latest.
                long_step().await?;
                let start = Instant::now();
                loop {
                    late.fetch_add(usize::from(start.elapsed() >= timeout), Ordering::Relaxed);
                    long_step().await?;
                }
            })
            .await
            .map(|left: Option<()>| assert_eq!(left, None))
        });
        Ok(())
    })));
    let wakes = CountWakes::new();
    let result = loop {
        if let Poll::Ready(result) = poll_once(tree.as_mut(), &wakes) {
            break result;
        }
    };
    result.unwrap();
    let late = late.load(Ordering::Relaxed);
    assert!(late <= 4, "{late} steps were begun after the deadline");
}
