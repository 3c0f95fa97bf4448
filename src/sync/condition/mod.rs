//! A condition: waiting for a change of what a mutex protects.
//!
//! Invariants:
//!
//! - an entry of `waits` names the pool of the mutex whose holder waits there; a completed entry has been notified, and
//!   names its entry in the queue of that pool (`moved`), which the waiting future owns as well;
//! - the move happens under both locks, the condition's outside: a waiter is in one of the two queues at any time, and
//!   its order among those who lock the mutex directly is that of the notifications.

mod wait;

pub use self::wait::{ConditionWait, ConditionWaitWhile};

use super::guarded::Guarded;
use super::mutex::Guard;
use super::pool::Pool;
use super::queue::{Key, WaitQueue};
use super::wait::Wakes;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A place to wait for a change of the value in a [`Mutex`](super::Mutex).
///
/// A waiter gives its mutex up while it waits and has it again afterwards. Those who are notified do not all rush to the
/// mutex: they are moved into its queue, and each is woken when it is its turn.
///
/// A condition belongs to no mutex. It can be used with several, though seldom is.
///
/// # Examples
///
/// ```
/// use trine::sync::{Condition, Mutex};
///
/// let (jobs, changed) = (Mutex::new(Vec::new()), Condition::new());
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async {
///         jobs.lock().await?.push("paint");
///         changed.notify(1);
///         Ok(())
///     });
///     let mut guard = jobs.lock().await?;
///     changed.wait_while(&mut guard, |jobs| jobs.is_empty()).await?;
///     assert_eq!(guard.pop(), Some("paint"));
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Condition {
    waits: Guarded<WaitQueue<Slot>>,
}

/// Where a waiter goes when it is notified.
#[derive(Debug)]
struct Slot {
    lock: Arc<Guarded<Pool>>,
    /// Its entry in the queue of `lock`, once it was notified.
    moved: Option<Key>,
    /// It was counted by a `notify`, and the notification goes on to the next if the waiting future is dropped.
    counted: bool,
}

/// What [`Condition::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionStatistics {
    /// How many tasks wait for a notification.
    pub waiting: usize,
}

impl Condition {
    /// Makes a condition nobody waits for.
    pub const fn new() -> Self {
        Self { waits: Guarded::new(WaitQueue::new()) }
    }

    /// Unlocks the mutex of `guard`, waits for a notification, and locks the mutex again.
    ///
    /// This is the one wait that does not look for cancellation first: it unlocks (handing the mutex to the first who
    /// waits for it) also in a cancelled scope, and locks again before it reports the cancellation.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) if a scope around is cancelled. *The mutex is held again* by then; it was
    /// regained under a shield.
    ///
    /// # Panics
    ///
    /// If `guard` does not hold its mutex.
    ///
    /// # Cancel safety
    ///
    /// Cancelled before it was notified: nothing is lost. Cancelled after that, while it queues for the mutex: the
    /// notification is used up. A wait that is *dropped* half way leaves `guard` without the mutex: access then panics,
    /// and its drop does nothing; a notification by [`notify`](Condition::notify) goes on to the next waiter.
    ///
    /// # Fairness
    ///
    /// First come, first served, in the queues of the condition and of the mutex.
    #[track_caller]
    pub fn wait<'a, G: Guard>(&'a self, guard: &'a mut G) -> ConditionWait<'a, G> {
        ConditionWait::new(self, guard, Location::caller())
    }

    /// Waits until `condition` is false for the value; looks at it first, and again after each notification.
    ///
    /// A checkpoint, also if `condition` is false at once.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) if a scope around is cancelled. The mutex is held all the same.
    ///
    /// # Panics
    ///
    /// If `guard` does not hold its mutex.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Condition::wait), except that it looks for cancellation before anything else.
    #[track_caller]
    pub fn wait_while<'a, G, F>(&'a self, guard: &'a mut G, condition: F) -> ConditionWaitWhile<'a, G, F>
    where
        G: Guard,
        F: FnMut(&mut G::Target) -> bool,
    {
        ConditionWaitWhile::new(self, guard, condition, Location::caller())
    }

    /// Notifies the first `n` who wait, or as many as there are. From any thread, with or without the mutex.
    pub fn notify(&self, n: usize) {
        self.move_waiters(n, true);
    }

    /// Notifies all who wait.
    pub fn notify_all(&self) {
        self.move_waiters(usize::MAX, false);
    }

    /// Counts who waits.
    pub fn statistics(&self) -> ConditionStatistics {
        ConditionStatistics { waiting: self.waits.with(|waits| waits.len()) }
    }

    fn move_waiters(&self, n: usize, counted: bool) {
        let mut wakes = Wakes::None;
        self.waits.with(|waits| {
            for _ in 0..n {
                let Some((parked, slot)) = waits.pop() else {
                    break;
                };
                let (key, served) = slot.lock.with(|pool| pool.admit(parked));
                slot.moved = Some(key);
                slot.counted = counted;
                if let Some(parked) = served {
                    wakes.push(parked);
                }
            }
        });
        wakes.wake();
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.statistics().waiting).finish_non_exhaustive()
    }
}
