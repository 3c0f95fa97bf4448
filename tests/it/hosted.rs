//! Trees with no run around: polled by whatever executor there is.

use crate::support::{CountWakes, Log, Oops, block_on, oneshot, oopses, poll_once};
use futures::executor::{LocalPool, block_on as futures_block_on};
use futures_util::FutureExt;
use futures_util::task::LocalSpawnExt;
use std::task::Poll;
use trine::sync::{Event, Mutex, Semaphore};
use trine::{CancelScope, Error, Result};

async fn work(x: u32) -> Result<u32> {
    let (tx, rx) = trine::channel(1);
    let (mutex, event) = (Mutex::new(0), Event::new());
    trine::nursery(async |n| {
        n.start_soon(async {
            for i in 0..x {
                tx.send(i).await?;
            }
            tx.close();
            Ok(())
        });
        n.start_soon(async {
            while let Some(i) = rx.try_next().await? {
                *mutex.lock().await? += i;
                trine::checkpoint().await?;
            }
            event.set();
            Ok(())
        });
        event.wait().await?;
        Ok(*mutex.lock().await?)
    })
    .await
}

#[test]
fn a_tree_runs_under_the_smallest_executor() {
    assert_eq!(block_on(work(10)).unwrap(), 45);
}

#[test]
fn a_tree_runs_under_the_executors_of_futures() {
    assert_eq!(futures_block_on(work(10)).unwrap(), 45);
    let mut pool = LocalPool::new();
    let tasks: Vec<_> = (0..5).map(|i| pool.spawner().spawn_local_with_handle(work(i)).unwrap()).collect();
    let sums = pool.run_until(futures_util::future::join_all(tasks));
    assert_eq!(sums.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 0, 1, 3, 6]);
}

#[test]
fn trees_of_one_executor_talk_to_each_other() {
    let (tx, rx) = trine::channel(0);
    let mut pool = LocalPool::new();
    let sender = pool
        .spawner()
        .spawn_local_with_handle(trine::nursery(async move |n| {
            n.start_soon(async move {
                for i in 0..20 {
                    tx.send(i).await?;
                }
                Ok(())
            });
            Ok(())
        }))
        .unwrap();
    let receiver = pool
        .spawner()
        .spawn_local_with_handle(async move {
            let mut sum = 0;
            while let Some(i) = rx.try_next().await? {
                sum += i;
            }
            Ok::<u32, Error>(sum)
        })
        .unwrap();
    let (a, b) = pool.run_until(futures_util::future::join(sender, receiver));
    assert_eq!((a.unwrap(), b.unwrap()), ((), 190));
}

#[test]
fn a_scope_is_cancelled_under_any_executor() {
    let scope = CancelScope::new();
    let caught = block_on(scope.run(async {
        let (result, ()) = futures_util::join!(trine::sleep_forever(), async { scope.cancel() });
        result?;
        Ok(())
    }));
    assert!(caught.unwrap().is_none() && scope.cancelled_caught());
}

#[test]
fn a_foreign_wait_is_dropped_under_any_executor() {
    let scope = CancelScope::new();
    let (other, (fire, wait)) = (scope.clone(), oneshot::<()>());
    let thread = std::thread::spawn(move || {
        wait.now_or_never();
        other.cancel();
    });
    let caught: Option<()> = block_on(scope.run(async {
        fire.fire(());
        std::future::pending().await
    }))
    .unwrap();
    assert_eq!(caught, None);
    thread.join().unwrap();
}

