//! What a parked child, a sleeping child and an idle connection take, and what an operation allocates.
//!
//! Each figure comes from a process of its own, so that no contender finds memory that another one has left. Two are
//! shown: bytes of the heap as asked for, and bytes that came to be resident, with all that allocator, pools and
//! stacks add.

mod holders;
mod report;

use std::{env, fs, io, process::Command};

use serde::{Deserialize, Serialize};

pub(crate) use self::report::{json, markdown};
use crate::{
    alloc,
    echo::{self, Load, Running, Until},
    harness::{self, Absent, Entrant, NATIVE, Side},
    progress,
    workloads::{self, hosts},
};

/// A program that holds so many of something, and measures what it takes when all are there.
#[derive(Debug)]
struct Holder {
    /// The backend of trine, or the name of the peer.
    name: &'static str,
    side: Side,
    run: fn(usize) -> Footprint,
    available: fn() -> Result<(), String>,
}

/// What one of them takes, in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Footprint {
    heap: f64,
    resident: f64,
}

/// Memory before the things to be measured are made.
#[derive(Debug)]
pub(crate) struct Gauge {
    heap: isize,
    resident: isize,
}

impl Gauge {
    /// Reads both figures.
    fn start() -> Self {
        Self { heap: taken(), resident: resident("self").unwrap_or(0) }
    }

    /// Reads them again, with `count` things there.
    fn stop(self, count: usize) -> Footprint {
        let heap = taken() - self.heap;
        let resident = resident("self").unwrap_or(0) - self.resident;
        Footprint { heap: heap as f64 / count as f64, resident: resident as f64 / count as f64 }
    }
}

/// Bytes from the allocator, with those that trine has from the system, past it.
fn taken() -> isize {
    alloc::live() + trine::inspect::statistics().mapped as isize
}

/// Bytes of a process that are its own and resident.
///
/// # Errors
///
/// What the system says.
pub(crate) fn resident(process: &str) -> io::Result<isize> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<isize>().ok());
    kibibytes.map(|size| size * 1_024).ok_or_else(|| io::Error::other("the status has no RssAnon"))
}

/// A row: one kind of thing held by each contender.
#[derive(Debug)]
pub(crate) struct Held {
    what: &'static str,
    count: usize,
    figures: Vec<(String, Side, Footprint)>,
    absent: Vec<Absent>,
}

/// A row: what one operation of a workload allocates, by contender.
#[derive(Debug)]
pub(crate) struct Allocated {
    workload: &'static str,
    operation: &'static str,
    figures: Vec<(String, Side, f64)>,
}

/// The whole report.
#[derive(Debug)]
pub(crate) struct Memory {
    held: Vec<Held>,
    allocated: Vec<Allocated>,
}

/// Measures everything.
///
/// # Errors
///
/// What the system says.
pub(crate) fn measure(quick: bool) -> Result<Memory, String> {
    let count = if quick { 20_000 } else { 100_000 };
    let mut held = Vec::new();
    for (key, what, holders) in holders::TABLE {
        let mut row = Held { what, count, figures: Vec::new(), absent: Vec::new() };
        for holder in *holders {
            progress::show(&format!("{what}: {}", holder.name));
            if let Err(reason) = (holder.available)() {
                row.absent.push(Absent { name: holder.name, reason });
                continue;
            }
            let names = if holder.side == Side::Trine { hosts::backends().collect() } else { vec![holder.name] };
            for name in names {
                row.figures.push((name.to_owned(), holder.side, apart(key, name, count)?));
            }
        }
        held.push(row);
    }
    held.push(connections(if quick { 500 } else { 5_000 }).map_err(|error| format!("idle connections: {error}"))?);
    let allocated = workloads::all().filter_map(|workload| allocations(workload, quick)).collect();
    progress::show("");
    Ok(Memory { held, allocated })
}

/// Lets a process of its own measure.
fn apart(key: &str, name: &str, count: usize) -> Result<Footprint, String> {
    let program = env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let output = Command::new(program).args(["--footprint", &format!("{key}@{name}"), &count.to_string()]).output();
    let output = output.map_err(|error| format!("this program does not start: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{key}@{name}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What `--footprint` does: measures one contender, in JSON.
///
/// # Errors
///
/// What is wrong with the name.
pub(crate) fn footprint(name: &str, count: usize) -> Result<String, String> {
    let unknown = || format!("{name} is not KIND@CONTENDER");
    let (wanted, contender) = name.split_once('@').ok_or_else(unknown)?;
    let (_, _, holders) = holders::TABLE.iter().find(|(key, _, _)| *key == wanted).ok_or_else(unknown)?;
    let backend = hosts::backends().find(|backend| *backend == contender);
    let holder_name = backend.map_or(contender, |_| NATIVE);
    let holder = holders.iter().find(|holder| holder.name == holder_name).ok_or_else(unknown)?;
    alloc::count();
    let footprint = hosts::on_backend(backend.unwrap_or(NATIVE), || (holder.run)(count));
    Ok(serde_json::to_string(&footprint).expect("two numbers are valid JSON"))
}

/// Connections to the echo servers that have had one request each, and wait for the next.
fn connections(count: usize) -> io::Result<Held> {
    let count = count.min(echo::descriptors().saturating_sub(100));
    let (servers, absent) = echo::available();
    let mut figures = Vec::new();
    for server in servers {
        progress::show(&format!("idle connections: {}", server.name));
        let mut running = Running::start(&[], server.name, 64, true)?;
        // The first connections pay for what is there once.
        let mut first = Load::connect(running.address, 10, 64)?;
        first.run(Until::Requests(10))?;
        let (heap, resident) = (running.live()?, running.resident()?);
        let mut load = Load::connect(running.address, count, 64)?;
        load.run(Until::Requests(count))?;
        let (heap, resident) = (running.live()? - heap, running.resident()? - resident);
        let footprint = Footprint { heap: heap as f64 / count as f64, resident: resident as f64 / count as f64 };
        figures.push((server.name.to_owned(), server.side, footprint));
    }
    Ok(Held { what: "idle connection, its child and its buffer of 64 B", count, figures, absent })
}

/// Allocations of one operation, of each contender of a workload, once its pools are warm.
fn allocations(workload: &'static harness::Workload, quick: bool) -> Option<Allocated> {
    let ops = workload.ops.1.min(if quick { 20_000 } else { 100_000 });
    if ops == 0 || workload.name == "fairness" || workload.name == "wake-level" {
        return None;
    }
    progress::show(&format!("allocations: {}", workload.name));
    alloc::count();
    let (entrants, _) = Entrant::all(workload);
    let here = entrants.iter().filter(|entrant| !entrant.name.starts_with("Python"));
    let figures = here.map(|entrant| {
        entrant.run(ops);
        let measurement = entrant.run(ops);
        let each = measurement.allocations as f64 / measurement.ops as f64;
        (entrant.name.to_owned(), entrant.contender.side, each)
    });
    Some(Allocated { workload: workload.name, operation: workload.operation, figures: figures.collect() })
}
