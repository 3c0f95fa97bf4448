//! What a runtime of one thread does alike under each name: spawn, join, yield, sleep, cancel.
//!
//! [`Local`] is no layer of a contender: its functions are the runtime's own, and the workload is compiled for each
//! runtime by itself, as if it had been written out.
#![cfg_attr(not(feature = "peers-uring"), allow(dead_code, reason = "some are for the io_uring runtimes alone"))]

use std::{
    future::Future,
    hint::black_box,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, LocalOptions, LocalRuntime},
    task::spawn_local,
};
use tokio_util::sync::CancellationToken;

use super::{
    hosts::{Arrivals, LocalCountdown, park},
    spawn::{batches, child},
    time::{HOUR, sleeps, spread},
    turns::turns,
};
use crate::harness::{Measurement, Stopwatch};

/// A runtime of one thread.
pub(crate) trait Local: 'static {
    /// Starts the runtime and runs `body` on it, so that it gives way to tasks when it yields.
    fn run<T: 'static>(body: impl Future<Output = T> + 'static) -> T;

    /// Spawns a task whose result is wanted.
    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static;

    /// Spawns a task that nobody joins.
    fn detach(future: impl Future<Output = ()> + 'static);

    /// Gives way to the other tasks.
    fn yield_now() -> impl Future<Output = ()>;

    /// Waits by the runtime's own timer.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;
}

/// tokio's runtime whose tasks need not be `Send`.
#[derive(Debug)]
pub(crate) struct TokioLocal;

impl Local for TokioLocal {
    fn run<T: 'static>(body: impl Future<Output = T> + 'static) -> T {
        let runtime: LocalRuntime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("a runtime starts");
        runtime.block_on(body)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        let handle = spawn_local(future);
        async move { handle.await.expect("a child does not panic") }
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        spawn_local(future);
    }

    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

/// Spawns detached children and waits for the last of a batch.
pub(crate) fn bulk<L: Local>(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    L::run(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let end = LocalCountdown::new(batch);
            for index in 0..batch {
                let end = end.clone();
                L::detach(async move {
                    child(index).await;
                    end.done();
                });
            }
            end.wait().await;
        }
        clock.stop(batches * batch)
    })
}

/// Spawns a child and awaits it, again and again.
pub(super) fn one<L: Local>(ops: usize) -> Measurement {
    L::run(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(L::spawn(child(index)).await);
        }
        clock.stop(ops)
    })
}

/// Spawns children and awaits the handle of each.
pub(super) fn handles<L: Local>(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    L::run(async move {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| L::spawn(child(index))));
            for handle in handles.drain(..) {
                black_box(handle.await);
            }
        }
        clock.stop(batches * batch)
    })
}

/// Tasks that yield to each other.
pub(super) fn yields<L: Local>(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    L::run(async move {
        let clock = Stopwatch::start();
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                L::spawn(async move {
                    for _ in 0..turns {
                        L::yield_now().await;
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

/// Waiters that a token of tokio-util stops, each with a handle that is joined.
pub(super) fn token_cancel<L: Local>(ops: usize) -> Measurement {
    L::run(async move {
        let arrivals = Arrivals::default();
        let token = CancellationToken::new();
        let handles: Vec<_> = (0..ops)
            .map(|_| {
                let (arrivals, token) = (arrivals.clone(), token.clone());
                L::spawn(async move {
                    arrivals.arrive();
                    token.cancelled().await;
                })
            })
            .collect();
        arrived::<L>(&arrivals, ops).await;
        let clock = Stopwatch::start();
        token.cancel();
        for handle in handles {
            handle.await;
        }
        clock.stop(ops)
    })
}

/// Waiters that end with their handles, for runtimes where a dropped handle cancels.
#[cfg_attr(not(feature = "peers-uring"), expect(dead_code, reason = "tokio's handles detach"))]
pub(super) fn drop_handles<L: Local>(ops: usize) -> Measurement {
    L::run(async move {
        let arrivals = Arrivals::default();
        let alive = Rc::new(());
        let handles: Vec<_> = (0..ops)
            .map(|_| {
                let (arrivals, alive) = (arrivals.clone(), alive.clone());
                L::spawn(async move {
                    let _alive = alive;
                    park(arrivals).await;
                })
            })
            .collect();
        arrived::<L>(&arrivals, ops).await;
        let clock = Stopwatch::start();
        drop(handles);
        while Rc::strong_count(&alive) > 1 {
            L::yield_now().await;
        }
        clock.stop(ops)
    })
}

/// Sleeps that are polled once and dropped.
pub(super) fn sleep<L: Local>(ops: usize) -> Measurement {
    L::run(sleeps(ops, || L::sleep(HOUR), L::yield_now))
}

/// The same beside others that wait.
#[cfg(feature = "peers-uring")]
pub(crate) fn beside<L: Local>(ops: usize, live: usize) -> Measurement {
    L::run(super::time::beside(ops, live, L::sleep, L::yield_now))
}

/// Sleeps that end within 10 ms.
pub(crate) fn fire<L: Local>(ops: usize) -> Measurement {
    L::run(async move {
        let arrivals = Arrivals::default();
        let end = LocalCountdown::new(ops);
        let start = Instant::now();
        for index in 0..ops {
            let (arrivals, end) = (arrivals.clone(), end.clone());
            L::detach(async move {
                arrivals.arrive();
                L::sleep((start + spread(index)).saturating_duration_since(Instant::now())).await;
                end.done();
            });
        }
        arrived::<L>(&arrivals, ops).await;
        let clock = Stopwatch::start();
        end.wait().await;
        clock.stop(ops)
    })
}

/// Gives way until all `ops` are there.
pub(crate) async fn arrived<L: Local>(arrivals: &Arrivals, ops: usize) {
    while !arrivals.complete(ops) {
        L::yield_now().await;
    }
}
