//! What the cases on channels and synchronisation share.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use trine::testing::wait_all_tasks_blocked;

/// Lets all tasks run until none can.
pub(super) async fn settle() -> trine::Result<()> {
    Ok(wait_all_tasks_blocked().await?)
}

/// Polls once, with the waker of the task around.
pub(super) async fn poll_once<F: Future + ?Sized>(mut fut: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(fut.as_mut().poll(cx))).await
}

/// What happened, in order; clones are one log.
#[derive(Clone, Debug)]
pub(super) struct Log<T = u32>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(super) fn push(&self, entry: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Takes all entries out.
    pub(super) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts how many of its [`Item`]s live.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(super) fn item(&self, number: u32) -> Item {
        self.0.fetch_add(1, Ordering::Relaxed);
        Item { number, live: self.0.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value whose drop is counted.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) number: u32,
    live: Arc<AtomicUsize>,
}

impl Drop for Item {
    fn drop(&mut self) {
        let before = self.live.fetch_sub(1, Ordering::Relaxed);
        assert_ne!(before, 0, "item {} is dropped twice", self.number);
    }
}
