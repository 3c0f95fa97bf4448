//! Time: instants on the ambient clock, sleeping, checkpoints.

mod checkpoint;
mod clock;
mod sleep;

pub use checkpoint::{Checkpoint, ShieldedCheckpoint, checkpoint, checkpoint_if_cancelled, shielded_checkpoint};
pub(crate) use clock::{Clock, nanos};
pub use sleep::{Sleep, SleepForever, sleep, sleep_forever, sleep_until};

use crate::sched::{context, idle};
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A point in time on the ambient clock: the machine's monotonic one, or the run's virtual one.
///
/// Arithmetic saturates, so that a deadline in the far past or future needs no check.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::Instant;
///
/// let later = Instant::now() + Duration::from_secs(1);
/// assert!(later > Instant::now());
/// assert_eq!(Instant::now() - later, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Reads the ambient clock: that of the run around, else the machine's.
    pub fn now() -> Self {
        idle::now_or(context::root())
    }

    /// Returns the time from `earlier` to this instant; zero if it is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time since this instant.
    pub fn elapsed(self) -> Duration {
        Self::now().duration_since(self)
    }
}

/// Reads the ambient clock, as [`Instant::now`].
pub fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(d)))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, d: Duration) {
        *self = *self - d;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}
