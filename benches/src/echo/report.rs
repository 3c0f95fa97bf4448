//! The figures of the echo servers as Markdown, which is also what is printed, and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{Cell, Echo, Figures, Server};
use crate::report::shown;

#[derive(Debug, Serialize)]
struct JsonFigures {
    connections: usize,
    bytes: usize,
    server: String,
    cpu_ns: f64,
    wall_ns: f64,
    p50_ns: f64,
    p99_ns: f64,
    p999_ns: f64,
    ratio_floor: f64,
    ratio_least: f64,
    ratio_most: f64,
}

#[derive(Debug, Serialize)]
struct JsonEcho {
    floor: String,
    rounds: usize,
    echo: Vec<JsonFigures>,
    /// By server; null where they could not be counted.
    syscalls_per_request: BTreeMap<String, Option<f64>>,
    absent: BTreeMap<&'static str, String>,
}

/// All figures.
pub(crate) fn json(echo: &Echo) -> String {
    let figures = echo.figures.iter().map(|figures| {
        let [p50_ns, p99_ns, p999_ns] = figures.latency;
        JsonFigures {
            connections: figures.cell.connections,
            bytes: figures.cell.size,
            server: name(figures.server),
            cpu_ns: figures.cpu,
            wall_ns: figures.wall,
            p50_ns,
            p99_ns,
            p999_ns,
            ratio_floor: figures.over_floor.median,
            ratio_least: figures.over_floor.least,
            ratio_most: figures.over_floor.most,
        }
    });
    let echo = JsonEcho {
        floor: name(echo.floor),
        rounds: echo.rounds,
        echo: figures.collect(),
        syscalls_per_request: echo.syscalls.iter().map(|&(server, count)| (name(server), count)).collect(),
        absent: echo.absent.iter().map(|absent| (absent.name, absent.reason.clone())).collect(),
    };
    serde_json::to_string_pretty(&echo).expect("names and numbers are always valid JSON") + "\n"
}

/// Three tables: CPU, latency, system calls.
pub(crate) fn markdown(echo: &Echo) -> String {
    let (floor, rounds) = (name(echo.floor), echo.rounds);
    let mut text =
        format!("CPU of the server per request in us, and over that of {floor} (median of {rounds} rounds):\n\n");
    let micros = |nanos: f64| nanos / 1e3;
    table(&mut text, echo, |own| format!("{:.2} ({:.2}x)", micros(own.cpu), own.over_floor.median));
    text.push_str("\nTime until the echo was there in us, p50 / p99 / p99.9:\n\n");
    table(&mut text, echo, |own| {
        let [p50, p99, p999] = own.latency.map(micros);
        format!("{p50:.0} / {p99:.0} / {p999:.0}")
    });
    text.push_str("\nSystem calls per request, on one connection");
    if echo.syscalls.iter().any(|(_, count)| count.is_none()) {
        text.push_str(" (a dash: not counted, since strace is not installed or may not trace)");
    }
    text.push_str(":\n\n");
    let (mut names, mut line, mut counts) = (String::from("|"), String::from("|"), String::from("|"));
    for &(server, count) in &echo.syscalls {
        let _ = write!(names, " {} |", name(server));
        line.push_str("--:|");
        let count = count.map_or_else(|| "-".to_owned(), |count| format!("{count:.2}"));
        let _ = write!(counts, " {count} |");
    }
    let _ = writeln!(text, "{names}\n{line}\n{counts}");
    if !echo.absent.is_empty() {
        text.push_str("\nLeft out on this machine:\n\n");
    }
    for absent in &echo.absent {
        let _ = writeln!(text, "- {}: {}", absent.name, absent.reason);
    }
    text
}

/// One row per cell, one column per server.
fn table(text: &mut String, echo: &Echo, show: impl Fn(&Figures) -> String) {
    let servers = || echo.syscalls.iter().map(|&(server, _)| server);
    text.push_str("| connections | bytes |");
    for server in servers() {
        let _ = write!(text, " {} |", name(server));
    }
    let _ = writeln!(text, "\n|--:|--:|{}", "--:|".repeat(servers().count()));
    // The figures come cell by cell, each with all servers in order.
    for row in echo.figures.chunks(servers().count()) {
        let Cell { connections, size } = row[0].cell;
        let _ = write!(text, "| {connections} | {size} |");
        for figures in row {
            let _ = write!(text, " {} |", show(figures));
        }
        text.push('\n');
    }
}

/// As it is shown.
pub(super) fn name(server: &Server) -> String {
    shown(server.side, server.name)
}
