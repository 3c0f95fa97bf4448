//! Waiting until every other task waits.

use crate::error::Cancelled;
use crate::sched::context;
use crate::sched::idle::Watch;
use crate::task::park::{self, Entry, Op, Parked};
use crate::task::wake::WakeRef;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The future of [`wait_all_tasks_blocked`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct AllTasksBlocked {
    cushion: Duration,
    entry: Option<Entry>,
    wait: Option<(Watch, Parked)>,
    at: &'static Location<'static>,
}

/// Waits until all other tasks of the run wait for something, and no input or output is ready.
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Panics
///
/// Outside of a run and of any scope or nursery.
///
/// # Cancel safety
///
/// Nothing to lose.
///
/// # Examples
///
/// ```
/// let (tx, rx) = trine::channel::<u32>(0);
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async {
///         assert_eq!(rx.recv().await?, 1);
///         Ok(())
///     });
///     trine::testing::wait_all_tasks_blocked().await?;
///     tx.try_send(1).expect("the child waits in `recv`");
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn wait_all_tasks_blocked() -> AllTasksBlocked {
    wait_all_tasks_blocked_for(Duration::ZERO)
}

/// As [`wait_all_tasks_blocked`], until that has been so for `cushion` of real time.
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Panics
///
/// As [`wait_all_tasks_blocked`].
///
/// # Cancel safety
///
/// Nothing to lose.
#[track_caller]
pub fn wait_all_tasks_blocked_for(cushion: Duration) -> AllTasksBlocked {
    AllTasksBlocked { cushion, entry: Some(Entry::new()), wait: None, at: Location::caller() }
}

impl Future for AllTasksBlocked {
    type Output = Result<(), Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(entry) = &mut this.entry {
            let entered = ready!(entry.poll(cx));
            this.entry = None;
            entered?;
        }
        let root = context::root();
        assert!(!root.is_null(), "wait_all_tasks_blocked needs a run around it: use `trine::run`");
        // SAFETY: the context's root is held by this thread.
        let root = unsafe { &*root };
        if let Some((watch, parked)) = &this.wait {
            if watch.take_fired() {
                this.wait = None;
                return Poll::Ready(Ok(()));
            }
            if parked.is_cancelled() {
                this.wait = None;
                park::count_delivery();
                return Poll::Ready(Err(park::cancelled()));
            }
            // Another root's watch is none of this one.
            if parked.is_current(cx) && watch.is_waiting() {
                return Poll::Pending;
            }
            this.wait = None;
        }
        let parked = Parked::new(cx, Op::WaitAllTasksBlocked, this.at);
        let watch = Watch::new(root, this.cushion, WakeRef::from_waker(cx.waker()));
        this.wait = Some((watch, parked));
        Poll::Pending
    }
}
