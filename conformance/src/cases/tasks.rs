//! Tasks as others see them: names, parents, the tree, counts, instruments.

use super::nursery_tools::{Log, SECOND, after, forever};
use crate::case::{Case, on_host, portable};
use crate::host::Host;
use std::sync::{Arc, Mutex};
use trine::inspect::{Instrument, TaskInfo, current_task, statistics, tree};
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{Builder, CancelScope, Error, Result, TaskStatus, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(task_has_its_name, "task.name", "trio test_run.py::test_spawn_name"),
    portable!(child_s_parent_is_the_task_of_its_nursery, "task.parent", "trio test_run.py::test_current_task"),
    portable!(main_task_has_no_parent, "task.parent", "trio test_run.py::test_root_task"),
    portable!(bodies_and_scopes_belong_to_their_task, "task.identity", "design 3"),
    portable!(tree_shows_a_started_child_where_it_moved, "task.tree", "trio test_run.py::test_task_tree_introspection"),
    portable!(tree_shows_open_nurseries_only, "task.tree", "trio test_run.py::test_task_nursery_stack"),
    portable!(tree_shows_waits_and_scopes, "task.tree", "design 12"),
    portable!(statistics_count_tasks_and_timers, "task.statistics", "trio test_run.py::test_current_statistics"),
    on_host!(
        instrument_sees_tasks_come_and_go,
        "task.instrument",
        "trio test_instrumentation.py::test_instrument_task_spawn_exit"
    ),
    on_host!(instrument_sees_steps_in_pairs, "task.instrument", "trio test_instrumentation.py::test_instruments"),
    on_host!(
        instrument_sees_steps_interleave,
        "task.instrument",
        "trio test_instrumentation.py::test_instruments_interleave"
    ),
    on_host!(
        instrument_without_hooks_does_nothing,
        "task.instrument",
        "trio test_instrumentation.py::test_null_instrument"
    ),
];

fn id() -> u64 {
    current_task().expect("inside a task").id
}

fn name() -> Option<String> {
    current_task().and_then(|task| task.name).map(|name| name.into_owned())
}

async fn task_has_its_name() -> Result<()> {
    nursery(async |n| {
        let fixed = n.task("static").spawn(async { Ok(name()) });
        let made = n.task(format!("reader {}", 7)).spawn(async {
            checkpoint().await?;
            Ok(name())
        });
        let none = n.spawn(async { Ok(name()) });
        let started = n
            .task("started")
            .start(async |status| {
                status.started(name());
                checkpoint().await?;
                assert_eq!(name().as_deref(), Some("started"));
                Ok(())
            })
            .await?;
        let names = [fixed.await?, made.await?, none.await?, started];
        assert_eq!(names.map(Option::unwrap_or_default), ["static", "reader 7", "", "started"]);
        n.task("sleeper").start_soon(forever());
        wait_all_tasks_blocked().await?;
        let tree = tree().to_string();
        assert!(tree.contains("`sleeper`"), "{tree}");
        n.cancel_children();
        Ok(())
    })
    .await
}

async fn child_s_parent_is_the_task_of_its_nursery() -> Result<()> {
    let main = id();
    nursery(async |outer| {
        let child = outer.spawn(async {
            let own = current_task().expect("a task");
            assert_eq!(own.parent, Some(main));
            nursery(async |inner| {
                // Where it is spawned from does not matter.
                let elsewhere = outer.spawn(async { Ok(current_task().and_then(|task| task.parent)) });
                let grandchild = inner.spawn(async { Ok(current_task().and_then(|task| task.parent)) });
                assert_eq!((grandchild.await?, elsewhere.await?), (Some(own.id), Some(main)));
                Ok(())
            })
            .await
        });
        Ok(child.await?)
    })
    .await
}

async fn main_task_has_no_parent() -> Result<()> {
    let main = current_task().expect("a task");
    assert_eq!(main.parent, None);
    nursery(async |_| {
        assert_eq!(current_task().and_then(|task| task.parent), None);
        Ok(())
    })
    .await
}

