//! One timer of the reactor, lasting once it has fired.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Timer;
use trine_backend::{Alarm, Relay};

use crate::life::{Life, Member};

/// See the module. The reactor compares with the clock before it says that a timer is due, so none is early.
#[derive(Debug)]
pub(crate) struct ReactorAlarm {
    /// Before the timer, so that the reactor drops no foreign waker.
    relay: Relay,
    timer: Timer,
    state: State,
    member: Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unset,
    Set(Instant),
    Fired(Instant),
}

impl ReactorAlarm {
    pub(crate) fn new(life: Option<&Arc<Life>>) -> io::Result<Self> {
        let relay = Relay::new();
        let member = Member::join(life, &relay)?;
        Ok(Self { relay, timer: Timer::never(), state: State::Unset, member })
    }
}

impl Alarm for ReactorAlarm {
    fn set(&mut self, at: Option<Instant>) {
        let state = at.map_or(State::Unset, State::Set);
        if self.state == state {
            return;
        }
        self.state = state;
        match at {
            Some(at) => self.timer.set_at(at),
            None => {
                self.timer.clear();
                self.relay.forget();
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::Unset => Poll::Pending,
            State::Fired(_) => Poll::Ready(()),
            State::Set(_) if self.member.has_ended() => Poll::Pending,
            State::Set(at) => {
                let timer = &mut self.timer;
                let polled = self.relay.poll(cx, |cx| Pin::new(&mut *timer).poll(cx));
                polled.map(|_| self.state = State::Fired(at))
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.member.has_ended()
    }
}
