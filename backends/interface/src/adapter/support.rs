//! What the tests of the tools share.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::{Host, Life, SureJob, Timer};
use crate::Source;

/// Counts wakes.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Ends a life while another thread polls for that, again and again, and sleeps in between until it is woken: hangs if
/// an end is missed. `is_over` polls once, with what belongs to the life.
pub(super) fn race_with_the_end<P>(make: impl Fn(&Arc<Life>) -> P, is_over: fn(&mut P, &mut Context<'_>) -> bool)
where
    P: Send,
{
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    for _ in 0..1_000 {
        let (life, barrier) = (Arc::default(), Barrier::new(2));
        let mut polled = make(&life);
        thread::scope(|scope| {
            scope.spawn(|| {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                barrier.wait();
                while !is_over(&mut polled, &mut Context::from_waker(&waker)) {
                    thread::park();
                }
            });
            barrier.wait();
            life.end();
        });
    }
}

/// A host that has nothing and drops its jobs.
#[derive(Debug)]
pub(super) struct Nothing;

#[derive(Debug)]
pub(super) struct Never;

impl Timer for Never {
    fn set(&mut self, _left: Duration) {}

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Host for Nothing {
    type Timer = Never;
    type Source = Infallible;

    fn timer(&self) -> io::Result<Never> {
        Ok(Never)
    }

    fn watch(&self, _source: Source<'_>) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn spawn_blocking(&self, _job: SureJob) {}
}
