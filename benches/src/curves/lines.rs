//! The curves and who is on them.

use super::{Curve, Line, Run};
#[cfg(feature = "peers-uring")]
use crate::workloads::uring::{Compio, Glommio, Monoio};
use crate::{
    echo,
    harness::{Measurement, NATIVE, Side},
    workloads::{
        groups,
        local::{self, TokioLocal},
        spawn, threads, time, wake,
    },
};

const POWERS: &[usize] = &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// All curves.
pub(super) static CURVES: &[Curve] = &[
    Curve {
        name: "children",
        title: "start_soon and join, ns per child",
        axis: "children of a nursery",
        sizes: POWERS,
        ops: (100_000, 20_000),
        quick: 100_000,
        lines: children,
    },
    Curve {
        name: "levels",
        title: "handshake with a leaf, ns",
        axis: "levels between driver and leaf",
        sizes: &[1, 2, 4, 8, 16, 32, 64],
        ops: (50_000, 10_000),
        quick: 64,
        lines: levels,
    },
    Curve {
        name: "timers",
        title: "create, poll and drop a sleep, ns",
        axis: "other timers that wait",
        sizes: POWERS,
        ops: (64_000, 16_000),
        quick: 1_000_000,
        lines: timers,
    },
    Curve {
        name: "firing",
        title: "timers that fire within 10 ms, ns of CPU per timer",
        axis: "timers",
        sizes: &[1, 10, 100, 1_000, 10_000, 100_000],
        ops: (1, 1),
        quick: 100_000,
        lines: firing,
    },
    Curve {
        name: "connections",
        title: "echo of 64 B, ns of the server's CPU per request",
        axis: "connections",
        sizes: &[1, 10, 100, 1_000, 10_000],
        ops: (1, 1),
        quick: 1_000,
        lines: connections,
    },
];

#[cfg(feature = "peers-uring")]
const FEW_WAKERS: &str = "a task of glommio counts its wakers in 16 bits, and panics";

type Program = fn(usize, usize) -> Measurement;

fn trine(run: Program) -> Line {
    Line { name: NATIVE, side: Side::Trine, run: Run::Program(run), available: || Ok(()), most: None }
}

fn peer(name: &'static str, run: Program) -> Line {
    Line { name, side: Side::Peer, run: Run::Program(run), available: || Ok(()), most: None }
}

#[cfg(feature = "peers-uring")]
fn uring(monoio: Program, compio: Program, glommio: Program) -> [Line; 3] {
    let line = |name, run, available| Line { name, side: Side::Peer, run: Run::Program(run), available, most: None };
    [
        line("monoio", monoio, Monoio::available as fn() -> Result<(), String>),
        line("compio", compio, Compio::available),
        line("glommio", glommio, Glommio::available),
    ]
}

/// Lines that wait, which is why they are judged by CPU time.
fn by_cpu(lines: Vec<Line>) -> Vec<Line> {
    let waiting = |line: Line| match line.run {
        Run::Program(run) => Line { run: Run::Waiting(run), ..line },
        Run::Waiting(_) | Run::Echo => line,
    };
    lines.into_iter().map(waiting).collect()
}

fn children() -> Vec<Line> {
    vec![
        trine(spawn::trine_start_soon),
        peer("FuturesUnordered", spawn::unordered),
        peer("futures-buffered", groups::buffered),
        peer("futures-concurrency", groups::joined),
        peer("moro", groups::moro),
        peer("smol LocalExecutor", spawn::smol_detached),
        peer("LocalSet", spawn::local_detached),
        peer("tokio LocalRuntime", local::bulk::<TokioLocal>),
        peer("tokio spawn", spawn::tokio_detached),
        peer("tokio threads", threads::bulk),
        peer("tokio JoinSet", spawn::join_set),
    ]
    .into_iter()
    .chain({
        #[cfg(feature = "peers-uring")]
        let lines = uring(local::bulk::<Monoio>, local::bulk::<Compio>, local::bulk::<Glommio>);
        #[cfg(not(feature = "peers-uring"))]
        let lines = [];
        lines
    })
    .collect()
}

fn levels() -> Vec<Line> {
    vec![trine(wake::trine), peer("FuturesUnordered", wake::unordered), peer("tokio JoinSet", wake::join_set)]
}

fn timers() -> Vec<Line> {
    vec![trine(time::trine_beside), peer("tokio", time::tokio_beside), peer("async-io", time::async_io_beside)]
        .into_iter()
        .chain({
            #[cfg(feature = "peers-uring")]
            let lines = uring(local::beside::<Monoio>, local::beside::<Compio>, local::beside::<Glommio>)
                .map(|line| Line { most: (line.name == "glommio").then_some((10_000, FEW_WAKERS)), ..line });
            #[cfg(not(feature = "peers-uring"))]
            let lines = [];
            lines
        })
        .collect()
}

fn firing() -> Vec<Line> {
    let lines = vec![
        trine(|_, timers| time::trine_fire(timers)),
        peer("LocalSet", |_, timers| time::tokio_fire(timers)),
        peer("async-io on smol", |_, timers| time::async_io_fire(timers)),
    ];
    #[cfg(feature = "peers-uring")]
    let lines = lines
        .into_iter()
        .chain(uring(
            |_, timers| local::fire::<Monoio>(timers),
            |_, timers| local::fire::<Compio>(timers),
            |_, timers| local::fire::<Glommio>(timers),
        ))
        .collect();
    by_cpu(lines)
}

fn connections() -> Vec<Line> {
    let line = |server: &echo::Server| Line {
        name: server.name,
        side: server.side,
        run: Run::Echo,
        available: server.available,
        most: None,
    };
    echo::SERVERS.iter().map(line).collect()
}
