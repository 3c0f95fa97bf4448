//! The suite as a test of a backend crate, without the standard harness.
//!
//! ```text
//! # Cargo.toml
//! [[test]]
//! name = "conformance"
//! harness = false
//!
//! // tests/conformance.rs
//! fn main() {
//!     trine_conformance::harness::main(my_backend::new());
//! }
//! ```
//!
//! The command line is that of the standard harness as far as `cargo test` and nextest use it: filters, `--list`,
//! `--format terse`, `--exact`, `--skip`, `--ignored`, `--include-ignored`; `--nocapture`, `--show-output`,
//! `--test-threads`, `--color` and `--quiet` are taken and change nothing. A case that is skipped is reported as ignored,
//! with the reason.

use crate::case::Case;
use crate::cases;
use crate::host::{Ambient, Driven, Host};
use crate::suite::{self, Options, Verdict};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use trine::testing::Order;
use trine_backend::Backend;

/// Runs the suite on a backend as the command line says, and ends the process: on the backend's own loop, and hosted by an
/// executor that knows nothing of it if the backend is [ambient](Backend::ambient) on a plain thread.
pub fn main(backend: Arc<dyn Backend>) -> ! {
    let mut hosts: Vec<Arc<dyn Host>> = vec![Arc::new(Driven::new(Arc::clone(&backend)))];
    if backend.ambient().is_some() {
        hosts.push(Arc::new(Ambient::new(backend)));
    }
    run_and_exit(&hosts)
}

/// Runs the suite on these hosts as the command line says, and ends the process.
pub fn run_and_exit(hosts: &[Arc<dyn Host>]) -> ! {
    std::process::exit(match Request::parse(std::env::args().skip(1)) {
        Ok(request) => i32::from(!request.run(hosts)),
        Err(message) => {
            eprintln!("error: {message}");
            101
        }
    })
}

/// As [`run_and_exit`], for a `main` that returns the status.
pub fn run(hosts: &[Arc<dyn Host>], arguments: impl Iterator<Item = String>) -> ExitCode {
    match Request::parse(arguments) {
        Ok(request) if request.run(hosts) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(101)
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Request {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    only_ignored: bool,
    terse: bool,
}

impl Request {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut request = Self::default();
        while let Some(argument) = arguments.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let mut value = || inline.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--list" => request.list = true,
                "--exact" => request.exact = true,
                "--ignored" => request.only_ignored = true,
                "--skip" => request.skipped.push(value()?),
                "--format" => request.terse = value()? == "terse",
                "--test-threads" | "--color" | "--logfile" | "-Z" => drop(value()?),
                "--include-ignored" | "--nocapture" | "--no-capture" | "--show-output" | "--quiet" | "-q"
                | "--test" => {}
                other if other.starts_with('-') => return Err(format!("unknown option {other}")),
                _ => request.filters.push(name),
            }
        }
        Ok(request)
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(matches)) && !self.skipped.iter().any(matches)
    }

    /// Returns whether all is well.
    fn run(&self, hosts: &[Arc<dyn Host>]) -> bool {
        let tests: Vec<_> = hosts.iter().flat_map(|host| cases::all().map(move |case| Test { host, case })).collect();
        let (wanted, others): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| self.wants(&test.name()));
        // Nothing is ignored beforehand: what is skipped says so when it is run.
        let wanted = if self.only_ignored { Vec::new() } else { wanted };
        if self.list {
            wanted.iter().for_each(|test| println!("{}: test", test.name()));
            if !self.terse {
                println!("\n{} tests, 0 benchmarks", wanted.len());
            }
            return true;
        }
        run_all(&wanted, others.len())
    }
}

/// A case on a host.
struct Test<'a> {
    host: &'a Arc<dyn Host>,
    case: &'static Case,
}

impl Test<'_> {
    fn name(&self) -> String {
        format!("{}::{}", self.host.name(), self.case.name())
    }
}

fn run_all(tests: &[Test<'_>], filtered_out: usize) -> bool {
    suite::keep_panics();
    println!("\nrunning {} tests", tests.len());
    let begin = Instant::now();
    let (mut passed, mut ignored, mut failures) = (0, 0, Vec::new());
    for test in tests {
        let report = suite::run(test.case, test.host, &Options { order: Order::Fifo, limit: None });
        let name = test.name();
        match report.verdict {
            Verdict::Passed => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Verdict::Skipped(reason) => {
                ignored += 1;
                println!("test {name} ... ignored, {reason}");
            }
            Verdict::Failed(text) => {
                println!("test {name} ... FAILED");
                failures.push((name, test.case, text));
            }
        }
    }
    if !failures.is_empty() {
        println!("\nfailures:");
        for (name, case, text) in &failures {
            println!("\n---- {name} ({}) ----\n{text}", case.law());
        }
        println!("\nfailures:");
        failures.iter().for_each(|(name, ..)| println!("    {name}"));
    }
    let result = if failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {filtered_out} filtered \
         out; finished in {:.2}s\n",
        failures.len(),
        begin.elapsed().as_secs_f64()
    );
    failures.is_empty()
}
