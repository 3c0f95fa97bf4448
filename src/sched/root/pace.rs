//! How many polls a turn has.
//!
//! The host, the reactor, other threads and deadlines are looked at between two turns, so the length of a turn is how late all of
//! them may be. Polls differ by a factor of a million, and to read a clock after each would cost more than many of them take. So it is
//! read at the beginning of a turn that follows one whose polls were used up, and at its end; what it took says how many polls
//! the next one has: as many as take [`AIM`].

use crate::sched::sync::Cell;
use std::time::Duration;

/// Polls in a turn, however short they are.
const MOST: u32 = 1024;
/// Polls in a turn that follows an idle time, if no fewer have turned out to take long.
const AT_FIRST: u32 = 64;
/// Polls in a turn that follows one whose polls were used up without being measured, and which is.
const UNKNOWN: u32 = 8;
/// How long a turn is to take that has not run all there is to run.
const AIM: Duration = Duration::from_millis(1);

/// See the module. The holder's.
pub(super) struct Pace {
    polls: Cell<u32>,
    /// The turn before has used up its polls.
    is_busy: Cell<bool>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { polls: Cell::new(AT_FIRST), is_busy: Cell::new(false) }
    }

    /// Under a clock whose time nobody spends, all turns are alike.
    pub(super) fn begin(&self, is_virtual: bool) {
        self.polls.set(if is_virtual { MOST } else { AT_FIRST });
        self.is_busy.set(false);
    }

    /// Is the turn that begins now to be measured?
    #[inline(always)]
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.get()
    }

    /// Polls of the turn that begins now.
    #[inline(always)]
    pub(super) fn polls(&self) -> u32 {
        self.polls.get()
    }

    /// A turn has run all there was to run.
    #[inline(always)]
    pub(super) fn rest(&self) {
        if self.is_busy.replace(false) {
            self.polls.set(self.polls.get().min(AT_FIRST));
        }
    }

    /// A turn has used up its polls, and taken so long, if that is known.
    pub(super) fn spend(&self, took: Option<Duration>) {
        self.is_busy.set(true);
        let polls = self.polls.get();
        self.polls.set(took.map_or(polls.min(UNKNOWN), |took| next(polls, took)));
    }
}

/// Polls of the next turn, where so many took so long.
fn next(polls: u32, took: Duration) -> u32 {
    let aim = AIM.as_nanos() * u128::from(polls) / took.as_nanos().max(1);
    // Up by steps, since what comes next may take longer; down at once.
    let most = polls.saturating_mul(2).min(MOST);
    u32::try_from(aim).unwrap_or(u32::MAX).clamp(1, most)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn long_polls_make_short_turns_at_once() {
        assert_eq!(next(64, Duration::from_millis(64)), 1);
        assert_eq!(next(1024, Duration::from_millis(4)), 256);
        assert_eq!(next(1, Duration::from_secs(3600)), 1);
        assert_eq!(next(1, Duration::MAX), 1);
    }

    #[test]
    fn short_polls_make_long_turns_step_by_step() {
        assert_eq!(next(1, Duration::ZERO), 2);
        assert_eq!(next(64, Duration::from_micros(1)), 128);
        assert_eq!(next(1024, Duration::ZERO), MOST);
    }

    #[test]
    fn what_takes_as_long_as_it_is_to_take_stays() {
        assert_eq!(next(100, AIM), 100);
        assert_eq!(next(1, AIM), 1);
    }

    #[test]
    fn a_rest_forgets_short_polls_and_remembers_long_ones() {
        let pace = Pace::new();
        for _ in 0..10 {
            pace.spend(Some(Duration::from_micros(1)));
        }
        assert_eq!((pace.polls(), pace.is_busy()), (MOST, true));
        pace.rest();
        assert_eq!((pace.polls(), pace.is_busy()), (AT_FIRST, false));
        pace.spend(None);
        assert_eq!((pace.polls(), pace.is_busy()), (UNKNOWN, true));
        pace.spend(Some(Duration::from_secs(1)));
        pace.rest();
        assert_eq!(pace.polls(), 1);
    }
}
