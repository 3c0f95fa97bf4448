//! The contenders that hold parked and sleeping children. A parked one is the same small future for all.

use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::future::{block_on, yield_now};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::{JoinSet, spawn_local};

use super::{Footprint, Gauge, Holder};
#[cfg(feature = "peers-uring")]
use crate::workloads::uring::{Compio, Glommio, Monoio};
use crate::{
    harness::{NATIVE, Side},
    workloads::{
        hosts::{Arrivals, on_local_set, on_smol, on_tokio, on_trine, park, park_for, poll_once},
        local::{Local, TokioLocal, arrived},
    },
};

const fn trine(run: fn(usize) -> Footprint) -> Holder {
    Holder { name: NATIVE, side: Side::Trine, run, available: || Ok(()) }
}

const fn peer(name: &'static str, run: fn(usize) -> Footprint) -> Holder {
    Holder { name, side: Side::Peer, run, available: || Ok(()) }
}

#[cfg(feature = "peers-uring")]
const fn uring(name: &'static str, run: fn(usize) -> Footprint, available: fn() -> Result<(), String>) -> Holder {
    Holder { name, side: Side::Peer, run, available }
}

/// What is held: its key, its name, who holds it.
pub(super) static TABLE: &[(&str, &str, &[Holder])] = &[
    (
        "idle",
        "child that waits for ever",
        &[
            trine(trine_idle),
            peer("FuturesUnordered", unordered_idle),
            peer("futures-buffered", buffered_idle),
            peer("moro", moro_idle),
            peer("smol LocalExecutor", smol_idle),
            peer("LocalSet", local_set_idle),
            peer("tokio LocalRuntime", local_idle::<TokioLocal>),
            peer("tokio spawn", tokio_idle),
            peer("tokio JoinSet", join_set_idle),
            #[cfg(feature = "peers-uring")]
            uring("monoio", local_idle::<Monoio>, Monoio::available),
            #[cfg(feature = "peers-uring")]
            uring("compio", local_idle::<Compio>, Compio::available),
            #[cfg(feature = "peers-uring")]
            uring("glommio", local_idle::<Glommio>, Glommio::available),
        ],
    ),
    ("cancellable", "child that waits for ever, in an operation that a cancellation ends", &[trine(trine_cancellable)]),
    (
        "sleeping",
        "child that sleeps for an hour",
        &[
            trine(trine_sleeping),
            peer("async-io on smol", smol_sleeping),
            peer("LocalSet", local_set_sleeping),
            peer("tokio LocalRuntime", local_sleeping::<TokioLocal>),
            peer("tokio spawn", tokio_sleeping),
            #[cfg(feature = "peers-uring")]
            uring("monoio", local_sleeping::<Monoio>, Monoio::available),
            #[cfg(feature = "peers-uring")]
            uring("compio", local_sleeping::<Compio>, Compio::available),
            #[cfg(feature = "peers-uring")]
            uring("glommio", local_sleeping::<Glommio>, Glommio::available),
        ],
    ),
];

const HOUR: Duration = Duration::from_secs(3_600);

/// Holds `count` children of trine that are what `child` makes, and cancels them when they are measured.
macro_rules! hold_on_trine {
    ($count:ident, $child:expr) => {
        on_trine(async move {
            let arrivals = Arrivals::default();
            trine::nursery(async |nursery| {
                let gauge = Gauge::start();
                for _ in 0..$count {
                    nursery.start_soon($child(arrivals.clone()));
                }
                while !arrivals.complete($count) {
                    trine::checkpoint().await?;
                }
                let footprint = gauge.stop($count);
                nursery.cancel_children();
                Ok(footprint)
            })
            .await
        })
    };
}

fn trine_idle(count: usize) -> Footprint {
    hold_on_trine!(count, park_for)
}

fn trine_cancellable(count: usize) -> Footprint {
    hold_on_trine!(count, |arrivals: Arrivals| async move {
        arrivals.arrive();
        trine::sleep_forever().await?;
        Ok(())
    })
}

