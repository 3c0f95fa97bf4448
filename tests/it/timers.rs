//! Timers of those who live in the memory of another root than the timer, or who are no tasks at all.

use crate::support::{CountWakes, Live, poll_once};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use trine::testing::MockClock;
use trine::{Builder, Result};

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
        let ready = |sleep: &mut Pin<Box<trine::Sleep>>| poll_once(sleep.as_mut(), &early).is_ready();
        assert_eq!(sleeps.iter_mut().take(5).filter_map(|s| ready(s).then_some(())).count(), 5);
        Ok(())
    });
    assert_eq!((Arc::strong_count(&early), Arc::strong_count(&late)), (1, 1));
}
