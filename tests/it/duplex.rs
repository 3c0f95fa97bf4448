//! `testing::duplex`: streams in memory.

use crate::support::{CountWakes, Ticks, block_on, panic_text, poll_once, waker_that_panics};
use futures::future::join_all;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use trine::net::Shutdown;
use trine::testing::{MemoryStream, duplex, run, wait_all_tasks_blocked};
use trine::{CancelScope, Error, Result};

async fn read_to_end(stream: &MemoryStream) -> io::Result<Vec<u8>> {
    let (mut all, mut buf) = (Vec::new(), [0; 7]);
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend(&buf[..n]),
        }
    }
}

async fn read_some(stream: &MemoryStream) -> io::Result<Vec<u8>> {
    let mut buf = [0; 64];
    let n = stream.read(&mut buf).await?;
    Ok(buf[..n].to_vec())
}

#[test]
fn bytes_go_both_ways_in_order() {
    for capacity in [1, 3, 64, 100_000] {
        let (here, there) = duplex(capacity);
        let sent: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let got = run(trine::nursery(async |n| {
            n.start_soon(async {
                let received = read_to_end(&there).await?;
                there.write_all(&received).await?;
                Ok(there.shutdown(Shutdown::Write).await?)
            });
            n.start_soon(async {
                here.write_all(&sent).await?;
                Ok(here.shutdown(Shutdown::Write).await?)
            });
            Ok(read_to_end(&here).await?)
        }));
        assert_eq!(got.unwrap(), sent);
    }
}

#[test]
fn write_waits_for_room_and_takes_what_there_is() {
    let (here, there) = duplex(3);
    run(trine::nursery(async |n| {
        assert_eq!(here.write(b"abcde").await?, 3);
        let write = n.spawn(async { Ok(here.write(b"de").await?) });
        wait_all_tasks_blocked().await?;
        assert!(!write.is_finished());
        assert_eq!(there.read(&mut [0; 1]).await?, 1);
        assert_eq!(write.await?, 1);
        assert_eq!(read_some(&there).await?, b"bcd");
        Ok(())
    }))
    .unwrap();
}

