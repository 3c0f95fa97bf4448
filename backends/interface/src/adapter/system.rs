//! What the system says of a source, asked directly.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Source;

/// Which of its two ends a source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Data, the end, a connection.
    Read = 0,
    /// Room, the outcome of a connect.
    Write = 1,
}

/// A [`Source`] that is owned: a duplicate, for a host that wants to own what it watches.
#[cfg(unix)]
pub type OwnedSource = std::os::fd::OwnedFd;
/// A [`Source`] that is owned: a duplicate, for a host that wants to own what it watches.
#[cfg(windows)]
pub type OwnedSource = std::os::windows::io::OwnedSocket;

/// What has a [`Source`]: `AsFd` on Unix, `AsSocket` on Windows.
pub trait AsSource {
    /// Returns it.
    fn as_source(&self) -> Source<'_>;
}

#[cfg(unix)]
impl<T: std::os::fd::AsFd> AsSource for T {
    fn as_source(&self) -> Source<'_> {
        self.as_fd()
    }
}

#[cfg(windows)]
impl<T: std::os::windows::io::AsSocket> AsSource for T {
    fn as_source(&self) -> Source<'_> {
        self.as_socket()
    }
}

/// Asks the system whether a direction is ready, without waiting; errors and hang-ups count for both.
///
/// # Errors
///
/// What the system said.
pub fn is_ready(source: &impl AsSource, direction: Direction) -> io::Result<bool> {
    let flags = match direction {
        Direction::Read => PollFlags::IN | PollFlags::PRI,
        Direction::Write => PollFlags::OUT,
    };
    let source = source.as_source();
    // Errors and hang-ups are told unasked.
    let mut asked = [PollFd::new(&source, flags)];
    loop {
        match poll(&mut asked, Some(&Timespec::default())) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
