//! `assert_checkpoints` and `assert_no_checkpoints`, and with them: which operations are checkpoints.

use crate::support::{OnDrop, block_on, panic_text, yield_once};
use futures::TryStreamExt;
use std::cell::Cell;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;
use trine::net::{Shutdown, TcpListener, TcpStream};
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex, Semaphore};
use trine::testing::{
    Sequencer, assert_checkpoints as checkpoint_in, assert_no_checkpoints as none_in, run, wait_all_tasks_blocked,
};
use trine::{CancelScope, Cancelled, Error, Result, StartError};

#[test]
fn operations_that_need_not_wait_are_checkpoints() {
    run(async {
        checkpoint_in(trine::checkpoint()).await?;
        checkpoint_in(trine::sleep(Duration::ZERO)).await?;
        checkpoint_in(trine::sleep(Duration::from_secs(1))).await?;
        checkpoint_in(trine::sleep_until(trine::now())).await?;
        checkpoint_in(trine::cancellable(ready(()))).await?;
        checkpoint_in(wait_all_tasks_blocked()).await?;

        let (tx, rx) = trine::unbounded();
        checkpoint_in(tx.send(1)).await?;
        checkpoint_in(tx.send_or_return(2)).await.map_err(|(_, e)| e)?;
        checkpoint_in(rx.recv()).await?;
        checkpoint_in(rx.try_next()).await?;
        tx.send(3).await?;
        let mut rx = rx;
        checkpoint_in(TryStreamExt::try_next(&mut rx)).await?;

        let event = Event::new();
        event.set();
        checkpoint_in(event.wait()).await?;
        let mutex = Arc::new(Mutex::new(1));
        drop(checkpoint_in(mutex.lock()).await?);
        drop(checkpoint_in(mutex.clone().lock_owned()).await?);
        drop(checkpoint_in(Semaphore::new(1).acquire()).await?);
        drop(checkpoint_in(Arc::new(Semaphore::new(1)).acquire_owned()).await?);
        drop(checkpoint_in(CapacityLimiter::new(1).acquire()).await?);
        let lock = Lock::new();
        checkpoint_in(lock.acquire()).await?;
        lock.release()?;
        drop(checkpoint_in(Sequencer::new().turn(0)).await?);
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn waits_are_checkpoints() {
    run(trine::nursery(async |n| {
        let (mutex, condition) = (Mutex::new(()), Condition::new());
        let lot = trine::lowlevel::ParkingLot::new();
        let inner = trine::nursery(async |n| {
            n.start_soon(async {
                let mut guard = mutex.lock().await?;
                checkpoint_in(condition.wait(&mut guard)).await?;
                Ok(())
            });
            n.start_soon(async { Ok(checkpoint_in(lot.park()).await?) });
            wait_all_tasks_blocked().await?;
            condition.notify(1);
            lot.unpark(1);
            Ok(())
        });
        inner.await?;
        let child = n.spawn(async { Ok(5) });
        trine::checkpoint().await?;
        assert!(child.is_finished());
        assert_eq!(checkpoint_in(child).await?, 5);
        Ok(())
    }))
    .unwrap();
}

#[test]
fn operations_of_streams_are_checkpoints() {
    run(async {
        let listener = checkpoint_in(TcpListener::bind("127.0.0.1:0")).await?;
        let here = checkpoint_in(TcpStream::connect(listener.local_addr()?)).await?;
        let (there, _) = checkpoint_in(listener.accept()).await?;
        checkpoint_in(here.write(b"a")).await?;
        checkpoint_in(here.write_all(b"b")).await?;
        checkpoint_in(there.read(&mut [0; 1])).await?;
        checkpoint_in(here.shutdown(Shutdown::Write)).await?;
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;
            checkpoint_in(trine::lowlevel::wait_readable(there.as_fd())).await?;
            checkpoint_in(trine::lowlevel::wait_writable(there.as_fd())).await?;
        }
        let (here, there) = trine::testing::duplex(8);
        checkpoint_in(here.write(b"a")).await?;
        checkpoint_in(here.write_all(b"b")).await?;
        checkpoint_in(there.read(&mut [0; 1])).await?;
        checkpoint_in(here.shutdown(Shutdown::Write)).await?;
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn operation_that_fails_is_a_checkpoint_too() {
    run(async {
        let (tx, rx) = trine::channel::<u32>(1);
        drop(rx);
        checkpoint_in(tx.send(1)).await.unwrap_err();
        let scope = CancelScope::new();
        scope.cancel();
        let caught = scope.run(async {
            checkpoint_in(trine::checkpoint()).await.unwrap_err();
            Ok(checkpoint_in(trine::sleep_forever()).await?)
        });
        assert!(caught.await?.is_none());
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn what_a_future_polls_is_its_own() {
    run(async {
        checkpoint_in(trine::nursery(async |_| Ok(trine::checkpoint().await?))).await?;
        let in_child = trine::nursery(async |n| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(())
        });
        checkpoint_in(in_child).await?;
        let nothing_to_wait_for = trine::nursery(async |_| Ok(()));
        none_in(nothing_to_wait_for).await?;
        checkpoint_in(trine::race(async { Ok(trine::checkpoint().await?) }, async { Ok(ready(()).await) })).await?;
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn checkpoints_of_others_do_not_count() {
    run(trine::nursery(async |n| {
        n.start_soon(async {
            for _ in 0..10 {
                trine::checkpoint().await?;
            }
            Ok(())
        });
        // Lets the other task run, but asks nothing.
        let text = std::panic::AssertUnwindSafe(checkpoint_in(trine::shielded_checkpoint()));
        let caught = futures::FutureExt::catch_unwind(text).await.unwrap_err();
        assert!(caught.downcast::<String>().unwrap().contains("did not look for cancellation"));
        Ok(())
    }))
    .unwrap();
}

#[test]
fn what_is_no_checkpoint_passes_as_such() {
    run(trine::nursery(async |n| {
        let (tx, rx) = trine::channel(1);
        let (event, mutex, semaphore) = (Event::new(), Mutex::new(0), Semaphore::new(0));
        let guard = mutex.lock().await?;
        none_in(async {
            tx.try_send(1).unwrap();
            rx.try_recv().unwrap();
            event.set();
            drop(guard);
            semaphore.add_permits(1);
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            CancelScope::new().cancel();
            trine::now();
            tx.close();
        })
        .await;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn future_without_a_checkpoint_is_told_what_it_lacks_and_where() {
    let line = line!() + 1;
    let text = panic_text(|| run(checkpoint_in(ready(()))));
    assert!(text.contains(&format!("checkpoints.rs:{line}:")), "{text}");
    assert!(text.contains("without a checkpoint") && text.contains("neither looked"), "{text}");
    let text = panic_text(|| run(checkpoint_in(async { trine::checkpoint_if_cancelled().unwrap() })));
    assert!(text.contains("let no other task run"), "{text}");
    for half in [0, 1] {
        let text = panic_text(|| {
            run(checkpoint_in(async {
                if half == 0 { trine::shielded_checkpoint().await } else { yield_once().await }
            }));
        });
        assert!(text.contains("did not look for cancellation"), "{text}");
    }
}

#[test]
fn two_halves_are_a_checkpoint() {
    run(checkpoint_in(async {
        trine::checkpoint_if_cancelled()?;
        trine::shielded_checkpoint().await;
        Ok::<_, Cancelled>(())
    }))
    .unwrap();
}

#[test]
fn any_half_of_a_checkpoint_is_found_where_there_must_be_none() {
    let line = line!() + 1;
    let text = panic_text(|| run(none_in(trine::checkpoint())).unwrap());
    assert!(text.contains(&format!("checkpoints.rs:{line}:")) && text.contains("may let other tasks run"), "{text}");
    let text = panic_text(|| run(none_in(trine::shielded_checkpoint())));
    assert!(text.ends_with("but it let other tasks run"), "{text}");
    let text = panic_text(|| run(none_in(async { trine::checkpoint_if_cancelled().unwrap() })));
    assert!(text.ends_with("but it looked for cancellation"), "{text}");
    let text = panic_text(|| {
        run(none_in(async {
            let asks = std::future::poll_fn(|cx| std::task::Poll::Ready(trine::lowlevel::poll_cancelled(cx)));
            assert!(asks.await.is_pending());
        }));
    });
    assert!(text.ends_with("but it looked for cancellation"), "{text}");
}

#[test]
fn wait_where_there_must_be_none_is_found_before_it_ends() {
    // It would be a deadlock else.
    let text = panic_text(|| run(none_in(pending())));
    assert!(text.ends_with("but it let other tasks run"), "{text}");
}

#[test]
fn asserted_future_may_be_cancelled_dropped_and_may_panic() {
    run(async {
        let dropped = Cell::new(0);
        let count = || OnDrop(|| dropped.set(dropped.get() + 1));
        let cut = trine::move_on_after(Duration::from_secs(1), async {
            let _count = count();
            checkpoint_in(pending::<()>()).await;
            Ok(())
        });
        assert!(cut.await?.is_none());
        let early = checkpoint_in(async {
            let _count = count();
            trine::sleep_forever().await
        });
        futures::future::select(Box::pin(early), Box::pin(yield_once())).await;
        assert_eq!(dropped.get(), 2);
        Ok::<_, Error>(())
    })
    .unwrap();
    let text = panic_text(|| run(checkpoint_in(async { panic!("its own") })));
    assert_eq!(text, "its own");
}

#[test]
fn assertions_work_outside_of_a_run() {
    block_on(checkpoint_in(trine::checkpoint())).unwrap();
    block_on(none_in(ready(())));
}

#[test]
fn start_is_no_checkpoint_unless_its_child_is() {
    // As in Trio it does not check first.
    run(trine::nursery(async |n| {
        let started = n.start(async |status| Ok(trine::TaskStatus::<u32>::started(status, 1)));
        let result: Result<u32> = none_in(started).await;
        assert_eq!(result?, 1);
        let never: Result<u32> = n.start(|_: trine::TaskStatus<u32>| async { Ok(()) }).await;
        assert!(never.unwrap_err().find::<StartError>().is_some());
        Ok(())
    }))
    .unwrap();
}
