//! Runs one contender alone, so that a tool outside can count its instructions.

use crate::{harness::Side, workloads};

/// Does `ops` operations of `name`, which is a workload (trine's own contender) or `workload@peer`, and returns
/// how many were really done: whole batches.
///
/// # Errors
///
/// What is wrong with the name.
pub(crate) fn run(name: &str, ops: usize) -> Result<usize, String> {
    let (name, peer) = name.split_once('@').map_or((name, None), |(name, peer)| (name, Some(peer)));
    let workload = workloads::find(name).ok_or_else(|| format!("no workload is called {name}"))?;
    let contender = match peer {
        None => workload.contenders.iter().find(|contender| contender.side == Side::Trine),
        Some(peer) => workload.contenders.iter().find(|contender| contender.name == peer),
    };
    let contender = contender.ok_or_else(|| format!("{name} has no such contender"))?;
    Ok((contender.run)(ops).ops)
}
