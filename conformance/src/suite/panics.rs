//! Panics of cases: kept with their place for the report instead of printed.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};

/// How many are kept.
const KEPT: usize = 100;

/// Message and place, the last ones.
static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// From now on keeps panics of all threads for the reports instead of printing them.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(note)));
}

fn note(info: &PanicHookInfo<'_>) {
    let text = crate::host::panic_text(info.payload());
    let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.len() == KEPT {
        seen.remove(0);
    }
    seen.push((text, place));
}

/// The message, with the place of the last panic that had it.
pub(super) fn located(message: &str) -> String {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    match seen.iter().rev().find(|(text, _)| text == message) {
        Some((_, place)) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    }
}
