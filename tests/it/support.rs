//! What the tests share: guards that count what lives, a oneshot that knows nothing of trine, ways to poll by hand.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts what lives.
#[derive(Clone, Default)]
pub struct Live(Arc<AtomicUsize>);

impl Live {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn guard(&self) -> Guard {
        self.0.fetch_add(1, Ordering::SeqCst);
        Guard(self.0.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls a function when dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Counts wakes.
#[derive(Default)]
pub struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl CountWakes {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A waker that panics when it is called.
pub fn waker_that_panics() -> Waker {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics");
        }
    }
    Waker::from(Arc::new(Panics))
}

/// Polls a future once, with a waker that counts.
pub fn poll_once<F: Future + ?Sized>(fut: Pin<&mut F>, wakes: &Arc<CountWakes>) -> Poll<F::Output> {
    let waker = Waker::from(wakes.clone());
    fut.poll(&mut Context::from_waker(&waker))
}

/// Polls until it is ready, also if it panics.
pub fn poll_on<T>(mut fut: Pin<&mut impl Future<Output = T>>, cx: &mut Context<'_>) -> Option<T> {
    (0..5).find_map(|_| match catch_unwind(AssertUnwindSafe(|| fut.as_mut().poll(cx))) {
        Ok(Poll::Ready(value)) => Some(value),
        _ => None,
    })
}

/// The smallest executor: polls when woken, and sleeps otherwise.
pub fn block_on<F: Future>(fut: F) -> F::Output {
    #[derive(Default)]
    struct Parker {
        woken: Mutex<bool>,
        signal: Condvar,
    }
    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            *self.woken.lock().unwrap() = true;
            self.signal.notify_one();
        }
    }
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    let mut fut = std::pin::pin!(fut);
    loop {
        if let Poll::Ready(value) = fut.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let woken = parker.woken.lock().unwrap();
        let limit = Duration::from_secs(20);
        let (mut woken, waited) = parker.signal.wait_timeout_while(woken, limit, |w| !*w).unwrap();
        assert!(!waited.timed_out(), "nobody woke the future");
        *woken = false;
    }
}

/// Pending once, after it has woken itself.
pub async fn yield_once() {
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

/// Ticks when told; what waits for the next tick knows nothing of trine.
#[derive(Default)]
pub struct Ticks(Mutex<(usize, Vec<Waker>)>);

impl Ticks {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn tick(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    pub async fn next(&self) {
        let began = self.0.lock().unwrap().0;
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut state = self.0.lock().unwrap();
            if state.0 > began {
                return Poll::Ready(());
            }
            state.1.push(waker);
            Poll::Pending
        })
        .await;
    }
}

struct Shot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The sending half of a oneshot that knows nothing of trine.
pub struct Fire<T>(Arc<Mutex<Shot<T>>>);

/// The other half.
pub struct Wait<T>(Arc<Mutex<Shot<T>>>);

pub fn oneshot<T>() -> (Fire<T>, Wait<T>) {
    let shot = Arc::new(Mutex::new(Shot { value: None, waker: None }));
    (Fire(shot.clone()), Wait(shot))
}

impl<T> Fire<T> {
    pub fn fire(self, value: T) {
        let waker = {
            let mut shot = self.0.lock().unwrap();
            shot.value = Some(value);
            shot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut shot = self.0.lock().unwrap();
        if let Some(value) = shot.value.take() {
            return Poll::Ready(value);
        }
        let old = shot.waker.replace(cx.waker().clone());
        drop(shot);
        drop(old);
        Poll::Pending
    }
}

/// An order of events.
#[derive(Default)]
pub struct Log(Mutex<Vec<&'static str>>);

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }

    pub fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Oops(pub u32);

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}

/// The numbers of the `Oops` in an error, in order.
pub fn oopses(e: &trine::Error) -> Vec<u32> {
    e.leaves().filter_map(|leaf| leaf.find::<Oops>()).map(|o| o.0).collect()
}

/// What a panic said.
pub fn panic_text(run: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("it panics");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&'static str>().expect("a panic with a text")).to_owned(),
    }
}
