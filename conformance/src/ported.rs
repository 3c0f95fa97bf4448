//! How much of Trio's own test suite has been ported: by the origins that cases name.

use crate::cases;
use std::collections::BTreeSet;

/// `FILE::TEST` of each test that can be ported.
const TESTS: &str = include_str!("../data/trio-tests.txt");

/// Returns the tests of Trio's suite that can be ported, in its order.
pub fn portable_tests() -> impl Iterator<Item = &'static str> {
    TESTS.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Returns the tests that the cases' origins name.
pub fn named() -> BTreeSet<&'static str> {
    cases::all()
        .flat_map(|case| case.origin().split(','))
        .filter_map(|origin| origin.trim().strip_prefix("trio "))
        .collect()
}

/// Returns the tests that have a case, and those that have none, in the order of Trio's suite.
pub fn split() -> (Vec<&'static str>, Vec<&'static str>) {
    let named = named();
    portable_tests().partition(|test| named.contains(test))
}

/// Returns the names in origins that are no test of the list: misspelt, or of a test that cannot be ported.
pub fn unknown() -> Vec<&'static str> {
    let tests: BTreeSet<_> = portable_tests().collect();
    named().into_iter().filter(|name| !tests.contains(name)).collect()
}
