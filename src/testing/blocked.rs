//! Waiting until every other task waits.

use crate::error::Cancelled;
use crate::sched::context;
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
    wait: Option<(u64, Parked)>,
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
        if let Some((key, parked)) = &this.wait {
            if root.with_idle(|idle| idle.take_fired(*key)) {
                this.wait = None;
                return Poll::Ready(Ok(()));
            }
            if parked.is_cancelled() {
                let waste = root.with_idle(|idle| idle.remove(*key));
                drop(waste);
                this.wait = None;
                park::count_delivery();
                return Poll::Ready(Err(park::cancelled()));
            }
            // Another root's watcher is none of this one.
            if parked.is_current(cx) && root.with_idle(|idle| idle.knows(*key)) {
                return Poll::Pending;
            }
            let waste = root.with_idle(|idle| idle.remove(*key));
            drop(waste);
        }
        let parked = Parked::new(cx, Op::WaitAllTasksBlocked, this.at);
        let wake = WakeRef::from_waker(cx.waker());
        let key = root.with_idle(|idle| idle.add(this.cushion, wake));
        this.wait = Some((key, parked));
        Poll::Pending
    }
}

impl Drop for AllTasksBlocked {
    fn drop(&mut self) {
        let root = context::root();
        if let (Some((key, _)), false) = (&self.wait, root.is_null()) {
            // SAFETY: the context's root is held by this thread.
            let waste = unsafe { (*root).with_idle(|idle| idle.remove(*key)) };
            drop(waste);
        }
    }
}
