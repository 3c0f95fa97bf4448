//! A look at the task tree of a case that hangs.
//!
//! The tree can be drawn only from inside the run. So the case's future looks, at each poll, whether it was asked to, and
//! under the machine's clock it leaves its waker behind, so that it can be polled to be asked. (Under a virtual clock a
//! waker in foreign hands would put off the end of a deadlocked run, which tells its tree by itself.)

use crate::case::BoxCase;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long a run that was asked may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// What case and watchdog share.
#[derive(Debug, Default)]
pub(super) struct Probe {
    may_wake: AtomicBool,
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
    tree: Mutex<Option<String>>,
    answered: Condvar,
}

impl Probe {
    /// The case's waker may be kept.
    pub(super) fn allow_wake(&self) {
        self.may_wake.store(true, Ordering::Relaxed);
    }

    /// Asks for the tree; `None` if there is no answer.
    pub(super) fn tree(&self) -> Option<String> {
        self.asked.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut tree, _) = self
            .answered
            .wait_timeout_while(tree, ANSWER, |tree| tree.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        tree.take()
    }

    fn polled(&self, cx: &Context<'_>) {
        if self.asked.swap(false, Ordering::Acquire) {
            let drawn = trine::inspect::tree().to_string();
            *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some(drawn);
            self.answered.notify_all();
        }
        if self.may_wake.load(Ordering::Relaxed) {
            let new = cx.waker().clone();
            let old = self.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
            drop(old);
        }
    }
}

/// A case's future that can be asked for its tree.
pub(super) struct Probed {
    case: BoxCase,
    probe: Arc<Probe>,
}

impl Probed {
    pub(super) fn new(case: BoxCase, probe: Arc<Probe>) -> Self {
        Self { case, probe }
    }
}

impl Future for Probed {
    type Output = trine::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.probe.polled(cx);
        let polled = self.case.as_mut().poll(cx);
        if polled.is_ready() {
            drop(self.probe.waker.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        polled
    }
}
