//! Giving way: tasks that do nothing but yield to each other.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::{spawn_local, yield_now};

#[cfg(feature = "peers-uring")]
use super::uring::{Compio, Glommio, Monoio, NO_YIELD};
use super::{
    floor, groups,
    hosts::{on_local_set, on_smol, on_tokio, on_trine},
    local::{self, TokioLocal},
    python::{self, AnyIo, Trio},
    threads::{self, THREADS},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

const NO_CHECK: &str = "looks for no cancellation";

/// The contenders of a row, for one size.
macro_rules! contenders {
    ($tasks:literal $(, $python:expr)*) => {
        [
            Contender::native(|ops| trine(ops, $tasks)),
            Contender::floor(|ops| floor::yields(ops, $tasks)),
            Contender::peer("FuturesUnordered", |ops| unordered(ops, $tasks)).note(NO_CHECK),
            Contender::peer("LocalSet", |ops| local_set(ops, $tasks)).note(NO_CHECK),
            Contender::peer("tokio spawn", |ops| tokio_spawn(ops, $tasks)).note(NO_CHECK),
            Contender::peer("smol LocalExecutor", |ops| smol(ops, $tasks)).note(NO_CHECK),
            Contender::peer("tokio LocalRuntime", |ops| local::yields::<TokioLocal>(ops, $tasks)).note(NO_CHECK),
            Contender::peer("futures-buffered", |ops| groups::buffered_yields(ops, $tasks)).note(NO_CHECK),
            Contender::peer("futures-concurrency", |ops| groups::joined_yields(ops, $tasks)).note(groups::FIXED),
            Contender::peer("moro", |ops| groups::moro_yields(ops, $tasks)).note(NO_CHECK),
            Contender::peer("tokio threads", |ops| threads::yields(ops, $tasks)).note(THREADS),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", |ops| local::yields::<Monoio>(ops, $tasks))
                .note(NO_YIELD)
                .needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", |ops| local::yields::<Compio>(ops, $tasks))
                .note(NO_CHECK)
                .needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", |ops| local::yields::<Glommio>(ops, $tasks))
                .note(NO_CHECK)
                .needs(Glommio::available),
            $($python,)*
        ]
    };
}

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "yield-1",
        operation: "yield of the only task",
        ops: (1_000_000, 300_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &contenders!(1),
    },
    Workload {
        name: "yield-100",
        operation: "yield among 100 tasks",
        ops: (1_000_000, 300_000),
        metric: Metric::Wall,
        goals: &[Goal::new("compio", 3.0)],
        also: "",
        contenders: &contenders!(
            100,
            Contender::reference("Python Trio", |ops| python::yields::<Trio>(ops, 100))
                .needs(python::available::<Trio>),
            Contender::reference("Python AnyIO", |ops| python::yields::<AnyIo>(ops, 100))
                .needs(python::available::<AnyIo>)
        ),
    },
    Workload {
        name: "yield-10k",
        operation: "yield among 10,000 tasks",
        // So many that the spawns, which are inside the clock, do not show.
        ops: (3_000_000, 1_000_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &contenders!(10_000),
    },
];

/// Yields of each task, at least one.
pub(super) fn turns(ops: usize, tasks: usize) -> usize {
    (ops / tasks).max(1)
}

/// The plain yield that needs no help from an executor.
pub(super) fn wake_and_wait() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

fn trine(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    on_trine(async move {
        let clock = Stopwatch::start();
        trine::nursery(async move |nursery| {
            for _ in 0..tasks {
                nursery.start_soon(async move {
                    for _ in 0..turns {
                        trine::checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        Ok(clock.stop(turns * tasks))
    })
}

fn unordered(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    futures_lite::future::block_on(async move {
        let clock = Stopwatch::start();
        let mut children: FuturesUnordered<_> = (0..tasks)
            .map(|_| async move {
                for _ in 0..turns {
                    wake_and_wait().await;
                }
            })
            .collect();
        while children.next().await.is_some() {}
        clock.stop(turns * tasks)
    })
}

/// Yields `turns` times by tokio's own means.
async fn tokio_turns(turns: usize) {
    for _ in 0..turns {
        yield_now().await;
    }
}

fn local_set(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    on_local_set(async move {
        let clock = Stopwatch::start();
        let handles: Vec<_> = (0..tasks).map(|_| spawn_local(tokio_turns(turns))).collect();
        for handle in handles {
            handle.await.expect("a task does not panic");
        }
        clock.stop(turns * tasks)
    })
}

fn tokio_spawn(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    on_tokio(async move {
        let clock = Stopwatch::start();
        let handles: Vec<_> = (0..tasks).map(|_| tokio::spawn(tokio_turns(turns))).collect();
        for handle in handles {
            handle.await.expect("a task does not panic");
        }
        clock.stop(turns * tasks)
    })
}

fn smol(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    on_smol(async move |executor| {
        let clock = Stopwatch::start();
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                executor.spawn(async move {
                    for _ in 0..turns {
                        futures_lite::future::yield_now().await;
                    }
                })
            })
            .collect();
        for handle in handles {
            handle.await;
        }
        clock.stop(turns * tasks)
    })
}
