//! The conformance suite on this backend.

fn main() {
    trine_conformance::harness::main(trine_async_io::async_io());
}
