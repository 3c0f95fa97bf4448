//! Conditions: the mutex is given up while waiting and held afterwards, whatever happens.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use std::sync::Arc;
use std::time::Duration;
use trine::sync::{Condition, Event, Mutex};
use trine::{move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(notify_wakes_so_many, "condition.notify", "trio test_sync.py::test_Condition"),
    portable!(notified_queue_at_the_mutex, "condition.requeue", "trio test_sync.py::test_Condition"),
    portable!(wait_unlocks_and_locks_again, "condition.wait", "design 10"),
    portable!(notify_without_waiters_is_lost, "condition.fleeting", "design 10"),
    portable!(notify_needs_no_lock, "condition.notify", "design 10"),
    portable!(wait_while_looks_before_it_waits, "condition.wait-while", "design 10"),
    portable!(wait_while_looks_again_each_time, "condition.wait-while", "design 10"),
    portable!(owned_guards_wait_as_well, "condition.owned-guard", "design 10"),
    portable!(one_condition_serves_two_mutexes, "condition.two-mutexes", "design 10"),
];

/// Of five who wait, two go on, then one, then the rest.
async fn notify_wakes_so_many() -> trine::Result<()> {
    let (mutex, condition, log) = (Mutex::new(()), Condition::new(), Log::new());
    nursery(async |n| {
        for who in 0..5 {
            let (mutex, condition, log) = (&mutex, &condition, &log);
            n.start_soon(async move {
                let mut guard = mutex.lock().await?;
                condition.wait(&mut guard).await?;
                log.push(who);
                Ok(())
            });
            settle().await?;
        }
        assert_eq!(condition.statistics().waiting, 5);
        condition.notify(2);
        settle().await?;
        assert_eq!(log.take(), [0, 1]);
        condition.notify(1);
        settle().await?;
        assert_eq!(log.take(), [2]);
        condition.notify_all();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), [3, 4]);
    Ok(())
}

/// Those who are notified stand in the mutex's queue at once, in order, before those who come later.
async fn notified_queue_at_the_mutex() -> trine::Result<()> {
    let (mutex, condition, log) = (Mutex::new(()), Condition::new(), Log::new());
    nursery(async |n| {
        for who in ["first", "second"] {
            let (mutex, condition, log) = (&mutex, &condition, &log);
            n.start_soon(async move {
                let mut guard = mutex.lock().await?;
                condition.wait(&mut guard).await?;
                log.push(who);
                Ok(())
            });
            settle().await?;
        }
        let held = mutex.lock().await?;
        for who in ["locker before", "locker after"] {
            let (mutex, log) = (&mutex, &log);
            n.start_soon(async move {
                let _guard = mutex.lock().await?;
                log.push(who);
                Ok(())
            });
            settle().await?;
            condition.notify(1);
        }
        assert_eq!((condition.statistics().waiting, mutex.statistics().waiting), (0, 4));
        settle().await?;
        assert_eq!(log.take(), [""; 0]);
        drop(held);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["locker before", "first", "locker after", "second"]);
    Ok(())
}

/// While it waits others use the mutex; afterwards nobody does.
async fn wait_unlocks_and_locks_again() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(0), Condition::new());
    nursery(async |n| {
        let waiter = n.spawn(async {
            let mut guard = mutex.lock().await?;
            *guard = 1;
            condition.wait(&mut guard).await?;
            assert!(mutex.try_lock().is_err());
            Ok(*guard)
        });
        settle().await?;
        let mut guard = mutex.try_lock()?;
        assert_eq!(*guard, 1);
        *guard = 2;
        condition.notify(1);
        drop(guard);
        assert_eq!(waiter.await?, 2);
        Ok(())
    })
    .await
}

/// A condition remembers nothing.
async fn notify_without_waiters_is_lost() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    condition.notify(3);
    condition.notify_all();
    let mut guard = mutex.lock().await?;
    let waited = async { Ok(condition.wait(&mut guard).await?) };
    assert_eq!(move_on_after(Duration::from_secs(1), waited).await?, None);
    Ok(())
}

