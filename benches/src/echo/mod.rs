//! Echo over TCP: what a request costs the server, and how long its client waits.
//!
//! `servers`, `epoll` and `uring` have the contenders, `process` runs one on a core of its own, `load` drives it from
//! another core, `syscalls` counts what it asks of the kernel, `report` writes it all down. Server and load are two processes of this
//! program. The CPU of a server is that of all its threads, as the scheduler counts it, read while it sleeps.

mod epoll;
mod load;
mod process;
mod report;
mod servers;
mod syscalls;
#[cfg(feature = "peers-uring")]
mod uring;

use std::{io, net::SocketAddr, time::Duration};

pub(crate) use self::{
    load::{Load, Until},
    process::{Running, pin_load, serve},
    report::{json, markdown},
    servers::SERVERS,
};
use crate::{
    harness::{Absent, Side, Xorshift},
    progress,
    report::Spread,
};

/// A program that sends back what it gets.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    /// Serves with buffers of this size, after it has said where; returns only if it fails.
    run: fn(usize, fn(SocketAddr)) -> io::Result<()>,
    pub(crate) available: fn() -> Result<(), String>,
}

impl Server {
    const fn new(name: &'static str, side: Side, run: fn(usize, fn(SocketAddr)) -> io::Result<()>) -> Self {
        Self { name, side, run, available: || Ok(()) }
    }

    #[cfg(feature = "peers-uring")]
    const fn needs(self, available: fn() -> Result<(), String>) -> Self {
        Self { available, ..self }
    }
}

/// The server that the others are compared with, if it takes part.
const FLOOR: &str = "raw epoll";

/// The servers that can run here, and those that cannot, with the reason.
pub(crate) fn available() -> (Vec<&'static Server>, Vec<Absent>) {
    let mut servers = Vec::new();
    let mut absent = Vec::new();
    for server in SERVERS {
        match (server.available)() {
            Ok(()) => servers.push(server),
            Err(reason) => absent.push(Absent { name: server.name, reason }),
        }
    }
    (servers, absent)
}

/// Connections at once, and bytes of a request.
#[derive(Debug, Clone, Copy)]
struct Cell {
    connections: usize,
    size: usize,
}

/// What one run of a server took.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Nanoseconds of the server's CPU per request.
    cpu: f64,
    /// Nanoseconds of time per request, of all connections together.
    wall: f64,
    /// Nanoseconds until the echo was there: the median, 99 and 99.9 of a hundred.
    latency: [f64; 3],
}

/// One server's figures in one cell.
#[derive(Debug)]
struct Figures {
    server: &'static Server,
    cell: Cell,
    cpu: f64,
    wall: f64,
    latency: [f64; 3],
    /// Its CPU over that of the floor in the same round.
    over_floor: Spread,
}

/// The whole of a run.
#[derive(Debug)]
pub(crate) struct Echo {
    /// What the others are compared with.
    floor: &'static Server,
    rounds: usize,
    figures: Vec<Figures>,
    /// System calls per request on one connection, by server; none where they could not be counted.
    syscalls: Vec<(&'static Server, Option<f64>)>,
    absent: Vec<Absent>,
}

/// Measures every server in every cell, or only those that are chosen.
///
/// # Errors
///
/// That a server is not known; what the system says: that there is one core only, that a server does not start.
pub(crate) fn measure(
    chosen: &[String],
    quick: bool,
    rounds: Option<usize>,
    random: &mut Xorshift,
) -> Result<Echo, String> {
    pin_load()?;
    let (usual, time) = if quick { (3, Duration::from_millis(60)) } else { (7, Duration::from_millis(300)) };
    let rounds = rounds.unwrap_or(usual);
    let (servers, absent) = if chosen.is_empty() { available() } else { (choose(chosen)?, Vec::new()) };
    let floor = servers.iter().position(|server| server.name == FLOOR).unwrap_or(servers.len() - 1);
    let mut cells = Vec::new();
    for connections in [1, 64, 512, 4_096] {
        // A descriptor per connection on either side, and some for the rest.
        let allowed = descriptors() > connections + 100;
        let wanted = !quick || connections < 4_096;
        if allowed && wanted {
            cells.extend([64, 1_024, 16_384].map(|size| Cell { connections, size }));
        }
    }
    let mut figures = Vec::new();
    for (index, &cell) in cells.iter().enumerate() {
        progress::show(&format!(
            "{} of {}: {} connections, {} bytes",
            index + 1,
            cells.len(),
            cell.connections,
            cell.size
        ));
        let mut samples = vec![Vec::new(); servers.len()];
        let mut order: Vec<usize> = (0..servers.len()).collect();
        for _ in 0..rounds {
            random.shuffle(&mut order);
            for &server in &order {
                let name = servers[server].name;
                samples[server].push(sample(name, cell, time).map_err(|error| format!("server {name}: {error}"))?);
            }
        }
        figures.extend(summarise(&servers, floor, cell, &samples));
    }
    progress::show("system calls");
    let syscalls = servers.iter().map(|&server| (server, syscalls::per_request(server.name, 64))).collect();
    progress::show("");
    Ok(Echo { floor: servers[floor], rounds, figures, syscalls, absent })
}

fn choose(names: &[String]) -> Result<Vec<&'static Server>, String> {
    let known = || SERVERS.iter().map(report::name).collect::<Vec<_>>().join("; ");
    let find = |name: &String| {
        let server = SERVERS.iter().find(|server| report::name(server) == *name);
        let server = server.ok_or_else(|| format!("no echo server is called {name}; there are {}", known()))?;
        (server.available)().map(|()| server).map_err(|reason| format!("{name}: {reason}"))
    };
    names.iter().map(find).collect()
}

/// How many descriptors the process may have open.
pub(crate) fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Nanoseconds of a server's CPU per request, for the curves.
///
/// # Errors
///
/// What the system says.
pub(crate) fn cpu_per_request(name: &str, connections: usize) -> io::Result<f64> {
    Ok(sample(name, Cell { connections, size: 64 }, Duration::from_millis(100))?.cpu)
}

fn sample(name: &str, cell: Cell, time: Duration) -> io::Result<Sample> {
    let server = Running::start(&[], name, cell.size, false)?;
    let mut load = Load::connect(server.address, cell.connections, cell.size)?;
    load.run(Until::Requests(cell.connections.max(200)))?;
    let before = server.cpu()?;
    let (mut latencies, wall) = load.run(Until::Elapsed(time))?;
    let cpu = server.cpu()? - before;
    let requests = latencies.len() as f64;
    latencies.sort_unstable();
    let quantile = |thousandths: usize| latencies[(latencies.len() - 1) * thousandths / 1_000] as f64;
    Ok(Sample {
        cpu: cpu.as_secs_f64() * 1e9 / requests,
        wall: wall.as_secs_f64() * 1e9 / requests,
        latency: [500, 990, 999].map(quantile),
    })
}

fn summarise(servers: &[&'static Server], floor: usize, cell: Cell, samples: &[Vec<Sample>]) -> Vec<Figures> {
    let figures = servers.iter().zip(samples).map(|(&server, own)| {
        let median = |figure: &dyn Fn(&Sample) -> f64| Spread::of(own.iter().map(figure)).median;
        Figures {
            server,
            cell,
            cpu: median(&|sample| sample.cpu),
            wall: median(&|sample| sample.wall),
            latency: [0, 1, 2].map(|index| median(&|sample| sample.latency[index])),
            over_floor: Spread::of(own.iter().zip(&samples[floor]).map(|(own, floor)| own.cpu / floor.cpu)),
        }
    });
    figures.collect()
}
