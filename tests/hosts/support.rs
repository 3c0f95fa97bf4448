//! A tree that uses everything a host provides, and runtimes to put it into.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use trine::net::{TcpListener, TcpStream};
use trine::{Error, Result, backend};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Long enough that a test which waits for it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Nurseries, scopes, timers, channels, sockets and name lookup; returns which backend served them.
pub(crate) async fn tree() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (tx, rx) = trine::channel(0);
    let echoed = trine::nursery(async |n| {
        n.start_soon(async {
            let (stream, _) = listener.accept().await?;
            let mut buf = [0; 4];
            let len = stream.read(&mut buf).await?;
            trine::sleep(MS).await?;
            stream.write_all(&buf[..len]).await?;
            Ok(())
        });
        n.start_soon(async {
            // The name is looked up on a pool thread; both its addresses may be tried.
            let stream = TcpStream::connect(("localhost", port)).await?;
            stream.write_all(b"ping").await?;
            let mut buf = [0; 4];
            let len = stream.read(&mut buf).await?;
            tx.send(buf[..len].to_vec()).await?;
            Ok(())
        });
        Ok(rx.recv().await?)
    })
    .await?;
    assert_eq!(echoed, b"ping");
    let late = trine::move_on_after(MS, std::future::pending::<Result<()>>()).await?;
    assert!(late.is_none());
    trine::nursery(async |_| Ok(backend::current().map_or_else(String::new, |b| b.name().to_owned()))).await
}

/// As [`tree`], for executors that ask for `Send + 'static`; panics if it fails.
pub(crate) async fn checked_tree() -> String {
    tree().await.unwrap()
}

/// Polls a future once with the waker of whoever awaits this.
pub(crate) async fn poll_once<F: Future + ?Sized>(mut fut: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match fut.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// The text of a panic.
pub(crate) fn panic_text(f: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

/// The type of a test's last expression.
pub(crate) fn ok() -> Result<(), Error> {
    Ok(())
}
