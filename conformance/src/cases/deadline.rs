//! Deadlines of scopes: when they count, what moves them, who sees them.

use super::cancel_tools::{Log, SECOND, after, checkpoint, foreign, forever};
use crate::case::{Case, clocked, portable, real_time};
use std::sync::Mutex;
use std::time::Duration;
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{CancelScope, ReasonKind, Result, inspect, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(fires_at_its_instant_and_only_inside, "deadline.inside", "trio test_run.py::test_basic_timeout"),
    portable!(
        moved_into_the_past_cancels_at_once,
        "deadline.past",
        "trio test_run.py::test_basic_timeout, divergence 8"
    ),
    portable!(moved_earlier_while_waiting, "deadline.moved", "divergence 8"),
    portable!(moved_later_while_waiting, "deadline.moved", "divergence 8"),
    portable!(taken_away_while_waiting, "deadline.moved", "divergence 8"),
    portable!(given_while_waiting, "deadline.moved", "divergence 8"),
    portable!(past_at_entry_stops_at_the_first_checkpoint, "deadline.past", "divergence 8"),
    portable!(zero_stops_at_the_first_checkpoint, "deadline.zero", "divergence 8"),
    portable!(timeout_counts_from_entry, "deadline.entry", "trio test_timeouts.py::test_timeout_deadline_on_entry"),
    portable!(
        unentered_timeout_has_no_instant_yet,
        "deadline.entry",
        "trio test_timeouts.py::test_invalid_access_unentered"
    ),
    portable!(largest_timeout_never_comes, "deadline.largest", "divergence 8"),
    portable!(no_effect_after_a_cancel, "deadline.cancelled", "divergence 8"),
    portable!(inner_deadline_leaves_the_outer_alone, "deadline.nested", "divergence 8"),
    portable!(outer_deadline_goes_through_the_inner, "deadline.nested", "divergence 8"),
    clocked!(equal_deadlines_are_the_outer_scopes, "deadline.equal", "divergence 8, divergence 4"),
    clocked!(
        passed_deadline_is_seen_when_asked,
        "deadline.asked",
        "divergence 8, trio test_run.py::test_cancel_unbound"
    ),
    clocked!(
        passed_deadline_of_an_unentered_scope_stays_called,
        "deadline.asked",
        "trio test_run.py::test_cancel_unbound"
    ),
    clocked!(moved_later_before_anybody_noticed_rescues, "deadline.rescued", "divergence 8"),
    clocked!(
        checkpoint_sees_what_passed_before_it,
        "deadline.checkpoint",
        "trio test_run.py::test_yield_briefly_checks_for_timeout, divergence 8"
    ),
    clocked!(value_in_hand_beats_a_passed_deadline, "deadline.value", "divergence 8"),
    clocked!(left_scope_has_no_deadline, "deadline.left", "trio test_run.py::test_basic_timeout"),
    portable!(
        moved_ten_thousand_times_is_one_timer,
        "deadline.moves",
        "trio test_run.py::test_cancel_scope_deadline_duplicates"
    ),
    portable!(each_of_many_comes_at_its_own_instant, "deadline.many", "divergence 8"),
    real_time!(real_deadline_is_never_early, "deadline.real", "trio test_run.py::test_timekeeping, divergence 8"),
];

async fn fires_at_its_instant_and_only_inside() -> Result<()> {
    let start = trine::now();
    let scope = CancelScope::at(start + SECOND);
    assert_eq!(scope.run(forever()).await?, None);
    assert_eq!(trine::now() - start, SECOND);
    assert_eq!(scope.reason().map(|reason| reason.kind()), Some(ReasonKind::Deadline));
    // Left in time: nothing happens later.
    let scope = CancelScope::at(start + SECOND * 5);
    assert_eq!(scope.run(after(1)).await?, Some(()));
    after(20).await?;
    assert!(!scope.cancelled_caught() && !scope.cancel_called());
    Ok(())
}

async fn moved_into_the_past_cancels_at_once() -> Result<()> {
    let start = trine::now();
    let scope = CancelScope::after(SECOND * 50);
    let outcome = nursery(async |n| {
        let waiting = n.spawn(scope.run(forever()));
        wait_all_tasks_blocked().await?;
        scope.set_deadline(Some(start - SECOND));
        assert!(scope.cancel_called());
        Ok(waiting.await?)
    })
    .await?;
    assert_eq!((outcome, trine::now()), (None, start));
    assert!(scope.cancelled_caught());
    Ok(())
}

