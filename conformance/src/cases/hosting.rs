//! Runs as a whole: what a host and its clock give to the future.

use crate::case::{Case, clocked, on_host, portable, real_time};
use crate::host::{Host, HostError};
use std::future::pending;
use std::time::{Duration, Instant};
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{Builder, Error, RunError, nursery, sleep, sleep_forever};

pub(super) const CASES: &[Case] = &[
    real_time!(sleep_takes_real_time, "clock.real", "divergence 8"),
    portable!(virtual_time_jumps_to_the_next_deadline, "clock.autojump", "design 2"),
    clocked!(virtual_time_stands_still, "clock.stands-still", "design 2"),
    on_host!(deadlock_is_reported_with_the_tree, "clock.deadlock", "design 2"),
    on_host!(panic_reaches_the_caller, "run.panic", "design 5"),
    on_host!(error_of_the_main_task_is_not_wrapped, "run.error", "trio test_run.py::test_initial_task_error"),
    portable!(run_inside_a_run_is_an_error, "run.nested", "trio test_run.py::test_run_nesting"),
    on_host!(future_is_dropped_on_the_host, "run.drops", "design 1"),
];

/// Under the machine's clock a sleep is never too short.
async fn sleep_takes_real_time() -> trine::Result<()> {
    for micros in [0, 1, 700, 1_500] {
        let (begin, time) = (Instant::now(), Duration::from_micros(micros));
        sleep(time).await?;
        assert!(begin.elapsed() >= time);
    }
    Ok(())
}

/// A virtual clock moves only when no task can run, and then exactly to the next deadline.
async fn virtual_time_jumps_to_the_next_deadline() -> trine::Result<()> {
    let start = trine::now();
    nursery(async |n| {
        for hours in [1, 2] {
            n.start_soon(async move {
                sleep(Duration::from_secs(3600 * hours)).await?;
                assert_eq!(trine::now() - start, Duration::from_secs(3600 * hours));
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(trine::now() - start, Duration::from_secs(7200));
    Ok(())
}

/// Without autojump nothing moves the clock but a jump.
async fn virtual_time_stands_still(clock: MockClock) -> trine::Result<()> {
    let start = trine::now();
    nursery(async |n| {
        let sleeper = n.spawn(async { Ok(sleep(Duration::from_secs(10)).await?) });
        wait_all_tasks_blocked().await?;
        assert_eq!(trine::now(), start);
        clock.jump(Duration::from_secs(9));
        wait_all_tasks_blocked().await?;
        assert!(!sleeper.is_finished());
        clock.jump(Duration::from_secs(1));
        sleeper.await?;
        assert_eq!(trine::now() - start, Duration::from_secs(10));
        Ok(())
    })
    .await
}

/// When nothing can happen any more under a virtual clock, the run ends and says who waits where.
fn deadlock_is_reported_with_the_tree(host: &dyn Host) -> trine::Result<()> {
    let builder = Builder::new().clock(MockClock::new().autojump());
    let ended = host.run(builder, async {
        nursery(async |n| {
            n.task("stuck").start_soon(async { match sleep_forever().await? {} });
            Ok(())
        })
        .await
    });
    match ended {
        Err(HostError::Deadlock(tree)) => {
            assert!(tree.contains("`stuck`: waits in"), "{tree}");
            Ok(())
        }
        other => Err(Error::msg(format!("no deadlock but {other:?}"))),
    }
}

/// A panic of the future leaves the run, with its message, and the host can be used again.
fn panic_reaches_the_caller(host: &dyn Host) -> trine::Result<()> {
    let ended: Result<(), _> = host.run(Builder::new(), async { panic!("on purpose") });
    assert_eq!(ended, Err(HostError::Panicked("on purpose".to_owned())));
    assert_eq!(host.run(Builder::new(), async { 7 })?, 7);
    Ok(())
}

/// What the main task fails with comes out as it is.
fn error_of_the_main_task_is_not_wrapped(host: &dyn Host) -> trine::Result<()> {
    let ended =
        host.run(Builder::new(), async { Err::<(), _>(Error::new(HostError::Broken("made up".to_owned()))) })?;
    let error = ended.expect_err("it fails");
    assert_eq!(error.downcast_ref(), Some(&HostError::Broken("made up".to_owned())));
    assert!(!error.is_group());
    Ok(())
}

/// A run inside a run would block the loop it needs: it is refused, and the outer one goes on.
async fn run_inside_a_run_is_an_error() -> trine::Result<()> {
    let inner = Builder::new().backend(trine::backend::native()).try_run(async {});
    assert!(matches!(inner, Err(RunError::Nested)), "{inner:?}");
    Ok(sleep(Duration::from_secs(1)).await?)
}

/// What is pending inside when a branch ends the run is dropped before the run returns.
fn future_is_dropped_on_the_host(host: &dyn Host) -> trine::Result<()> {
    let token = std::sync::Arc::new(());
    let inside = token.clone();
    host.run(Builder::new(), async move {
        trine::move_on_after(Duration::from_millis(1), async move {
            let _inside = inside;
            pending::<trine::Result<()>>().await
        })
        .await
    })??;
    assert_eq!(std::sync::Arc::strong_count(&token), 1);
    Ok(())
}
