//! Futures that know nothing of Trine, and combinators that drop what they run.
//!
//! A drop by user code is marked while it goes on ([`user_drop`]), because it takes away what a program was promised.

use super::world::World;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use trine::Result;

pub(super) type Fut<'a, T = ()> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;
pub(super) type Run<T = ()> = Fut<'static, T>;

thread_local! {
    static USER_DROPS: Cell<u32> = const { Cell::new(0) };
}

/// Is a drop by user code going on?
pub(super) fn in_user_drop() -> bool {
    USER_DROPS.get() > 0
}

pub(super) fn user_drop<T>(world: &World, what: T) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            USER_DROPS.set(USER_DROPS.get() - 1);
        }
    }
    USER_DROPS.set(USER_DROPS.get() + 1);
    let _leave = Leave;
    world.something_was_dropped();
    drop(what);
}

/// Ready after waking itself so many times.
pub(super) struct Yields(pub(super) u8);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Set once; wakes whoever waits for it.
#[derive(Default)]
pub(super) struct Oneshot(Mutex<(bool, Vec<Waker>)>);

impl Oneshot {
    pub(super) fn fire(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 {
            drop(state);
            return Poll::Ready(());
        }
        state.1.push(waker);
        Poll::Pending
    }

    pub(super) fn forget_wakers(&self) {
        let wakers = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).1);
        drop(wakers);
    }
}

/// Runs a future for so many polls, then drops it.
pub(super) struct DropAfter<'a, T> {
    pub(super) world: Arc<World>,
    pub(super) inner: Option<Fut<'a, T>>,
    pub(super) polls: u8,
}

impl<T> Future for DropAfter<'_, T> {
    type Output = Option<Result<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        if let Poll::Ready(result) = inner.as_mut().poll(cx) {
            this.inner = None;
            return Poll::Ready(Some(result));
        }
        if this.polls > 0 {
            this.polls -= 1;
            return Poll::Pending;
        }
        user_drop(&this.world, this.inner.take());
        Poll::Ready(None)
    }
}

/// Polls a future with a waker of its own, a new one each time.
pub(super) struct Rewake(pub(super) Run);

struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

impl Future for Rewake {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = Waker::from(Arc::new(Forward(cx.waker().clone())));
        self.0.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Polls a future so many times, then hands it back.
pub(super) struct Lend {
    pub(super) inner: Option<Run>,
    pub(super) polls: u8,
}

impl Future for Lend {
    /// What it came to, or the rest of it.
    type Output = std::result::Result<Result<()>, Run>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut inner = this.inner.take().expect("polled until it ends");
        if this.polls == 0 {
            return Poll::Ready(Err(inner));
        }
        this.polls -= 1;
        match inner.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => {
                if this.polls == 0 {
                    return Poll::Ready(Err(inner));
                }
                this.inner = Some(inner);
                Poll::Pending
            }
        }
    }
}

/// The first to be ready wins, the others are dropped.
pub(super) struct Select {
    pub(super) world: Arc<World>,
    pub(super) branches: Vec<Run>,
}

impl Future for Select {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for i in 0..this.branches.len() {
            let branch = &mut this.branches[i];
            match catch_unwind(AssertUnwindSafe(|| branch.as_mut().poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(result)) => {
                    drop(this.branches.swap_remove(i));
                    user_drop(&this.world, std::mem::take(&mut this.branches));
                    return Poll::Ready(result);
                }
                Err(panic) => {
                    user_drop(&this.world, std::mem::take(&mut this.branches));
                    resume_unwind(panic);
                }
            }
        }
        Poll::Pending
    }
}

/// All futures of a group, as one.
type All = Pin<Box<dyn Future<Output = Vec<Result<()>>> + Send>>;

/// All of several futures, by way of somebody else's combinator. Results in hand are lost if it is dropped.
pub(super) struct Joined {
    pub(super) world: Arc<World>,
    pub(super) all: Option<All>,
}

impl Future for Joined {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let all = this.all.as_mut().expect("polled until it ends");
        match catch_unwind(AssertUnwindSafe(|| all.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(results)) => {
                this.all = None;
                let mut errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
                Poll::Ready(match errors.len() {
                    0 => Ok(()),
                    1 => Err(errors.swap_remove(0)),
                    _ => Err(trine::Error::group(errors).expect("there are several")),
                })
            }
            Err(panic) => {
                user_drop(&this.world, this.all.take());
                resume_unwind(panic);
            }
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if self.all.is_some() {
            self.world.results_were_lost();
        }
    }
}

/// A future whose drop counts as user code's.
pub(super) struct Loose<F> {
    pub(super) world: Arc<World>,
    pub(super) inner: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Loose<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.inner.as_mut().expect("polled until it ends");
        let polled = inner.as_mut().poll(cx);
        if polled.is_ready() {
            self.inner = None;
        }
        polled
    }
}

impl<F> Drop for Loose<F> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            user_drop(&self.world, inner);
        }
    }
}
