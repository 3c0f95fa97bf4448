//! TCP streams and listeners.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::addresses::{Resolve, ToSocketAddrs};
use super::source::{Direction, Done, Source};
use super::stream::{Names, Read, ShutDown, Socket, Stream, Write, WriteAll};
use super::transfer;
use super::wait::{Exclusive, Wait};
use crate::task::park::Op;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

impl Socket for net::TcpStream {
    const NAMES: Names = Names {
        read: Op::TcpStreamRead,
        write: Op::TcpStreamWrite,
        write_all: Op::TcpStreamWriteAll,
        shutdown: Op::TcpStreamShutdown,
    };

    fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::recv(self, buf)
    }

    fn send(&self, buf: &[u8]) -> io::Result<usize> {
        transfer::send(self, buf)
    }

    fn end(&self, how: Shutdown) -> io::Result<()> {
        net::TcpStream::shutdown(self, how)
    }
}

/// A TCP connection. Dropping it closes it.
///
/// All operations take `&self`: one task may read while another one writes. A second task in the same direction gets
/// [`ResourceBusy`](io::ErrorKind::ResourceBusy). The traits [`futures_io::AsyncRead`] and [`futures_io::AsyncWrite`]
/// are implemented for it and for `&` it. They do not say when an operation is given up, so nobody is kept waiting for one
/// of theirs: who waits by them gets [`ResourceBusy`](io::ErrorKind::ResourceBusy) also if another task comes later with an
/// operation of the stream's own.
pub struct TcpStream(Box<Stream<net::TcpStream>>);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.io().fmt(f)
    }
}

impl TcpStream {
    fn new(source: Source<net::TcpStream>) -> Self {
        Self(Box::new(Stream::new(source)))
    }

    /// Connects to the first address that answers.
    ///
    /// A host name is looked up on a thread where that may block; the addresses are tried one after the other.
    ///
    /// # Errors
    ///
    /// What the system said of the last address; of the lookup; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// A connection that is about to be made is given up. A lookup goes on alone, and its answer is lost.
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> Connect {
        let at = Location::caller();
        Connect { state: Connecting::Resolve(Resolve::new(address.addresses(), CONNECT, at)), at }
    }

    /// Returns the address of the other side.
    ///
    /// # Errors
    ///
    /// What the system says, as for a connection that is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().peer_addr()
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().local_addr()
    }

    /// Sets whether small writes are sent at once, rather than gathered (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.io().set_nodelay(nodelay)
    }

    /// Reads what is there into `buf`, after waiting for the first byte, and returns how many bytes that are. None means
    /// that the other side sends no more, or that `buf` is empty.
    ///
    /// # Errors
    ///
    /// What the system says; [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another task reads; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: nothing was read.
    #[track_caller]
    pub fn read<'a>(&'a self, buf: &'a mut [u8]) -> Read<'a, net::TcpStream> {
        self.0.read(buf)
    }

    /// Sends as much of `buf` as the system takes at once, after waiting until it takes some, and returns how many bytes
    /// that are.
    ///
    /// # Errors
    ///
    /// What the system says; [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another task writes; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing was sent.
    #[track_caller]
    pub fn write<'a>(&'a self, buf: &'a [u8]) -> Write<'a, net::TcpStream> {
        self.0.write(buf)
    }

    /// Sends all of `buf`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). An unknown part was sent by then.
    ///
    /// # Cancel safety
    ///
    /// An unknown part was sent. A stream that is to be used further must not be cancelled within.
    #[track_caller]
    pub fn write_all<'a>(&'a self, buf: &'a [u8]) -> WriteAll<'a, net::TcpStream> {
        self.0.write_all(buf)
    }

    /// Ends the stream in one direction or both: the other side reads its end once it has read the rest.
    ///
    /// # Errors
    ///
    /// What the system says; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing was ended.
    #[track_caller]
    pub fn shutdown(&self, how: Shutdown) -> ShutDown<'_, net::TcpStream> {
        self.0.shutdown(how)
    }
}

impl futures_io::AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }
}

impl futures_io::AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }

    /// Does nothing: there is no buffer here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream in this direction. Not a checkpoint, so that clean-up needs no shield for it.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close()
    }
}

impl futures_io::AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }
}

impl futures_io::AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.io().as_fd()
    }
}

const CONNECT: Op = Op::TcpStreamConnect;

/// The future of [`TcpStream::connect`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Connect {
    state: Connecting,
    at: &'static Location<'static>,
}

#[derive(Debug)]
enum Connecting {
    /// Which addresses?
    Resolve(Resolve),
    /// One of them is being tried.
    Try {
        source: Source<net::TcpStream>,
        wait: Wait,
        rest: vec::IntoIter<SocketAddr>,
    },
    Done,
}

