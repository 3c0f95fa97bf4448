//! Running a program and judging what it did.

use super::form::Form;
use super::interp::{self, Children, World};
use super::model::{Kind, Line, Scenario};
use super::trace::{Difference, Recorder, Trace};
use serde_json::Value;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use trine::RunError;
use trine::backend::Backend;
use trine::testing::{MockClock, Order};

/// The end of a program in which nothing can ever happen again.
const DEADLOCK_END: u64 = 100_000;

/// How to run a program.
#[derive(Clone, Debug)]
pub struct Options {
    /// What drives the run.
    pub backend: Backend,
    /// In which order tasks that are ready run.
    pub order: Order,
    /// How children are started.
    pub children: Children,
}

/// As `native fifo borrowed`.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.backend.name())?;
        match self.order {
            Order::Fifo => f.write_str("fifo")?,
            Order::Lifo => f.write_str("lifo")?,
            Order::Shuffle(seed) => write!(f, "shuffle {seed}")?,
            ref other => write!(f, "{other:?}")?,
        }
        f.write_str(match self.children {
            Children::Borrowed => " borrowed",
            Children::Static => " static",
        })
    }
}

/// A program that could not be run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The run was not possible.
    Run(RunError),
    /// The library panicked; with the message.
    Panicked(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(_) => f.write_str("the program could not be run"),
            Self::Panicked(message) => write!(f, "the library panicked: {message}"),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Run(error) => Some(error),
            Self::Panicked(_) => None,
        }
    }
}

/// Runs a program on a virtual clock, one tick a second, and returns what it did.
///
/// # Errors
///
/// [`ReplayError`] if the library refused to run it or panicked. Whatever the program itself raises is in the trace.
pub fn replay(scenario: &Scenario, options: &Options) -> Result<Trace, ReplayError> {
    let recorder = Arc::new(Recorder::new());
    let run = catch_unwind(AssertUnwindSafe(|| run(scenario, options, &recorder)));
    let tasks = recorder.close();
    let (outcome, end) = match run {
        Ok(Ok(end)) => end,
        Ok(Err(RunError::Deadlock(_))) => (Form::deadlock(), Value::from(DEADLOCK_END)),
        Ok(Err(error)) => return Err(ReplayError::Run(error)),
        Err(payload) => return Err(ReplayError::Panicked(message(&*payload))),
    };
    Ok(Trace { outcome, end, tasks })
}

fn run(scenario: &Scenario, options: &Options, recorder: &Arc<Recorder>) -> Result<(Form, Value), RunError> {
    let recorder = recorder.clone();
    trine::Builder::new()
        .backend(options.backend.clone())
        .clock(MockClock::new().autojump())
        .order(options.order)
        .try_run(async move {
            let world = Arc::new(World::new(&scenario.resources, options.children, recorder));
            let (result, end) = interp::run_main(&world, scenario).await;
            (Form::of_result(&result), end)
        })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").to_owned()
}

/// What became of a line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The trace is that of Trio.
    Passed,
    /// It is not, and it should be.
    Failed(Vec<Difference>),
    /// It is not, but the scenario depends on a corner case that a runtime may see differently.
    Skipped(Kind, Vec<Difference>),
    /// There is no trace.
    Broken(ReplayError),
}

/// Runs a line's program and compares what it did with the line's trace.
#[must_use]
pub fn judge(line: &Line, options: &Options) -> Verdict {
    let got = match replay(&line.scenario, options) {
        Ok(got) => got,
        Err(error) => return Verdict::Broken(error),
    };
    let differences = line.trace.compare(&got);
    match line.kind {
        _ if differences.is_empty() => Verdict::Passed,
        Kind::Robust => Verdict::Failed(differences),
        kind => Verdict::Skipped(kind, differences),
    }
}
