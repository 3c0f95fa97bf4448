//! A host's one-shot timer, made into an alarm that lasts once it has fired.
//!
//! 1. The clock decides: what the timer says is only a reason to look at it. So an alarm is never early.
//! 2. The timer is set at the first poll for an instant, and again if it rang too soon. A timer that does so twice in a
//!    poll has another clock: the caller is woken, who asks again.
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
/// The loop does not [end](Life::end) during [`set`](Self::set) and [`poll`](Self::poll), so a timer that does not bear
/// to be touched afterwards is safe there; nothing in them may wait for the end, nor wake a waker of others.
pub trait Timer: Send + Debug {
    /// Makes it ring once, when so much time has passed, instead of what it was set to before.
    fn set(&mut self, left: Duration);

    /// `Ready` if it has rung since it was set: soon after its time, and rather too early than never. `Pending` has
    /// stored the waker in place of the last one. It is polled only while it is set, and not again once it has rung.
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

#[cfg(test)]
mod tests {
    use super::super::support::{Count, race_with_the_end};
    use super::*;
    use std::task::Waker;

    const LONG: Duration = Duration::from_secs(1000);

    /// Rings at once, so often; remembers what was done to it.
    #[derive(Debug, Default)]
    struct Early {
        rings: usize,
        sets: Vec<Duration>,
        clears: usize,
        waker: Option<Waker>,
    }

    impl Timer for Early {
        fn set(&mut self, left: Duration) {
            self.sets.push(left);
        }

        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.waker = Some(cx.waker().clone());
            if self.rings == 0 {
                return Poll::Pending;
            }
            self.rings -= 1;
            Poll::Ready(())
        }

        fn clear(&mut self) {
            self.clears += 1;
        }
    }

    fn alarm(rings: usize) -> (LastingAlarm<Early>, Arc<Life>) {
        let life = Arc::default();
        (LastingAlarm::new(Early { rings, ..Early::default() }, &life).unwrap(), life)
    }

    #[test]
    fn l8_a_timer_that_rang_too_early_is_set_to_what_is_left() {
        let ((mut alarm, _life), (count, waker)) = (alarm(1), Count::new());
        alarm.set(Some(Instant::now() + LONG));
        assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
        let sets = &alarm.armed.timer.sets;
        assert!(sets.len() == 2 && sets[1] <= sets[0] && sets[0] <= LONG, "{sets:?}");
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn l9_a_timer_that_always_rings_too_early_makes_the_caller_ask_again() {
        let ((mut alarm, _life), (count, waker)) = (alarm(usize::MAX), Count::new());
        alarm.set(Some(Instant::now() + LONG));
        for n in 1..10 {
            assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(count.get(), n);
        }
    }

    #[test]
    fn l10_a_fired_alarm_lasts_until_it_is_set_again() {
        let ((mut alarm, _life), cx) = (alarm(0), &mut Context::from_waker(Waker::noop()));
        let now = Instant::now();
        alarm.set(Some(now));
        assert!(alarm.poll(cx).is_ready() && alarm.poll(cx).is_ready());
        alarm.set(None);
        assert!(alarm.poll(cx).is_pending());
        alarm.set(Some(now));
        assert!(alarm.poll(cx).is_ready());
        assert_eq!((alarm.armed.timer.sets.len(), alarm.armed.timer.clears), (0, 1), "the clock has decided");
    }

    #[test]
    fn l11_an_alarm_that_is_set_anew_sets_its_timer_anew_and_no_other_does() {
        let ((mut alarm, _life), cx) = (alarm(0), &mut Context::from_waker(Waker::noop()));
        let at = Instant::now() + LONG;
        for (at, sets) in [(at, 1), (at, 1), (at + LONG, 2), (at, 3)] {
            alarm.set(Some(at));
            assert!(alarm.poll(cx).is_pending() && alarm.poll(cx).is_pending());
            assert_eq!(alarm.armed.timer.sets.len(), sets);
        }
        alarm.set(None);
        alarm.set(Some(at));
        assert!(alarm.poll(cx).is_pending());
        assert_eq!(alarm.armed.timer.sets.len(), 4, "a cleared timer rings no more");
    }

    #[test]
    fn l30_the_end_wakes_the_waiter_and_whoever_comes_later() {
        let ((mut alarm, life), (count, waker)) = (alarm(0), Count::new());
        let cx = &mut Context::from_waker(&waker);
        alarm.set(Some(Instant::now() + LONG));
        assert!(alarm.poll(cx).is_pending() && !alarm.is_dead());
        life.end();
        assert_eq!(count.get(), 1);
        assert!(alarm.is_dead() && alarm.poll(cx).is_pending());
        assert_eq!(count.get(), 2);
        assert!(LastingAlarm::new(Early::default(), &life).is_err());
    }

    #[test]
    fn l30_an_end_that_races_with_a_poll_is_not_missed() {
        let make = |life: &Arc<Life>| {
            let mut alarm = LastingAlarm::new(Early::default(), life).unwrap();
            alarm.set(Some(Instant::now() + LONG));
            alarm
        };
        race_with_the_end(make, |alarm, cx| alarm.is_dead() || alarm.poll(cx).is_ready());
    }

    #[test]
    fn l31_the_host_never_has_the_callers_waker() {
        let ((mut alarm, _life), (count, waker)) = (alarm(0), Count::new());
        alarm.set(Some(Instant::now() + LONG));
        assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
        let hosts = alarm.armed.timer.waker.take().unwrap();
        assert!(!hosts.will_wake(&waker));
        hosts.wake_by_ref();
        assert_eq!(count.get(), 1);
        drop(waker);
        drop(alarm);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
