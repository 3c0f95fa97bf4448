//! Timers of those who live in the memory of another root than the timer, or who are no tasks at all.

use crate::support::{CountWakes, Live, panic_text, poll_once, waker_that_panics};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use trine::testing::MockClock;
use trine::{Builder, Hosted, Result, Sleep};

const SECOND: Duration = Duration::from_secs(1);

type Tree = Pin<Box<dyn Future<Output = Result<Option<()>>>>>;

fn on<T>(clock: &MockClock, body: impl Future<Output = Result<T>>) -> T {
    Builder::new().clock(clock.clone()).run(body).unwrap()
}

/// A nursery with a child that sleeps for `nap`, and a deadline around it.
fn tree(live: &Live, timeout: Duration, nap: Duration) -> Tree {
    let live = live.clone();
    let children = trine::nursery(async move |nursery| {
        nursery.start_soon(async move {
            let _guard = live.guard();
            Ok(trine::sleep(nap).await?)
        });
        Ok(())
    });
    Box::pin(trine::move_on_after(timeout, children))
}

/// Polls a tree for one second in one run, then to its end in another. Returns its value, and the time from its start.
fn in_two_runs(mut tree: Tree) -> (Option<()>, Duration) {
    let clock = MockClock::new().autojump();
    let start = on(&clock, async {
        let start = trine::now();
        assert!(futures::poll!(tree.as_mut()).is_pending());
        trine::sleep(SECOND).await?;
        assert!(futures::poll!(tree.as_mut()).is_pending());
        Ok(start)
    });
    on(&clock, async { Ok((tree.await?, trine::now() - start)) })
}

#[test]
fn deadline_of_a_scope_that_moved_to_another_run_fires_there() {
    let live = Live::new();
    assert_eq!(in_two_runs(tree(&live, SECOND * 5, SECOND * 100)), (None, SECOND * 5));
    assert_eq!(live.count(), 0);
}

#[test]
fn child_that_moved_to_another_run_asleep_wakes_up_there() {
    let live = Live::new();
    assert_eq!(in_two_runs(tree(&live, SECOND * 100, SECOND * 7)), (Some(()), SECOND * 7));
    assert_eq!(live.count(), 0);
}

#[test]
fn scope_that_moved_to_another_run_may_be_left_before_its_deadline() {
    let live = Live::new();
    let mut moved = tree(&live, SECOND * 5, SECOND * 3);
    let clock = MockClock::new().autojump();
    for _ in 0..3 {
        on(&clock, async {
            assert!(futures::poll!(moved.as_mut()).is_pending());
            Ok(())
        });
    }
    on(&clock, async {
        assert!(futures::poll!(moved.as_mut()).is_pending());
        drop(moved);
        let start = trine::now();
        trine::sleep(SECOND * 10).await?;
        assert_eq!(trine::now() - start, SECOND * 10);
        Ok(())
    });
    assert_eq!(live.count(), 0);
}

#[test]
fn sleeps_that_are_due_together_wake_each_waker_of_others_once() {
    let (early, late) = (CountWakes::new(), CountWakes::new());
    let clock = MockClock::new();
    on(&clock, async {
        let mut sleeps: Vec<_> = (1..=10).map(|n| Box::pin(trine::sleep(SECOND * n))).collect();
        for (n, sleep) in sleeps.iter_mut().enumerate() {
            assert!(poll_once(sleep.as_mut(), if n < 5 { &early } else { &late }).is_pending());
        }
        // They begin at the end of this pass, and are looked for at the beginning of one.
        trine::checkpoint().await?;
        clock.jump(SECOND * 5);
        trine::checkpoint().await?;
        trine::checkpoint().await?;
        assert_eq!((early.count(), late.count()), (5, 0));
        let ready = |sleep: &mut Pin<Box<Sleep>>| poll_once(sleep.as_mut(), &early).is_ready();
        assert_eq!(sleeps.iter_mut().take(5).filter_map(|s| ready(s).then_some(())).count(), 5);
        Ok(())
    });
    assert_eq!((Arc::strong_count(&early), Arc::strong_count(&late)), (1, 1));
}

/// Somebody whose waker panics is due together with `others` who sleep: the run panics, and all others are woken.
fn beside_a_waker_that_panics(first: Pin<Box<dyn Future<Output = Result<()>>>>, others: u64) {
    let woken = CountWakes::new();
    let count = woken.clone();
    let clock = MockClock::new();
    let driver = clock.clone();
    let run = AssertUnwindSafe(|| {
        on(&driver, async {
            let mut first = first;
            let mut sleeps: Vec<_> = (0..others).map(|_| Box::pin(trine::sleep(SECOND))).collect();
            let panics = waker_that_panics();
            assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
            for sleep in &mut sleeps {
                assert!(poll_once(sleep.as_mut(), &count).is_pending());
            }
            trine::checkpoint().await?;
            clock.jump(SECOND * 2);
            trine::checkpoint().await?;
            Ok(())
        });
    });
    let panic = catch_unwind(run).expect_err("the waker's panic goes on");
    assert_eq!(panic.downcast_ref(), Some(&"a waker panics"));
    assert_eq!(woken.count() as u64, others);
}

#[test]
fn sleeper_whose_waker_panics_keeps_nobody_asleep() {
    beside_a_waker_that_panics(Box::pin(async { Ok(trine::sleep(SECOND).await?) }), 3);
}

#[test]
fn scope_whose_waker_panics_keeps_nobody_asleep() {
    let scope = trine::move_on_after(SECOND, async { Ok(std::future::pending::<()>().await) });
    beside_a_waker_that_panics(Box::pin(async { scope.await.map(drop) }), 3);
}

