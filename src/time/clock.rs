//! The clock of a run: the machine's monotonic clock, or a virtual one.

use super::Instant;
use crate::testing::VirtualClock;
use std::sync::OnceLock;
use std::time::{Duration, Instant as StdInstant};

/// Real instants count from 2^61 ns before the process first asked, so that earlier ones exist and mixing them up with
/// virtual ones (which count from near zero) shows.
const OFFSET: u64 = 1 << 61;

fn base() -> StdInstant {
    static BASE: OnceLock<StdInstant> = OnceLock::new();
    *BASE.get_or_init(StdInstant::now)
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Real,
    Mock(VirtualClock),
}

impl Clock {
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Real => Self::real_now(),
            Self::Mock(mock) => mock.now(),
        }
    }

    pub(crate) fn real_now() -> Instant {
        let elapsed = base().elapsed();
        Instant::from_nanos(OFFSET.saturating_add(nanos(elapsed)))
    }

    /// When, by the machine's clock, `deadline` comes; `None` if never by the passing of time.
    pub(crate) fn to_std(&self, deadline: Instant) -> Option<StdInstant> {
        match self {
            Self::Real => {
                let after = deadline.as_nanos().saturating_sub(OFFSET);
                base().checked_add(Duration::from_nanos(after))
            }
            Self::Mock(mock) => {
                let wait = mock.real_until(deadline)?;
                StdInstant::now().checked_add(wait)
            }
        }
    }
}

/// Saturating.
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
