//! What hosts need to poll a future: a `block_on` with no services, and a future whose panics become errors.

use super::HostError;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// The smallest executor: polls when woken, parks the thread otherwise.
pub(crate) fn block_on<T>(fut: impl Future<Output = T>) -> T {
    let mut fut = pin!(fut);
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&unpark));
    loop {
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
        if let Poll::Ready(value) = fut.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
    }
}

/// A future whose panics become errors; it is dropped where it panicked.
pub(crate) struct Guarded<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()>> Guarded<F> {
    pub(crate) fn new(fut: F) -> Self {
        Self(Some(Box::pin(fut)))
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = Result<(), HostError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let fut = self.0.as_mut().expect("polled until it is ready");
            let polled = fut.as_mut().poll(cx);
            if polled.is_ready() {
                self.0 = None;
            }
            polled
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => {
                let fut = self.0.take();
                let _ = catch_unwind(AssertUnwindSafe(move || drop(fut)));
                Poll::Ready(Err(HostError::of_panic(&*payload)))
            }
        }
    }
}
