//! The figures of memory as Markdown, which is also what is printed, and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{Footprint, Memory};
use crate::report::shown;

#[derive(Debug, Serialize)]
struct JsonHeld {
    what: &'static str,
    count: usize,
    bytes: BTreeMap<String, Footprint>,
    absent: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct JsonAllocated {
    workload: &'static str,
    allocations: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct JsonMemory {
    memory: Vec<JsonHeld>,
    allocations_per_operation: Vec<JsonAllocated>,
}

/// All figures.
pub(crate) fn json(memory: &Memory) -> String {
    let held = memory.held.iter().map(|row| JsonHeld {
        what: row.what,
        count: row.count,
        bytes: row.figures.iter().map(|(name, side, footprint)| (shown(*side, name), *footprint)).collect(),
        absent: row.absent.iter().map(|absent| (absent.name, absent.reason.clone())).collect(),
    });
    let allocated = memory.allocated.iter().map(|row| JsonAllocated {
        workload: row.workload,
        allocations: row.figures.iter().map(|(name, side, each)| (shown(*side, name), *each)).collect(),
    });
    let memory = JsonMemory { memory: held.collect(), allocations_per_operation: allocated.collect() };
    serde_json::to_string_pretty(&memory).expect("names and numbers are always valid JSON") + "\n"
}

/// A table of bytes, and one of allocations.
pub(crate) fn markdown(memory: &Memory) -> String {
    let mut text = String::from("| held | contender | heap B | resident B |\n|---|---|--:|--:|\n");
    for row in &memory.held {
        for (name, side, Footprint { heap, resident }) in &row.figures {
            let _ = writeln!(text, "| {} | {} | {heap:.0} | {resident:.0} |", row.what, shown(*side, name));
        }
        for absent in &row.absent {
            let _ = writeln!(text, "| {} | {} | {} | |", row.what, absent.name, absent.reason);
        }
    }
    let counts: Vec<String> = memory.held.iter().map(|row| format!("{} {}", row.count, row.what)).collect();
    let _ = writeln!(text, "\nEach is the mean over so many: {}.\n", counts.join("; "));
    text.push_str("| workload | allocations per operation |\n|---|---|\n");
    for row in &memory.allocated {
        let figures: Vec<String> =
            row.figures.iter().map(|(name, side, each)| format!("{} {each:.2}", shown(*side, name))).collect();
        let _ = writeln!(text, "| {}: {} | {} |", row.workload, row.operation, figures.join("; "));
    }
    text
}
