//! System calls per request, as `strace` counts them.
//!
//! Two runs of different length, and the difference of their totals over the difference of their requests, so that start
//! and end cancel out. A traced server is slow, so that events gather: with many connections it finds more of them ready
//! at once than it would by itself. Therefore there is one connection.

use std::{env, fs, io, process};

use super::{
    load::{Load, Until},
    process::Running,
};

/// Requests of the two runs.
const RUNS: (usize, usize) = (500, 2_500);

/// Counts for one server; `None` where there is no strace, or it may not trace.
pub(super) fn per_request(name: &str, size: usize) -> Option<f64> {
    let short = total(name, size, RUNS.0).ok()?;
    let long = total(name, size, RUNS.1).ok()?;
    Some((long - short) / (RUNS.1 - RUNS.0) as f64)
}

fn total(name: &str, size: usize, requests: usize) -> io::Result<f64> {
    let report = env::temp_dir().join(format!("trine-benches-{}.strace", process::id()));
    let path = report.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let arguments = ["strace", "-f", "-c", "-U", "calls,name", "-o", path, "--"];
    let server = Running::start(&arguments, name, size, false)?;
    let mut load = Load::connect(server.address, 1, size)?;
    load.run(Until::Requests(requests))?;
    drop(load);
    // To end the server is to let strace write its report.
    drop(server);
    let text = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    let total = text.lines().rev().find_map(|line| line.trim().strip_suffix(" total")?.trim().parse().ok());
    total.ok_or_else(|| io::Error::other("strace's report has no total"))
}
