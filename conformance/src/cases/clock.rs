//! The virtual clock: rate, jumps, autojump, and who goes first when nothing can run.

use super::cancel_tools::{Flag, Log, Polls, SECOND, after, forever};
use crate::case::{Case, clocked, on_host, portable};
use crate::host::Host;
use std::panic::catch_unwind;
use std::time::Duration;
use trine::testing::{MockClock, wait_all_tasks_blocked, wait_all_tasks_blocked_for};
use trine::{Builder, CancelScope, Error, Result, nursery};

pub(super) const CASES: &[Case] = &[
    clocked!(
        stands_still_and_jumps_at_once,
        "clock.jump",
        "trio test_mock_clock.py::test_mock_clock, trio test_run.py::test_current_time_with_mock_clock"
    ),
    clocked!(jump_wakes_those_whose_time_came, "clock.jump", "trio test_mock_clock.py::test_mock_clock"),
    clocked!(
        jump_counts_for_a_sleep_that_has_just_begun,
        "clock.jump-at-once",
        "trio test_mock_clock.py::test_mock_clock"
    ),
    clocked!(jump_counts_for_a_timeout_that_has_just_begun, "clock.jump-at-once", "design 8"),
    clocked!(rate_lets_time_pass, "clock.rate", "trio test_mock_clock.py::test_mock_clock"),
    clocked!(rate_of_nothing_stops_time, "clock.rate", "trio test_mock_clock.py::test_mock_clock"),
    portable!(rate_must_be_a_finite_number_at_least_zero, "clock.rate", "trio test_mock_clock.py::test_mock_clock"),
    clocked!(clone_is_the_same_clock, "clock.clone", "trio test_run.py::test_current_clock"),
    portable!(
        autojump_makes_long_sleeps_instant,
        "clock.autojump",
        "trio test_mock_clock.py::test_mock_clock_autojump"
    ),
    portable!(
        autojump_goes_exactly_to_the_next_deadline,
        "clock.autojump",
        "trio test_mock_clock.py::test_mock_clock_autojump"
    ),
    portable!(
        autojump_waits_while_anybody_can_run,
        "clock.autojump",
        "trio test_mock_clock.py::test_mock_clock_autojump"
    ),
    on_host!(
        autojump_is_set_before_the_run,
        "clock.autojump-preset",
        "trio test_mock_clock.py::test_mock_clock_autojump_preset"
    ),
    on_host!(
        autojump_with_a_delay_lets_the_idle_go_first,
        "clock.autojump-after",
        "trio test_mock_clock.py::test_mock_clock_autojump"
    ),
    on_host!(
        another_clock_has_no_effect,
        "clock.other",
        "trio test_mock_clock.py::test_mock_clock_autojump_interference"
    ),
    on_host!(
        making_a_clock_does_not_touch_the_run,
        "clock.made",
        "trio test_mock_clock.py::test_initialization_doesnt_mutate_runner"
    ),
    portable!(
        idle_goes_before_the_jump,
        "clock.idle-first",
        "trio test_mock_clock.py::test_mock_clock_autojump_0_and_wait_all_tasks_blocked_0"
    ),
    portable!(
        idle_with_a_cushion_goes_before_the_jump,
        "clock.idle-first",
        "trio test_mock_clock.py::test_mock_clock_autojump_0_and_wait_all_tasks_blocked_nonzero"
    ),
    portable!(jump_wakes_each_sleeper_once, "clock.wakes", "divergence 2"),
    on_host!(
        two_runs_share_a_clock_one_after_the_other,
        "clock.reused",
        "trio test_run.py::test_current_time_with_mock_clock"
    ),
];

async fn stands_still_and_jumps_at_once(clock: MockClock) -> Result<()> {
    let start = trine::now();
    trine::checkpoint().await?;
    assert_eq!(trine::now(), start);
    clock.jump(SECOND * 5);
    assert_eq!(trine::now() - start, SECOND * 5);
    clock.jump(Duration::from_nanos(1));
    clock.jump(Duration::ZERO);
    assert_eq!(trine::now() - start, SECOND * 5 + Duration::from_nanos(1));
    Ok(())
}

