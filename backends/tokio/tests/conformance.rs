//! The conformance suite on this backend: on runtimes of its own, and within runtimes of others.

use std::sync::Arc;
use trine_conformance::harness;
use trine_conformance::host::{CurrentThread, Driven, MultiThread};

fn main() {
    harness::run_and_exit(&[
        Arc::new(Driven::new(trine_tokio::tokio())),
        Arc::new(CurrentThread::new()),
        Arc::new(MultiThread::new()),
    ]);
}
