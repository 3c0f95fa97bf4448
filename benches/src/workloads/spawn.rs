//! Spawning children without a result that are ready at once, and joining them.

use std::hint::black_box;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::{JoinSet, spawn_local};

#[cfg(feature = "peers-uring")]
use super::uring::{Compio, Glommio, Monoio};
use super::{
    floor, groups,
    hosts::{Countdown, LocalCountdown, on_local_set, on_smol, on_tokio, on_trine},
    local::{self, TokioLocal},
    python::{self, AnyIo, Trio},
    threads::{self, THREADS},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

pub(super) const NO_GUARD: &str = "no panic guard: a panic of a child ends all";
const DETACHED: &str = "detached: no result, a shared count tells the end";

/// The contenders of a row, for one size.
macro_rules! bulk {
    ($batch:literal $(, $python:expr)*) => {
        [
            Contender::native(|ops| trine_start_soon(ops, $batch)),
            Contender::floor(|ops| floor::bulk(ops, $batch)),
            Contender::peer("FuturesUnordered", |ops| unordered(ops, $batch)).note(NO_GUARD),
            Contender::peer("LocalSet", |ops| local_detached(ops, $batch)).note(DETACHED),
            Contender::peer("tokio spawn", |ops| tokio_detached(ops, $batch)).note(DETACHED),
            Contender::peer("tokio JoinSet", |ops| join_set(ops, $batch)),
            Contender::peer("smol LocalExecutor", |ops| smol_detached(ops, $batch)).note(DETACHED),
            Contender::peer("tokio LocalRuntime", |ops| local::bulk::<TokioLocal>(ops, $batch)).note(DETACHED),
            Contender::peer("futures-buffered", |ops| groups::buffered(ops, $batch)).note(NO_GUARD),
            Contender::peer("futures-concurrency", |ops| groups::joined(ops, $batch)).note(groups::FIXED),
            Contender::peer("moro", |ops| groups::moro(ops, $batch)).note(NO_GUARD),
            Contender::peer("tokio threads", |ops| threads::bulk(ops, $batch)).note(THREADS),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", |ops| local::bulk::<Monoio>(ops, $batch))
                .note(DETACHED)
                .needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", |ops| local::bulk::<Compio>(ops, $batch))
                .note(DETACHED)
                .needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", |ops| local::bulk::<Glommio>(ops, $batch))
                .note(DETACHED)
                .needs(Glommio::available),
            $($python,)*
        ]
    };
}

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "spawn-1k",
        operation: "start_soon 1,000 children, join all",
        ops: (300_000, 60_000),
        metric: Metric::Wall,
        goals: &[Goal::new("monoio", 4.0), Goal::new("LocalSet", 12.0)],
        also: "",
        contenders: &bulk!(
            1_000,
            Contender::reference("Python Trio", |ops| python::bulk::<Trio>(ops, 1_000))
                .needs(python::available::<Trio>),
            Contender::reference("Python AnyIO", |ops| python::bulk::<AnyIo>(ops, 1_000))
                .needs(python::available::<AnyIo>)
        ),
    },
    Workload {
        name: "spawn-100k",
        operation: "start_soon 100,000 children, join all",
        ops: (100_000, 100_000),
        metric: Metric::Wall,
        goals: &[Goal::new("monoio", 1.5), Goal::new("LocalSet", 7.0)],
        also: "",
        contenders: &bulk!(100_000),
    },
    Workload {
        name: "spawn-1m",
        operation: "start_soon 1,000,000 children, join all; thorough runs only",
        ops: (1_000_000, 0),
        metric: Metric::Wall,
        goals: &[Goal::new("monoio", 1.5), Goal::new("LocalSet", 7.0)],
        also: "",
        contenders: &bulk!(1_000_000),
    },
    Workload {
        name: "nursery-one",
        operation: "open a nursery, start_soon one child, close it",
        ops: (200_000, 50_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &[
            Contender::native(|ops| trine_start_soon(ops, 1)),
            Contender::peer("FuturesUnordered", unordered_new).note(NO_GUARD),
            Contender::peer("futures-buffered", groups::buffered_new).note(NO_GUARD),
            Contender::peer("futures-concurrency", |ops| groups::joined(ops, 1)).note(groups::FIXED),
            Contender::peer("moro", |ops| groups::moro(ops, 1)).note(NO_GUARD),
            Contender::peer("tokio JoinSet", |ops| join_set(ops, 1)),
            Contender::reference("Python Trio", |ops| python::bulk::<Trio>(ops, 1)).needs(python::available::<Trio>),
            Contender::reference("Python AnyIO", |ops| python::bulk::<AnyIo>(ops, 1)).needs(python::available::<AnyIo>),
        ],
    },
];

/// The work of a child: nothing, but not so that the compiler may leave it out.
pub(super) async fn child(index: usize) -> usize {
    black_box(index)
}

/// The same in a nursery, where a child may fail.
pub(super) async fn fallible(index: usize) -> trine::Result<usize> {
    Ok(black_box(index))
}

/// The same without a value.
async fn valueless(index: usize) -> trine::Result<()> {
    black_box(index);
    Ok(())
}

/// Whole batches in `ops`, at least one.
pub(super) fn batches(ops: usize, batch: usize) -> usize {
    (ops / batch).max(1)
}

pub(crate) fn trine_start_soon(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_trine(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            trine::nursery(async move |nursery| {
                for index in 0..batch {
                    nursery.start_soon(valueless(index));
                }
                Ok(())
            })
            .await?;
        }
        Ok(clock.stop(batches * batch))
    })
}

pub(crate) fn unordered(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    futures_lite::future::block_on(async move {
        let mut children = FuturesUnordered::new();
        let clock = Stopwatch::start();
        for _ in 0..batches {
            children.extend((0..batch).map(child));
            while let Some(value) = children.next().await {
                black_box(value);
            }
        }
        clock.stop(batches * batch)
    })
}

fn unordered_new(ops: usize) -> Measurement {
    futures_lite::future::block_on(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            let mut children = FuturesUnordered::new();
            children.push(child(index));
            black_box(children.next().await);
        }
        clock.stop(ops)
    })
}

pub(crate) fn local_detached(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_local_set(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let end = LocalCountdown::new(batch);
            for index in 0..batch {
                let end = end.clone();
                spawn_local(async move {
                    child(index).await;
                    end.done();
                });
            }
            end.wait().await;
        }
        clock.stop(batches * batch)
    })
}

pub(crate) fn tokio_detached(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_tokio(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let end = Countdown::new(batch);
            for index in 0..batch {
                let end = end.clone();
                tokio::spawn(async move {
                    child(index).await;
                    end.done();
                });
            }
            end.wait().await;
        }
        clock.stop(batches * batch)
    })
}

pub(crate) fn join_set(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_tokio(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let mut children = JoinSet::new();
            for index in 0..batch {
                children.spawn(child(index));
            }
            while let Some(value) = children.join_next().await {
                black_box(value.expect("a child does not panic"));
            }
        }
        clock.stop(batches * batch)
    })
}

pub(crate) fn smol_detached(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_smol(async move |executor| {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let end = LocalCountdown::new(batch);
            for index in 0..batch {
                let end = end.clone();
                let task = executor.spawn(async move {
                    child(index).await;
                    end.done();
                });
                task.detach();
            }
            end.wait().await;
        }
        clock.stop(batches * batch)
    })
}
