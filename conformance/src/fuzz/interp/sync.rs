//! Mutexes, semaphores, limiters, locks, conditions, each with a look at whether they exclude.

use super::Cx;
use crate::fuzz::foreign::Run;
use crate::fuzz::program::Op;
use crate::fuzz::world::{Guarded, World};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trine::sync::{Lock, LockError, OwnedMutexGuard};

pub(super) fn with(cx: Cx, op: Op, inner: Run) -> Run {
    match op {
        Op::WithMutex(number) => Box::pin(async move {
            let guard = cx.world.mutexes[usize::from(number)].clone().lock_owned().await?;
            with_guard(&cx, guard, inner).await
        }),
        Op::TryMutex(number) => Box::pin(async move {
            match cx.world.mutexes[usize::from(number)].clone().try_lock_owned() {
                Ok(guard) => with_guard(&cx, guard, inner).await,
                Err(_) => Ok(()),
            }
        }),
        Op::WithPermit(number) => Box::pin(async move {
            let semaphore = &cx.world.semaphores[usize::from(number)];
            let _permit = semaphore.inner.acquire().await?;
            let total = u32::from(number) + 1 + semaphore.added.load(Ordering::Relaxed);
            let _inside = Inside::enter(&cx.world, semaphore, total, "semaphore");
            inner.await
        }),
        Op::WithToken(number) => Box::pin(async move {
            let limiter = &cx.world.limiters[usize::from(number)];
            let _token = limiter.inner.clone().acquire_owned().await?;
            let spoiled = limiter.spoiled.load(Ordering::Relaxed);
            let total = if spoiled { u32::MAX } else { u32::from(number) + 1 };
            let _inside = Inside::enter(&cx.world, limiter, total, "limiter");
            inner.await
        }),
        Op::WithLock(number) => Box::pin(async move {
            let lock = &cx.world.locks[usize::from(number)];
            match lock.inner.acquire().await {
                Ok(()) => {}
                Err(LockError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(_) => return Ok(()),
            }
            let _release = Release(lock);
            let _inside = Inside::enter(&cx.world, lock, 1, "lock");
            inner.await
        }),
        other => unreachable!("{other:?} holds nothing"),
    }
}

async fn with_guard(cx: &Cx, mut guard: OwnedMutexGuard<u64>, inner: Run) -> trine::Result<()> {
    *guard = cx.task;
    let result = inner.await;
    if *guard != cx.task {
        cx.fail("somebody else was inside a mutex");
    }
    result
}

pub(super) fn await_condition(cx: Cx, number: u8) -> Run {
    Box::pin(async move {
        let (condition, mutex) = (&cx.world.conditions[usize::from(number)], &cx.world.mutexes[usize::from(number)]);
        let mut guard = mutex.clone().lock_owned().await?;
        let result = condition.wait(&mut guard).await;
        if !mutex.is_locked() {
            cx.fail("a condition's wait returned without the mutex");
        }
        *guard = cx.task;
        let _ = trine::checkpoint().await;
        if *guard != cx.task {
            cx.fail("somebody else was inside a condition's mutex");
        }
        Ok(result?)
    })
}

/// Counts who is inside.
struct Inside<'a, T>(&'a Guarded<T>);

impl<'a, T> Inside<'a, T> {
    fn enter(world: &Arc<World>, guarded: &'a Guarded<T>, total: u32, what: &str) -> Self {
        let inside = guarded.holders.fetch_add(1, Ordering::Relaxed) + 1;
        if inside > total {
            world.fail(format!("{inside} inside a {what} of {total}"));
        }
        Self(guarded)
    }
}

impl<T> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        self.0.holders.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Releases a task's lock, also if its code is dropped.
struct Release<'a>(&'a Guarded<Lock>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if self.0.inner.release().is_err() {
            // Dropped outside of its task, which breaks the lock, now or when the task ends.
            self.0.spoiled.store(true, Ordering::Relaxed);
        }
    }
}
