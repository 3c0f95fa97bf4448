//! Runs every contender of a workload side by side and keeps one sample per round.
//!
//! # Protocol
//!
//! 1. A round runs each contender once, in an order shuffled anew for that round: a fixed or rotated order
//!    lets one contender always run on the heap and the caches that the same other one left behind.
//! 2. The first round is dropped: it pays for page faults and cold code.
//! 3. Ratios are taken within a round, so that a neighbour who takes the machine for a second hits both
//!    sides of a ratio; what is reported is the median of these ratios, and their extremes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{alloc, workloads::hosts};

/// What one run of one contender took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    /// Operations that were really done: the request rounded to whole batches.
    pub(crate) ops: usize,
    /// Elapsed time of the inner loop.
    pub(crate) wall: Duration,
    /// CPU time of the whole process over the inner loop, helper threads included.
    pub(crate) cpu: Duration,
    /// Allocations of the whole process over the inner loop, where they are counted.
    pub(crate) allocations: usize,
}

impl Measurement {
    /// Nanoseconds per operation by the given clock.
    pub(crate) fn nanos(&self, metric: Metric) -> f64 {
        let time = match metric {
            Metric::Wall => self.wall,
            Metric::Cpu => self.cpu,
        };
        time.as_secs_f64() * 1e9 / self.ops as f64
    }
}

/// A running measurement, started inside the contender so that set-up is not counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
    allocations: usize,
}

impl Stopwatch {
    /// Starts both clocks.
    pub(crate) fn start() -> Self {
        let cpu = process_cpu();
        let allocations = alloc::allocations();
        Self { wall: Instant::now(), cpu, allocations }
    }

    /// Reads both clocks after `ops` operations.
    pub(crate) fn stop(self, ops: usize) -> Measurement {
        let wall = self.wall.elapsed();
        let cpu = process_cpu().saturating_sub(self.cpu);
        let allocations = alloc::allocations() - self.allocations;
        Measurement { ops, wall, cpu, allocations }
    }
}

/// CPU time of the process: the clock has the nanoseconds that `getrusage` rounds away.
fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The clock by which a workload is judged; both are always shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Elapsed time.
    Wall,
    /// CPU time, for workloads that wait.
    Cpu,
}

/// What must be said of a floor.
const FLOOR: &str = "the least that children cost: stored, linked, queued, polled under a guard, dropped, unlinked; no scopes, errors, \
                     deadlines, budgets, or other threads";

/// Whose figure a contender gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Trine on one of its backends; ratios are taken against the first of them.
    Trine,
    /// Somebody else's runtime; the fastest is the one to beat.
    Peer,
    /// Shown for scale, not counted as a peer: foreign parts on trine's scheduler, or what does no like work.
    Reference,
    /// The least that the work costs; not a peer either.
    Floor,
}

/// One program that does the workload.
#[derive(Debug)]
pub(crate) struct Contender {
    /// The backend of trine, or the name of the peer.
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    /// Does about so many operations and tells what they took.
    pub(crate) run: fn(usize) -> Measurement,
    /// Where it does less, or other, than trine; empty if nowhere.
    pub(crate) note: &'static str,
    /// Why it cannot run here, if so: what the kernel refuses, or what is not installed.
    pub(crate) available: fn() -> Result<(), String>,
}

impl Contender {
    /// Trine, on its native backend and on every other one of this program.
    pub(crate) const fn native(run: fn(usize) -> Measurement) -> Self {
        Self { name: NATIVE, side: Side::Trine, run, note: "", available: anywhere }
    }

    /// Trine in one particular place.
    #[cfg(feature = "tokio")]
    pub(crate) const fn hosted(name: &'static str, run: fn(usize) -> Measurement) -> Self {
        Self { name, side: Side::Trine, run, note: "", available: anywhere }
    }

    /// A peer by its name.
    pub(crate) const fn peer(name: &'static str, run: fn(usize) -> Measurement) -> Self {
        Self { name, side: Side::Peer, run, note: "", available: anywhere }
    }

    /// A contender for scale.
    pub(crate) const fn reference(name: &'static str, run: fn(usize) -> Measurement) -> Self {
        Self { name, side: Side::Reference, run, note: "", available: anywhere }
    }

    /// The floor of a row.
    pub(crate) const fn floor(run: fn(usize) -> Measurement) -> Self {
        Self { name: "floor", side: Side::Floor, run, note: FLOOR, available: anywhere }
    }

