//! Two runs on two threads that share a lock or a signal: never are too many inside, and none is forgotten.

use super::contention::{COUNT, both};
use crate::case::{Case, on_host};
use crate::host::Host;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex, Semaphore};
use trine::{checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    on_host!(mutex_excludes, "contention.mutex", "divergence 10"),
    on_host!(lock_excludes, "contention.lock", "divergence 10"),
    on_host!(semaphore_keeps_its_permits, "contention.semaphore", "divergence 3"),
    on_host!(limiter_is_resized_meanwhile, "contention.limiter", "divergence 15"),
    on_host!(conditions_alternate, "contention.condition", "divergence 3"),
    on_host!(events_wake_the_other_run, "contention.event", "divergence 3"),
];

/// A value that is read, left for a while and written.
fn mutex_excludes(host: &dyn Host) -> trine::Result<()> {
    let mutex = Arc::new(Mutex::new(0));
    let run = || {
        let mutex = Arc::clone(&mutex);
        async move {
            nursery(async |n| {
                for _ in 0..2 {
                    n.start_soon(async {
                        for _ in 0..COUNT / 2 {
                            let mut guard = mutex.lock().await?;
                            let before = *guard;
                            checkpoint().await?;
                            *guard = before + 1;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        }
    };
    both(host, run(), run())?;
    assert_eq!(*mutex.try_lock()?, 2 * COUNT);
    Ok(())
}

/// The same with a lock that has owners.
fn lock_excludes(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Lock::new(), AtomicUsize::new(0)));
    let run = || {
        let shared = Arc::clone(&shared);
        async move {
            let (lock, inside) = &*shared;
            for _ in 0..COUNT {
                lock.acquire().await?;
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                checkpoint().await?;
                inside.fetch_sub(1, Ordering::Relaxed);
                lock.release()?;
            }
            Ok(())
        }
    };
    both(host, run(), run())?;
    assert!(!shared.0.is_locked());
    Ok(())
}

/// Permits are waited for in vain, dropped and held, and at the end all are there.
fn semaphore_keeps_its_permits(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Semaphore::new(2), AtomicUsize::new(0)));
    let run = || {
        let shared = Arc::clone(&shared);
        async move {
            let (semaphore, inside) = &*shared;
            nursery(async |n| {
                for task in 0..3 {
                    n.start_soon(async move {
                        for i in 0..COUNT / 4 {
                            let patience = Duration::from_micros((i as u64 * 7 + task) % 50);
                            let work = async {
                                let _permit = semaphore.acquire().await?;
                                assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                                let result = checkpoint().await;
                                inside.fetch_sub(1, Ordering::Relaxed);
                                Ok(result?)
                            };
                            move_on_after(patience, work).await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        }
    };
    both(host, run(), run())?;
    assert_eq!((shared.0.available(), shared.0.statistics().waiting), (2, 0));
    Ok(())
}

/// One borrows while the other moves the total: nobody is forgotten, and never are more out than ever were allowed.
fn limiter_is_resized_meanwhile(host: &dyn Host) -> trine::Result<()> {
    let limiter = Arc::new(CapacityLimiter::new(0));
    let (resized, done) = (Arc::clone(&limiter), Arc::new(Event::new()));
    let is_done = Arc::clone(&done);
    let borrows = async move {
        nursery(async |n| {
            for _ in 0..5 {
                n.start_soon(async {
                    for _ in 0..COUNT / 4 {
                        let _token = limiter.acquire().await?;
                        assert!(limiter.borrowed() <= 3);
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(limiter.statistics().waiting, 0);
        done.set();
        Ok(limiter.borrowed())
    };
    let resizes = async move {
        for total in [1, 3, 0, 2].into_iter().cycle() {
            if is_done.is_set() {
                break;
            }
            resized.set_total(total);
            checkpoint().await?;
        }
        Ok(())
    };
    assert_eq!(both(host, borrows, resizes)?, (0, ()));
    Ok(())
}

/// Two runs take turns at a value.
fn conditions_alternate(host: &dyn Host) -> trine::Result<()> {
    let shared = Arc::new((Mutex::new(0), Condition::new()));
    let run = |parity: usize| {
        let shared = Arc::clone(&shared);
        async move {
            let (mutex, condition) = &*shared;
            for _ in 0..COUNT {
                let mut turn = mutex.lock().await?;
                condition.wait_while(&mut turn, |turn| *turn % 2 != parity).await?;
                *turn += 1;
                condition.notify(1);
            }
            Ok(())
        }
    };
    both(host, run(0), run(1))?;
    assert_eq!(*shared.0.try_lock()?, 2 * COUNT);
    Ok(())
}

/// A set is seen by a wait that begins at the same time.
fn events_wake_the_other_run(host: &dyn Host) -> trine::Result<()> {
    let events: Arc<Vec<_>> = Arc::new((0..2 * COUNT).map(|_| Event::new()).collect());
    let run = |parity: usize| {
        let events = Arc::clone(&events);
        async move {
            for (i, event) in events.iter().enumerate() {
                if i % 2 == parity {
                    event.set();
                } else {
                    event.wait().await?;
                }
            }
            Ok(())
        }
    };
    both(host, run(0), run(1))?;
    assert!(events.iter().all(|event| event.is_set() && event.statistics().waiting == 0));
    Ok(())
}
