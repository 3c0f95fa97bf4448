//! How many polls a turn has.
//!
//! The host, the reactor, other threads and deadlines are looked at between two turns, so the length of a turn is how late all of
//! them may be. Polls differ by a factor of a million, and to read a clock after each would cost more than many of them take. So a turn
//! is made of *stretches*, so many polls each, and the clock is read after one: the turn goes on if it has not taken [`AIM`] yet, and the
//! next stretch has as many polls as take that long, as far as the last one tells.
//!
//! When a stretch began is known from the one before, or from a reading that the turn begins with if the last one had [`FEW`] polls or
//! more. So a root that is woken for a poll now and then reads no clock for all this.
//!
//! Invariants, within a turn: what is `left` and all stretches so far, with this one, are [`MOST`]; a turn that is over has no more of
//! them, though something may be left. From turn to turn, `polls` is at least 1.

use crate::sched::sync::Cell;
use crate::time::Instant;
use std::time::Duration;

/// How long a turn is to take that does not run all there is to run.
const AIM: Duration = Duration::from_millis(1);
/// Polls in a turn, however short they are.
const MOST: u32 = 1024;
/// Polls in a stretch, however short they are: so many that take long may follow short ones until that is seen.
const LONGEST: u32 = 256;
/// Polls in a stretch after an idle time, if no fewer have turned out to take long.
const AT_FIRST: u32 = 64;
/// Fewer polls are not worth a reading of the clock. A stretch after one of which it is not known how long it took has no more.
const FEW: u32 = 8;

/// See the module. The holder's.
pub(super) struct Pace {
    /// Polls of the next stretch.
    polls: Cell<u32>,
    /// Polls of this one.
    stretch: Cell<u32>,
    /// Polls that the turn has after this stretch.
    left: Cell<u32>,
    /// When this stretch began, and when the turn did, or was first looked at, if that is known.
    since: Cell<Option<(Instant, Instant)>>,
    /// The turn has no more stretches.
    is_over: Cell<bool>,
    /// The turn before had [`FEW`] polls or more.
    is_busy: Cell<bool>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            polls: Cell::new(AT_FIRST),
            stretch: Cell::new(0),
            left: Cell::new(0),
            since: Cell::new(None),
            is_over: Cell::new(true),
            is_busy: Cell::new(false),
        }
    }

    /// A root begins. Under a clock whose time nobody spends, a turn is one stretch, and all are alike.
    pub(super) fn begin(&self, is_virtual: bool) {
        self.polls.set(if is_virtual { MOST } else { AT_FIRST });
        self.is_busy.set(false);
    }

    /// Is the turn that begins next worth a reading of the clock?
    #[inline(always)]
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.get()
    }

    /// A turn begins, at this time if that is known. Returns the polls of its first stretch.
    #[inline(always)]
    pub(super) fn begin_turn(&self, now: Option<Instant>) -> u32 {
        self.left.set(MOST);
        self.since.set(now.map(|now| (now, now)));
        self.is_over.set(false);
        self.begin_stretch()
    }

    fn begin_stretch(&self) -> u32 {
        let polls = self.polls.get().min(self.left.get());
        self.stretch.set(polls);
        self.left.set(self.left.get() - polls);
        polls
    }

    #[inline(always)]
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// A stretch is used up. Returns the polls of the next one, if the turn has one.
    pub(super) fn next_stretch(&self, now: Instant) -> Option<u32> {
        let polls = self.stretch.get();
        let began = match self.since.get() {
            Some((since, began)) => {
                // Up by steps, since what comes next may take longer; down at once.
                self.polls.set(in_time(polls, now.duration_since(since)).clamp(1, (2 * polls).min(LONGEST)));
                began
            }
            None => {
                self.polls.set(polls.min(FEW));
                now
            }
        };
        self.since.set(Some((now, began)));
        if self.left.get() == 0 || now.duration_since(began) >= AIM {
            self.is_over.set(true);
            self.is_busy.set(true);
            return None;
        }
        Some(self.begin_stretch())
    }

    /// A turn ends with `unused` polls of its stretch: since it `rests`, or its host would have no more of it. That says
    /// nothing of more polls, but may say that they take long.
    #[inline(always)]
    pub(super) fn end_early(&self, unused: u32, rests: bool, now: impl FnOnce() -> Instant) {
        self.is_busy.set(MOST - self.left.get() - unused >= FEW);
        let made = self.stretch.get() - unused;
        if made >= FEW {
            if let Some((since, _)) = self.since.get() {
                self.polls.set(in_time(made, now().duration_since(since)).clamp(1, self.polls.get()));
            }
        }
        if rests {
            self.polls.set(self.polls.get().min(AT_FIRST));
        }
    }
}

