//! What the tests of the tools share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use super::Life;

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
