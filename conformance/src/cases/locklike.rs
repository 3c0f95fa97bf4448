//! What is true of all that excludes: mutex, semaphore, limiter, lock, and locks that are made of channels.

use super::sync_tools::{Log, settle};
use crate::case::{Body, Case};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trine::channel::{Receiver, Sender};
use trine::sync::{CapacityLimiter, Lock, Mutex, Semaphore};
use trine::{checkpoint, nursery};

/// Work that is done inside.
type Inside<'a> = Pin<Box<dyn Future<Output = trine::Result<()>> + Send + 'a>>;

/// Something that one at a time has.
trait Excludes: Send + Sync + 'static {
    fn make() -> Self;
    /// Waits for it, does the work, and gives it back.
    fn with(
        &self,
        work: impl Future<Output = trine::Result<()>> + Send,
    ) -> impl Future<Output = trine::Result<()>> + Send;
    /// The same if it is free; does it say so?
    fn try_with<'a>(&'a self, work: Inside<'a>) -> impl Future<Output = trine::Result<bool>> + Send + 'a;
}

macro_rules! guarded {
    ($excludes:ty, $make:expr, $acquire:ident, $try_acquire:ident) => {
        impl Excludes for $excludes {
            fn make() -> Self {
                $make
            }
            async fn with(&self, work: impl Future<Output = trine::Result<()>> + Send) -> trine::Result<()> {
                let _guard = self.$acquire().await?;
                work.await
            }
            async fn try_with<'a>(&'a self, work: Inside<'a>) -> trine::Result<bool> {
                let Ok(_guard) = self.$try_acquire() else { return Ok(false) };
                work.await?;
                Ok(true)
            }
        }
    };
}

guarded!(Mutex<()>, Mutex::new(()), lock, try_lock);
guarded!(Semaphore, Semaphore::new(1), acquire, try_acquire);
guarded!(CapacityLimiter, CapacityLimiter::new(1), acquire, try_acquire);

impl Excludes for Lock {
    fn make() -> Self {
        Self::new()
    }
    async fn with(&self, work: impl Future<Output = trine::Result<()>> + Send) -> trine::Result<()> {
        self.acquire().await?;
        let result = work.await;
        self.release()?;
        result
    }
    async fn try_with<'a>(&'a self, work: Inside<'a>) -> trine::Result<bool> {
        if self.try_acquire().is_err() {
            return Ok(false);
        }
        let result = work.await;
        self.release()?;
        result.map(|()| true)
    }
}

/// A place in the buffer of a channel: a send acquires it, a receive releases it.
struct Place(Sender<()>, Receiver<()>);

impl Excludes for Place {
    fn make() -> Self {
        let (sender, receiver) = trine::channel(1);
        Self(sender, receiver)
    }
    async fn with(&self, work: impl Future<Output = trine::Result<()>> + Send) -> trine::Result<()> {
        self.0.send(()).await?;
        let result = work.await;
        self.1.try_recv()?;
        result
    }
    async fn try_with<'a>(&'a self, work: Inside<'a>) -> trine::Result<bool> {
        if self.0.try_send(()).is_err() {
            return Ok(false);
        }
        let result = work.await;
        self.1.try_recv()?;
        result.map(|()| true)
    }
}

/// A token in a channel: a receive acquires it, a send releases it.
struct Token(Sender<()>, Receiver<()>);

impl Excludes for Token {
    fn make() -> Self {
        let (sender, receiver) = trine::unbounded();
        sender.try_send(()).expect("there is always room");
        Self(sender, receiver)
    }
    async fn with(&self, work: impl Future<Output = trine::Result<()>> + Send) -> trine::Result<()> {
        self.1.recv().await?;
        let result = work.await;
        self.0.try_send(())?;
        result
    }
    async fn try_with<'a>(&'a self, work: Inside<'a>) -> trine::Result<bool> {
        if self.1.try_recv().is_err() {
            return Ok(false);
        }
        let result = work.await;
        self.0.try_send(())?;
        result.map(|()| true)
    }
}

/// One case for each of them.
macro_rules! group {
    ($suffix:literal, $law:literal, $origin:literal, $function:ident) => {
        &[
            group!(@ "mutex", Mutex<()>, $suffix, $law, $origin, $function),
            group!(@ "semaphore", Semaphore, $suffix, $law, $origin, $function),
            group!(@ "limiter", CapacityLimiter, $suffix, $law, $origin, $function),
            group!(@ "lock", Lock, $suffix, $law, $origin, $function),
            group!(@ "channel_place", Place, $suffix, $law, $origin, $function),
            group!(@ "channel_token", Token, $suffix, $law, $origin, $function),
        ]
    };
    (@ $name:literal, $excludes:ty, $suffix:literal, $law:literal, $origin:literal, $function:ident) => {
        Case::new(
            concat!(module_path!(), "::", $name, "_", $suffix),
            $law,
            $origin,
            Body::Portable(|| Box::pin($function::<$excludes>())),
        )
    };
}

pub(super) const CASES: &[&[Case]] = &[
    group!("excludes", "lock.exclusion", "trio test_sync.py::test_generic_lock_exclusion", excludes),
    group!("is_fair", "lock.fifo", "trio test_sync.py::test_generic_lock_fifo_fairness", is_fair),
    group!(
        "taken_without_waiting_is_waited_for",
        "lock.try-excludes",
        "trio test_sync.py::test_generic_lock_acquire_nowait_blocks_acquire",
        taken_without_waiting_is_waited_for
    ),
];

/// Never are two inside.
async fn excludes<L: Excludes>() -> trine::Result<()> {
    let (it, inside, entered) = (&L::make(), &AtomicUsize::new(0), &AtomicUsize::new(0));
    nursery(async |n| {
        for _ in 0..4 {
            n.start_soon(async move {
                for _ in 0..20 {
                    checkpoint().await?;
                    it.with(async {
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        checkpoint().await?;
                        checkpoint().await?;
                        assert_eq!(inside.fetch_sub(1, Ordering::Relaxed), 1);
                        entered.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                    .await?;
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    assert_eq!(entered.load(Ordering::Relaxed), 80);
    Ok(())
}

/// Whoever comes back queues behind those who wait: all take turns, in the order of their first.
async fn is_fair<L: Excludes>() -> trine::Result<()> {
    const TASKS: usize = 4;
    let (it, log) = (&L::make(), &Log::new());
    nursery(async |n| {
        it.with(async {
            for who in 0..TASKS {
                n.start_soon(async move {
                    for _ in 0..10 {
                        it.with(async {
                            log.push(who);
                            Ok(())
                        })
                        .await?;
                    }
                    Ok(())
                });
                settle().await?;
            }
            Ok(())
        })
        .await
    })
    .await?;
    let expected: Vec<_> = (0..10).flat_map(|_| 0..TASKS).collect();
    assert_eq!(log.take(), expected);
    Ok(())
}

/// What was taken without waiting is waited for by the next, and refuses those who do not wait.
async fn taken_without_waiting_is_waited_for<L: Excludes>() -> trine::Result<()> {
    let (it, log) = (&Arc::new(L::make()), &Log::new());
    nursery(async |n| {
        let work = Box::pin(async move {
            n.start_soon(async move {
                it.with(async {
                    log.push("next");
                    Ok(())
                })
                .await
            });
            settle().await?;
            let refused = n.spawn(async move { it.try_with(Box::pin(async { Ok(()) })).await });
            assert!(!refused.await?);
            log.push("first");
            Ok(())
        });
        assert!(it.try_with(work).await?);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["first", "next"]);
    Ok(())
}
