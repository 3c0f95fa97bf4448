//! What this loop promises beyond the laws, or more exactly than they do; the laws are proved by `conformance.rs`.
#![cfg(unix)]

mod driving;
mod ending;
mod sources;
mod support;
mod turns;
