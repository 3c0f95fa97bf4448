//! The suite itself: its table is in order.

use std::collections::BTreeSet;
use std::time::Duration;
use trine_conformance::case::{Body, Case};
use trine_conformance::suite::{self, Options, Verdict};
use trine_conformance::{cases, host, ported};

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for case in cases::all() {
        assert!(seen.insert(case.name()), "{} is there twice", case.name());
    }
}

#[test]
fn every_case_has_a_rule_and_an_origin() {
    for case in cases::all() {
        assert!(!case.law().is_empty() && !case.origin().is_empty(), "{}", case.name());
        assert!(case.name().contains("::"), "{}", case.name());
    }
}

#[test]
fn origins_name_tests_of_trio_that_there_are() {
    assert_eq!(ported::unknown(), [""; 0]);
    assert_eq!(ported::portable_tests().count(), 419);
}

#[cfg(unix)]
#[test]
fn every_law_has_a_case() {
    let proved: BTreeSet<_> = cases::all().map(Case::law).collect();
    for law in trine_backend::laws::ALL {
        assert!(proved.contains(law.id), "{} has no case", law.id);
    }
}

#[test]
fn numbered_laws_are_those_of_the_interface() {
    let laws: BTreeSet<_> = trine_backend::laws::ALL.iter().map(|law| law.id).collect();
    let is_number = |id: &str| id.strip_prefix('L').is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
    for case in cases::all().filter(|case| is_number(case.law())) {
        assert!(laws.contains(case.law()), "{} proves {}, and there is no such law", case.name(), case.law());
    }
}

fn verdict(body: Body) -> Verdict {
    suite::keep_panics();
    let case = Case::new("tests::cases::made_up", "rule", "origin", body);
    let host = host::named("native").remove(0);
    let options = Options { limit: Some(Duration::from_millis(200)), ..Options::default() };
    suite::run(&case, &host, &options).verdict
}

#[test]
fn case_that_hangs_has_failed_and_tells_its_tree() {
    let verdict = verdict(Body::RealTime(|| {
        Box::pin(trine::nursery(async |n| {
            n.task("patient").start_soon(async { match trine::sleep_forever().await? {} });
            Ok(())
        }))
    }));
    let Verdict::Failed(text) = verdict else { panic!("{verdict:?}") };
    assert!(text.starts_with("hangs: ") && text.contains("`patient`: waits in sleep_forever"), "{text}");
}

#[test]
fn case_that_blocks_its_thread_does_not_block_the_suite() {
    let verdict = verdict(Body::Backend(|_| {
        loop {
            std::thread::park();
        }
    }));
    assert!(matches!(&verdict, Verdict::Failed(text) if text.starts_with("hangs: ")), "{verdict:?}");
}

#[test]
fn case_that_panics_has_failed_and_tells_the_place() {
    let verdict = verdict(Body::Portable(|| Box::pin(async { panic!("made up") })));
    let Verdict::Failed(text) = verdict else { panic!("{verdict:?}") };
    assert!(text.contains("tests/suite.rs:") && text.ends_with(": made up"), "{text}");
}

#[test]
fn case_that_returns_an_error_has_failed() {
    let verdict = verdict(Body::Portable(|| Box::pin(async { Err(trine::Error::msg("made up")) })));
    assert_eq!(verdict, Verdict::Failed("made up".to_owned()));
}

#[test]
fn case_may_skip_itself_with_a_reason() {
    let verdict = verdict(Body::Portable(|| Box::pin(async { Err(trine_conformance::skip("no such thing here")) })));
    assert_eq!(verdict, Verdict::Skipped("no such thing here".to_owned()));
}
