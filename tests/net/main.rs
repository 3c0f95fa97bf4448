//! TCP on the native backend, seen from outside.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use trine::net::{self, Shutdown, TcpListener, TcpStream};
use trine::{CancelScope, Error, Result, checkpoint, is_cancelled, move_on_after, nursery, run, sleep};

mod poll_based;

const MS: Duration = Duration::from_millis(1);
/// The time of a timeout that ends only what hangs.
const LONG: Duration = Duration::from_secs(20);

async fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, peer) = listener.accept().await?;
    assert_eq!(peer, client.local_addr()?);
    Ok((client, server))
}

async fn read_to_end(stream: &TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buf = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

#[test]
fn two_tasks_talk() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        nursery(async |n| {
            n.start_soon(async {
                let mut buf = [0; 64];
                loop {
                    match b.read(&mut buf).await? {
                        0 => return Ok(b.shutdown(Shutdown::Write).await?),
                        n => b.write_all(&buf[..n]).await?,
                    }
                }
            });
            let mut buf = [0; 64];
            for _ in 0..1_000 {
                a.write_all(b"hello").await?;
                assert_eq!(a.read(&mut buf).await?, 5);
                assert_eq!(&buf[..5], b"hello");
            }
            a.shutdown(Shutdown::Write).await?;
            for _ in 0..3 {
                assert_eq!(a.read(&mut buf).await?, 0);
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn a_writer_waits_for_a_slow_reader() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        let data = pattern(20_000_000);
        let received = nursery(async |n| {
            n.start_soon(async {
                a.write_all(&data).await?;
                a.shutdown(Shutdown::Write).await?;
                Ok(())
            });
            for _ in 0..10 {
                checkpoint().await?;
            }
            read_to_end(&b).await
        })
        .await?;
        assert!(received == data);
        Ok(())
    })
}

#[test]
fn both_directions_flow_at_once() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        let data = &pattern(3_000_000);
        nursery(async |n| {
            for (from, to) in [(&a, &b), (&b, &a)] {
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
    })
}

#[test]
fn reads_that_fill_their_buffer_lose_nothing() -> Result<()> {
    const SIZE: usize = 4096;
    run(async {
        let (a, b) = pair().await?;
        a.set_nodelay(true)?;
        b.set_nodelay(true)?;
        let much = pattern(20_000_000);
        nursery(async |n| {
            n.start_soon(async {
                let mut buf = [0; SIZE];
                loop {
                    match b.read(&mut buf).await? {
                        0 => return Ok(b.shutdown(Shutdown::Write).await?),
                        n => b.write_all(&buf[..n]).await?,
                    }
                }
            });
            // One buffer, or several at once.
            for round in 0..300 {
                let data = pattern(SIZE * (1 + round % 3));
                a.write_all(&data).await?;
                let (mut echo, mut length) = (vec![0; data.len()], 0);
                while length < echo.len() {
                    length += a.read(&mut echo[length..]).await?;
                }
                assert!(echo == data);
            }
            // And so many that the echo has to wait for room.
            n.start_soon(async {
                a.write_all(&much).await?;
                Ok(a.shutdown(Shutdown::Write).await?)
            });
            for _ in 0..100 {
                checkpoint().await?;
            }
            assert!(read_to_end(&a).await? == much);
            Ok(())
        })
        .await
    })
}

#[test]
fn the_end_that_comes_with_the_data_is_read() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        a.write_all(b"last words").await?;
        drop(a);
        sleep(MS).await?;
        assert_eq!(read_to_end(&b).await?, b"last words");
        Ok(())
    })
}

#[test]
fn a_second_reader_is_refused_and_the_first_goes_on() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        nursery(async |n| {
            n.start_soon(async {
                let mut buf = [0; 8];
                assert_eq!(a.read(&mut buf).await?, 2);
                Ok(())
            });
            checkpoint().await?;
            let error = a.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            let error = a.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            a.write_all(b"the other direction is free").await?;
            b.write_all(b"hi").await?;
            Ok(())
        })
        .await
    })
}

/// What reading into, and writing from, an empty buffer gives, by all ways.
async fn move_nothing(stream: &TcpStream) -> [io::Result<usize>; 5] {
    let (mut reader, mut writer) = (stream, stream);
    [
        stream.read(&mut []).await,
        AsyncReadExt::read(&mut reader, &mut []).await,
        stream.write(&[]).await,
        AsyncWriteExt::write(&mut writer, &[]).await,
        stream.write_all(&[]).await.map(|()| 0),
    ]
}

#[test]
fn an_empty_buffer_waits_for_nothing_and_is_a_checkpoint() -> Result<()> {
    run(async {
        let (a, b) = &pair().await?;
        b.write_all(b"abc").await?;
        assert_eq!(a.read(&mut [0; 8]).await?, 3); // a short read: the next one waits
        let full = &pattern(50_000_000);
        assert!(a.write(full).await? < full.len()); // likewise
        let moved = move_on_after(LONG, async { Ok(move_nothing(a).await) }).await?.expect("it waits");
        assert!(moved.iter().all(|moved| matches!(moved, Ok(0))), "{moved:?}");
        let scope = CancelScope::new();
        scope.cancel();
        let caught = scope.run(async {
            for moved in move_nothing(a).await {
                assert!(is_cancelled(&moved.unwrap_err()));
            }
            Ok(checkpoint().await?)
        });
        assert!(caught.await?.is_none());
        Ok(())
    })
}

