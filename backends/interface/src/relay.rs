//! A waker of one's own between a host and the waker of the last poll.
//!
//! Hosts keep wakers behind locks of theirs, clone them there and drop them there. What they get from a [`Relay`] is a
//! waker that owns nothing foreign while it is in their hands, so laws [L13](crate::laws::L13) and
//! [L31](crate::laws::L31) hold whatever they do.
//!
//! Protocol:
//!
//! 1. a poll empties the slot and forgets earlier wakes, then asks the host with the relay's waker;
//! 2. if that is pending, it fills the slot with the caller's waker, then looks whether a wake came meanwhile; if so, it
//!    asks again;
//! 3. a wake says so first, then empties the slot, then wakes what was in it.
//!
//! A wake that finds the slot empty is therefore seen in step 2, and the host never meets a foreign waker in step 1.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands between a host and the waker of the last poll: what an adapter to another event loop hands to it instead.
///
/// # Examples
///
/// ```
/// use std::task::{Context, Poll, Waker};
///
/// let relay = trine_backend::Relay::new();
/// let cx = &mut Context::from_waker(Waker::noop());
/// let polled: Poll<()> = relay.poll(cx, |host_cx| {
///     // Here the host's own poll is called.
///     assert!(!host_cx.waker().will_wake(Waker::noop()));
///     Poll::Pending
/// });
/// assert!(polled.is_pending());
/// ```
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    /// What the host gets: `shared` as a waker.
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    /// A wake came since the last poll of the host.
    woken: AtomicBool,
    /// The waker of the last pending poll.
    slot: Mutex<Option<Waker>>,
}

impl Relay {
    /// Makes a relay that wakes nobody yet.
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    /// Returns what the host gets: it wakes the waker of the last pending poll, if any.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Polls the host through the relay: `host` gets the context to hand on, and may be called more than once. If it is
    /// pending, the caller's waker is in place of the last one.
    pub fn poll<T>(&self, cx: &mut Context<'_>, mut host: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let mut kept = self.shared.slot().take();
        loop {
            self.shared.woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(value) = host(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(value);
            }
            let waker = match kept.take() {
                Some(kept) if kept.will_wake(cx.waker()) => kept,
                old => {
                    drop(old);
                    cx.waker().clone()
                }
            };
            let old = self.shared.slot().replace(waker);
            drop(old); // of another poll at the same time
            if !self.shared.woken.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
            kept = self.shared.slot().take();
        }
    }

    /// Forgets the waker of the last poll.
    pub fn forget(&self) {
        let old = self.shared.slot().take();
        drop(old);
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Relay {
    /// The host may keep its clone for a while: it must not keep the task that was waiting.
    fn drop(&mut self) {
        self.forget();
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Option<Waker>> {
        // Nothing foreign runs with the lock held, so a poisoned one holds a consistent value.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let waker = self.slot().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A host that keeps a waker for ever.
    #[derive(Default)]
    struct Host {
        waker: Option<Waker>,
        polls: usize,
    }

    impl Host {
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    #[test]
    fn only_the_last_waker_is_woken_and_only_once() {
        let (relay, mut host) = (Relay::new(), Host::default());
        let counts = [(); 2].map(|()| Arc::new(Count::default()));
        for count in &counts {
            let waker = Waker::from(Arc::clone(count));
            assert!(relay.poll(&mut Context::from_waker(&waker), |cx| host.poll(cx)).is_pending());
        }
        for _ in 0..2 {
            host.waker.as_ref().unwrap().wake_by_ref();
        }
        assert_eq!(counts.map(|c| c.0.load(Ordering::SeqCst)), [0, 1]);
    }

    #[test]
    fn a_wake_during_the_poll_asks_the_host_again() {
        let (relay, mut host) = (Relay::new(), Host::default());
        let polled = relay.poll(&mut Context::from_waker(Waker::noop()), |cx| {
            if host.polls == 1 {
                return Poll::Ready(7);
            }
            cx.waker().wake_by_ref();
            host.poll(cx).map(|()| 0)
        });
        assert_eq!((polled, host.polls), (Poll::Ready(7), 1));
    }

    #[test]
    fn the_host_keeps_no_task_alive() {
        let (relay, mut host) = (Relay::new(), Host::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(relay.poll(&mut Context::from_waker(&waker), |cx| host.poll(cx)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 2);
        drop(relay);
        assert_eq!(Arc::strong_count(&count), 1);
        assert!(host.waker.is_some());
    }

    #[test]
    fn a_ready_poll_leaves_no_waker_behind() {
        let (relay, mut host) = (Relay::new(), Host::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&waker);
        assert!(relay.poll(cx, |cx| host.poll(cx)).is_pending());
        assert!(relay.poll(cx, |_| Poll::Ready(())).is_ready());
        assert_eq!(Arc::strong_count(&count), 2);
    }
}
