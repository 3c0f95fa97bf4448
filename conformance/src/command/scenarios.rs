//! `scenarios`: replays scenario files and reports where Trine is not Trio.

use super::{Argument, Arguments, CommandError, hosts};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use trine::testing::Order;
use trine_conformance::scenario::model::{Kind, Line};
use trine_conformance::scenario::{Children, Difference, Options, Verdict, judge, replay, show};
use trine_conformance::suite;

pub(super) const HELP: &str = "\
scenarios FILE...     replay scenarios and compare with the traces of real Trio
    --backend NAME|all            default: native
    --order fifo|lifo             default: fifo, unless there is --shuffle; may be repeated
    --shuffle SEED|FIRST..LAST    shuffled order; a range includes both ends; may be repeated
    --children borrowed|static|both
                                  how children are started; default: borrowed
    --show ID                     print one program, its expected trace and the trace got
    --brief                       of failures print the names only
    --jobs N                      threads; default: one for each core";

/// A program runs in microseconds; one that takes so long will never end.
const STUCK: Duration = Duration::from_secs(30);

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Some(request) = Request::parse(arguments)? else {
        println!("usage: trine-conformance {HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let mut lines = Vec::new();
    for file in &request.files {
        let path = Path::new(file);
        let text = fs::read_to_string(path).map_err(|error| CommandError::Read(path.to_owned(), error))?;
        lines.extend(Line::parse_all(&text).map_err(|error| CommandError::Parse(path.to_owned(), error))?);
    }
    if let Some(id) = &request.show {
        lines.retain(|line| line.id == *id);
        if lines.is_empty() {
            return Err(CommandError::NoSuchScenario(id.clone()));
        }
        request.configurations.iter().for_each(|options| lines.iter().for_each(|line| print_line(line, options)));
    }
    // A hosted tree tells a deadlock by a panic.
    suite::keep_panics();
    Ok(replay_all(&request, &lines))
}

/// What the command line asks for.
struct Request {
    files: Vec<String>,
    configurations: Vec<Options>,
    show: Option<String>,
    brief: bool,
    jobs: usize,
}

impl Request {
    /// `None` if it asks for help.
    fn parse(mut arguments: Arguments) -> Result<Option<Self>, CommandError> {
        let (mut files, mut orders, mut backend) = (Vec::new(), Vec::new(), "native".to_owned());
        let (mut modes, mut show, mut brief, mut jobs) = (vec![Children::Borrowed], None, false, None);
        while let Some(argument) = arguments.next() {
            let option = match argument {
                Argument::Operand(file) => {
                    files.push(file);
                    continue;
                }
                Argument::Option(option) => option,
            };
            match option.as_str() {
                "backend" => backend = arguments.value(&option)?,
                "order" => orders.push(arguments.value::<NamedOrder>(&option)?.0),
                "shuffle" => orders.extend(arguments.value::<Seeds>(&option)?.0),
                "children" => modes = arguments.value::<Modes>(&option)?.0,
                "show" => show = Some(arguments.value(&option)?),
                "brief" => brief = true,
                "jobs" => jobs = Some(arguments.value(&option)?),
                "help" => return Ok(None),
                _ => return Err(CommandError::UnknownOption(option)),
            }
        }
        if files.is_empty() {
            return Err(CommandError::NoFile);
        }
        if orders.is_empty() {
            orders.push(Order::Fifo);
        }
        let mut configurations = Vec::new();
        for host in hosts(&backend)? {
            for &order in &orders {
                configurations.extend(modes.iter().map(|&children| Options {
                    host: Arc::clone(&host),
                    order,
                    children,
                }));
            }
        }
        let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
        Ok(Some(Self { files, configurations, show, brief, jobs }))
    }
}

struct NamedOrder(Order);

impl FromStr for NamedOrder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "fifo" => Ok(Self(Order::Fifo)),
            "lifo" => Ok(Self(Order::Lifo)),
            _ => Err(()),
        }
    }
}

struct Seeds(Vec<Order>);

impl FromStr for Seeds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last): (u64, u64) = (first.parse()?, last.trim_start_matches('=').parse()?);
        Ok(Self((first..=last).map(Order::Shuffle).collect()))
    }
}

struct Modes(Vec<Children>);

impl FromStr for Modes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "borrowed" => Ok(Self(vec![Children::Borrowed])),
            "static" => Ok(Self(vec![Children::Static])),
            "both" => Ok(Self(vec![Children::Borrowed, Children::Static])),
            _ => Err(()),
        }
    }
}

fn print_line(line: &Line, options: &Options) {
    println!("== {} ({}), {options}\n\n{}", line.id, line.kind, show::program(&line.scenario));
    match replay(&line.scenario, options) {
        Ok(got) => println!("{}", show::side_by_side(&line.trace, &got)),
        Err(error) => println!("{error}\n"),
    }
}

