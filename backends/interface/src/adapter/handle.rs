//! A host's services as a [`Handle`].

use std::fmt::Debug;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Events, LastingAlarm, LastingReadiness, Life, SureJob, Timer, Turns, spawn_thread};
use crate::{Alarm, Handle, Job, Readiness, Source, gone};

/// What an adapter says of its host: how it does what a [`Handle`] is asked for.
///
/// Nothing here is called with a lock of the tools held.
pub trait Host: Send + Sync + Debug + 'static {
    /// One timer.
    type Timer: Timer + 'static;
    /// One source that is watched; [`Infallible`](std::convert::Infallible) if it watches none.
    type Source: Events + 'static;

    /// Makes a timer that is not set.
    ///
    /// # Errors
    ///
    /// The host has no timers.
    fn timer(&self) -> io::Result<Self::Timer>;

    /// Watches `source` in both directions until the result is dropped; after that nothing of the host refers to it.
    ///
    /// # Errors
    ///
    /// As [`Handle::register`].
    fn watch(&self, source: Source<'_>) -> io::Result<Self::Source>;

    /// As [`Handle::registers_early`].
    fn registers_early(&self) -> bool {
        false
    }

    /// Starts a job on the host's pool. What the host drops instead is run nevertheless, so it cannot fail.
    fn spawn_blocking(&self, job: SureJob);

    /// As [`Handle::has_budget`].
    fn has_budget(&self) -> bool {
        true
    }

    /// As [`Handle::begin_turn`].
    fn begin_turn(&self) {}

    /// As [`Handle::end_turn`].
    fn end_turn(&self) {}
}

/// The [`Handle`] of a [`Host`], from when it was made until it is [ended](Self::end).
#[derive(Debug)]
pub struct HostHandle<H> {
    host: H,
    life: Arc<Life>,
    /// Its probe refers to the life, not to this.
    turns: Turns,
}

impl<H: Host> HostHandle<H> {
    /// Makes the handle of a host: one for each loop, since handles are compared by address.
    pub fn new(host: H) -> Arc<Self> {
        Arc::new(Self { host, life: Arc::default(), turns: Turns::default() })
    }

    /// Returns what it was made of.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Returns whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.life.has_ended()
    }

    /// Returns it as what serves, if it has not ended.
    pub fn served(self: Arc<Self>) -> Option<Arc<dyn Handle>> {
        (!self.is_dead()).then_some(self as Arc<dyn Handle>)
    }

    /// Says that the loop is gone or about to go: wakes whoever waits for it.
    ///
    /// To be called before the host shuts its timers down, if these do not bear to be polled afterwards.
    pub fn end(&self) {
        self.life.end();
    }

    /// Returns a future that is never ready and whose drop is the end: for a task of the host, if that drops its tasks
    /// when its loop goes. It keeps the handle until then.
    pub fn sentinel(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<H> {
        let end = EndOnDrop(Arc::clone(self));
        async move {
            let _end = end;
            pending().await
        }
    }
}

/// [Ends](HostHandle::end) a loop when it is dropped.
struct EndOnDrop<H: Host>(Arc<HostHandle<H>>);

impl<H: Host> Drop for EndOnDrop<H> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<H: Host> Handle for HostHandle<H> {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        if self.is_dead() {
            return Err(gone());
        }
        Ok(Box::new(LastingAlarm::new(self.host.timer()?, &self.life)?))
    }

    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        if self.is_dead() {
            return Err(gone());
        }
        Ok(Box::new(LastingReadiness::new(self.host.watch(source)?, &self.life)?))
    }

    fn registers_early(&self) -> bool {
        self.host.registers_early()
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        if self.is_dead() {
            return spawn_thread(job);
        }
        self.host.spawn_blocking(SureJob::new(job));
        Ok(())
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        if self.is_dead() { Poll::Ready(()) } else { self.turns.poll(self, cx, round) }
    }

    fn has_budget(&self) -> bool {
        self.host.has_budget()
    }

    fn begin_turn(&self) {
        self.host.begin_turn();
    }

    fn end_turn(&self) {
        self.host.end_turn();
    }
}

#[cfg(test)]
mod tests {
    use super::super::support::{Count, Nothing};
    use super::*;
    use std::sync::mpsc;
    use std::task::Waker;

    #[test]
    fn l25_jobs_that_the_host_drops_or_that_come_too_late_are_run() {
        let (handle, (tx, rx)) = (HostHandle::new(Nothing), mpsc::channel());
        let late = tx.clone();
        handle.spawn_blocking(Box::new(move || tx.send(1).unwrap())).unwrap();
        assert_eq!(rx.recv(), Ok(1));
        handle.end();
        handle.spawn_blocking(Box::new(move || late.send(2).unwrap())).unwrap();
        assert_eq!((rx.recv(), rx.recv().is_err()), (Ok(2), true));
    }

    #[test]
    fn l28_a_host_that_watches_nothing_is_returned_to_twice() {
        let (handle, (count, waker)) = (HostHandle::new(Nothing), Count::new());
        let cx = &mut Context::from_waker(&waker);
        for wakes in 1..3 {
            assert!(handle.poll_turn(cx, wakes - 1).is_pending());
            assert_eq!(count.get(), wakes as usize);
        }
        assert!(handle.poll_turn(cx, 2).is_ready());
        handle.end();
        assert!(handle.poll_turn(cx, 0).is_ready());
    }

    #[test]
    fn l30_whoever_drops_what_stands_for_the_loop_ends_it() {
        let ends: [fn(Arc<HostHandle<Nothing>>); 2] = [|handle| handle.end(), |handle| drop(handle.sentinel())];
        for end in ends {
            let handle = HostHandle::new(Nothing);
            let (alarm, waiting) = (handle.alarm().unwrap(), Arc::clone(&handle));
            assert!(!handle.is_dead() && waiting.served().is_some());
            end(Arc::clone(&handle));
            assert!(alarm.is_dead() && handle.is_dead() && handle.alarm().is_err() && handle.served().is_none());
        }
    }

    #[test]
    fn a_sentinel_keeps_the_handle_and_is_never_ready() {
        let handle = HostHandle::new(Nothing);
        let (weak, mut sentinel) = (Arc::downgrade(&handle), Box::pin(handle.sentinel()));
        drop(handle);
        assert!(sentinel.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(weak.upgrade().is_some_and(|handle| !handle.is_dead()));
        drop(sentinel);
        assert!(weak.upgrade().is_none());
    }
}
