//! Trine beside its peers: every workload on every contender, interleaved in one process.
//!
//! `benches/README.md` has the method and the last results; `--help` lists the options.

#![forbid(unsafe_code)]

mod count;
mod harness;
mod machine;
mod report;
mod svg;
mod workloads;

use std::{
    env, fs,
    io::{IsTerminal, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use harness::{Effort, Workload, Xorshift};
use report::Row;

const HELP: &str = "\
usage: trine-benches [--quick] [--workload NAME]... [--rounds N] [--seed N]
                     [--json FILE] [--svg FILE] [--write-readme]
       trine-benches --list
       trine-benches --count NAME[@PEER] N

  --quick          fewer operations and 5 rounds instead of 9: below 50 s in all
  --workload NAME  only this one; may be given again
  --write-readme   puts the table into benches/README.md and the picture beside it
  --list           names all workloads, their targets and contenders
  --count          does N operations of one contender alone, for callgrind";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    quick: bool,
    workloads: Vec<&'static Workload>,
    rounds: Option<usize>,
    seed: Option<u64>,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    write_readme: bool,
    command: Command,
}

#[derive(Debug, Default)]
enum Command {
    #[default]
    Measure,
    List,
    Help,
    Count(String, usize),
}

fn main() -> ExitCode {
    let outcome = Options::parse(env::args().skip(1)).and_then(|options| match &options.command {
        Command::Measure => measure(&options),
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
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("trine-benches: {message}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--workload" => {
                    let name = value()?;
                    let workload = workloads::find(&name).ok_or_else(|| format!("no workload is called {name}"))?;
                    options.workloads.push(workload);
                }
                "--rounds" => options.rounds = Some(number(&value()?)?.max(1)),
                "--seed" => options.seed = Some(number(&value()?)? as u64),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--write-readme" => options.write_readme = true,
                "--list" => options.command = Command::List,
                "--help" => options.command = Command::Help,
                "--count" => options.command = Command::Count(value()?, number(&value()?)?),
                _ => return Err(format!("{argument} is not an option\n{HELP}")),
            }
        }
        Ok(options)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is not a number"))
}

fn list() {
    for workload in workloads::all() {
        println!("{}: {}", workload.name, workload.operation);
        if !workload.goal.is_empty() {
            println!("  goal {}", workload.goal);
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
    let mut random = Xorshift::new(options.seed.unwrap_or(1));
    let workloads: Vec<_> =
        if options.workloads.is_empty() { workloads::all().collect() } else { options.workloads.clone() };
    let machine = machine::describe();
    let progress = stderr().is_terminal();
    let start = Instant::now();

    println!("{machine}");
    let mut rows = Vec::new();
    for (index, workload) in workloads.iter().enumerate() {
        if progress {
            eprint!("\r\x1b[K{} of {}: {}", index + 1, workloads.len(), workload.name);
        }
        let Some(samples) = harness::measure(workload, effort, &mut random) else {
            continue;
        };
        let row = Row::new(&samples);
        if progress {
            eprint!("\r\x1b[K");
        }
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
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rounds = effort.rounds;
        let effort = if effort.quick { "quick" } else { "thorough" };
        let table = format!("{machine}; {effort}, {rounds} rounds.\n\n{}", report::markdown(&rows));
        rewrite(&home.join("README.md"), &table)?;
        write(&home.join("bars.svg"), &svg::draw(&rows, &machine))?;
    }
    println!("\n{} in {:.0} s", report::verdict(&rows), start.elapsed().as_secs_f64());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Replaces what stands between the table's markers.
fn rewrite(path: &Path, table: &str) -> Result<(), String> {
    const BEGIN: &str = "<!-- table:begin -->\n";
    const END: &str = "<!-- table:end -->";
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no table markers", path.display()))?;
    write(path, &format!("{before}{BEGIN}{table}{END}{after}"))
}
