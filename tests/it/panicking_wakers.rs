//! Wakers that panic: whoever else is to be woken, polled or dropped is, all the same.

use crate::support::{Oops, oopses, poll_on, waker_that_panics, yield_once};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use trine::testing::run;
use trine::{Result, TaskStatus};

const SECOND: Duration = Duration::from_secs(1);

async fn forever() -> Result<()> {
    Ok(trine::sleep_forever().await.map(drop)?)
}

/// A foreign sub-executor whose waker panics.
async fn under_a_panicking_waker<F: Future>(fut: F) -> F::Output {
    let mut fut = pin!(fut);
    let waker = waker_that_panics();
    poll_fn(move |_| fut.as_mut().poll(&mut Context::from_waker(&waker))).await
}

/// So large that it is dropped in its poll.
struct PanicsInItsFirstDrop<'a> {
    drops: &'a AtomicUsize,
    polls_after: &'a AtomicUsize,
    _size: [u64; 8],
}

impl Future for PanicsInItsFirstDrop<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.polls_after.fetch_add(self.drops.load(Ordering::SeqCst), Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PanicsInItsFirstDrop<'_> {
    fn drop(&mut self) {
        if self.drops.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("drop");
        }
    }
}

#[test]
fn a_child_that_was_dropped_is_not_polled_though_a_waker_panics() {
    let (drops, polls_after) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let mut tree = pin!(trine::nursery(async move |n| {
        n.start_soon(under_a_panicking_waker(forever()));
        n.start_soon(PanicsInItsFirstDrop { drops, polls_after, _size: [1; 8] });
        Ok(())
    }));
    run(poll_fn(|cx| Poll::Ready(poll_on(tree.as_mut(), cx))));
    assert_eq!((drops.load(Ordering::SeqCst), polls_after.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn a_child_that_has_failed_is_not_polled_though_a_waker_panics() {
    let polls = &AtomicUsize::new(0);
    let mut tree = pin!(trine::nursery(async move |n| {
        n.start_soon(under_a_panicking_waker(forever()));
        n.start_soon(poll_fn(move |_| {
            polls.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Err(Oops(1).into()))
        }));
        Ok(())
    }));
    let ended = run(poll_fn(|cx| Poll::Ready(poll_on(tree.as_mut(), cx))));
    assert_eq!(oopses(&ended.expect("the others are told, and it ends").unwrap_err()), [1]);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

#[test]
fn those_whose_turn_comes_next_are_polled_though_a_waker_panics() {
    let polls = &AtomicUsize::new(0);
    let mut tree = pin!(trine::nursery(async move |n| {
        let child = n.spawn(async {
            yield_once().await;
            Ok(1)
        });
        n.start_soon(under_a_panicking_waker(async move {
            child.await?;
            Ok(())
        }));
        for _ in 0..3 {
            n.start_soon(async {
                yield_once().await;
                polls.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        Ok(())
    }));
    // Told of its child, the waiter panics, outside of all tasks; it is never polled again.
    assert!(run(poll_fn(|cx| Poll::Ready(poll_on(tree.as_mut(), cx)))).is_none());
    assert_eq!(polls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_start_goes_on_though_a_waker_panics_when_it_is_decided() {
    let slot = &Mutex::new(None);
    let result = run(trine::move_on_after(
        5 * SECOND,
        trine::nursery(async |n| {
            let mut start = Box::pin(n.start(async |status: TaskStatus<u32>| {
                *slot.lock().unwrap() = Some(status);
                trine::checkpoint().await?;
                Ok(trine::sleep(SECOND).await?)
            }));
            let waker = waker_that_panics();
            for _ in 0..5 {
                let poll = || start.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                let _ = catch_unwind(AssertUnwindSafe(poll));
                yield_once().await;
            }
            let status = slot.lock().unwrap().take().unwrap();
            let _ = catch_unwind(AssertUnwindSafe(|| status.started(1)));
            assert_eq!(start.await?, 1);
            Ok(())
        }),
    ));
    assert!(matches!(result, Ok(Some(()))));
}

#[test]
fn all_locks_of_a_task_break_though_a_waker_panics() {
    let (a, b) = (trine::sync::Lock::new(), trine::sync::Lock::new());
    let got = run(trine::move_on_after(
        5 * SECOND,
        trine::local_nursery(async |n| {
            let mut other = pin!(trine::local_nursery(async |m| {
                m.start_soon(async {
                    a.acquire().await?;
                    b.acquire().await?;
                    Ok(trine::sleep(SECOND).await?)
                });
                m.start_soon(async {
                    yield_once().await;
                    let waker = waker_that_panics();
                    let mut wait = pin!(a.acquire());
                    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                    Ok(trine::sleep(3 * SECOND).await?)
                });
                Ok(())
            }));
            let waiter = n.spawn(async {
                trine::sleep(SECOND / 2).await?;
                Ok(b.acquire().await.map_err(|e| e.to_string()))
            });
            let until_it_panics = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| other.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                _ => Poll::Ready(()),
            });
            until_it_panics.await;
            Ok(waiter.await?)
        }),
    ));
    let broken = "cannot acquire the lock: the task that owned it has ended";
    assert_eq!(got.unwrap(), Some(Err(broken.to_owned())));
}