async fn bodies_and_scopes_belong_to_their_task() -> Result<()> {
    let main = id();
    let scope = CancelScope::new();
    scope
        .run(nursery(async |n| {
            assert_eq!(id(), main);
            checkpoint().await?;
            assert_eq!(id(), main);
            let (a, b) = (n.spawn(async { Ok(id()) }), n.spawn(async { Ok(id()) }));
            let (a, b) = (a.await?, b.await?);
            assert!(a != main && b != main && a != b);
            Ok(())
        }))
        .await?;
    assert_eq!(id(), main);
    Ok(())
}

/// The indentation of the line with this text.
fn depth(tree: &str, text: &str) -> usize {
    let line = tree.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} in\n{tree}"));
    line.len() - line.trim_start().len()
}

/// Under the caller before `started`, beside the target's children after it; its id and parent follow.
async fn tree_shows_a_started_child_where_it_moved() -> Result<()> {
    let main = id();
    nursery(async |target| {
        target.task("sibling").start_soon(forever());
        let caller = target.task("caller").spawn(async {
            let own = id();
            target
                .task("started")
                .start(move |status: TaskStatus| async move {
                    let before = current_task().expect("a task");
                    let drawn = tree().to_string();
                    assert!(depth(&drawn, "`started`") > depth(&drawn, "`caller`"), "{drawn}");
                    assert_eq!(before.parent, Some(own));
                    status.started(());
                    let after = current_task().expect("a task");
                    assert_eq!((after.id, after.parent), (before.id, Some(main)));
                    forever().await
                })
                .await?;
            forever().await
        });
        wait_all_tasks_blocked().await?;
        let drawn = tree().to_string();
        assert_eq!(depth(&drawn, "`started`"), depth(&drawn, "`sibling`"), "{drawn}");
        assert!(!caller.is_finished());
        target.cancel_children();
        Ok(())
    })
    .await
}

async fn tree_shows_open_nurseries_only() -> Result<()> {
    let open = || tree().to_string().matches("nursery at").count();
    assert_eq!(open(), 0);
    let result = nursery(async |_| {
        assert_eq!(open(), 1);
        nursery(async |_| {
            assert_eq!(open(), 2);
            checkpoint().await?;
            assert_eq!(open(), 2);
            Ok(())
        })
        .await?;
        assert_eq!(open(), 1);
        Result::<()>::Err(Error::msg("body"))
    });
    assert!(result.await.is_err());
    assert_eq!(open(), 0);
    Ok(())
}

async fn tree_shows_waits_and_scopes() -> Result<()> {
    let event = trine::sync::Event::new();
    nursery(async |n| {
        n.task("waiter").start_soon(trine::shielded(async { Ok(event.wait().await?) }));
        n.task("timed").start_soon(async { trine::fail_after(SECOND * 9, forever()).await });
        wait_all_tasks_blocked().await?;
        let drawn = tree().to_string();
        n.cancel_children();
        event.set();
        let line = drawn.lines().find(|line| line.contains("`waiter`")).unwrap_or_default();
        assert!(line.contains("waits in") && line.contains("tasks.rs:"), "{drawn}");
        assert!(drawn.contains("shielded") && !drawn.contains("cancelled"), "{drawn}");
        assert!(drawn.matches("tasks.rs:").count() >= 3, "the places of nursery, scope and wait:\n{drawn}");
        Ok(())
    })
    .await
}

async fn statistics_count_tasks_and_timers() -> Result<()> {
    let before = statistics();
    nursery(async |n| {
        for i in 1..=5 {
            n.start_soon(after(i, ()));
        }
        n.start_soon(forever());
        wait_all_tasks_blocked().await?;
        let now = statistics();
        assert_eq!((now.tasks - before.tasks, now.timers - before.timers), (6, 5));
        after(3, ()).await?;
        checkpoint().await?;
        let now = statistics();
        assert_eq!((now.tasks - before.tasks, now.timers - before.timers), (3, 2));
        n.cancel_children();
        Ok(())
    })
    .await?;
    let now = statistics();
    assert_eq!((now.tasks, now.timers), (before.tasks, before.timers));
    Ok(())
}

