//! The results as JSON.

use super::{Counts, Row};
use serde_json::{Value, json};
use std::sync::Arc;
use trine_conformance::host::Host;
use trine_conformance::suite::{Report, Verdict};

/// Returns the whole document: hosts, one result for each case and host, counts.
pub(super) fn text(hosts: &[Arc<dyn Host>], rows: &[Row], counts: &Counts) -> String {
    let results: Vec<_> = rows
        .iter()
        .flat_map(|row| hosts.iter().zip(&row.reports).map(|(host, report)| result(row, host.name(), report)))
        .collect();
    let document = json!({
        "hosts": hosts.iter().map(|host| host.name()).collect::<Vec<_>>(),
        "results": results,
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
    });
    format!("{document:#}\n")
}

fn result(row: &Row, host: &str, report: &Report) -> Value {
    let (verdict, text) = match &report.verdict {
        Verdict::Passed => ("passed", None),
        Verdict::Failed(text) => ("failed", Some(text)),
        Verdict::Skipped(reason) => ("skipped", Some(reason)),
    };
    json!({
        "case": row.case.name(),
        "law": row.case.law(),
        "origin": row.case.origin(),
        "host": host,
        "verdict": verdict,
        "text": text,
        "milliseconds": report.took.as_secs_f64() * 1e3,
    })
}
