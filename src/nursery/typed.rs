//! The same functions for any error type that is a [`TaskError`](crate::TaskError), for libraries that want their own.
//!
//! The error type stands first among the type parameters: `typed::nursery::<MyError, _>(..)`. It has to be written where
//! nothing else says it: a `?` after the call does not, since it converts.
//!
//! Beside [`TaskError`](crate::TaskError), the type needs `From` for the errors of what is used with it:
//! [`TooSlow`](crate::TooSlow) for `fail_after`, [`JoinError`](crate::JoinError) for `handle.await?`,
//! [`StartError`](crate::StartError) for `start`, [`SendError`](crate::channel::SendError) for `sender.send(..).await?`.
//!
//! # Examples
//!
//! ```
//! use trine::{Cancelled, typed};
//!
//! // The error type may be as small as this one.
//! let value = trine::run(typed::nursery::<Cancelled, _>(async |n| {
//!     n.start_soon(async { trine::checkpoint().await });
//!     trine::checkpoint().await?;
//!     Ok(7)
//! }));
//! assert_eq!(value.unwrap(), 7);
//! ```

use super::body::Body;
use super::{LocalNursery, LocalNurseryFuture, Nursery, NurseryFuture, ScopedNursery};
use crate::cancel::region::Region;
use crate::cancel::{CancelScope, Deadline, FailAfter, Scoped, Shielded};
use crate::error::{Result, TaskError, TooSlow};
use crate::time::Instant;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// As [`trine::nursery`](crate::nursery()).
///
/// # Errors
///
/// What [`TaskError::merge`] makes of the errors of body and children.
///
/// # Panics
///
/// As [`trine::nursery`](crate::nursery()).
///
/// # Cancel safety
///
/// As [`trine::nursery`](crate::nursery()).
#[track_caller]
pub fn nursery<'env, E: TaskError + 'env, T: 'env>(
    body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env, E>) -> Result<T, E>
    + for<'scope> Body<&'scope Nursery<'scope, 'env, E>, Out = Result<T, E>>
    + Send
    + 'env,
) -> NurseryFuture<'env, T, E> {
    NurseryFuture::open(body, Location::caller())
}

/// As [`CancelScope::nursery`].
///
/// # Errors
///
/// As [`nursery`].
///
/// # Panics
///
/// As [`CancelScope::nursery`].
///
/// # Cancel safety
///
/// As [`trine::nursery`](crate::nursery()).
#[track_caller]
pub fn nursery_in<'env, E: TaskError + 'env, T: 'env>(
    scope: &CancelScope,
    body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env, E>) -> Result<T, E>
    + for<'scope> Body<&'scope Nursery<'scope, 'env, E>, Out = Result<T, E>>
    + Send
    + 'env,
) -> ScopedNursery<'env, T, E> {
    ScopedNursery::open(body, scope, Location::caller())
}

/// As [`trine::local_nursery`](crate::local_nursery).
///
/// # Errors
///
/// As [`nursery`].
///
/// # Panics
///
/// As [`trine::nursery`](crate::nursery()).
///
/// # Cancel safety
///
/// As [`trine::nursery`](crate::nursery()).
#[track_caller]
pub fn local_nursery<'env, E: TaskError + 'env, T: 'env>(
    body: impl for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env, E>) -> Result<T, E> + 'env,
) -> LocalNurseryFuture<'env, T, E> {
    LocalNurseryFuture::open(body, Location::caller())
}

/// As [`CancelScope::run`].
///
/// # Errors
///
/// The future's own error, or a cancellation from outside.
///
/// # Panics
///
/// As [`CancelScope::run`].
///
/// # Cancel safety
///
/// As [`CancelScope::run`].
#[track_caller]
pub fn run_in<E: TaskError, T, F: Future<Output = Result<T, E>>>(scope: &CancelScope, fut: F) -> Scoped<F> {
    Scoped::new(Region::of_scope(scope, Location::caller()), fut)
}

/// As [`trine::move_on_after`](crate::move_on_after).
///
/// # Errors
///
/// The future's own error, or a cancellation from outside.
///
/// # Cancel safety
///
/// As [`trine::move_on_after`](crate::move_on_after).
#[track_caller]
pub fn move_on_after<E: TaskError, T, F: Future<Output = Result<T, E>>>(timeout: Duration, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::After(timeout), false, Location::caller()), fut)
}

/// As [`trine::move_on_at`](crate::move_on_at).
///
/// # Errors
///
/// The future's own error, or a cancellation from outside.
///
/// # Cancel safety
///
/// As [`trine::move_on_after`](crate::move_on_after).
#[track_caller]
pub fn move_on_at<E: TaskError, T, F: Future<Output = Result<T, E>>>(deadline: Instant, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::At(deadline), false, Location::caller()), fut)
}

/// As [`trine::fail_after`](crate::fail_after).
///
/// # Errors
///
/// The future's own error, [`TooSlow`], or a cancellation from outside.
///
/// # Cancel safety
///
/// As [`trine::move_on_after`](crate::move_on_after).
#[track_caller]
pub fn fail_after<E: TaskError + From<TooSlow>, T, F: Future<Output = Result<T, E>>>(
    timeout: Duration,
    fut: F,
) -> FailAfter<F> {
    FailAfter::new(Deadline::After(timeout), fut, Location::caller())
}

/// As [`trine::fail_at`](crate::fail_at).
///
/// # Errors
///
/// The future's own error, [`TooSlow`], or a cancellation from outside.
///
/// # Cancel safety
///
/// As [`trine::move_on_after`](crate::move_on_after).
#[track_caller]
pub fn fail_at<E: TaskError + From<TooSlow>, T, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    fut: F,
) -> FailAfter<F> {
    FailAfter::new(Deadline::At(deadline), fut, Location::caller())
}

/// As [`trine::shielded`](crate::shielded).
///
/// # Errors
///
/// The future's own error.
///
/// # Cancel safety
///
/// As [`trine::shielded`](crate::shielded).
#[track_caller]
pub fn shielded<E: TaskError, T, F: Future<Output = Result<T, E>>>(fut: F) -> Shielded<F> {
    Shielded::new(fut, Location::caller())
}

/// As [`trine::shielded_for`](crate::shielded_for).
///
/// # Errors
///
/// The future's own error.
///
/// # Cancel safety
///
/// As [`trine::shielded_for`](crate::shielded_for).
#[track_caller]
pub fn shielded_for<E: TaskError, T, F: Future<Output = Result<T, E>>>(timeout: Duration, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::After(timeout), true, Location::caller()), fut)
}
