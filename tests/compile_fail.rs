//! Each borrow rule and each rule of `Send` has a program that breaks it, with the compiler's answer pinned.
//!
//! The wording is that of one release of the compiler, [`RELEASE`]. On another one the texts are not compared, unless
//! `TRINE_UI` is set. `TRYBUILD=overwrite` makes them anew.

use std::process::Command;

const RELEASE: &str = "rustc 1.95.";

fn release() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("the compiler tells its version");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn programs_that_break_a_borrow_rule_are_refused() {
    let release = release();
    if !release.starts_with(RELEASE) && std::env::var_os("TRINE_UI").is_none() {
        eprintln!("skipped: the texts are those of {RELEASE}x, this is {release}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
