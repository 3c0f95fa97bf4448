//! Section 6: synchronisation.

use crate::{is_error, not, send, send_value, sync, yields_send};
use std::cell::Cell;
use std::ops::DerefMut;
use std::rc::Rc;
use std::sync::Arc;
use trine::sync::{
    CapacityLimiter, Condition, Event, Guard, LimiterToken, Lock, LockError, Mutex, MutexGuard, OwnedLimiterToken,
    OwnedMutexGuard, OwnedPermit, Permit, Semaphore,
};
use trine::{Cancelled, Result, WouldBlock};

static EVENT: Event = Event::new();
static MUTEX: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static CONDITION: Condition = Condition::new();
static SEMAPHORE: Semaphore = Semaphore::new(2);
static LIMITER: CapacityLimiter = CapacityLimiter::new(2);
static UNLIMITED: CapacityLimiter = CapacityLimiter::new(CapacityLimiter::UNLIMITED);
static LOCK: Lock = Lock::new();

#[test]
fn guards_and_permits_are_send() {
    send::<MutexGuard<'_, Cell<u8>>>();
    send::<OwnedMutexGuard<Cell<u8>>>();
    send::<(Permit<'_>, OwnedPermit, LimiterToken<'_>, OwnedLimiterToken)>();
    sync::<Mutex<Cell<u8>>>();
    sync::<(Event, Condition, Semaphore, CapacityLimiter, Lock)>();
    is_error::<LockError>();
}

not!(Send: Mutex<Rc<()>>, MutexGuard<'static, Rc<()>>);
not!(Sync: Mutex<Rc<()>>);

#[test]
fn waits_have_the_outputs_and_are_send() {
    drop(yields_send::<Result<(), Cancelled>, _>(EVENT.wait()));
    drop(yields_send::<Result<MutexGuard<'_, Vec<u8>>, Cancelled>, _>(MUTEX.lock()));
    drop(yields_send::<Result<OwnedMutexGuard<u8>, Cancelled>, _>(Arc::new(Mutex::new(1)).lock_owned()));
    drop(yields_send::<Result<Permit<'_>, Cancelled>, _>(SEMAPHORE.acquire()));
    drop(yields_send::<Result<OwnedPermit, Cancelled>, _>(Arc::new(Semaphore::new(1)).acquire_owned()));
    drop(yields_send::<Result<LimiterToken<'_>, Cancelled>, _>(LIMITER.acquire()));
    drop(yields_send::<Result<OwnedLimiterToken, Cancelled>, _>(Arc::new(CapacityLimiter::new(1)).acquire_owned()));
    drop(yields_send::<Result<(), LockError>, _>(LOCK.acquire()));
}

/// A user's function for both guards.
async fn wait_for_bytes<G: Guard<Target = Vec<u8>>>(guard: &mut G) -> Result<(), Cancelled> {
    fn derefs<G: Guard>(guard: &mut G) -> &mut impl DerefMut<Target = G::Target> {
        guard
    }
    derefs(guard);
    CONDITION.wait_while(guard, |bytes: &mut Vec<u8>| bytes.is_empty()).await
}

#[test]
fn conditions_take_both_guards() {
    trine::run(trine::nursery(async |n| {
        n.start_soon(send_value(async {
            let mut guard = MUTEX.lock().await?;
            wait_for_bytes(&mut guard).await?;
            assert_eq!(*guard, [1]);
            Ok(CONDITION.wait(&mut guard).await?)
        }));
        trine::testing::wait_all_tasks_blocked().await?;
        MUTEX.lock().await?.push(1);
        CONDITION.notify(1);
        trine::testing::wait_all_tasks_blocked().await?;
        CONDITION.notify_all();
        let owned = Arc::new(Mutex::new(vec![1]));
        let mut guard: OwnedMutexGuard<Vec<u8>> = owned.lock_owned().await?;
        Ok(wait_for_bytes(&mut guard).await?)
    }))
    .unwrap();
}

#[test]
fn events_and_mutexes_have_every_method() {
    let event = Event::new();
    assert!(!event.is_set());
    event.set();
    assert!(event.is_set() && trine::run(event.wait()).is_ok());
    let mut mutex = Mutex::new(1);
    *mutex.get_mut() += 1;
    let guard: Result<MutexGuard<'_, i32>, WouldBlock> = mutex.try_lock();
    let guard = guard.unwrap();
    assert!(mutex.is_locked() && mutex.try_lock().is_err());
    drop(guard);
    assert_eq!(mutex.into_inner(), 2);
    let shared: Arc<Mutex<[u8]>> = Arc::new(Mutex::new([1, 2]));
    let owned: Result<OwnedMutexGuard<[u8]>, WouldBlock> = shared.try_lock_owned();
    assert_eq!(owned.unwrap().len(), 2);
}

#[test]
fn semaphores_and_limiters_have_every_method() {
    let semaphore = Arc::new(Semaphore::new(2));
    let permit: Result<Permit<'_>, WouldBlock> = semaphore.try_acquire();
    permit.unwrap().forget();
    let owned: Result<OwnedPermit, WouldBlock> = semaphore.clone().try_acquire_owned();
    assert_eq!(semaphore.available(), 0);
    owned.unwrap().forget();
    semaphore.add_permits(3);
    assert_eq!(semaphore.available(), 3);
    let limiter = Arc::new(CapacityLimiter::new(1));
    let token: Result<LimiterToken<'_>, WouldBlock> = limiter.try_acquire();
    let token = token.unwrap();
    assert!(limiter.clone().try_acquire_owned().is_err());
    limiter.set_total(0);
    assert_eq!((limiter.total(), limiter.borrowed(), limiter.available()), (0, 1, 0));
    drop(token);
    limiter.set_total(CapacityLimiter::UNLIMITED);
    let token: Result<OwnedLimiterToken, WouldBlock> = limiter.try_acquire_owned();
    assert!(token.is_ok() && UNLIMITED.try_acquire().is_ok());
}

#[test]
fn locks_belong_to_tasks() {
    fn matched(e: &LockError) -> &'static str {
        match e {
            LockError::Cancelled(_) => "cancelled",
            LockError::WouldBlock => "would block",
            LockError::Broken => "broken",
            LockError::NotOwner => "not owner",
            LockError::AlreadyOwner => "already owner",
            LockError::NoTask => "no task",
            _ => "later",
        }
    }
    let lock = Lock::new();
    assert_eq!(matched(&lock.try_acquire().unwrap_err()), "no task");
    trine::run(async {
        let _: () = lock.acquire().await?;
        assert!(lock.is_locked());
        assert_eq!(matched(&lock.try_acquire().unwrap_err()), "already owner");
        let released: Result<(), LockError> = lock.release();
        released?;
        assert_eq!(matched(&lock.release().unwrap_err()), "not owner");
        Ok::<_, LockError>(())
    })
    .unwrap();
}

#[test]
fn errors_of_waits_fit_every_function() {
    // Of its own: another test may have those of the file at this moment.
    static MUTEX: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static SEMAPHORE: Semaphore = Semaphore::new(2);
    static LIMITER: CapacityLimiter = CapacityLimiter::new(2);
    static LOCK: Lock = Lock::new();

    async fn whole() -> Result<()> {
        EVENT.set();
        EVENT.wait().await?;
        let _guard = MUTEX.try_lock()?;
        let _permit = SEMAPHORE.acquire().await?;
        let _token = LIMITER.acquire().await?;
        LOCK.acquire().await?;
        Ok(LOCK.release()?)
    }
    trine::run(send_value(whole())).unwrap();
}
