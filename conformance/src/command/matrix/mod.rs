//! `matrix`: the cases on every host.

mod json;
mod screen;

use super::{Argument, Arguments, CommandError};
use screen::Screen;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trine::testing::Order;
use trine_conformance::case::Case;
use trine_conformance::cases;
#[cfg(unix)]
use trine_conformance::faulty;
use trine_conformance::host::Host;
use trine_conformance::suite::{self, Options, Report, Verdict};

pub(super) const HELP: &str = "\
matrix                run the cases on every host and print cases x hosts
    --backend NAME|all            a row, or a backend with all its rows; default: all
    --filter TEXT                 cases whose name, law or origin has this; may be repeated
    --order fifo|lifo|SEED        in which order children run; default: fifo
    --limit SECONDS               end each case earlier than it asks for
    --json FILE                   write the results there
    --list                        print the cases, and run none
    --self-check                  run faulty backends instead: does the named case notice each?";

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Some(request) = Request::parse(arguments)? else {
        println!("usage: trine-conformance {HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let cases: Vec<_> = cases::all().filter(|case| request.wants(case)).collect();
    #[cfg(unix)]
    if request.self_check {
        return Ok(self_check());
    }
    if request.list {
        list(&cases);
        return Ok(ExitCode::SUCCESS);
    }
    suite::keep_panics();
    let (begin, mut screen) = (Instant::now(), Screen::new(cases.len() * request.hosts.len()));
    screen.head(&request.hosts, &cases);
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    for case in cases {
        let mut reports = Vec::new();
        for host in &request.hosts {
            screen.progress(case.name(), host.name());
            let report = suite::run(case, host, &request.options);
            counts.add(&report.verdict);
            reports.push(report);
        }
        screen.row(case, &reports);
        rows.push(Row { case, reports });
    }
    screen.end();
    if let Some(path) = &request.json {
        let text = json::text(&request.hosts, &rows, &counts);
        std::fs::write(path, text).map_err(|error| CommandError::Write(path.clone(), error))?;
    }
    screen.details(&request.hosts, &rows);
    println!("{} cases, {} hosts, {:.1} s", rows.len(), request.hosts.len(), begin.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(cases: &[&Case]) {
    for case in cases {
        println!("{}  [{}]  {}", case.name(), case.law(), case.origin());
    }
    println!("{} cases", cases.len());
}

/// Breaks the native backend in every way there is.
#[cfg(unix)]
fn self_check() -> ExitCode {
    suite::keep_panics();
    let (mut passed, mut failed) = (0, 0);
    for (fault, result) in faulty::check_all(&trine_native::native()) {
        let (word, text) = match &result {
            Ok(text) => ("noticed", text),
            Err(text) => ("FAILED ", text),
        };
        *(if result.is_ok() { &mut passed } else { &mut failed }) += 1;
        let text = text.lines().next().unwrap_or_default();
        println!("{word} {} [{}] by {}: {text}", fault.name, fault.law, fault.noticed_by);
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A case and what became of it on each host.
struct Row {
    case: &'static Case,
    reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

/// What the command line asks for.
struct Request {
    hosts: Vec<Arc<dyn Host>>,
    filters: Vec<String>,
    options: Options,
    json: Option<PathBuf>,
    list: bool,
    #[cfg(unix)]
    self_check: bool,
}

impl Request {
    /// `None` if it asks for help.
    fn parse(mut arguments: Arguments) -> Result<Option<Self>, CommandError> {
        let (mut backend, mut filters, mut json, mut list) = ("all".to_owned(), Vec::new(), None, false);
        let mut options = Options::default();
        #[cfg(unix)]
        let mut self_check = false;
        while let Some(argument) = arguments.next() {
            let option = match argument {
                Argument::Operand(operand) => return Err(CommandError::UnknownOperand(operand)),
                Argument::Option(option) => option,
            };
            match option.as_str() {
                "backend" => backend = arguments.value(&option)?,
                "filter" => filters.push(arguments.value(&option)?),
                "order" => options.order = order(&arguments.value::<String>(&option)?)?,
                "limit" => options.limit = Some(Duration::from_secs(arguments.value(&option)?)),
                "json" => json = Some(arguments.value(&option)?),
                "list" => list = true,
                #[cfg(unix)]
                "self-check" => self_check = true,
                "help" => return Ok(None),
                _ => return Err(CommandError::UnknownOption(option)),
            }
        }
        Ok(Some(Self {
            hosts: super::hosts(&backend)?,
            filters,
            options,
            json,
            list,
            #[cfg(unix)]
            self_check,
        }))
    }

    fn wants(&self, case: &Case) -> bool {
        let has = |f: &String| {
            case.name().contains(f.as_str()) || case.law() == f.as_str() || case.origin().contains(f.as_str())
        };
        self.filters.is_empty() || self.filters.iter().any(has)
    }
}

fn order(text: &str) -> Result<Order, CommandError> {
    match text {
        "fifo" => Ok(Order::Fifo),
        "lifo" => Ok(Order::Lifo),
        seed => match seed.parse() {
            Ok(seed) => Ok(Order::Shuffle(seed)),
            Err(_) => Err(CommandError::BadValue { option: "order".to_owned(), value: seed.to_owned() }),
        },
    }
}