#[test]
fn end_comes_after_the_rest_and_only_in_one_direction() {
    let (here, there) = duplex(8);
    run(async {
        here.write_all(b"last").await?;
        here.shutdown(Shutdown::Write).await?;
        here.shutdown(Shutdown::Write).await?;
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&there).await?, b"last");
        assert_eq!(read_to_end(&there).await?, b"");
        there.write_all(b"more").await?;
        assert_eq!(read_some(&here).await?, b"more");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn dropped_stream_is_an_end_and_a_broken_pipe() {
    let (here, there) = duplex(8);
    run(async {
        there.write_all(b"last").await?;
        drop(there);
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(here.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&here).await?, b"last");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn who_waits_is_woken_when_the_peer_is_dropped() {
    let (here, there) = duplex(1);
    run(trine::nursery(async |n| {
        let read = n.spawn(async { Ok(here.read(&mut [0; 1]).await?) });
        let write = n.spawn(async { Ok(here.write_all(b"ab").await.unwrap_err().kind()) });
        wait_all_tasks_blocked().await?;
        drop(there);
        assert_eq!((read.await?, write.await?), (0, io::ErrorKind::BrokenPipe));
        Ok(())
    }))
    .unwrap();
}

#[test]
fn waker_that_panics_keeps_no_other_from_hearing_of_the_end() {
    for reader_panics in [true, false] {
        let (here, there) = duplex(1);
        let woken = CountWakes::new();
        let mut wakers = [waker_that_panics(), Waker::from(woken.clone())];
        if !reader_panics {
            wakers.reverse();
        }
        let [mut reads, mut writes] = wakers.each_ref().map(Context::from_waker);
        let mut buf = [0; 1];
        let (mut read, mut write) = (pin!(here.read(&mut buf)), pin!(here.write_all(b"ab")));
        assert!(read.as_mut().poll(&mut reads).is_pending() && write.as_mut().poll(&mut writes).is_pending());
        assert_eq!(panic_text(|| drop(there)), "a waker panics");
        assert_eq!(woken.count(), 1);
    }
}

#[test]
fn shutdown_ends_waits_of_the_same_stream() {
    let (here, there) = duplex(1);
    run(trine::nursery(async |n| {
        let read = n.spawn(async { Ok(here.read(&mut [0; 1]).await?) });
        let write = n.spawn(async { Ok(here.write_all(b"ab").await.unwrap_err().kind()) });
        wait_all_tasks_blocked().await?;
        here.shutdown(Shutdown::Both).await?;
        assert_eq!((read.await?, write.await?), (0, io::ErrorKind::BrokenPipe));
        assert_eq!(there.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&there).await?, b"a");
        Ok(())
    }))
    .unwrap();
}

#[test]
fn shutdown_for_reading_leaves_what_was_written_before() {
    let (here, there) = duplex(8);
    run(async {
        there.write_all(b"ab").await?;
        here.shutdown(Shutdown::Read).await?;
        assert_eq!(there.write(b"c").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&here).await?, b"ab");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn empty_buffers_do_not_wait() {
    let (here, there) = duplex(1);
    run(async {
        here.write_all(b"a").await?;
        here.write_all(b"").await?;
        assert_eq!(here.write(b"").await?, 0);
        assert_eq!(here.read(&mut []).await?, 0);
        drop(there);
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn second_task_in_one_direction_is_refused() {
    let (here, there) = duplex(1);
    run(trine::nursery(async |n| {
        n.start_soon(async { Ok(assert_eq!(here.read(&mut [0; 1]).await?, 1)) });
        n.start_soon(async { Ok(here.write_all(b"abc").await?) });
        wait_all_tasks_blocked().await?;
        assert_eq!(here.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(here.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let error = AsyncReadExt::read(&mut &here, &mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        there.write_all(b"y").await?;
        for byte in b"abc" {
            assert_eq!(read_some(&there).await?, [*byte]);
        }
        Ok(())
    }))
    .unwrap();
}

#[test]
fn cancelled_read_has_taken_nothing() {
    let (here, there) = duplex(8);
    run(async {
        let second = Duration::from_secs(1);
        let read = trine::move_on_after(second, async { Ok(here.read(&mut [0; 8]).await?) });
        assert!(read.await?.is_none());
        there.write_all(b"ab").await?;
        let scope = CancelScope::new();
        scope.cancel();
        assert!(scope.run(async { Ok(here.read(&mut [0; 8]).await?) }).await?.is_none());
        assert_eq!(read_some(&here).await?, b"ab");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn cancelled_write_has_put_in_nothing() {
    let (here, there) = duplex(2);
    run(async {
        let second = Duration::from_secs(1);
        here.write_all(b"ab").await?;
        assert!(trine::move_on_after(second, async { Ok(here.write(b"c").await?) }).await?.is_none());
        assert_eq!(read_some(&there).await?, b"ab");
        // Of this, the part that there was room for.
        assert!(trine::move_on_after(second, async { Ok(here.write_all(b"cdef").await?) }).await?.is_none());
        assert_eq!(read_some(&there).await?, b"cd");
        drop(here);
        assert_eq!(read_to_end(&there).await?, b"");
        Ok::<_, Error>(())
    })
    .unwrap();
}

/// A read waits; `act` does two things in one step.
fn read_while(act: impl Fn(&CancelScope, &MemoryStream) + Sync) -> (Option<usize>, Vec<u8>) {
    let (here, there) = duplex(8);
    let scope = CancelScope::new();
    run(trine::nursery(async |n| {
        let read = n.spawn(scope.run(async { Ok(here.read(&mut [0; 8]).await?) }));
        wait_all_tasks_blocked().await?;
        act(&scope, &there);
        let read = read.await?;
        drop(there);
        Ok((read, read_to_end(&here).await?))
    }))
    .unwrap()
}

fn write_now(stream: &MemoryStream, bytes: &[u8]) {
    let written = poll_once(pin!(AsyncWriteExt::write(&mut &*stream, bytes)), &CountWakes::new());
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
}

#[test]
fn of_bytes_and_cancel_the_first_decides() {
    let cancel_first = read_while(|scope, there| {
        scope.cancel();
        write_now(there, b"ab");
    });
    assert_eq!(cancel_first, (None, b"ab".to_vec()));
    let bytes_first = read_while(|scope, there| {
        write_now(there, b"ab");
        scope.cancel();
    });
    assert_eq!(bytes_first, (Some(2), Vec::new()));
}

#[test]
fn shield_that_comes_after_the_cancel_does_not_undo_it() {
    let raised = read_while(|scope, there| {
        scope.cancel();
        scope.set_shield(true);
        write_now(there, b"ab");
    });
    assert_eq!(raised, (None, b"ab".to_vec()));
}

#[test]
fn dropped_operation_gives_its_direction_back() {
    let (here, there) = duplex(1);
    run(async {
        for _ in 0..3 {
            let mut buf = [0; 1];
            let mut read = pin!(here.read(&mut buf));
            assert!(futures::poll!(read.as_mut()).is_pending());
        }
        {
            let mut write = pin!(here.write_all(b"ab"));
            assert!(futures::poll!(write.as_mut()).is_pending());
        }
        // Served, and then dropped: the bytes stay.
        {
            let mut buf = [0; 1];
            let mut read = pin!(here.read(&mut buf));
            assert!(futures::poll!(read.as_mut()).is_pending());
            there.write_all(b"z").await?;
        }
        assert_eq!(read_some(&here).await?, b"z");
        assert_eq!(read_some(&there).await?, b"a");
        here.write_all(b"c").await?;
        assert_eq!(read_some(&there).await?, b"c");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn traits_of_futures_io_are_there() {
    async fn echo(stream: &MemoryStream) -> Result<()> {
        let (reader, mut writer) = (stream, stream);
        futures_util::io::copy(reader, &mut writer).await?;
        Ok(writer.close().await?)
    }
    let (mut here, there) = duplex(5);
    let got = run(trine::nursery(async |n| {
        n.start_soon(echo(&there));
        let mut got = Vec::new();
        for word in ["one", "twelve", "two hundred"] {
            let (mut reader, mut writer) = (&here, &here);
            let mut buf = vec![0; word.len()];
            let both =
                futures::join!(AsyncWriteExt::write_all(&mut writer, word.as_bytes()), reader.read_exact(&mut buf));
            both.0.and(both.1)?;
            got.extend(buf);
        }
        here.flush().await?;
        AsyncWriteExt::close(&mut here).await?;
        AsyncReadExt::read_to_end(&mut here, &mut got).await?;
        Ok(got)
    }));
    assert_eq!(got.unwrap(), b"onetwelvetwo hundred");
}

#[test]
fn poll_based_operations_are_cancelled() {
    let (mut here, _there) = duplex(5);
    run(async {
        let second = Duration::from_secs(1);
        let read = trine::move_on_after(second, async {
            let error = AsyncReadExt::read(&mut here, &mut [0; 1]).await.unwrap_err();
            assert!(trine::is_cancelled(&error));
            Err::<(), _>(error.into())
        });
        assert!(read.await?.is_none());
        let write = trine::move_on_after(second, async { Ok(AsyncWriteExt::write_all(&mut here, &[0; 9]).await?) });
        assert!(write.await?.is_none());
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn poll_based_reader_that_is_displaced_hears_of_it() {
    let (here, there) = duplex(5);
    run(trine::nursery(async |n| {
        let displaced = n.spawn(async { Ok(AsyncReadExt::read(&mut &here, &mut [0; 1]).await.map_err(|e| e.kind())) });
        wait_all_tasks_blocked().await?;
        let other = n.spawn(async { Ok(read_some(&here).await?) });
        assert_eq!(displaced.await?, Err(io::ErrorKind::ResourceBusy));
        there.write_all(b"a").await?;
        assert_eq!(other.await?, b"a");
        Ok(())
    }))
    .unwrap();
}

#[test]
fn of_two_poll_based_operations_the_second_is_refused() {
    let (here, there) = duplex(1);
    run(trine::nursery(async |n| {
        let read = async || Ok(AsyncReadExt::read(&mut &here, &mut [0; 4]).await.map_err(|e| e.kind()));
        let write = async || Ok(AsyncWriteExt::write(&mut &here, b"x").await.map_err(|e| e.kind()));
        here.write_all(b"w").await?;
        let first = (n.spawn(read()), n.spawn(write()));
        wait_all_tasks_blocked().await?;
        let second = (n.spawn(read()), n.spawn(write()));
        let busy = io::ErrorKind::ResourceBusy;
        assert_eq!((second.0.await?, second.1.await?), (Err(busy), Err(busy)));
        there.write_all(b"r").await?;
        assert_eq!(read_some(&there).await?, b"w");
        assert_eq!((first.0.await?, first.1.await?), (Ok(1), Ok(1)));
        Ok(())
    }))
    .unwrap();
}

/// Begins to read by the poll-based traits, has to wait, and gives up.
async fn give_up_reading(mut stream: &MemoryStream) {
    let mut buf = [0; 8];
    assert!(futures::poll!(AsyncReadExt::read(&mut stream, &mut buf)).is_pending());
}

#[test]
fn poll_based_read_that_was_given_up_is_none_of_the_next_one() {
    let (here, there) = duplex(8);
    let read = async |what: &[u8]| {
        there.write_all(what).await?;
        Ok(assert_eq!(AsyncReadExt::read(&mut &here, &mut [0; 8]).await?, what.len()))
    };
    run(async {
        let scope = CancelScope::new();
        let behind_a_shield = scope.run(async {
            give_up_reading(&here).await;
            scope.cancel();
            trine::shielded(read(b"a")).await
        });
        assert!(behind_a_shield.await?.is_some());
        let scope = CancelScope::new();
        let left = scope.run(async {
            give_up_reading(&here).await;
            scope.cancel();
            Ok(())
        });
        left.await?;
        read(b"bc").await?;
        let scope = CancelScope::new();
        trine::nursery(async |n| {
            let cancelled = n.spawn(scope.run(async {
                give_up_reading(&here).await;
                scope.cancel();
                Ok(trine::sleep_forever().await?)
            }));
            wait_all_tasks_blocked().await?;
            read(b"def").await?;
            Ok(assert!(cancelled.await?.is_none()))
        })
        .await
    })
    .unwrap();
}

#[test]
fn in_a_cancelled_scope_what_was_left_outside_does_not_read() {
    let (here, there) = duplex(8);
    run(async {
        give_up_reading(&here).await;
        there.write_all(b"a").await?;
        let scope = CancelScope::new();
        scope.cancel();
        assert!(scope.run(async { Ok(AsyncReadExt::read(&mut &here, &mut [0; 8]).await?) }).await?.is_none());
        assert_eq!(read_some(&here).await?, b"a");
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn operations_under_a_foreign_executor_are_woken_one_by_one() {
    let pairs: Vec<_> = (0..50).map(|_| duplex(1)).collect();
    let ticks = Ticks::new();
    run(trine::nursery(async |n| {
        n.start_soon(async {
            wait_all_tasks_blocked().await?;
            ticks.tick();
            for (i, (_, there)) in pairs.iter().enumerate().rev() {
                if i % 2 == 0 {
                    there.write_all(b"x").await?;
                } else {
                    there.shutdown(Shutdown::Write).await?;
                }
            }
            Ok(())
        });
        let reads = join_all(pairs.iter().map(|(here, _)| read_some(here)));
        let (reads, ()) = futures::join!(reads, ticks.next());
        for (i, read) in reads.into_iter().enumerate() {
            assert_eq!(read?.len(), usize::from(i % 2 == 0));
        }
        Ok(())
    }))
    .unwrap();
}

#[test]
fn ends_may_be_in_different_threads() {
    let (here, there) = duplex(3);
    let sent: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let expected = sent.clone();
    let writer = std::thread::spawn(move || {
        trine::run(async {
            there.write_all(&sent).await?;
            there.shutdown(Shutdown::Write).await
        })
    });
    // Here an executor that knows nothing of trine.
    let got = block_on(read_to_end(&here)).unwrap();
    writer.join().unwrap().unwrap();
    assert!(got == expected);
}

#[test]
fn operation_that_moves_to_another_run_goes_on_there() {
    let (here, there) = duplex(1);
    let mut buf = [0; 1];
    let mut read = Box::pin(here.read(&mut buf));
    run(async { assert!(futures::poll!(read.as_mut()).is_pending()) });
    write_now(&there, b"a");
    assert_eq!(run(read).unwrap(), 1);
    let scope = CancelScope::new();
    let mut buf = [0; 1];
    let mut read = Box::pin(here.read(&mut buf));
    let outcome = run(async {
        assert!(futures::poll!(read.as_mut()).is_pending());
        scope.cancel();
        scope.run(async { Ok(read.await?) }).await
    });
    assert!(outcome.unwrap().is_none());
}

#[test]
fn wait_for_a_peer_that_does_nothing_is_a_deadlock() {
    let (here, _there) = duplex(1);
    let line = line!() + 1;
    let text = panic_text(|| drop(run(async { here.read(&mut [0; 1]).await })));
    assert!(text.contains("MemoryStream::read at ") && text.contains(&format!("duplex.rs:{line}")), "{text}");
}

#[test]
fn stream_without_capacity_is_refused() {
    assert!(panic_text(|| drop(duplex(0))).contains("capacity"));
}

#[test]
fn streams_and_their_operations_are_send() {
    fn send<T: Send>(_: T) {}
    fn sync<T: Sync + Unpin + std::fmt::Debug>(_: &T) {}
    let (here, there) = duplex(1);
    sync(&here);
    send(here.read(&mut [0; 1]));
    send(here.write(b""));
    send(here.write_all(b""));
    send(here.shutdown(Shutdown::Both));
    send(there);
}
