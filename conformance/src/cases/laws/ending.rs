//! L30 to L32: the end of a loop, foreign code, and what is ambient.

use crate::case::{Case, backend};
use crate::host::Subject;

pub(super) const CASES: &[Case] = &[backend!(backend_has_a_name, "L32", "design 2")];

/// A backend has a name that `TRINE_BACKEND` can hold.
fn backend_has_a_name(subject: &Subject<'_>) -> trine::Result<()> {
    let name = subject.backend().name();
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{name:?}");
    Ok(())
}
