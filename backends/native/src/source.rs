//! The readiness of one descriptor: one atomic word and two wakers.
//!
//! The word holds what is ready in each direction, whether that was the last event of the direction, whether the loop
//! is gone, and above these bits the number of the last event. Events come from the loop only; clears from the waiter.
//!
//! *No wake is lost.* A waiter stores its waker under the lock after it has seen, under the lock, that its bit is not
//! set. An event sets the bit first and takes the wakers under the lock after. Whichever comes first at the lock: either
//! the waiter sees the bit, or the event sees the waker.
//!
//! *A clear erases only what its caller saw.* It replaces the word only while the number is still that of the tick.
//!
//! # Edges and levels
//!
//! A source is registered for edges of both directions. A reader who fills his buffer each time would have to learn by a
//! call in vain that there was no more; so where the system can do both, his source is switched to levels, of reading
//! alone: unread data is then reported by each look of the loop, and a clear loses nothing whatever is left
//! ([`renew`](Source::renew)). What is reported and not taken would keep the loop from its sleep, so a source whose event
//! comes again before a clear goes back to edges; and so does one that a writer waits for. A switch costs a system call,
//! so the way to levels is open at one event in [`PACE`] only.
//!
//! `LEVEL` is set after the system was told to report levels and taken away before it is told of edges, each under the
//! lock; a renewal needs it in the word that it replaces. So whatever it erases will be reported: by the level, or by the
//! switch, which reports what is there.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use trine_backend::Tick;

use crate::shared::lock;
use crate::watch::Watch;

const GONE: usize = 1 << 4;
/// The system reports levels of reading, and no edges.
const LEVEL: usize = 1 << 5;
const TICK_SHIFT: u32 = 6;

/// A source may be switched to levels at one in so many events.
const PACE: u64 = 8;

/// What an event says. Bits as in the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready(usize);

impl Ready {
    /// What an event of the selector says about reading and writing.
    ///
    /// An error or a hang-up of both sides concerns both directions. It is not taken for the last event unless the
    /// direction is closed: the error of a datagram socket passes.
    pub(crate) fn from_event(event: &mio::event::Event) -> Self {
        let (read_end, write_end) = (event.is_read_closed(), event.is_write_closed());
        let error = event.is_error();
        let mut bits = 0;
        if event.is_readable() || read_end || error {
            bits |= Direction::Read.ready();
        }
        if event.is_writable() || write_end || error {
            bits |= Direction::Write.ready();
        }
        if read_end {
            bits |= Direction::Read.hangup();
        }
        if write_end {
            bits |= Direction::Write.hangup();
        }
        Self(bits)
    }

