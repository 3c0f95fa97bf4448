//! Running a program and judging what it did.

use super::form::Form;
use super::interp::{self, Children, World};
use super::model::{Kind, Line, Scenario};
use super::trace::{Difference, Recorder, Recording, Trace};
use crate::host::{Host, HostError};
use futures_util::future::{Either, select};
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use trine::testing::{MockClock, Order};

/// The end of a program in which nothing can ever happen again.
const DEADLOCK_END: u64 = 100_000;

/// A tick of virtual time.
const TICK: Duration = Duration::from_secs(1);

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
    record(scenario, options, Time::Virtual).map(|replayed| replayed.trace)
}

/// The clock that a program runs on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    /// A virtual one.
    Virtual,
    /// The machine's.
    Real {
        /// How long a tick is.
        tick: Duration,
        /// After how long a program that has not come to an end is said to be deadlocked.
        limit: Duration,
    },
}

/// What a program did, and what is not in its trace.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) trace: Trace,
    /// Whose event came first, second, and so on.
    pub(super) order: Vec<String>,
    /// When sleeps were to end and deadlines to pass, in the order in which they were set.
    pub(super) timers: Vec<Value>,
}

/// As [`replay`], on a clock of choice.
pub(super) fn record(scenario: &Arc<Scenario>, options: &Options, time: Time) -> Result<Replayed, HostError> {
    let recorder = Arc::new(Recorder::new());
    let run = run(Arc::clone(scenario), options, time, Arc::clone(&recorder));
    let Recording { tasks, order, timers } = recorder.close();
    let (outcome, end) = match run {
        Ok(Some(end)) => end,
        Ok(None) | Err(HostError::Deadlock(_)) => (Form::deadlock(), Value::from(DEADLOCK_END)),
        Err(error) => return Err(error),
    };
    Ok(Replayed { trace: Trace { outcome, end, tasks }, order, timers })
}

/// How the program ended and when; `None` if it was over the limit.
fn run(
    scenario: Arc<Scenario>,
    options: &Options,
    time: Time,
    recorder: Arc<Recorder>,
) -> Result<Option<(Form, Value)>, HostError> {
    let builder = trine::Builder::new().order(options.order);
    let (builder, tick) = match time {
        Time::Virtual => (builder.clock(MockClock::new().autojump()), TICK),
        Time::Real { tick, .. } => (builder, tick),
    };
    let children = options.children;
    let program = async move {
        let world = Arc::new(World::new(&scenario.resources, children, tick, recorder));
        let (result, end) = interp::run_main(&world, &scenario).await;
        (Form::of_result(&result), end)
    };
    options.host.run(builder, async move {
        match time {
            Time::Virtual => Some(program.await),
            Time::Real { limit, .. } => within(limit, program).await,
        }
    })
}

/// The future's value, or `None` if it takes longer than that.
///
/// Not a scope: the program would see its deadline.
async fn within<T>(limit: Duration, fut: impl Future<Output = T>) -> Option<T> {
    match select(pin!(fut), pin!(trine::sleep(limit))).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
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
    Verdict::of(line.kind, line.trace.compare(&got))
}

impl Verdict {
    /// Of a program with these differences.
    pub(super) fn of(kind: Kind, differences: Vec<Difference>) -> Self {
        match kind {
            _ if differences.is_empty() => Self::Passed,
            Kind::Robust => Self::Failed(differences),
            kind => Self::Skipped(kind, differences),
        }
    }
}
