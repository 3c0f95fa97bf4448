//! What a nursery comes to when all has ended: its value, its errors and what its scope catches, put together to the result.

use super::core::Panic;
use crate::cancel::ScopeShared;
use crate::cancel::region::strip;
use crate::error::{Cancelled, Reason, ReasonKind, TaskError};
use std::sync::Arc;

/// What a finished nursery comes to.
pub(crate) struct Finished<T, E> {
    pub(crate) value: Option<T>,
    /// All errors together, not yet filtered by the nursery's own scope.
    pub(crate) error: Option<E>,
    pub(crate) catches: bool,
    pub(crate) reason: Option<Reason>,
    /// The handle's half of its scope, which hears of what was caught.
    pub(super) shared: Option<Arc<ScopeShared>>,
}

impl<T, E: TaskError> Finished<T, E> {
    /// The result of a plain nursery.
    pub(crate) fn value_or_error(self) -> Result<T, E> {
        let Some(error) = self.error else {
            return match self.value {
                Some(value) => Ok(value),
                None => Err(E::from(Cancelled::new(self.reason.unwrap_or_else(|| Reason::new(ReasonKind::Nursery))))),
            };
        };
        if !self.catches {
            return Err(error);
        }
        // Without a value there is nothing to go on with: then the cancellation goes on instead.
        match self.value {
            Some(value) => match strip(error).0 {
                None => Ok(value),
                Some(rest) => Err(rest),
            },
            None if error.is_cancelled() => Err(error),
            None => match strip(error).0 {
                Some(rest) => Err(rest),
                None => unreachable!("an error that is not cancelled keeps something"),
            },
        }
    }

    /// The result of a scope's nursery.
    pub(crate) fn option_or_error(self) -> Result<Option<T>, E> {
        let Some(error) = self.error else { return Ok(self.value) };
        if !self.catches {
            return Err(error);
        }
        let (rest, caught) = strip(error);
        if let (true, Some(shared)) = (caught, &self.shared) {
            shared.caught();
        }
        match rest {
            None => Ok(None),
            Some(rest) => Err(rest),
        }
    }
}

/// What a nursery comes to, and the panic that goes on instead.
pub(super) type Concluded<T, E> = (Finished<T, E>, Option<Panic>);

/// What becomes of what a nursery comes to.
pub(crate) trait Mode<T, E> {
    type Out;
    fn result(finished: Finished<T, E>) -> Self::Out;
    /// As [`Mode::result`], where there is no error, and nothing was cancelled.
    fn plain(value: Option<T>) -> Self::Out;
}

/// A plain nursery.
pub(crate) struct Plain;

impl<T, E: TaskError> Mode<T, E> for Plain {
    type Out = Result<T, E>;

    fn result(finished: Finished<T, E>) -> Result<T, E> {
        finished.value_or_error()
    }

    #[inline(always)]
    fn plain(value: Option<T>) -> Result<T, E> {
        value.ok_or_else(|| E::from(Cancelled::new(Reason::new(ReasonKind::Nursery))))
    }
}

/// The nursery of a scope.
pub(crate) struct OfScope;

impl<T, E: TaskError> Mode<T, E> for OfScope {
    type Out = Result<Option<T>, E>;

    fn result(finished: Finished<T, E>) -> Result<Option<T>, E> {
        finished.option_or_error()
    }

    #[inline(always)]
    fn plain(value: Option<T>) -> Result<Option<T>, E> {
        Ok(value)
    }
}
