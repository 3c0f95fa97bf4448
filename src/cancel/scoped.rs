//! The futures of scopes, and the functions that make them.

use super::Deadline;
use super::region::{Outcome, Region};
use crate::error::{Cancelled, Error, Reason, ReasonKind, Result, TaskError, TooSlow};
use crate::sched::context::Frame;
use crate::task::park::Entry;
use crate::time::Instant;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// The future of a scope, made by [`CancelScope::run`](crate::CancelScope::run), [`move_on_after`] and others.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scoped<F> {
        region: Region,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.region.drop_body(this.body);
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(region: Region, body: F) -> Self {
        Self { region, body: Some(body) }
    }
}

impl<T, E: TaskError, F: Future<Output = Result<T, E>>> Future for Scoped<F> {
    type Output = Result<Option<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let exit = ready!(this.region.poll(this.body, cx));
        Poll::Ready(exit.filter())
    }
}

pin_project! {
    /// The future of [`fail_after`] and [`fail_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct FailAfter<F> {
        region: Region,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for FailAfter<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.region.drop_body(this.body);
        }
    }
}

impl<T, E: TaskError + From<TooSlow>, F: Future<Output = Result<T, E>>> Future for FailAfter<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let exit = ready!(this.region.poll(this.body, cx));
        let reason = exit.reason();
        Poll::Ready(match exit.filter() {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                let reason = reason.unwrap_or_else(|| Reason::new(ReasonKind::Deadline));
                Err(E::from(TooSlow::new(reason)))
            }
            Err(e) => Err(e),
        })
    }
}

pin_project! {
    /// The future of [`shielded`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Shielded<F> {
        region: Region,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Shielded<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.region.drop_body(this.body);
        }
    }
}

impl<T, E: TaskError, F: Future<Output = Result<T, E>>> Future for Shielded<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let exit = ready!(this.region.poll(this.body, cx));
        Poll::Ready(match exit.outcome {
            Outcome::Returned(result) => result,
            // Nobody can cancel this scope.
            Outcome::Abandoned(c) => Err(E::from(c)),
        })
    }
}

pin_project! {
    /// The future of [`cancellable`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Cancellable<F> {
        region: Region,
        entry: Option<Entry>,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Cancellable<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.region.drop_body(this.body);
        }
    }
}

impl<F: Future> Future for Cancellable<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(entry) = this.entry {
            ready!(entry.poll(cx))?;
            *this.entry = None;
        }
        let exit = ready!(this.region.poll(this.body, cx));
        Poll::Ready(match exit.outcome {
            Outcome::Returned(value) => Ok(value),
            Outcome::Abandoned(c) => Err(c),
        })
    }
}

pin_project! {
    /// The future of [`isolated`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Isolated<F> {
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Isolated<F> {
        fn drop(this: Pin<&mut Self>) {
            let _frame = Frame::isolate();
            this.project().body.set(None);
        }
    }
}

impl<F: Future> Future for Isolated<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _frame = Frame::isolate();
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll(cx),
            None => unreachable!("only drop takes the body"),
        }
    }
}

pin_project! {
    /// The future of [`lift`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Lift<F> {
        #[pin]
        body: F,
    }
}

impl<T, E: Into<Error>, F: Future<Output = Result<T, E>>> Future for Lift<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().body.poll(cx).map_err(Into::into)
    }
}

/// Runs a future for at most `timeout`, counted from its first poll; `None` if the time ran out.
///
/// One with another error type is made fit by [`lift`].
///
/// # Errors
///
/// The future's own error. `Cancelled` if a scope further out is cancelled.
///
/// # Cancel safety
///
/// What is cut off sees `Cancelled` at its checkpoint and may clean up under a [shield](shielded); a foreign future is
/// dropped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let outcome = trine::run(async {
///     trine::move_on_after(Duration::from_millis(5), async {
///         trine::sleep_forever().await?;
///         Ok(())
///     })
///     .await
/// })?;
/// assert_eq!(outcome, None);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn move_on_after<T, F: Future<Output = Result<T>>>(timeout: Duration, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::After(timeout), false, Location::caller()), fut)
}

/// Runs a future until `deadline` at the latest; `None` if it came. See [`move_on_after`].
///
/// # Errors
///
/// The future's own error. `Cancelled` if a scope further out is cancelled.
///
/// # Cancel safety
///
/// As [`move_on_after`].
#[track_caller]
pub fn move_on_at<T, F: Future<Output = Result<T>>>(deadline: Instant, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::At(deadline), false, Location::caller()), fut)
}

