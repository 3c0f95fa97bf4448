//! One timer of tokio, lasting once it has fired.
//!
//! tokio rounds instants up to its milliseconds and its clock may be paused, so what it reports is checked against the
//! clock: an alarm is never early. Its timers panic when they are polled after a shutdown, so each poll keeps the runtime
//! from it ([`TokioHandle::alive`]); at the shutdown itself tokio wakes whoever waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;
use tokio::time::{self, Sleep};
use trine_backend::{Alarm, Relay};

use crate::runtime::TokioHandle;

/// See the module.
#[derive(Debug)]
pub(crate) struct TokioAlarm {
    /// Before the timer, so that tokio drops no foreign waker.
    relay: Relay,
    timer: Timer,
    state: State,
}

#[derive(Debug)]
struct Timer {
    handle: Arc<TokioHandle>,
    /// Made at the first poll.
    sleep: Option<Pin<Box<Sleep>>>,
    /// What it was last set to.
    armed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unset,
    Set(Instant),
    Fired(Instant),
}

impl TokioAlarm {
    pub(crate) fn new(handle: Arc<TokioHandle>) -> Self {
        Self { relay: Relay::new(), timer: Timer { handle, sleep: None, armed: None }, state: State::Unset }
    }
}

impl Timer {
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if now >= at {
            return Poll::Ready(());
        }
        let Some(_alive) = self.handle.alive() else { return Poll::Pending };
        if self.armed != Some(at) {
            self.armed = Some(at);
            let deadline = time::Instant::from_std(at);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => {
                    let _inside = self.handle.runtime().enter();
                    self.sleep = Some(Box::pin(time::sleep_until(deadline)));
                }
            }
        }
        let Some(sleep) = &mut self.sleep else { unreachable!("made above") };
        let mut early = None;
        while Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            let now = Instant::now();
            if now >= at {
                return Poll::Ready(());
            }
            // tokio's clock is not this one: it is told to wait for as long as is left, at least one of its units.
            let left = (at - now).max(Duration::from_millis(1));
            if early.replace(left).is_some() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            sleep.as_mut().reset(time::Instant::now() + left);
        }
        Poll::Pending
    }
}

impl Alarm for TokioAlarm {
    fn set(&mut self, at: Option<Instant>) {
        let state = at.map_or(State::Unset, State::Set);
        if self.state == state {
            return;
        }
        self.state = state;
        if at.is_none() {
            self.relay.forget();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::Unset => Poll::Pending,
            State::Fired(_) => Poll::Ready(()),
            State::Set(at) => {
                let timer = &mut self.timer;
                self.relay.poll(cx, |cx| timer.poll(at, cx)).map(|()| self.state = State::Fired(at))
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.timer.handle.is_dead()
    }
}
