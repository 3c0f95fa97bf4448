//! Which event a readiness came from.

/// The event that a readiness came from: opaque to callers, who hand it back to clear just that event.
///
/// A caller learns that nothing is left from its own system call, and an event may arrive between that call and the
/// clear. The loop counts events; a clear whose count is no longer the newest does nothing ([L18](crate::laws::L18)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tick {
    count: u64,
    hangup: bool,
}

impl Tick {
    /// Makes the tick of the event with this number. The numbers of one source may wrap, late enough.
    pub const fn new(count: u64) -> Self {
        Self { count, hangup: false }
    }

    /// Marks an event after which no further one is certain in this direction: the peer has hung up, so what remains
    /// to be read (the end included) is announced by this event alone.
    ///
    /// A loop that reports a lasting state anew after each clear need not mark it.
    #[must_use]
    pub const fn hangup(self, hangup: bool) -> Self {
        Self { hangup, ..self }
    }

    /// Returns the number of the event.
    pub const fn count(self) -> u64 {
        self.count
    }

    /// Returns whether this may be the last event of its direction: then only "would block" is a reason to clear it,
    /// a short read is not.
    pub const fn is_hangup(self) -> bool {
        self.hangup
    }
}
