//! Spawning children with a result that are ready at once, and awaiting their handles.

use std::hint::black_box;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::spawn_local;

#[cfg(feature = "peers-uring")]
use super::uring::{Compio, Glommio, Monoio};
use super::{
    floor, groups,
    hosts::{on_local_set, on_smol, on_tokio, on_trine},
    local::{self, TokioLocal},
    spawn::{NO_GUARD, batches, child, fallible, join_set, unordered},
    threads::{self, THREADS},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "spawn-one",
        operation: "spawn one child, await its handle, repeat",
        ops: (200_000, 50_000),
        metric: Metric::Wall,
        goals: &[Goal::new("glommio", 2.8)],
        also: "",
        contenders: &[
            Contender::native(trine_one),
            Contender::floor(floor::one),
            Contender::peer("FuturesUnordered", unordered_one).note(NO_GUARD),
            Contender::peer("LocalSet", local_one),
            Contender::peer("tokio spawn", tokio_one),
            Contender::peer("smol LocalExecutor", smol_one).note(NO_GUARD),
            Contender::peer("tokio LocalRuntime", local::one::<TokioLocal>),
            Contender::peer("futures-buffered", |ops| groups::buffered(ops, 1)).note(NO_GUARD),
            Contender::peer("moro", groups::moro_one).note(NO_GUARD),
            Contender::peer("tokio threads", threads::one).note(THREADS),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", local::one::<Monoio>).needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", local::one::<Compio>).needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", local::one::<Glommio>).needs(Glommio::available),
        ],
    },
    Workload {
        name: "spawn-handle-1k",
        operation: "spawn 1,000 children with a result, await every handle",
        ops: (300_000, 60_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &[
            Contender::native(|ops| trine_handles(ops, 1_000)),
            Contender::peer("FuturesUnordered", |ops| unordered(ops, 1_000)).note(NO_GUARD),
            Contender::peer("LocalSet", |ops| local_handles(ops, 1_000)),
            Contender::peer("tokio spawn", |ops| tokio_handles(ops, 1_000)),
            Contender::peer("tokio JoinSet", |ops| join_set(ops, 1_000)),
            Contender::peer("smol LocalExecutor", |ops| smol_handles(ops, 1_000)).note(NO_GUARD),
            Contender::peer("tokio LocalRuntime", |ops| local::handles::<TokioLocal>(ops, 1_000)),
            Contender::peer("futures-buffered", |ops| groups::buffered(ops, 1_000)).note(NO_GUARD),
            Contender::peer("futures-concurrency", |ops| groups::joined(ops, 1_000)).note(groups::FIXED),
            Contender::peer("moro", |ops| groups::moro_handles(ops, 1_000)).note(NO_GUARD),
            Contender::peer("tokio threads", |ops| threads::handles(ops, 1_000)).note(THREADS),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", |ops| local::handles::<Monoio>(ops, 1_000)).needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", |ops| local::handles::<Compio>(ops, 1_000)).needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", |ops| local::handles::<Glommio>(ops, 1_000)).needs(Glommio::available),
        ],
    },
];

fn trine_one(ops: usize) -> Measurement {
    on_trine(trine::nursery(async move |nursery| {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(nursery.spawn(fallible(index)).await?);
        }
        Ok(clock.stop(ops))
    }))
}

fn unordered_one(ops: usize) -> Measurement {
    futures_lite::future::block_on(async move {
        let mut children = FuturesUnordered::new();
        let clock = Stopwatch::start();
        for index in 0..ops {
            children.push(child(index));
            black_box(children.next().await);
        }
        clock.stop(ops)
    })
}

fn local_one(ops: usize) -> Measurement {
    on_local_set(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(spawn_local(child(index)).await.expect("a child does not panic"));
        }
        clock.stop(ops)
    })
}

fn tokio_one(ops: usize) -> Measurement {
    on_tokio(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(tokio::spawn(child(index)).await.expect("a child does not panic"));
        }
        clock.stop(ops)
    })
}

fn smol_one(ops: usize) -> Measurement {
    on_smol(async move |executor| {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(executor.spawn(child(index)).await);
        }
        clock.stop(ops)
    })
}

fn trine_handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_trine(trine::nursery(async move |nursery| {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| nursery.spawn(fallible(index))));
            for handle in handles.drain(..) {
                black_box(handle.await?);
            }
        }
        Ok(clock.stop(batches * batch))
    }))
}

fn local_handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_local_set(async move {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| spawn_local(child(index))));
            for handle in handles.drain(..) {
                black_box(handle.await.expect("a child does not panic"));
            }
        }
        clock.stop(batches * batch)
    })
}

fn tokio_handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_tokio(async move {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| tokio::spawn(child(index))));
            for handle in handles.drain(..) {
                black_box(handle.await.expect("a child does not panic"));
            }
        }
        clock.stop(batches * batch)
    })
}

fn smol_handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_smol(async move |executor| {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| executor.spawn(child(index))));
            for handle in handles.drain(..) {
                black_box(handle.await);
            }
        }
        clock.stop(batches * batch)
    })
}