/// How long a wait under `scope` takes whose deadline is changed after a second.
async fn ends_after(scope: CancelScope, change: impl FnOnce(&CancelScope) + Send) -> Result<Duration> {
    let start = trine::now();
    nursery(async |n| {
        let waiting = n.spawn(scope.run(after(100)));
        trine::sleep(SECOND).await?;
        change(&scope);
        waiting.await?;
        Ok(())
    })
    .await?;
    Ok(trine::now() - start)
}

async fn moved_earlier_while_waiting() -> Result<()> {
    let start = trine::now();
    let took = ends_after(CancelScope::after(SECOND * 50), |s| s.set_deadline(Some(start + SECOND * 3))).await?;
    assert_eq!(took, SECOND * 3);
    Ok(())
}

async fn moved_later_while_waiting() -> Result<()> {
    let start = trine::now();
    let took = ends_after(CancelScope::after(SECOND * 2), |s| s.set_deadline(Some(start + SECOND * 60))).await?;
    assert_eq!(took, SECOND * 60);
    Ok(())
}

async fn taken_away_while_waiting() -> Result<()> {
    let scope = CancelScope::after(SECOND * 2);
    let took = ends_after(scope.clone(), |s| s.set_deadline(None)).await?;
    assert_eq!((took, scope.deadline(), scope.cancel_called()), (SECOND * 100, None, false));
    Ok(())
}

async fn given_while_waiting() -> Result<()> {
    let start = trine::now();
    let took = ends_after(CancelScope::new(), |s| s.set_deadline(Some(start + SECOND * 4))).await?;
    assert_eq!(took, SECOND * 4);
    Ok(())
}

async fn past_at_entry_stops_at_the_first_checkpoint() -> Result<()> {
    stops_at_once(CancelScope::at(trine::now() - SECOND)).await?;
    stops_at_once(CancelScope::at(trine::now())).await
}

async fn zero_stops_at_the_first_checkpoint() -> Result<()> {
    stops_at_once(CancelScope::after(Duration::ZERO)).await?;
    // What is ready gives its value, what is foreign is dropped.
    assert_eq!(trine::move_on_after(Duration::ZERO, async { Ok(1) }).await?, Some(1));
    assert_eq!(trine::move_on_after(Duration::ZERO, foreign()).await?, None);
    Ok(())
}

async fn stops_at_once(scope: CancelScope) -> Result<()> {
    let (start, log) = (trine::now(), Log::default());
    let outcome = scope
        .run(async {
            log.add("entered");
            trine::checkpoint().await?;
            log.add("went on");
            Ok(())
        })
        .await?;
    assert_eq!((outcome, log.take(), trine::now()), (None, vec!["entered"], start));
    Ok(())
}

async fn timeout_counts_from_entry() -> Result<()> {
    let scope = CancelScope::after(SECOND * 2);
    after(5).await?;
    let entered = trine::now();
    let seen = Mutex::new(None);
    let outcome = scope
        .run(async {
            *seen.lock().unwrap() = scope.deadline();
            forever().await
        })
        .await?;
    assert_eq!((outcome, trine::now() - entered), (None, SECOND * 2));
    assert_eq!(seen.into_inner().unwrap(), Some(entered + SECOND * 2));
    Ok(())
}

async fn unentered_timeout_has_no_instant_yet() -> Result<()> {
    let scope = CancelScope::after(SECOND);
    assert_eq!(scope.deadline(), None);
    after(100).await?;
    // Asking did nothing, and no time has begun to run.
    assert!(!scope.cancel_called());
    assert_eq!(scope.run(checkpoint()).await?, Some(()));
    Ok(())
}

async fn largest_timeout_never_comes() -> Result<()> {
    let scope = CancelScope::after(Duration::MAX);
    assert_eq!(scope.run(after(1_000_000)).await?, Some(()));
    assert!(!scope.cancel_called());
    Ok(())
}

async fn no_effect_after_a_cancel() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(async {
            scope.cancel();
            scope.set_deadline(None);
            scope.set_deadline(Some(trine::now() + SECOND * 1000));
            checkpoint().await
        })
        .await?;
    assert_eq!((outcome, scope.deadline()), (None, None));
    assert_eq!(scope.reason().map(|reason| reason.kind()), Some(ReasonKind::Explicit));
    Ok(())
}

async fn inner_deadline_leaves_the_outer_alone() -> Result<()> {
    let (start, outer) = (trine::now(), CancelScope::after(SECOND * 9));
    let outcome = outer
        .run(async {
            assert_eq!(trine::move_on_after(SECOND * 2, forever()).await?, None);
            assert_eq!(trine::now() - start, SECOND * 2);
            forever().await
        })
        .await?;
    assert_eq!((outcome, trine::now() - start), (None, SECOND * 9));
    Ok(())
}

