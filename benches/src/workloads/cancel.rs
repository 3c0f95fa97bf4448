//! Cancelling 100,000 parked waiters, so that each sees it.

use std::hint::black_box;

use futures_util::{
    future::{AbortHandle, Abortable},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::task::{JoinHandle, JoinSet, spawn_local, yield_now};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::hosts::{Arrivals, on_local_set, on_tokio, on_trine, park, park_all};
#[cfg(feature = "peers-uring")]
use super::local;
#[cfg(feature = "peers-uring")]
use super::uring::{Compio, Glommio, Monoio};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

#[cfg(feature = "peers-uring")]
const TOKEN: &str = "by a CancellationToken of tokio-util; joined by its handles";
const ABORT: &str = "abort drops the task: no code of the waiter sees an error";

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[Workload {
    name: "cancel-100k",
    operation: "cancel one of 100,000 parked waiters and join it",
    ops: (100_000, 100_000),
    metric: Metric::Wall,
    goals: &[Goal::new("monoio", 1.5)],
    also: "",
    contenders: &[
        Contender::native(trine_cancel),
        Contender::peer("FuturesUnordered", unordered_abort).note("every waiter wrapped in Abortable"),
        Contender::peer("LocalSet", local_abort).note(ABORT),
        Contender::peer("tokio spawn", tokio_abort).note(ABORT),
        Contender::peer("tokio JoinSet", join_set_abort).note(ABORT),
        Contender::peer("tokio CancellationToken", token_cancel).note("detached under a TaskTracker: no result"),
        #[cfg(feature = "peers-uring")]
        Contender::peer("monoio", local::token_cancel::<Monoio>).note(TOKEN).needs(Monoio::available),
        #[cfg(feature = "peers-uring")]
        Contender::peer("compio", local::token_cancel::<Compio>).note(TOKEN).needs(Compio::available),
        #[cfg(feature = "peers-uring")]
        Contender::peer("glommio", local::token_cancel::<Glommio>).note(TOKEN).needs(Glommio::available),
    ],
}];

fn trine_cancel(ops: usize) -> Measurement {
    on_trine(async move {
        let arrivals = Arrivals::default();
        let scope = trine::CancelScope::new();
        let mut clock = Stopwatch::start();
        let outcome = scope
            .nursery(async |nursery| {
                for _ in 0..ops {
                    let arrivals = arrivals.clone();
                    nursery.start_soon(async move {
                        arrivals.arrive();
                        trine::sleep_forever().await?;
                        Ok(())
                    });
                }
                while !arrivals.complete(ops) {
                    trine::checkpoint().await?;
                }
                clock = Stopwatch::start();
                scope.cancel();
                Ok(())
            })
            .await?;
        let measurement = clock.stop(ops);
        assert!(outcome.is_none(), "the scope catches what it cancelled");
        Ok(measurement)
    })
}

fn unordered_abort(ops: usize) -> Measurement {
    futures_lite::future::block_on(async move {
        let arrivals = Arrivals::default();
        let mut children = FuturesUnordered::new();
        let mut handles = Vec::with_capacity(ops);
        for _ in 0..ops {
            let (handle, registration) = AbortHandle::new_pair();
            children.push(Abortable::new(park(arrivals.clone()), registration));
            handles.push(handle);
        }
        park_all(&mut children, &arrivals, ops).await;
        let clock = Stopwatch::start();
        for handle in &handles {
            handle.abort();
        }
        while let Some(outcome) = children.next().await {
            assert!(black_box(outcome).is_err());
        }
        clock.stop(ops)
    })
}

/// Aborts parked tokio tasks and joins them.
async fn abort(handles: Vec<JoinHandle<()>>, arrivals: &Arrivals) -> Measurement {
    while !arrivals.complete(handles.len()) {
        yield_now().await;
    }
    let ops = handles.len();
    let clock = Stopwatch::start();
    for handle in &handles {
        handle.abort();
    }
    for handle in handles {
        assert!(handle.await.is_err());
    }
    clock.stop(ops)
}

fn local_abort(ops: usize) -> Measurement {
    on_local_set(async move {
        let arrivals = Arrivals::default();
        let handles = (0..ops).map(|_| spawn_local(park(arrivals.clone()))).collect();
        abort(handles, &arrivals).await
    })
}

fn tokio_abort(ops: usize) -> Measurement {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let handles = (0..ops).map(|_| tokio::spawn(park(arrivals.clone()))).collect();
        abort(handles, &arrivals).await
    })
}

fn join_set_abort(ops: usize) -> Measurement {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let mut children: JoinSet<()> = (0..ops).map(|_| park(arrivals.clone())).collect();
        while !arrivals.complete(ops) {
            yield_now().await;
        }
        let clock = Stopwatch::start();
        children.abort_all();
        while let Some(outcome) = children.join_next().await {
            assert!(outcome.is_err());
        }
        clock.stop(ops)
    })
}

fn token_cancel(ops: usize) -> Measurement {
    on_tokio(async move {
        let arrivals = Arrivals::default();
        let token = CancellationToken::new();
        let tracker = TaskTracker::new();
        for _ in 0..ops {
            let (arrivals, token) = (arrivals.clone(), token.clone());
            tracker.spawn(async move {
                arrivals.arrive();
                token.cancelled().await;
            });
        }
        tracker.close();
        while !arrivals.complete(ops) {
            yield_now().await;
        }
        let clock = Stopwatch::start();
        token.cancel();
        tracker.wait().await;
        clock.stop(ops)
    })
}