    /// Adds what must be said for the comparison to be honest.
    pub(crate) const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// Runs it only where `available` says that it can.
    pub(crate) const fn needs(self, available: fn() -> Result<(), String>) -> Self {
        Self { available, ..self }
    }
}

fn anywhere() -> Result<(), String> {
    Ok(())
}

/// How many times the time of trine a peer is to take, or more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) peer: &'static str,
    pub(crate) factor: f64,
}

impl Goal {
    pub(crate) const fn new(peer: &'static str, factor: f64) -> Self {
        Self { peer, factor }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ">= {}x {}", self.factor, self.peer)
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) operation: &'static str,
    /// Operations per run when thorough, and with `--quick`; none at all leaves the row out.
    pub(crate) ops: (usize, usize),
    pub(crate) metric: Metric,
    /// How much faster than which peers trine is to be; first the one that was the best when the goal was set, whose factor is
    /// the row's target over the best one that there is now.
    pub(crate) goals: &'static [Goal],
    /// The goal in words, where factors do not say it all.
    pub(crate) also: &'static str,
    pub(crate) contenders: &'static [Contender],
}

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
    /// Rounds that count; one more is run and dropped.
    pub(crate) rounds: usize,
}

/// One contender as it is run: a native one of trine's is run on every backend of this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrant {
    pub(crate) contender: &'static Contender,
    /// The contender's own name, or that of the backend.
    pub(crate) name: &'static str,
}

impl Workload {
    /// How many times the time of trine the best peer is to take.
    pub(crate) fn target(&self) -> Option<f64> {
        self.goals.first().map(|goal| goal.factor)
    }
}

impl Entrant {
    /// All that run a workload, trine's first, the native one before all; and those that cannot, with the reason.
    pub(crate) fn all(workload: &'static Workload) -> (Vec<Self>, Vec<Absent>) {
        let mut entrants = Vec::new();
        let mut absent = Vec::new();
        for contender in workload.contenders {
            if let Err(reason) = (contender.available)() {
                absent.push(Absent { name: contender.name, reason });
                continue;
            }
            entrants.push(Self { contender, name: contender.name });
            if contender.side == Side::Trine && contender.name == NATIVE {
                let others = hosts::backends().filter(|name| *name != NATIVE);
                entrants.extend(others.map(|name| Self { contender, name }));
            }
        }
        (entrants, absent)
    }

    /// Does about so many operations.
    pub(crate) fn run(&self, ops: usize) -> Measurement {
        match self.contender.side {
            Side::Trine if self.contender.name == NATIVE => hosts::on_backend(self.name, || (self.contender.run)(ops)),
            _ => (self.contender.run)(ops),
        }
    }
}

/// One contender that cannot run here.
#[derive(Debug, Clone)]
pub(crate) struct Absent {
    pub(crate) name: &'static str,
    pub(crate) reason: String,
}

/// The name of trine's own backend.
pub(crate) const NATIVE: &str = "native";

/// The samples of one workload: `samples[e][r]` is entrant `e` in round `r`.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) workload: &'static Workload,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) samples: Vec<Vec<Measurement>>,
}

/// Measures one workload; `None` if it has no operations at this effort.
pub(crate) fn measure(workload: &'static Workload, effort: Effort, random: &mut Xorshift) -> Option<Samples> {
    let (thorough, quick) = workload.ops;
    let ops = if effort.quick { quick } else { thorough };
    if ops == 0 {
        return None;
    }
    let (entrants, absent) = Entrant::all(workload);
    let mut samples = vec![Vec::with_capacity(effort.rounds); entrants.len()];
    let mut order: Vec<usize> = (0..entrants.len()).collect();
    for round in 0..=effort.rounds {
        random.shuffle(&mut order);
        for &index in &order {
            let measurement = entrants[index].run(ops);
            if round > 0 {
                samples[index].push(measurement);
            }
        }
    }
    Some(Samples { workload, entrants, absent, samples })
}

/// Marsaglia's xorshift64: the shuffle must be cheap and repeatable, not unpredictable.
#[derive(Debug)]
pub(crate) struct Xorshift(u64);

impl Xorshift {
    /// Starts from any seed; zero, the one fixed point, is replaced.
    pub(crate) fn new(seed: u64) -> Self {
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Xorshift;

    #[test]
    fn shuffle_keeps_every_item_and_repeats_with_its_seed() {
        let shuffled = |seed| {
            let mut items: Vec<usize> = (0..20).collect();
            Xorshift::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }
}
