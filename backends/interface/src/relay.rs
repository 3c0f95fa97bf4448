//! A waker of one's own between a host and the waker of the last poll.
//!
//! Hosts keep wakers behind locks of theirs, clone them there and drop them there. What they get from a [`Relay`] is a
//! waker that owns nothing foreign while it is in their hands, so laws [L13](crate::laws::L13) and
//! [L31](crate::laws::L31) hold whatever they do.
//!
//! Protocol:
//!
//! 1. a poll empties the slot, unless it is known to be empty, and forgets that a wake has missed, then asks the host with the
//!    relay's waker;
//! 2. if that is pending, it fills the slot with the caller's waker, then looks whether a wake has missed meanwhile; if so, it
//!    asks again;
//! 3. a wake empties the slot, and wakes what was in it. If that was nothing, it has missed: it says so, and looks once more.
//!
//! A wake that comes while the host is asked finds the slot empty, and so do its two looks if they come before step 2 has filled
//! it, which then sees that it has missed. And the host never meets a foreign waker in step 1.
//!
//! In the common case, in which each pending poll is followed by one wake and that by the next poll, this takes two sections of
//! the lock, and no other operation for which a processor must wait.

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
    /// A wake has found the slot empty since the host was last polled.
    missed: AtomicBool,
    /// There is a waker in the slot. Changes under its lock. Whoever polls may look at it without: only polls fill the slot, and
    /// they come one after the other.
    is_full: AtomicBool,
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
    ///
    /// Polls come one after the other: of two at the same time, one may be left without a wake.
    pub fn poll<T>(&self, cx: &mut Context<'_>, mut host: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let shared = &*self.shared;
        let mut kept = if shared.is_full.load(Ordering::Acquire) { shared.take() } else { None };
        loop {
            if shared.missed.load(Ordering::Relaxed) {
                // As one step with what it finds: what came before that wake is seen by the host's poll.
                shared.missed.swap(false, Ordering::SeqCst);
            }
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
            let old = shared.put(waker);
            drop(old); // of another poll at the same time
            // Not before the section: the wake has said so before a section of its own, or finds the waker in that.
            if !shared.missed.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            kept = shared.take();
        }
    }

    /// Forgets the waker of the last poll.
    pub fn forget(&self) {
        let old = self.shared.take();
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

    fn take(&self) -> Option<Waker> {
        let mut slot = self.slot();
        // Whoever sees that without the lock sees what came before this wake, too.
        self.is_full.store(false, Ordering::Release);
        slot.take()
    }

    fn put(&self, waker: Waker) -> Option<Waker> {
        let mut slot = self.slot();
        self.is_full.store(true, Ordering::Relaxed);
        slot.replace(waker)
    }

    fn take_or_miss(&self) -> Option<Waker> {
        self.take().or_else(|| {
            self.missed.store(true, Ordering::SeqCst);
            self.take()
        })
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = self.take_or_miss() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

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
    fn a_wake_during_a_poll_is_not_for_the_waker_of_the_one_before() {
        let (relay, count, mut polls) = (Relay::new(), Arc::new(Count::default()), 0);
        let waker = Waker::from(Arc::clone(&count));
        assert!(relay.poll(&mut Context::from_waker(&waker), |_| Poll::<()>::Pending).is_pending());
        let polled = relay.poll(&mut Context::from_waker(Waker::noop()), |cx| {
            polls += 1;
            if polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        assert_eq!((polled, polls, count.0.load(Ordering::SeqCst)), (Poll::Ready(()), 2, 0));
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

    /// Hangs if one is missed.
    #[test]
    fn each_wake_that_races_with_a_poll_is_seen_by_it_or_wakes() {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        const ROUNDS: usize = 20_000;
        let (relay, events) = (Relay::new(), AtomicUsize::new(0));
        let done = AtomicUsize::new(0);
        thread::scope(|threads| {
            threads.spawn(|| {
                for round in 1..=ROUNDS {
                    // Sooner and later, since the two have to meet within nanoseconds.
                    (0..round % 64).for_each(|_| std::hint::spin_loop());
                    events.store(round, Ordering::SeqCst);
                    relay.waker().wake_by_ref();
                    while done.load(Ordering::SeqCst) < round {
                        thread::yield_now();
                    }
                }
            });
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let cx = &mut Context::from_waker(&waker);
            for round in 1..=ROUNDS {
                let ask = |_: &mut Context<'_>| {
                    if events.load(Ordering::SeqCst) < round { Poll::Pending } else { Poll::Ready(()) }
                };
                while relay.poll(cx, ask).is_pending() {
                    thread::park();
                }
                done.store(round, Ordering::SeqCst);
            }
        });
    }
}
