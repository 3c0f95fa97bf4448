//! The conformance suite on this backend.

fn main() {
    trine_conformance::harness::main(trine_native::native());
}
