//! [`Cancelled`], what a cancelled operation returns, and the [`Reason`] it carries.
//!
//! Hot: every operation of a cancelled scope returns one. So a [`Reason`] without a message is plain data, to make,
//! clone and drop without an allocation or an atomic operation, and with a message it is a counted pointer.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

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

/// Why a scope was cancelled: the first reason it was given.
///
/// Its `Display` is the message, or a few words for the kind if there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason {
    kind: ReasonKind,
    /// A thin pointer, so that a `Reason` takes two words, and an [`Error`](crate::Error) no more.
    message: Option<Arc<Cow<'static, str>>>,
}

impl Reason {
    pub(crate) const fn new(kind: ReasonKind) -> Self {
        Reason { kind, message: None }
    }

    pub(crate) fn with_message(kind: ReasonKind, message: Cow<'static, str>) -> Self {
        Reason { kind, message: Some(Arc::new(message)) }
    }

    /// Returns what sort of reason it is.
    pub fn kind(&self) -> ReasonKind {
        self.kind
    }

    /// Returns the message that was given with the cancel, if one was.
    pub fn message(&self) -> Option<&str> {
        self.message.as_ref().map(|m| &***m)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "{:?}({message:?})", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.message().unwrap_or(match self.kind {
            ReasonKind::Explicit => "the scope was cancelled",
            ReasonKind::Deadline => "the deadline passed",
            ReasonKind::Nursery => "another task of the nursery failed",
            ReasonKind::Shutdown => "the run is shutting down",
        }))
    }
}

/// The sort of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// Someone asked for it.
    Explicit,
    /// The scope's deadline passed.
    Deadline,
    /// The scope is that of a nursery, one task of which failed.
    Nursery,
    /// The whole run is being ended.
    Shutdown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_takes_two_words() {
        assert!(size_of::<Cancelled>() <= 16);
        assert!(size_of::<std::result::Result<(), Cancelled>>() <= 16);
    }

    #[test]
    fn reason_shows_its_message_or_its_kind() {
        let plain = Reason::new(ReasonKind::Deadline);
        assert_eq!((plain.kind(), plain.message()), (ReasonKind::Deadline, None));
        assert_eq!(plain.to_string(), "the deadline passed");
        let told = Reason::with_message(ReasonKind::Explicit, "client left".into());
        assert_eq!((told.kind(), told.message()), (ReasonKind::Explicit, Some("client left")));
        assert_eq!(told.to_string(), "client left");
    }

    #[test]
    fn clones_share_the_message() {
        let a = Reason::with_message(ReasonKind::Explicit, String::from("client left").into());
        let b = a.clone();
        assert_eq!(a.message().unwrap().as_ptr(), b.message().unwrap().as_ptr());
    }

    #[test]
    fn source_of_cancelled_shows_the_reason() {
        let e = Cancelled::new(Reason::with_message(ReasonKind::Explicit, "client left".into()));
        assert_eq!(e.to_string(), "cancelled");
        assert_eq!(e.source().unwrap().to_string(), "client left");
        assert_eq!(format!("{e:?}"), r#"Cancelled(Explicit("client left"))"#);
    }
}
