//! Running a program and judging it.

use super::foreign::user_drop;
use super::interp::{self, Cx, RaisedPanic, caught};
use super::program::{Block, Program};
use super::world::{Tally, World, lock};
use crate::host::{Host, HostError};
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Once};
use std::task::Poll;
use std::time::Duration;
use trine::inspect::{Instrument, TaskInfo};
use trine::testing::{MockClock, Order};

/// The outermost scope's deadline: every program must end by it.
const END: Duration = Duration::from_secs(3600);

/// More polls of the main task than any program needs.
const POLLS: u32 = 5_000_000;

/// After so many repetitions a program should need no more memory.
const WARM: u32 = 100;

/// How to run programs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where they run.
    pub host: Arc<dyn Host>,
    /// In which order children run.
    pub order: Order,
}

/// What became of a program.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What was not as it should be; empty if the program passed.
    pub failures: Vec<String>,
    /// How many statements were done.
    pub steps: u64,
}

impl Report {
    /// Was all as it should be?
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

thread_local! {
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Lets the panics of the thread that checks a program be written down instead of printed.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let noted = PANICS.try_with(|panics| match &mut *panics.borrow_mut() {
                Some(panics) => {
                    panics.push(info.to_string());
                    true
                }
                None => false,
            });
            if !noted.unwrap_or(false) {
                before(info);
            }
        }));
    });
}

/// Runs a program and says what was not as it should be.
#[must_use]
pub fn check(program: &Program, setup: &Setup) -> Report {
    watch_panics();
    PANICS.set(Some(Vec::new()));
    let tally = Arc::new(Tally::default());
    let counter = Arc::new(Counter::default());
    let worlds = Arc::new(Mutex::new(Vec::new()));
    let mut builder = trine::Builder::new().clock(MockClock::new().autojump()).order(setup.order);
    if program.seed % 4 == 0 {
        builder = builder.instrument(Told(counter.clone()));
    }
    let run = run(program, setup, builder, &tally, &worlds);
    let mut failures = Vec::new();
    match run {
        Ok(()) => {}
        Err(error) => failures.push(format!("the run failed: {error}")),
    }
    let worlds = std::mem::take(&mut *lock(&worlds));
    let (mut dropped, mut panicked) = (false, false);
    for world in &worlds {
        world.clear();
        failures.extend(world.failures());
        // What is dropped after the run has nobody to tell.
        dropped |= !program.clear_inside && (world.was_dropped() || world.moves);
        panicked |= world.panics.load(Ordering::Relaxed) > 0;
    }
    drop(worlds);
    for (count, what) in [(&tally.live, "futures"), (&tally.items, "channel items")] {
        let count = count.load(Ordering::Relaxed);
        if count != 0 {
            failures.push(format!("{count} {what} are left after the run"));
        }
    }
    if !panicked {
        failures.extend(counter.problems(dropped));
    }
    failures.extend(PANICS.take().unwrap_or_default().into_iter().map(|panic| format!("panicked: {panic}")));
    failures.dedup();
    Report { failures, steps: tally.steps.load(Ordering::Relaxed) }
}

/// Runs a program on the host. Where futures stay on one thread, the outer part is one that is not `Send`.
fn run(
    program: &Program,
    setup: &Setup,
    builder: trine::Builder,
    tally: &Arc<Tally>,
    worlds: &Worlds,
) -> Result<(), HostError> {
    let repeat = Repeat { program: program.clone(), tally: tally.clone(), worlds: worlds.clone() };
    if setup.host.stays() {
        let make = Box::new(move || Box::pin(repeat.run(interp::main)) as Pin<Box<dyn Future<Output = ()>>>);
        setup.host.run_local(builder, make)
    } else {
        setup.host.run_sendable(builder, Box::pin(repeat.run(interp::sendable_main)))
    }
}

type Worlds = Arc<Mutex<Vec<Arc<World>>>>;

/// A program as often as it is to run.
struct Repeat {
    program: Program,
    tally: Arc<Tally>,
    worlds: Worlds,
}

impl Repeat {
    async fn run<F: Future<Output = trine::Result<()>>>(self, main: fn(Cx, &Block) -> F) {
        let mut early = 0;
        for repetition in 0..self.program.repetitions {
            let world = Arc::new(World::new(&self.program, self.tally.clone()));
            lock(&self.worlds).push(world.clone());
            let block = main(Cx::new(world.clone()), &self.program.main);
            one(&self.program, &world, block).await;
            let memory = trine::inspect::statistics().memory;
            match repetition {
                0..WARM => early = memory,
                // The step budget goes on from one repetition to the next, so that the peak may come late.
                _ if memory > 4 * early + (16 << 10) => {
                    world.fail(format!("task memory grew from {early} to {memory} in {repetition} repetitions"));
                    break;
                }
                _ => {}
            }
            if self.program.repetitions > 1 {
                world.clear();
            }
        }
    }
}

