//! Structured concurrency for Rust, on any executor: nurseries whose children borrow, cancel scopes with deadlines and
//! shields, checkpoints, channels.
//!
//! The children of a nursery run concurrently *inside the task that awaits the nursery*, not in parallel; for
//! parallelism use threads, or the spawn of a multi-threaded executor.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! fn main() -> trine::Result<()> {
//!     trine::run(async {
//!         let name = String::from("world");
//!         trine::fail_after(Duration::from_secs(5), trine::nursery(async |n| {
//!             n.start_soon(async { println!("hello, {name}"); Ok(()) });
//!             n.start_soon(async { println!("and hello again, {name}"); Ok(()) });
//!             Ok(())
//!         }))
//!         .await
//!     })
//! }
//! ```
//!
//! # Features
//!
//! - `native` (by default): the backend of [`run`], an event loop on mio.
//! - `tokio`, `async-io`: backends on these two, with which timers and sockets also work without [`run`], inside
//!   `#[tokio::main]` and on any other executor. They may all be there at once.
//! - `anyhow`: [`Error`] converts into `anyhow::Error`, which is a [`TaskError`].
//!
//! A library asks for none of them (`default-features = false`) and leaves the choice to the program.
#![deny(unsafe_code)]

pub mod backend;
#[expect(unsafe_code, reason = "a scope's slot in a root's memory, touched under the root's hold")]
mod cancel;
pub mod channel;
mod error;
#[expect(unsafe_code, reason = "walks the tree of the root that this thread holds")]
pub mod inspect;
pub mod lowlevel;
pub mod net;
#[expect(unsafe_code, reason = "children are erased, and polled in pooled memory")]
mod nursery;
mod run;
#[expect(unsafe_code, reason = "roots, the cancel tree and task memory: raw links under a hold")]
mod sched;
pub mod sync;
#[expect(unsafe_code, reason = "headers and wakers of tasks")]
mod task;
#[expect(unsafe_code, reason = "asks the root that this thread holds")]
pub mod testing;
#[expect(unsafe_code, reason = "timers of a root, under its hold")]
mod time;

pub use cancel::{
    CancelScope, Cancellable, EffectiveDeadline, FailAfter, Finally, Isolated, Lift, Scoped, Shielded, cancellable,
    current_effective_deadline, fail_after, fail_at, finally, isolated, lift, move_on_after, move_on_at, shielded,
    shielded_for,
};
pub use channel::{channel, unbounded};
pub use error::{
    Cancelled, Closed, Error, JoinError, Reason, ReasonKind, Result, ResultExt, RunFinished, StartError, TaskError,
    TooSlow, WouldBlock, is_cancelled,
};
pub use nursery::{
    Branches, Either, Handle, LocalNursery, LocalNurseryFuture, LocalStart, LocalTask, Nursery, NurseryFuture, Race,
    RaceAll, ScopedLocalNursery, ScopedNursery, Spawner, Start, Task, TaskStatus, body, local_nursery, nursery, race,
    race_all, typed,
};
pub use run::{Builder, Hosted, RunError, run};
pub use task::local::{LocalKey, LocalScope, NotSet};
pub use time::{
    Checkpoint, Instant, ShieldedCheckpoint, Sleep, SleepForever, checkpoint, checkpoint_if_cancelled, now,
    shielded_checkpoint, sleep, sleep_forever, sleep_until,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
