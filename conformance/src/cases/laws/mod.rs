//! The numbered laws of the backend interface, in the order of `trine_backend::laws`.
//!
//! Each case runs against the backend's own loop, and where it serves other executors, against those.

mod alarms;
mod driving;
mod ending;
mod jobs;
mod readiness;
mod registration;
mod support;
mod turns;

use crate::case::Case;

pub(super) const CASES: &[&[Case]] =
    &[driving::CASES, alarms::CASES, readiness::CASES, registration::CASES, jobs::CASES, turns::CASES, ending::CASES];
