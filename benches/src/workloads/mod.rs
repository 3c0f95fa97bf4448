//! The workloads: one file per family, each a table of plain functions with their targets.
//!
//! A contender is what a user of that library would really write for the job. It does its set-up, starts the
//! stopwatch, does the operations, and stops it; so a start of a runtime is never part of a figure.
//! Runtimes of one thread share the programs of `local`, those on io_uring start in `uring`, behind their feature.

mod cancel;
mod dropping;
#[expect(unsafe_code, reason = "a nursery in plain code: its children are in slots of raw memory")]
mod floor;
pub(crate) mod groups;
mod handles;
pub(crate) mod hosts;
pub(crate) mod local;
#[cfg(feature = "tokio")]
mod manners;
mod ping_pong;
mod python;
mod scope;
pub(crate) mod spawn;
mod stream;
pub(crate) mod threads;
pub(crate) mod time;
mod turns;
#[cfg(feature = "peers-uring")]
pub(crate) mod uring;
pub(crate) mod wake;

use crate::harness::Workload;

/// Every workload, in the order of the report.
pub(crate) fn all() -> impl Iterator<Item = &'static Workload> {
    [
        spawn::WORKLOADS,
        handles::WORKLOADS,
        turns::WORKLOADS,
        ping_pong::WORKLOADS,
        stream::WORKLOADS,
        wake::WORKLOADS,
        cancel::WORKLOADS,
        dropping::WORKLOADS,
        time::WORKLOADS,
        scope::WORKLOADS,
        #[cfg(feature = "tokio")]
        manners::WORKLOADS,
    ]
    .into_iter()
    .flatten()
}

/// Finds a workload by its name.
pub(crate) fn find(name: &str) -> Option<&'static Workload> {
    all().find(|workload| workload.name == name)
}
