//! A server: one task for each connection.

use std::future::Future;
use std::io;
use std::time::Duration;

use super::{TcpListener, TcpStream};
use crate::{Result, is_cancelled, nursery, sleep};

/// How long to wait when the system has no descriptor or no memory left for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections come from.
pub trait Listener {
    /// A connection.
    type Stream;

    /// Takes the next connection.
    ///
    /// # Errors
    ///
    /// What the system says; a cancellation. [`serve`] goes on after errors that concern one connection only or a
    /// passing lack of descriptors or memory.
    ///
    /// # Cancel safety
    ///
    /// No connection was taken.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(TcpListener::accept(self).await?.0)
    }
}

impl<L: Listener + Sync> Listener for &L {
    type Stream = L::Stream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        (**self).accept().await
    }
}

/// Accepts connections for ever and runs `handler` for each of them in a task of its own.
///
/// It ends only with an error: of a handler, of the listener, or a cancellation; in each case it first waits for the
/// handlers, which are cancelled. **So a handler returns an error only if the whole server is to stop for it**: a `?` after a
/// `read` would let one client's reset end the server. What concerns one connection it deals with itself, as in the
/// example. Connections that fail before they are accepted are passed over. When the system runs out of descriptors or
/// memory, it waits a tenth of a second and tries again.
///
/// A handler that shares state borrows it: `net::serve(listener, async |stream| work(stream, &state).await)`.
///
/// # Errors
///
/// The errors of handlers and listener, as those of a [`nursery`].
///
/// # Cancel safety
///
/// No connection is taken and lost; handlers are cancelled, each at its own next checkpoint.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::net::{self, TcpListener, TcpStream};
///
/// async fn echo(stream: TcpStream) -> trine::Result<()> {
///     let mut buf = [0; 1024];
///     loop {
///         match stream.read(&mut buf).await {
///             Ok(0) => return Ok(()),
///             Ok(n) => stream.write_all(&buf[..n]).await?,
///             Err(error) if trine::is_cancelled(&error) => return Err(error.into()),
///             Err(_) => return Ok(()), // this connection's own trouble
///         }
///     }
/// }
///
/// # trine::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let served = trine::move_on_after(Duration::from_millis(10), net::serve(listener, echo)).await?;
/// assert!(served.is_none());
/// # Ok::<_, trine::Error>(())
/// # }).unwrap();
/// ```
pub async fn serve<L, H, Fut>(listener: L, handler: H) -> Result<()>
where
    L: Listener + Send + Sync,
    L::Stream: Send,
    H: Fn(L::Stream) -> Fut + Send + Sync,
    Fut: Future<Output = Result<()>> + Send,
{
    let (listener, handler) = (&listener, &handler);
    nursery(async |n| {
        loop {
            match listener.accept().await {
                Ok(stream) => n.start_soon(handler(stream)),
                Err(error) => match Trouble::of(&error) {
                    Trouble::Connection => {}
                    Trouble::Shortage => sleep(PAUSE).await?,
                    Trouble::Listener => return Err(error.into()),
                },
            }
        }
    })
    .await
}

/// Whose trouble an error of `accept` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// That connection's: the next one may be well.
    Connection,
    /// The system's, for a while.
    Shortage,
    /// The listener's own (a cancellation too).
    Listener,
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        if is_cancelled(error) {
            return Self::Listener;
        }
        match error.kind() {
            // Linux hands errors of the new connection's network to `accept`, and says to go on (accept(2)).
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::PermissionDenied => Self::Connection,
            io::ErrorKind::OutOfMemory => Self::Shortage,
            _ => Self::of_code(error.raw_os_error()),
        }
    }

    #[cfg(unix)]
    fn of_code(code: Option<i32>) -> Self {
        match code {
            Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::EOPNOTSUPP) => Self::Connection,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Shortage,
            _ => Self::Listener,
        }
    }

    #[cfg(windows)]
    fn of_code(code: Option<i32>) -> Self {
        const WSAEMFILE: i32 = 10024;
        const WSAENOBUFS: i32 = 10055;
        match code {
            Some(WSAEMFILE | WSAENOBUFS) => Self::Shortage,
            _ => Self::Listener,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aborted_connection_is_passed_over() {
        let error = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(Trouble::of(&error), Trouble::Connection);
    }

    #[test]
    #[cfg(unix)]
    fn a_lack_of_descriptors_passes() {
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(Trouble::of(&error), Trouble::Shortage);
    }

    #[test]
    fn an_unknown_error_ends_the_server() {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        assert_eq!(Trouble::of(&error), Trouble::Listener);
    }
}
