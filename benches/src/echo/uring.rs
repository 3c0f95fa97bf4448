//! The echo servers of the io_uring runtimes, which take the buffer and give it back.

use std::{io, net::SocketAddr};

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

use super::servers::ANY;
use crate::workloads::{
    local::Local,
    uring::{Compio, Glommio, Monoio},
};

pub(super) fn monoio(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    use monoio::{
        buf::IoBuf as _,
        io::{AsyncReadRent as _, AsyncWriteRentExt as _},
    };

    Monoio::run(async move {
        let listener = monoio::net::TcpListener::bind(ANY)?;
        announce(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            monoio::spawn(async move {
                stream.set_nodelay(true)?;
                let mut buffer = vec![0; size];
                loop {
                    let (result, read) = stream.read(buffer).await;
                    let length = result?;
                    if length == 0 {
                        return io::Result::Ok(());
                    }
                    let (result, written) = stream.write_all(read.slice(..length)).await;
                    result?;
                    buffer = written.into_inner();
                }
            });
        }
    })
}

pub(super) fn compio(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    use compio::io::{AsyncRead as _, AsyncWriteExt as _};

    Compio::run(async move {
        let listener = compio::net::TcpListener::bind(ANY).await?;
        announce(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            let task = compio::runtime::spawn(async move {
                let mut buffer = Vec::with_capacity(size);
                loop {
                    let (length, read) = stream.read(buffer).await.into();
                    if length? == 0 {
                        return io::Result::Ok(());
                    }
                    let (result, mut written) = stream.write_all(read).await.into();
                    result?;
                    written.clear();
                    buffer = written;
                }
            });
            task.detach();
        }
    })
}

pub(super) fn glommio(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    Glommio::run(async move {
        let listener = glommio::net::TcpListener::bind(ANY)?;
        announce(listener.local_addr()?);
        loop {
            let mut stream = listener.accept().await?;
            let task = glommio::spawn_local(async move {
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
            task.detach();
        }
    })
}
