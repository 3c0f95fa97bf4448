//! Traces: what the tasks of a program did and when, their recording and their comparison.
//!
//! A trace keeps each task's own order and the virtual times and drops the interleaving, so equal traces mean equal
//! behaviour under any scheduling order.

use super::form::Form;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Events shown before a difference.
const CONTEXT: usize = 3;

/// `[time, kind, arguments...]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Event(Vec<Value>);

impl Event {
    pub(super) fn new(at: Value, kind: &str, arguments: impl IntoIterator<Item = Value>) -> Self {
        Self([at, Value::from(kind)].into_iter().chain(arguments).collect())
    }

    /// When it was.
    pub(super) fn at(&self) -> &Value {
        self.0.first().unwrap_or(&Value::Null)
    }

    /// What it tells of time: when it was, and its arguments if they are instants, too.
    pub(super) fn instants(&self) -> impl Iterator<Item = &Value> {
        let all = if self.tells_time() { self.0.len() } else { 1 };
        self.0[..all.min(self.0.len())].iter().filter(|value| value.is_number())
    }

    /// Is it the same but for instants? One that is not finite is no instant: `inf` is not a later 7.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let timeless = |event: &Self| -> Vec<Value> {
            let tells = event.tells_time();
            let value = |(index, value): (usize, &Value)| match index == 0 || (tells && value.is_number()) {
                true => Value::Null,
                false => value.clone(),
            };
            event.0.iter().enumerate().map(value).collect()
        };
        timeless(self) == timeless(other)
    }

    fn tells_time(&self) -> bool {
        matches!(self.0.get(1).and_then(Value::as_str), Some("time" | "effective_deadline"))
    }
}

/// Compact JSON.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// What a program did (sections 1 and 6).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// `ok`, `deadlock`, or the error that left `main`.
    pub outcome: Form,
    /// When `main` ended.
    pub end: Value,
    /// What each task did. A task without events may be left out.
    pub tasks: BTreeMap<String, Vec<Event>>,
}

impl Trace {
    /// How `got` differs from `self`, which is what was expected; empty if it does not.
    #[must_use]
    pub fn compare(&self, got: &Self) -> Vec<Difference> {
        let end = differing("end", &self.end, &got.end);
        let mut differences: Vec<_> =
            differing("outcome", &self.outcome, &got.outcome).into_iter().chain(end).collect();
        differences.extend(self.compare_tasks(got, Event::eq));
        differences
    }

    /// How `got` differs from `self`, if nothing is said of time but that it does not run backwards: tasks must do the
    /// same in the same order, and nothing may be early.
    pub(super) fn compare_but_for_time(&self, got: &Self) -> Vec<Difference> {
        let mut differences: Vec<_> = differing("outcome", &self.outcome, &got.outcome).into_iter().collect();
        differences.extend(self.compare_tasks(got, Event::is_alike));
        if differences.is_empty() {
            differences.extend(self.tasks.keys().filter_map(|task| early(task, self.events(task), got.events(task))));
        }
        differences
    }

    fn compare_tasks(&self, got: &Self, same: fn(&Event, &Event) -> bool) -> Vec<Difference> {
        let names: BTreeSet<_> = self.tasks.keys().chain(got.tasks.keys()).collect();
        let compare = |name: &String| compare_task(name, self.events(name), got.events(name), same);
        names.into_iter().filter_map(compare).collect()
    }

    /// The events of a task; none if it is not there.
    #[must_use]
    pub fn events(&self, task: &str) -> &[Event] {
        self.tasks.get(task).map_or(&[], Vec::as_slice)
    }
}

fn differing<T: fmt::Display + PartialEq>(what: &'static str, expected: &T, got: &T) -> Option<Difference> {
    (expected != got).then(|| Difference::Whole { what, expected: expected.to_string(), got: got.to_string() })
}

fn compare_task(task: &str, expected: &[Event], got: &[Event], same: fn(&Event, &Event) -> bool) -> Option<Difference> {
    let differs = |i: &usize| match (expected.get(*i), got.get(*i)) {
        (Some(expected), Some(got)) => !same(expected, got),
        _ => true,
    };
    let index = (0..expected.len().max(got.len())).find(differs)?;
    Some(Difference::Task {
        task: task.to_owned(),
        index,
        before: expected[index.saturating_sub(CONTEXT)..index].to_vec(),
        expected: expected.get(index).cloned(),
        got: got.get(index).cloned(),
        after: expected.iter().skip(index + 1).take(CONTEXT).cloned().collect(),
    })
}

/// The first event that tells of an earlier instant than the expected one.
fn early(task: &str, expected: &[Event], got: &[Event]) -> Option<Difference> {
    let is_early = |(expected, got): &(&Event, &Event)| {
        expected.instants().zip(got.instants()).any(|(expected, got)| got.as_f64() < expected.as_f64())
    };
    let (expected, got) = expected.iter().zip(got).find(is_early)?;
    Some(Difference::Early { task: task.to_owned(), expected: expected.clone(), got: got.clone() })
}

/// Where two traces part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Outcome or end of the program.
    Whole {
        /// `outcome` or `end`.
        what: &'static str,
        /// As JSON.
        expected: String,
        /// As JSON.
        got: String,
    },
    /// The first event of a task that differs.
    Task {
        /// Whose event it is.
        task: String,
        /// Its place among the task's events, from 0.
        index: usize,
        /// The last equal events.
        before: Vec<Event>,
        /// What Trio did; `None` if it did nothing more.
        expected: Option<Event>,
        /// What happened here; `None` if nothing more did.
        got: Option<Event>,
        /// What Trio did next.
        after: Vec<Event>,
    },
    /// On a real clock: an event, or an instant that it tells, is early.
    Early {
        /// Whose event it is.
        task: String,
        /// What Trio did.
        expected: Event,
        /// What happened here.
        got: Event,
    },
    /// On a real clock: an event came before another one, and its instant is later than that of the other.
    Order {
        /// Whose event came too soon.
        task: String,
        /// What Trio did.
        event: Event,
        /// Whose event came too late.
        other_task: String,
        /// What Trio did there.
        other: Event,
    },
}

