//! Which event a readiness came from.

use std::fmt;

/// The event that a readiness came from: opaque to callers, who hand it back to clear just that event.
///
/// A caller learns that nothing is left from its own system call, and an event may arrive between that call and the
/// clear. The loop counts events; a clear whose count is no longer the newest does nothing ([L18](crate::laws::L18)).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tick {
    /// The number, and in the lowest bit the hang-up. One word, so that the result of a poll travels in registers.
    word: u64,
}

const HANGUP: u64 = 1;

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick").field("count", &self.count()).field("hangup", &self.is_hangup()).finish()
    }
}

impl Tick {
    /// Makes the tick of the event with this number, of which 63 bits count. The numbers of one source may wrap, late enough.
    pub const fn new(count: u64) -> Self {
        Self { word: count << 1 }
    }

    /// Marks an event after which no further one is certain in this direction: the peer has hung up, so what remains
    /// to be read (the end included) is announced by this event alone.
    ///
    /// A loop that reports a lasting state anew after each clear need not mark it.
    #[must_use]
    pub const fn hangup(self, hangup: bool) -> Self {
        Self { word: self.word & !HANGUP | hangup as u64 }
    }

    /// Returns the number of the event.
    pub const fn count(self) -> u64 {
        self.word >> 1
    }

    /// Returns whether this may be the last event of its direction: then only "would block" is a reason to clear it,
    /// a short read is not.
    pub const fn is_hangup(self) -> bool {
        self.word & HANGUP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_its_number_and_whether_it_is_a_hang_up() {
        for count in [0, 1, 2, u64::MAX >> 1] {
            let tick = Tick::new(count);
            assert_eq!((tick.count(), tick.is_hangup()), (count, false));
            assert_eq!((tick.hangup(true).count(), tick.hangup(true).is_hangup()), (count, true));
            assert_eq!(tick.hangup(true).hangup(false), tick);
            assert_ne!(tick.hangup(true), tick);
        }
        assert_eq!(Tick::new(1 << 63), Tick::new(0), "they wrap");
        assert_eq!(format!("{:?}", Tick::new(3).hangup(true)), "Tick { count: 3, hangup: true }");
    }
}