/// Writes down what it is told, of tasks with a name.
#[derive(Clone, Default)]
struct Recorder(Arc<Log>);

impl Recorder {
    fn tell(&self, what: &str, task: &TaskInfo) {
        if let Some(name) = &task.name {
            self.0.add(format!("{what} {name}"));
        }
    }
}

impl Instrument for Recorder {
    fn task_spawned(&self, task: &TaskInfo) {
        self.tell("spawned", task);
    }

    fn before_step(&self, task: &TaskInfo) {
        self.tell("before", task);
    }

    fn after_step(&self, task: &TaskInfo) {
        self.tell("after", task);
    }

    fn task_exited(&self, task: &TaskInfo) {
        self.tell("exited", task);
    }
}

/// Runs named children that yield so many times.
fn record(host: &dyn Host, children: &'static [(&'static str, u32)]) -> Result<Vec<String>> {
    let recorder = Recorder::default();
    let builder = Builder::new().clock(MockClock::new().autojump()).instrument(recorder.clone());
    host.run(
        builder,
        nursery(async move |n| {
            for &(name, yields) in children {
                n.task(name).start_soon(async move {
                    for _ in 0..yields {
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        }),
    )??;
    Ok(recorder.0.take())
}

fn instrument_sees_tasks_come_and_go(host: &dyn Host) -> Result<()> {
    let events = record(host, &[("one", 2), ("two", 0)])?;
    for name in ["one", "two"] {
        let its: Vec<_> = events.iter().filter(|event| event.ends_with(name)).collect();
        let of = |what: &str| its.iter().filter(|event| event.starts_with(what)).count();
        assert_eq!((of("spawned"), of("exited")), (1, 1), "{events:?}");
        assert!(its[0].starts_with("spawned") && its.iter().rev().take(2).any(|event| event.starts_with("exited")));
    }
    Ok(())
}

fn instrument_sees_steps_in_pairs(host: &dyn Host) -> Result<()> {
    let events = record(host, &[("only", 3)])?;
    let steps: Vec<_> =
        events.iter().filter(|event| event.starts_with("before") || event.starts_with("after")).collect();
    assert_eq!(steps.len(), 8, "{events:?}");
    assert!(steps.chunks(2).all(|pair| *pair == ["before only", "after only"]), "{events:?}");
    Ok(())
}

/// One step of one task is never inside that of another one beside it.
fn instrument_sees_steps_interleave(host: &dyn Host) -> Result<()> {
    let events = record(host, &[("a", 3), ("b", 3)])?;
    let steps: Vec<_> =
        events.iter().filter(|event| event.starts_with("before") || event.starts_with("after")).collect();
    assert_eq!(steps.len(), 16, "{events:?}");
    let order: Vec<_> = steps
        .chunks(2)
        .map(|pair| {
            assert_eq!(pair[0].strip_prefix("before "), pair[1].strip_prefix("after "), "{events:?}");
            pair[0].strip_prefix("before ").unwrap_or_default()
        })
        .collect();
    assert!(order.chunks(2).all(|pass| pass[0] != pass[1]), "each once in a pass: {order:?}");
    Ok(())
}

fn instrument_without_hooks_does_nothing(host: &dyn Host) -> Result<()> {
    struct Nothing;
    impl Instrument for Nothing {}
    let out = Arc::new(Mutex::new(0));
    let count = Arc::clone(&out);
    let sum = nursery(async move |n| {
        for _ in 0..3 {
            let count = Arc::clone(&count);
            n.start_soon(async move {
                after(1, ()).await?;
                *count.lock().unwrap() += 1;
                Ok(())
            });
        }
        Ok(())
    });
    host.run(Builder::new().clock(MockClock::new().autojump()).instrument(Nothing), sum)??;
    assert_eq!(*out.lock().unwrap(), 3);
    Ok(())
}
