//! Programs and traces for people: pseudo-code, and two traces side by side.

use super::model::Scenario;
use super::trace::{Event, Trace};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Fields that are printed before the others and without their names.
const SUBJECTS: [&str; 12] =
    ["kind", "nursery", "task", "name", "label", "error", "event", "tx", "rx", "handle", "lock", "sem"];

/// The program as indented pseudo-code, one statement a line.
#[must_use]
pub fn program(scenario: &Scenario) -> String {
    let mut text = String::new();
    if let Some(rule) = &scenario.rule {
        line(&mut text, 0, &format!("# {rule}"));
    }
    let Ok(Value::Object(program)) = serde_json::to_value(scenario) else { return text };
    for resource in list(program.get("resources")) {
        line(&mut text, 0, head("resource", resource).trim_end());
    }
    block(&mut text, 0, list(program.get("main")));
    text
}

/// The traces task by task, expected events left, others right; `!` marks the lines that differ.
#[must_use]
pub fn side_by_side(expected: &Trace, got: &Trace) -> String {
    let mut text = String::new();
    let width = expected.tasks.values().flatten().map(|event| event.to_string().chars().count()).max();
    let width = width.unwrap_or(0).clamp(24, 72);
    let _ = writeln!(text, "  {:width$}   got", "expected");
    row(&mut text, width, Some(&format!("outcome {}", expected.outcome)), Some(&format!("outcome {}", got.outcome)));
    row(&mut text, width, Some(&format!("end {}", expected.end)), Some(&format!("end {}", got.end)));
    let names: BTreeSet<_> = expected.tasks.keys().chain(got.tasks.keys()).collect();
    for name in names {
        let _ = writeln!(text, "  {name}:");
        let (left, right) = (expected.events(name), got.events(name));
        for index in 0..left.len().max(right.len()) {
            let [left, right] = [left, right].map(|events| events.get(index).map(Event::to_string));
            row(&mut text, width, left.as_deref(), right.as_deref());
        }
    }
    text
}

fn row(text: &mut String, width: usize, left: Option<&str>, right: Option<&str>) {
    let mark = if left == right { ' ' } else { '!' };
    let row = format!("{mark}   {:width$} | {}", left.unwrap_or("-"), right.unwrap_or("-"));
    line(text, 0, row.trim_end());
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{:1$}{content}", "", 4 * depth);
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn block(text: &mut String, depth: usize, statements: &[Value]) {
    if statements.is_empty() {
        line(text, depth, "pass");
    }
    for stmt in statements {
        statement(text, depth, stmt);
    }
}

fn statement(text: &mut String, depth: usize, stmt: &Value) {
    let op = stmt["op"].as_str().unwrap_or("?");
    let end = if stmt.get("body").is_some() { ":" } else { "" };
    line(text, depth, &format!("{}{end}", head(op, stmt)));
    if let Some(body) = stmt.get("body") {
        block(text, depth + 1, list(Some(body)));
    }
    for handler in list(stmt.get("catch")) {
        let star = if handler.get("star").is_some() { "*" } else { "" };
        line(text, depth, &format!("catch{star} {}:", plain(&handler["match"])));
        block(text, depth + 1, list(handler.get("body")));
        if handler.get("reraise").is_some() {
            line(text, depth + 1, "reraise");
        }
    }
    let finally = list(stmt.get("finally"));
    if !finally.is_empty() {
        line(text, depth, "finally:");
        block(text, depth + 1, finally);
    }
}

/// The word, the subjects, and the other fields as `name=value`.
fn head(word: &str, object: &Value) -> String {
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    let subjects = SUBJECTS.iter().filter_map(|name| fields.get(*name)).map(plain);
    let others = fields
        .iter()
        .filter(|(name, _)| !SUBJECTS.contains(&name.as_str()))
        .filter(|(name, _)| !["op", "body", "catch", "finally"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", plain(value)));
    let words: Vec<_> = [word.to_owned()].into_iter().chain(subjects).chain(others).collect();
    words.join(" ")
}

/// Text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_indented_pseudo_code() {
        let scenario = r#"{"id":"x","v":1,"rule":"a rule","resources":[{"kind":"channel","name":"c","cap":"inf"}],"main":[
            {"op":"try","body":[{"op":"nursery","name":"n","body":[
                {"op":"spawn","nursery":"n","task":"t","body":[]},{"op":"sleep","ticks":3}]}],
             "catch":[{"match":"E1","star":true,"body":[{"op":"log","label":"a"}],"reraise":true}],
             "finally":[{"op":"set_deadline","name":"n","deadline":{"rel":-1}}]}]}"#;
        let text = program(&serde_json::from_str(scenario).unwrap());
        let expected = "\
# a rule
resource channel c cap=inf
try:
    nursery n:
        spawn n t:
            pass
        sleep ticks=3
catch* E1:
    log a
    reraise
finally:
    set_deadline n deadline={\"rel\":-1}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_that_differ_are_marked() {
        let expected: Trace =
            serde_json::from_str(r#"{"outcome":"ok","end":1,"tasks":{"main":[[0,"log","a"],[1,"done","ok"]]}}"#)
                .unwrap();
        let mut got = expected.clone();
        got.tasks.get_mut("main").unwrap().pop();
        let text = side_by_side(&expected, &got);
        assert!(text.contains("\n    [0,\"log\",\"a\"]"), "{text}");
        assert!(text.contains("\n!   [1,\"done\",\"ok\"]"), "{text}");
    }
}
