//! The suite notices: each faulty backend fails the case that is named for it.
#![cfg(unix)]

use trine_conformance::{faulty, suite};

#[test]
fn every_fault_is_noticed_by_the_case_that_is_named() {
    suite::keep_panics();
    let results = faulty::check_all(&trine_native::native());
    let failures: Vec<_> =
        results.iter().filter_map(|(fault, result)| Some((fault.name, result.as_ref().err()?))).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn faults_have_names_of_their_own() {
    let mut names: Vec<_> = faulty::all().map(|fault| fault.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 12);
}

#[test]
fn every_law_can_be_broken() {
    for law in trine_backend::laws::ALL {
        assert!(faulty::all().any(|fault| fault.law == law.id), "no backend breaks {}", law.id);
    }
}
