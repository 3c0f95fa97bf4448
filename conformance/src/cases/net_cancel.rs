//! TCP on loopback: waits that are refused or cancelled.

use super::net::{listener, pair, pattern, read_to_end};
use super::sync_tools::settle;
use crate::case::{Case, real_time};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use trine::net::{Shutdown, TcpListener, TcpStream};
use trine::{CancelScope, is_cancelled, nursery};

pub(super) const CASES: &[Case] = &[
    real_time!(second_reader_is_refused, "net.busy", "trio test_io.py::test_double_read"),
    real_time!(second_writer_is_refused, "net.busy", "trio test_io.py::test_double_write"),
    real_time!(second_accept_is_refused, "net.busy", "design 10"),
    real_time!(cancelled_read_has_read_nothing, "net.cancel", "divergence 3"),
    real_time!(cancelled_write_has_sent_a_part, "net.cancel", "divergence 12"),
    real_time!(cancelled_accept_has_taken_nothing, "net.cancel", "divergence 3"),
    real_time!(in_a_cancelled_scope_nothing_happens, "net.checks-first", "divergence 9"),
    real_time!(many_wait_at_once_and_are_cancelled, "net.many", "trio test_socket.py::test_many_sockets"),
];

/// The first reader goes on undisturbed.
async fn second_reader_is_refused() -> trine::Result<()> {
    let (a, b) = pair().await?;
    nursery(async |n| {
        let first = n.spawn(async { Ok(a.read(&mut [0; 8]).await?) });
        settle().await?;
        for _ in 0..2 {
            let error = a.read(&mut [0; 8]).await.expect_err("another task reads");
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        }
        a.write_all(b"the other direction is free").await?;
        b.write_all(b"abc").await?;
        assert_eq!(first.await?, 3);
        b.write_all(b"d").await?;
        assert_eq!(a.read(&mut [0; 8]).await?, 1);
        Ok(())
    })
    .await
}

/// The first writer goes on undisturbed.
async fn second_writer_is_refused() -> trine::Result<()> {
    let (a, b) = pair().await?;
    let data = pattern(20_000_000);
    nursery(async |n| {
        n.start_soon(async {
            a.write_all(&data).await?;
            Ok(a.shutdown(Shutdown::Write).await?)
        });
        settle().await?;
        let error = a.write(b"x").await.expect_err("another task writes");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        let error = a.write_all(b"x").await.expect_err("another task writes");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(read_to_end(&b).await? == data);
        Ok(())
    })
    .await
}

/// One task at a time accepts.
async fn second_accept_is_refused() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    nursery(async |n| {
        let first = n.spawn(async { Ok(listener.accept().await?.1) });
        settle().await?;
        let error = listener.accept().await.expect_err("another task accepts");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        let client = TcpStream::connect(address).await?;
        assert_eq!(first.await?, client.local_addr()?);
        Ok(())
    })
    .await
}

/// What comes after a read was cancelled is the next read's.
async fn cancelled_read_has_read_nothing() -> trine::Result<()> {
    let (a, b) = pair().await?;
    for round in 0..3 {
        let scope = CancelScope::new();
        nursery(async |n| {
            let read = n.spawn(async { scope.run(async { Ok(b.read(&mut [0; 8]).await?) }).await });
            settle().await?;
            scope.cancel();
            assert_eq!(read.await?, None);
            Ok(())
        })
        .await?;
        a.write_all(&[round; 3]).await?;
        let mut buf = [9; 8];
        assert_eq!(b.read(&mut buf).await?, 3);
        assert_eq!(buf[..3], [round; 3]);
    }
    Ok(())
}

/// What was taken by the system before the cancel arrives, and nothing else, in order.
async fn cancelled_write_has_sent_a_part() -> trine::Result<()> {
    let ((a, b), data) = (pair().await?, pattern(30_000_000));
    let scope = CancelScope::new();
    nursery(async |n| {
        let (scope, data) = (&scope, &data);
        let written = n.spawn(async move {
            let written = scope.run(async { Ok(a.write_all(data).await?) }).await;
            drop(a);
            written
        });
        settle().await?;
        scope.cancel();
        assert_eq!(written.await?, None);
        let part = read_to_end(&b).await?;
        assert!(!part.is_empty() && part.len() < data.len());
        assert!(part == data[..part.len()]);
        Ok(())
    })
    .await
}

/// The connection that comes after is the next accept's.
async fn cancelled_accept_has_taken_nothing() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    let scope = CancelScope::new();
    nursery(async |n| {
        let accept = n.spawn(async { scope.run(async { Ok(listener.accept().await.map(drop)?) }).await });
        settle().await?;
        scope.cancel();
        assert_eq!(accept.await?, None);
        let client = TcpStream::connect(address).await?;
        assert_eq!(listener.accept().await?.1, client.local_addr()?);
        Ok(())
    })
    .await
}

/// Each operation looks for cancellation first, also if it could complete at once.
async fn in_a_cancelled_scope_nothing_happens() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    let (a, b) = pair().await?;
    b.write_all(b"abc").await?;
    let _waits = TcpStream::connect(address).await?;
    let scope = CancelScope::new();
    scope.cancel();
    let caught = scope
        .run(async {
            let cancelled = |result: io::Result<()>| {
                let error = result.expect_err("the scope is cancelled");
                assert!(is_cancelled(&error), "{error}");
                assert_eq!(error.kind(), io::ErrorKind::Other);
            };
            cancelled(a.read(&mut [0; 8]).await.map(drop));
            cancelled(a.write(b"x").await.map(drop));
            cancelled(a.write_all(b"x").await);
            cancelled(a.shutdown(Shutdown::Both).await);
            cancelled(listener.accept().await.map(drop));
            cancelled(TcpStream::connect(address).await.map(drop));
            cancelled(TcpListener::bind("localhost:0").await.map(drop));
            Ok(a.read(&mut [0; 8]).await?)
        })
        .await?;
    assert_eq!(caught, None);
    assert_eq!(a.read(&mut [0; 8]).await?, 3, "nothing was read");
    drop(listener.accept().await?);
    drop(a);
    assert_eq!(read_to_end(&b).await?, b"", "nothing was sent");
    Ok(())
}

/// As many as a thousand, or as the system allows; all of them wait, and all end.
async fn many_wait_at_once_and_are_cancelled() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    let mut streams = Vec::new();
    while streams.len() < 1000 {
        let Ok(client) = TcpStream::connect(address).await else { break };
        streams.push(client);
        let Ok((server, _)) = listener.accept().await else { break };
        streams.push(server);
    }
    let (ended, scope) = (AtomicUsize::new(0), CancelScope::new());
    let count = streams.len();
    scope
        .nursery(async |n| {
            for stream in &streams {
                let ended = &ended;
                n.start_soon(async move {
                    let result = stream.read(&mut [0; 8]).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                    Ok(result.map(drop)?)
                });
            }
            settle().await?;
            assert_eq!(ended.load(Ordering::Relaxed), 0);
            scope.cancel();
            Ok(())
        })
        .await?;
    assert!(count >= 100, "only {count} sockets");
    assert_eq!(ended.into_inner(), count);
    Ok(())
}
