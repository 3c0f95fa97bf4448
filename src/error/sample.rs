//! Errors to test with, written by hand in the shapes that derive macros produce.

use std::error::Error as StdError;
use std::fmt;

use super::{Cancelled, Error, Reason, ReasonKind};

/// A [`Cancelled`] without a message.
pub(super) fn cancelled() -> Cancelled {
    Cancelled::new(Reason::new(ReasonKind::Deadline))
}

/// An ordinary error without a source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boom(pub(super) u32);

impl fmt::Display for Boom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boom {}", self.0)
    }
}

impl StdError for Boom {}

/// What `#[source]` makes: a message of its own, and the wrapped error as the source.
#[derive(Debug)]
pub(super) struct Caused(pub(super) Box<dyn StdError + Send + Sync>);

impl Caused {
    pub(super) fn by(source: impl StdError + Send + Sync + 'static) -> Self {
        Caused(Box::new(source))
    }
}

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request failed")
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// What `#[error(transparent)]` makes: it skips the error it wraps.
#[derive(Debug)]
pub(super) struct Transparent(pub(super) Box<dyn StdError + Send + Sync>);

impl fmt::Display for Transparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Transparent {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A user's enum that wraps [`Error`] itself, in both ways.
#[derive(Debug)]
pub(super) enum App {
    Source(Error),
    Transparent(Error),
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            App::Source(_) => f.write_str("the nursery failed"),
            App::Transparent(e) => e.fmt(f),
        }
    }
}

impl StdError for App {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            App::Source(e) => Some(&**e),
            App::Transparent(e) => e.source(),
        }
    }
}
