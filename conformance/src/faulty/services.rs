//! Jobs, turns, budgets, ends and wakers that break L25 to L33.

use super::Fault;
use super::wrap::{Twist, twisted};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use trine_backend::{Alarm, Backend, Handle, Job};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "job-is-never-run",
        law: "L25",
        noticed_by: "laws::jobs::job_runs_once",
        wrap: |inner| twisted(inner, Forgets(AtomicUsize::new(0))),
    },
    Fault {
        name: "job-runs-on-the-thread-of-the-loop",
        law: "L25",
        noticed_by: "laws::jobs::job_runs_on_another_thread",
        wrap: |inner| twisted(inner, Inline),
    },
    Fault {
        name: "jobs-run-one-after-the-other",
        law: "L25",
        noticed_by: "laws::jobs::jobs_may_wait_for_each_other",
        wrap: |inner| twisted(inner, OneByOne(Arc::default())),
    },
    Fault {
        name: "panic-in-a-job-ends-the-pool",
        law: "L26",
        noticed_by: "laws::jobs::panic_in_a_job_harms_nobody",
        wrap: |inner| twisted(inner, Fragile(Arc::default())),
    },
    Fault {
        name: "turn-does-not-look",
        law: "L27",
        noticed_by: "laws::turns::turn_reports_what_is_ready",
        wrap: |inner| twisted(inner, Turns(|_| Poll::Ready(()))),
    },
    Fault {
        name: "turn-never-ends",
        law: "L28",
        noticed_by: "laws::turns::turn_ends_though_nothing_happens",
        wrap: |inner| {
            twisted(
                inner,
                Turns(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }),
            )
        },
    },
    Fault {
        name: "turn-is-pending-without-a-wake",
        law: "L28",
        noticed_by: "laws::turns::turn_ends_though_nothing_happens",
        wrap: |inner| twisted(inner, Turns(|_| Poll::Pending)),
    },
    Fault {
        name: "budget-is-never-restored",
        law: "L29",
        noticed_by: "laws::turns::return_to_the_host_restores_the_budget",
        wrap: |inner| twisted(inner, Broke),
    },
    Fault {
        name: "end-of-the-loop-is-not-told",
        law: "L30",
        noticed_by: "laws::ending::end_of_the_driver_wakes_all_waiters",
        wrap: |inner| twisted(inner, Undead),
    },
    Fault {
        name: "wakes-with-a-lock-held",
        law: "L31",
        noticed_by: "laws::ending::waker_may_use_its_loop",
        wrap: |inner| twisted(inner, Locking(Arc::default())),
    },
    Fault {
        name: "ambient-needs-a-drive",
        law: "L32",
        noticed_by: "laws::ending::ambient_services_need_no_drive",
        wrap: |inner| twisted(inner, Pretending),
    },
    Fault {
        name: "turn-is-granted-without-end",
        law: "L33",
        noticed_by: "laws::turns::grants_of_a_turn_are_bounded_and_end_with_it",
        wrap: |inner| twisted(inner, Generous::new(true)),
    },
    Fault {
        name: "grants-outlast-the-turn",
        law: "L33",
        noticed_by: "laws::turns::grants_of_a_turn_are_bounded_and_end_with_it",
        wrap: |inner| twisted(inner, Generous::new(false)),
    },
];

/// Accepts each third job and drops it.
struct Forgets(AtomicUsize);

impl Twist for Forgets {
    fn spawn_blocking(&self, handle: &dyn Handle, job: Job) -> io::Result<()> {
        if self.0.fetch_add(1, Ordering::SeqCst) % 3 == 2 { Ok(()) } else { handle.spawn_blocking(job) }
    }
}

struct Inline;

impl Twist for Inline {
    fn spawn_blocking(&self, _handle: &dyn Handle, job: Job) -> io::Result<()> {
        job();
        Ok(())
    }
}

struct OneByOne(Arc<Mutex<()>>);

impl Twist for OneByOne {
    fn spawn_blocking(&self, handle: &dyn Handle, job: Job) -> io::Result<()> {
        let turn = Arc::clone(&self.0);
        handle.spawn_blocking(Box::new(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            job();
        }))
    }
}

