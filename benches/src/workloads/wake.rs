//! Waking a leaf that waits several groups deep, from outside of all but the outermost.
//!
//! The driver and the outermost level are two children of one group. One operation is a handshake: the
//! driver wakes the leaf, through every group between them, and the leaf wakes the driver. The handshake
//! itself is the same code for all contenders and depths, so the price of a level is what depth 16 takes
//! more than depth 1, over 15.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;

use super::{
    floor::levels,
    hosts::{on_tokio, on_trine},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

const FLAT: &str = "its tasks are polled by the runtime, not by their group: flat at any depth";
const NO_GUARD: &str = "no panic guard: a panic of a child ends all";

/// A row at one depth.
macro_rules! row {
    ($name:literal, $depth:literal, $goals:expr) => {
        Workload {
            name: $name,
            operation: concat!("handshake with a leaf at depth ", $depth),
            ops: (100_000, 20_000),
            metric: Metric::Wall,
            goals: $goals,
            also: "",
            contenders: &[
                Contender::native(|ops| trine(ops, $depth)),
                Contender::floor(|ops| levels::nested(ops, $depth)),
                Contender::peer("FuturesUnordered", |ops| unordered(ops, $depth)).note(NO_GUARD),
                Contender::peer("tokio JoinSet", |ops| join_set(ops, $depth)).note(FLAT),
            ],
        }
    };
}

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    row!("wake-1", 1, &[]),
    row!("wake-2", 2, &[]),
    row!("wake-4", 4, &[]),
    row!("wake-8", 8, &[Goal::new("tokio JoinSet", 1.0)]),
    row!("wake-16", 16, &[]),
    Workload {
        name: "wake-level",
        operation: "one level more between the driver and the leaf",
        ops: (100_000, 20_000),
        metric: Metric::Wall,
        goals: &[Goal::new("FuturesUnordered", 6.0)],
        also: "<= 160 instructions",
        contenders: &[
            Contender::native(|ops| per_level(ops, trine)),
            Contender::floor(|ops| per_level(ops, levels::nested)),
            Contender::peer("FuturesUnordered", |ops| per_level(ops, unordered)).note(NO_GUARD),
        ],
    },
];

/// The least of two, clock by clock: what a neighbour's noise adds would not cancel out of a difference.
fn fastest(a: Measurement, b: Measurement) -> Measurement {
    Measurement { wall: a.wall.min(b.wall), cpu: a.cpu.min(b.cpu), ..a }
}

/// Subtracts depth 1 from depth 16, each the least of three; a difference lost in the noise counts as nothing.
fn per_level(ops: usize, run: fn(usize, usize) -> Measurement) -> Measurement {
    let least = |depth| (0..3).map(|_| run(ops / 3, depth)).reduce(fastest).expect("there are three");
    let (shallow, deep) = (least(1), least(16));
    let ops = deep.ops;
    let level = |deep: Duration, shallow: Duration| deep.saturating_sub(shallow) / 15;
    Measurement { ops, wall: level(deep.wall, shallow.wall), cpu: level(deep.cpu, shallow.cpu), allocations: 0 }
}

/// Who may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Driver,
    Leaf,
}

/// The handshake: a turn, and the waker of the one who waits for it.
#[derive(Debug)]
pub(super) struct Baton(Mutex<(Turn, Option<Waker>)>);

impl Baton {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Turn::Driver, None))))
    }

    /// Waits until it is `turn`.
    fn wait(&self, turn: Turn) -> impl Future<Output = ()> + '_ {
        poll_fn(move |context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 == turn {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Gives the turn to the other, and wakes it.
    fn pass(&self, turn: Turn) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = turn;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Passes the turn `ops` times and waits to get it back.
pub(super) async fn drive(baton: Arc<Baton>, ops: usize) -> Measurement {
    let clock = Stopwatch::start();
    for _ in 0..ops {
        baton.pass(Turn::Leaf);
        baton.wait(Turn::Driver).await;
    }
    clock.stop(ops)
}

/// Answers `ops` times.
pub(super) async fn answer(baton: Arc<Baton>, ops: usize) {
    for _ in 0..ops {
        baton.wait(Turn::Leaf).await;
        baton.pass(Turn::Driver);
    }
}

type Level<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn trine(ops: usize, depth: usize) -> Measurement {
    fn level(baton: Arc<Baton>, ops: usize, depth: usize) -> Level<trine::Result<()>> {
        if depth == 1 {
            return Box::pin(async move {
                answer(baton, ops).await;
                Ok(())
            });
        }
        Box::pin(trine::nursery(async move |nursery| {
            nursery.start_soon(level(baton, ops, depth - 1));
            Ok(())
        }))
    }

    on_trine(trine::nursery(async move |nursery| {
        let baton = Baton::new();
        nursery.start_soon(level(baton.clone(), ops, depth));
        let driver = nursery.spawn(async move { Ok(drive(baton, ops).await) });
        Ok(driver.await?)
    }))
}

pub(crate) fn unordered(ops: usize, depth: usize) -> Measurement {
    fn level(baton: Arc<Baton>, ops: usize, depth: usize) -> Level<()> {
        if depth == 1 {
            return Box::pin(answer(baton, ops));
        }
        Box::pin(async move {
            let mut children = FuturesUnordered::from_iter([level(baton, ops, depth - 1)]);
            while children.next().await.is_some() {}
        })
    }

    let baton = Baton::new();
    let outermost = level(baton.clone(), ops, depth);
    let mut children: FuturesUnordered<Level<Option<Measurement>>> = FuturesUnordered::new();
    children.push(Box::pin(async move {
        outermost.await;
        None
    }));
    children.push(Box::pin(async move { Some(drive(baton, ops).await) }));
    futures_lite::future::block_on(async move {
        let mut measurement = None;
        while let Some(ended) = children.next().await {
            measurement = measurement.or(ended);
        }
        measurement.expect("the driver is one of the children")
    })
}

pub(crate) fn join_set(ops: usize, depth: usize) -> Measurement {
    fn level(baton: Arc<Baton>, ops: usize, depth: usize) -> Level<()> {
        if depth == 1 {
            return Box::pin(answer(baton, ops));
        }
        Box::pin(async move {
            let mut children = JoinSet::new();
            children.spawn(level(baton, ops, depth - 1));
            while children.join_next().await.is_some() {}
        })
    }

    on_tokio(async move {
        let baton = Baton::new();
        let mut children = JoinSet::new();
        children.spawn(level(baton.clone(), ops, depth));
        let driver = tokio::spawn(drive(baton, ops));
        while children.join_next().await.is_some() {}
        driver.await.expect("the driver does not panic")
    })
}
