//! Handles: what they say of their child, and that its value is in the child's own slot, which goes back when child and handle
//! have both left it.

use crate::support::{CountWakes, Live, Oops, block_on, oopses};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex as StdMutex};
use std::task::Poll;
use std::time::Duration;
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{Error, Handle, JoinError, testing};

const ROUNDS: usize = 200;

/// A poll with a waker of nobody's.
fn poll_once<T>(handle: &mut Handle<'_, T>) -> Poll<Result<T, JoinError>> {
    crate::support::poll_once(Pin::new(handle), &Arc::<CountWakes>::default())
}

/// What two sides of a hand-over do, in every order that two threads may find.
fn together<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    let start = Barrier::new(2);
    std::thread::scope(|threads| {
        let other = threads.spawn(|| {
            start.wait();
            b()
        });
        start.wait();
        (a(), other.join().unwrap())
    })
}

#[test]
fn handle_gives_the_value_before_and_after_the_child_ended() {
    run(trine::nursery(async |n| {
        let early = n.spawn(async {
            trine::sleep(Duration::from_secs(1)).await?;
            Ok(1)
        });
        let late = n.spawn(async { Ok(2) });
        assert!(!early.is_finished());
        assert_eq!(early.await?, 1);
        assert!(late.is_finished());
        assert_eq!(late.await?, 2);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn handle_is_polled_again_through_a_reference_after_a_cancel() {
    run(trine::nursery(async |n| {
        let mut handle = n.spawn(async {
            trine::sleep(Duration::from_secs(5)).await?;
            Ok(7)
        });
        let early = trine::move_on_after(Duration::from_secs(1), async { Ok((&mut handle).await?) }).await?;
        assert_eq!(early, None);
        assert_eq!(handle.await?, 7);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn handle_of_a_cancelled_child_says_lost_and_nothing_else_is_cancelled() {
    run(trine::nursery(async |n| {
        let sibling = n.spawn(async {
            trine::sleep(Duration::from_secs(3)).await?;
            Ok("sibling")
        });
        let child = n.spawn(async {
            trine::sleep_forever().await?;
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        child.cancel();
        assert!(matches!(child.await, Err(JoinError::Lost)));
        assert_eq!(sibling.await?, "sibling");
        trine::checkpoint().await?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn cancelling_a_child_before_it_ran_lets_it_see_the_cancel() {
    run(trine::nursery(async |n| {
        let child = n.spawn(async { Ok(trine::checkpoint().await.is_err()) });
        child.cancel();
        // It swallowed the cancel, so it has a value.
        assert!(child.await?);
        Ok(())
    }))
    .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_cancelled_child_with_an_error_of_its_own_still_fails_the_nursery() {
    let error = run(trine::nursery(async |n| {
        let child = n.spawn(async {
            if trine::sleep_forever().await.is_err() {
                return Err(Oops(1).into());
            }
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        child.cancel();
        child.await?;
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [1]);
    assert!(!error.has_cancelled());
}

#[test]
fn a_failing_child_cancels_a_waiter_inside_the_nursery() {
    let kept = StdMutex::new(None);
    let error = run(trine::nursery(async |n| {
        let child = n.spawn(async {
            trine::checkpoint().await?;
            Err::<(), _>(Oops(1).into())
        });
        let result = child.await;
        *kept.lock().unwrap() = Some(matches!(result, Err(JoinError::Cancelled(_))));
        result?;
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [1]);
    assert_eq!(kept.into_inner().unwrap(), Some(true));
}

#[test]
fn a_failing_child_is_lost_to_a_waiter_outside() {
    run(trine::nursery(async |outer| {
        let (tx, rx) = trine::channel(1);
        let failing = outer.spawn(async move {
            let result = trine::nursery(async |inner| {
                let child = inner.spawner().spawn(async {
                    trine::checkpoint().await?;
                    Err::<(), Error>(Oops(1).into())
                })?;
                tx.try_send(child).map_err(|e| e.kind)?;
                Ok(())
            })
            .await;
            Ok(oopses(&result.unwrap_err()))
        });
        let child = rx.recv().await?;
        assert!(matches!(child.await, Err(JoinError::Lost)));
        assert_eq!(failing.await?, [1]);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_value_that_nobody_takes_is_dropped_once() {
    let live = Live::new();
    testing::run(trine::nursery(async |n| {
        // Dropped before the child has run, and after.
        let (first, second) = (live.guard(), live.guard());
        drop(n.spawn(async move { Ok(first) }));
        let handle = n.spawn(async move { Ok(second) });
        testing::wait_all_tasks_blocked().await?;
        assert_eq!(live.count(), 1, "the first value is gone with its child");
        assert!(handle.is_finished());
        drop(handle);
        assert_eq!(live.count(), 0);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_value_that_was_taken_belongs_to_the_taker() {
    let live = Live::new();
    let guard = testing::run(trine::nursery(async |n| {
        let guard = live.guard();
        Ok(n.spawn(async move { Ok(guard) }).await?)
    }))
    .unwrap();
    assert_eq!(live.count(), 1);
    drop(guard);
    assert_eq!(live.count(), 0);
}

#[test]
fn a_handle_whose_wait_has_ended_leaves_its_value_and_nothing_twice() {
    run(trine::nursery(async |n| {
        for round in 0..3 {
            let live = Live::default();
            let value = live.guard();
            let mut handle = n.spawn(async move { Ok(value) });
            // It leaves a waiter, as an `await` does, and is not polled again.
            poll_fn(|cx| {
                assert!(Pin::new(&mut handle).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            wait_all_tasks_blocked().await?;
            assert!(handle.is_finished());
            assert_eq!(live.count(), 1, "in round {round}");
            drop(handle);
            assert_eq!(live.count(), 0, "in round {round}");
        }
        // The slot and the task go on.
        let again = n.spawn(async { Ok(7) });
        assert_eq!(again.await?, 7);
        Ok(())
    }))
    .unwrap();
    // Debug builds look, at the end of the root, whether more was given back than was taken.
}

#[test]
fn values_and_futures_of_any_size_and_alignment_arrive() {
    #[repr(align(64))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Aligned(u8);

    testing::run(trine::nursery(async |n| {
        let small = n.spawn(async { Ok(1u8) });
        let nothing = n.spawn(async { Ok(()) });
        let large_value = n.spawn(async { Ok([7u8; 5000]) });
        let aligned_value = n.spawn(async { Ok(Aligned(3)) });
        let large_future = n.spawn(async {
            let kept = [9u8; 5000];
            trine::checkpoint().await?;
            Ok(kept.iter().map(|b| u64::from(*b)).sum::<u64>())
        });
        let aligned_future = n.spawn(async {
            let kept = Aligned(5);
            trine::checkpoint().await?;
            Ok((&raw const kept).addr() % 64)
        });
        assert_eq!(small.await?, 1);
        nothing.await?;
        assert!(large_value.await?.iter().all(|b| *b == 7));
        let aligned = aligned_value.await?;
        assert_eq!((aligned, (&raw const aligned).addr() % 64), (Aligned(3), 0));
        assert_eq!(large_future.await?, 45_000);
        assert_eq!(aligned_future.await?, 0);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn the_slot_of_a_child_is_not_used_again_while_a_handle_looks_at_it() {
    testing::run(trine::nursery(async |n| {
        let old = n.spawn(async { Ok(String::from("old")) });
        testing::wait_all_tasks_blocked().await?;
        let fresh: Vec<_> = (0..100).map(|i| n.spawn(async move { Ok(format!("fresh {i}")) })).collect();
        // The child is over: this must not reach whoever is next in its place.
        old.cancel();
        for (i, handle) in fresh.into_iter().enumerate() {
            assert_eq!(handle.await?, format!("fresh {i}"));
        }
        assert_eq!(old.await?, "old");
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_cancel_after_the_end_does_not_reach_the_next_task_in_the_slot() {
    testing::run(trine::nursery(async |n| {
        for _ in 0..10 {
            let old = n.spawn(async { Ok(()) });
            testing::wait_all_tasks_blocked().await?;
            let next = n.spawn(async {
                trine::checkpoint().await?;
                Ok(1)
            });
            old.cancel();
            drop(old);
            let third = n.spawn(async {
                trine::checkpoint().await?;
                Ok(2)
            });
            assert_eq!((next.await?, third.await?), (1, 2));
        }
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_handle_that_was_moved_to_another_executor_gives_the_value() {
    for _ in 0..ROUNDS {
        let event = trine::sync::Event::new();
        let value = trine::run(trine::nursery(async |n| {
            let handle = n.spawn(async {
                event.wait().await?;
                Ok(String::from("value"))
            });
            let got = std::thread::scope(|threads| {
                let other = threads.spawn(|| {
                    let mut handle = handle;
                    // Parks from another thread, then comes back with the handle.
                    let polled = poll_once(&mut handle);
                    (handle, polled.is_pending())
                });
                other.join().unwrap()
            });
            assert!(got.1);
            event.set();
            Ok(got.0.await?)
        }))
        .unwrap();
        assert_eq!(value, "value");
    }
}

#[test]
fn the_end_of_a_child_and_the_drop_of_its_handle_meet() {
    let live = Live::new();
    for _ in 0..ROUNDS {
        let guard = live.guard();
        // The handle leaves on another thread while the run ends its child.
        let event = Arc::new(trine::sync::Event::new());
        let (sender, receiver) = std::sync::mpsc::channel();
        let set = event.clone();
        let ((), ()) = together(
            || {
                trine::run(trine::nursery(async |n| {
                    let spawner = n.spawner();
                    let handle = spawner.spawn(async move {
                        event.wait().await?;
                        Ok(guard)
                    })?;
                    sender.send(handle).unwrap();
                    Ok(())
                }))
                .unwrap();
            },
            move || {
                let handle = receiver.recv().unwrap();
                set.set();
                drop(handle);
            },
        );
        assert_eq!(live.count(), 0);
    }
}

#[test]
fn handles_of_scoped_children_are_awaited_and_dropped_by_threads_while_the_children_end() {
    let live = Live::new();
    for round in 0..ROUNDS {
        let event = trine::sync::Event::new();
        block_on(trine::nursery(async |n| {
            let handles: Vec<_> = (0..4)
                .map(|_| {
                    let (guard, event) = (live.guard(), &event);
                    n.spawn(async move {
                        event.wait().await?;
                        Ok(guard)
                    })
                })
                .collect();
            trine::checkpoint().await?;
            std::thread::scope(|threads| {
                for (i, mut handle) in handles.into_iter().enumerate() {
                    let event = &event;
                    threads.spawn(move || {
                        if (round + i) % 2 == 0 {
                            assert!(poll_once(&mut handle).is_pending());
                        }
                        if i == 0 {
                            event.set();
                        }
                        drop(handle);
                    });
                }
            });
            Ok(())
        }))
        .unwrap();
        assert_eq!(live.count(), 0, "round {round}");
    }
}

#[test]
fn a_child_that_fails_or_panics_loses_its_value() {
    for panics in [false, true] {
        let live = Live::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            testing::run(trine::nursery(async |n| {
                let guard = live.guard();
                let handle = n.spawn(async move {
                    let _guard = guard;
                    trine::checkpoint().await?;
                    if panics {
                        panic!("child");
                    }
                    Err::<(), _>(Error::msg("child"))
                });
                let lost = trine::shielded(async { Ok(handle.await) }).await?;
                assert!(matches!(lost, Err(JoinError::Lost)));
                Ok(())
            }))
        }));
        assert_eq!(outcome.is_err(), panics);
        assert_eq!(live.count(), 0);
    }
}

#[test]
#[should_panic(expected = "polled after it had returned")]
fn a_handle_is_not_polled_after_its_value() {
    testing::run(trine::nursery(async |n| {
        let mut handle = n.spawn(async { Ok(1) });
        assert_eq!((&mut handle).await?, 1);
        let _ = handle.await;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_handle_is_finished_after_its_value_was_taken() {
    testing::run(trine::nursery(async |n| {
        let mut handle = n.spawn(async { Ok(1) });
        assert!(!handle.is_finished());
        (&mut handle).await?;
        assert!(handle.is_finished());
        handle.cancel();
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_value_whose_drop_panics_is_still_dropped_once() {
    struct Bomb(#[expect(dead_code, reason = "counted")] crate::support::Guard);
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let live = Live::new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        testing::run(trine::nursery(async |n| {
            let bomb = Bomb(live.guard());
            drop(n.spawn(async move { Ok(bomb) }));
            Ok(())
        }))
    }));
    assert!(outcome.is_err());
    assert_eq!(live.count(), 0);
}

#[test]
fn polls_by_hand_see_the_value_once_it_is_there() {
    let mut fut = std::pin::pin!(trine::nursery(async |n| {
        let mut handle = n.spawn(async {
            trine::checkpoint().await?;
            Ok(5)
        });
        assert!(poll_once(&mut handle).is_pending());
        trine::checkpoint().await?;
        trine::checkpoint().await?;
        match poll_once(&mut handle) {
            Poll::Ready(value) => Ok(value?),
            Poll::Pending => panic!("the child had two turns"),
        }
    }));
    assert_eq!(testing::run(fut.as_mut()).unwrap(), 5);
}
