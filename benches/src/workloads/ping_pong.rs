//! A token that goes to and fro over two channels.
//!
//! Both ends are spawned tasks everywhere: tokio wakes the future of `block_on` by another road than a task.

use std::hint::black_box;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::{
    hosts::{on_smol, on_tokio, on_trine},
    python::{self, AnyIo, Trio},
    threads::{self, THREADS},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

const NEAREST: &str = "capacity 1, the nearest it has to a rendezvous";
const SLOT: &str = "a rendezvous asked for, but each sender has one slot of its own";

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[Workload {
    name: "ping-pong",
    operation: "one round trip over two rendezvous channels",
    ops: (200_000, 50_000),
    metric: Metric::Wall,
    goals: &[Goal::new("tokio mpsc", 2.5)],
    also: "",
    contenders: &[
        Contender::native(trine_ping_pong),
        Contender::peer("tokio mpsc", tokio_ping_pong).note(NEAREST),
        Contender::peer("async-channel on smol", async_channel_ping_pong).note(NEAREST),
        Contender::peer("futures mpsc on smol", futures_ping_pong).note(SLOT),
        Contender::peer("tokio mpsc on threads", threads::ping_pong).note(THREADS),
        Contender::reference("Python Trio", python::ping_pong::<Trio>).needs(python::available::<Trio>),
        Contender::reference("Python AnyIO", python::ping_pong::<AnyIo>).needs(python::available::<AnyIo>),
    ],
}];

/// The least capacity that a channel without rendezvous can have.
const LEAST: usize = 1;

/// Why a send or a receive of these programs cannot fail.
const OPEN: &str = "the other end is open";

fn trine_ping_pong(ops: usize) -> Measurement {
    on_trine(async move {
        let (ping, pinged) = trine::channel::<usize>(0);
        let (pong, ponged) = trine::channel::<usize>(0);
        let clock = Stopwatch::start();
        trine::nursery(async move |nursery| {
            nursery.start_soon(async move {
                for index in 0..ops {
                    ping.send(index).await?;
                    black_box(ponged.recv().await?);
                }
                Ok(())
            });
            nursery.start_soon(async move {
                while let Some(index) = pinged.try_next().await? {
                    pong.send(index).await?;
                }
                Ok(())
            });
            Ok(())
        })
        .await?;
        Ok(clock.stop(ops))
    })
}

fn tokio_ping_pong(ops: usize) -> Measurement {
    on_tokio(async move {
        let (ping, mut pinged) = mpsc::channel::<usize>(LEAST);
        let (pong, mut ponged) = mpsc::channel::<usize>(LEAST);
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

fn async_channel_ping_pong(ops: usize) -> Measurement {
    on_smol(async move |executor| {
        let (ping, pinged) = async_channel::bounded::<usize>(LEAST);
        let (pong, ponged) = async_channel::bounded::<usize>(LEAST);
        let clock = Stopwatch::start();
        let player = executor.spawn(async move {
            for index in 0..ops {
                ping.send(index).await.expect(OPEN);
                black_box(ponged.recv().await.expect(OPEN));
            }
        });
        let partner = executor.spawn(async move {
            while let Ok(index) = pinged.recv().await {
                pong.send(index).await.expect(OPEN);
            }
        });
        player.await;
        partner.await;
        clock.stop(ops)
    })
}

fn futures_ping_pong(ops: usize) -> Measurement {
    on_smol(async move |executor| {
        let (mut ping, mut pinged) = futures_channel::mpsc::channel::<usize>(0);
        let (mut pong, mut ponged) = futures_channel::mpsc::channel::<usize>(0);
        let clock = Stopwatch::start();
        let player = executor.spawn(async move {
            for index in 0..ops {
                ping.send(index).await.expect(OPEN);
                black_box(ponged.next().await.expect(OPEN));
            }
        });
        let partner = executor.spawn(async move {
            while let Some(index) = pinged.next().await {
                pong.send(index).await.expect(OPEN);
            }
        });
        player.await;
        partner.await;
        clock.stop(ops)
    })
}
