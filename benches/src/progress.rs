//! Shows where the program is.

use std::io::{IsTerminal, stderr};

/// Replaces the line of progress, if there is a terminal to see it.
pub(crate) fn show(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
