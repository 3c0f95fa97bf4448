//! Scenarios: programs in a small JSON language, each with the trace that real Trio produced for it.
//!
//! The language is specified in `data/SPEC.md`; section numbers in this module refer to it.
//!
//! 1. [`model`] reads a line of a scenario file; what it does not know is an error, never skipped;
//! 2. [`replay()`] runs the program on a virtual clock under [`Options`] and records a [`Trace`];
//! 3. [`judge`] compares that with the recorded one and tells the difference task by task; [`real_time`] does so for a
//!    run on the machine's clock, where only the order can be compared.
//!
//! Errors are compared by their canonical [`Form`]; [`show`] prints programs and traces for people.

mod form;
mod interp;
pub mod model;
pub mod real_time;
mod replay;
pub mod show;
mod trace;

pub use form::Form;
pub use interp::Children;
pub use replay::{Options, Verdict, judge, replay};
pub use trace::{Difference, Event, Trace};
