//! Programs on the machine's own clock, with the timers of the host: the order of events must be that of Trio.
//!
//! A tick lasts as long as one likes, [`TICK`] for example. Nothing happens at the very instant for which it was due but
//! a little later, so instants are not compared. What is compared:
//!
//! - each task does what it did in Trio, and the program ends as it did;
//! - of two events with different instants in Trio, the one of the earlier instant is first, whichever tasks they are of;
//! - no event is early.
//!
//! Being late by a tick is enough to come in another order, so not every program will do, see [`suits`]; and whoever
//! judges on a busy machine should try again with a longer tick, if [`may_be_late`].

use super::form::Form;
use super::model::{Kind, Line};
use super::replay::{Options, Replayed, Time, Verdict, record};
use super::trace::{Difference, Event, Trace};
use std::collections::HashMap;
use std::time::Duration;

/// A tick that is long enough on a machine with work to do.
pub const TICK: Duration = Duration::from_millis(20);

/// In a program that suits, timers are at least so many ticks apart.
pub const APART: f64 = 2.0;

/// A program that suits has ended after so many ticks.
pub const LONGEST: f64 = 100.0;

/// A program may take so much longer than it should, on top of twice its time, before it is said to be deadlocked.
const GRACE: Duration = Duration::from_secs(10);

/// Returns whether the order of a program's events may be expected of a clock that nobody stops.
///
/// Its trace has events of different instants; it ends by itself, after [`LONGEST`] at most; its trace is determined; and
/// no two of its timers are due within less than [`APART`] of each other, those that were given up included. A timer is
/// a sleep, or a deadline, that was in the future when it was set. So, whatever happens in it at one instant comes from
/// one timer, and being somewhat late cannot decide a race.
///
/// The timers are those that are set in a replay on a virtual clock with these options. A program that cannot be
/// replayed suits, so that it will fail.
#[must_use]
pub fn suits(line: &Line, options: &Options) -> bool {
    let ends = line.trace.outcome != Form::deadlock() && line.trace.end.as_f64().is_some_and(|end| end <= LONGEST);
    let mut instants = line.trace.tasks.values().flatten().map(Event::at);
    let first = instants.next();
    let differ = instants.any(|at| Some(at) != first);
    if line.kind != Kind::Robust || !ends || !differ {
        return false;
    }
    let Ok(replayed) = record(&line.scenario, options, Time::Virtual) else { return true };
    let mut timers: Vec<_> = replayed.timers.iter().filter_map(serde_json::Value::as_f64).collect();
    timers.sort_by(f64::total_cmp);
    timers.windows(2).all(|pair| pair[1] - pair[0] >= APART)
}

/// Runs a line's program on the machine's clock and compares its order with the line's trace.
///
/// # Panics
///
/// If a tick is no time at all.
#[must_use]
pub fn judge(line: &Line, options: &Options, tick: Duration) -> Verdict {
    assert!(!tick.is_zero(), "a tick takes time");
    let end = line.trace.end.as_f64().unwrap_or(LONGEST);
    let time = Time::Real { tick, limit: tick.mul_f64(2.0 * end) + GRACE };
    match record(&line.scenario, options, time) {
        Ok(replayed) => Verdict::of(line.kind, compare(&line.trace, &replayed)),
        Err(error) => Verdict::Broken(error),
    }
}

/// Returns whether a program may have failed only because the machine was too slow for its ticks: it did not come to an
/// end as it should, or not in that order, but nothing was early.
#[must_use]
pub fn may_be_late(verdict: &Verdict) -> bool {
    let early = |difference: &Difference| matches!(difference, Difference::Early { .. });
    matches!(verdict, Verdict::Failed(differences) if !differences.iter().any(early))
}

fn compare(expected: &Trace, got: &Replayed) -> Vec<Difference> {
    let mut differences = expected.compare_but_for_time(&got.trace);
    if differences.is_empty() {
        differences.extend(out_of_order(expected, &got.order));
    }
    differences
}

