//! TCP on loopback.

use super::sync_tools::settle;
use crate::case::{Case, portable, real_time, skip};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::net::SocketAddr;
use trine::net::{Shutdown, TcpListener, TcpStream};
use trine::{CancelScope, is_cancelled, nursery};

pub(super) const CASES: &[Case] = &[
    real_time!(
        what_is_sent_comes_back,
        "net.echo",
        "trio test_highlevel_open_tcp_stream.py::test_open_tcp_stream_real_socket_smoketest"
    ),
    real_time!(megabytes_flow_both_ways, "net.duplex", "trio test_io.py::test_socket_actual_streaming"),
    real_time!(
        long_write_arrives_whole_then_the_end,
        "net.write-all",
        "trio test_highlevel_socket.py::test_SocketStream_send_all"
    ),
    real_time!(
        each_direction_wakes_for_itself,
        "net.directions",
        "trio test_io.py::test_socket_simultaneous_read_write"
    ),
    real_time!(data_before_a_close_is_read, "net.close", "divergence 11"),
    real_time!(half_closed_still_receives, "net.half-close", "divergence 11"),
    real_time!(write_to_a_peer_that_is_gone_fails, "net.close", "divergence 11"),
    real_time!(
        peer_that_has_closed_already_is_read,
        "net.close",
        "trio test_highlevel_socket.py::test_socket_stream_works_when_peer_has_already_closed"
    ),
    real_time!(
        both_ends_agree_on_their_addresses,
        "net.addresses",
        "trio test_socket.py::test_SocketType_simple_server"
    ),
    real_time!(refused_connection_is_an_error, "net.connect", "divergence 14"),
    real_time!(next_address_is_tried, "net.connect", "design 10"),
    real_time!(names_are_looked_up, "net.names", "design 10"),
    real_time!(
        address_is_free_once_its_listener_is_gone,
        "net.rebind",
        "trio test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_rebind, \
         trio test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_specific_port_specific_host"
    ),
    real_time!(foreign_traits_are_checkpoints_too, "net.poll-traits", "divergence 9"),
    portable!(virtual_time_stands_while_a_peer_answers, "net.virtual-clock", "design 9"),
];

const LOOPBACK: &str = "127.0.0.1:0";

/// A listener on a free port, and its address.
pub(super) async fn listener() -> trine::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The two ends of a connection.
pub(super) async fn pair() -> trine::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listener().await?;
    let client = TcpStream::connect(address).await?;
    Ok((client, listener.accept().await?.0))
}

