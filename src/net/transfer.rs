//! The two calls that move the bytes of a connected socket.
//!
//! On Linux they go to the system past the C library. There, `recv` and `send` are points at which a thread may be cancelled
//! (`pthread_cancel`), and in a program with several threads each call says before and after that it is at one, which a profile
//! of an echo server shows.

use std::io;
use std::net::TcpStream;

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        use rustix::net::{RecvFlags, SendFlags};

        #[inline]
        pub(super) fn recv(socket: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
            let (received, _) = rustix::net::recv(socket, buf, RecvFlags::empty())?;
            Ok(received)
        }

        #[inline]
        pub(super) fn send(socket: &TcpStream, buf: &[u8]) -> io::Result<usize> {
            // An error, not a signal, if the peer is gone.
            Ok(rustix::net::send(socket, buf, SendFlags::NOSIGNAL)?)
        }
    } else {
        use std::io::{Read as _, Write as _};

        pub(super) fn recv(mut socket: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
            socket.read(buf)
        }

        pub(super) fn send(mut socket: &TcpStream, buf: &[u8]) -> io::Result<usize> {
            socket.write(buf)
        }
    }
}
