//! For tests: a virtual clock, orders of scheduling, waiting until nothing can run, streams in memory, assertions about
//! checkpoints.

mod blocked;
mod checkpoints;
mod clock;
mod duplex;
mod sequencer;

pub use blocked::{AllTasksBlocked, wait_all_tasks_blocked, wait_all_tasks_blocked_for};
pub use checkpoints::{AssertCheckpoints, AssertNoCheckpoints, assert_checkpoints, assert_no_checkpoints};
pub use clock::MockClock;
pub(crate) use clock::VirtualClock;
pub use duplex::{MemoryRead, MemoryShutdown, MemoryStream, MemoryWrite, MemoryWriteAll, duplex};
pub use sequencer::{Sequencer, Turn};

use std::future::Future;

/// The order in which the runnable children of a nursery run. Correct programs do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// In the order in which they became runnable.
    #[default]
    Fifo,
    /// The other way round.
    Lifo,
    /// In a pseudo-random order that the number determines.
    Shuffle(u64),
}

/// Runs a future as [`trine::run`](crate::run()), on a virtual clock that jumps to the next deadline whenever no task
/// can run.
///
/// What is on its way over a socket or from another thread, and timers of other libraries, do not hold the clock: a timeout
/// around them has passed before they come. Nor does a thread that has only the end of a channel, a scope, a lock or an event
/// keep a program that waits for it from being a [deadlock](crate::RunError::Deadlock). Use [`duplex`] instead of sockets,
/// or [`MockClock::autojump_after`], which waits for them a while.
///
/// # Panics
///
/// As [`trine::run`](crate::run()). With the task tree if the program deadlocks.
pub fn run<T>(fut: impl Future<Output = T>) -> T {
    crate::Builder::new().clock(MockClock::new().autojump()).run(fut)
}
