//! A waker of one's own between a host and the waker of the last poll.
//!
//! Hosts keep wakers behind locks of theirs, clone them there and drop them there. What they get from a [`Relay`] is a
//! waker that owns nothing foreign while it is in their hands, so laws [L13](crate::laws::L13) and
//! [L31](crate::laws::L31) hold whatever they do.
//!
//! Protocol:
//!
//! 1. a poll empties the slot, unless it is known to be empty, looks how many wakes there were, then asks the host with the
//!    relay's waker;
//! 2. if that is pending, it fills the slot with the caller's waker, unless there were more wakes meanwhile: then it asks again;
//! 3. a wake counts itself and empties the slot, in one section of the lock, then wakes what was in it.
//!
//! So a wake comes before step 2, which counts it, or it finds the waker; and the host never meets a foreign waker in step 1. A
//! wake that step 1 has counted already came before the host was asked, which then knows what it was for.
//!
//! In the common case, in which each pending poll is followed by one wake and that by the next poll, this takes two sections of
//! the lock, and no other operation for which a processor must wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// How often it was woken. Changes under the lock; it may go round.
    wakes: AtomicUsize,
    /// There is a waker in the slot. Changes under the lock.
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
    pub fn poll<T>(&self, cx: &mut Context<'_>, mut host: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let shared = &*self.shared;
        let mut kept = if shared.is_full.load(Ordering::Relaxed) { shared.take() } else { None };
        loop {
            let before = shared.wakes.load(Ordering::Acquire);
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
            match shared.put(waker, before) {
                Ok(old) => {
                    drop(old); // of another poll at the same time
                    return Poll::Pending;
                }
                Err(waker) => kept = Some(waker),
            }
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
        self.take_from(&mut self.slot())
    }

    fn take_from(&self, slot: &mut Option<Waker>) -> Option<Waker> {
        self.is_full.store(false, Ordering::Relaxed);
        slot.take()
    }

    /// Fills the slot; what was there comes back. Err: there were not so many wakes, but more.
    fn put(&self, waker: Waker, wakes: usize) -> Result<Option<Waker>, Waker> {
        let mut slot = self.slot();
        if self.wakes.load(Ordering::Relaxed) != wakes {
            return Err(waker);
        }
        self.is_full.store(true, Ordering::Relaxed);
        Ok(slot.replace(waker))
    }

    fn count_and_take(&self) -> Option<Waker> {
        let mut slot = self.slot();
        let wakes = self.wakes.load(Ordering::Relaxed).wrapping_add(1);
        // Whoever sees the count sees what the wake is for.
        self.wakes.store(wakes, Ordering::Release);
        self.take_from(&mut slot)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = self.count_and_take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_wake_during_a_poll_is_seen_by_it_though_it_is_for_another_poll_within() {
        let (relay, count, mut polls) = (Relay::new(), Arc::new(Count::default()), 0);
        let waker = Waker::from(Arc::clone(&count));
        let polled = relay.poll(&mut Context::from_waker(Waker::noop()), |cx| {
            polls += 1;
            if polls == 1 {
                let other = relay.poll(&mut Context::from_waker(&waker), |_| Poll::<()>::Pending);
                assert!(other.is_pending());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        assert_eq!((polled, polls, count.0.load(Ordering::SeqCst)), (Poll::Ready(()), 2, 1));
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
