//! Dropping 100,000 parked waiters at once, with whatever owns them.

use std::{future::Future, pin::Pin};

use async_executor::LocalExecutor;
use futures_util::stream::FuturesUnordered;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::{
    floor, groups,
    hosts::{Arrivals, on_trine, park, park_all, park_for, poll_once, tokio_runtime},
};
#[cfg(feature = "peers-uring")]
use super::{
    local,
    uring::{Compio, Glommio},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[Workload {
    name: "cancel-drop-100k",
    operation: "drop one of 100,000 parked waiters",
    ops: (100_000, 100_000),
    metric: Metric::Wall,
    goals: &[Goal::new("compio", 2.0)],
    also: "",
    contenders: &[
        Contender::native(trine_drop),
        Contender::floor(floor::drop_waiters),
        Contender::peer("FuturesUnordered", unordered_drop),
        Contender::peer("futures-buffered", groups::buffered_drop),
        Contender::peer("LocalSet", local_drop).note("the whole LocalSet is dropped"),
        Contender::peer("tokio runtime", tokio_drop).note("the whole runtime is dropped: its tasks have no owner"),
        Contender::peer("smol LocalExecutor", smol_drop).note("the whole executor is dropped"),
        #[cfg(feature = "peers-uring")]
        Contender::peer("compio", local::drop_handles::<Compio>)
            .note("the handles are dropped, and the tasks gone when the executor has run")
            .needs(Compio::available),
        #[cfg(feature = "peers-uring")]
        Contender::peer("glommio", local::drop_handles::<Glommio>)
            .note("the handles are dropped, and the tasks gone when the executor has run")
            .needs(Glommio::available),
    ],
}];

fn trine_drop(ops: usize) -> Measurement {
    on_trine(async move {
        let arrivals = Arrivals::default();
        let waiters = arrivals.clone();
        let mut nursery: Pin<Box<dyn Future<Output = trine::Result<()>>>> =
            Box::pin(trine::nursery(async move |nursery| {
                for _ in 0..ops {
                    nursery.start_soon(park_for(waiters.clone()));
                }
                Ok(())
            }));
        while !arrivals.complete(ops) {
            poll_once(&mut nursery).await;
            trine::checkpoint().await?;
        }
        let clock = Stopwatch::start();
        drop(nursery);
        Ok(clock.stop(ops))
    })
}

fn unordered_drop(ops: usize) -> Measurement {
    futures_lite::future::block_on(async move {
        let arrivals = Arrivals::default();
        let mut children: FuturesUnordered<_> = (0..ops).map(|_| park(arrivals.clone())).collect();
        park_all(&mut children, &arrivals, ops).await;
        let clock = Stopwatch::start();
        drop(children);
        clock.stop(ops)
    })
}

fn local_drop(ops: usize) -> Measurement {
    let runtime = tokio_runtime();
    let tasks = LocalSet::new();
    let arrivals = Arrivals::default();
    tasks.block_on(&runtime, async {
        for _ in 0..ops {
            spawn_local(park(arrivals.clone()));
        }
        while !arrivals.complete(ops) {
            yield_now().await;
        }
    });
    let clock = Stopwatch::start();
    drop(tasks);
    clock.stop(ops)
}

fn tokio_drop(ops: usize) -> Measurement {
    let runtime = tokio_runtime();
    let arrivals = Arrivals::default();
    runtime.block_on(async {
        for _ in 0..ops {
            tokio::spawn(park(arrivals.clone()));
        }
        while !arrivals.complete(ops) {
            yield_now().await;
        }
    });
    let clock = Stopwatch::start();
    drop(runtime);
    clock.stop(ops)
}

fn smol_drop(ops: usize) -> Measurement {
    let executor = LocalExecutor::new();
    let arrivals = Arrivals::default();
    for _ in 0..ops {
        executor.spawn(park(arrivals.clone())).detach();
    }
    while !arrivals.complete(ops) {
        executor.try_tick();
    }
    let clock = Stopwatch::start();
    drop(executor);
    clock.stop(ops)
}
