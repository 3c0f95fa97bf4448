//! How cost grows with the number of children, levels, timers and connections.
//!
//! One picture and one file of figures per curve, each with the peers on it. A point is the median of the rounds, each of
//! which runs all contenders of a size in an order shuffled anew; the first round is dropped.

mod draw;
mod lines;

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use crate::{
    echo,
    harness::{Absent, Side, Xorshift},
    machine, progress,
    report::{Spread, shown},
    workloads::hosts,
};

/// One contender on a curve.
#[derive(Debug)]
pub(crate) struct Line {
    /// The backend of trine, or the name of the peer.
    name: &'static str,
    side: Side,
    run: Run,
    available: fn() -> Result<(), String>,
    /// The greatest size that it takes, and why.
    most: Option<(usize, &'static str)>,
}

/// What gives a point of a line, in nanoseconds.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// Does about so many operations, at this size; by wall time.
    Program(fn(usize, usize) -> crate::harness::Measurement),
    /// The same, by CPU time.
    Waiting(fn(usize, usize) -> crate::harness::Measurement),
    /// The echo server of the line's name, with so many connections.
    Echo,
}

/// One picture.
#[derive(Debug)]
struct Curve {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    sizes: &'static [usize],
    /// Operations of a point, at least; thorough, and with `--quick`.
    ops: (usize, usize),
    /// Greatest size with `--quick`.
    quick: usize,
    lines: fn() -> Vec<Line>,
}

/// One contender's points.
#[derive(Debug, Serialize)]
struct Drawn {
    name: String,
    #[serde(skip)]
    side: Option<Side>,
    points: Vec<(usize, f64)>,
}

#[derive(Debug, Serialize)]
struct JsonCurve<'a> {
    curve: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    machine: &'a str,
    lines: &'a [Drawn],
    absent: BTreeMap<&'static str, String>,
}

/// Measures all curves, or those in `only`, and writes two files for each.
///
/// # Errors
///
/// A name that is no curve's, and what the system says of the files and of the echo servers.
pub(crate) fn measure(
    directory: &Path,
    only: &[String],
    quick: bool,
    rounds: Option<usize>,
    random: &mut Xorshift,
) -> Result<(), String> {
    if let Some(name) = only.iter().find(|name| lines::CURVES.iter().all(|curve| curve.name != **name)) {
        let names: Vec<_> = lines::CURVES.iter().map(|curve| curve.name).collect();
        return Err(format!("no curve is called {name}: there are {}", names.join(", ")));
    }
    fs::create_dir_all(directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    let effort = if quick { "quick" } else { "thorough" };
    let effort = rounds.map_or_else(|| effort.to_owned(), |rounds| format!("{effort}, {rounds} rounds"));
    let machine = format!("{}; {effort}", machine::describe());
    // The curve of connections comes last: it pins this thread, and so all that the thread starts.
    for curve in lines::CURVES.iter().filter(|curve| only.is_empty() || only.iter().any(|name| *name == curve.name)) {
        let (drawn, absent) = run(curve, quick, rounds, random)?;
        let json = JsonCurve {
            curve: curve.name,
            title: curve.title,
            x: curve.axis,
            y: "ns",
            machine: &machine,
            lines: &drawn,
            absent: absent.into_iter().map(|absent| (absent.name, absent.reason)).collect(),
        };
        let json = serde_json::to_string_pretty(&json).expect("names and numbers are always valid JSON") + "\n";
        let picture = draw::draw(curve.title, curve.axis, &machine, &drawn);
        for (extension, text) in [("json", &json), ("svg", &picture)] {
            let path = directory.join(curve.name).with_extension(extension);
            fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

fn run(
    curve: &Curve,
    quick: bool,
    rounds: Option<usize>,
    random: &mut Xorshift,
) -> Result<(Vec<Drawn>, Vec<Absent>), String> {
    let mut entrants = Vec::new();
    let mut absent = Vec::new();
    for line in (curve.lines)() {
        if let Some((most, reason)) = line.most {
            absent.push(Absent { name: line.name, reason: format!("beyond {most}: {reason}") });
        }
        let most = line.most.map_or(usize::MAX, |(most, _)| most);
        match (line.available)() {
            Err(reason) => absent.push(Absent { name: line.name, reason }),
            Ok(()) if line.side == Side::Trine && !matches!(line.run, Run::Echo) => {
                entrants.extend(hosts::backends().map(|backend| (backend, line.side, line.run, most)));
            }
            Ok(()) => entrants.push((line.name, line.side, line.run, most)),
        }
    }
    let mut drawn: Vec<Drawn> = entrants
        .iter()
        .map(|&(name, side, ..)| Drawn { name: shown(side, name), side: Some(side), points: Vec::new() })
        .collect();
    let rounds = rounds.unwrap_or(if quick { 3 } else { 7 });
    let ops = if quick { curve.ops.1 } else { curve.ops.0 };
    let echoes = entrants.iter().any(|(_, _, run, _)| matches!(run, Run::Echo));
    if echoes {
        echo::pin_load()?;
    }
    for &size in curve.sizes.iter().filter(|&&size| !quick || size <= curve.quick) {
        // Both ends of a connection have a descriptor each, in two processes.
        if echoes && size + 100 > echo::descriptors() {
            continue;
        }
        let mut samples = vec![Vec::new(); entrants.len()];
        let mut order: Vec<usize> = (0..entrants.len()).collect();
        for round in 0..=rounds {
            random.shuffle(&mut order);
            for &index in &order {
                let (name, side, run, most) = entrants[index];
                if size > most {
                    continue;
                }
                progress::show(&format!("{} {size}, round {round}: {name}", curve.name));
                match point(name, side, run, size, ops.max(size)) {
                    Ok(nanos) if round > 0 => samples[index].push(nanos),
                    Ok(_) => {}
                    // Its line ends here; most often the machine has no more descriptors for it.
                    Err(error) => {
                        absent.push(Absent { name, reason: format!("from {size} on: {error}") });
                        entrants[index].3 = size - 1;
                        samples[index].clear();
                    }
                }
            }
        }
        for (line, samples) in drawn.iter_mut().zip(samples) {
            if !samples.is_empty() {
                line.points.push((size, Spread::of(samples.into_iter()).median));
            }
        }
    }
    progress::show("");
    Ok((drawn, absent))
}

fn point(name: &'static str, side: Side, run: Run, size: usize, ops: usize) -> Result<f64, String> {
    use crate::harness::Metric;

    let (program, metric) = match run {
        Run::Program(program) => (program, Metric::Wall),
        Run::Waiting(program) => (program, Metric::Cpu),
        Run::Echo => {
            return echo::cpu_per_request(name, size).map_err(|error| format!("server {name}: {error}"));
        }
    };
    let measurement = match side {
        Side::Trine => hosts::on_backend(name, || program(ops, size)),
        Side::Peer | Side::Reference | Side::Floor => program(ops, size),
    };
    Ok(measurement.nanos(metric))
}
