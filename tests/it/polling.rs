//! Who polls a nursery, and how often: another task than before, with another's waker, beyond the budget of a turn.

use crate::support::{CountWakes, poll_once};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use trine::sync::Event;
use trine::{CancelScope, Result};

type Tree = Pin<Box<dyn Future<Output = Result<Option<u32>>> + Send>>;

/// How a nursery is made to end.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Event,
    Cancel,
    /// By a child that another thread spawns.
    Spawner,
}

/// A nursery whose only child waits, and what lets it go on.
fn waiting() -> (impl FnOnce(Way), Tree) {
    let (event, scope) = (Arc::new(Event::new()), CancelScope::new());
    let spawner = Arc::new(OnceLock::new());
    let (waits, spawns) = (event.clone(), spawner.clone());
    let nursery = trine::nursery(async move |n| {
        spawns.set(n.spawner()).ok();
        let child = n.spawn(async move { Ok(waits.wait().await.map(|()| 7)?) });
        Ok(child.await?)
    });
    let handle = scope.clone();
    let end = move |way| match way {
        Way::Event => event.set(),
        Way::Cancel => handle.cancel(),
        Way::Spawner => {
            let set = async move { Ok(event.set()) };
            std::thread::spawn(move || spawner.get().unwrap().start_soon(set)).join().unwrap().unwrap();
        }
    };
    (end, Box::pin(async move { scope.run(nursery).await }))
}

/// Polls what is in the place, with this waker or its own; once, or until it has ended.
async fn poll_in(place: Arc<Mutex<Tree>>, waker: Option<Waker>, once: bool) -> Result<Option<u32>> {
    poll_fn(|cx| {
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        match place.lock().unwrap().as_mut().poll(&mut cx) {
            Poll::Pending if once => Poll::Ready(Ok(None)),
            polled => polled,
        }
    })
    .await
}

#[test]
fn a_nursery_goes_on_in_a_task_that_lives_where_the_one_before_did() {
    for (rounds, way) in (0..3).flat_map(|rounds| [Way::Event, Way::Cancel, Way::Spawner].map(|way| (rounds, way))) {
        let got = trine::testing::run(async move {
            trine::nursery(async move |n| {
                let (end, tree) = waiting();
                let place = Arc::new(Mutex::new(tree));
                // Each ends, and the next one has its slot.
                for _ in 0..=rounds {
                    assert_eq!(n.spawn(poll_in(place.clone(), None, true)).await?, None);
                }
                let last = n.spawn(poll_in(place, None, false));
                trine::testing::wait_all_tasks_blocked().await?;
                end(way);
                Ok(last.await?)
            })
            .await
        });
        assert_eq!(got.unwrap(), (way != Way::Cancel).then_some(7));
    }
}

#[test]
fn a_nursery_wakes_whoever_it_was_polled_for() {
    let got = trine::testing::run(async {
        trine::nursery(async |n| {
            let (end, tree) = waiting();
            let place = Arc::new(Mutex::new(tree));
            let polled = Arc::new(Mutex::new(None));
            // Waits with the nursery, which another task polls for it.
            let (looks, seen) = (place.clone(), polled.clone());
            let waits = n.spawn(async move {
                poll_fn(|cx| {
                    let mut waker = seen.lock().unwrap();
                    if waker.is_some() {
                        return looks.lock().unwrap().as_mut().poll(cx);
                    }
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                })
                .await
            });
            trine::testing::wait_all_tasks_blocked().await?;
            let waker = polled.lock().unwrap().clone();
            n.spawn(poll_in(place, waker, true)).await?;
            end(Way::Event);
            Ok(waits.await?)
        })
        .await
    });
    assert_eq!(got.unwrap(), Some(7));
}

#[test]
fn nurseries_without_a_checkpoint_give_the_thread_back() {
    const NURSERIES: usize = 200_000;
    let mut tree = Box::pin(trine::nursery(async |_| {
        for _ in 0..NURSERIES {
            trine::nursery(async |_| Ok(())).await?;
        }
        Ok(())
    }));
    let wakes = CountWakes::new();
    let mut polls = 1;
    while poll_once(tree.as_mut(), &wakes).is_pending() {
        assert_eq!(wakes.count(), polls, "it has to ask for the next poll");
        polls += 1;
    }
    assert!((3..10).contains(&polls), "{polls} polls");
}

/// Nurseries are opened until one has to wait for the next turn; then one that was opened before is polled.
#[test]
fn a_nursery_that_has_begun_goes_on_in_a_turn_that_is_overdrawn() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let mut half = Box::pin(trine::nursery(async move |n| {
        n.start_soon(poll_fn(move |cx| {
            count.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        Ok(())
    }));
    let mut tree = Box::pin(trine::nursery(async |_| {
        poll_fn(|cx| {
            assert!(half.as_mut().poll(cx).is_pending());
            while Box::pin(trine::nursery(async |_| Ok(()))).as_mut().poll(cx).is_ready() {}
            let before = ran.load(Ordering::Relaxed);
            assert!(half.as_mut().poll(cx).is_pending());
            assert_eq!(ran.load(Ordering::Relaxed), before + 1, "one poll, whatever the budget says");
            Poll::Ready(Ok(()))
        })
        .await
    }));
    assert!(matches!(poll_once(tree.as_mut(), &CountWakes::new()), Poll::Ready(Ok(()))));
}

/// Fails with: a level that polls its task again though the budget is spent, which is twice as many polls for each level.
#[test]
fn a_spent_budget_is_spent_on_every_level() {
    const LEVELS: usize = 12;
    fn level(left: usize, polls: Arc<AtomicUsize>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        if left == 0 {
            return Box::pin(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        Box::pin(trine::nursery(async move |n| {
            n.start_soon(level(left - 1, polls));
            Ok(())
        }))
    }
    let polls = Arc::new(AtomicUsize::new(0));
    let mut tree = level(LEVELS, polls.clone());
    for turn in 1..4 {
        let before = polls.load(Ordering::Relaxed);
        assert!(poll_once(tree.as_mut(), &CountWakes::new()).is_pending());
        let polled = polls.load(Ordering::Relaxed) - before;
        assert!((1..=1024 + LEVELS).contains(&polled), "{polled} polls in turn {turn}");
    }
}
