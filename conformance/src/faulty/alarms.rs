//! Alarms that break L8 to L13.

use super::Fault;
use super::wrap::{Twist, twisted};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use trine_backend::Alarm;
use trine_backend::laws::SLACK;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "alarm-is-early",
        law: "L8",
        noticed_by: "laws::alarms::alarm_is_never_early",
        wrap: |inner| twisted(inner, Twisting(Kind::Early)),
    },
    Fault {
        name: "alarm-is-late",
        law: "L9",
        noticed_by: "laws::alarms::alarm_fires_soon",
        wrap: |inner| twisted(inner, Twisting(Kind::Late)),
    },
    Fault {
        name: "alarm-is-not-armed-again",
        law: "L9",
        noticed_by: "laws::alarms::alarm_fires_again_and_again",
        wrap: |inner| twisted(inner, Twisting(Kind::Once)),
    },
    Fault {
        name: "alarm-says-ready-once",
        law: "L10",
        noticed_by: "laws::alarms::fired_alarm_stays_fired",
        wrap: |inner| twisted(inner, Twisting(Kind::Forgetful)),
    },
    Fault {
        name: "alarm-keeps-its-first-instant",
        law: "L11",
        noticed_by: "laws::alarms::set_to_later_postpones",
        wrap: |inner| twisted(inner, Twisting(Kind::Stubborn)),
    },
    Fault {
        name: "alarms-are-one-behind-the-scenes",
        law: "L12",
        noticed_by: "laws::alarms::dropped_alarm_wakes_nobody",
        wrap: |inner| twisted(inner, Twisting(Kind::Immortal)),
    },
    Fault {
        name: "alarm-wakes-its-first-waker",
        law: "L13",
        noticed_by: "laws::alarms::alarm_wakes_the_waker_of_its_last_poll",
        wrap: |inner| twisted(inner, Twisting(Kind::FirstWaker)),
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Fires before its instant.
    Early,
    /// Fires too late.
    Late,
    /// Fires no more once it has.
    Once,
    /// Is ready for one poll only.
    Forgetful,
    /// Does not take another instant while it is set.
    Stubborn,
    /// Goes on after its drop.
    Immortal,
    /// Keeps the waker of its first poll.
    FirstWaker,
}

struct Twisting(Kind);

impl Twist for Twisting {
    fn alarm(&self, inner: Box<dyn Alarm>) -> Box<dyn Alarm> {
        Box::new(Faulty { kind: self.0, inner: Some(inner), set: false, fired: false, waker: None })
    }
}

#[derive(Debug)]
struct Faulty {
    kind: Kind,
    /// `None` only while it is dropped.
    inner: Option<Box<dyn Alarm>>,
    set: bool,
    fired: bool,
    waker: Option<Waker>,
}

impl Faulty {
    fn inner(&mut self) -> &mut dyn Alarm {
        &mut **self.inner.as_mut().expect("alive")
    }
}

impl Alarm for Faulty {
    fn set(&mut self, at: Option<Instant>) {
        let (set, fired) = (self.set, self.fired);
        self.set = at.is_some();
        self.waker = None;
        let at = match self.kind {
            Kind::Early => at.map(|at| at.checked_sub(Duration::from_millis(2)).unwrap_or(at)),
            Kind::Late => at.map(|at| at + SLACK + SLACK),
            Kind::Once if fired => None,
            Kind::Stubborn if set && !fired && at.is_some() => return,
            _ => at,
        };
        if self.kind != Kind::Once {
            self.fired = false;
        }
        self.inner().set(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = match self.kind {
            Kind::FirstWaker => self.waker.get_or_insert_with(|| cx.waker().clone()).clone(),
            _ => cx.waker().clone(),
        };
        let polled = self.inner().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.fired = true;
            if self.kind == Kind::Forgetful {
                self.inner().set(None);
            }
        }
        polled
    }

    fn is_dead(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_dead())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let inner = self.inner.take();
        if self.kind == Kind::Immortal {
            std::mem::forget(inner);
        }
    }
}
