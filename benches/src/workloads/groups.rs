//! The groups of futures that need no executor: futures-buffered, futures-concurrency and moro.

use std::hint::black_box;

use futures_concurrency::future::Join;
use futures_lite::future::block_on;
use futures_util::stream::StreamExt;

use super::{
    hosts::{Arrivals, park, poll_once},
    spawn::{batches, child},
    turns::{turns, wake_and_wait},
};
use crate::harness::{Measurement, Stopwatch};

type Buffered<F> = futures_buffered::FuturesUnordered<F>;

/// What a join of a fixed set cannot do.
pub(super) const FIXED: &str = "a fixed set: nothing joins it later; no panic guard";

pub(crate) fn buffered(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    block_on(async move {
        let mut children = Buffered::new();
        let clock = Stopwatch::start();
        for _ in 0..batches {
            for index in 0..batch {
                children.push(child(index));
            }
            while let Some(value) = children.next().await {
                black_box(value);
            }
        }
        clock.stop(batches * batch)
    })
}

pub(super) fn buffered_new(ops: usize) -> Measurement {
    block_on(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            let mut children = Buffered::new();
            children.push(child(index));
            black_box(children.next().await);
        }
        clock.stop(ops)
    })
}

pub(super) fn buffered_yields(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    block_on(async move {
        let clock = Stopwatch::start();
        let mut children: Buffered<_> = (0..tasks).map(|_| yield_often(turns)).collect();
        while children.next().await.is_some() {}
        clock.stop(turns * tasks)
    })
}

pub(super) fn buffered_drop(ops: usize) -> Measurement {
    block_on(async move {
        let arrivals = Arrivals::default();
        let mut children: Buffered<_> = (0..ops).map(|_| park(arrivals.clone())).collect();
        while !arrivals.complete(ops) {
            poll_once(children.next()).await;
        }
        let clock = Stopwatch::start();
        drop(children);
        clock.stop(ops)
    })
}

pub(crate) fn joined(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    block_on(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            let children: Vec<_> = (0..batch).map(child).collect();
            black_box(children.join().await);
        }
        clock.stop(batches * batch)
    })
}

pub(super) fn joined_yields(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    block_on(async move {
        let clock = Stopwatch::start();
        let children: Vec<_> = (0..tasks).map(|_| yield_often(turns)).collect();
        children.join().await;
        clock.stop(turns * tasks)
    })
}

pub(crate) fn moro(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    block_on(async move {
        let clock = Stopwatch::start();
        for _ in 0..batches {
            moro::async_scope!(|scope| {
                for index in 0..batch {
                    scope.spawn(child(index));
                }
            })
            .await;
        }
        clock.stop(batches * batch)
    })
}

pub(super) fn moro_one(ops: usize) -> Measurement {
    block_on(moro::async_scope!(|scope| {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(scope.spawn(child(index)).await);
        }
        clock.stop(ops)
    }))
}

pub(super) fn moro_handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    block_on(moro::async_scope!(|scope| {
        let mut handles = Vec::with_capacity(batch);
        let clock = Stopwatch::start();
        for _ in 0..batches {
            handles.extend((0..batch).map(|index| scope.spawn(child(index))));
            for handle in handles.drain(..) {
                black_box(handle.await);
            }
        }
        clock.stop(batches * batch)
    }))
}

pub(super) fn moro_yields(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    block_on(async move {
        let clock = Stopwatch::start();
        moro::async_scope!(|scope| {
            for _ in 0..tasks {
                scope.spawn(yield_often(turns));
            }
        })
        .await;
        clock.stop(turns * tasks)
    })
}

/// A child that yields `turns` times.
async fn yield_often(turns: usize) {
    for _ in 0..turns {
        wake_and_wait().await;
    }
}
