//! Events, locks, semaphores, conditions, capacity limiters.
//!
//! `lock` is the task-owned [`trine::sync::Lock`], the only one that breaks when its owner ends. A condition's lock is a
//! `Mutex`, whose guard the task keeps; who has no guard may not wait or notify.

use super::run_block;
use super::tasks::{Reach, Task};
use super::world::tokens;
use crate::scenario::form::Raised;
use crate::scenario::model::{Amount, Block};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine::Result;
use trine::sync::{CapacityLimiter, OwnedLimiterToken, OwnedMutexGuard};

pub(super) fn event_set(task: &Task<'_>, event: &str) -> Result<()> {
    task.world.events.expect(event)?.set();
    task.record("event_set", [event.into()]);
    Ok(())
}

pub(super) async fn event_wait(task: &Task<'_>, event: &str) -> Result<()> {
    task.world.events.expect(event)?.wait().await?;
    task.record("event_wait", [event.into()]);
    Ok(())
}

pub(super) fn event_is_set(task: &Task<'_>, event: &str) -> Result<()> {
    let set = task.world.events.expect(event)?.is_set();
    task.record("event_is_set", [event.into(), set.into()]);
    Ok(())
}

pub(super) async fn lock_acquire(task: &Task<'_>, lock: &str) -> Result<()> {
    task.world.locks.expect(lock)?.acquire().await?;
    task.record("lock_acquire", [lock.into()]);
    Ok(())
}

pub(super) fn lock_acquire_nowait(task: &Task<'_>, lock: &str) -> Result<()> {
    task.world.locks.expect(lock)?.try_acquire()?;
    task.record("lock_acquire_nowait", [lock.into()]);
    Ok(())
}

pub(super) fn lock_release(task: &Task<'_>, lock: &str) -> Result<()> {
    task.world.locks.expect(lock)?.release()?;
    task.record("lock_release", [lock.into()]);
    Ok(())
}

/// Records `with_lock` once it has the lock, and nothing when it gives it back.
pub(super) async fn with_lock<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &str,
    body: &'p Block,
) -> Result<()> {
    let lock = task.world.locks.expect(name)?;
    lock.acquire().await?;
    task.record("with_lock", [name.into()]);
    let result = run_block(task, reach, body).await;
    lock.release()?;
    result
}

pub(super) async fn sem_acquire(task: &Task<'_>, sem: &str) -> Result<()> {
    task.world.semaphores.expect(sem)?.acquire().await?.forget();
    task.record("sem_acquire", [sem.into()]);
    Ok(())
}

pub(super) fn sem_acquire_nowait(task: &Task<'_>, sem: &str) -> Result<()> {
    task.world.semaphores.expect(sem)?.try_acquire()?.forget();
    task.record("sem_acquire_nowait", [sem.into()]);
    Ok(())
}

pub(super) fn sem_release(task: &Task<'_>, sem: &str) -> Result<()> {
    task.world.semaphores.expect(sem)?.add_permits(1);
    task.record("sem_release", [sem.into()]);
    Ok(())
}

/// Records `with_sem` once it has the permit, and nothing when it gives it back.
pub(super) async fn with_sem<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &str,
    body: &'p Block,
) -> Result<()> {
    let sem = task.world.semaphores.expect(name)?;
    let permit = sem.acquire().await?;
    task.record("with_sem", [name.into()]);
    let result = run_block(task, reach, body).await;
    drop(permit);
    result
}

/// Records `with_cond` once it has the lock, and nothing when it gives it back.
pub(super) async fn with_cond<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    body: &'p Block,
) -> Result<()> {
    let cond = task.world.conditions.expect(name)?;
    // Cancelled has precedence over misuse; a second `lock` by this task would never return.
    trine::checkpoint_if_cancelled()?;
    if task.guards().contains_key(name) {
        return Err(Raised::runtime_error());
    }
    let guard = cond.mutex.clone().lock_owned().await?;
    task.guards().insert(name, guard);
    task.record("with_cond", [name.into()]);
    let result = run_block(task, reach, body).await;
    drop(take_guard(task, name)?);
    result
}

pub(super) async fn cond_wait<'p>(task: &Task<'p>, name: &'p str) -> Result<()> {
    let cond = task.world.conditions.expect(name)?;
    let mut guard = take_guard(task, name)?;
    let result = cond.condition.wait(&mut guard).await;
    // Also when cancelled the lock is held again.
    task.guards().insert(name, guard);
    result?;
    task.record("cond_wait", [name.into()]);
    Ok(())
}