#[test]
fn a_sleep_that_has_ended_in_one_run_is_over_in_the_next() {
    let clock = MockClock::new();
    let mut sleep = Box::pin(trine::sleep(10 * SECOND));
    on(&clock, async {
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        clock.jump(10 * SECOND);
        Ok(trine::checkpoint().await?)
    });
    on(&clock, async { Ok(sleep.as_mut().await?) });
}

/// A sleeper on a clock that stands still, hosted where nothing but the clock wakes it.
fn hosted_sleep(clock: &MockClock) -> Pin<Box<Hosted<Sleep>>> {
    Box::pin(Builder::new().backend(trine::backend::native()).clock(clock.clone()).host(trine::sleep(SECOND)))
}

#[test]
fn clock_keeps_one_waker_of_a_host_and_none_after_its_end() {
    let clock = MockClock::new();
    let mut sleep = hosted_sleep(&clock);
    let wakers: Vec<_> = (0..10).map(|_| CountWakes::new()).collect();
    let kept = || wakers.iter().filter(|waker| Arc::strong_count(waker) > 1).count();
    for waker in &wakers {
        assert!(poll_once(sleep.as_mut(), waker).is_pending());
        assert_eq!(kept(), 1);
    }
    clock.jump(SECOND / 2);
    assert_eq!(wakers.iter().map(|waker| waker.count()).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert!(poll_once(sleep.as_mut(), &wakers[3]).is_pending());
    drop(sleep);
    assert_eq!(kept(), 0);
    clock.jump(SECOND);
    assert_eq!(wakers[3].count(), 0);
}

#[test]
fn jump_wakes_all_hosts_though_a_waker_panics() {
    let (clock, woken) = (MockClock::new(), CountWakes::new());
    let (mut first, mut second) = (hosted_sleep(&clock), hosted_sleep(&clock));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker_that_panics())).is_pending());
    assert!(poll_once(second.as_mut(), &woken).is_pending());
    let panic = catch_unwind(|| clock.jump(SECOND)).expect_err("the waker's panic goes on");
    assert_eq!(panic.downcast_ref(), Some(&"a waker panics"));
    assert_eq!(woken.count(), 1);
    assert!(poll_once(second.as_mut(), &woken).is_ready());
}

#[test]
fn sleeper_is_no_deadlock_while_somebody_moves_the_clock() {
    let (clock, wakes) = (MockClock::new(), CountWakes::new());
    let mut sleep = hosted_sleep(&clock);
    assert!(poll_once(sleep.as_mut(), &wakes).is_pending());
    // As long as it waits for one who has the clock and does nothing.
    std::thread::sleep(Duration::from_millis(500));
    clock.jump(SECOND / 2);
    assert!(poll_once(sleep.as_mut(), &wakes).is_pending());
    clock.jump(SECOND / 2);
    assert!(poll_once(sleep.as_mut(), &wakes).is_ready());
}

#[test]
fn sleeper_is_a_deadlock_once_nobody_has_the_clock() {
    let (clock, wakes) = (MockClock::new(), CountWakes::new());
    let mut sleep = hosted_sleep(&clock);
    assert!(poll_once(sleep.as_mut(), &wakes).is_pending());
    drop(clock);
    let text = panic_text(|| drop(poll_once(sleep.as_mut(), &wakes)));
    assert!(text.contains("deadlock") && text.contains("sleep"), "{text}");
}

#[test]
fn jump_of_the_last_who_had_the_clock_is_seen() {
    for _ in 0..200 {
        let clock = MockClock::new();
        let jumper = Builder::new().clock(clock.clone()).run(async {
            let at = trine::now() + SECOND;
            let jumper = std::thread::spawn(move || clock.jump(SECOND));
            trine::sleep_until(at).await.map(|()| jumper)
        });
        jumper.unwrap().join().unwrap();
    }
}

#[test]
fn sleeps_of_a_clock_that_is_real_begin_and_are_dropped_in_any_order() {
    let timers = || trine::inspect::statistics().timers;
    let begin = async || {
        let mut sleep = Box::pin(trine::sleep(3600 * SECOND));
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        Some(sleep)
    };
    trine::run(async {
        for _ in 0..3 {
            let alone = begin().await;
            assert_eq!(timers(), 1);
            drop(alone);
            assert_eq!(timers(), 0);
        }
        for (order, is_in_one_pass) in [([0, 1, 2], true), ([2, 0, 1], true), ([1, 2, 0], false), ([2, 1, 0], false)] {
            let mut sleeps = [const { None }; 3];
            for sleep in &mut sleeps {
                *sleep = begin().await;
            }
            if !is_in_one_pass {
                trine::checkpoint().await?;
            }
            for (ended, index) in order.into_iter().enumerate() {
                sleeps[index] = None;
                assert_eq!(timers(), 2 - ended);
                // Another one, in the place of that which is gone.
                let another = begin().await;
                assert_eq!(timers(), 3 - ended);
                drop(another);
                assert_eq!(timers(), 2 - ended);
            }
        }
        if let Some(mut polled_again) = begin().await {
            assert!(futures::poll!(polled_again.as_mut()).is_pending());
        }
        let start = trine::now();
        trine::nursery(async |nursery| {
            for index in 0..100 {
                nursery.start_soon(async move { Ok(trine::sleep(Duration::from_micros(10 * (index % 7) + 1)).await?) });
            }
            Ok(())
        })
        .await?;
        assert!(trine::now() - start >= Duration::from_micros(61));
        assert_eq!(timers(), 0);
        Ok::<_, trine::Error>(())
    })
    .unwrap();
}
