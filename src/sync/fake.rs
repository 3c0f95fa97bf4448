//! For tests of the pure machines: waits without tasks, and a small source of random numbers.

use super::queue::Waiter;
use super::wait::Wakes;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Context;

/// A wait that is cancelled by hand.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) id: u32,
    cancelled: Rc<Cell<bool>>,
    current: bool,
}

impl Fake {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, cancelled: Rc::default(), current: true }
    }

    /// One that was made for another task than the one that polls.
    pub(crate) fn stale(id: u32) -> Self {
        Self { current: false, ..Self::new(id) }
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
    }
}

impl Waiter for Fake {
    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn is_current(&self, _cx: &Context<'_>) -> bool {
        self.current
    }
}

/// Who would be woken, in order.
pub(crate) fn ids(wakes: Wakes<Fake>) -> Vec<u32> {
    match wakes {
        Wakes::None => vec![],
        Wakes::One(one) => vec![one.id],
        Wakes::Many(all) => all.into_iter().map(|wait| wait.id).collect(),
    }
}

/// Marsaglia's xorshift, 64 bits.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound
    }
}
