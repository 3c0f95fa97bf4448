//! Cancel scopes: the handle, the scope's life in the tree, and the functions made of them.
//!
//! ```text
//! shared   the handle's half: what may be asked and told from any thread
//! slot     the tree's half, in the memory of a root
//! region   the life of an entered scope: enter, poll and judge, leave
//! scoped   Scoped, FailAfter, Shielded, Cancellable, Isolated, Lift
//! finally  clean-up that always runs
//! ```

pub(crate) mod finally;
pub(crate) mod region;
pub(crate) mod scoped;
mod shared;
pub(crate) mod slot;

pub use finally::{Finally, finally};
pub use scoped::{
    Cancellable, FailAfter, Isolated, Lift, Scoped, Shielded, cancellable, fail_after, fail_at, isolated, lift,
    move_on_after, move_on_at, shielded, shielded_for,
};
pub use shared::CancelScope;
pub(crate) use shared::ScopeShared;

use crate::sched::context;
use crate::sched::node::{Kind, Node};
use crate::time::Instant;
use slot::ScopeSlot;
use std::time::Duration;

/// When a scope is cancelled by time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Deadline {
    Never,
    /// Counts from entry; no clock has been read yet.
    After(Duration),
    At(Instant),
}

impl Deadline {
    /// The same, put together from its words. One that was written just now is read back faster so than as a whole.
    #[inline(always)]
    pub(crate) const fn by_words(self) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::After(d) => Self::After(Duration::new(d.as_secs(), d.subsec_nanos())),
            Self::At(at) => Self::At(at),
        }
    }
}

/// The earliest deadline that applies to the running code, see [`current_effective_deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectiveDeadline {
    /// A scope around is cancelled: the next checkpoint fails.
    Cancelled,
    /// The earliest deadline of the scopes around.
    At(Instant),
    /// No scope around has a deadline.
    Never,
}

/// Returns the earliest deadline of the scopes around, up to and including the nearest shielded one.
///
/// Outside of any scope it is [`EffectiveDeadline::Never`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::{EffectiveDeadline, current_effective_deadline, move_on_after};
///
/// let seen = trine::run(async {
///     move_on_after(Duration::from_secs(5), async { Ok(current_effective_deadline()) }).await
/// })?;
/// assert!(matches!(seen, Some(EffectiveDeadline::At(_))));
/// # Ok::<(), trine::Error>(())
/// ```
pub fn current_effective_deadline() -> EffectiveDeadline {
    // Takes in what other threads did, as `checkpoint_if_cancelled` would.
    crate::task::park::take_in();
    if crate::task::park::is_cancelled() {
        return EffectiveDeadline::Cancelled;
    }
    let mut at = context::node();
    let mut earliest = EffectiveDeadline::Never;
    // SAFETY: the context's node and its parents are alive and held by this thread.
    unsafe {
        while !at.is_null() {
            let node: &Node = &*at;
            if matches!(node.kind(), Kind::Scope | Kind::Nursery) {
                if let Some(deadline) = ScopeSlot::of(node).instant() {
                    earliest = earliest.min(EffectiveDeadline::At(deadline));
                }
            }
            if node.is_shield() {
                break;
            }
            at = node.parent.get();
        }
    }
    earliest
}
