//! What the cases about cancellation and time share: counters of what lives and of polls, a log, operations of each kind.

use futures_util::FutureExt;
use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use trine::lowlevel::ParkingLot;
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex as Locked, Semaphore};
use trine::{CancelScope, Error, Result};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Waits until it is cancelled.
pub(super) async fn forever() -> Result<()> {
    match trine::sleep_forever().await? {}
}

/// Sleeps so many seconds.
pub(super) async fn after(seconds: u32) -> Result<()> {
    Ok(trine::sleep(SECOND * seconds).await?)
}

/// A checkpoint, for scopes.
pub(super) async fn checkpoint() -> Result<()> {
    Ok(trine::checkpoint().await?)
}

/// Never ready, and knows nothing of cancellation.
pub(super) async fn foreign() -> Result<()> {
    pending().await
}

/// Polls once, here.
pub(super) async fn poll_here<F: Future + Unpin>(fut: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *fut).poll(cx))).await
}

/// Gives way once, and knows nothing of cancellation.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future that must panic; returns the message.
pub(super) async fn panic_of<F: Future>(fut: F) -> String {
    match AssertUnwindSafe(fut).catch_unwind().await {
        Ok(_) => panic!("it does not panic"),
        Err(payload) => crate::host::panic_text(&*payload),
    }
}

/// The messages of all leaves, sorted.
pub(super) fn leaves(error: &Error) -> Vec<String> {
    let mut leaves: Vec<_> = error.leaves().map(ToString::to_string).collect();
    leaves.sort();
    leaves
}

/// Counts what lives.
#[derive(Clone, Default)]
pub(super) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(super) fn guard(&self) -> Guard {
        self.0.fetch_add(1, Ordering::SeqCst);
        Guard(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Events in their order.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<&'static str>>);

impl Log {
    pub(super) fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }

    pub(super) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Counts the polls of a future.
#[derive(Default)]
pub(super) struct Polls(AtomicUsize);

impl Polls {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) async fn of<F: Future>(&self, fut: F) -> F::Output {
        let mut fut = std::pin::pin!(fut);
        poll_fn(|cx| {
            self.0.fetch_add(1, Ordering::SeqCst);
            fut.as_mut().poll(cx)
        })
        .await
    }
}

/// A flag to wait for that knows nothing of trine.
#[derive(Clone, Default)]
pub(super) struct Flag(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Flag {
    pub(super) fn set(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) async fn wait(&self) {
        poll_fn(|cx: &mut Context<'_>| {
            let waker = cx.waker().clone();
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(waker);
            Poll::Pending
        })
        .await;
    }
}

pub(super) type Op = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
pub(super) type NamedOp = (&'static str, fn() -> Op);

macro_rules! ops {
    ($($name:literal: $body:expr),* $(,)?) => {
        &[$(($name, || Box::pin(async move { #[allow(unused_must_use, reason = "guards are dropped at once")] { $body; } Ok(()) }))),*]
    };
}

/// One of each kind of operation, in a state in which it can complete at once. Each looks only at what is its own.
pub(super) const READY: &[NamedOp] = ops! {
    "checkpoint": trine::checkpoint().await?,
    "sleep(0)": trine::sleep(Duration::ZERO).await?,
    "sleep_until(past)": trine::sleep_until(trine::now() - SECOND).await?,
    "Event::wait": { let event = Event::new(); event.set(); event.wait().await? },
    "Mutex::lock": Locked::new(()).lock().await?,
    "Mutex::lock_owned": Arc::new(Locked::new(())).lock_owned().await?,
    "Lock::acquire": { let lock = Lock::new(); lock.acquire().await?; lock.release()? },
    "Semaphore::acquire": Semaphore::new(1).acquire().await?,
    "Semaphore::acquire_owned": Arc::new(Semaphore::new(1)).acquire_owned().await?,
    "CapacityLimiter::acquire": CapacityLimiter::new(1).acquire().await?,
    "send": { let (tx, _rx) = trine::channel(1); tx.send(1).await? },
    "send_or_return": { let (tx, _rx) = trine::channel(1); tx.send_or_return(1).await.map_err(|(_, e)| e)? },
    "unbounded send": { let (tx, _rx) = trine::unbounded(); tx.send(1).await? },
    "recv": { let (tx, rx) = trine::unbounded(); tx.try_send(1)?; rx.recv().await? },
    "try_next": { let (tx, rx) = trine::unbounded(); tx.try_send(1)?; rx.try_next().await? },
    "try_next at the end": { let (tx, rx) = trine::unbounded::<u8>(); drop(tx); rx.try_next().await? },
    "cancellable": trine::cancellable(std::future::ready(())).await?,
};

/// One of each kind of operation, in a state in which nothing but a cancel ends it.
pub(super) const BLOCKED: &[NamedOp] = ops! {
    "sleep": trine::sleep(SECOND * 100_000).await?,
    "sleep_until": trine::sleep_until(trine::now() + SECOND * 100_000).await?,
    "sleep_forever": forever().await?,
    "Event::wait": Event::new().wait().await?,
    "Mutex::lock": { let mutex = Locked::new(()); let _held = mutex.lock().await?; drop(mutex.lock().await?) },
    "Semaphore::acquire": Semaphore::new(0).acquire().await?,
    "CapacityLimiter::acquire": CapacityLimiter::new(0).acquire().await?,
    "Condition::wait": {
        let (mutex, condition) = (Locked::new(()), Condition::new());
        let mut held = mutex.lock().await?;
        condition.wait(&mut held).await?
    },
    "send": { let (tx, _rx) = trine::channel(0); tx.send(1).await? },
    "send_or_return": { let (tx, _rx) = trine::channel(0); tx.send_or_return(1).await.map_err(|(_, e)| e)? },
    "recv": { let (_tx, rx) = trine::channel::<u8>(0); rx.recv().await? },
    "try_next": { let (_tx, rx) = trine::channel::<u8>(0); rx.try_next().await? },
    "ParkingLot::park": ParkingLot::new().park().await?,
    "cancellable": trine::cancellable(pending::<()>()).await?,
    "CancelScope::run": CancelScope::new().run(forever()).await?,
    "move_on_after": trine::move_on_after(SECOND * 100_000, forever()).await?,
    "fail_after": trine::fail_after(SECOND * 100_000, forever()).await?,
    "nursery, body": trine::nursery(async |_| forever().await).await?,
    "nursery, child": trine::nursery(async |n| { n.start_soon(forever()); Ok(()) }).await?,
    "start": trine::nursery(async |n| n.start(|_: trine::TaskStatus| forever()).await).await?,
    "Handle": trine::nursery(async |n| Ok(n.spawn(forever()).await?)).await?,
    "race": trine::race(forever(), forever()).await?,
    "race_all": trine::race_all([forever(), forever()]).await?,
    "race_all of nothing": trine::race_all(Vec::<Op>::new()).await?,
    "finally": trine::finally(forever(), checkpoint()).await?,
    "sub-executor": { let all = futures_util::future::join_all([forever(), forever()]).await; all.into_iter().collect::<Result<()>>()? },
};
