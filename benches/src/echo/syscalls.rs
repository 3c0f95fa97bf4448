//! System calls per request, as `strace` counts them.
//!
//! Two runs of different length, and the difference of their totals over the difference of their requests, so that start
//! and end cancel out. A traced server is slow: on a busy connection it would find the next request already there, and
//! never wait. Therefore there is one connection, and a pause after each request, so that the server waits for each.

use std::{env, fs, io, process, thread, time::Duration};

use super::{
    load::{Load, Until},
    process::Running,
};

/// Requests of the two runs.
const RUNS: (usize, usize) = (100, 400);

/// Time for a traced server to go back to its wait.
const PAUSE: Duration = Duration::from_millis(2);

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
    for _ in 0..requests {
        load.run(Until::Requests(1))?;
        thread::sleep(PAUSE);
    }
    drop(load);
    // To end the server is to let strace write its report.
    drop(server);
    let text = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    let total = text.lines().rev().find_map(|line| line.trim().strip_suffix(" total")?.trim().parse().ok());
    total.ok_or_else(|| io::Error::other("strace's report has no total"))
}
