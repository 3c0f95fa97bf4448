//! Waiting for the readiness of a descriptor.
//!
//! The wait has a duplicate of the descriptor to itself. So it can be registered though others wait for the same one, or
//! a stream of this crate has registered it; and nobody can close it meanwhile, and have another one opened under its
//! number. The registration is made by the wait and ends with it: what it reports first is the present state, as a
//! level-triggered wait has to.

use crate::net::source::{Direction, Done, Source};
use crate::net::wait::Wait;
use crate::task::park::Op;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The future of [`wait_readable`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct WaitReadable<'fd>(Readiness<'fd>);

/// The future of [`wait_writable`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct WaitWritable<'fd>(Readiness<'fd>);

/// Waits until reading from a descriptor would not block: there is data, an end, or an error to be had.
///
/// Reads nothing. Another reader may come first, so the descriptor should be in non-blocking mode, and one should wait
/// again if the read says that it would block. Any number of tasks may wait for one descriptor.
///
/// # Errors
///
/// What the system says of a descriptor that cannot be waited for, such as a regular file, or of a lack of descriptors;
/// [`Unsupported`](io::ErrorKind::Unsupported) where nothing drives input and output; a cancellation.
///
/// # Cancel safety
///
/// Nothing is lost: nothing was read.
///
/// # Platform notes
///
/// Unix only. Takes one more descriptor for as long as it waits.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use trine::lowlevel::wait_readable;
///
/// let (mut here, mut there) = UnixStream::pair()?;
/// here.set_nonblocking(true)?;
/// let read = trine::run(trine::nursery(async |n| {
///     n.start_soon(async { Ok(there.write_all(b"hello")?) });
///     wait_readable(here.as_fd()).await?;
///     let mut buf = [0; 16];
///     let read = here.read(&mut buf)?;
///     Ok(buf[..read].to_vec())
/// }))?;
/// assert_eq!(read, b"hello");
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn wait_readable(fd: BorrowedFd<'_>) -> WaitReadable<'_> {
    WaitReadable(Readiness::new(fd, Direction::Read, Op::WaitReadable, Location::caller()))
}

/// Waits until writing to a descriptor would not block: there is room, or an error to be had.
///
/// Writes nothing. As with [`wait_readable`], another writer may come first.
///
/// # Errors
///
/// As [`wait_readable`].
///
/// # Cancel safety
///
/// Nothing is lost: nothing was written.
///
/// # Platform notes
///
/// As [`wait_readable`].
#[track_caller]
pub fn wait_writable(fd: BorrowedFd<'_>) -> WaitWritable<'_> {
    WaitWritable(Readiness::new(fd, Direction::Write, Op::WaitWritable, Location::caller()))
}

/// A wait for one direction.
struct Readiness<'fd> {
    fd: BorrowedFd<'fd>,
    /// Once the checkpoint has been passed.
    source: Option<Source<OwnedFd>>,
    /// Nothing is known of a new source: the first attempt says that it would block, so that the system is asked.
    asked: bool,
    wait: Wait,
}

impl fmt::Debug for Readiness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("fd", &self.fd).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl<'fd> Readiness<'fd> {
    fn new(fd: BorrowedFd<'fd>, direction: Direction, op: Op, at: &'static Location<'static>) -> Self {
        Self { fd, source: None, asked: false, wait: Wait::new(direction, op, at) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wait.poll_entry(cx))?;
        if self.source.is_none() {
            self.source = Some(Source::new(self.fd.try_clone_to_owned()?));
        }
        let Some(source) = &self.source else { unreachable!("it was just made") };
        let asked = &mut self.asked;
        let result = ready!(self.wait.poll(cx, source, |_| {
            if std::mem::replace(asked, true) {
                Ok(Done { value: (), drained: false })
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }));
        self.source = None;
        self.asked = false;
        Poll::Ready(result)
    }
}

impl Future for WaitReadable<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for WaitWritable<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}
