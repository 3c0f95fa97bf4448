//! A host's one-shot timer, made into an alarm that lasts once it has fired.
//!
//! 1. The clock decides: what the timer says is only a reason to look at it. So an alarm is never early.
//! 2. The timer is set at the first poll for an instant, and again if it rang too soon. A timer that does so twice in a poll
//!    has another clock: the caller is woken, who asks again.
//! 3. Whoever finds the loop gone is woken, too, since that may have happened since the last look at
//!    [`is_dead`](Alarm::is_dead).

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::Life;
use super::life::Member;
use crate::{Alarm, Relay};

/// One timer of a host.
///
/// The loop does not [end](Life::end) during a call, so nothing in there may wait for that.
pub trait Timer: Send + Debug {
    /// Makes it ring once, when so much time has passed, instead of what it was set to before.
    fn set(&mut self, left: Duration);

    /// `Ready` if it has rung since it was set: soon after its time, and rather too early than never. `Pending` has stored
    /// the waker in place of the last one. It is polled only while it is set, and not again once it has rung.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Lets it ring no more. One that rings nevertheless does no harm.
    fn clear(&mut self) {}
}

/// An [`Alarm`] of a host's [`Timer`].
#[derive(Debug)]
pub struct LastingAlarm<T> {
    /// Before the timer, so that the host drops no foreign waker.
    relay: Relay,
    armed: Armed<T>,
    state: State,
}

#[derive(Debug)]
struct Armed<T> {
    timer: T,
    /// What the timer was set for.
    at: Option<Instant>,
    member: Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unset,
    Set(Instant),
    Fired(Instant),
}

/// Why there is nothing to wait for.
enum Rang {
    InTime,
    /// Once more than it should.
    Early,
    /// The loop is gone.
    Never,
}

impl<T: Timer> LastingAlarm<T> {
    /// Makes an alarm that is not set, for as long as the loop lives.
    ///
    /// # Errors
    ///
    /// The loop is gone.
    pub fn new(timer: T, life: &Arc<Life>) -> io::Result<Self> {
        let relay = Relay::new();
        let member = Member::join(life, &relay)?;
        Ok(Self { relay, armed: Armed { timer, at: None, member }, state: State::Unset })
    }
}

impl<T: Timer> Armed<T> {
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<Rang> {
        let now = Instant::now();
        if now >= at {
            return Poll::Ready(Rang::InTime);
        }
        let Some(_alive) = self.member.life().alive() else { return Poll::Ready(Rang::Never) };
        if self.at != Some(at) {
            self.at = Some(at);
            self.timer.set(at - now);
        }
        for _ in 0..2 {
            ready!(self.timer.poll(cx));
            let now = Instant::now();
            if now >= at {
                return Poll::Ready(Rang::InTime);
            }
            self.timer.set(at - now);
        }
        Poll::Ready(Rang::Early)
    }
}

impl<T: Timer> Alarm for LastingAlarm<T> {
    fn set(&mut self, at: Option<Instant>) {
        let state = at.map_or(State::Unset, State::Set);
        if self.state == state {
            return;
        }
        self.state = state;
        if at.is_none() {
            self.armed.at = None;
            self.armed.timer.clear();
            self.relay.forget();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = match self.state {
            State::Unset => return Poll::Pending,
            State::Fired(_) => return Poll::Ready(()),
            State::Set(at) => at,
        };
        let armed = &mut self.armed;
        match ready!(self.relay.poll(cx, |cx| armed.poll(at, cx))) {
            Rang::InTime => {
                self.state = State::Fired(at);
                Poll::Ready(())
            }
            Rang::Early | Rang::Never => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.armed.member.life().has_ended()
    }
}
