//! What the cases about nurseries share: counters of what lives, a log, errors with a number, panics as values.

use futures_util::FutureExt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, mem};
use trine::{Error, Result};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Waits until it is cancelled.
pub(super) async fn forever() -> Result<()> {
    match trine::sleep_forever().await? {}
}

/// Sleeps so many seconds, then returns the value.
pub(super) async fn after<T>(seconds: u32, value: T) -> Result<T> {
    trine::sleep(SECOND * seconds).await?;
    Ok(value)
}

/// Sleeps so many seconds, then fails with [`Oops`].
pub(super) async fn fails_after(seconds: u32, number: u32) -> Result<()> {
    trine::sleep(SECOND * seconds).await?;
    Err(Oops(number).into())
}

/// Waits until it is cancelled, then fails with [`Oops`].
pub(super) async fn fails_when_cancelled(number: u32) -> Result<()> {
    let _ = trine::sleep_forever().await;
    Err(Oops(number).into())
}

/// Waits until it is cancelled, cleans up for three seconds behind a shield, says so, and ends as cancelled.
pub(super) async fn cleans_up(log: &Log) -> Result<()> {
    let result = trine::sleep_forever().await;
    trine::shielded(after(3, ())).await?;
    log.add("cleaned up");
    match result? {}
}

/// Back to the host once, no matter what is cancelled.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls once, here.
pub(super) async fn poll_here<F: Future + Unpin>(fut: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *fut).poll(cx))).await
}

/// Returns the text of the future's panic.
pub(super) async fn panic_of<F: Future>(fut: F) -> String {
    match AssertUnwindSafe(fut).catch_unwind().await {
        Ok(_) => panic!("it should panic"),
        Err(payload) => crate::host::panic_text(&*payload),
    }
}

/// An ordinary error with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oops(pub(super) u32);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}

/// The numbers of the [`Oops`]es in an error, from left to right.
pub(super) fn oopses(error: &Error) -> Vec<u32> {
    error.leaves().filter_map(|leaf| leaf.find::<Oops>()).map(|oops| oops.0).collect()
}

/// The same, in order of size.
pub(super) fn sorted_oopses(error: &Error) -> Vec<u32> {
    let mut numbers = oopses(error);
    numbers.sort_unstable();
    numbers
}

/// The error of a result that should have none but errors.
pub(super) fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it should fail"),
        Err(error) => error,
    }
}

/// What happened, in order.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(super) fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap())
    }
}

/// Counts what lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn guard(&self) -> Guard {
        self.0.fetch_add(1, Ordering::SeqCst);
        Guard(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// One that lives.
#[derive(Debug)]
pub(super) struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls a function when dropped.
#[derive(Debug)]
pub(super) struct OnDrop<F: FnMut()>(pub(super) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Ready once it is opened; knows nothing of cancellation, and may be opened from any thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn open(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) async fn opened(&self) {
        poll_fn(|cx: &mut Context<'_>| {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
