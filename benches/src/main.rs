//! Trine beside its peers: every workload on every contender, interleaved in one process.
//!
//! `benches/README.md` has the method and the last results; `--help` lists the options.

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "a global allocator that counts and hands on")]
mod alloc;
mod count;
mod curves;
mod echo;
mod harness;
mod machine;
mod memory;
mod options;
mod progress;
mod report;
mod svg;
mod workloads;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use harness::{Effort, Xorshift};
use options::{Command, HELP, Options};
use report::Row;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)).and_then(|options| obey(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("trine-benches: {message}");
            ExitCode::FAILURE
        }
    }
}

fn obey(options: &Options) -> Result<(), String> {
    if options.count_allocations {
        alloc::count();
    }
    match &options.command {
        Command::Measure => measure(options),
        Command::Memory => {
            let machine = machine::describe();
            let memory = memory::measure(options.quick)?;
            tell(options, &machine, "memory", &memory::markdown(&memory), &memory::json(&memory))
        }
        Command::Echo => {
            // Before the load is pinned, after which the machine seems to have one core.
            let machine = machine::describe();
            let echo = echo::measure(&options.servers, options.quick, options.rounds, &mut random(options))?;
            let section = if options.servers.is_empty() { "echo" } else { "echo of some" };
            tell(options, &machine, section, &echo::markdown(&echo), &echo::json(&echo))
        }
        Command::Curves(directory) => {
            curves::measure(directory, &options.curves, options.quick, options.rounds, &mut random(options))
        }
        Command::List => {
            list();
            Ok(())
        }
        Command::Help => {
            println!("{HELP}");
            Ok(())
        }
        Command::Count(name, ops) => {
            println!("{}", count::run(name, *ops)?);
            Ok(())
        }
        Command::EchoServe(name, size, core) => echo::serve(name, *size, *core),
        Command::Footprint(name, count) => {
            println!("{}", memory::footprint(name, *count)?);
            Ok(())
        }
    }
}

fn random(options: &Options) -> Xorshift {
    Xorshift::new(options.seed.unwrap_or(1))
}

/// Prints a report, and writes it where it was asked for.
fn tell(options: &Options, machine: &str, section: &str, text: &str, json: &str) -> Result<(), String> {
    let effort = if options.quick { "quick" } else { "thorough" };
    let text = format!("{machine}; {effort}.\n\n{text}");
    print!("{text}");
    if let Some(path) = &options.json {
        write(path, json)?;
    }
    if options.write_readme {
        rewrite(&home().join("README.md"), section, &text)?;
    }
    Ok(())
}

/// The folder of this crate.
fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn list() {
    for workload in workloads::all() {
        println!("{}: {}", workload.name, workload.operation);
        let goals = workload.goals.iter().map(ToString::to_string);
        let also = Some(workload.also.to_owned()).filter(|also| !also.is_empty());
        for goal in goals.chain(also) {
            println!("  goal {goal}");
        }
        for contender in workload.contenders {
            println!("  {}", report::shown(contender.side, contender.name));
        }
    }
}

/// Measures what was asked for and writes all reports.
fn measure(options: &Options) -> Result<(), String> {
    if options.write_readme && !options.workloads.is_empty() {
        return Err("--write-readme is for the whole table".into());
    }
    let effort = Effort { quick: options.quick, rounds: options.rounds.unwrap_or(if options.quick { 5 } else { 9 }) };
    let mut random = random(options);
    let workloads: Vec<_> =
        if options.workloads.is_empty() { workloads::all().collect() } else { options.workloads.clone() };
    let machine = machine::describe();
    let start = Instant::now();

    println!("{machine}");
    let mut rows = Vec::new();
    for (index, workload) in workloads.iter().enumerate() {
        progress::show(&format!("{} of {}: {}", index + 1, workloads.len(), workload.name));
        let Some(samples) = harness::measure(workload, effort, &mut random) else {
            continue;
        };
        let row = Row::new(&samples);
        progress::show("");
        println!("\n{}", row.text().trim_end());
        rows.push(row);
    }

    if let Some(path) = &options.json {
        write(path, &report::json(&rows))?;
    }
    if let Some(path) = &options.svg {
        write(path, &svg::draw(&rows, &machine))?;
    }
    if options.write_readme {
        let home = home();
        let rounds = effort.rounds;
        let effort = if effort.quick { "quick" } else { "thorough" };
        let table = format!("{machine}; {effort}, {rounds} rounds.\n\n{}", report::markdown(&rows));
        rewrite(&home.join("README.md"), "table", &table)?;
        write(&home.join("bars.svg"), &svg::draw(&rows, &machine))?;
    }
    println!("\n{} in {:.0} s", report::verdict(&rows), start.elapsed().as_secs_f64());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Replaces what stands between a section's markers.
fn rewrite(path: &Path, section: &str, text: &str) -> Result<(), String> {
    let (begin, end) = (format!("<!-- {section}:begin -->\n"), format!("<!-- {section}:end -->"));
    let readme = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let parts = readme.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no markers for {section}", path.display()))?;
    write(path, &format!("{before}{begin}{text}{end}{after}"))
}
