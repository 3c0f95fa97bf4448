//! Asking for cancellation in a poll function.

use crate::error::Cancelled;
use crate::sched::polled;
use std::task::{Context, Poll};

/// Looks for cancellation inside of a future's `poll`: ready with the [`Cancelled`] to return if a scope around is
/// cancelled; else pending, and a cancel will wake the context's waker.
///
/// For futures of one's own that wait for something else than Trine's operations. Ask after the thing itself, so that
/// what was completed beats a cancel that came with it. Cancellation is a state: asked again, it answers the same.
///
/// It is half a checkpoint: it does not count against the step budget. [`cancellable`](crate::cancellable) makes a whole
/// one of any future, from outside.
///
/// # Cancel safety
///
/// There is nothing to give back if the future is dropped. Under an executor inside of the task that has wakers of its
/// own, as `FuturesUnordered` has, each of these is kept until the scope around is cancelled or left: where many futures
/// come and go in a scope that lasts, give each of them one of its own ([`CancelScope::run`](crate::CancelScope::run)).
///
/// # Examples
///
/// ```
/// use std::future::poll_fn;
/// use std::task::Poll;
/// use std::time::Duration;
/// use trine::lowlevel::poll_cancelled;
///
/// // Waits for what never comes, and says goodbye when cancelled.
/// let outcome = trine::testing::run(trine::move_on_after(Duration::from_secs(1), async {
///     let cancelled = poll_fn(|cx| poll_cancelled(cx)).await;
///     println!("goodbye: {}", cancelled.reason());
///     Err::<(), _>(cancelled.into())
/// }))?;
/// assert_eq!(outcome, None);
/// # Ok::<(), trine::Error>(())
/// ```
pub fn poll_cancelled(cx: &mut Context<'_>) -> Poll<Cancelled> {
    polled::poll_cancelled(cx)
}
