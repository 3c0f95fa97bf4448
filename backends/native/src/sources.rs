//! The registered descriptors of one loop: who gets which event.
//!
//! Events name their source by a token: slot and generation. A slot's generation changes when its source leaves, so an
//! event that was collected before cannot reach the next source in the same slot (law L23). After deregistration the
//! system makes no more events for a token, so a generation has to be unique only within one batch.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use mio::Token;
use trine_backend::{Readiness, Tick};

use crate::shared::{Shared, lock};
use crate::source::{Direction, Ready, Source};

/// Bits of a token that are the slot.
const SLOT_BITS: u32 = usize::BITS / 2;
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
/// Generations stay below this, so that no token is [`WAKER`].
const GENERATIONS: usize = SLOT_MASK;

/// The token of the loop's own waker.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// All registered sources of one loop.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The loop is gone.
    ended: bool,
}

#[derive(Debug, Default)]
struct Slot {
    generation: usize,
    source: Option<Arc<Source>>,
}

impl Sources {
    fn insert(&self, source: Arc<Source>) -> io::Result<Token> {
        let mut inner = lock(&self.inner);
        if inner.ended {
            return Err(trine_backend::gone());
        }
        let index = match inner.free.pop() {
            Some(index) => index,
            None if inner.slots.len() > SLOT_MASK => {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            None => {
                inner.slots.push(Slot::default());
                inner.slots.len() - 1
            }
        };
        let slot = &mut inner.slots[index];
        slot.source = Some(source);
        Ok(Token(index | slot.generation << SLOT_BITS))
    }

    fn remove(&self, token: Token) {
        let mut inner = lock(&self.inner);
        let index = token.0 & SLOT_MASK;
        let slot = &mut inner.slots[index];
        debug_assert_eq!(slot.generation, token.0 >> SLOT_BITS);
        slot.generation = (slot.generation + 1) % GENERATIONS;
        slot.source = None; // a readiness still owns it, so nothing foreign is dropped here
        inner.free.push(index);
    }

    /// Hands the events to their sources, and collects whom to wake.
    pub(crate) fn deliver(&self, events: &mio::Events, wakers: &mut Vec<Waker>) {
        let inner = lock(&self.inner);
        for event in events {
            if let Some(source) = inner.find(event.token()) {
                source.deliver(Ready::from_event(event), wakers);
            }
        }
    }

    /// Marks the loop as gone, and collects whom to wake.
    pub(crate) fn end(&self, wakers: &mut Vec<Waker>) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        for source in inner.slots.iter().filter_map(|slot| slot.source.as_ref()) {
            source.end(wakers);
        }
    }
}

impl Inner {
    fn find(&self, token: Token) -> Option<&Source> {
        let slot = self.slots.get(token.0 & SLOT_MASK)?;
        (slot.generation == token.0 >> SLOT_BITS).then_some(slot.source.as_deref()).flatten()
    }
}

/// A registration: ends when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    shared: Arc<Shared>,
    source: Arc<Source>,
    token: Token,
    fd: Descriptor,
}

#[cfg(unix)]
type Descriptor = std::os::fd::RawFd;
#[cfg(windows)]
type Descriptor = std::os::windows::io::RawSocket;

impl Registration {
    #[cfg(unix)]
    pub(crate) fn new(shared: Arc<Shared>, source: trine_backend::Source<'_>) -> io::Result<Registration> {
        use std::os::fd::AsRawFd;

        let fd = source.as_raw_fd();
        let source = Arc::new(Source::default());
        let token = shared.sources.insert(Arc::clone(&source))?;
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        if let Err(error) = shared.registry.register(&mut mio::unix::SourceFd(&fd), token, both) {
            shared.sources.remove(token);
            return Err(error);
        }
        Ok(Self { shared, source, token, fd })
    }

    /// mio can watch only sockets that it made itself here.
    #[cfg(windows)]
    pub(crate) fn new(_shared: Arc<Shared>, _source: trine_backend::Source<'_>) -> io::Result<Registration> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Readiness for Registration {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.source.poll(Direction::Read, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.source.poll(Direction::Write, cx)
    }

    fn clear_readable(&self, tick: Tick) {
        self.source.clear(Direction::Read, tick);
    }

    fn clear_writable(&self, tick: Tick) {
        self.source.clear(Direction::Write, tick);
    }

    fn is_dead(&self) -> bool {
        self.source.is_gone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // First the system, then the slot: its next source must not get events of this one. An error means that the
        // descriptor was closed before, against the contract; the system has then forgotten it already.
        #[cfg(unix)]
        let _ = self.shared.registry.deregister(&mut mio::unix::SourceFd(&self.fd));
        self.shared.sources.remove(self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l23_a_token_of_an_ended_registration_finds_nothing() {
        let sources = Sources::default();
        let old = sources.insert(Arc::default()).unwrap();
        sources.remove(old);
        let new = sources.insert(Arc::default()).unwrap();
        assert_ne!(old, new);
        assert_eq!(old.0 & SLOT_MASK, new.0 & SLOT_MASK);
        let inner = lock(&sources.inner);
        assert!(inner.find(old).is_none());
        assert!(inner.find(new).is_some());
        assert!(inner.find(WAKER).is_none());
    }

    #[test]
    fn nothing_is_registered_with_a_loop_that_is_gone() {
        let sources = Sources::default();
        sources.end(&mut Vec::new());
        assert!(sources.insert(Arc::default()).is_err());
    }
}