pub(super) fn cond_notify(task: &Task<'_>, name: &str, n: usize) -> Result<()> {
    let cond = task.world.conditions.expect(name)?;
    require_guard(task, name)?;
    cond.condition.notify(n);
    task.record("cond_notify", [name.into()]);
    Ok(())
}

pub(super) fn cond_notify_all(task: &Task<'_>, name: &str) -> Result<()> {
    let cond = task.world.conditions.expect(name)?;
    require_guard(task, name)?;
    cond.condition.notify_all();
    task.record("cond_notify_all", [name.into()]);
    Ok(())
}

fn take_guard(task: &Task<'_>, cond: &str) -> Result<OwnedMutexGuard<()>> {
    task.guards().remove(cond).ok_or_else(Raised::runtime_error)
}

fn require_guard(task: &Task<'_>, cond: &str) -> Result<()> {
    if task.guards().contains_key(cond) { Ok(()) } else { Err(Raised::runtime_error()) }
}

/// A capacity limiter that knows its borrowers: a borrower has one token at most, and gives back only its own.
pub(super) struct Limiter {
    limiter: Arc<CapacityLimiter>,
    held: Mutex<HashMap<Borrower, OwnedLimiterToken>>,
}

/// In whose name a token is held.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Borrower {
    /// A task, by its number.
    Task(u64),
    Named(String),
}

impl Borrower {
    fn of(task: &Task<'_>, name: Option<&str>) -> Self {
        name.map_or(Self::Task(task.number), |name| Self::Named(name.to_owned()))
    }
}

impl Limiter {
    pub(super) fn new(total: usize) -> Self {
        Self { limiter: Arc::new(CapacityLimiter::new(total)), held: Mutex::new(HashMap::new()) }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Borrower, OwnedLimiterToken>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, borrower: &Borrower) -> Result<()> {
        if self.held().contains_key(borrower) { Err(Raised::runtime_error()) } else { Ok(()) }
    }

    async fn acquire(&self, borrower: Borrower) -> Result<()> {
        // Cancelled has precedence over misuse.
        trine::checkpoint_if_cancelled()?;
        self.check(&borrower)?;
        let token = self.limiter.clone().acquire_owned().await?;
        self.held().insert(borrower, token);
        Ok(())
    }

    fn try_acquire(&self, borrower: Borrower) -> Result<()> {
        self.check(&borrower)?;
        let token = self.limiter.clone().try_acquire_owned()?;
        self.held().insert(borrower, token);
        Ok(())
    }

    fn release(&self, borrower: &Borrower) -> Result<()> {
        let token = self.held().remove(borrower);
        token.map(drop).ok_or_else(Raised::runtime_error)
    }
}

pub(super) async fn lim_acquire(task: &Task<'_>, name: &str, borrower: Option<&str>) -> Result<()> {
    task.world.limiters.expect(name)?.acquire(Borrower::of(task, borrower)).await?;
    task.record("lim_acquire", [name.into()]);
    Ok(())
}

pub(super) fn lim_acquire_nowait(task: &Task<'_>, name: &str, borrower: Option<&str>) -> Result<()> {
    task.world.limiters.expect(name)?.try_acquire(Borrower::of(task, borrower))?;
    task.record("lim_acquire_nowait", [name.into()]);
    Ok(())
}

pub(super) fn lim_release(task: &Task<'_>, name: &str, borrower: Option<&str>) -> Result<()> {
    task.world.limiters.expect(name)?.release(&Borrower::of(task, borrower))?;
    task.record("lim_release", [name.into()]);
    Ok(())
}

/// Records `with_lim` once it has the token, and nothing when it gives it back.
pub(super) async fn with_lim<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &str,
    body: &'p Block,
) -> Result<()> {
    let limiter = task.world.limiters.expect(name)?;
    let borrower = Borrower::of(task, None);
    limiter.acquire(borrower.clone()).await?;
    task.record("with_lim", [name.into()]);
    let result = run_block(task, reach, body).await;
    limiter.release(&borrower)?;
    result
}

pub(super) fn lim_set_total(task: &Task<'_>, name: &str, total: Amount) -> Result<()> {
    task.world.limiters.expect(name)?.limiter.set_total(tokens(total));
    task.record("lim_set_total", [name.into()]);
    Ok(())
}

pub(super) fn lim_stats(task: &Task<'_>, name: &str) -> Result<()> {
    let limiter = task.world.limiters.expect(name)?;
    let total = match limiter.limiter.total() {
        CapacityLimiter::UNLIMITED => "inf".into(),
        finite => finite.into(),
    };
    task.record("lim_stats", [name.into(), limiter.limiter.borrowed().into(), total]);
    Ok(())
}