/// Replays every line under every configuration and prints the report; its last line is the count.
fn replay_all(request: &Request, lines: &[Line]) -> ExitCode {
    let jobs = Jobs { configurations: &request.configurations, lines, next: AtomicUsize::new(0) };
    let verdicts = jobs.judge(request.jobs);
    let mut total = Counts::default();
    for (options, verdicts) in request.configurations.iter().zip(verdicts.chunks(lines.len().max(1))) {
        let mut report = Report::default();
        lines.iter().zip(verdicts).for_each(|(line, verdict)| report.add(line, verdict, options, request.brief));
        print!("{}", report.text(options));
        total.add(&report.counts);
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each line under each configuration: all lines under the first one, then under the second, and so on.
struct Jobs<'a> {
    configurations: &'a [Options],
    lines: &'a [Line],
    /// Number of the first job that no thread has taken.
    next: AtomicUsize,
}

/// What a thread is at, and since when.
type Current = Mutex<Option<(usize, Instant)>>;

impl<'a> Jobs<'a> {
    /// The verdicts of all jobs, in their order. Ends the process if a job does not come to an end.
    fn judge(&self, threads: usize) -> Vec<Verdict> {
        let current: Vec<Current> = (0..threads).map(|_| Mutex::new(None)).collect();
        let mut verdicts: Vec<_> = (0..self.configurations.len() * self.lines.len()).map(|_| None).collect();
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for current in &current {
                let send = send.clone();
                scope.spawn(move || self.work(current, &send));
            }
            drop(send);
            loop {
                match receive.recv_timeout(STUCK) {
                    Ok((job, verdict)) => verdicts[job] = Some(verdict),
                    Err(mpsc::RecvTimeoutError::Timeout) => self.stop_if_stuck(&current),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        verdicts.into_iter().flatten().collect()
    }

    fn get(&self, job: usize) -> Option<(&'a Options, &'a Line)> {
        let line = self.lines.get(job % self.lines.len().max(1))?;
        Some((self.configurations.get(job / self.lines.len())?, line))
    }

    fn work(&self, current: &Current, results: &mpsc::Sender<(usize, Verdict)>) {
        loop {
            let job = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((options, line)) = self.get(job) else { break };
            *lock(current) = Some((job, Instant::now()));
            let verdict = judge(line, options);
            *lock(current) = None;
            if results.send((job, verdict)).is_err() {
                break;
            }
        }
    }

    /// A thread cannot be stopped, so the process is.
    fn stop_if_stuck(&self, current: &[Current]) {
        let jobs = current.iter().filter_map(|current| *lock(current));
        let mut stuck =
            jobs.filter(|(_, since)| since.elapsed() >= STUCK).filter_map(|(job, _)| self.get(job)).peekable();
        if stuck.peek().is_none() {
            return;
        }
        for (options, line) in stuck {
            println!("STUCK {} ({options})", line.id);
        }
        std::process::exit(3);
    }
}

fn lock(current: &Current) -> MutexGuard<'_, Option<(usize, Instant)>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What is said of one configuration.
#[derive(Default)]
struct Report {
    counts: Counts,
    failures: String,
    skipped: BTreeMap<Kind, Vec<String>>,
}

impl Report {
    fn add(&mut self, line: &Line, verdict: &Verdict, options: &Options, brief: bool) {
        let details = match verdict {
            Verdict::Passed => {
                self.counts.passed += 1;
                return;
            }
            Verdict::Skipped(kind, _) => {
                self.counts.skipped += 1;
                self.skipped.entry(*kind).or_default().push(line.id.clone());
                return;
            }
            Verdict::Failed(differences) => listed(differences),
            Verdict::Broken(error) => format!("  {error}\n"),
            other => format!("  {other:?}\n"),
        };
        self.counts.failed += 1;
        let _ = writeln!(self.failures, "FAILED {} ({options})", line.id);
        if !brief {
            self.failures.push_str(&details);
        }
    }

    fn text(&self, options: &Options) -> String {
        let Counts { passed, failed, skipped } = self.counts;
        let mut text = format!("{}{options}: {passed} passed, {failed} failed, {skipped} skipped\n", self.failures);
        for (kind, ids) in &self.skipped {
            let _ = writeln!(text, "  skipped as {kind} ({}): {}", reason(*kind), ids.join(" "));
        }
        text
    }
}

fn reason(kind: Kind) -> &'static str {
    match kind {
        Kind::Ties => "all deadlines of one instant expire before any task runs",
        Kind::Obscure => "when a deadline moved to the past is noticed",
        Kind::Robust => "never",
    }
}

fn listed(differences: &[Difference]) -> String {
    differences.iter().map(|difference| format!("  {difference}\n")).collect()
}