fn trine_sleeping(count: usize) -> Footprint {
    hold_on_trine!(count, |arrivals: Arrivals| async move {
        arrivals.arrive();
        Ok(trine::sleep(HOUR).await?)
    })
}

fn unordered_idle(count: usize) -> Footprint {
    block_on(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        let mut children: FuturesUnordered<_> = (0..count).map(|_| park(arrivals.clone())).collect();
        while !arrivals.complete(count) {
            poll_once(children.next()).await;
        }
        gauge.stop(count)
    })
}

fn buffered_idle(count: usize) -> Footprint {
    block_on(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        let mut children = futures_buffered::FuturesUnordered::new();
        for _ in 0..count {
            children.push(park(arrivals.clone()));
        }
        while !arrivals.complete(count) {
            poll_once(children.next()).await;
        }
        gauge.stop(count)
    })
}

fn moro_idle(count: usize) -> Footprint {
    block_on(moro::async_scope!(|scope| -> Footprint {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            scope.spawn(park(arrivals.clone()));
        }
        while !arrivals.complete(count) {
            yield_now().await;
        }
        scope.terminate(gauge.stop(count)).await
    }))
}

fn smol_idle(count: usize) -> Footprint {
    on_smol(async move |executor| {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            executor.spawn(park(arrivals.clone())).detach();
        }
        while !arrivals.complete(count) {
            yield_now().await;
        }
        gauge.stop(count)
    })
}

fn local_set_idle(count: usize) -> Footprint {
    on_local_set(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            spawn_local(park(arrivals.clone()));
        }
        arrived::<TokioLocal>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn tokio_idle(count: usize) -> Footprint {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            tokio::spawn(park(arrivals.clone()));
        }
        arrived::<TokioLocal>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn join_set_idle(count: usize) -> Footprint {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        let mut children = JoinSet::new();
        for _ in 0..count {
            children.spawn(park(arrivals.clone()));
        }
        arrived::<TokioLocal>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn local_idle<L: Local>(count: usize) -> Footprint {
    L::run(async move {
        let arrivals = Arrivals::default();
        // A runtime that keeps no list of its tasks frees one that nothing can wake any more; so the handles are kept, in
        // memory that is there and touched before.
        let mut handles: Vec<_> = (0..count).map(|_| None).collect();
        let gauge = Gauge::start();
        for handle in &mut handles {
            *handle = Some(L::spawn(park(arrivals.clone())));
        }
        arrived::<L>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn local_sleeping<L: Local>(count: usize) -> Footprint {
    L::run(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            let arrivals = arrivals.clone();
            L::detach(async move {
                arrivals.arrive();
                L::sleep(HOUR).await;
            });
        }
        arrived::<L>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn local_set_sleeping(count: usize) -> Footprint {
    on_local_set(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            spawn_local(tokio_sleeper(arrivals.clone()));
        }
        arrived::<TokioLocal>(&arrivals, count).await;
        gauge.stop(count)
    })
}

fn tokio_sleeping(count: usize) -> Footprint {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            tokio::spawn(tokio_sleeper(arrivals.clone()));
        }
        arrived::<TokioLocal>(&arrivals, count).await;
        gauge.stop(count)
    })
}

async fn tokio_sleeper(arrivals: Arrivals) {
    arrivals.arrive();
    tokio::time::sleep(HOUR).await;
}

fn smol_sleeping(count: usize) -> Footprint {
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        let arrivals = Arrivals::default();
        let gauge = Gauge::start();
        for _ in 0..count {
            let arrivals = arrivals.clone();
            let task = executor.spawn(async move {
                arrivals.arrive();
                async_io::Timer::after(HOUR).await;
            });
            task.detach();
        }
        while !arrivals.complete(count) {
            yield_now().await;
        }
        gauge.stop(count)
    }))
}
