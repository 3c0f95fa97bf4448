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
use crate::watch::{Descriptor, Watch};

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
    fn insert(&self, fd: Descriptor) -> io::Result<Arc<Source>> {
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
        let token = Token(index | slot.generation << SLOT_BITS);
        let source = Arc::new(Source::new(Watch::new(token, fd)));
        slot.source = Some(Arc::clone(&source));
        Ok(source)
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

    /// Hands the events to their sources, and collects whom to wake. False: there was nothing new, only levels that an
    /// earlier batch (not `is_first`) of the same look has brought as well.
    pub(crate) fn deliver(
        &self,
        events: &mio::Events,
        is_first: bool,
        registry: &mio::Registry,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let inner = lock(&self.inner);
        let mut news = false;
        for event in events {
            let Some(source) = inner.find(event.token()) else { continue };
            if source.is_overfull() {
                if !is_first {
                    continue;
                }
                // An error: it is being deregistered. It cannot be closed meanwhile, for which this lock is needed.
                let _ = source.switch_to_edges(registry);
            }
            source.deliver(Ready::from_event(event), wakers);
            news = true;
        }
        news
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
}

impl Registration {
    pub(crate) fn new(shared: Arc<Shared>, source: trine_backend::Source<'_>) -> io::Result<Registration> {
        let source = shared.sources.insert(descriptor(source))?;
        if let Err(error) = source.watch().begin(&shared.registry) {
            shared.sources.remove(source.watch().token());
            return Err(error);
        }
        Ok(Self { shared, source })
    }
}

#[cfg(unix)]
fn descriptor(source: trine_backend::Source<'_>) -> Descriptor {
    std::os::fd::AsRawFd::as_raw_fd(&source)
}

#[cfg(windows)]
fn descriptor(source: trine_backend::Source<'_>) -> Descriptor {
    std::os::windows::io::AsRawSocket::as_raw_socket(&source)
}

impl Readiness for Registration {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        self.source.poll(Direction::Read, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        if !self.source.is_ready(Direction::Write) {
            self.source.switch_to_edges(&self.shared.registry)?;
        }
        self.source.poll(Direction::Write, cx)
    }

    fn clear_readable(&self, tick: Tick) {
        self.source.clear(Direction::Read, tick);
    }

    fn clear_writable(&self, tick: Tick) {
        self.source.clear(Direction::Write, tick);
    }

    fn renew_readable(&self, source: trine_backend::Source<'_>, tick: Tick) -> bool {
        self.source.renew(tick, |watch| watch.levels(&self.shared.registry, source))
    }

    fn is_dead(&self) -> bool {
        self.source.is_gone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // First the system, then the slot: its next source must not get events of this one.
        self.source.watch().end(&self.shared.registry);
        self.shared.sources.remove(self.source.watch().token());
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod levels;
