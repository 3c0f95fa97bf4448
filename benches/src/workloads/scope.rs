//! Cancel scopes and timeouts around a body that is ready at once, and the check inside them.

use std::{future::Future, hint::black_box, pin::Pin, time::Duration};

use futures_lite::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{
    hosts::{on_tokio, on_trine},
    python::{self, AnyIo, Trio},
};
use crate::harness::{Contender, Goal, Measurement, Metric, Stopwatch, Workload};

/// The rows of this family.
pub(crate) static WORKLOADS: &[Workload] = &[
    Workload {
        name: "move-on-after",
        operation: "a timeout of one second around a ready body",
        ops: (500_000, 100_000),
        metric: Metric::Wall,
        goals: &[Goal::new("tokio timeout", 1.0)],
        also: "",
        contenders: &[
            Contender::native(trine_move_on_after),
            Contender::peer("tokio timeout", tokio_timeout),
            Contender::reference("Python Trio", python::timeout::<Trio>).needs(python::available::<Trio>),
            Contender::reference("Python AnyIO", python::timeout::<AnyIo>).needs(python::available::<AnyIo>),
            Contender::reference("async-io", async_io_timeout)
                .note("a race that a ready body wins before any timer is made"),
        ],
    },
    Workload {
        name: "scope",
        operation: "enter and exit a cancel scope around a ready body",
        ops: (500_000, 100_000),
        metric: Metric::Wall,
        goals: &[],
        also: "",
        contenders: &[
            Contender::native(trine_scope),
            Contender::peer("tokio CancellationToken", token_scope).note("a child token and run_until_cancelled"),
        ],
    },
    Workload {
        name: "check-1",
        operation: "look for cancellation without a yield, in one scope",
        ops: (1_000_000, 200_000),
        metric: Metric::Wall,
        goals: &[],
        also: "<= 40 instructions",
        contenders: &[
            Contender::native(|ops| trine_check(ops, 1)),
            Contender::peer("tokio CancellationToken", |ops| token_check(ops, 1)),
        ],
    },
    Workload {
        name: "check-8",
        operation: "look for cancellation without a yield, in eight scopes",
        ops: (1_000_000, 200_000),
        metric: Metric::Wall,
        goals: &[],
        also: "<= 40 instructions",
        contenders: &[
            Contender::native(|ops| trine_check(ops, 8)),
            Contender::peer("tokio CancellationToken", |ops| token_check(ops, 8)),
        ],
    },
];

const SECOND: Duration = Duration::from_secs(1);

fn trine_move_on_after(ops: usize) -> Measurement {
    on_trine(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(trine::move_on_after(SECOND, async move { Ok(black_box(index)) }).await?);
        }
        Ok(clock.stop(ops))
    })
}

fn tokio_timeout(ops: usize) -> Measurement {
    on_tokio(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            let _ = black_box(tokio::time::timeout(SECOND, async move { black_box(index) }).await);
        }
        clock.stop(ops)
    })
}

fn async_io_timeout(ops: usize) -> Measurement {
    async_io::block_on(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            let timeout = async {
                async_io::Timer::after(SECOND).await;
                None
            };
            black_box(async move { Some(black_box(index)) }.or(timeout).await);
        }
        clock.stop(ops)
    })
}

fn trine_scope(ops: usize) -> Measurement {
    on_trine(async move {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(trine::CancelScope::new().run(async move { Ok(black_box(index)) }).await?);
        }
        Ok(clock.stop(ops))
    })
}

fn token_scope(ops: usize) -> Measurement {
    on_tokio(async move {
        let outer = CancellationToken::new();
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(outer.child_token().run_until_cancelled(async move { black_box(index) }).await);
        }
        clock.stop(ops)
    })
}

fn trine_check(ops: usize, depth: usize) -> Measurement {
    fn scopes(ops: usize, depth: usize) -> Pin<Box<dyn Future<Output = trine::Result<Measurement>> + Send>> {
        if depth == 0 {
            return Box::pin(async move {
                let clock = Stopwatch::start();
                for _ in 0..ops {
                    black_box(trine::checkpoint_if_cancelled())?;
                }
                Ok(clock.stop(ops))
            });
        }
        Box::pin(async move {
            let outcome = trine::CancelScope::new().run(scopes(ops, depth - 1)).await?;
            Ok(outcome.expect("nobody cancels the scope"))
        })
    }

    on_trine(scopes(ops, depth))
}

fn token_check(ops: usize, depth: usize) -> Measurement {
    let outermost = CancellationToken::new();
    let innermost = (1..depth).fold(outermost.clone(), |outer, _| outer.child_token());
    let clock = Stopwatch::start();
    for _ in 0..ops {
        assert!(!black_box(&innermost).is_cancelled());
    }
    clock.stop(ops)
}
