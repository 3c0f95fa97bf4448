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

#[cfg(all(test, unix))]
mod tests {
    use super::{Direction, is_ready};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_system_tells_the_directions_apart_and_a_hangup_to_both() {
        let ask = |source: &UnixStream| [Direction::Read, Direction::Write].map(|d| is_ready(source, d).unwrap());
        let (a, mut b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        assert_eq!(ask(&a), [false, true]);
        while (&a).write(&[0; 4096]).is_ok() {}
        assert_eq!(ask(&a), [false, false]);
        b.write_all(b"x").unwrap();
        assert_eq!(ask(&a), [true, false]);
        drop(b);
        assert_eq!(ask(&a), [true, true]);
    }
}