/// It may be held or free.
async fn notify_needs_no_lock() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    for is_held in [false, true] {
        nursery(async |n| {
            let waiter = n.spawn(async {
                let mut guard = mutex.lock().await?;
                Ok(condition.wait(&mut guard).await?)
            });
            settle().await?;
            let held = is_held.then(|| mutex.try_lock()).transpose()?;
            condition.notify(1);
            assert!(mutex.is_locked(), "free, it is the waiter's at once");
            drop(held);
            Ok(waiter.await?)
        })
        .await?;
    }
    Ok(())
}

/// If the condition is false already, nothing is waited for and the mutex is not given up.
async fn wait_while_looks_before_it_waits() -> trine::Result<()> {
    let (mutex, condition) = (Mutex::new(3), Condition::new());
    let mut guard = mutex.lock().await?;
    let mut looks = 0;
    nursery(async |n| {
        let barger = n.spawn(async { Ok(mutex.lock().await.map(drop)?) });
        settle().await?;
        condition
            .wait_while(&mut guard, |value| {
                looks += 1;
                *value != 3
            })
            .await?;
        assert!(!barger.is_finished());
        drop(guard);
        Ok(barger.await?)
    })
    .await?;
    assert_eq!(looks, 1);
    Ok(())
}

/// Woken for nothing, it waits on; it sees each value under the mutex.
async fn wait_while_looks_again_each_time() -> trine::Result<()> {
    let (mutex, condition, log) = (Mutex::new(0), Condition::new(), Log::new());
    nursery(async |n| {
        let waiter = n.spawn(async {
            let mut guard = mutex.lock().await?;
            condition
                .wait_while(&mut guard, |value| {
                    log.push(*value);
                    *value < 3
                })
                .await?;
            Ok(*guard)
        });
        for value in 1..=3 {
            settle().await?;
            *mutex.lock().await? = value;
            condition.notify(1);
        }
        assert_eq!(waiter.await?, 3);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), [0, 1, 2, 3]);
    Ok(())
}

/// What is true of a guard is true of an owned one.
async fn owned_guards_wait_as_well() -> trine::Result<()> {
    let (mutex, condition, done) = (Arc::new(Mutex::new(0)), Arc::new(Condition::new()), Arc::new(Event::new()));
    nursery(async |n| {
        let (waiting, changed, done) = (Arc::clone(&mutex), Arc::clone(&condition), Arc::clone(&done));
        n.start_soon(async move {
            let mut guard = waiting.lock_owned().await?;
            changed.wait_while(&mut guard, |value| *value == 0).await?;
            *guard += 1;
            drop(guard);
            done.set();
            Ok(())
        });
        settle().await?;
        *Arc::clone(&mutex).lock_owned().await? = 1;
        condition.notify(1);
        Ok(())
    })
    .await?;
    assert!(done.is_set());
    assert_eq!(*mutex.try_lock()?, 2);
    Ok(())
}

/// Each waiter goes back to the mutex it came with.
async fn one_condition_serves_two_mutexes() -> trine::Result<()> {
    let (mutexes, condition) = ([Mutex::new(0), Mutex::new(1)], Condition::new());
    nursery(async |n| {
        for mutex in &mutexes {
            let condition = &condition;
            n.start_soon(async move {
                let mut guard = mutex.lock().await?;
                condition.wait(&mut guard).await?;
                *guard += 10;
                Ok(())
            });
        }
        settle().await?;
        let held = mutexes[0].try_lock()?;
        condition.notify_all();
        settle().await?;
        assert_eq!((*held, *mutexes[1].try_lock()?), (0, 11));
        drop(held);
        Ok(())
    })
    .await?;
    let [first, second] = mutexes.map(Mutex::into_inner);
    assert_eq!((first, second), (10, 11));
    Ok(())
}
