//! Loops that break L1 to L7.

use super::Fault;
use super::wrap::{Twist, twisted};
use crate::host::block_on;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use trine_backend::Driver;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "drive-returns-early",
        law: "L1",
        noticed_by: "laws::driving::future_is_polled_on_the_calling_thread",
        wrap: |inner| twisted(inner, Early),
    },
    Fault {
        name: "wake-during-the-poll-is-lost",
        law: "L2",
        noticed_by: "laws::driving::wake_during_the_poll_leads_to_another_poll",
        wrap: |inner| twisted(inner, Filtered(Filter::WhilePolled)),
    },
    Fault {
        name: "wake-of-another-thread-is-ignored",
        law: "L3",
        noticed_by: "laws::driving::wake_by_another_thread_ends_the_sleep",
        wrap: |inner| twisted(inner, Filtered(Filter::OtherThreads)),
    },
    Fault {
        name: "every-poll-leads-to-another",
        law: "L4",
        noticed_by: "laws::driving::idle_loop_sleeps",
        wrap: |inner| twisted(inner, Storm),
    },
    Fault {
        name: "busy-future-starves-the-loop",
        law: "L5",
        noticed_by: "laws::driving::busy_future_gets_its_alarm",
        wrap: |inner| twisted(inner, Starving),
    },
    Fault {
        name: "drive-inside-a-drive-runs",
        law: "L6",
        noticed_by: "laws::driving::drive_inside_a_drive_is_refused",
        wrap: |inner| twisted(inner, Nesting),
    },
    Fault {
        name: "panic-is-swallowed",
        law: "L7",
        noticed_by: "laws::driving::panic_leaves_driver_and_thread_in_order",
        wrap: |inner| twisted(inner, Swallowing),
    },
];

type Fut<'a> = Pin<&'a mut dyn Future<Output = ()>>;

struct Early;

impl Twist for Early {
    fn drive(&self, driver: &mut dyn Driver, mut fut: Fut<'_>) -> io::Result<()> {
        let mut polls = 0;
        driver.drive(pin!(poll_fn(|cx| {
            polls += 1;
            if polls > 3 { Poll::Ready(()) } else { fut.as_mut().poll(cx) }
        })))
    }
}

/// Which wakes get lost.
#[derive(Clone, Copy)]
enum Filter {
    WhilePolled,
    OtherThreads,
}

struct Filtered(Filter);

struct FilteredWaker {
    filter: Filter,
    polled: Arc<AtomicBool>,
    thread: ThreadId,
    inner: Waker,
}

impl Wake for FilteredWaker {
    fn wake(self: Arc<Self>) {
        let lost = match self.filter {
            Filter::WhilePolled => self.polled.load(Ordering::SeqCst),
            Filter::OtherThreads => thread::current().id() != self.thread,
        };
        if !lost {
            self.inner.wake_by_ref();
        }
    }
}

impl Twist for Filtered {
    fn drive(&self, driver: &mut dyn Driver, mut fut: Fut<'_>) -> io::Result<()> {
        let polled = Arc::new(AtomicBool::new(false));
        driver.drive(pin!(poll_fn(|cx| {
            let waker = Waker::from(Arc::new(FilteredWaker {
                filter: self.0,
                polled: Arc::clone(&polled),
                thread: thread::current().id(),
                inner: cx.waker().clone(),
            }));
            polled.store(true, Ordering::SeqCst);
            let result = fut.as_mut().poll(&mut Context::from_waker(&waker));
            polled.store(false, Ordering::SeqCst);
            result
        })))
    }
}

struct Storm;

impl Twist for Storm {
    fn drive(&self, driver: &mut dyn Driver, mut fut: Fut<'_>) -> io::Result<()> {
        driver.drive(pin!(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            fut.as_mut().poll(cx)
        })))
    }
}

struct Starving;

/// Notes a wake, and passes it on.
struct Noting(AtomicBool, Waker);

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.wake_by_ref();
    }
}

impl Twist for Starving {
    fn drive(&self, driver: &mut dyn Driver, mut fut: Fut<'_>) -> io::Result<()> {
        driver.drive(pin!(poll_fn(|cx| {
            let noting = Arc::new(Noting(AtomicBool::new(false), cx.waker().clone()));
            let waker = Waker::from(Arc::clone(&noting));
            loop {
                let polled = fut.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_ready() || !noting.0.swap(false, Ordering::SeqCst) {
                    return polled;
                }
            }
        })))
    }
}

struct Nesting;

impl Twist for Nesting {
    fn drive(&self, driver: &mut dyn Driver, mut fut: Fut<'_>) -> io::Result<()> {
        if driver.drive(fut.as_mut()).is_err() {
            block_on(fut);
        }
        Ok(())
    }
}

struct Swallowing;

impl Twist for Swallowing {
    fn drive(&self, driver: &mut dyn Driver, fut: Fut<'_>) -> io::Result<()> {
        catch_unwind(AssertUnwindSafe(|| driver.drive(fut))).unwrap_or(Ok(()))
    }
}
