//! Instruments and statistics: what a run tells of its tasks.

use super::cancel_tools::{SECOND, after, checkpoint, foreign, forever};
use crate::case::{Case, on_host, portable};
use crate::host::{Host, HostError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use trine::inspect::{self, Instrument, TaskInfo};
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{Builder, CancelScope, Error, Result, nursery};

pub(super) const CASES: &[Case] = &[
    on_host!(hooks_come_in_order, "instrument.order", "divergence 10"),
    on_host!(
        steps_of_two_tasks_interleave,
        "instrument.interleave",
        "trio test_instrumentation.py::test_instruments_interleave"
    ),
    on_host!(hooks_are_optional, "instrument.optional", "trio test_instrumentation.py::test_null_instrument"),
    on_host!(step_hooks_run_inside_the_task, "instrument.context", "design 7"),
    on_host!(every_task_that_was_spawned_exits, "instrument.exits", "divergence 5"),
    on_host!(dropped_tasks_exit_too, "instrument.exits", "divergence 5"),
    on_host!(parked_task_takes_no_steps, "instrument.steps", "divergence 2"),
    on_host!(cancelled_waiters_take_one_step_each, "instrument.steps", "divergence 2"),
    portable!(task_knows_its_name_and_parent, "inspect.task", "design 7"),
    portable!(statistics_count_tasks_and_timers, "inspect.statistics", "design 7"),
];

/// Writes down what it is told, as `hook name`.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, hook: &str, task: &TaskInfo) {
        if let Some(name) = &task.name {
            self.0.lock().unwrap().push(format!("{hook} {name}"));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        self.take().into_iter().fold(BTreeMap::new(), |mut counts, event| {
            *counts.entry(event).or_default() += 1;
            counts
        })
    }
}

impl Instrument for Recorder {
    fn task_spawned(&self, task: &TaskInfo) {
        self.note("spawned", task);
    }

    fn before_step(&self, task: &TaskInfo) {
        self.note("before", task);
    }

    fn after_step(&self, task: &TaskInfo) {
        self.note("after", task);
    }

    fn task_exited(&self, task: &TaskInfo) {
        self.note("exited", task);
    }
}

fn run<T: Send + 'static>(
    host: &dyn Host,
    instrument: impl Instrument,
    fut: impl Future<Output = T> + Send + 'static,
) -> std::result::Result<T, HostError> {
    host.run(Builder::new().clock(MockClock::new().autojump()).instrument(instrument), fut)
}

fn hooks_come_in_order(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    run(
        host,
        recorder.clone(),
        nursery(async |n| {
            n.task("t").start_soon(async {
                trine::checkpoint().await?;
                after(1).await
            });
            Ok(())
        }),
    )??;
    let steps = ["before t", "after t"];
    let expected: Vec<_> = ["spawned t"].into_iter().chain([steps; 3].concat()).chain(["exited t"]).collect();
    assert_eq!(recorder.take(), expected);
    Ok(())
}

