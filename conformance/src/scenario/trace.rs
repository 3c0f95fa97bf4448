//! Traces: what the tasks of a program did and when, their recording and their comparison.
//!
//! A trace keeps each task's own order and the virtual times and drops the interleaving, so equal traces mean equal
//! behaviour under any scheduling order.

use super::form::Form;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

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
        let whole = [("outcome", self.outcome.to_string(), got.outcome.to_string())]
            .into_iter()
            .chain([("end", self.end.to_string(), got.end.to_string())])
            .filter(|(_, expected, got)| expected != got)
            .map(|(what, expected, got)| Difference::Whole { what, expected, got });
        let names: BTreeSet<_> = self.tasks.keys().chain(got.tasks.keys()).collect();
        let tasks = names.into_iter().filter_map(|name| compare_task(name, self.events(name), got.events(name)));
        whole.chain(tasks).collect()
    }

    /// The events of a task; none if it is not there.
    #[must_use]
    pub fn events(&self, task: &str) -> &[Event] {
        self.tasks.get(task).map_or(&[], Vec::as_slice)
    }
}

fn compare_task(task: &str, expected: &[Event], got: &[Event]) -> Option<Difference> {
    let index = (0..expected.len().max(got.len())).find(|&i| expected.get(i) != got.get(i))?;
    Some(Difference::Task {
        task: task.to_owned(),
        index,
        before: expected[index.saturating_sub(CONTEXT)..index].to_vec(),
        expected: expected.get(index).cloned(),
        got: got.get(index).cloned(),
        after: expected.iter().skip(index + 1).take(CONTEXT).cloned().collect(),
    })
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
        }
    }
}

fn or_nothing(event: Option<&Event>) -> String {
    event.map_or_else(|| "nothing more".to_owned(), Event::to_string)
}

/// Takes down events, until it is closed: the tear-down of a program must not add to its trace.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// `None` once closed.
    tasks: Mutex<Option<BTreeMap<String, Vec<Event>>>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { tasks: Mutex::new(Some(BTreeMap::new())) }
    }

    pub(super) fn record(&self, task: &str, event: Event) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tasks) = tasks.as_mut() else { return };
        match tasks.get_mut(task) {
            Some(events) => events.push(event),
            None => {
                tasks.insert(task.to_owned(), vec![event]);
            }
        }
    }

    /// Ends the recording and returns what there is; nothing if it was closed before.
    pub(super) fn close(&self) -> BTreeMap<String, Vec<Event>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
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
        assert_eq!(recorder.close().len(), 1);
        recorder.record("main", Event::new(0.into(), "log", ["b".into()]));
        assert!(recorder.close().is_empty());
    }
}
