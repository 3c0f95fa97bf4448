//! The small errors: each says one thing, and none but [`JoinError`] can be a cancellation.

use std::error::Error as StdError;
use std::fmt;

use super::{Cancelled, Reason, ReasonKind};

/// The error of `fail_after` and `fail_at`: their scope was cancelled before the work was done. Also of `finally`, if its
/// clean-up was cut off: then the [reason](TooSlow::reason) has a message that says so.
///
/// It is an ordinary error, not a cancellation: the scope has caught that.
#[derive(Debug, Clone)]
pub struct TooSlow {
    reason: Reason,
}

impl TooSlow {
    pub(crate) const fn new(reason: Reason) -> Self {
        TooSlow { reason }
    }

    /// Returns why the scope was cancelled: its deadline, or an explicit cancel.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.kind() {
            ReasonKind::Deadline => f.write_str(self.reason.message().unwrap_or("the work took too long")),
            _ => write!(f, "the work was stopped: {}", self.reason),
        }
    }
}

impl StdError for TooSlow {}

/// The error of a `Spawner` whose nursery takes no more children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot spawn: the nursery is closed")
    }
}

impl StdError for Closed {}

/// The error of a `try_` operation that would have had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WouldBlock;

impl fmt::Display for WouldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation would have to wait")
    }
}

impl StdError for WouldBlock {}

/// The error of a call into a run that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFinished;

impl fmt::Display for RunFinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot call into the run: it has finished")
    }
}

impl StdError for RunFinished {}

/// The error of a `Handle`: the child's value did not come.
///
/// A failing child cancels its nursery before its handle completes. So who waits inside the nursery gets
/// [`Cancelled`](JoinError::Cancelled), and only who waits outside of it sees that the child was [`Lost`](JoinError::Lost),
/// or who stopped it with `Handle::cancel`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JoinError {
    /// The one who waits is cancelled. This variant is a cancellation: the `Cancelled` is its source.
    Cancelled(Cancelled),
    /// The child ended without a value: it was stopped, failed or panicked.
    Lost,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::Cancelled(_) => "the wait for the child was cancelled",
            JoinError::Lost => "the child ended without a value",
        })
    }
}

impl StdError for JoinError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            JoinError::Cancelled(e) => Some(e),
            JoinError::Lost => None,
        }
    }
}

/// The error of `start`: the child did not get as far as `TaskStatus::started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The child ended, without an error, before it called `started`.
    NeverStarted,
    /// The nursery takes no more children.
    Closed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartError::NeverStarted => "the child ended before it called `started`",
            StartError::Closed => "cannot start a child: the nursery is closed",
        })
    }
}

impl StdError for StartError {}

#[cfg(test)]
mod tests {
    use super::super::is_cancelled;
    use super::super::sample::cancelled;
    use super::*;

    #[test]
    fn too_slow_is_an_ordinary_error() {
        assert!(!is_cancelled(&TooSlow::new(Reason::new(ReasonKind::Deadline))));
    }

    #[test]
    fn too_slow_says_why() {
        let late = TooSlow::new(Reason::new(ReasonKind::Deadline));
        assert_eq!(late.to_string(), "the work took too long");
        let stopped = TooSlow::new(Reason::with_message(ReasonKind::Explicit, "client left".into()));
        assert_eq!(stopped.to_string(), "the work was stopped: client left");
        assert_eq!(stopped.reason().message(), Some("client left"));
    }

    #[test]
    fn join_error_shows_its_cancelled_as_source() {
        let e = JoinError::Cancelled(cancelled());
        assert!(e.source().unwrap().is::<Cancelled>());
        assert!(JoinError::Lost.source().is_none());
    }

    #[test]
    fn only_a_cancelled_join_is_a_cancellation() {
        assert!(is_cancelled(&JoinError::Cancelled(cancelled())));
        assert!(!is_cancelled(&JoinError::Lost));
        assert!(!is_cancelled(&StartError::NeverStarted));
        assert!(!is_cancelled(&Closed));
        assert!(!is_cancelled(&WouldBlock));
        assert!(!is_cancelled(&RunFinished));
    }
}