fn steps_of_two_tasks_interleave(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    run(
        host,
        recorder.clone(),
        nursery(async |n| {
            for name in ["a", "b"] {
                n.task(name).start_soon(async {
                    for _ in 0..5 {
                        trine::checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        }),
    )??;
    let steps: Vec<_> = recorder.take().into_iter().filter(|event| event.starts_with("before")).collect();
    assert_eq!(steps.len(), 12);
    // Each pass has both; which one comes first in it is free.
    for pass in steps.chunks(2) {
        assert_ne!(pass[0], pass[1], "{steps:?}");
    }
    Ok(())
}

fn hooks_are_optional(host: &dyn Host) -> Result<()> {
    struct Nothing;
    impl Instrument for Nothing {}
    let value = run(host, Nothing, nursery(async |n| Ok(n.spawn(async { Ok(4) }).await?)))??;
    assert_eq!(value, 4);
    Ok(())
}

fn step_hooks_run_inside_the_task(host: &dyn Host) -> Result<()> {
    #[derive(Clone, Default)]
    struct Context(Arc<Mutex<Vec<bool>>>);
    impl Context {
        fn look(&self, task: &TaskInfo) {
            if task.name.is_some() {
                let current = inspect::current_task().is_some_and(|current| current.id == task.id);
                self.0.lock().unwrap().push(current);
            }
        }
    }
    impl Instrument for Context {
        fn before_step(&self, task: &TaskInfo) {
            self.look(task);
        }

        fn after_step(&self, task: &TaskInfo) {
            self.look(task);
        }
    }
    let context = Context::default();
    run(
        host,
        context.clone(),
        nursery(async |n| {
            n.task("t").start_soon(after(1));
            Ok(())
        }),
    )??;
    assert_eq!(*context.0.lock().unwrap(), [true; 4]);
    Ok(())
}

fn every_task_that_was_spawned_exits(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    let ended = run(host, recorder.clone(), async {
        trine::move_on_after(
            SECOND * 5,
            nursery(async |n| {
                n.task("returns").start_soon(checkpoint());
                n.task("is told").start_soon(forever());
                n.task("is dropped").start_soon(foreign());
                trine::sleep(SECOND).await?;
                n.task("fails").start_soon(async { Err(Error::msg("boom")) });
                Ok(())
            }),
        )
        .await
    })?;
    assert!(ended.is_err());
    let counts = recorder.counts();
    for name in ["returns", "is told", "is dropped", "fails"] {
        assert_eq!(counts.get(&format!("spawned {name}")), Some(&1), "{name}");
        assert_eq!(counts.get(&format!("exited {name}")), Some(&1), "{name}");
        assert_eq!(counts.get(&format!("before {name}")), counts.get(&format!("after {name}")), "{name}");
    }
    Ok(())
}

fn dropped_tasks_exit_too(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    run(host, recorder.clone(), async {
        let mut tree = Box::pin(nursery(async |n| {
            n.task("parked").start_soon(forever());
            let handle = n.task("with a handle").spawn(forever());
            n.start_soon(async {
                nursery(async |inner| {
                    inner.task("deep").start_soon(forever());
                    Ok(())
                })
                .await
            });
            handle.await?;
            Ok(())
        }));
        // Once, so that all of them are there and wait; then it is dropped as it is.
        std::future::poll_fn(|cx| {
            assert!(tree.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    })?;
    let counts = recorder.counts();
    for name in ["parked", "with a handle", "deep"] {
        assert_eq!(counts.get(&format!("exited {name}")), Some(&1), "{name}: {counts:?}");
    }
    Ok(())
}

fn parked_task_takes_no_steps(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    run(
        host,
        recorder.clone(),
        nursery(async |n| {
            n.task("parked").start_soon(after(1000));
            n.task("busy").start_soon(async {
                for _ in 0..100 {
                    trine::checkpoint().await?;
                }
                Ok(())
            });
            Ok(())
        }),
    )??;
    let counts = recorder.counts();
    assert_eq!((counts["before parked"], counts["before busy"]), (2, 101));
    Ok(())
}

fn cancelled_waiters_take_one_step_each(host: &dyn Host) -> Result<()> {
    let recorder = Recorder::default();
    run(host, recorder.clone(), async {
        let scope = CancelScope::new();
        scope
            .nursery(async |n| {
                (0..100).for_each(|_| n.task("waiter").start_soon(forever()));
                wait_all_tasks_blocked().await?;
                scope.cancel();
                Ok(())
            })
            .await
    })??;
    assert_eq!(recorder.counts()["before waiter"], 200);
    Ok(())
}

async fn task_knows_its_name_and_parent() -> Result<()> {
    let main = inspect::current_task().expect("a task");
    nursery(async |n| {
        let main = &main;
        n.task("outer").start_soon(async move {
            let outer = inspect::current_task().expect("a task");
            assert_eq!((outer.name.as_deref(), outer.parent), (Some("outer"), Some(main.id)));
            let seen =
                nursery(async |inner| Ok(inner.spawn(async { Ok(inspect::current_task().expect("a task")) }).await?))
                    .await?;
            assert_eq!((seen.name, seen.parent), (None, Some(outer.id)));
            assert_ne!(seen.id, outer.id);
            Ok(())
        });
        Ok(())
    })
    .await
}

async fn statistics_count_tasks_and_timers() -> Result<()> {
    nursery(async |n| {
        (1..=5).for_each(|i| n.start_soon(after(i)));
        n.start_soon(async { trine::move_on_after(SECOND * 9, forever()).await.map(drop) });
        wait_all_tasks_blocked().await?;
        let seen = inspect::statistics();
        assert_eq!((seen.tasks, seen.timers), (7, 6));
        trine::sleep(SECOND * 3 + SECOND / 2).await?;
        let seen = inspect::statistics();
        assert_eq!((seen.tasks, seen.timers), (4, 3));
        Ok(())
    })
    .await?;
    let seen = inspect::statistics();
    assert_eq!((seen.tasks, seen.timers), (1, 0));
    Ok(())
}
