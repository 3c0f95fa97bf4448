//! The scenario language as types: what a line of a scenario file may contain.
//!
//! Every type refuses what it does not know, so that a newer file fails with the name of the new operation or field
//! and is never half understood. Statement lists and child names are shared ([`Block`], `Arc<str>`), because a child
//! that is spawned through a `Spawner` owns its program.

use super::trace::Trace;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// A list of statements, shared with the children that run it.
pub type Block = Arc<[Stmt]>;

/// A line of a scenario file: a program and the trace that Trio produced for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Name of the scenario, unique in its file.
    pub id: String,
    /// How firmly the trace is determined.
    pub kind: Kind,
    /// A capability that the program relies on, as `owner_exit`: a lock that breaks when its owner ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// The program.
    pub scenario: Arc<Scenario>,
    /// What Trio did.
    pub trace: Trace,
}

impl Line {
    /// Reads one line of a scenario file.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the line is not JSON, or has an operation or field that this crate does not know.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        serde_json::from_str(text).map_err(|source| ModelError { line: None, source })
    }

    /// Reads a whole scenario file; empty lines are skipped.
    ///
    /// # Errors
    ///
    /// [`ModelError`] with the number of the first line that cannot be read.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, ModelError> {
        let numbered = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        numbered
            .map(|(number, line)| Self::parse(line).map_err(|error| ModelError { line: Some(number), ..error }))
            .collect()
    }
}

/// A line that is not a scenario.
#[derive(Debug)]
pub struct ModelError {
    line: Option<usize>,
    source: serde_json::Error,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} is not a scenario: {}", self.source),
            None => write!(f, "not a scenario: {}", self.source),
        }
    }
}

impl std::error::Error for ModelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// How firmly a trace is determined (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Equal under every scheduling order: a correct runtime has no choice.
    Robust,
    /// Depends on all deadlines of one instant expiring before any task runs.
    Ties,
    /// Depends on when a deadline that was moved to the past is noticed.
    Obscure,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Robust => "robust",
            Self::Ties => "ties",
            Self::Obscure => "obscure",
        })
    }
}

/// A program.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, as that of the line.
    pub id: String,
    /// Version of the language.
    pub v: Version,
    /// The rule that a hand-written scenario demonstrates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Marks of a hand-written scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What exists before `main` starts.
    pub resources: Vec<Resource>,
    /// The root task.
    pub main: Block,
}

/// Version of the language: 1 is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Version(());

impl TryFrom<u64> for Version {
    type Error = String;

    fn try_from(version: u64) -> Result<Self, String> {
        match version {
            1 => Ok(Self(())),
            other => Err(format!("version {other} of the scenario language is not known")),
        }
    }
}

impl From<Version> for u64 {
    fn from(_: Version) -> Self {
        1
    }
}

/// Something that all tasks share (section 3).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of section 3")]
pub enum Resource {
    Event { name: String },
    Channel { name: String, cap: Amount },
    Lock { name: String },
    Sem { name: String, initial: usize },
    Cond { name: String },
    Limiter { name: String, total: Amount },
}

/// A number, or `"inf"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Finite(usize),
    /// No bound.
    Infinite,
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or \"inf\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                usize::try_from(number).map(Amount::Finite).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                match text {
                    "inf" => Ok(Amount::Infinite),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Finite(number) => serializer.serialize_u64(number as u64),
            Self::Infinite => serializer.serialize_str("inf"),
        }
    }
}

/// When a scope is to be cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deadline {
    /// So many ticks after entry, or after now for a scope that has been entered; may be negative.
    Rel(i64),
    /// At this time.
    Abs(i64),
    /// Never.
    #[default]
    Inf,
}

/// What a `try` does with some of the errors.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// The name of a leaf, `any` or `all`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Takes the matching leaves out of a group, wherever they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub star: bool,
    /// What to run.
    #[serde(default)]
    pub body: Block,
    /// Lets the original error go on afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reraise: bool,
}

