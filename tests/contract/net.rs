//! Section 9: sockets.

use crate::{debug, send, send_value, sync, yields, yields_send};
use std::io;
use std::net::SocketAddr;
use trine::Result;
use trine::net::{Listener, Shutdown, TcpListener, TcpStream, ToSocketAddrs};

#[test]
fn sockets_can_be_shared_by_tasks() {
    send::<(TcpStream, TcpListener)>();
    sync::<(TcpStream, TcpListener)>();
    debug::<(TcpStream, TcpListener)>();
    fn both<S: futures_util::io::AsyncRead + futures_util::io::AsyncWrite + Unpin + Send + Sync>() {}
    both::<TcpStream>();
    both::<&TcpStream>();
}

// Operations are written in functions that never run, since they need a socket.

#[expect(dead_code, reason = "only to be compiled")]
fn operations_have_the_outputs_and_are_send(stream: &TcpStream, listener: &TcpListener, address: impl ToSocketAddrs) {
    drop(yields_send::<io::Result<TcpStream>, _>(TcpStream::connect(("localhost", 80))));
    drop(yields_send::<io::Result<TcpListener>, _>(TcpListener::bind(address)));
    drop(yields_send::<io::Result<usize>, _>(stream.read(&mut [0; 8])));
    drop(yields_send::<io::Result<usize>, _>(stream.write(b"text")));
    drop(yields_send::<io::Result<()>, _>(stream.write_all(b"text")));
    drop(yields_send::<io::Result<()>, _>(stream.shutdown(Shutdown::Write)));
    drop(yields_send::<io::Result<(TcpStream, SocketAddr)>, _>(listener.accept()));
    let _: [io::Result<SocketAddr>; 3] = [stream.peer_addr(), stream.local_addr(), listener.local_addr()];
    let _: io::Result<()> = stream.set_nodelay(true);
}

#[expect(dead_code, reason = "only to be compiled")]
fn serving_yields_only_an_error<L, H, Fut>(listener: L, handler: H)
where
    L: Listener<Stream: Send> + Send + Sync,
    H: Fn(L::Stream) -> Fut + Send + Sync,
    Fut: Future<Output = Result<()>> + Send,
{
    drop(yields::<Result<()>, _>(trine::net::serve(listener, handler)));
}

#[expect(dead_code, reason = "only to be compiled")]
fn serving_is_send(listener: TcpListener, greeting: &str) {
    drop(send_value(trine::net::serve(listener, |stream: TcpStream| async move {
        stream.write_all(greeting.as_bytes()).await?;
        Ok(())
    })));
}