#[test]
fn a_read_that_was_cancelled_lost_nothing() -> Result<()> {
    run(async {
        let (a, b) = pair().await?;
        let mut buf = [0; 8];
        for _ in 0..3 {
            let read = move_on_after(MS, async { Ok(b.read(&mut buf).await?) }).await?;
            assert_eq!(read, None);
        }
        a.write_all(b"all").await?;
        assert_eq!(b.read(&mut buf).await?, 3);
        Ok(())
    })
}

#[test]
fn in_a_cancelled_scope_nothing_is_sent_or_taken() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let a = TcpStream::connect(listener.local_addr()?).await?;
        let scope = CancelScope::new();
        let caught = scope
            .run(async {
                scope.cancel();
                let error = a.write_all(b"never").await.unwrap_err();
                assert!(is_cancelled(&error));
                assert_eq!(error.kind(), io::ErrorKind::Other);
                assert!(is_cancelled(&listener.accept().await.unwrap_err()));
                assert!(is_cancelled(&TcpStream::connect("127.0.0.1:1").await.unwrap_err()));
                assert!(is_cancelled(&TcpListener::bind("localhost:0").await.unwrap_err()));
                assert!(is_cancelled(&a.shutdown(Shutdown::Both).await.unwrap_err()));
                a.write_all(b"never").await?;
                Ok(())
            })
            .await?;
        assert!(caught.is_none());
        let (b, _) = listener.accept().await?;
        drop(a);
        assert_eq!(read_to_end(&b).await?, b"");
        Ok(())
    })
}

#[test]
fn a_cancel_ends_every_kind_of_wait() -> Result<()> {
    run(async {
        let (a, _b) = &pair().await?;
        let listener = &TcpListener::bind("127.0.0.1:0").await?;
        let full = &pattern(50_000_000);
        let ended = &AtomicUsize::new(0);
        let scope = CancelScope::new();
        scope
            .nursery(async |n| {
                let count = |result: io::Result<()>| -> Result<()> {
                    ended.fetch_add(1, Ordering::Relaxed);
                    Ok(result?)
                };
                n.start_soon(async move { count(a.read(&mut [0; 8]).await.map(drop)) });
                n.start_soon(async move { count(a.write_all(full).await) });
                n.start_soon(async move { count(listener.accept().await.map(drop)) });
                sleep(2 * MS).await?;
                scope.cancel();
                Ok(())
            })
            .await?;
        assert!(scope.cancelled_caught());
        assert_eq!(ended.load(Ordering::Relaxed), 3);
        Ok(())
    })
}

#[test]
fn debug_shows_the_socket_and_not_what_watches_it() -> Result<()> {
    trine::run(async {
        let (a, b) = pair().await?;
        b.write_all(b"x").await?;
        a.read(&mut [0]).await?;
        let shown = format!("{a:?}");
        assert!(shown.starts_with("TcpStream {") && shown.len() < 200, "{shown}");
        assert!(shown.contains(&a.peer_addr()?.to_string()), "{shown}");
        Ok(())
    })
}

#[test]
fn a_refused_connection_is_an_error() -> Result<()> {
    run(async {
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let error = TcpStream::connect(nobody).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    })
}

#[test]
fn the_next_address_is_tried() -> Result<()> {
    run(async {
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let somebody = listener.local_addr()?;
        let stream = TcpStream::connect(&[nobody, somebody][..]).await?;
        assert_eq!(stream.peer_addr()?, somebody);
        stream.set_nodelay(true)?;
        Ok(())
    })
}

#[test]
fn names_are_looked_up() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("localhost:0").await?;
        let port = listener.local_addr()?.port();
        nursery(async |n| {
            n.start_soon(async { Ok(listener.accept().await.map(drop)?) });
            TcpStream::connect(("localhost", port)).await?;
            Ok(())
        })
        .await?;
        let no_addresses: &[SocketAddr] = &[];
        for result in [TcpStream::connect("no port").await, TcpStream::connect(no_addresses).await] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        Ok(())
    })
}

#[test]
fn a_port_can_be_bound_again_at_once() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let a = TcpStream::connect(address).await?;
        let (b, _) = listener.accept().await?;
        drop((listener, b, a));
        TcpListener::bind(address).await?;
        Ok(())
    })
}

#[test]
fn a_stream_survives_its_loop() -> Result<()> {
    let (a, b) = run(async {
        let (a, b) = pair().await?;
        a.write_all(b"one").await?;
        let mut buf = [0; 8];
        assert_eq!(b.read(&mut buf).await?, 3);
        let none = move_on_after(MS, async { Ok(b.read(&mut buf).await?) }).await?;
        assert_eq!(none, None); // registered with this loop
        Ok::<_, Error>((a, b))
    })?;
    run(async {
        nursery(async |n| {
            n.start_soon(async {
                let mut buf = [0; 8];
                assert_eq!(b.read(&mut buf).await?, 3);
                Ok(())
            });
            sleep(MS).await?;
            a.write_all(b"two").await?;
            Ok(())
        })
        .await
    })
}

