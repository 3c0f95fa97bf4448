//! Sleeping: how long, in which order, and what is left of a sleep that ends early.

use super::cancel_tools::{SECOND, after, checkpoint, forever, poll_here};
use crate::case::{Case, clocked, portable, real_time};
use std::sync::Mutex;
use std::time::Duration;
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{CancelScope, Result, inspect, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(sleep_takes_its_time, "sleep.duration", "trio test_timeouts.py::test_sleep"),
    portable!(sleep_until_wakes_at_its_instant, "sleep.until", "trio test_timeouts.py::test_sleep"),
    portable!(sleep_until_the_past_is_a_checkpoint, "sleep.past", "trio test_timeouts.py::test_sleep"),
    portable!(
        sleep_forever_ends_by_a_cancel_only,
        "sleep.forever",
        "trio test_timeouts.py::test_cannot_wake_sleep_forever"
    ),
    portable!(sleep_counts_from_its_first_poll, "sleep.first-poll", "design 6"),
    portable!(sleeps_wake_in_the_order_of_their_ends, "sleep.order", "design 6"),
    portable!(ten_thousand_sleeps_each_take_their_time, "sleep.many", "divergence 8"),
    portable!(dropped_sleep_leaves_no_timer, "sleep.dropped", "design 6"),
    portable!(cancelled_sleep_leaves_no_timer, "sleep.cancelled", "design 6"),
    portable!(
        longest_sleep_is_no_error,
        "sleep.longest",
        "trio test_timeouts.py::test_timeouts_raise_value_error, divergence 8"
    ),
    clocked!(sleep_over_whose_end_time_jumped_ends, "sleep.jumped", "divergence 8"),
    clocked!(cancel_and_end_at_once_is_a_cancel, "sleep.race", "divergence 3"),
    real_time!(real_sleep_is_never_early, "sleep.real", "trio test_timeouts.py::test_sleep, divergence 8"),
    real_time!(current_time_goes_on, "sleep.now", "trio test_run.py::test_current_time"),
];

async fn sleep_takes_its_time() -> Result<()> {
    for time in [Duration::from_nanos(1), Duration::from_millis(3), SECOND, SECOND * 86_400 * 365] {
        let start = trine::now();
        trine::sleep(time).await?;
        assert_eq!(trine::now() - start, time);
    }
    Ok(())
}

async fn sleep_until_wakes_at_its_instant() -> Result<()> {
    let end = trine::now() + SECOND * 4;
    after(3).await?;
    trine::sleep_until(end).await?;
    assert_eq!(trine::now(), end);
    Ok(())
}

async fn sleep_until_the_past_is_a_checkpoint() -> Result<()> {
    let start = trine::now();
    trine::sleep_until(start - SECOND).await?;
    assert_eq!(trine::now(), start);
    let scope = CancelScope::new();
    scope.cancel();
    assert_eq!(scope.run(async { Ok(trine::sleep_until(start - SECOND).await?) }).await?, None);
    Ok(())
}

/// Nothing else can end it: there is no handle to wake it by, and other wakes of the task do not count.
async fn sleep_forever_ends_by_a_cancel_only() -> Result<()> {
    let scope = CancelScope::after(SECOND * 1_000_000);
    let (told, ()) = futures_util::join!(scope.run(forever()), async {
        for _ in 0..100 {
            trine::checkpoint().await.expect("no cancel here");
        }
    });
    assert_eq!((told?, scope.cancelled_caught()), (None, true));
    Ok(())
}

async fn sleep_counts_from_its_first_poll() -> Result<()> {
    let start = trine::now();
    let mut sleep = Box::pin(trine::sleep(SECOND * 2));
    after(5).await?;
    assert!(poll_here(&mut sleep).await.is_pending());
    after(1).await?;
    sleep.await?;
    assert_eq!(trine::now() - start, SECOND * 7);
    Ok(())
}

async fn sleeps_wake_in_the_order_of_their_ends() -> Result<()> {
    let order = Mutex::new(Vec::new());
    nursery(async |n| {
        for i in [5, 3, 9, 1, 7, 2, 8, 4, 6] {
            let order = &order;
            n.start_soon(async move {
                after(i).await?;
                order.lock().unwrap().push(i);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert!(order.into_inner().unwrap().is_sorted());
    Ok(())
}

async fn ten_thousand_sleeps_each_take_their_time() -> Result<()> {
    let start = trine::now();
    nursery(async |n| {
        for i in 0..10_000_u64 {
            let time = Duration::from_nanos(1 + i * 48_271 % 65_537 * 10_007);
            n.start_soon(async move {
                trine::sleep(time).await?;
                assert_eq!(trine::now() - start, time);
                Ok(())
            });
        }
        wait_all_tasks_blocked().await?;
        assert_eq!(inspect::statistics().timers, 10_000);
        Ok(())
    })
    .await?;
    assert_eq!(inspect::statistics().timers, 0);
    Ok(())
}

async fn dropped_sleep_leaves_no_timer() -> Result<()> {
    let start = trine::now();
    for _ in 0..100 {
        let mut sleep = Box::pin(trine::sleep(SECOND * 60));
        assert!(poll_here(&mut sleep).await.is_pending());
    }
    checkpoint().await?;
    assert_eq!(inspect::statistics().timers, 0);
    after(1).await?;
    assert_eq!(trine::now() - start, SECOND);
    Ok(())
}

async fn cancelled_sleep_leaves_no_timer() -> Result<()> {
    trine::move_on_after(
        SECOND,
        nursery(async |n| {
            (60..160).for_each(|i| n.start_soon(after(i)));
            Ok(())
        }),
    )
    .await?;
    assert_eq!(inspect::statistics().timers, 0);
    Ok(())
}

async fn longest_sleep_is_no_error() -> Result<()> {
    let start = trine::now();
    let outcome = trine::move_on_after(SECOND, async { Ok(trine::sleep(Duration::MAX).await?) }).await?;
    assert_eq!((outcome, trine::now() - start), (None, SECOND));
    Ok(())
}

async fn sleep_over_whose_end_time_jumped_ends(clock: MockClock) -> Result<()> {
    nursery(async |n| {
        let sleeper = n.spawn(after(3));
        wait_all_tasks_blocked().await?;
        clock.jump(SECOND * 1000);
        sleeper.await?;
        Ok(())
    })
    .await
}

/// Both in one turn: a sleep has nothing to lose, so the cancel wins.
async fn cancel_and_end_at_once_is_a_cancel(clock: MockClock) -> Result<()> {
    let scope = CancelScope::new();
    let outcome = nursery(async |n| {
        let sleeper = n.spawn(scope.run(after(3)));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        clock.jump(SECOND * 3);
        Ok(sleeper.await?)
    })
    .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn real_sleep_is_never_early() -> Result<()> {
    for micros in [0, 1, 999, 1_000, 1_001, 20_000] {
        let (time, begin, start) = (Duration::from_micros(micros), std::time::Instant::now(), trine::now());
        trine::sleep(time).await?;
        assert!(begin.elapsed() >= time && trine::now() - start >= time);
    }
    Ok(())
}

async fn current_time_goes_on() -> Result<()> {
    let first = trine::now();
    while trine::now() == first {
        trine::checkpoint().await?;
    }
    assert!(trine::now() > first && first.elapsed() > Duration::ZERO);
    Ok(())
}