async fn outer_deadline_goes_through_the_inner() -> Result<()> {
    let (start, inner) = (trine::now(), CancelScope::after(SECOND * 9));
    assert_eq!(trine::move_on_after(SECOND * 2, inner.run(forever())).await?, None);
    assert_eq!(trine::now() - start, SECOND * 2);
    assert!(!inner.cancel_called() && !inner.cancelled_caught());
    Ok(())
}

async fn equal_deadlines_are_the_outer_scopes(clock: MockClock) -> Result<()> {
    let deadline = trine::now() + SECOND;
    let (outer, inner) = (CancelScope::at(deadline), CancelScope::at(deadline));
    let outcome = nursery(async |n| {
        let waiting = n.spawn(outer.run(inner.run(forever())));
        wait_all_tasks_blocked().await?;
        clock.jump(SECOND);
        Ok(waiting.await?)
    })
    .await?;
    assert_eq!(outcome, None);
    assert!(outer.cancelled_caught() && !inner.cancelled_caught());
    Ok(())
}

async fn passed_deadline_is_seen_when_asked(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let outcome = scope
        .run(async {
            assert!(!scope.cancel_called());
            clock.jump(SECOND);
            // Asking performs the cancel: nothing takes it back.
            assert!(scope.cancel_called());
            scope.set_deadline(None);
            assert!(scope.cancel_called());
            Ok(trine::checkpoint_if_cancelled()?)
        })
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn passed_deadline_of_an_unentered_scope_stays_called(clock: MockClock) -> Result<()> {
    let scope = CancelScope::at(trine::now() + SECOND);
    assert!(!scope.cancel_called());
    clock.jump(SECOND);
    assert!(scope.cancel_called());
    scope.set_deadline(Some(trine::now() + SECOND));
    assert!(scope.cancel_called());
    assert_eq!(scope.run(checkpoint()).await?, None);
    Ok(())
}

async fn moved_later_before_anybody_noticed_rescues(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let outcome = scope
        .run(async {
            clock.jump(SECOND * 2);
            scope.set_deadline(Some(trine::now() + SECOND));
            checkpoint().await
        })
        .await?;
    assert_eq!((outcome, scope.cancel_called()), (Some(()), false));
    Ok(())
}

async fn checkpoint_sees_what_passed_before_it(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let outcome = scope
        .run(async {
            trine::checkpoint().await?;
            clock.jump(SECOND);
            checkpoint().await
        })
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

async fn value_in_hand_beats_a_passed_deadline(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let outcome = scope
        .run(async {
            clock.jump(SECOND * 5);
            Ok(1)
        })
        .await?;
    assert_eq!((outcome, scope.cancelled_caught()), (Some(1), false));
    Ok(())
}

async fn left_scope_has_no_deadline(clock: MockClock) -> Result<()> {
    let scope = CancelScope::after(SECOND);
    assert_eq!(scope.run(checkpoint()).await?, Some(()));
    assert_eq!(inspect::statistics().timers, 0);
    clock.jump(SECOND * 2);
    trine::checkpoint().await?;
    assert!(!scope.cancel_called());
    Ok(())
}

async fn moved_ten_thousand_times_is_one_timer() -> Result<()> {
    let (start, scope) = (trine::now(), CancelScope::new());
    let outcome = scope
        .run(async {
            for i in 0..10_000 {
                scope.set_deadline(Some(start + SECOND * 10_000 - Duration::from_millis(i)));
            }
            scope.set_deadline(Some(start + SECOND * 7));
            trine::checkpoint().await?;
            assert!(inspect::statistics().timers <= 1, "{}", inspect::statistics().timers);
            forever().await
        })
        .await?;
    assert_eq!((outcome, trine::now() - start), (None, SECOND * 7));
    Ok(())
}

async fn each_of_many_comes_at_its_own_instant() -> Result<()> {
    let start = trine::now();
    nursery(async |n| {
        for i in 0..500_u64 {
            let timeout = Duration::from_nanos(1 + i * 7_919 % 10_007 * 1_000_003);
            n.start_soon(async move {
                assert_eq!(trine::move_on_after(timeout, forever()).await?, None);
                assert_eq!(trine::now() - start, timeout);
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

async fn real_deadline_is_never_early() -> Result<()> {
    for micros in [1, 500, 1_000, 7_300, 50_000] {
        let (timeout, start) = (Duration::from_micros(micros), std::time::Instant::now());
        assert_eq!(trine::move_on_after(timeout, forever()).await?, None);
        assert!(start.elapsed() >= timeout, "{:?} of {timeout:?}", start.elapsed());
    }
    Ok(())
}
