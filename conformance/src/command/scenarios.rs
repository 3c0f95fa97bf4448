//! `scenarios`: replays scenario files and reports where Trine is not Trio.

use super::skipped::reason;
use super::{Argument, Arguments, CommandError, hosts};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use trine::testing::Order;
use trine_conformance::scenario::model::{Kind, Line};
use trine_conformance::scenario::{Children, Options, Verdict, judge, real_time, replay, show};
use trine_conformance::suite;

pub(super) const HELP: &str = "\
scenarios [FILE...]   replay scenarios and compare with the traces of real Trio; default: data/golden.jsonl
    --backend NAME|all            default: native
    --order fifo|lifo             default: fifo, unless there is --shuffle; may be repeated
    --shuffle SEED|FIRST..LAST    shuffled order; a range includes both ends; may be repeated
    --children borrowed|static|both
                                  how children are started; default: borrowed
    --real-time [TICK_MS]         on the machine's clock, a tick so many milliseconds, default: 20. Takes those programs
                                  whose timers are far enough apart and compares the order of their events. A program
                                  that goes wrong has one more try, with a tick twice as long, and both are printed
    --sample N                    replay only so many programs, evenly spread over those there are
    --show ID                     print one program, its expected trace and the trace got
    --brief                       of failures print the names only
    --jobs N                      threads; default: one for each core, and 32 for each with --real-time";

/// A program runs in microseconds; one that takes so long will never end.
const STUCK: Duration = Duration::from_secs(30);

/// The generated programs, where this was built.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/golden.jsonl");

/// On the machine's clock, programs spend their time asleep: so many threads share a core.
const SLEEPERS: usize = 32;

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
    let all = lines.len();
    if let (Some(_), Some(options)) = (request.tick, request.configurations.first()) {
        lines.retain(|line| real_time::suits(line, options));
    }
    let suitable = lines.len();
    if let Some(wanted) = request.sample {
        lines = spread(lines, wanted)?;
    }
    if let Some(tick) = request.tick {
        let taken = lines.len();
        println!("real time, a tick of {tick:?}: {taken} of the {suitable} programs, of {all}, whose timers are apart");
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

/// So many of the lines, as far apart as can be.
fn spread(lines: Vec<Line>, wanted: usize) -> Result<Vec<Line>, CommandError> {
    let there = lines.len();
    if wanted > there {
        return Err(CommandError::TooFew { wanted, there });
    }
    // Taken is the line with which another part of `wanted` equal ones begins.
    let begins = |index: &usize| (index * wanted) % there.max(1) < wanted;
    Ok((0..).zip(lines).filter(|(index, _)| begins(index)).map(|(_, line)| line).collect())
}

/// What the command line asks for.
struct Request {
    files: Vec<String>,
    configurations: Vec<Options>,
    /// On the machine's clock: how long a tick is.
    tick: Option<Duration>,
    sample: Option<usize>,
    show: Option<String>,
    brief: bool,
    jobs: usize,
}

impl Request {
    /// `None` if it asks for help.
    fn parse(mut arguments: Arguments) -> Result<Option<Self>, CommandError> {
        let (mut files, mut orders, mut backend) = (Vec::new(), Vec::new(), "native".to_owned());
        let (mut modes, mut show, mut brief, mut jobs) = (vec![Children::Borrowed], None, false, None);
        let (mut tick, mut sample) = (None, None);
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
                "real-time" => {
                    let chosen: Option<NonZeroU64> = arguments.optional_value();
                    tick = Some(chosen.map_or(real_time::TICK, |millis| Duration::from_millis(millis.get())));
                }
                "sample" => sample = Some(arguments.value(&option)?),
                "show" => show = Some(arguments.value(&option)?),
                "brief" => brief = true,
                "jobs" => jobs = Some(arguments.value(&option)?),
                "help" => return Ok(None),
                _ => return Err(CommandError::UnknownOption(option)),
            }
        }
        if files.is_empty() {
            files.push(GOLDEN.to_owned());
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
        let for_each_core = if tick.is_some() { SLEEPERS } else { 1 };
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let jobs = jobs.unwrap_or_else(|| for_each_core * cores()).max(1);
        Ok(Some(Self { files, configurations, tick, sample, show, brief, jobs }))
    }

    /// Judges a line; on the machine's clock, once more if that may only have been late.
    fn judge(&self, line: &Line, options: &Options) -> Judged {
        let Some(tick) = self.tick else { return Judged { verdict: judge(line, options), first: None } };
        let verdict = real_time::judge(line, options, tick);
        if !real_time::may_be_late(&verdict) {
            return Judged { verdict, first: None };
        }
        Judged { verdict: real_time::judge(line, options, 2 * tick), first: Some(verdict) }
    }

    /// After how long a program will never end.
    fn stuck(&self) -> Duration {
        // Two tries, each of twice the time that it should take and of a pause, the second with longer ticks.
        STUCK + self.tick.unwrap_or_default().mul_f64(6.0 * real_time::LONGEST)
    }
}

