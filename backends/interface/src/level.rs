//! What an adapter knows of one direction of a source: ready or not, since which event.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Tick;

const READY: u64 = 1;
const HANGUP: u64 = 2;
const COUNT_SHIFT: u32 = 2;

/// The readiness of one direction as an adapter to another event loop keeps it: lasting until it is cleared with the
/// newest [`Tick`] (laws [L16](crate::laws::L16) to [L18](crate::laws::L18)), one word.
///
/// # Examples
///
/// ```
/// let level = trine_backend::Level::default();
/// assert_eq!(level.tick(), None);
/// level.raise(false);
/// let old = level.tick().unwrap();
/// level.raise(false);
/// level.clear(old); // not the newest: does nothing
/// assert!(level.tick().is_some());
/// ```
#[derive(Debug, Default)]
pub struct Level {
    /// Number of the last event, hang-up, ready.
    word: AtomicU64,
}

impl Level {
    /// Records an event of the host.
    pub fn raise(&self, hangup: bool) {
        let bits = READY | if hangup { HANGUP } else { 0 };
        // The closure always gives a value, so there is no error.
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some(((word | bits) & (READY | HANGUP)) | (word & !(READY | HANGUP)).wrapping_add(1 << COUNT_SHIFT))
        });
    }

    /// Returns the newest event's tick, if the direction is ready.
    pub fn tick(&self) -> Option<Tick> {
        let word = self.word.load(Ordering::Acquire);
        (word & READY != 0).then(|| Tick::new(word >> COUNT_SHIFT).hangup(word & HANGUP != 0))
    }

    /// Takes the readiness back, if `tick` is the newest.
    pub fn clear(&self, tick: Tick) {
        // An error: something newer came.
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            (word >> COUNT_SHIFT == tick.count()).then_some(word & !(READY | HANGUP))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn l17_a_clear_with_the_newest_tick_lasts_until_the_next_event() {
        let level = Level::default();
        level.raise(true);
        let tick = level.tick().unwrap();
        assert!(tick.is_hangup());
        level.clear(tick);
        assert_eq!(level.tick(), None);
        level.raise(false);
        assert!(!level.tick().unwrap().is_hangup());
    }

    #[test]
    fn l18_a_clear_with_an_old_tick_does_nothing() {
        let level = Level::default();
        level.raise(false);
        let old = level.tick().unwrap();
        level.raise(false);
        level.clear(old);
        assert_ne!(level.tick(), Some(old));
        assert!(level.tick().is_some());
    }
}
