//! Random programs against the library's promises.
//!
//! A [`Program`] is a tree of statements that a seed determines. It runs on a virtual clock inside a scope with a
//! deadline, so that it must come to an end, and is watched all the while (`World`). What must hold:
//!
//! - it ends, and no library panic occurs;
//! - every future it made is gone when it ends, no task and no timer is left, task memory does not grow with repetition;
//! - a started shield and a started `finally` end, unless user code drops them;
//! - an operation or scope fails with `Cancelled` only where a scope around is cancelled; a scope swallows only its own;
//! - no error and no panic is lost, unless user code drops who has it;
//! - channel items arrive once, in the order of their sender, and none is lost; locks exclude, and permits come back;
//! - sleeps and deadlines take exactly as long as they say; task locals are those of the spawner.
//!
//! A program that fails is made smaller by taking statements away while it still fails ([`shrink`]).

mod foreign;
mod generate;
mod interp;
mod judge;
mod program;
mod rng;
mod shrink;
mod world;

pub use judge::{Report, Setup, check};
pub use program::Program;
pub use shrink::shrink;
