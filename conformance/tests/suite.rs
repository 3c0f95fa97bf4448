//! The suite itself: its table is in order.

use std::collections::BTreeSet;
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