pub(super) async fn read_to_end(stream: &TcpStream) -> trine::Result<Vec<u8>> {
    let (mut all, mut buf) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

/// Writes until the system takes no more; what waits then is the write itself.
async fn fill(stream: &TcpStream) -> trine::Result<()> {
    loop {
        stream.write(&[7; 64 * 1024]).await?;
    }
}

/// A byte there and back, many times.
async fn what_is_sent_comes_back() -> trine::Result<()> {
    let (a, b) = pair().await?;
    nursery(async |n| {
        n.start_soon(async {
            let mut buf = [0; 16];
            loop {
                match b.read(&mut buf).await? {
                    0 => return Ok(()),
                    n => b.write_all(&buf[..n]).await?,
                }
            }
        });
        for byte in 0..100 {
            a.write_all(&[byte]).await?;
            let mut buf = [0; 16];
            assert_eq!(a.read(&mut buf).await?, 1);
            assert_eq!(buf[0], byte);
        }
        Ok(a.shutdown(Shutdown::Write).await?)
    })
    .await
}

/// Two tasks on each end, one for each direction.
async fn megabytes_flow_both_ways() -> trine::Result<()> {
    let ((a, b), data) = (&pair().await?, &pattern(1_500_000));
    nursery(async |n| {
        for (from, to) in [(a, b), (b, a)] {
            n.start_soon(async move {
                from.write_all(data).await?;
                Ok(from.shutdown(Shutdown::Write).await?)
            });
            n.start_soon(async move {
                assert!(read_to_end(to).await? == *data);
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

/// Ten megabytes in many parts, then the end, again and again.
async fn long_write_arrives_whole_then_the_end() -> trine::Result<()> {
    let ((a, b), data) = (pair().await?, pattern(10_000_000));
    let received = nursery(async |n| {
        n.start_soon(async {
            a.write_all(&data).await?;
            Ok(a.shutdown(Shutdown::Write).await?)
        });
        read_to_end(&b).await
    })
    .await?;
    assert!(received == data);
    assert_eq!(b.read(&mut [0; 8]).await?, 0);
    Ok(())
}

/// A reader and a writer wait on one stream; what ends one wait leaves the other.
async fn each_direction_wakes_for_itself() -> trine::Result<()> {
    let (a, b) = pair().await?;
    nursery(async |n| {
        let scope = CancelScope::new();
        let reader = n.spawn(async { Ok(a.read(&mut [0; 8]).await?) });
        let writer = n.spawn({
            let (a, scope) = (&a, scope.clone());
            async move { scope.run(fill(a)).await }
        });
        settle().await?;
        assert!(!reader.is_finished() && !writer.is_finished());
        b.write_all(b"ab").await?;
        assert_eq!(reader.await?, 2);
        assert!(!writer.is_finished());
        let reader = n.spawn(async { Ok(a.read(&mut [0; 8]).await?) });
        scope.cancel();
        assert_eq!(writer.await?, None);
        settle().await?;
        assert!(!reader.is_finished());
        b.write_all(b"c").await?;
        assert_eq!(reader.await?, 1);
        Ok(())
    })
    .await
}

/// The end comes after all data.
async fn data_before_a_close_is_read() -> trine::Result<()> {
    let (a, b) = pair().await?;
    a.write_all(&[5; 1000]).await?;
    drop(a);
    assert_eq!(read_to_end(&b).await?, [5; 1000]);
    assert_eq!(b.read(&mut [0; 8]).await?, 0, "the end stays");
    Ok(())
}

/// An end in one direction leaves the other, and ends a read that waits.
async fn half_closed_still_receives() -> trine::Result<()> {
    let (a, b) = pair().await?;
    nursery(async |n| {
        let end = n.spawn(async { Ok(b.read(&mut [0; 8]).await?) });
        settle().await?;
        a.shutdown(Shutdown::Write).await?;
        assert_eq!(end.await?, 0);
        b.write_all(b"still").await?;
        assert_eq!(a.read(&mut [0; 8]).await?, 5);
        assert!(a.write(b"x").await.is_err());
        Ok(())
    })
    .await
}

/// Sooner or later, and then always.
async fn write_to_a_peer_that_is_gone_fails() -> trine::Result<()> {
    let (a, b) = pair().await?;
    drop(b);
    let error = loop {
        if let Err(error) = a.write(&[1; 1000]).await {
            break error;
        }
        trine::checkpoint().await?;
    };
    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(a.write(b"x").await.is_err());
    Ok(())
}

/// A connection whose peer has sent and closed before it was accepted.
async fn peer_that_has_closed_already_is_read() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    let client = TcpStream::connect(address).await?;
    client.write_all(b"gone").await?;
    drop(client);
    let (server, _) = listener.accept().await?;
    assert_eq!(read_to_end(&server).await?, b"gone");
    Ok(())
}

/// What one end calls its own is the other's peer, in both families.
async fn both_ends_agree_on_their_addresses() -> trine::Result<()> {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = match TcpListener::bind(host).await {
            Ok(listener) => listener,
            Err(error) if host.starts_with('[') => return Err(skip(format!("no IPv6: {error}"))),
            Err(error) => return Err(error.into()),
        };
        let address = listener.local_addr()?;
        assert_ne!(address.port(), 0);
        let client = TcpStream::connect(address).await?;
        let (server, peer) = listener.accept().await?;
        assert_eq!((client.peer_addr()?, server.local_addr()?), (address, address));
        assert_eq!((client.local_addr()?, server.peer_addr()?), (peer, peer));
        server.write_all(b"hi").await?;
        assert_eq!(client.read(&mut [0; 8]).await?, 2);
    }
    Ok(())
}

/// Nobody listens there.
async fn refused_connection_is_an_error() -> trine::Result<()> {
    let (listener, nobody) = listener().await?;
    drop(listener);
    let error = TcpStream::connect(nobody).await.expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(!is_cancelled(&error));
    Ok(())
}

/// Of several addresses the first that answers is connected to.
async fn next_address_is_tried() -> trine::Result<()> {
    let (gone, nobody) = listener().await?;
    drop(gone);
    let (_listener, somebody) = listener().await?;
    let stream = TcpStream::connect(&[nobody, somebody][..]).await?;
    assert_eq!(stream.peer_addr()?, somebody);
    Ok(())
}

/// `localhost` is found, and what is no address is refused.
async fn names_are_looked_up() -> trine::Result<()> {
    let listener = TcpListener::bind("localhost:0").await?;
    let port = listener.local_addr()?.port();
    nursery(async |n| {
        n.start_soon(async { Ok(listener.accept().await.map(drop)?) });
        Ok(TcpStream::connect(("localhost", port)).await.map(drop)?)
    })
    .await?;
    let error = TcpStream::connect("no port").await.expect_err("it has none");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

/// A live listener keeps its address; one that is gone does not, though connections of its linger.
async fn address_is_free_once_its_listener_is_gone() -> trine::Result<()> {
    let (listener, address) = listener().await?;
    let error = TcpListener::bind(address).await.expect_err("it is in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let client = TcpStream::connect(address).await?;
    let (server, _) = listener.accept().await?;
    drop(server); // this end closes first, so it is the one that lingers
    assert_eq!(read_to_end(&client).await?, b"");
    drop(client);
    drop(listener);
    let again = TcpListener::bind(address).await?;
    assert_eq!(again.local_addr()?, address);
    Ok(())
}

/// `AsyncRead` and `AsyncWrite` carry data, and a cancellation as any other error.
async fn foreign_traits_are_checkpoints_too() -> trine::Result<()> {
    let ((a, b), data) = (pair().await?, pattern(2_000_000));
    nursery(async |n| {
        n.start_soon(async {
            let mut a = &a;
            AsyncWriteExt::write_all(&mut a, &data).await?;
            Ok(AsyncWriteExt::close(&mut a).await?)
        });
        let mut all = Vec::new();
        (&b).read_to_end(&mut all).await?;
        assert!(all == data);
        Ok(())
    })
    .await?;
    let (_kept, c) = pair().await?;
    let scope = CancelScope::new();
    nursery(async |n| {
        let read = n.spawn(async {
            scope
                .run(async {
                    let error = AsyncReadExt::read(&mut &c, &mut [0; 8]).await.expect_err("it is cancelled");
                    assert!(is_cancelled(&error));
                    Ok(())
                })
                .await
        });
        settle().await?;
        scope.cancel();
        assert_eq!(read.await?, Some(()));
        Ok(())
    })
    .await
}

/// A virtual clock with a deadline far off does not jump there while data is on its way between two tasks.
async fn virtual_time_stands_while_a_peer_answers() -> trine::Result<()> {
    let start = trine::now();
    let (a, b) = pair().await?;
    nursery(async |n| {
        n.start_soon(async {
            let mut buf = [0; 8];
            while b.read(&mut buf).await? > 0 {
                b.write_all(b"pong").await?;
            }
            Ok(())
        });
        for _ in 0..20 {
            a.write_all(b"ping").await?;
            assert_eq!(a.read(&mut [0; 8]).await?, 4);
        }
        Ok(a.shutdown(Shutdown::Write).await?)
    })
    .await?;
    assert_eq!(trine::now(), start);
    Ok(())
}
