//! Synchronisation between tasks.
//!
//! | type | what it is |
//! |---|---|
//! | [`Event`] | something that happens once and for good |
//! | [`Mutex`] | a value that one holder at a time may use |
//! | [`Condition`] | waiting for a change of what a mutex protects |
//! | [`Semaphore`] | a number of permits |
//! | [`CapacityLimiter`] | a bound that may be moved while it is in use |
//! | [`Lock`] | a lock that belongs to a task, and breaks with it |
//!
//! The same rules hold for all. Who waits is served in the order of arrival, and what is given back goes directly to the
//! first who waits. Acquiring is a checkpoint, also if it need not wait; giving back is not, and never fails. A wait
//! that was served before a cancel arrives succeeds; one that reports a cancellation has changed nothing. What was
//! handed to a wait that is then dropped goes on to the next. All of them may be used from several threads.
//!
//! The parts they are made of, from below: `bias` (how a lock belongs to one root at no cost), `guarded` (the short lock), `queue` (the slab of waits), `wait` (polling a
//! queued wait), `pool` (the machine of mutex, semaphore and limiter), `acquire` (its future).

mod acquire;
pub(crate) mod bias;
mod condition;
mod event;
#[cfg(test)]
pub(crate) mod fake;
#[expect(unsafe_code, reason = "the biased lock: a value behind a protocol, see the module")]
pub(crate) mod guarded;
mod limiter;
mod lock;
mod mutex;
pub(crate) mod parking_lot;
mod pool;
pub(crate) mod queue;
mod semaphore;
pub(crate) mod slot_lock;
pub(crate) mod wait;

pub use self::condition::{Condition, ConditionStatistics, ConditionWait, ConditionWaitWhile};
pub use self::event::{Event, EventStatistics, EventWait};
pub use self::limiter::{
    CapacityLimiter, CapacityLimiterStatistics, LimiterAcquire, LimiterAcquireOwned, LimiterToken, OwnedLimiterToken,
};
pub use self::lock::{Lock, LockAcquire, LockError, LockStatistics};
pub use self::mutex::{Guard, Mutex, MutexGuard, MutexLock, MutexLockOwned, MutexStatistics, OwnedMutexGuard};
pub use self::semaphore::{
    OwnedPermit, Permit, Semaphore, SemaphoreAcquire, SemaphoreAcquireOwned, SemaphoreStatistics,
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::marker::PhantomPinned;

    const fn is_send<T: Send>() {}
    const fn is_sync<T: Sync>() {}
    const fn is_unpin<T: Unpin>() {}

    static EVENT: Event = Event::new();
    static MUTEX: Mutex<u8> = Mutex::new(1);
    static CONDITION: Condition = Condition::new();
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    static LIMITER: CapacityLimiter = CapacityLimiter::new(CapacityLimiter::UNLIMITED);
    static LOCK: Lock = Lock::new();

    #[test]
    fn all_can_be_statics() {
        EVENT.set();
        CONDITION.notify(1);
        assert_eq!(MUTEX.try_lock().map(|value| *value).ok(), Some(1));
        assert_eq!(SEMAPHORE.available(), 1);
        assert!(LIMITER.try_acquire().is_ok());
        assert!(EVENT.is_set() && !LOCK.is_locked());
    }

    #[test]
    fn guards_are_sent_with_and_shared_as_the_value() {
        is_send::<MutexGuard<'_, Cell<u8>>>();
        is_send::<OwnedMutexGuard<Cell<u8>>>();
        is_sync::<MutexGuard<'_, u8>>();
        is_sync::<OwnedMutexGuard<u8>>();
        is_sync::<Mutex<Cell<u8>>>();
    }

    #[test]
    fn futures_can_be_sent_and_moved() {
        is_send::<EventWait<'_>>();
        is_send::<MutexLock<'_, Cell<u8>>>();
        is_send::<MutexLockOwned<Cell<u8>>>();
        is_send::<ConditionWait<'_, MutexGuard<'_, Cell<u8>>>>();
        is_send::<SemaphoreAcquireOwned>();
        is_send::<LimiterAcquireOwned>();
        is_send::<LockAcquire<'_>>();
        is_unpin::<MutexLockOwned<PhantomPinned>>();
        is_unpin::<OwnedMutexGuard<PhantomPinned>>();
        is_unpin::<ConditionWait<'_, OwnedMutexGuard<PhantomPinned>>>();
        is_unpin::<ConditionWaitWhile<'_, MutexGuard<'_, u8>, PhantomPinned>>();
    }

    #[test]
    fn mutex_may_hold_an_unsized_value() {
        let mutex: std::sync::Arc<Mutex<[u8]>> = std::sync::Arc::new(Mutex::new([1, 2]));
        assert_eq!(mutex.try_lock_owned().map(|value| value.len()).ok(), Some(2));
    }

    #[test]
    fn try_lock_finds_a_held_mutex_locked() {
        let mutex = Mutex::new(0);
        let guard = mutex.try_lock();
        assert!(guard.is_ok() && mutex.is_locked() && mutex.try_lock().is_err());
        drop(guard);
        assert_eq!(mutex.statistics(), MutexStatistics { locked: false, waiting: 0 });
    }
}