enum Outcome {
    Finished(trine::Result<Option<()>>),
    Panicked(Box<dyn Any + Send>),
    Dropped,
    Endless,
}

/// Runs a program once, inside the run.
async fn one(program: &Program, world: &Arc<World>, main: impl Future<Output = trine::Result<()>>) {
    let start = trine::now();
    let mut main: Option<Pin<Box<_>>> = Some(Box::pin(trine::move_on_after(END, main)));
    let mut polls = 0;
    let outcome = poll_fn(|cx| {
        let inner = main.as_mut().expect("polled until it ends");
        let outcome = match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => Outcome::Finished(result),
            Ok(Poll::Pending) => {
                polls += 1;
                if program.drop_after.is_some_and(|after| polls > after) {
                    Outcome::Dropped
                } else if polls > POLLS {
                    Outcome::Endless
                } else {
                    return Poll::Pending;
                }
            }
            Err(payload) => Outcome::Panicked(payload),
        };
        match &outcome {
            Outcome::Finished(_) | Outcome::Panicked(_) => drop(main.take()),
            Outcome::Dropped | Outcome::Endless => user_drop(world, main.take()),
        }
        Poll::Ready(outcome)
    })
    .await;
    judge(program, world, start, outcome);
}

fn judge(program: &Program, world: &Arc<World>, start: trine::Instant, outcome: Outcome) {
    let took = trine::now() - start;
    let panicked = matches!(outcome, Outcome::Panicked(_));
    match outcome {
        Outcome::Finished(Ok(None)) if took < END => world.fail(format!("the outermost scope gave `None` at {took:?}")),
        Outcome::Finished(Ok(_)) | Outcome::Dropped => {}
        Outcome::Finished(Err(error)) => {
            if error.has_cancelled() && !world.moves {
                world.fail(format!("a cancellation left the outermost scope: {error}"));
            }
            caught(world, &error);
        }
        Outcome::Panicked(payload) if payload.is::<RaisedPanic>() => {}
        Outcome::Panicked(payload) => world.fail(format!("the library panicked: {}", text(&*payload))),
        Outcome::Endless => world.fail("the main task was polled without end"),
    }
    if took > END + Duration::from_secs(10) {
        world.fail(format!("the program took {took:?}"));
    }
    if world.panics.load(Ordering::Relaxed) > 0 {
        if !panicked && !world.was_dropped() && !world.moves {
            world.fail("a panic was lost");
        }
    } else if !world.is_lossy() && !world.moves {
        for (number, count) in lock(&world.errors).iter() {
            if *count != 0 {
                world.fail(format!("error {number} was raised {count} times more than it came out"));
            }
        }
    }
    let live = world.tally.live.load(Ordering::Relaxed);
    if live != 0 {
        world.fail(format!("{live} futures outlived the program"));
    }
    world.check();
    if program.clear_inside {
        world.clear();
    }
    let statistics = trine::inspect::statistics();
    if (statistics.tasks, statistics.timers) != (1, 0) {
        world.fail(format!("{} tasks and {} timers are left", statistics.tasks, statistics.timers));
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "not text",
    }
}

/// Counts what an instrument is told of each task.
#[derive(Default)]
struct Counter(Mutex<HashMap<u64, [u32; 4]>>);

struct Told(Arc<Counter>);

impl Told {
    fn count(&self, task: &TaskInfo, what: usize) {
        lock(&self.0.0).entry(task.id).or_default()[what] += 1;
    }
}

impl Instrument for Told {
    fn task_spawned(&self, task: &TaskInfo) {
        self.count(task, 0);
    }

    fn before_step(&self, task: &TaskInfo) {
        self.count(task, 1);
    }

    fn after_step(&self, task: &TaskInfo) {
        self.count(task, 2);
    }

    fn task_exited(&self, task: &TaskInfo) {
        self.count(task, 3);
    }
}

impl Counter {
    fn problems(&self, dropped: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for (task, [spawned, before, after, exited]) in lock(&self.0).iter() {
            if before != after {
                problems.push(format!("task {task}: {before} steps began, {after} ended"));
            }
            if *exited > *spawned || *spawned > 1 || (exited < spawned && !dropped) {
                problems.push(format!("task {task} was spawned {spawned} times and exited {exited} times"));
            }
        }
        problems
    }
}
