//! The numbered laws of the backend interface, in the order of `trine_backend::laws`.

mod ending;

use crate::case::Case;

pub(super) const CASES: &[&[Case]] = &[ending::CASES];