#[test]
fn errors_and_panics_come_out_of_hosted_trees() {
    let error = block_on(trine::nursery(async |n| {
        n.start_soon(async { Err(Oops(1).into()) });
        trine::sleep_forever().await?;
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [1]);
    let text = crate::support::panic_text(|| {
        block_on(trine::nursery(async |n| {
            n.start_soon(async { panic!("hosted") });
            Ok(())
        }))
        .unwrap();
    });
    assert_eq!(text, "hosted");
}

#[test]
fn leaves_with_nothing_around_work() {
    let semaphore = Semaphore::new(1);
    futures_block_on(async {
        trine::checkpoint().await.unwrap();
        trine::shielded_checkpoint().await;
        let permit = semaphore.acquire().await.unwrap();
        assert!(semaphore.try_acquire().is_err());
        drop(permit);
        assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
        let raced = trine::race(async { Ok(trine::sleep_forever().await?) }, async { Ok(2) }).await.unwrap();
        assert!(matches!(raced, trine::Either::Right(2)));
    });
}

#[test]
fn a_hosted_tree_wakes_its_host_once_for_many_wakes() {
    let wakes = CountWakes::new();
    let fires = std::sync::Mutex::new(Vec::new());
    let mut tree = Box::pin(trine::nursery(async |n| {
        for _ in 0..10 {
            let (fire, wait) = oneshot::<()>();
            fires.lock().unwrap().push(fire);
            n.start_soon(async move {
                wait.await;
                Ok(())
            });
        }
        Ok(())
    }));
    assert!(poll_once(tree.as_mut(), &wakes).is_pending());
    let before = wakes.count();
    for fire in fires.lock().unwrap().drain(..) {
        fire.fire(());
    }
    assert_eq!(wakes.count() - before, 1);
    assert!(matches!(poll_once(tree.as_mut(), &wakes), Poll::Ready(Ok(()))));
}

#[test]
fn tasks_woken_between_polls_run_in_the_order_of_their_wakes() {
    let log = Log::new();
    let fires = std::sync::Mutex::new(Vec::new());
    let mut tree = Box::pin(trine::nursery(async |n| {
        for name in ["a", "b", "c", "d", "e"] {
            let (fire, wait) = oneshot::<()>();
            fires.lock().unwrap().push(Some(fire));
            let log = &log;
            n.start_soon(async move {
                wait.await;
                log.add(name);
                Ok(())
            });
        }
        Ok(())
    }));
    assert!(poll_once(tree.as_mut(), &CountWakes::new()).is_pending());
    for i in [3, 0, 4, 1, 2] {
        fires.lock().unwrap()[i].take().unwrap().fire(());
    }
    assert!(matches!(poll_once(tree.as_mut(), &CountWakes::new()), Poll::Ready(Ok(()))));
    drop(tree);
    assert_eq!(log.take(), ["d", "a", "e", "b", "c"]);
}

#[test]
fn a_hosted_tree_gives_its_thread_back_now_and_then() {
    let log = Log::new();
    let mut pool = LocalPool::new();
    let busy = pool
        .spawner()
        .spawn_local_with_handle(trine::nursery(async |n| {
            for _ in 0..4 {
                n.start_soon(async {
                    for _ in 0..5_000 {
                        trine::checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        }))
        .unwrap();
    let whole = async {
        crate::support::yield_once().await;
        log.add("neighbour");
    };
    pool.run_until(async {
        futures_util::future::join(
            async {
                busy.await.unwrap();
                log.add("busy");
            },
            whole,
        )
        .await
    });
    assert_eq!(log.take(), ["neighbour", "busy"]);
}

#[test]
fn a_tree_that_has_been_polled_by_one_executor_is_finished_by_another() {
    let wakes = CountWakes::new();
    let mut tree = Box::pin(work(10));
    let first = poll_once(tree.as_mut(), &wakes);
    match first {
        Poll::Ready(value) => assert_eq!(value.unwrap(), 45),
        Poll::Pending => assert_eq!(futures_block_on(tree).unwrap(), 45),
    }
    let (fire, wait) = oneshot::<u32>();
    let mut tree = Box::pin(trine::nursery(async |n| {
        let child = n.spawn(async move { Ok(wait.await) });
        Ok(child.await?)
    }));
    assert!(poll_once(tree.as_mut(), &wakes).is_pending());
    fire.fire(8);
    assert_eq!(trine::run(tree).unwrap(), 8);
}

/// Serves anywhere, but for a look at what is ready it has to be asked several times.
#[derive(Debug)]
struct Slow;

impl trine_backend::Backend for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn driver(&self) -> std::io::Result<Box<dyn trine_backend::Driver>> {
        Err(trine_backend::gone())
    }

    fn ambient(&self) -> Option<std::sync::Arc<dyn trine_backend::Handle>> {
        Some(std::sync::Arc::new(Self))
    }
}

impl trine_backend::Handle for Slow {
    fn alarm(&self) -> std::io::Result<Box<dyn trine_backend::Alarm>> {
        Err(trine_backend::gone())
    }

    fn register(&self, _: trine_backend::Source<'_>) -> std::io::Result<Box<dyn trine_backend::Readiness>> {
        Err(trine_backend::gone())
    }

    fn spawn_blocking(&self, _: trine_backend::Job) -> std::io::Result<()> {
        Err(trine_backend::gone())
    }

    fn poll_turn(&self, cx: &mut std::task::Context<'_>, round: u32) -> Poll<()> {
        if round == 3 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_look_at_the_reactor_that_takes_several_polls_comes_to_an_end() {
    let hour = std::time::Duration::from_secs(3600);
    let clock = trine::testing::MockClock::new().autojump();
    let backend = trine::backend::Backend::new(Slow);
    let mut tree = Box::pin(trine::Builder::new().backend(backend).clock(clock).host(async {
        let start = trine::now();
        trine::testing::wait_all_tasks_blocked().await?;
        trine::sleep(hour).await?;
        Ok::<_, Error>(trine::now() - start)
    }));
    let wakes = CountWakes::new();
    let took = (0..50).find_map(|_| match poll_once(tree.as_mut(), &wakes) {
        Poll::Ready(took) => Some(took.unwrap()),
        Poll::Pending => None,
    });
    assert_eq!(took, Some(hour));
}
