//! Conformance suite for Trine: is a backend, an executor or a change to the core still Trio?
//!
//! [`scenario`] interprets the language of the scenario files in `data/`, small structured-concurrency programs with
//! the event trace that real Trio produced for each, and compares what Trine does with it.
//!
//! [`fuzz`] runs random programs and looks whether the library keeps its promises.
//!
//! [`cases`] are plain functions with a name, the law or rule they prove, and where they come from; [`host`] has the ways
//! to run them, [`suite`] runs one, and
//! [`harness`] makes them a test of a backend crate.
//! [`faulty`] backends prove that the cases notice.
//!
//! The binary of the same name runs all three: `trine-conformance matrix`, `scenarios`, `fuzz`.
#![forbid(unsafe_code)]

pub mod case;
pub mod cases;
#[cfg(unix)]
pub mod faulty;
pub mod fuzz;
pub mod harness;
pub mod host;
pub mod ported;
pub mod scenario;
pub mod suite;

pub use case::skip;