#[test]
fn two_loops_share_a_stream() -> Result<()> {
    let (a, b) = run(pair())?;
    let (a, b) = (Arc::new(a), Arc::new(b));
    let data = Arc::new(pattern(5_000_000));
    let threads: Vec<_> = [(&a, true), (&a, false), (&b, true), (&b, false)]
        .map(|(stream, writes)| (Arc::clone(stream), Arc::clone(&data), writes))
        .map(|(stream, data, writes)| {
            thread::spawn(move || {
                run(async {
                    if writes {
                        stream.write_all(&data).await?;
                        stream.shutdown(Shutdown::Write).await?;
                    } else {
                        assert!(read_to_end(&stream).await? == *data);
                    }
                    Ok::<_, Error>(())
                })
            })
        })
        .into();
    for thread in threads {
        thread.join().unwrap()?;
    }
    Ok(())
}

#[test]
fn where_nothing_serves_a_wait_is_unsupported() {
    let cx = &mut Context::from_waker(Waker::noop());
    let bound = pin!(TcpListener::bind("127.0.0.1:0")).poll(cx);
    let Poll::Ready(Ok(listener)) = bound else {
        panic!("needs no wait: {bound:?}");
    };
    // The native backend serves only what it drives.
    let accepted = pin!(trine::backend::native().host(listener.accept())).poll(cx);
    let Poll::Ready(Err(error)) = accepted else {
        panic!("cannot wait: {accepted:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_virtual_clock_knows_that_a_peer_may_answer() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        thread::sleep(700 * MS); // longer than a run waits until it calls silence a deadlock
        io::Write::write_all(&mut stream, b"late").unwrap();
    });
    let answer = trine::testing::run(async {
        let stream = TcpStream::connect(address).await?;
        read_to_end(&stream).await
    })?;
    assert_eq!(answer, b"late");
    peer.join().unwrap();
    Ok(())
}

#[test]
fn the_task_tree_shows_where_a_stream_is_waited_for() -> Result<()> {
    run(async {
        let (a, _b) = pair().await?;
        nursery(async |n| {
            n.start_soon(async { Ok(a.read(&mut [0; 8]).await.map(drop)?) });
            trine::testing::wait_all_tasks_blocked().await?;
            let tree = trine::inspect::tree().to_string();
            assert!(tree.contains("TcpStream::read"), "{tree}");
            assert!(tree.contains("tests/net/main.rs"), "{tree}");
            n.cancel_children();
            Ok(())
        })
        .await
    })
}

// Serving.

async fn shout(stream: TcpStream) -> Result<()> {
    let mut buf = [0; 64];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n].to_ascii_uppercase()).await?,
        }
    }
}

#[test]
fn a_server_serves_many_at_once_until_it_is_cancelled() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        nursery(async |n| {
            n.start_soon(net::serve(listener, shout));
            let mut clients = Vec::new();
            for _ in 0..100 {
                clients.push(TcpStream::connect(address).await?);
            }
            for client in &clients {
                client.write_all(b"hey").await?;
            }
            for client in &clients {
                let mut buf = [0; 8];
                assert_eq!(client.read(&mut buf).await?, 3);
                assert_eq!(&buf[..3], b"HEY");
            }
            n.cancel_children();
            Ok(())
        })
        .await
    })
}

#[test]
fn an_error_of_a_handler_ends_the_server() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let _client = TcpStream::connect(listener.local_addr()?).await?;
        let error = net::serve(&listener, async |_| Err(Error::msg("enough"))).await.unwrap_err();
        assert!(error.to_string().contains("enough"));
        Ok(())
    })
}

#[test]
fn errors_of_accept_are_sorted() -> Result<()> {
    /// Fails in turn, as `accept` may.
    struct Troubled(AtomicUsize);
    impl net::Listener for Troubled {
        type Stream = ();
        async fn accept(&self) -> io::Result<()> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::ErrorKind::ConnectionAborted.into()),
                1 => Ok(()),
                2 => Err(io::Error::from_raw_os_error(24)), // EMFILE
                3 => Ok(()),
                _ => Err(io::ErrorKind::InvalidInput.into()),
            }
        }
    }
    let served = AtomicUsize::new(0);
    let error = trine::testing::run(async {
        let start = trine::now();
        let result = net::serve(Troubled(AtomicUsize::new(0)), async |()| {
            served.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .await;
        assert_eq!(trine::now() - start, 100 * MS);
        result.unwrap_err()
    });
    assert_eq!(served.into_inner(), 2);
    let io = error.find::<io::Error>().expect("the listener's error");
    assert_eq!(io.kind(), io::ErrorKind::InvalidInput);
    Ok(())
}
