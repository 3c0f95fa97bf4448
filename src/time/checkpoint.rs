//! Checkpoints as such.

use crate::error::Cancelled;
use crate::sched::context;
use crate::task::park::{self, Entry, Hold};
use crate::task::wake;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Yielded,
    Done,
}

/// The future of [`checkpoint`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Checkpoint {
    stage: Stage,
    entry: Entry,
}

impl Checkpoint {
    pub(crate) const fn new() -> Self {
        Self { stage: Stage::Start, entry: Entry::new() }
    }

    #[inline(always)]
    pub(crate) fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        context::count_checkpoint();
        if park::is_cancelled() {
            return self.deliver(cx);
        }
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Yielded;
                wake::wake_self(cx);
                Poll::Pending
            }
            Stage::Yielded => {
                self.stage = Stage::Done;
                Poll::Ready(Ok(()))
            }
            Stage::Done => panic!("a checkpoint was polled after it had finished"),
        }
    }
}

impl Checkpoint {
    #[cold]
    #[inline(never)]
    fn deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        let result = self.entry.poll(cx);
        if result.is_ready() {
            self.stage = Stage::Done;
        }
        result
    }
}

impl Future for Checkpoint {
    type Output = Result<(), Cancelled>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_inner(cx)
    }
}

/// Lets other tasks run, and looks for cancellation before and after.
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Cancel safety
///
/// Nothing to lose.
///
/// # Examples
///
/// ```
/// trine::run(async {
///     for _ in 0..3 {
///         // a piece of work
///         trine::checkpoint().await?;
///     }
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
pub fn checkpoint() -> Checkpoint {
    Checkpoint::new()
}

/// Looks for cancellation, without letting other tasks run.
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
pub fn checkpoint_if_cancelled() -> Result<(), Cancelled> {
    context::count_look();
    park::take_in();
    if park::is_cancelled() {
        park::count_delivery();
        return Err(park::cancelled());
    }
    Ok(())
}

/// The future of [`shielded_checkpoint`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ShieldedCheckpoint {
    stage: Stage,
    hold: Option<Hold>,
}

impl Future for ShieldedCheckpoint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Yielded;
                self.hold = Some(Hold::take());
                wake::wake_self(cx);
                Poll::Pending
            }
            Stage::Yielded => {
                self.stage = Stage::Done;
                self.hold = None;
                Poll::Ready(())
            }
            Stage::Done => panic!("a checkpoint was polled after it had finished"),
        }
    }
}

/// Lets other tasks run, without looking for cancellation.
///
/// # Cancel safety
///
/// It is not a cancel point, and scopes around wait for it.
pub fn shielded_checkpoint() -> ShieldedCheckpoint {
    ShieldedCheckpoint { stage: Stage::Start, hold: None }
}
