//! Runs as a whole: values, nested runs, deadlocks, orders, and what is told outside of a run.

use super::nursery_tools::{Gate, Log, OnDrop, Oops, SECOND, after, error_of, forever};
use crate::case::{Case, on_host, portable};
use crate::host::{Host, HostError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trine::testing::{MockClock, Order};
use trine::{Builder, Error, Result, RunError, checkpoint, nursery, sleep};

pub(super) const CASES: &[Case] = &[
    on_host!(value_and_error_come_out_as_they_are, "run.value", "trio test_run.py::test_basic"),
    on_host!(error_of_the_main_future_is_in_no_group, "run.value", "trio test_run.py::test_initial_task_error"),
    on_host!(run_in_a_run_is_refused, "run.nested", "trio test_run.py::test_run_nesting"),
    portable!(run_on_another_thread_is_its_own, "run.threads", "design 2"),
    on_host!(nothing_is_known_outside_of_a_run, "run.outside", "trio test_run.py::test_out_of_context"),
    on_host!(deadlock_names_each_task_and_its_wait, "run.deadlock", "design 2"),
    on_host!(deadlock_is_no_deadlock_while_another_thread_may_wake, "run.deadlock", "design 2"),
    on_host!(thread_with_a_sender_is_waited_for_as_long_as_a_jump, "run.deadlock", "design 9"),
    on_host!(sleeper_on_a_clock_that_nobody_moves_is_a_deadlock, "run.deadlock", "design 9"),
    on_host!(sleeper_is_no_deadlock_while_another_thread_has_the_clock, "run.deadlock", "design 9"),
    on_host!(runs_follow_one_another, "run.again", "design 2"),
    on_host!(
        shuffled_orders_differ,
        "run.order",
        "trio test_scheduler_determinism.py::test_the_trio_scheduler_is_not_deterministic, divergence 10"
    ),
    on_host!(
        seed_gives_the_same_order_again,
        "run.order",
        "trio test_scheduler_determinism.py::test_the_trio_scheduler_is_deterministic_if_seeded, divergence 10"
    ),
    on_host!(clock_of_the_builder_is_the_run_s, "run.clock", "trio test_run.py::test_current_time_with_mock_clock"),
    portable!(time_advances, "run.clock", "trio test_run.py::test_current_time"),
];

fn value_and_error_come_out_as_they_are(host: &dyn Host) -> Result<()> {
    assert_eq!(host.run(Builder::new(), async { "value" })?, "value");
    let argument = String::from("abc");
    assert_eq!(host.run(Builder::new(), async move { argument.len() })?, 3);
    Ok(())
}

fn error_of_the_main_future_is_in_no_group(host: &dyn Host) -> Result<()> {
    let failing = async {
        checkpoint().await?;
        Result::<()>::Err(Oops(1).into())
    };
    let error = error_of(host.run(Builder::new(), failing)?);
    assert_eq!((error.is_group(), error.downcast::<Oops>().ok()), (false, Some(Oops(1))));
    Ok(())
}

/// From the main future, a child, and a destructor; and the run around goes on.
fn run_in_a_run_is_refused(host: &dyn Host) -> Result<()> {
    let refused = || matches!(Builder::new().try_run(async {}), Err(RunError::Nested));
    let told = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&told);
    host.run(Builder::new().clock(MockClock::new().autojump()), async move {
        out.lock().unwrap().push(refused());
        let out = &out;
        nursery(async |n| {
            n.start_soon(async {
                let _at_the_end = OnDrop(|| out.lock().unwrap().push(refused()));
                out.lock().unwrap().push(refused());
                after(1, ()).await
            });
            Ok(())
        })
        .await?;
        after(1, ()).await
    })??;
    assert_eq!(*told.lock().unwrap(), [true; 3]);
    Ok(())
}

async fn run_on_another_thread_is_its_own() -> Result<()> {
    let outer = trine::inspect::current_task().map(|task| task.id);
    let inner = std::thread::spawn(|| trine::run(async { trine::inspect::current_task().map(|task| task.id) }));
    let inner = inner.join().expect("it ends");
    assert!(outer.is_some() && inner.is_some() && outer != inner);
    Ok(checkpoint().await?)
}

fn nothing_is_known_outside_of_a_run(host: &dyn Host) -> Result<()> {
    let outside = || {
        assert!(trine::inspect::current_task().is_none());
        assert_eq!(trine::inspect::tree().to_string(), "");
        assert_eq!(trine::inspect::statistics().tasks, 0);
        assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
        assert!(trine::checkpoint_if_cancelled().is_ok());
    };
    outside();
    let inside = host.run(Builder::new(), async {
        (trine::inspect::current_task().is_some(), trine::inspect::statistics().tasks)
    })?;
    assert_eq!(inside, (true, 1));
    outside();
    Ok(())
}

fn deadlock_names_each_task_and_its_wait(host: &dyn Host) -> Result<()> {
    let ended = host.run(Builder::new().clock(MockClock::new().autojump()), async {
        let (tx, rx) = trine::channel::<u32>(0);
        let event = trine::sync::Event::new();
        nursery(async |n| {
            n.task("consumer").start_soon(async {
                rx.recv().await?;
                rx.recv().await?;
                Ok(())
            });
            n.task("waiter").start_soon(async { Ok(event.wait().await?) });
            tx.send(1).await?;
            after(5, ()).await?;
            n.task("sleeper").start_soon(forever());
            Ok(())
        })
        .await?;
        Ok::<_, Error>(())
    });
    let Err(HostError::Deadlock(tree)) = ended else { panic!("no deadlock but {ended:?}") };
    for (task, operation) in [("`consumer`", "recv"), ("`waiter`", "wait"), ("`sleeper`", "sleep_forever")] {
        let line = tree.lines().find(|line| line.contains(task)).unwrap_or_else(|| panic!("{task} in {tree}"));
        assert!(line.contains(operation), "{operation} in {line}");
        // And the place, in this file or the tools of it.
        assert!(line.contains(".rs:"), "{line}");
    }
    assert!(tree.contains("nursery at") && tree.contains("run.rs:"), "{tree}");
    Ok(())
}