/// The first event with an earlier instant than one that came before it.
fn out_of_order(expected: &Trace, order: &[String]) -> Option<Difference> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut latest: Option<(&str, &Event)> = None;
    for task in order {
        let index = seen.entry(task).or_default();
        let event = expected.events(task).get(*index)?;
        *index += 1;
        match latest {
            Some((before, last)) if event.at().as_f64() < last.at().as_f64() => {
                return Some(Difference::Order {
                    task: before.to_owned(),
                    event: last.clone(),
                    other_task: task.clone(),
                    other: event.clone(),
                });
            }
            _ => latest = Some((task, event)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIO: &str = r#"{"outcome":"ok","end":5,"tasks":{
        "a":[[2,"log","x"],[5,"done","ok"]],"main":[[0,"log","x"],[2,"effective_deadline",9],[5,"done","ok"]]}}"#;

    /// Whose events came, each with its instant.
    fn replayed(events: &[(&str, f64)], deadline: f64) -> Replayed {
        let mut trace: Trace = serde_json::from_str(TRIO).unwrap();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for &(task, at) in events {
            let place = places.entry(task).or_default();
            let event = &mut trace.tasks.get_mut(task).unwrap()[*place];
            let text = event.to_string().replace(",9]", &format!(",{deadline}]"));
            let rest = text.split_once(',').unwrap().1;
            *event = serde_json::from_str(&format!("[{at},{rest}")).unwrap();
            *place += 1;
        }
        let order = events.iter().map(|(task, _)| (*task).to_owned()).collect();
        Replayed { trace, order, timers: Vec::new() }
    }

    fn differences(events: &[(&str, f64)], deadline: f64) -> Vec<Difference> {
        compare(&serde_json::from_str(TRIO).unwrap(), &replayed(events, deadline))
    }

    #[test]
    fn late_events_in_order_are_right() {
        let late = [("main", 0.1), ("a", 2.2), ("main", 2.3), ("main", 5.5), ("a", 5.6)];
        assert_eq!(differences(&late, 9.5), []);
        let other_way = [("main", 0.1), ("main", 2.2), ("a", 2.3), ("a", 5.5), ("main", 5.6)];
        assert_eq!(differences(&other_way, 9.0), []);
    }

    #[test]
    fn events_of_different_instants_keep_their_order_between_tasks() {
        let late = [("main", 0.1), ("main", 2.2), ("main", 5.2), ("a", 5.3), ("a", 5.4)];
        let text = r#"order: [5,"done","ok"] of main came before [2,"log","x"] of a"#;
        assert_eq!(differences(&late, 9.0).iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        assert!(may_be_late(&Verdict::Failed(differences(&late, 9.0))));
    }

    #[test]
    fn nothing_may_be_early() {
        let early = [("main", 0.0), ("a", 1.99), ("main", 2.0), ("main", 5.0), ("a", 5.0)];
        assert!(matches!(&differences(&early, 9.0)[..], [Difference::Early { task, .. }] if task == "a"));
        let deadline = [("main", 0.0), ("a", 2.0), ("main", 2.0), ("main", 5.0), ("a", 5.0)];
        let found = differences(&deadline, 8.9);
        assert!(matches!(&found[..], [Difference::Early { task, .. }] if task == "main"));
        assert!(!may_be_late(&Verdict::Failed(found)));
    }

    #[test]
    fn what_tasks_did_is_compared() {
        let mut got = replayed(&[("main", 0.0), ("a", 2.0), ("main", 2.0), ("main", 5.0), ("a", 5.0)], 9.0);
        got.trace.tasks.get_mut("a").unwrap().pop();
        let found = compare(&serde_json::from_str(TRIO).unwrap(), &got);
        assert!(matches!(&found[..], [Difference::Task { task, index: 1, .. }] if task == "a"), "{found:?}");
    }
}
