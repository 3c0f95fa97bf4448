//! What the fuzz found, each as small as it could be made.

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::Poll;
use std::time::Duration;
use trine::inspect::{Instrument, TaskInfo};
use trine::testing::{MockClock, Order};
use trine::{
    CancelScope, EffectiveDeadline, Error, Result, checkpoint, current_effective_deadline, move_on_after, nursery,
    race, sleep, sleep_forever,
};
use trine_conformance::fuzz::{Program, Setup, check};
use trine_conformance::host::{self, Host};

async fn fails(message: &'static str) -> Result<()> {
    Err(Error::msg(message))
}

#[test]
fn cancellation_of_losers_stays_inside_the_race() {
    let error = trine::testing::run(race(
        async { Ok(checkpoint().await?) },
        nursery(async |n| {
            n.start_soon(async { Ok(sleep(Duration::from_secs(60)).await?) });
            let _ = sleep(Duration::from_secs(60)).await;
            fails("clean-up failed").await
        }),
    ))
    .unwrap_err();
    assert!(!error.has_cancelled(), "{error}");
    assert_eq!(error.leaves().map(ToString::to_string).collect::<Vec<_>>(), ["clean-up failed"]);
}

#[test]
fn effective_deadline_knows_of_a_cancel_by_another_thread() {
    let scope = CancelScope::new();
    let seen = trine::testing::run(scope.run(async {
        std::thread::scope(|s| s.spawn(|| scope.cancel()).join()).unwrap();
        let seen = current_effective_deadline();
        assert!(trine::checkpoint_if_cancelled().is_err());
        Ok(seen)
    }))
    .unwrap();
    assert_eq!(seen, Some(EffectiveDeadline::Cancelled));
}

/// Tasks that were spawned and have not exited.
#[derive(Clone, Default)]
struct Balance(Arc<AtomicI32>);

impl Instrument for Balance {
    fn task_spawned(&self, _: &TaskInfo) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn task_exited(&self, _: &TaskInfo) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Moves a nursery half-run out of the scope where it began, behind a combinator that polls only what was woken, and
/// cancels the scope around it; how many tasks did not exit?
fn tasks_lost_by_a_move(host: &dyn Host, poll_it_again: bool) -> i32 {
    type Half = FuturesUnordered<Pin<Box<dyn Future<Output = Result<()>> + Send>>>;
    let balance = Balance::default();
    let builder = trine::Builder::new().clock(MockClock::new().autojump()).instrument(balance.clone());
    let cancelled = host.run(
        builder,
        move_on_after(Duration::from_secs(60), async move {
            let half = Half::from_iter([Box::pin(nursery(async |n| {
                n.start_soon(async { Ok(sleep_forever().await.map(|_| ())?) });
                Ok(sleep_forever().await.map(|_| ())?)
            })) as _]);
            let mut half = Some(half);
            let begun = move_on_after(Duration::from_secs(30), async {
                // Twice: the child runs, too.
                for _ in 0..2 {
                    poll_fn(|cx| {
                        assert!(half.as_mut().expect("it is here").poll_next_unpin(cx).is_pending());
                        Poll::Ready(())
                    })
                    .await;
                    checkpoint().await?;
                }
                Ok(half.take().expect("it is here"))
            });
            let mut half = begun.await?.expect("it takes no time");
            if poll_it_again {
                half = half.into_iter().collect();
            }
            half.next().await.expect("it is one")
        }),
    );
    assert!(matches!(cancelled, Ok(Ok(None))));
    balance.0.load(Ordering::Relaxed)
}

/// Found by seed 1136732: a nursery that was not polled since the move hears of no cancel and is dropped, and so were its
/// tasks without a word to the instrument.
#[test]
fn tasks_of_a_nursery_that_was_moved_exit() {
    for host in host::all() {
        for poll_it_again in [true, false] {
            assert_eq!(tasks_lost_by_a_move(&*host, poll_it_again), 0, "{host:?}, polled again: {poll_it_again}");
        }
    }
}

#[test]
fn seeds_that_failed_pass() {
    for seed in [1_136_732] {
        let program = Program::generate(seed);
        for (host, order) in host::all().iter().flat_map(|h| [Order::Fifo, Order::Lifo].map(|order| (h, order))) {
            let report = check(&program, &Setup { host: host.clone(), order });
            assert!(report.passed(), "seed {seed} on {host:?}: {:?}", report.failures);
        }
    }
}
