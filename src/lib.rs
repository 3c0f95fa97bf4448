//! Structured concurrency for Rust, on any executor.
#![deny(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod task;

pub mod channel;
mod error;
pub mod sync;

pub use channel::{channel, unbounded};
pub use error::{
    Cancelled, Closed, Error, JoinError, Reason, ReasonKind, Result, ResultExt, RunFinished,
    StartError, TaskError, TooSlow, WouldBlock, is_cancelled,
};
