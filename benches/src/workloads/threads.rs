//! tokio's runtime of many threads. Its tasks start on a worker: from outside, each spawn would wake one.

use std::hint::black_box;

use tokio::{sync::mpsc, task::yield_now};

use super::{
    hosts::{Countdown, on_tokio_threads},
    spawn::{batches, child},
    turns::turns,
};
use crate::harness::{Measurement, Stopwatch};

/// What makes it another thing to compare with.
pub(super) const THREADS: &str = "its tasks spread over the machine's cores";

/// Why a send or a receive of these programs cannot fail.
const OPEN: &str = "the other end is open";

pub(crate) fn bulk(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_tokio_threads(async move {
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

pub(super) fn one(ops: usize) -> Measurement {
    on_tokio_threads(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(tokio::spawn(child(index)).await.expect("a child does not panic"));
        }
        clock.stop(ops)
    })
}

pub(super) fn handles(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    on_tokio_threads(async move {
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

pub(super) fn yields(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    on_tokio_threads(async move {
        let clock = Stopwatch::start();
        let task = |_| {
            tokio::spawn(async move {
                for _ in 0..turns {
                    yield_now().await;
                }
            })
        };
        let handles: Vec<_> = (0..tasks).map(task).collect();
        for handle in handles {
            handle.await.expect("a task does not panic");
        }
        clock.stop(turns * tasks)
    })
}

pub(super) fn ping_pong(ops: usize) -> Measurement {
    on_tokio_threads(async move {
        let (ping, mut pinged) = mpsc::channel::<usize>(1);
        let (pong, mut ponged) = mpsc::channel::<usize>(1);
        let clock = Stopwatch::start();
        let player = tokio::spawn(async move {
            for index in 0..ops {
                ping.send(index).await.expect(OPEN);
                black_box(ponged.recv().await.expect(OPEN));
            }
        });
        let partner = tokio::spawn(async move {
            while let Some(index) = pinged.recv().await {
                pong.send(index).await.expect(OPEN);
            }
        });
        player.await.expect("the player does not panic");
        partner.await.expect("the partner does not panic");
        clock.stop(ops)
    })
}

pub(super) fn stream(ops: usize, capacity: usize) -> Measurement {
    on_tokio_threads(async move {
        let (sender, mut receiver) = mpsc::channel::<usize>(capacity);
        let clock = Stopwatch::start();
        let producer = tokio::spawn(async move {
            for index in 0..ops {
                sender.send(index).await.expect(OPEN);
            }
        });
        let consumer = tokio::spawn(async move {
            while let Some(index) = receiver.recv().await {
                black_box(index);
            }
        });
        producer.await.expect("the producer does not panic");
        consumer.await.expect("the consumer does not panic");
        clock.stop(ops)
    })
}
