//! Running a program and judging what it did.

use super::form::Form;
use super::interp::{self, Children, World};
use super::model::{Kind, Line, Scenario};
use super::trace::{Difference, Recorder, Trace};
use crate::host::{Host, HostError};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use trine::testing::{MockClock, Order};

/// The end of a program in which nothing can ever happen again.
const DEADLOCK_END: u64 = 100_000;

/// How to run a program.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it runs.
    pub host: Arc<dyn Host>,
    /// In which order tasks that are ready run.
    pub order: Order,
    /// How children are started.
    pub children: Children,
}

/// As `native fifo borrowed`.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.host.name())?;
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

/// Runs a program on a virtual clock, one tick a second, and returns what it did.
///
/// # Errors
///
/// [`HostError`] if the library refused to run it or panicked. Whatever the program itself raises is in the trace, a
/// deadlock, too.
pub fn replay(scenario: &Arc<Scenario>, options: &Options) -> Result<Trace, HostError> {
    let recorder = Arc::new(Recorder::new());
    let run = run(Arc::clone(scenario), options, Arc::clone(&recorder));
    let tasks = recorder.close();
    let (outcome, end) = match run {
        Ok(end) => end,
        Err(HostError::Deadlock(_)) => (Form::deadlock(), Value::from(DEADLOCK_END)),
        Err(error) => return Err(error),
    };
    Ok(Trace { outcome, end, tasks })
}

fn run(scenario: Arc<Scenario>, options: &Options, recorder: Arc<Recorder>) -> Result<(Form, Value), HostError> {
    let builder = trine::Builder::new().clock(MockClock::new().autojump()).order(options.order);
    let children = options.children;
    options.host.run(builder, async move {
        let world = Arc::new(World::new(&scenario.resources, children, recorder));
        let (result, end) = interp::run_main(&world, &scenario).await;
        (Form::of_result(&result), end)
    })
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
    Broken(HostError),
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
