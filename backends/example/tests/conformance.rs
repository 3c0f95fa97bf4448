//! The conformance suite on this backend.

#[cfg(unix)]
fn main() {
    trine_conformance::harness::main(trine_example_backend::poll());
}

#[cfg(not(unix))]
fn main() {}
