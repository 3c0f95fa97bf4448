//! Clean-up that always runs, and never hides the error that caused it.

use super::Deadline;
use super::region::{Outcome, Region};
use crate::error::{Error, Reason, ReasonKind, Result, TaskError, TooSlow};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);
const CUT_OFF: &str = "the clean-up took too long and was cut off";

pin_project! {
    /// The future of [`finally`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Finally<T, B, C> {
        body_region: Region,
        #[pin]
        body: Option<B>,
        result: Option<std::thread::Result<Result<T>>>,
        within: Duration,
        at: &'static Location<'static>,
        cleanup_region: Option<Region>,
        #[pin]
        cleanup: Option<C>,
    }

    impl<T, B, C> PinnedDrop for Finally<T, B, C> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.body_region.drop_body(this.body);
            if let Some(region) = this.cleanup_region {
                region.drop_body(this.cleanup);
            }
        }
    }
}

impl<T, B, C> fmt::Debug for Finally<T, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finally").field("within", &self.within).finish_non_exhaustive()
    }
}

impl<T, B, C> Finally<T, B, C> {
    /// Sets how long the clean-up may take; 10 s unless set.
    pub fn within(mut self, bound: Duration) -> Self {
        self.within = bound;
        self
    }
}

/// Runs `body`, then `cleanup`, whatever came of the body: value, error, cancellation or panic.
///
/// The clean-up is shielded, for 10 s at most ([`Finally::within`] sets the bound).
///
/// # Errors
///
/// The body's error. The clean-up's error if the body had none or was cancelled: clean-up that failed is told, also in place
/// of a cancellation. Two real errors form a group. Clean-up that was cut off failed with [`TooSlow`], whose reason has a
/// message that says so.
///
/// # Panics
///
/// A panic of the body goes on after the clean-up.
///
/// # Cancel safety
///
/// A cancel ends the body; the clean-up still runs. Dropping the future drops both.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let mut closed = false;
/// let outcome = trine::run(async {
///     trine::move_on_after(
///         Duration::from_millis(1),
///         trine::finally(
///             async {
///                 trine::sleep_forever().await?;
///                 Ok(())
///             },
///             async {
///                 trine::checkpoint().await?;
///                 closed = true;
///                 Ok(())
///             },
///         ),
///     )
///     .await
/// })?;
/// assert_eq!(outcome, None);
/// assert!(closed);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn finally<T, B, C>(body: B, cleanup: C) -> Finally<T, B, C>
where
    B: Future<Output = Result<T>>,
    C: Future<Output = Result<()>>,
{
    let at = Location::caller();
    Finally {
        body_region: Region::new(Deadline::Never, false, at),
        body: Some(body),
        result: None,
        within: BOUND,
        at,
        cleanup_region: None,
        cleanup: Some(cleanup),
    }
}

impl<T, B, C> Future for Finally<T, B, C>
where
    B: Future<Output = Result<T>>,
    C: Future<Output = Result<()>>,
{
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.result.is_none() {
            let region = &mut *this.body_region;
            let polled = catch_unwind(AssertUnwindSafe(|| region.poll(this.body.as_mut(), cx)));
            *this.result = Some(match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(exit)) => Ok(match exit.outcome {
                    Outcome::Returned(result) => result,
                    Outcome::Abandoned(c) => Err(c.into()),
                }),
                Err(panic) => {
                    let dropped = catch_unwind(AssertUnwindSafe(|| region.drop_body(this.body.as_mut())));
                    // Its payload may panic when it is dropped.
                    std::mem::forget(dropped);
                    Err(panic)
                }
            });
        }
        let (within, at) = (*this.within, *this.at);
        let region = this.cleanup_region.get_or_insert_with(|| Region::new(Deadline::After(within), true, at));
        let exit = ready!(region.poll(this.cleanup, cx));
        let reason = exit.reason();
        let cleanup = match exit.filter() {
            Ok(Some(())) => Ok(()),
            Ok(None) => {
                let kind = reason.map_or(ReasonKind::Deadline, |reason| reason.kind());
                Err(Error::from(TooSlow::new(Reason::with_message(kind, CUT_OFF.into()))))
            }
            Err(e) => Err(e),
        };
        Poll::Ready(match this.result.take() {
            Some(Ok(body)) => combine(body, cleanup),
            Some(Err(panic)) => resume_unwind(panic),
            None => panic!("a `finally` future was polled after it had finished"),
        })
    }
}

/// The rule of the module: real errors before cancellations, two real ones together.
pub(crate) fn combine<T>(body: Result<T>, cleanup: Result<()>) -> Result<T> {
    match (body, cleanup) {
        (body, Ok(())) => body,
        (Ok(_), Err(c)) => Err(c),
        (Err(b), Err(c)) if c.is_cancelled() => Err(b),
        (Err(b), Err(c)) if b.is_cancelled() => Err(c),
        (Err(b), Err(c)) => Err(<Error as TaskError>::merge(b, vec![c])),
    }
}
