//! [`Cancelled`], what a cancelled operation returns.
//!
//! One word, so that the results that carry it, and [`Error`](crate::Error)s, travel in registers.

use super::reason::Reason;
use std::error::Error as StdError;
use std::fmt;

/// The error of an operation that did not happen because a cancel scope around it is cancelled.
///
/// It is meant to travel, with `?`, out to the scope that is cancelled, which catches it. Nothing outside this crate can
/// make one: to end work early, cancel a scope.
///
/// Every error that has one in its `source()` chain is a cancellation, see [`is_cancelled`](crate::is_cancelled).
#[derive(Clone)]
pub struct Cancelled {
    /// The reason, in the type that marks a cancellation when the `Cancelled` itself is hidden by a wrapper.
    cause: Cause,
}

impl Cancelled {
    pub(crate) const fn new(reason: Reason) -> Self {
        Cancelled { cause: Cause(reason) }
    }

    /// Returns why the scope was cancelled.
    pub fn reason(&self) -> &Reason {
        &self.cause.0
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancelled").field(self.reason()).finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl StdError for Cancelled {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

/// The source of a [`Cancelled`]. No one else can return it, so whoever shows it wraps a `Cancelled`.
#[derive(Clone)]
struct Cause(Reason);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {}

/// Tells whether `e` itself, whatever its source, marks a cancellation.
pub(super) fn is_mark(e: &(dyn StdError + 'static)) -> bool {
    e.is::<Cancelled>() || e.is::<Cause>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ReasonKind;

    #[test]
    fn cancelled_takes_one_word() {
        assert_eq!(size_of::<Cancelled>(), size_of::<usize>());
        assert_eq!(size_of::<std::result::Result<(), Cancelled>>(), size_of::<usize>());
    }

    #[test]
    fn source_of_cancelled_shows_the_reason() {
        let e = Cancelled::new(Reason::with_message(ReasonKind::Explicit, "client left".into()));
        assert_eq!(e.to_string(), "cancelled");
        assert_eq!(e.source().unwrap().to_string(), "client left");
        assert_eq!(format!("{e:?}"), r#"Cancelled(Explicit("client left"))"#);
    }
}
