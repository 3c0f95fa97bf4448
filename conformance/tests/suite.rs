//! The suite itself: its table is in order.

use std::collections::BTreeSet;
use trine_conformance::case::Case;
use trine_conformance::{cases, ported};

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
