//! A stream of items through one channel.
//!
//! Both ends are spawned tasks everywhere: tokio wakes the future of `block_on` by another road than a task.

use std::hint::black_box;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::{
    hosts::{on_smol, on_tokio, on_trine},
    threads::{self, THREADS},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

const NEAREST: &str = "capacity 1, the nearest it has to a rendezvous";
const SLOT: &str = "a rendezvous asked for, but each sender has one slot of its own";
/// futures' capacity is the buffer and a slot for each sender: asked for one less, it has the same.
const SAME_SLOTS: &str = "asked for one less: each sender has one slot of its own";

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "stream-0",
        operation: "one item through a rendezvous channel",
        ops: (300_000, 80_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &[
            Contender::native(|ops| trine_stream(ops, 0)),
            Contender::peer("tokio mpsc", |ops| tokio_stream(ops, 1)).note(NEAREST),
            Contender::peer("tokio mpsc on threads", |ops| threads::stream(ops, 1)).note(THREADS),
            Contender::peer("async-channel on smol", |ops| async_channel_stream(ops, 1)).note(NEAREST),
            Contender::peer("futures mpsc on smol", |ops| futures_stream(ops, 0)).note(SLOT),
            Contender::reference("futures mpsc on trine", |ops| futures_stream_on_trine(ops, 0)).note(SLOT),
        ],
    },
    Workload {
        name: "stream-1",
        operation: "one item through a channel of capacity 1",
        ops: (300_000, 80_000),
        metric: Metric::Wall,
        goals: &[Goal::new("tokio mpsc", 4.0)],
        also: "",
        contenders: &[
            Contender::native(|ops| trine_stream(ops, 1)),
            Contender::peer("tokio mpsc", |ops| tokio_stream(ops, 1)),
            Contender::peer("tokio mpsc on threads", |ops| threads::stream(ops, 1)).note(THREADS),
            Contender::peer("async-channel on smol", |ops| async_channel_stream(ops, 1)),
            Contender::peer("futures mpsc on smol", |ops| futures_stream(ops, 0)).note(SAME_SLOTS),
            Contender::reference("futures mpsc on trine", |ops| futures_stream_on_trine(ops, 0)).note(SAME_SLOTS),
        ],
    },
    Workload {
        name: "stream-128",
        operation: "one item through a channel of capacity 128",
        ops: (1_000_000, 600_000),
        metric: Metric::Wall,
        goals: &[Goal::new("tokio mpsc", 2.4)],
        also: "",
        contenders: &[
            Contender::native(|ops| trine_stream(ops, 128)),
            Contender::peer("tokio mpsc", |ops| tokio_stream(ops, 128)),
            Contender::peer("tokio mpsc on threads", |ops| threads::stream(ops, 128)).note(THREADS),
            Contender::peer("async-channel on smol", |ops| async_channel_stream(ops, 128)),
            Contender::peer("futures mpsc on smol", |ops| futures_stream(ops, 127)).note(SAME_SLOTS),
            Contender::reference("futures mpsc on trine", |ops| futures_stream_on_trine(ops, 127)).note(SAME_SLOTS),
        ],
    },
];

/// Why a send or a receive of these programs cannot fail.
const OPEN: &str = "the other end is open";

fn trine_stream(ops: usize, capacity: usize) -> Measurement {
    on_trine(async move {
        let (sender, receiver) = trine::channel::<usize>(capacity);
        let clock = Stopwatch::start();
        trine::nursery(async move |nursery| {
            nursery.start_soon(async move {
                for index in 0..ops {
                    sender.send(index).await?;
                }
                Ok(())
            });
            nursery.start_soon(async move {
                while let Some(index) = receiver.try_next().await? {
                    black_box(index);
                }
                Ok(())
            });
            Ok(())
        })
        .await?;
        Ok(clock.stop(ops))
    })
}

fn futures_stream_on_trine(ops: usize, capacity: usize) -> Measurement {
    on_trine(async move {
        let (mut sender, mut receiver) = futures_channel::mpsc::channel::<usize>(capacity);
        let clock = Stopwatch::start();
        trine::nursery(async move |nursery| {
            nursery.start_soon(async move {
                for index in 0..ops {
                    sender.send(index).await?;
                }
                Ok(())
            });
            nursery.start_soon(async move {
                while let Some(index) = receiver.next().await {
                    black_box(index);
                }
                Ok(())
            });
            Ok(())
        })
        .await?;
        Ok(clock.stop(ops))
    })
}

fn tokio_stream(ops: usize, capacity: usize) -> Measurement {
    on_tokio(async move {
        let (sender, mut receiver) = mpsc::channel::<usize>(capacity);
        let clock = Stopwatch::start();
        let source = tokio::spawn(async move {
            for index in 0..ops {
                sender.send(index).await.expect(OPEN);
            }
        });
        let sink = tokio::spawn(async move {
            while let Some(index) = receiver.recv().await {
                black_box(index);
            }
        });
        source.await.expect("the source does not panic");
        sink.await.expect("the sink does not panic");
        clock.stop(ops)
    })
}

fn async_channel_stream(ops: usize, capacity: usize) -> Measurement {
    on_smol(async move |executor| {
        let (sender, receiver) = async_channel::bounded::<usize>(capacity);
        let clock = Stopwatch::start();
        let source = executor.spawn(async move {
            for index in 0..ops {
                sender.send(index).await.expect(OPEN);
            }
        });
        let sink = executor.spawn(async move {
            while let Ok(index) = receiver.recv().await {
                black_box(index);
            }
        });
        source.await;
        sink.await;
        clock.stop(ops)
    })
}

fn futures_stream(ops: usize, capacity: usize) -> Measurement {
    on_smol(async move |executor| {
        let (mut sender, mut receiver) = futures_channel::mpsc::channel::<usize>(capacity);
        let clock = Stopwatch::start();
        let source = executor.spawn(async move {
            for index in 0..ops {
                sender.send(index).await.expect(OPEN);
            }
        });
        let sink = executor.spawn(async move {
            while let Some(index) = receiver.next().await {
                black_box(index);
            }
        });
        source.await;
        sink.await;
        clock.stop(ops)
    })
}
