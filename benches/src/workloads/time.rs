//! Timers: one that never fires, and 100,000 that fire together.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    time::{Duration, Instant},
};

use async_executor::LocalExecutor;
use async_io::Timer;
use tokio::task::{spawn_local, yield_now};

use super::hosts::{Arrivals, LocalCountdown, on_local_set, on_tokio, on_trine, poll_once};
#[cfg(feature = "peers-uring")]
use super::local;
#[cfg(feature = "peers-uring")]
use super::uring::{Compio, Glommio, Monoio};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "sleep",
        operation: "create a sleep of an hour, poll it once, drop it",
        ops: (320_000, 320_000),
        metric: Metric::Wall,
        goals: &[Goal::new("monoio", 5.0)],
        also: "without a clock read for a timer dropped within its turn",
        contenders: &[
            Contender::native(trine_sleep),
            Contender::peer("tokio", tokio_sleep),
            Contender::peer("async-io", async_io_sleep),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", local::sleep::<Monoio>).needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", local::sleep::<Compio>).needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", local::sleep::<Glommio>).needs(Glommio::available),
        ],
    },
    Workload {
        name: "fire-100k",
        operation: "one of 100,000 sleeps that end within 10 ms fires and its task is joined",
        ops: (100_000, 100_000),
        metric: Metric::Cpu,
        goals: &[Goal::new("LocalSet", 2.0)],
        also: "in CPU time",
        contenders: &[
            Contender::native(trine_fire),
            Contender::peer("LocalSet", tokio_fire).note("detached: no result, a shared count tells the end"),
            Contender::peer("async-io on smol", async_io_fire)
                .note("detached: no result, a shared count tells the end"),
            #[cfg(feature = "peers-uring")]
            Contender::peer("monoio", local::fire::<Monoio>)
                .note("detached: no result, a shared count tells the end")
                .needs(Monoio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("compio", local::fire::<Compio>)
                .note("detached: no result, a shared count tells the end")
                .needs(Compio::available),
            #[cfg(feature = "peers-uring")]
            Contender::peer("glommio", local::fire::<Glommio>)
                .note("detached: no result, a shared count tells the end")
                .needs(Glommio::available),
        ],
    },
];

/// Sleeps per turn: half of the least budget, so that neither trine nor tokio makes a poll wait for a yield.
const PER_TURN: usize = 32;

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// When the first of many sleeps ends: the slowest contender has them all armed by then.
const ARMED: Duration = Duration::from_millis(150);

/// The end of sleep number `index`, after [`ARMED`]: spread over 10 ms, in an order that no queue finds sorted.
pub(super) fn spread(index: usize) -> Duration {
    ARMED + Duration::from_micros((index * 7_919 % 10_000) as u64)
}

/// Makes, polls and drops sleeps, with a yield between turns.
pub(super) async fn sleeps<S: Future, Y: Future>(
    ops: usize,
    sleep: impl Fn() -> S,
    yield_now: impl Fn() -> Y,
) -> Measurement {
    let turns = ops.div_ceil(PER_TURN);
    let clock = Stopwatch::start();
    for _ in 0..turns {
        for _ in 0..PER_TURN {
            // In its place, so that nobody's row has a move of the future in it.
            let mut sleep = pin!(sleep());
            poll_once(sleep.as_mut()).await;
        }
        black_box(yield_now().await);
    }
    clock.stop(turns * PER_TURN)
}

/// Makes, polls and drops sleeps beside `live` others, which have been polled once and wait, at different times.
pub(super) async fn beside<S: Future, Y: Future>(
    ops: usize,
    live: usize,
    sleep: impl Fn(Duration) -> S,
    yield_now: impl Fn() -> Y,
) -> Measurement {
    let mut waiting = Vec::with_capacity(live);
    for index in 0..live {
        let mut other = Box::pin(sleep(HOUR + spread(index)));
        poll_once(other.as_mut()).await;
        waiting.push(other);
        if index % PER_TURN == 0 {
            black_box(yield_now().await);
        }
    }
    sleeps(ops, || sleep(HOUR), yield_now).await
}

pub(crate) fn trine_beside(ops: usize, live: usize) -> Measurement {
    on_trine(async move { Ok(beside(ops, live, trine::sleep, trine::checkpoint).await) })
}

pub(crate) fn tokio_beside(ops: usize, live: usize) -> Measurement {
    on_tokio(beside(ops, live, tokio::time::sleep, yield_now))
}

pub(crate) fn async_io_beside(ops: usize, live: usize) -> Measurement {
    async_io::block_on(beside(ops, live, Timer::after, futures_lite::future::yield_now))
}

fn trine_sleep(ops: usize) -> Measurement {
    on_trine(async move { Ok(sleeps(ops, || trine::sleep(HOUR), trine::checkpoint).await) })
}

fn tokio_sleep(ops: usize) -> Measurement {
    on_tokio(sleeps(ops, || tokio::time::sleep(HOUR), yield_now))
}

fn async_io_sleep(ops: usize) -> Measurement {
    async_io::block_on(sleeps(ops, || Timer::after(HOUR), futures_lite::future::yield_now))
}

pub(crate) fn trine_fire(ops: usize) -> Measurement {
    on_trine(async move {
        let arrivals = Arrivals::default();
        let mut clock = Stopwatch::start();
        let start = trine::Instant::now();
        trine::nursery(async |nursery| {
            for index in 0..ops {
                let arrivals = arrivals.clone();
                nursery.start_soon(async move {
                    arrivals.arrive();
                    trine::sleep_until(start + spread(index)).await?;
                    Ok(())
                });
            }
            while !arrivals.complete(ops) {
                trine::checkpoint().await?;
            }
            clock = Stopwatch::start();
            Ok(())
        })
        .await?;
        Ok(clock.stop(ops))
    })
}

pub(crate) fn tokio_fire(ops: usize) -> Measurement {
    on_local_set(async move {
        let arrivals = Arrivals::default();
        let end = LocalCountdown::new(ops);
        let start = tokio::time::Instant::now();
        for index in 0..ops {
            let (arrivals, end) = (arrivals.clone(), end.clone());
            spawn_local(async move {
                arrivals.arrive();
                tokio::time::sleep_until(start + spread(index)).await;
                end.done();
            });
        }
        while !arrivals.complete(ops) {
            yield_now().await;
        }
        let clock = Stopwatch::start();
        end.wait().await;
        clock.stop(ops)
    })
}

pub(crate) fn async_io_fire(ops: usize) -> Measurement {
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        let arrivals = Arrivals::default();
        let end = LocalCountdown::new(ops);
        let start = Instant::now();
        for index in 0..ops {
            let (arrivals, end) = (arrivals.clone(), end.clone());
            let task = executor.spawn(async move {
                arrivals.arrive();
                Timer::at(start + spread(index)).await;
                end.done();
            });
            task.detach();
        }
        while !arrivals.complete(ops) {
            futures_lite::future::yield_now().await;
        }
        let clock = Stopwatch::start();
        end.wait().await;
        clock.stop(ops)
    }))
}
