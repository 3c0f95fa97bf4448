//! `fuzz`: random programs against the library's promises.

use super::{Argument, Arguments, CommandError, hosts};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use trine::testing::Order;
use trine_conformance::fuzz::{Program, Setup, check, shrink};
use trine_conformance::host::Host;

pub(super) const HELP: &str = "\
fuzz                  run random programs and look whether the library keeps its promises
    --backend NAME|all            default: native
    --seed S                      the first program's seed; default: 0
    --steps N                     stop after so many statements
    --seconds T                   stop after so much time; default: 10, without --steps
    --order fifo|lifo|shuffle     default: shuffle; may be repeated
    --replay SEED                 print one program, run it, make it small if it fails
    --failures N                  stop after so many failures; default: 5";

/// A program runs in less than a millisecond; one that takes so long hangs.
const STUCK: Duration = Duration::from_secs(60);

/// The seed of the program that runs, and how many have run: for the watchdog.
static CURRENT: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Some(request) = Request::parse(arguments)? else {
        println!("usage: trine-conformance {HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    thread::spawn(watch);
    let (mut passed, mut failed, mut steps) = (0_u64, 0_u64, 0_u64);
    let begin = Instant::now();
    let mut seed = request.replay.unwrap_or(request.seed);
    loop {
        let program = Program::generate(seed);
        if request.replay.is_some() {
            println!("{program}");
        }
        for (host, order) in request.hosts.iter().flat_map(|host| request.orders.iter().map(move |order| (host, order)))
        {
            CURRENT.store(seed, Ordering::Relaxed);
            COUNT.fetch_add(1, Ordering::Relaxed);
            let setup = Setup { host: Arc::clone(host), order: order.order(seed) };
            let report = check(&program, &setup);
            steps += report.steps;
            if report.passed() {
                passed += 1;
            } else {
                failed += 1;
                print_failure(&program, &setup, &report.failures);
            }
        }
        seed = seed.wrapping_add(1);
        let done = match (request.replay, request.steps, request.time) {
            (Some(_), ..) => true,
            (None, Some(bound), time) => steps >= bound || time.is_some_and(|time| begin.elapsed() >= time),
            (None, None, time) => begin.elapsed() >= time.unwrap_or(Duration::from_secs(10)),
        };
        if done || failed >= request.failures {
            break;
        }
    }
    println!("{steps} steps in {:.1} s, next seed {seed}", begin.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_failure(program: &Program, setup: &Setup, failures: &[String]) {
    println!(
        "FAILED seed {} ({}, {:?}), {} statements",
        program.seed(),
        setup.host.name(),
        setup.order,
        program.size()
    );
    failures.iter().take(5).for_each(|failure| println!("  {failure}"));
    // What it fails with must stay of one kind, or it ends up as another failure.
    let kind = kind(&failures[0]);
    let small = shrink(program, |candidate| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        check(candidate, setup).failures.iter().any(|failure| self::kind(failure) == kind)
    });
    println!("{small}");
    check(&small, setup).failures.iter().take(5).for_each(|failure| println!("  {failure}"));
    println!();
}

/// A message without its numbers.
fn kind(failure: &str) -> String {
    failure.chars().filter(|c| !c.is_ascii_digit()).take(40).collect()
}

/// Ends the process if one program takes for ever.
fn watch() {
    let (mut count, mut since) = (0, Instant::now());
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = COUNT.load(Ordering::Relaxed);
        if now != count {
            (count, since) = (now, Instant::now());
        } else if since.elapsed() > STUCK {
            let seed = CURRENT.load(Ordering::Relaxed);
            println!("FAILED seed {seed} hangs\n{}\n0 passed, 1 failed", Program::generate(seed));
            std::process::exit(3);
        }
    }
}

/// What the command line asks for.
struct Request {
    hosts: Vec<Arc<dyn Host>>,
    seed: u64,
    steps: Option<u64>,
    time: Option<Duration>,
    orders: Vec<Kind>,
    replay: Option<u64>,
    failures: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Fifo,
    Lifo,
    Shuffle,
}

impl Kind {
    fn order(self, seed: u64) -> Order {
        match self {
            Self::Fifo => Order::Fifo,
            Self::Lifo => Order::Lifo,
            Self::Shuffle => Order::Shuffle(seed),
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "fifo" => Ok(Self::Fifo),
            "lifo" => Ok(Self::Lifo),
            "shuffle" => Ok(Self::Shuffle),
            _ => Err(()),
        }
    }
}

impl Request {
    /// `None` if it asks for help.
    fn parse(mut arguments: Arguments) -> Result<Option<Self>, CommandError> {
        let mut backend = "native".to_owned();
        let (mut seed, mut steps, mut time, mut orders) = (0, None, None, Vec::new());
        let (mut replay, mut failures) = (None, 5);
        while let Some(argument) = arguments.next() {
            let option = match argument {
                Argument::Operand(operand) => return Err(CommandError::UnknownOption(operand)),
                Argument::Option(option) => option,
            };
            match option.as_str() {
                "backend" => backend = arguments.value(&option)?,
                "seed" => seed = arguments.value(&option)?,
                "steps" => steps = Some(arguments.value(&option)?),
                "seconds" => time = Some(Duration::from_secs(arguments.value(&option)?)),
                "order" => orders.push(arguments.value(&option)?),
                "replay" => replay = Some(arguments.value(&option)?),
                "failures" => failures = arguments.value(&option)?,
                "help" => return Ok(None),
                _ => return Err(CommandError::UnknownOption(option)),
            }
        }
        if orders.is_empty() {
            orders.push(Kind::Shuffle);
        }
        let hosts = hosts(&backend)?;
        Ok(Some(Self { hosts, seed, steps, time, orders, replay, failures }))
    }
}