impl Connect {
    /// Starts with the next address where that is possible; `error` is what the last one said.
    fn next(&self, mut rest: vec::IntoIter<SocketAddr>, mut error: io::Error) -> io::Result<Connecting> {
        for address in rest.by_ref() {
            match start_connect(address) {
                Ok(source) => {
                    let wait = Wait::entered(Direction::Write, CONNECT, self.at);
                    return Ok(Connecting::Try { source, wait, rest });
                }
                Err(e) => error = e,
            }
        }
        Err(error)
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.state {
                Connecting::Resolve(resolve) => match ready!(Pin::new(resolve).poll(cx)) {
                    // There is one address at least, or an error.
                    Ok(found) => self.next(found.into_iter(), io::ErrorKind::NotFound.into()),
                    Err(error) => Err(error),
                },
                Connecting::Try { source, wait, .. } => {
                    let result = ready!(wait.poll(cx, source, finish_connect));
                    let Connecting::Try { source, rest, .. } = std::mem::replace(&mut self.state, Connecting::Done)
                    else {
                        unreachable!("matched above");
                    };
                    match result {
                        Ok(()) => return Poll::Ready(Ok(TcpStream::new(source))),
                        Err(error) if crate::is_cancelled(&error) => Err(error),
                        Err(error) => self.next(rest, error),
                    }
                }
                Connecting::Done => panic!("`Connect` polled after completion"),
            };
            match next {
                Ok(state) => self.state = state,
                Err(error) => {
                    self.state = Connecting::Done;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

/// Makes a non-blocking socket for the family of `address`.
fn socket(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn start_connect(address: SocketAddr) -> io::Result<Source<net::TcpStream>> {
    let socket = socket(address)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(Source::new(socket.into()))
}

fn in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(libc::EINPROGRESS);
    #[cfg(not(unix))]
    let in_progress = error.kind() == io::ErrorKind::WouldBlock;
    // An interrupted connect goes on by itself.
    in_progress || error.kind() == io::ErrorKind::Interrupted
}

/// Asks what has become of a connect: done, an error, or still on its way.
fn finish_connect(socket: &net::TcpStream) -> io::Result<Done<()>> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(Done { value: (), drained: false }),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

/// A socket that takes TCP connections.
///
/// # Examples
///
/// ```
/// use trine::net::{TcpListener, TcpStream};
///
/// # trine::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
///
/// let greeting = trine::nursery(async |n| {
///     n.start_soon(async {
///         let (stream, _) = listener.accept().await?;
///         stream.write_all(b"hello").await?;
///         Ok(())
///     });
///     let stream = TcpStream::connect(address).await?;
///     let mut buf = [0; 16];
///     let read = stream.read(&mut buf).await?;
///     Ok(buf[..read].to_vec())
/// })
/// .await?;
/// assert_eq!(greeting, b"hello");
/// # Ok::<_, trine::Error>(())
/// # }).unwrap();
/// ```
pub struct TcpListener(Source<net::TcpListener>);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.io().fmt(f)
    }
}

impl TcpListener {
    /// Listens at the first address that is free; port 0 lets the system choose one.
    ///
    /// The address can be bound again at once after the listener is gone (`SO_REUSEADDR`, not on Windows, where that
    /// means something else), and 1,024 connections may wait to be accepted.
    ///
    /// # Errors
    ///
    /// What the system said of the last address; of the lookup of a name; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing is bound.
    #[track_caller]
    pub fn bind(address: impl ToSocketAddrs) -> Bind {
        let at = Location::caller();
        Bind(Resolve::new(address.addresses(), Op::TcpListenerBind, at))
    }

    /// Takes the next connection, and the address of its other side.
    ///
    /// # Errors
    ///
    /// What the system says; this includes errors of the connection that is taken, and of a lack of descriptors, after
    /// which one should go on ([`serve`](super::serve) does);
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another task accepts; a cancellation.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: no connection was taken.
    #[track_caller]
    pub fn accept(&self) -> Accept<'_> {
        let wait = Wait::new(Direction::Read, Op::TcpListenerAccept, Location::caller());
        Accept(Exclusive::new(&self.0, wait))
    }

    /// Returns the address at which it listens.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().local_addr()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpListener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.io().as_fd()
    }
}

/// The future of [`TcpListener::bind`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Bind(Resolve);

impl Future for Bind {
    type Output = io::Result<TcpListener>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut error = io::ErrorKind::NotFound.into();
        for address in ready!(Pin::new(&mut self.0).poll(cx))? {
            match listen(address) {
                Ok(listener) => return Poll::Ready(Ok(TcpListener(Source::new(listener)))),
                Err(e) => error = e,
            }
        }
        Poll::Ready(Err(error))
    }
}

fn listen(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = socket(address)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The future of [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Accept<'a>(Exclusive<'a, net::TcpListener>);

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, |listener| {
            let (stream, peer) = listener.accept()?;
            stream.set_nonblocking(true)?;
            let source = Source::new(stream);
            source.register_early();
            Ok(Done { value: (TcpStream::new(source), peer), drained: false })
        })
    }
}