/// A statement (section 4).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the operations and their fields are those of section 4")]
pub enum Stmt {
    // Observation
    Log {
        label: String,
    },
    Time {},
    EffectiveDeadline {},
    ScopeStatus {
        name: String,
    },
    // Time and checkpoints
    Sleep {
        ticks: u64,
    },
    SleepUntil {
        at: i64,
    },
    SleepForever {},
    Checkpoint {},
    CheckpointIfCancelled {},
    ShieldedCheckpoint {},
    // Control flow and errors
    Raise {
        error: String,
    },
    Repeat {
        n: u64,
        body: Block,
    },
    Try {
        body: Block,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        catch: Vec<Handler>,
        #[serde(default)]
        finally: Block,
    },
    // Nurseries and tasks
    Nursery {
        name: String,
        body: Block,
    },
    Spawn {
        nursery: String,
        task: Arc<str>,
        body: Block,
    },
    Start {
        nursery: String,
        task: Arc<str>,
        body: Block,
    },
    Started {
        #[serde(default)]
        value: serde_json::Value,
    },
    // Cancel scopes
    Scope {
        name: String,
        #[serde(default)]
        deadline: Deadline,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shield: bool,
        body: Block,
    },
    MoveOnAfter {
        name: String,
        ticks: i64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shield: bool,
        body: Block,
    },
    FailAfter {
        name: String,
        ticks: i64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shield: bool,
        body: Block,
    },
    NewScope {
        name: String,
        #[serde(default)]
        deadline: Deadline,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shield: bool,
    },
    Enter {
        name: String,
        body: Block,
    },
    Cancel {
        name: String,
    },
    SetDeadline {
        name: String,
        deadline: Deadline,
    },
    SetShield {
        name: String,
        shield: bool,
    },
    // Events
    EventSet {
        event: String,
    },
    EventWait {
        event: String,
    },
    EventIsSet {
        event: String,
    },
    // Memory channels
    Send {
        tx: String,
        value: i64,
    },
    SendNowait {
        tx: String,
        value: i64,
    },
    Recv {
        rx: String,
    },
    RecvNowait {
        rx: String,
    },
    RecvAll {
        rx: String,
        #[serde(default)]
        body: Block,
    },
    Clone {
        handle: String,
        #[serde(rename = "as")]
        name: String,
    },
    Close {
        handle: String,
    },
    // Locks, semaphores, conditions, capacity limiters
    LockAcquire {
        lock: String,
    },
    LockAcquireNowait {
        lock: String,
    },
    LockRelease {
        lock: String,
    },
    WithLock {
        lock: String,
        body: Block,
    },
    SemAcquire {
        sem: String,
    },
    SemAcquireNowait {
        sem: String,
    },
    SemRelease {
        sem: String,
    },
    WithSem {
        sem: String,
        body: Block,
    },
    WithCond {
        cond: String,
        body: Block,
    },
    CondWait {
        cond: String,
    },
    CondNotify {
        cond: String,
        #[serde(default = "one")]
        n: usize,
    },
    CondNotifyAll {
        cond: String,
    },
    LimAcquire {
        limiter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        borrower: Option<String>,
    },
    LimAcquireNowait {
        limiter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        borrower: Option<String>,
    },
    LimRelease {
        limiter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        borrower: Option<String>,
    },
    WithLim {
        limiter: String,
        body: Block,
    },
    LimSetTotal {
        limiter: String,
        total: Amount,
    },
    LimStats {
        limiter: String,
    },
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(main: &str) -> String {
        let line = format!(
            r#"{{"id":"x","kind":"robust","scenario":{{"id":"x","v":1,"resources":[],"main":{main}}},
                "trace":{{"outcome":"ok","end":0,"tasks":{{}}}}}}"#
        );
        Line::parse(&line).unwrap_err().to_string()
    }

    #[test]
    fn unknown_operation_is_named() {
        assert!(error_of(r#"[{"op":"teleport"}]"#).contains("unknown variant `teleport`"));
    }

    #[test]
    fn unknown_field_is_named() {
        assert!(error_of(r#"[{"op":"sleep","ticks":1,"speed":2}]"#).contains("unknown field `speed`"));
        assert!(error_of(r#"[{"op":"checkpoint","speed":2}]"#).contains("unknown field `speed`"));
    }

    #[test]
    fn unknown_field_deep_inside_is_named() {
        let main = r#"[{"op":"try","body":[{"op":"repeat","n":2,"body":[{"op":"log","label":"a","x":1}]}]}]"#;
        assert!(error_of(main).contains("unknown field `x`"));
    }

    #[test]
    fn missing_field_is_named() {
        assert!(error_of(r#"[{"op":"sleep"}]"#).contains("missing field `ticks`"));
    }

    #[test]
    fn amounts_and_deadlines_are_numbers_or_inf() {
        assert_eq!(serde_json::from_str::<Amount>("3").unwrap(), Amount::Finite(3));
        assert_eq!(serde_json::from_str::<Amount>("\"inf\"").unwrap(), Amount::Infinite);
        assert!(serde_json::from_str::<Amount>("\"many\"").is_err());
        assert_eq!(serde_json::from_str::<Deadline>("{\"rel\":-2}").unwrap(), Deadline::Rel(-2));
        assert_eq!(serde_json::from_str::<Deadline>("\"inf\"").unwrap(), Deadline::Inf);
    }

    #[test]
    fn parse_error_names_the_line() {
        let error = Line::parse_all("\n{}\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2 is not a scenario"), "{error}");
    }
}
