//! The poll-based traits of a stream, which have no future to keep the state of a wait in.

use crate::{LONG, MS, pair, pattern};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::mpsc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};
use std::thread;
use trine::net::TcpStream;
use trine::testing::wait_all_tasks_blocked;
use trine::{CancelScope, Result, checkpoint, fail_after, move_on_after, nursery, run, shielded, sleep_forever};

fn waker_that_cannot_be_cloned() -> Waker {
    fn clone(_: *const ()) -> RawWaker {
        panic!("a waker panics");
    }
    fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: its functions touch no data.
    unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) }
}

#[test]
fn the_poll_based_traits_work() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        let data = pattern(3_000_000);
        let received = nursery(async |n| {
            n.start_soon(async {
                let mut a = a;
                AsyncWriteExt::write_all(&mut a, &data).await?;
                a.flush().await?;
                a.close().await?;
                Ok(())
            });
            let mut all = Vec::new();
            (&b).read_to_end(&mut all).await?;
            Ok(all)
        })
        .await?;
        assert!(received == data);
        Ok(())
    })
}

#[test]
fn a_poll_based_read_is_cancelled() -> Result<()> {
    run(async {
        let (_a, b) = pair().await?;
        let mut buf = [0; 8];
        let read = move_on_after(MS, async { Ok(b.read(&mut buf).await?) }).await?;
        assert_eq!(read, None);
        Ok(())
    })
}

/// Begins to read by the poll-based traits, has to wait, and gives up.
async fn give_up_reading(mut stream: &TcpStream) {
    let mut buf = [0; 8];
    assert!(futures::poll!(AsyncReadExt::read(&mut stream, &mut buf)).is_pending());
}

/// Reads by the poll-based traits what comes once it waits.
async fn read_what_comes(mut reader: &TcpStream, writer: &TcpStream) -> Result<usize> {
    nursery(async |n| {
        n.start_soon(async {
            wait_all_tasks_blocked().await?;
            Ok(writer.write_all(b"hey").await?)
        });
        Ok(AsyncReadExt::read(&mut reader, &mut [0; 8]).await?)
    })
    .await
}

#[test]
fn a_poll_based_read_that_was_given_up_is_none_of_the_next_one() -> Result<()> {
    run(async {
        let (a, b) = &pair().await?;
        let scope = CancelScope::new();
        let behind_a_shield = scope.run(async {
            give_up_reading(a).await;
            scope.cancel();
            shielded(read_what_comes(a, b)).await
        });
        assert_eq!(behind_a_shield.await?, Some(3));

        let scope = CancelScope::new();
        let left = scope.run(async {
            give_up_reading(a).await;
            scope.cancel();
            Ok(())
        });
        left.await?;
        assert_eq!(read_what_comes(a, b).await?, 3);

        let scope = &CancelScope::new();
        nursery(async |n| {
            n.start_soon(async move {
                let cancelled = scope.run(async {
                    give_up_reading(a).await;
                    scope.cancel();
                    Ok(sleep_forever().await?)
                });
                assert!(cancelled.await?.is_none());
                Ok(())
            });
            checkpoint().await?;
            assert_eq!(read_what_comes(a, b).await?, 3);
            Ok(())
        })
        .await
    })
}

#[test]
fn in_a_cancelled_scope_what_was_left_outside_does_not_read() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        give_up_reading(&a).await;
        b.write_all(b"hey").await?;
        let scope = CancelScope::new();
        scope.cancel();
        let read = scope.run(async { Ok(AsyncReadExt::read(&mut &a, &mut [0; 8]).await?) });
        assert_eq!(read.await?, None);
        assert_eq!(AsyncReadExt::read(&mut &a, &mut [0; 8]).await?, 3);
        Ok(())
    })
}

/// What a read by the poll-based traits came to. None may hang.
async fn poll_based_read(mut stream: &TcpStream) -> Result<Result<usize, io::ErrorKind>> {
    fail_after(LONG, async { Ok(AsyncReadExt::read(&mut stream, &mut [0; 8]).await.map_err(|error| error.kind())) })
        .await
}

#[test]
fn of_two_poll_based_readers_the_second_is_refused() -> Result<()> {
    run(async {
        let (a, b) = &pair().await?;
        nursery(async |n| {
            let first = n.spawn(poll_based_read(a));
            wait_all_tasks_blocked().await?;
            assert_eq!(n.spawn(poll_based_read(a)).await?, Err(io::ErrorKind::ResourceBusy));
            b.write_all(b"hey").await?;
            assert_eq!(first.await?, Ok(3));
            Ok(())
        })
        .await
    })
}

#[test]
fn a_poll_based_reader_that_is_displaced_hears_of_it() -> Result<()> {
    run(async {
        let (a, b) = &pair().await?;
        nursery(async |n| {
            let displaced = n.spawn(poll_based_read(a));
            wait_all_tasks_blocked().await?;
            let other = n.spawn(async { Ok(a.read(&mut [0; 8]).await?) });
            assert_eq!(displaced.await?, Err(io::ErrorKind::ResourceBusy));
            b.write_all(b"hey").await?;
            assert_eq!(other.await?, 3);
            Ok(())
        })
        .await
    })
}

#[test]
fn of_two_poll_based_readers_in_two_runs_the_second_is_refused() -> Result<()> {
    let (a, b) = &run(pair())?;
    let (waits, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            run(nursery(async |n| {
                let read = n.spawn(poll_based_read(a));
                wait_all_tasks_blocked().await?;
                waits.send(()).expect("the test waits for that");
                Ok(read.await?)
            }))
        });
        waiting.recv().expect("it sends before it ends");
        assert_eq!(run(poll_based_read(a))?, Err(io::ErrorKind::ResourceBusy));
        run(b.write_all(b"hey"))?;
        assert_eq!(first.join().expect("it does not panic")?, Ok(3));
        Ok(())
    })
}

#[test]
fn a_direction_is_given_back_if_a_waker_panics() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        let waker = waker_that_cannot_be_cloned();
        let poll_read = || AsyncRead::poll_read(Pin::new(&mut &a), &mut Context::from_waker(&waker), &mut [0; 8]);
        catch_unwind(AssertUnwindSafe(poll_read)).expect_err("the waker has to be stored");
        b.write_all(b"x").await?;
        assert_eq!(a.read(&mut [0; 8]).await?, 1);
        Ok(())
    })
}
