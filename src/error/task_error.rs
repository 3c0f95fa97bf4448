//! [`TaskError`], what a typed nursery asks of its error.

use std::io;
use std::iter;

use super::group::Group;
use super::{Cancelled, Error};

/// An error that the tasks of a typed nursery can fail with.
///
/// # Examples
///
/// ```
/// use std::fmt;
/// use trine::{Cancelled, TaskError};
///
/// #[derive(Debug)]
/// enum Failure {
///     Cancelled(Cancelled),
///     NoRoute,
/// }
///
/// impl fmt::Display for Failure {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("cannot connect")
///     }
/// }
///
/// impl std::error::Error for Failure {
///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
///         match self {
///             Failure::Cancelled(e) => Some(e),
///             Failure::NoRoute => None,
///         }
///     }
/// }
///
/// impl From<Cancelled> for Failure {
///     fn from(e: Cancelled) -> Self {
///         Failure::Cancelled(e)
///     }
/// }
///
/// impl TaskError for Failure {
///     fn is_cancelled(&self) -> bool {
///         trine::is_cancelled(self)
///     }
/// }
///
/// assert!(!Failure::NoRoute.is_cancelled());
/// ```
pub trait TaskError: From<Cancelled> {
    /// Tells whether this is nothing but a cancellation. Usually [`is_cancelled(self)`](crate::is_cancelled).
    fn is_cancelled(&self) -> bool;

    /// Tells whether there is any cancellation in it. Unless overridden, as [`TaskError::is_cancelled`].
    fn has_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Makes one error of all those that a nursery has collected, the earliest first.
    ///
    /// Unless overridden, it returns the first that is not a cancellation, or else `first`, and drops the others.
    /// [`Error`] makes a group, also of one.
    ///
    /// One that makes groups has [`TaskError::is_cancelled`] (all parts are), [`TaskError::has_cancelled`] (one is) and
    /// [`TaskError::without_cancelled`] (the others) look into them: else no scope catches what it has cancelled.
    fn merge(first: Self, rest: Vec<Self>) -> Self {
        if !first.is_cancelled() {
            return first;
        }
        rest.into_iter().find(|e| !e.is_cancelled()).unwrap_or(first)
    }

    /// Returns what is left for a scope to pass on when it catches its own cancellation.
    ///
    /// Unless overridden, that is all or nothing.
    fn without_cancelled(self) -> Option<Self> {
        (!self.is_cancelled()).then_some(self)
    }
}

impl TaskError for Error {
    fn is_cancelled(&self) -> bool {
        Error::is_cancelled(self)
    }

    fn has_cancelled(&self) -> bool {
        Error::has_cancelled(self)
    }

    fn merge(first: Self, rest: Vec<Self>) -> Self {
        match Error::group(iter::once(first).chain(rest)) {
            Some(group) => group,
            None => unreachable!("a group of at least one is empty"),
        }
    }

    fn without_cancelled(self) -> Option<Self> {
        Error::without_cancelled(self)
    }
}

impl TaskError for Cancelled {
    fn is_cancelled(&self) -> bool {
        true
    }
}

impl TaskError for io::Error {
    fn is_cancelled(&self) -> bool {
        super::is_cancelled(self)
    }

    fn has_cancelled(&self) -> bool {
        let group = self.get_ref().and_then(|inner| inner.downcast_ref::<Group>());
        group.map_or_else(|| super::is_cancelled(self), Group::has_cancelled)
    }

    /// Strips a tree that is inside.
    fn without_cancelled(self) -> Option<Self> {
        if self.get_ref().is_some_and(|inner| inner.is::<Group>()) {
            return Error::new(self).without_cancelled().map(io::Error::from);
        }
        (!TaskError::is_cancelled(&self)).then_some(self)
    }
}

#[cfg(feature = "anyhow")]
impl TaskError for anyhow::Error {
    fn is_cancelled(&self) -> bool {
        super::is_cancelled(&**self)
    }

    fn has_cancelled(&self) -> bool {
        let group = self.downcast_ref::<Group>();
        group.map_or_else(|| super::is_cancelled(&**self), Group::has_cancelled)
    }

    /// Strips a tree that is inside, unless it has been given a context.
    fn without_cancelled(self) -> Option<Self> {
        match self.downcast::<Group>() {
            Ok(group) => Error::from_boxed(Box::new(group)).without_cancelled().map(anyhow::Error::from),
            Err(e) => (!TaskError::is_cancelled(&e)).then_some(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Boom, cancelled};
    use super::*;

    fn stop<E: TaskError>() -> E {
        E::from(cancelled())
    }

    fn mixed() -> Error {
        Error::group([Error::new(cancelled()), Error::new(Boom(1)), Error::new(Boom(2))]).unwrap()
    }

    fn assert_all_or_nothing<E: TaskError + From<Error>>() {
        assert!(stop::<E>().is_cancelled());
        assert!(stop::<E>().without_cancelled().is_none());
        let real = E::from(Error::new(Boom(1)));
        assert!(!real.is_cancelled());
        assert!(real.without_cancelled().is_some());
    }

    #[test]
    fn every_implementation_tells_a_cancellation() {
        assert_all_or_nothing::<Error>();
        assert_all_or_nothing::<io::Error>();
        #[cfg(feature = "anyhow")]
        assert_all_or_nothing::<anyhow::Error>();
        assert!(stop::<Cancelled>().is_cancelled());
        assert!(stop::<Cancelled>().without_cancelled().is_none());
    }

    #[test]
    fn default_merge_returns_the_first_real_error() {
        let real = |n| io::Error::other(Boom(n));
        assert_eq!(io::Error::merge(real(1), vec![stop(), real(2)]).to_string(), "boom 1");
        assert_eq!(io::Error::merge(stop(), vec![stop(), real(1), real(2)]).to_string(), "boom 1");
        assert!(TaskError::is_cancelled(&io::Error::merge(stop(), vec![stop()])));
    }

    #[test]
    fn error_merges_into_a_group_always() {
        let one = <Error as TaskError>::merge(Error::new(Boom(1)), vec![]);
        assert!(one.is_group());
        assert_eq!(one.errors().len(), 1);
        let two = <Error as TaskError>::merge(one, vec![stop()]);
        assert_eq!(two.errors().len(), 2);
        assert!(two.errors()[0].is_group() && two.errors()[1].is_cancelled());
    }

    #[test]
    fn tree_in_another_error_is_stripped() {
        let left = TaskError::without_cancelled(io::Error::from(mixed())).unwrap();
        assert_eq!(Error::new(left).to_string(), "2 errors:\n  - boom 1\n  - boom 2");
        #[cfg(feature = "anyhow")]
        {
            let left = TaskError::without_cancelled(anyhow::Error::from(mixed())).unwrap();
            assert_eq!(left.to_string(), "2 errors:\n  - boom 1\n  - boom 2");
        }
    }
}