/// Runs a future for at most `timeout`, counted from its first poll.
///
/// # Errors
///
/// [`TooSlow`] if the time ran out and nothing but the cancellation came out. The future's own error. `Cancelled` if a
/// scope further out is cancelled.
///
/// # Cancel safety
///
/// As [`move_on_after`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::TooSlow;
///
/// let error = trine::run(async {
///     trine::fail_after(Duration::from_millis(5), async {
///         trine::sleep(Duration::from_secs(60)).await?;
///         Ok(())
///     })
///     .await
/// })
/// .unwrap_err();
/// assert!(error.find::<TooSlow>().is_some());
/// ```
#[track_caller]
pub fn fail_after<T, F: Future<Output = Result<T>>>(timeout: Duration, fut: F) -> FailAfter<F> {
    FailAfter::new(Deadline::After(timeout), fut, Location::caller())
}

/// Runs a future until `deadline` at the latest. See [`fail_after`].
///
/// # Errors
///
/// As [`fail_after`].
///
/// # Cancel safety
///
/// As [`move_on_after`].
#[track_caller]
pub fn fail_at<T, F: Future<Output = Result<T>>>(deadline: Instant, fut: F) -> FailAfter<F> {
    FailAfter::new(Deadline::At(deadline), fut, Location::caller())
}

impl<F> FailAfter<F> {
    pub(crate) fn new(deadline: Deadline, body: F, at: &'static Location<'static>) -> Self {
        Self { region: Region::new(deadline, false, at), body: Some(body) }
    }
}

/// Runs a future that no cancel from outside reaches. Scopes around wait for it to end.
///
/// # Errors
///
/// The future's own error.
///
/// # Cancel safety
///
/// Once polled, it runs to its end, unless it is dropped (by a `select!`, say). Give it a bound: [`shielded_for`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::{move_on_after, shielded, sleep};
///
/// let mut cleaned_up = false;
/// trine::run(async {
///     move_on_after(Duration::from_millis(1), async {
///         let work = sleep(Duration::from_secs(60)).await;
///         shielded(async {
///             sleep(Duration::from_millis(1)).await?;
///             cleaned_up = true;
///             Ok(())
///         })
///         .await?;
///         Ok(work?)
///     })
///     .await
/// })?;
/// assert!(cleaned_up);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn shielded<T, F: Future<Output = Result<T>>>(fut: F) -> Shielded<F> {
    Shielded::new(fut, Location::caller())
}

impl<F> Shielded<F> {
    pub(crate) fn new(body: F, at: &'static Location<'static>) -> Self {
        Self { region: Region::new(Deadline::Never, true, at), body: Some(body) }
    }
}

/// Runs a future that no cancel from outside reaches, for at most `timeout`; `None` if the time ran out.
///
/// # Errors
///
/// The future's own error.
///
/// # Cancel safety
///
/// As [`shielded`], for a bounded time.
#[track_caller]
pub fn shielded_for<T, F: Future<Output = Result<T>>>(timeout: Duration, fut: F) -> Scoped<F> {
    Scoped::new(Region::new(Deadline::After(timeout), true, Location::caller()), fut)
}

/// Maps a future's error into [`Error`], for the functions that take `Result<T, trine::Error>`.
///
/// # Errors
///
/// The future's own error.
///
/// # Cancel safety
///
/// As the future.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::{lift, move_on_after, sleep};
///
/// let hour = Duration::from_secs(3600);
/// // The error of `sleep` is `Cancelled`.
/// let outcome = trine::run(move_on_after(Duration::from_millis(1), lift(sleep(hour))))?;
/// assert_eq!(outcome, None);
/// # Ok::<(), trine::Error>(())
/// ```
pub fn lift<T, E: Into<Error>, F: Future<Output = Result<T, E>>>(fut: F) -> Lift<F> {
    Lift { body: fut }
}

/// Makes a checkpoint of a foreign future: a cancel drops the future and is an error here, where the code around can
/// clean up, instead of dropping that code too.
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Cancel safety
///
/// That of the future when it is dropped.
///
/// # Examples
///
/// ```
/// use std::future::pending;
/// use std::time::Duration;
///
/// let mut cleaned_up = false;
/// trine::run(async {
///     trine::move_on_after(Duration::from_millis(1), async {
///         let result = trine::cancellable(pending::<()>()).await;
///         cleaned_up = true;
///         Ok(result?)
///     })
///     .await
/// })?;
/// assert!(cleaned_up);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn cancellable<F: Future>(fut: F) -> Cancellable<F> {
    Cancellable {
        region: Region::new(Deadline::Never, false, Location::caller()),
        entry: Some(Entry::new()),
        body: Some(fut),
    }
}

/// Hides the scopes and the task around from a future: cancels do not reach it, and it belongs to no task.
///
/// For executors and shared futures that are driven from inside a scope but do not belong to it. It does not help a
/// `block_on` that blocks this thread: what that waits for may need the thread.
///
/// # Cancel safety
///
/// As any foreign future: a cancelled scope around drops it.
pub fn isolated<F: Future>(fut: F) -> Isolated<F> {
    Isolated { body: Some(fut) }
}