/// It holds a waker.
fn deadlock_is_no_deadlock_while_another_thread_may_wake(host: &dyn Host) -> Result<()> {
    host.run(Builder::new().clock(MockClock::new().autojump()), async {
        let gate = Gate::new();
        let opener = gate.clone();
        let thread = std::thread::spawn(move || {
            // Long enough that the run has nothing to do, and no measure of anything.
            std::thread::sleep(Duration::from_millis(20));
            opener.open();
        });
        gate.opened().await;
        thread.join().expect("it ends");
    })?;
    Ok(())
}

/// Without a deadline, too, to which the clock could jump.
fn thread_with_a_sender_is_waited_for_as_long_as_a_jump(host: &dyn Host) -> Result<()> {
    let (tx, rx) = trine::channel(1);
    let thread = std::thread::spawn(move || {
        // Long enough that the run has nothing to do, and no measure of anything.
        std::thread::sleep(Duration::from_millis(20));
        tx.try_send(1)
    });
    let clock = MockClock::new().autojump_after(Duration::from_secs(60));
    assert_eq!(host.run(Builder::new().clock(clock), async move { rx.recv().await })??, 1);
    assert!(thread.join().expect("it ends").is_ok());
    let clock = MockClock::new().autojump_after(Duration::from_millis(5));
    let ended = host.run(Builder::new().clock(clock), forever());
    assert!(matches!(ended, Err(HostError::Deadlock(_))), "{ended:?}");
    Ok(())
}

fn sleeper_on_a_clock_that_nobody_moves_is_a_deadlock(host: &dyn Host) -> Result<()> {
    let ended = host.run(Builder::new().clock(MockClock::new()), sleep(SECOND));
    let Err(HostError::Deadlock(tree)) = ended else { panic!("no deadlock but {ended:?}") };
    assert!(tree.contains("sleep"), "{tree}");
    Ok(())
}

fn sleeper_is_no_deadlock_while_another_thread_has_the_clock(host: &dyn Host) -> Result<()> {
    let clock = MockClock::new();
    let builder = Builder::new().clock(clock.clone());
    let thread = std::thread::spawn(move || {
        // Long enough that the run has nothing to do, and no measure of anything.
        std::thread::sleep(Duration::from_millis(20));
        clock.jump(SECOND);
    });
    host.run(builder, sleep(SECOND))??;
    thread.join().expect("it ends");
    Ok(())
}

fn runs_follow_one_another(host: &dyn Host) -> Result<()> {
    for i in 0..50 {
        let value = nursery(async move |n| {
            let child = n.spawn(after(1, i));
            Ok(child.await?)
        });
        assert_eq!(host.run(Builder::new().clock(MockClock::new().autojump()), value)??, i);
    }
    Ok(())
}

/// In which order ten children, five times, run.
fn schedule(host: &dyn Host, order: Order) -> Result<Vec<u32>> {
    let builder = Builder::new().clock(MockClock::new().autojump()).order(order);
    host.run(builder, async {
        let seen = Mutex::new(Vec::new());
        nursery(async |n| {
            for i in 0..10 {
                let seen = &seen;
                n.start_soon(async move {
                    for _ in 0..5 {
                        seen.lock().unwrap().push(i);
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        Ok(seen.into_inner().unwrap())
    })?
}

/// The order of a run is a matter of its seed: ten seeds give ten orders, of the same steps.
fn shuffled_orders_differ(host: &dyn Host) -> Result<()> {
    let mut schedules = (0..10).map(|seed| schedule(host, Order::Shuffle(seed))).collect::<Result<Vec<_>>>()?;
    schedules.sort_unstable();
    schedules.dedup();
    assert_eq!(schedules.len(), 10);
    for mut steps in schedules {
        steps.sort_unstable();
        assert!(steps.chunks(5).zip(0..).all(|(steps, i)| steps == [i; 5]));
    }
    Ok(())
}

fn seed_gives_the_same_order_again(host: &dyn Host) -> Result<()> {
    for order in [Order::Shuffle(7), Order::Fifo, Order::Lifo] {
        let first = schedule(host, order)?;
        for _ in 0..5 {
            assert_eq!(schedule(host, order)?, first, "{order:?}");
        }
    }
    assert_ne!(schedule(host, Order::Fifo)?, schedule(host, Order::Lifo)?);
    Ok(())
}

fn clock_of_the_builder_is_the_run_s(host: &dyn Host) -> Result<()> {
    let clock = MockClock::new();
    let handle = clock.clone();
    host.run(Builder::new().clock(clock), async move {
        let start = trine::now();
        assert_eq!(trine::now(), start);
        handle.jump(SECOND * 5);
        assert_eq!(trine::now() - start, SECOND * 5);
        handle.jump(SECOND * 2);
        // What is due is done, without any time.
        sleep(Duration::ZERO).await?;
        assert_eq!(trine::now() - start, SECOND * 7);
        Ok::<_, Error>(())
    })?
}

async fn time_advances() -> Result<()> {
    let (log, start) = (Log::new(), trine::now());
    for i in 1..=3 {
        sleep(SECOND).await?;
        assert_eq!(trine::now() - start, SECOND * i);
        log.add("second");
    }
    assert_eq!(log.take().len(), 3);
    Ok(())
}
