//! Trine does what real Trio did: the hand-written scenarios, and one in ten of the generated ones.
//!
//! The binary replays them all: `trine-conformance scenarios data/*.jsonl --children both --shuffle 1..20`.

use std::path::Path;
use std::sync::Arc;
use trine::testing::Order;
use trine_conformance::host::{self, Host};
use trine_conformance::scenario::model::{Kind, Line};
use trine_conformance::scenario::{Children, Options, Verdict, judge, real_time};
use trine_conformance::suite;
#[cfg(unix)]
use trine_conformance::{faulty, host::Driven};

const ORDERS: [Order; 3] = [Order::Fifo, Order::Lifo, Order::Shuffle(1)];

fn load(file: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
    let text = std::fs::read_to_string(path).expect("the data is part of the package");
    Line::parse_all(&text).expect("every line is a scenario")
}

fn configurations(host: &Arc<dyn Host>) -> impl Iterator<Item = Options> {
    ORDERS.into_iter().flat_map(move |order| {
        [Children::Borrowed, Children::Static].map(|children| Options { host: Arc::clone(host), order, children })
    })
}

/// What is wrong with these lines under every order and mode, as text.
fn failures<'a>(lines: impl IntoIterator<Item = &'a Line>) -> String {
    // A hosted tree tells a deadlock by a panic.
    suite::keep_panics();
    let hosts = host::all();
    let mut text = String::new();
    for line in lines {
        for options in hosts.iter().flat_map(configurations) {
            match judge(line, &options) {
                Verdict::Passed | Verdict::Skipped(..) => {}
                Verdict::Failed(differences) => {
                    text += &format!("{} ({options})\n", line.id);
                    differences.iter().for_each(|difference| text += &format!("  {difference}\n"));
                }
                other => text += &format!("{} ({options})\n  {other:?}\n", line.id),
            }
        }
    }
    text
}

fn assert_no_failures<'a>(lines: impl IntoIterator<Item = &'a Line>) {
    let failures = failures(lines);
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn every_hand_written_rule_holds() {
    assert_no_failures(&load("handwritten.jsonl"));
}

#[test]
fn a_tenth_of_the_generated_programs_do_as_in_trio() {
    assert_no_failures(load("golden.jsonl").iter().step_by(10));
}

#[test]
fn files_hold_what_the_report_counts_on() {
    assert_eq!(load("handwritten.jsonl").len(), 161);
    let golden = load("golden.jsonl");
    assert_eq!(golden.len(), 2000);
    assert!(golden.iter().all(|line| line.kind == Kind::Robust));
    assert!(load("corner.jsonl").iter().all(|line| line.kind != Kind::Robust));
}

#[test]
fn printed_programs_read_back_as_themselves() {
    for line in load("handwritten.jsonl") {
        let json = serde_json::to_value(&line).unwrap();
        let again = Line::parse(&json.to_string()).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), json);
    }
}

#[test]
fn enough_programs_have_an_order_on_a_real_clock() {
    let options = Options { host: host::all().remove(0), order: Order::Fifo, children: Children::Borrowed };
    let golden = load("golden.jsonl");
    let suitable: Vec<_> = golden.iter().filter(|line| real_time::suits(line, &options)).collect();
    assert!(suitable.len() >= 200, "{}", suitable.len());
    // In what ends at once there is no order to see, and what never ends cannot be waited for.
    assert!(suitable.iter().all(|line| line.trace.end != 0 && line.trace.outcome.to_string() != "\"deadlock\""));
}

#[cfg(unix)]
#[test]
fn timers_that_are_ticks_late_are_noticed_on_a_real_clock() {
    let late = faulty::all().find(|fault| fault.name == "alarm-is-late").expect("it is there");
    let host = Arc::new(Driven::new((late.wrap)(trine_native::native())));
    let options = Options { host, order: Order::Fifo, children: Children::Borrowed };
    let golden = load("golden.jsonl");
    let mut programs = golden.iter().filter(|line| real_time::suits(line, &options));
    let noticed = programs.find_map(|line| {
        let verdict = real_time::judge(line, &options, real_time::TICK);
        (!matches!(verdict, Verdict::Passed)).then_some(verdict)
    });
    assert!(real_time::may_be_late(&noticed.expect("one program at least goes wrong")));
}