    fn has(self, direction: Direction) -> bool {
        self.0 & (direction.ready() | GONE) != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

impl Direction {
    const fn ready(self) -> usize {
        1 << self as usize
    }

    const fn hangup(self) -> usize {
        4 << self as usize
    }
}

/// The state of one registered descriptor.
#[derive(Debug, Default)]
pub(crate) struct Source {
    word: AtomicUsize,
    /// The last pending poll's waker, for each direction.
    wakers: Mutex<[Option<Waker>; 2]>,
    watch: Watch,
}

impl Source {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, ..Self::default() }
    }

    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Records an event, and adds whom to wake.
    pub(crate) fn deliver(&self, ready: Ready, wakers: &mut Vec<Waker>) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = (word | ready.0).wrapping_add(1 << TICK_SHIFT);
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        let mut waiting = lock(&self.wakers);
        for direction in [Direction::Read, Direction::Write] {
            if ready.has(direction) {
                if let Some(waker) = waiting[direction as usize].take() {
                    wakers.push(waker);
                }
            }
        }
    }

    /// Records that the loop is gone, and adds whom to wake.
    pub(crate) fn end(&self, wakers: &mut Vec<Waker>) {
        self.deliver(Ready(GONE), wakers);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.word.load(Ordering::Acquire) & GONE != 0
    }

    pub(crate) fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        if let Some(result) = self.look(direction) {
            return Poll::Ready(result);
        }
        // Cloned before the lock is taken, in vain if it is stored already: a second lock would cost more.
        let mut new = Some(cx.waker().clone());
        let result = {
            let mut wakers = lock(&self.wakers);
            let result = self.look(direction);
            if result.is_none() {
                std::mem::swap(&mut wakers[direction as usize], &mut new);
            }
            result
        };
        drop(new); // what was not stored, or what it replaced
        result.map_or(Poll::Pending, Poll::Ready)
    }

    pub(crate) fn clear(&self, direction: Direction, tick: Tick) {
        let mut word = self.word.load(Ordering::Acquire);
        while count(word) == tick.count() {
            let new = word & !(direction.ready() | direction.hangup());
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Takes a readiness for reading back that the system reports anew if it is still there; false: it would not. `levels`
    /// tells the system to report levels of reading.
    pub(crate) fn renew(&self, tick: Tick, levels: impl FnOnce(&Watch) -> io::Result<()>) -> bool {
        let read = Direction::Read;
        let mut word = self.word.load(Ordering::Acquire);
        if word & LEVEL == 0 {
            if tick.count() % PACE != 0 || !self.switch_to_levels(levels) {
                return false;
            }
            word = self.word.load(Ordering::Acquire);
        }
        // The end of a direction stays.
        while word & LEVEL != 0 && word & read.hangup() == 0 && count(word) == tick.count() {
            let new = word & !read.ready();
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    #[cold]
    fn switch_to_levels(&self, levels: impl FnOnce(&Watch) -> io::Result<()>) -> bool {
        let _lock = lock(&self.wakers);
        // Whoever waits for writing, or is about to, needs the edges.
        let can_write = self.word.load(Ordering::Acquire) & Direction::Write.ready() != 0;
        let done = can_write && levels(&self.watch).is_ok();
        if done {
            self.word.fetch_or(LEVEL, Ordering::AcqRel);
        }
        done
    }

    /// Goes back to edges, if that is not how it is.
    pub(crate) fn switch_to_edges(&self, registry: &mio::Registry) -> io::Result<()> {
        if self.word.load(Ordering::Acquire) & LEVEL == 0 {
            return Ok(());
        }
        let _lock = lock(&self.wakers);
        if self.word.fetch_and(!LEVEL, Ordering::AcqRel) & LEVEL == 0 { Ok(()) } else { self.watch.edges(registry) }
    }

    /// Whether a level that has been reported before is not taken yet.
    pub(crate) fn is_overfull(&self) -> bool {
        let both = LEVEL | Direction::Read.ready();
        self.word.load(Ordering::Acquire) & both == both
    }

    #[cfg(test)]
    pub(crate) fn has_levels(&self) -> bool {
        self.word.load(Ordering::Acquire) & LEVEL != 0
    }

    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        self.look(direction).is_some()
    }

    fn look(&self, direction: Direction) -> Option<io::Result<Tick>> {
        let word = self.word.load(Ordering::Acquire);
        if word & GONE != 0 {
            Some(Err(trine_backend::gone()))
        } else if word & direction.ready() != 0 {
            Some(Ok(Tick::new(count(word)).hangup(word & direction.hangup() != 0)))
        } else {
            None
        }
    }
}

fn count(word: usize) -> u64 {
    (word >> TICK_SHIFT) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    const READ: Ready = Ready(Direction::Read.ready());
    const WRITE: Ready = Ready(Direction::Write.ready());
    const READ_END: Ready = Ready(Direction::Read.ready() | Direction::Read.hangup());

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deliver(source: &Source, ready: Ready) {
        let mut wakers = Vec::new();
        source.deliver(ready, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(source: &Source, direction: Direction) -> Option<Tick> {
        match source.poll(direction, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(tick) => Some(tick.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn l18_a_clear_with_an_old_tick_does_nothing() {
        let source = Source::default();
        deliver(&source, READ);
        let old = poll(&source, Direction::Read).unwrap();
        deliver(&source, READ);
        source.clear(Direction::Read, old);
        let new = poll(&source, Direction::Read).unwrap();
        assert_ne!(old, new);
        source.clear(Direction::Read, new);
        assert_eq!(poll(&source, Direction::Read), None);
    }

    #[test]
    fn l19_a_clear_leaves_the_other_direction_alone() {
        let source = Source::default();
        deliver(&source, READ);
        deliver(&source, WRITE);
        let tick = poll(&source, Direction::Read).unwrap();
        source.clear(Direction::Read, tick);
        assert_eq!(poll(&source, Direction::Read), None);
        assert!(poll(&source, Direction::Write).is_some());
    }

    #[test]
    fn l13_only_the_last_waker_of_a_direction_is_woken() {
        let source = Source::default();
        let wakers = [(); 3].map(|()| Arc::new(Count::default()));
        let [old, new, writer] = &wakers;
        for (direction, waker) in [(Direction::Read, old), (Direction::Read, new), (Direction::Write, writer)] {
            let waker = Waker::from(Arc::clone(waker));
            assert!(source.poll(direction, &mut Context::from_waker(&waker)).is_pending());
        }
        deliver(&source, READ);
        assert_eq!(wakers.map(|w| w.0.load(Ordering::Relaxed)), [0, 1, 0]);
    }

    #[test]
    fn l21_a_hangup_is_marked_and_outlasts_later_events() {
        let source = Source::default();
        deliver(&source, READ);
        assert!(!poll(&source, Direction::Read).unwrap().is_hangup());
        deliver(&source, READ_END);
        deliver(&source, READ);
        let tick = poll(&source, Direction::Read).unwrap();
        assert!(tick.is_hangup());
        source.clear(Direction::Read, tick);
        assert_eq!(poll(&source, Direction::Read), None);
    }

    #[test]
    fn l30_the_end_of_the_loop_wakes_both_directions_with_an_error() {
        let source = Source::default();
        let waiter = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&waiter));
        let mut cx = Context::from_waker(&waker);
        assert!(source.poll(Direction::Read, &mut cx).is_pending());
        assert!(source.poll(Direction::Write, &mut cx).is_pending());
        deliver(&source, Ready(GONE));
        assert_eq!(waiter.0.load(Ordering::Relaxed), 2);
        assert!(matches!(source.poll(Direction::Read, &mut cx), Poll::Ready(Err(_))));
        assert!(source.is_gone());
    }
}