/// How many polls are made in the time of a turn, where so many took so long.
fn in_time(polls: u32, took: Duration) -> u32 {
    let aim = AIM.as_nanos() * u128::from(polls) / took.as_nanos().max(1);
    u32::try_from(aim).unwrap_or(u32::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A turn all of whose polls take so long, in nanoseconds: its stretches, until it is over.
    fn turn(pace: &Pace, now: &mut u64, each: u64) -> Vec<u32> {
        let read = |now: u64| Instant::from_nanos(now);
        let mut stretches = vec![pace.begin_turn(pace.is_busy().then(|| read(*now)))];
        loop {
            *now += each * u64::from(*stretches.last().unwrap());
            match pace.next_stretch(read(*now)) {
                Some(polls) => stretches.push(polls),
                None => return stretches,
            }
        }
    }

    /// One that ends after `made` polls of its first stretch.
    fn short_turn(pace: &Pace, now: &mut u64, each: u64, made: u32, rests: bool) {
        let polls = pace.begin_turn(pace.is_busy().then(|| Instant::from_nanos(*now)));
        *now += each * u64::from(made);
        pace.end_early(polls - made, rests, || Instant::from_nanos(*now));
    }

    const SHORT: u64 = 10;
    const LONG: u64 = 1_000_000;

    #[test]
    fn turns_of_short_polls_have_many() {
        let (pace, mut now) = (Pace::new(), 0);
        assert_eq!(turn(&pace, &mut now, SHORT), [64, 8, 16, 32, 64, 128, 256, 256, 200]);
        assert_eq!(turn(&pace, &mut now, SHORT), [256; 4]);
    }

    #[test]
    fn turns_of_long_polls_have_one() {
        let (pace, mut now) = (Pace::new(), 0);
        assert_eq!(turn(&pace, &mut now, LONG), [64, 8], "it is found out");
        assert_eq!(turn(&pace, &mut now, LONG), [1]);
        assert_eq!(turn(&pace, &mut now, u64::MAX >> 20), [1]);
        assert_eq!(turn(&pace, &mut now, 0), [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 1]);
    }

    #[test]
    fn long_polls_after_short_ones_are_seen_after_a_stretch() {
        let (pace, mut now) = (Pace::new(), 0);
        turn(&pace, &mut now, SHORT);
        assert_eq!(turn(&pace, &mut now, LONG), [256]);
        assert_eq!(turn(&pace, &mut now, LONG), [1]);
    }

    #[test]
    fn polls_that_take_a_while_fill_the_time() {
        let (pace, mut now) = (Pace::new(), 0);
        turn(&pace, &mut now, 50_000);
        let stretches = turn(&pace, &mut now, 50_000);
        assert_eq!(stretches.iter().sum::<u32>(), 20, "{stretches:?}");
    }

    #[test]
    fn a_rest_forgets_short_polls_and_remembers_long_ones() {
        let (pace, mut now) = (Pace::new(), 0);
        turn(&pace, &mut now, SHORT);
        short_turn(&pace, &mut now, SHORT, 100, true);
        assert_eq!(pace.polls.get(), AT_FIRST);
        turn(&pace, &mut now, LONG);
        short_turn(&pace, &mut now, LONG, 1, true);
        assert_eq!(pace.polls.get(), 1);
    }

    #[test]
    fn long_polls_are_seen_also_if_no_stretch_is_used_up() {
        for rests in [true, false] {
            let (pace, mut now) = (Pace::new(), 0);
            short_turn(&pace, &mut now, LONG, 50, rests);
            assert!(pace.is_busy(), "to be measured next time");
            short_turn(&pace, &mut now, LONG, 50, rests);
            assert_eq!(pace.polls.get(), 1);
        }
    }

    #[test]
    fn few_polls_ask_for_no_clock() {
        let (pace, mut now) = (Pace::new(), 0);
        short_turn(&pace, &mut now, LONG, FEW - 1, true);
        assert!(!pace.is_busy());
        pace.begin_turn(Some(Instant::from_nanos(now)));
        pace.end_early(AT_FIRST - 1, true, || unreachable!("nobody asks"));
        assert_eq!(pace.polls.get(), AT_FIRST);
    }
}
