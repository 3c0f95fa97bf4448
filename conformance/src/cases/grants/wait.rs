//! What a waiting operation is, for the cases that prove the same of all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future of the cases.
pub(super) type Waiting<T = ()> = Pin<Box<dyn Future<Output = trine::Result<T>> + Send>>;

/// The argument of the functions that prove something of an operation: [`Wait::make`].
pub(super) type Make = fn() -> Waiting<Arc<dyn Wait>>;

/// A primitive in a state in which its operation has to wait until it is granted.
pub(super) trait Wait: Send + Sync + 'static {
    /// Makes it; what stands in the way is held by the current task.
    fn make() -> Waiting<Arc<dyn Wait>>
    where
        Self: Sized;

    /// What becomes of a grant.
    fn kind(&self) -> Kind;

    /// The operation. What it gets to hold (a guard, a permit) it gives back before it ends.
    fn wait(self: Arc<Self>) -> Waiting;

    /// Grants it: to the first who waits, else to nobody in particular. Called by the task that made it.
    fn grant(&self);

    /// How many wait.
    fn waiting(&self) -> usize;

    /// Is there a grant that nobody has used? If it is of the kind that is used up, it is from now on.
    fn try_take(&self) -> bool;
}

/// What becomes of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One operation uses it up; until then it stays: an item in a channel.
    Consumed,
    /// It takes what the first who waits has offered: a value that is sent. That has happened then, whatever becomes of
    /// the wait.
    Taken,
    /// One at a time has it, and gives it back: a lock, a permit.
    Lent,
    /// It holds for all, and for good: an event.
    Lasting,
    /// If nobody waits it is lost: a notification.
    Fleeting,
}

impl Kind {
    /// Can it be taken after one operation has succeeded?
    pub(super) fn is_left_after_use(self) -> bool {
        matches!(self, Self::Lent | Self::Lasting)
    }
}
