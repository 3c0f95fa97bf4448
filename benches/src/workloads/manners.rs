//! Manners on tokio: a tree beside tokio's channels and tokio's tasks.
//!
//! tokio gives each task a budget of operations on its channels and sockets; a task that has spent it finds nothing ready
//! any more until it has returned to the runtime. A group of children inside one task that goes on polling them all the
//! same does so in vain, over and over. So a tree asks the host before each child.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::{JoinSet, coop::poll_proceed, spawn_local},
};

use super::hosts::{on_local_set, on_tokio};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

/// Messages that are ready for each child.
const MESSAGES: usize = 1_000;
/// Children that keep the thread busy.
const BUSY: usize = 10_000;

const RENEWED: &str = "a JoinSet whose tasks receive 127 messages in a poll, not 128: one unit is what it takes to renew a budget inside a task";
const MANY_TASKS: &str = "a task for each child: each has a budget of its own";

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "coop-storm",
        operation: "one of 1,000 ready messages of a tokio channel, received by one of 1,000 children in a runtime of tokio",
        ops: (1_000_000, 200_000),
        metric: Metric::Wall,
        goals: &[Goal::new("tokio JoinSet", 1.0)],
        also: "",
        contenders: &[
            Contender::hosted("in tokio", storm_trine),
            Contender::floor(storm_renewed).note(RENEWED),
            Contender::peer("tokio JoinSet", storm_join_set).note(MANY_TASKS),
            Contender::peer("FuturesUnordered", storm_unordered),
        ],
    },
    Workload {
        name: "fairness",
        operation: "longest wait for a turn of a plain tokio task beside 10,000 busy children (200 turns, 40 with --quick)",
        ops: (200, 40),
        metric: Metric::Wall,
        goals: &[],
        also: "bounded: at most 1,024 polls of children between two turns",
        contenders: &[
            Contender::hosted("in tokio", fairness_trine),
            Contender::peer("LocalSet", fairness_local)
                .note("a task for each child, among which the plain one waits its turn"),
            Contender::peer("FuturesUnordered", fairness_unordered),
        ],
    },
];

/// Channels that are full, one for each child, and closed.
fn ready_channels(ops: usize) -> Vec<Receiver<usize>> {
    let children = (ops / MESSAGES).max(1);
    (0..children)
        .map(|_| {
            let (sender, receiver): (Sender<usize>, _) = channel(MESSAGES);
            for message in 0..MESSAGES {
                sender.try_send(message).expect("the channel has room");
            }
            receiver
        })
        .collect()
}

async fn drain(mut receiver: Receiver<usize>) -> usize {
    let mut count = 0;
    poll_fn(|cx| receive(&mut receiver, &mut count, cx)).await;
    count
}

/// Receives until nothing is ready. In one copy for all contenders: what the row is about is next to nothing beside what a
/// message costs, and that differs by more from one inlined copy to the other.
#[inline(never)]
fn receive(receiver: &mut Receiver<usize>, count: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    while ready!(receiver.poll_recv(cx)).is_some() {
        *count += 1;
    }
    Poll::Ready(())
}

fn storm_trine(ops: usize) -> Measurement {
    on_tokio(async move {
        let receivers = ready_channels(ops);
        let total = receivers.len() * MESSAGES;
        let tree = async move {
            let clock = Stopwatch::start();
            let ended = trine::nursery(async |nursery| {
                for receiver in receivers {
                    nursery.start_soon(async move {
                        assert_eq!(drain(receiver).await, MESSAGES);
                        Ok(())
                    });
                }
                Ok(())
            });
            ended.await.expect("a workload does not fail");
            clock.stop(total)
        };
        tokio::spawn(tree).await.expect("the tree does not panic")
    })
}

/// tokio's tasks, but each receives as many messages in a poll as a child of a tree can at best.
fn storm_renewed(ops: usize) -> Measurement {
    storm_tasks(ops, |mut receiver| async move {
        let mut count = 0;
        poll_fn(|cx| {
            ready!(poll_proceed(cx)).made_progress();
            receive(&mut receiver, &mut count, cx)
        })
        .await;
        count
    })
}

fn storm_join_set(ops: usize) -> Measurement {
    storm_tasks(ops, drain)
}

fn storm_tasks<F>(ops: usize, drain: impl Fn(Receiver<usize>) -> F + 'static) -> Measurement
where
    F: Future<Output = usize> + Send + 'static,
{
    on_tokio(async move {
        let receivers = ready_channels(ops);
        let total = receivers.len() * MESSAGES;
        let clock = Stopwatch::start();
        let mut children: JoinSet<usize> = receivers.into_iter().map(drain).collect();
        while let Some(count) = children.join_next().await {
            assert_eq!(count.expect("a child does not panic"), MESSAGES);
        }
        clock.stop(total)
    })
}

fn storm_unordered(ops: usize) -> Measurement {
    on_tokio(async move {
        let receivers = ready_channels(ops);
        let total = receivers.len() * MESSAGES;
        let clock = Stopwatch::start();
        let mut children: FuturesUnordered<_> = receivers.into_iter().map(drain).collect();
        while let Some(count) = children.next().await {
            assert_eq!(count, MESSAGES);
        }
        clock.stop(total)
    })
}

/// Takes `turns` turns and keeps the longest time between two of them.
async fn take_turns(turns: usize, stop: Rc<Cell<bool>>) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..turns {
        let before = Instant::now();
        tokio::task::yield_now().await;
        longest = longest.max(before.elapsed());
    }
    stop.set(true);
    longest
}

/// A measurement whose only figure is a wait.
fn waited(longest: Duration) -> Measurement {
    Measurement { ops: 1, wall: longest, cpu: longest, allocations: 0 }
}

/// What a busy child does in one turn: some 100 ns of work.
fn work() {
    for step in 0..100u32 {
        std::hint::black_box(step);
    }
}

fn fairness_trine(turns: usize) -> Measurement {
    on_local_set(async move {
        let stop = Rc::new(Cell::new(false));
        let plain = spawn_local(take_turns(turns, stop.clone()));
        let busy = trine::local_nursery(async |nursery| {
            for _ in 0..BUSY {
                let stop = stop.clone();
                nursery.start_soon(async move {
                    while !stop.get() {
                        work();
                        trine::checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        });
        busy.await.expect("a workload does not fail");
        waited(plain.await.expect("the plain task does not panic"))
    })
}

fn fairness_local(turns: usize) -> Measurement {
    on_local_set(async move {
        let stop = Rc::new(Cell::new(false));
        let plain = spawn_local(take_turns(turns, stop.clone()));
        let busy: Vec<_> = (0..BUSY).map(|_| spawn_local(busy_child(stop.clone()))).collect();
        for child in busy {
            child.await.expect("a child does not panic");
        }
        waited(plain.await.expect("the plain task does not panic"))
    })
}

fn fairness_unordered(turns: usize) -> Measurement {
    on_local_set(async move {
        let stop = Rc::new(Cell::new(false));
        let plain = spawn_local(take_turns(turns, stop.clone()));
        let mut busy: FuturesUnordered<_> = (0..BUSY).map(|_| busy_child(stop.clone())).collect();
        while busy.next().await.is_some() {}
        waited(plain.await.expect("the plain task does not panic"))
    })
}

async fn busy_child(stop: Rc<Cell<bool>>) {
    while !stop.get() {
        work();
        tokio::task::yield_now().await;
    }
}