/// Drops all jobs after a panic in one.
struct Fragile(Arc<AtomicBool>);

impl Twist for Fragile {
    fn spawn_blocking(&self, handle: &dyn Handle, job: Job) -> io::Result<()> {
        let broken = Arc::clone(&self.0);
        handle.spawn_blocking(Box::new(move || {
            if !broken.load(Ordering::SeqCst) && catch_unwind(AssertUnwindSafe(job)).is_err() {
                broken.store(true, Ordering::SeqCst);
            }
        }))
    }
}

struct Turns(fn(&mut Context<'_>) -> Poll<()>);

impl Twist for Turns {
    fn poll_turn(&self, _handle: &dyn Handle, cx: &mut Context<'_>, _round: u32) -> Poll<()> {
        (self.0)(cx)
    }
}

struct Broke;

impl Twist for Broke {
    fn has_budget(&self, _handle: &dyn Handle) -> bool {
        false
    }
}

/// Rations, but grants a turn one budget after the other, or one when it has ended.
struct Generous {
    endless: bool,
    asked: AtomicUsize,
    in_turn: AtomicBool,
}

/// Questions that are answered with yes, for one budget.
const YES: usize = 100;

impl Generous {
    fn new(endless: bool) -> Self {
        Self { endless, asked: AtomicUsize::new(0), in_turn: AtomicBool::new(false) }
    }
}

impl Twist for Generous {
    fn has_budget(&self, _handle: &dyn Handle) -> bool {
        let is_granted = self.endless && self.in_turn.load(Ordering::SeqCst);
        is_granted || self.asked.fetch_add(1, Ordering::SeqCst) < YES
    }

    fn begin_turn(&self, _handle: &dyn Handle) {
        self.in_turn.store(true, Ordering::SeqCst);
    }

    fn end_turn(&self, _handle: &dyn Handle) {
        self.in_turn.store(false, Ordering::SeqCst);
        if !self.endless {
            self.asked.store(0, Ordering::SeqCst);
        }
    }
}

struct Undead;

#[derive(Debug)]
struct UndeadAlarm(Box<dyn Alarm>);

impl Twist for Undead {
    fn alarm(&self, inner: Box<dyn Alarm>) -> Box<dyn Alarm> {
        Box::new(UndeadAlarm(inner))
    }
}

impl Alarm for UndeadAlarm {
    fn set(&mut self, at: Option<Instant>) {
        self.0.set(at);
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(&mut Context::from_waker(Waker::noop()))
    }
}

/// Holds a lock while it wakes that it takes to make an alarm.
struct Locking(Arc<Mutex<()>>);

#[derive(Debug)]
struct LockingAlarm {
    lock: Arc<Mutex<()>>,
    inner: Box<dyn Alarm>,
}

struct LockingWaker {
    lock: Arc<Mutex<()>>,
    inner: Waker,
}

impl Wake for LockingWaker {
    fn wake(self: Arc<Self>) {
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.wake_by_ref();
    }
}

impl Twist for Locking {
    fn alarm(&self, inner: Box<dyn Alarm>) -> Box<dyn Alarm> {
        let _held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(LockingAlarm { lock: Arc::clone(&self.0), inner })
    }
}

impl Alarm for LockingAlarm {
    fn set(&mut self, at: Option<Instant>) {
        self.inner.set(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = Waker::from(Arc::new(LockingWaker { lock: Arc::clone(&self.lock), inner: cx.waker().clone() }));
        self.inner.poll(&mut Context::from_waker(&waker))
    }

    fn is_dead(&self) -> bool {
        self.inner.is_dead()
    }
}

/// Gives out the services of a loop that nobody drives.
struct Pretending;

impl Twist for Pretending {
    fn ambient(&self, backend: &dyn Backend) -> Option<Arc<dyn Handle>> {
        let driver = backend.driver().ok()?;
        let handle = driver.handle();
        // A loop that ends would say so.
        std::mem::forget(driver);
        Some(handle)
    }
}