/// Several lines, without a line end after the last.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { what, expected, got } => write!(f, "{what}: expected {expected}, got {got}"),
            Self::Task { task, index, before, expected, got, after } => {
                write!(f, "task {task}, event {index}:")?;
                for event in before {
                    write!(f, "\n      {event}")?;
                }
                write!(f, "\n    - {}", or_nothing(expected.as_ref()))?;
                write!(f, "\n    + {}", or_nothing(got.as_ref()))?;
                for event in after {
                    write!(f, "\n      {event}  (expected next)")?;
                }
                Ok(())
            }
            Self::Early { task, expected, got } => {
                write!(f, "task {task}: early\n    - {expected}\n    + {got}")
            }
            Self::Order { task, event, other_task, other } => {
                write!(f, "order: {event} of {task} came before {other} of {other_task}")
            }
        }
    }
}

fn or_nothing(event: Option<&Event>) -> String {
    event.map_or_else(|| "nothing more".to_owned(), Event::to_string)
}

/// What was taken down of a program.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// What each task did.
    pub(super) tasks: BTreeMap<String, Vec<Event>>,
    /// Whose event came first, second, and so on.
    pub(super) order: Vec<String>,
    /// When sleeps were to end and deadlines to pass, in the order in which they were set.
    pub(super) timers: Vec<Value>,
}

/// Takes down events, until it is closed: the tear-down of a program must not add to its trace.
#[derive(Debug)]
pub(super) struct Recorder {
    /// `None` once closed.
    recording: Mutex<Option<Recording>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { recording: Mutex::new(Some(Recording::default())) }
    }

    pub(super) fn record(&self, task: &str, event: Event) {
        let Some(recording) = &mut *self.lock() else { return };
        recording.order.push(task.to_owned());
        match recording.tasks.get_mut(task) {
            Some(events) => events.push(event),
            None => {
                recording.tasks.insert(task.to_owned(), vec![event]);
            }
        }
    }

    /// Takes down that a sleep will end or a deadline will pass.
    pub(super) fn arm(&self, at: Value) {
        if let Some(recording) = &mut *self.lock() {
            recording.timers.push(at);
        }
    }

    /// Ends the recording and returns what there is; nothing if it was closed before.
    pub(super) fn close(&self) -> Recording {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(json: &str) -> Trace {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn equal_traces_do_not_differ() {
        let one = trace(r#"{"outcome":"ok","end":3,"tasks":{"main":[[0,"log","a"],[3,"done","ok"]]}}"#);
        assert_eq!(one.compare(&one), []);
    }

    #[test]
    fn task_without_events_may_be_left_out() {
        let one = trace(r#"{"outcome":"ok","end":0,"tasks":{"a":[]}}"#);
        let other = trace(r#"{"outcome":"ok","end":0,"tasks":{}}"#);
        assert_eq!(one.compare(&other), []);
        assert_eq!(other.compare(&one), []);
    }

    #[test]
    fn first_differing_event_is_shown_with_context() {
        let expected =
            trace(r#"{"outcome":"ok","end":3,"tasks":{"main":[[0,"log","a"],[2,"sleep"],[3,"done","ok"]]}}"#);
        let got = trace(r#"{"outcome":"ok","end":3,"tasks":{"main":[[0,"log","a"],[3,"sleep"],[3,"done","ok"]]}}"#);
        let differences = expected.compare(&got);
        assert_eq!(differences.len(), 1);
        let text = "task main, event 1:\n      [0,\"log\",\"a\"]\n    - [2,\"sleep\"]\n    + [3,\"sleep\"]\n      \
                    [3,\"done\",\"ok\"]  (expected next)";
        assert_eq!(differences[0].to_string(), text);
    }

    #[test]
    fn missing_and_superfluous_events_differ() {
        let long = trace(r#"{"outcome":"ok","end":0,"tasks":{"main":[[0,"log","a"],[0,"done","ok"]]}}"#);
        let short = trace(r#"{"outcome":"ok","end":0,"tasks":{"main":[[0,"log","a"]]}}"#);
        assert!(long.compare(&short)[0].to_string().contains("+ nothing more"));
        assert!(short.compare(&long)[0].to_string().contains("- nothing more"));
    }

    #[test]
    fn outcome_and_end_are_compared() {
        let one = trace(r#"{"outcome":["E1"],"end":1,"tasks":{}}"#);
        let other = trace(r#"{"outcome":"ok","end":2,"tasks":{}}"#);
        let texts: Vec<_> = one.compare(&other).iter().map(Difference::to_string).collect();
        assert_eq!(texts, [r#"outcome: expected ["E1"], got "ok""#, "end: expected 1, got 2"]);
    }

    #[test]
    fn closed_recorder_records_nothing() {
        let recorder = Recorder::new();
        recorder.record("main", Event::new(0.into(), "log", ["a".into()]));
        assert_eq!(recorder.close().tasks.len(), 1);
        recorder.record("main", Event::new(0.into(), "log", ["b".into()]));
        assert!(recorder.close().tasks.is_empty());
    }
}