/// Also one that began in the same step.
async fn jump_counts_for_a_sleep_that_has_just_begun(clock: MockClock) -> Result<()> {
    let (slept, ()) = futures_util::join!(trine::sleep(SECOND * 3), async { clock.jump(SECOND * 3) });
    slept?;
    nursery(async |n| {
        let sleeper = n.spawn(async { Ok(trine::sleep(SECOND * 3).await?) });
        trine::checkpoint().await?;
        clock.jump(SECOND * 3);
        Ok(sleeper.await?)
    })
    .await
}

/// Alike for each way to write it, also if it has not waited yet.
async fn jump_counts_for_a_timeout_that_has_just_begun(clock: MockClock) -> Result<()> {
    let body = async || {
        clock.jump(SECOND * 5);
        trine::sleep_forever().await.map(|_| ()).map_err(Error::from)
    };
    let before = trine::now();
    assert_eq!(trine::move_on_after(SECOND * 3, body()).await?, None);
    assert_eq!(CancelScope::after(SECOND * 3).run(body()).await?, None);
    assert_eq!(CancelScope::after(SECOND * 3).nursery(async |_| body().await).await?, None);
    assert!(trine::fail_after(SECOND * 3, body()).await.is_err());
    assert_eq!(trine::now() - before, SECOND * 20);
    Ok(())
}

async fn jump_wakes_those_whose_time_came(clock: MockClock) -> Result<()> {
    nursery(async |n| {
        let sleepers: Vec<_> = (1..=6).map(|i| n.spawn(after(i))).collect();
        for come in [0, 2, 5] {
            wait_all_tasks_blocked().await?;
            let ended = sleepers.iter().filter(|s| s.is_finished()).count();
            assert_eq!(ended, come);
            clock.jump(SECOND * if come == 0 { 2 } else { 3 });
        }
        Ok(())
    })
    .await
}

async fn rate_lets_time_pass(clock: MockClock) -> Result<()> {
    let (begin, start) = (std::time::Instant::now(), trine::now());
    clock.set_rate(1000.0);
    trine::sleep(SECOND * 10).await?;
    assert!(trine::now() - start >= SECOND * 10);
    assert!(begin.elapsed() >= Duration::from_millis(9), "{:?}", begin.elapsed());
    Ok(())
}

async fn rate_of_nothing_stops_time(clock: MockClock) -> Result<()> {
    clock.set_rate(1_000_000.0);
    trine::sleep(SECOND).await?;
    clock.set_rate(0.0);
    let start = trine::now();
    nursery(async |n| {
        let sleeper = n.spawn(after(1));
        wait_all_tasks_blocked_for(Duration::from_millis(2)).await?;
        assert!(!sleeper.is_finished());
        assert_eq!(trine::now(), start);
        clock.jump(SECOND);
        sleeper.await?;
        Ok(())
    })
    .await
}

async fn rate_must_be_a_finite_number_at_least_zero() -> Result<()> {
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        let clock = MockClock::new();
        let panic = catch_unwind(move || clock.set_rate(rate)).expect_err("it is refused");
        assert!(crate::host::panic_text(&*panic).contains("rate"));
    }
    Ok(())
}

async fn clone_is_the_same_clock(clock: MockClock) -> Result<()> {
    let start = trine::now();
    clock.clone().jump(SECOND);
    assert_eq!(trine::now() - start, SECOND);
    Ok(())
}

async fn autojump_makes_long_sleeps_instant() -> Result<()> {
    let (begin, start) = (std::time::Instant::now(), trine::now());
    for _ in 0..10 {
        trine::sleep(SECOND * 100_000).await?;
    }
    assert_eq!(trine::now() - start, SECOND * 1_000_000);
    // Eleven days; the bound is only there to tell them from an instant.
    assert!(begin.elapsed() < SECOND * 60);
    Ok(())
}

