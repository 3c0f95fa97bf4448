//! Conformance suite for Trine: is a backend, an executor or a change to the core still Trio?
//!
//! [`scenario`] interprets the language of the scenario files in `data/`, small structured-concurrency programs with
//! the event trace that real Trio produced for each, and compares what Trine does with it.
//!
//! [`fuzz`] runs random programs and looks whether the library keeps its promises.
//!
//! The binary of the same name runs files of scenarios: `trine-conformance scenarios data/golden.jsonl`.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod scenario;
