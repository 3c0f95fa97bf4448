//! The workloads: one file per family, each a table of plain functions with their targets.
//!
//! A contender is what a user of that library would really write for the job. It does its set-up, starts the
//! stopwatch, does the operations, and stops it; so a start of a runtime is never part of a figure.
//! A peer behind a feature (`peers-uring`) gets a file beside its family and a line in that family's table.

mod cancel;
mod dropping;
mod handles;
pub(crate) mod hosts;
#[cfg(feature = "tokio")]
mod manners;
mod ping_pong;
mod scope;
mod spawn;
mod stream;
mod time;
mod turns;
mod wake;

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