/// What became of a line, and of its first try if there were two.
struct Judged {
    verdict: Verdict,
    first: Option<Verdict>,
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
    let jobs = Jobs { request, lines, next: AtomicUsize::new(0) };
    let verdicts = jobs.judge();
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
    request: &'a Request,
    lines: &'a [Line],
    /// Number of the first job that no thread has taken.
    next: AtomicUsize,
}

/// What a thread is at, and since when.
type Current = Mutex<Option<(usize, Instant)>>;

impl<'a> Jobs<'a> {
    /// The verdicts of all jobs, in their order. Ends the process if a job does not come to an end.
    fn judge(&self) -> Vec<Judged> {
        let current: Vec<Current> = (0..self.request.jobs).map(|_| Mutex::new(None)).collect();
        let mut verdicts: Vec<_> = (0..self.request.configurations.len() * self.lines.len()).map(|_| None).collect();
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for current in &current {
                let send = send.clone();
                scope.spawn(move || self.work(current, &send));
            }
            drop(send);
            loop {
                match receive.recv_timeout(self.request.stuck()) {
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
        Some((self.request.configurations.get(job / self.lines.len())?, line))
    }

    fn work(&self, current: &Current, results: &mpsc::Sender<(usize, Judged)>) {
        loop {
            let job = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((options, line)) = self.get(job) else { break };
            *lock(current) = Some((job, Instant::now()));
            let judged = self.request.judge(line, options);
            *lock(current) = None;
            if results.send((job, judged)).is_err() {
                break;
            }
        }
    }

    /// A thread cannot be stopped, so the process is.
    fn stop_if_stuck(&self, current: &[Current]) {
        let jobs = current.iter().filter_map(|current| *lock(current));
        let mut stuck = jobs
            .filter(|(_, since)| since.elapsed() >= self.request.stuck())
            .filter_map(|(job, _)| self.get(job))
            .peekable();
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
    /// How many lines had two tries, and what the first of them was.
    again: usize,
    first_tries: String,
    /// By kind and reason.
    skipped: BTreeMap<(Kind, &'static str), Vec<String>>,
}

impl Report {
    fn add(&mut self, line: &Line, judged: &Judged, options: &Options, brief: bool) {
        if let Some(first) = &judged.first {
            self.again += 1;
            let details = if brief { String::new() } else { details(first) };
            let _ = write!(self.first_tries, "AGAIN {} ({options})\n{details}", line.id);
        }
        let verdict = &judged.verdict;
        match verdict {
            Verdict::Passed => {
                self.counts.passed += 1;
                return;
            }
            Verdict::Skipped(kind, _) => {
                self.counts.skipped += 1;
                self.skipped.entry((*kind, reason(*kind, &line.id))).or_default().push(line.id.clone());
                return;
            }
            _ => {}
        }
        self.counts.failed += 1;
        let details = if brief { String::new() } else { details(verdict) };
        let _ = write!(self.failures, "FAILED {} ({options})\n{details}", line.id);
    }

    fn text(&self, options: &Options) -> String {
        let Counts { passed, failed, skipped } = self.counts;
        let mut text = format!("{}{}{options}: ", self.first_tries, self.failures);
        let again = match self.again {
            0 => String::new(),
            again => format!("; {again} had a second try"),
        };
        let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped{again}");
        for ((kind, reason), ids) in &self.skipped {
            let _ = writeln!(text, "  skipped as {kind} ({reason}): {}", ids.join(" "));
        }
        text
    }
}

/// What was wrong.
fn details(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Failed(differences) => differences.iter().map(|difference| format!("  {difference}\n")).collect(),
        Verdict::Broken(error) => format!("  {error}\n"),
        other => format!("  {other:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines that a sample of `wanted` of `there` has.
    fn sampled(there: usize, wanted: usize) -> Result<Vec<usize>, CommandError> {
        let trace = r#"{"outcome":"ok","end":0,"tasks":{}}"#;
        let line = |id| {
            let program = format!(r#"{{"id":"{id}","v":1,"resources":[],"main":[]}}"#);
            Line::parse(&format!(r#"{{"id":"{id}","kind":"robust","scenario":{program},"trace":{trace}}}"#)).unwrap()
        };
        Ok(spread((0..there).map(line).collect(), wanted)?.iter().map(|line| line.id.parse().unwrap()).collect())
    }

    #[test]
    fn sample_is_spread_evenly_and_has_the_wanted_size() {
        assert_eq!(sampled(10, 5).unwrap(), [0, 2, 4, 6, 8]);
        assert_eq!(sampled(10, 10).unwrap().len(), 10);
        assert!(sampled(0, 0).unwrap().is_empty());
        for (there, wanted) in [(10, 3), (543, 200), (7, 6), (200, 199)] {
            assert_eq!(sampled(there, wanted).unwrap().len(), wanted);
        }
    }

    #[test]
    fn sample_of_more_than_there_is_is_refused() {
        assert!(matches!(sampled(3, 4), Err(CommandError::TooFew { wanted: 4, there: 3 })));
    }
}
