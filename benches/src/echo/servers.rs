//! The echo servers: each as its users write it, with a buffer per connection and a task per connection.

use std::{io, net::SocketAddr};

use async_executor::LocalExecutor;
use async_io::Async;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Server;
use crate::{
    harness::{NATIVE, Side},
    workloads::hosts::{on_backend, on_tokio, on_trine},
};

/// Any free port of loopback.
pub(super) const ANY: &str = "127.0.0.1:0";

/// All servers, trine's native one first.
pub(crate) static SERVERS: &[Server] = &[
    Server::new(NATIVE, Side::Trine, |size, announce| trine(NATIVE, size, announce)),
    #[cfg(feature = "tokio")]
    Server::new("tokio", Side::Trine, |size, announce| trine("tokio", size, announce)),
    #[cfg(feature = "async-io")]
    Server::new("async-io", Side::Trine, |size, announce| trine("async-io", size, announce)),
    Server::new("raw epoll", Side::Peer, super::epoll::serve),
    Server::new("raw tokio", Side::Peer, tokio),
    Server::new("smol", Side::Peer, smol),
    #[cfg(feature = "peers-uring")]
    Server::new("monoio", Side::Peer, super::uring::monoio).needs(crate::workloads::uring::Monoio::available),
    #[cfg(feature = "peers-uring")]
    Server::new("compio", Side::Peer, super::uring::compio).needs(crate::workloads::uring::Compio::available),
    #[cfg(feature = "peers-uring")]
    Server::new("glommio", Side::Peer, super::uring::glommio).needs(crate::workloads::uring::Glommio::available),
];

fn trine(backend: &'static str, size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    on_backend(backend, || {
        on_trine(async move {
            let listener = trine::net::TcpListener::bind(ANY).await?;
            announce(listener.local_addr()?);
            trine::net::serve(listener, async |stream: trine::net::TcpStream| {
                stream.set_nodelay(true)?;
                let mut buffer = vec![0; size];
                loop {
                    let length = stream.read(&mut buffer).await?;
                    if length == 0 {
                        return Ok(());
                    }
                    stream.write_all(&buffer[..length]).await?;
                }
            })
            .await
        })
    });
    Ok(())
}

fn tokio(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    on_tokio(async move {
        let listener = tokio::net::TcpListener::bind(ANY).await?;
        announce(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let mut buffer = vec![0; size];
                loop {
                    let length = stream.read(&mut buffer).await?;
                    if length == 0 {
                        return io::Result::Ok(());
                    }
                    stream.write_all(&buffer[..length]).await?;
                }
            });
        }
    })
}

fn smol(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        let listener = Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0))?;
        announce(listener.get_ref().local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            let task = executor.spawn(async move {
                stream.get_ref().set_nodelay(true)?;
                let mut buffer = vec![0; size];
                loop {
                    let length = stream.read(&mut buffer).await?;
                    if length == 0 {
                        return io::Result::Ok(());
                    }
                    stream.write_all(&buffer[..length]).await?;
                }
            });
            task.detach();
        }
    }))
}
