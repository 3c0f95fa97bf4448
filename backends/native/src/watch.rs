//! What the system is told to report of one descriptor.
//!
//! A source is watched for edges of both directions, unless it is switched to levels: see `source`.

use std::io;

use mio::{Registry, Token};

#[cfg(unix)]
pub(crate) type Descriptor = std::os::fd::RawFd;
#[cfg(windows)]
pub(crate) type Descriptor = std::os::windows::io::RawSocket;

/// A descriptor and the name of its events.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    token: usize,
    fd: Descriptor,
}

impl Watch {
    pub(crate) const fn new(token: Token, fd: Descriptor) -> Self {
        Self { token: token.0, fd }
    }

    pub(crate) const fn token(&self) -> Token {
        Token(self.token)
    }
}

#[cfg(unix)]
impl Watch {
    const BOTH: mio::Interest = mio::Interest::READABLE.add(mio::Interest::WRITABLE);

    pub(crate) fn begin(&self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut mio::unix::SourceFd(&self.fd), self.token(), Self::BOTH)
    }

    /// Has edges of both directions reported from now on, and what is there already.
    pub(crate) fn edges(&self, registry: &Registry) -> io::Result<()> {
        registry.reregister(&mut mio::unix::SourceFd(&self.fd), self.token(), Self::BOTH)
    }

    pub(crate) fn end(&self, registry: &Registry) {
        // An error means that the descriptor was closed before, against the contract; the system has then forgotten it
        // already.
        let _ = registry.deregister(&mut mio::unix::SourceFd(&self.fd));
    }
}

/// On Windows mio can watch only sockets that it made itself.
#[cfg(windows)]
impl Watch {
    pub(crate) fn begin(&self, _: &Registry) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn edges(&self, _: &Registry) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn end(&self, _: &Registry) {}
}

impl Watch {
    /// Has reported, by each look, that there is something to read; nothing of writing. `source` is the descriptor.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn levels(&self, registry: &Registry, source: trine_backend::Source<'_>) -> io::Result<()> {
        use rustix::event::epoll::{EventData, EventFlags, modify};

        // mio's selector is an epoll, and has the token as its datum.
        let token = EventData::new_u64(self.token as u64);
        Ok(modify(registry, source, token, EventFlags::IN | EventFlags::RDHUP)?)
    }

    /// Only epoll can change its mind so.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn levels(&self, _: &Registry, _: trine_backend::Source<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
