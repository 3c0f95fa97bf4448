//! Assertions about checkpoints.
//!
//! A checkpoint has two halves: it looks for cancellation, and it lets other tasks run or counts against the step budget,
//! which lets them run in the end. Both are seen from outside of the future, poll by poll: the thread counts checkpoints
//! and looks ([`context`]), and a future that is pending lets others run.

use crate::sched::context;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a future has done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Halves {
    looked: bool,
    yielded: bool,
}

impl Halves {
    /// Polls `fut` and adds what that poll did.
    fn watch<F: Future>(&mut self, fut: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let counts = || context::ambient(|a| (a.checkpoints.get(), a.looks.get()));
        let (checkpoints, looks) = counts();
        let result = fut.poll(cx);
        let now = counts();
        self.looked |= now != (checkpoints, looks);
        self.yielded |= now.0 != checkpoints || result.is_pending();
        result
    }
}

pin_project! {
    /// The future of [`assert_checkpoints`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct AssertCheckpoints<F> {
        done: Halves,
        at: &'static Location<'static>,
        #[pin]
        fut: F,
    }
}

pin_project! {
    /// The future of [`assert_no_checkpoints`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct AssertNoCheckpoints<F> {
        done: Halves,
        at: &'static Location<'static>,
        #[pin]
        fut: F,
    }
}

/// Runs a future, and makes sure that it contains a checkpoint: that it looks for cancellation, and lets other tasks run
/// or counts against the step budget.
///
/// What the future polls counts as its own: bodies and children of nurseries, branches of races. An operation that fails
/// must have been a checkpoint, too.
///
/// # Panics
///
/// When the future has completed without a checkpoint. The message names the caller's line.
///
/// # Cancel safety
///
/// As that of the future. Nothing is asserted of a future that is dropped.
///
/// # Examples
///
/// ```
/// use trine::testing::assert_checkpoints;
///
/// trine::run(async {
///     let (tx, _rx) = trine::channel(1);
///     // There is room, and yet a cancel would be noticed.
///     assert_checkpoints(tx.send(1)).await?;
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn assert_checkpoints<F: Future>(fut: F) -> AssertCheckpoints<F> {
    AssertCheckpoints { done: Halves::default(), at: Location::caller(), fut }
}

/// Runs a future, and makes sure that there is no checkpoint in it, nor half of one: it must neither look for
/// cancellation nor wait nor yield.
///
/// What the future polls counts as its own, as in [`assert_checkpoints`].
///
/// # Panics
///
/// At the first half of a checkpoint. The message names the caller's line.
///
/// # Cancel safety
///
/// As that of the future.
///
/// # Examples
///
/// ```
/// use trine::sync::Mutex;
/// use trine::testing::assert_no_checkpoints;
///
/// trine::run(async {
///     let mutex = Mutex::new(1);
///     let guard = mutex.lock().await?;
///     // Giving back is no checkpoint.
///     assert_no_checkpoints(async { drop(guard) }).await;
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn assert_no_checkpoints<F: Future>(fut: F) -> AssertNoCheckpoints<F> {
    AssertNoCheckpoints { done: Halves::default(), at: Location::caller(), fut }
}

impl<F: Future> Future for AssertCheckpoints<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.done.watch(this.fut, cx));
        let lacks = match *this.done {
            Halves { looked: true, yielded: true } => return Poll::Ready(output),
            Halves { looked: true, yielded: false } => "it looked for cancellation, but let no other task run",
            Halves { looked: false, yielded: true } => "it let other tasks run, but did not look for cancellation",
            Halves { looked: false, yielded: false } => "it neither looked for cancellation nor let other tasks run",
        };
        panic!("the future at {} completed without a checkpoint: {lacks}", this.at)
    }
}

impl<F: Future> Future for AssertNoCheckpoints<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = this.done.watch(this.fut, cx);
        let did = match *this.done {
            Halves { looked: false, yielded: false } => return result,
            Halves { looked: true, yielded: true } => "it looked for cancellation and may let other tasks run",
            Halves { looked: true, yielded: false } => "it looked for cancellation",
            Halves { looked: false, yielded: true } => "it let other tasks run",
        };
        panic!("the future at {} must contain no checkpoint, but {did}", this.at)
    }
}