async fn autojump_goes_exactly_to_the_next_deadline() -> Result<()> {
    let start = trine::now();
    nursery(async |n| {
        n.start_soon(async {
            trine::move_on_after(SECOND * 3, forever()).await?;
            assert_eq!(trine::now() - start, SECOND * 3);
            Ok(())
        });
        for nanos in [1, 2, 1_000_000_007] {
            n.start_soon(async move {
                trine::sleep(Duration::from_nanos(nanos)).await?;
                assert_eq!(trine::now() - start, Duration::from_nanos(nanos));
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

async fn autojump_waits_while_anybody_can_run() -> Result<()> {
    let (start, log) = (trine::now(), Log::default());
    nursery(async |n| {
        n.start_soon(async {
            after(1).await?;
            log.add("slept");
            Ok(())
        });
        for _ in 0..1000 {
            trine::checkpoint().await?;
            assert_eq!(trine::now(), start);
        }
        log.add("ran");
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["ran", "slept"]);
    Ok(())
}

fn autojump_is_set_before_the_run(host: &dyn Host) -> Result<()> {
    let clock = MockClock::new().autojump();
    clock.jump(SECOND * 100);
    let took = host.run(Builder::new().clock(clock), async {
        let start = trine::now();
        after(3600).await?;
        Ok::<_, trine::Error>(trine::now() - start)
    })??;
    assert_eq!(took, SECOND * 3600);
    Ok(())
}

fn autojump_with_a_delay_lets_the_idle_go_first(host: &dyn Host) -> Result<()> {
    let clock = MockClock::new().autojump_after(Duration::from_millis(20));
    host.run(Builder::new().clock(clock), async {
        let (begin, start) = (std::time::Instant::now(), trine::now());
        nursery(async |n| {
            n.start_soon(after(100));
            wait_all_tasks_blocked().await?;
            assert_eq!(trine::now(), start);
            Ok(())
        })
        .await?;
        assert_eq!(trine::now() - start, SECOND * 100);
        // It did wait in real time before it jumped.
        assert!(begin.elapsed() >= Duration::from_millis(20), "{:?}", begin.elapsed());
        Ok(())
    })?
}

fn another_clock_has_no_effect(host: &dyn Host) -> Result<()> {
    let (clock, other) = (MockClock::new(), MockClock::new().autojump());
    let own = clock.clone();
    host.run(Builder::new().clock(clock), async move {
        let start = trine::now();
        nursery(async |n| {
            let sleeper = n.spawn(after(10));
            wait_all_tasks_blocked().await?;
            other.jump(SECOND * 100);
            other.set_rate(1000.0);
            wait_all_tasks_blocked_for(Duration::from_millis(2)).await?;
            assert_eq!((sleeper.is_finished(), trine::now()), (false, start));
            own.jump(SECOND * 10);
            sleeper.await?;
            Ok(())
        })
        .await
    })?
}

fn making_a_clock_does_not_touch_the_run(host: &dyn Host) -> Result<()> {
    host.run(Builder::new(), async {
        let (begin, start) = (std::time::Instant::now(), trine::now());
        let _clock = MockClock::new().autojump();
        trine::sleep(Duration::from_millis(5)).await?;
        assert!(begin.elapsed() >= Duration::from_millis(5));
        assert!(trine::now() - start >= Duration::from_millis(5));
        Ok(())
    })?
}

async fn idle_goes_before_the_jump() -> Result<()> {
    idle_first(Duration::ZERO).await
}

async fn idle_with_a_cushion_goes_before_the_jump() -> Result<()> {
    idle_first(Duration::from_millis(3)).await
}

async fn idle_first(cushion: Duration) -> Result<()> {
    let (start, flag, log) = (trine::now(), Flag::default(), Log::default());
    nursery(async |n| {
        n.start_soon(async {
            after(1).await?;
            log.add("slept");
            Ok(())
        });
        n.start_soon(async {
            flag.wait().await;
            assert_eq!(trine::now(), start);
            log.add("flag");
            Ok(())
        });
        wait_all_tasks_blocked_for(cushion).await?;
        assert_eq!(trine::now(), start);
        log.add("idle");
        flag.set();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["idle", "flag", "slept"]);
    Ok(())
}

async fn jump_wakes_each_sleeper_once() -> Result<()> {
    let polls: Vec<_> = (0..50).map(|_| Polls::default()).collect();
    nursery(async |n| {
        for (polls, i) in polls.iter().zip(1..) {
            n.start_soon(polls.of(after(i)));
        }
        Ok(())
    })
    .await?;
    assert!(polls.iter().all(|polls| polls.count() == 2));
    Ok(())
}

fn two_runs_share_a_clock_one_after_the_other(host: &dyn Host) -> Result<()> {
    let clock = MockClock::new().autojump();
    let run = || {
        host.run(Builder::new().clock(clock.clone()), async {
            let start = trine::now();
            after(10).await?;
            assert_eq!(trine::now() - start, SECOND * 10);
            Ok::<_, trine::Error>(start)
        })
    };
    let (first, second) = (run()??, run()??);
    assert_eq!(second - first, SECOND * 10);
    Ok(())
}
