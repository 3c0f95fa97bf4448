//! An event that happens once.
//!
//! Invariant: once `set` is true nobody queues any more, and all who were queued have been completed.

use super::guarded::Guarded;
use super::queue::WaitQueue;
use super::wait::{Phase, Place, Wakes};
use crate::error::Cancelled;
use crate::sched::sync::{ConstBool, Ordering};
use crate::task::park::{Op, cancelled};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

const OP: Op = Op::EventWait;

/// Something that happens once and for good, and that any number of tasks can wait for.
///
/// There is no way to clear an event: make a new one. (An event that can be cleared has a gap between the wake and the
/// look, through which the next one is missed.)
///
/// # Examples
///
/// ```
/// use trine::sync::Event;
///
/// let ready = Event::new();
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async {
///         ready.set();
///         Ok(())
///     });
///     ready.wait().await?;
///     assert!(ready.is_set());
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Event {
    /// Written under the lock of `waits`, only from false to true.
    set: ConstBool,
    waits: Guarded<WaitQueue<()>>,
}

/// What [`Event::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStatistics {
    /// How many tasks wait.
    pub waiting: usize,
}

impl Event {
    /// Makes an event that has not happened.
    pub const fn new() -> Self {
        Self { set: ConstBool::new(false), waits: Guarded::new(WaitQueue::new()) }
    }

    /// Makes it happen: wakes all who wait, and lets all who come later pass. Idempotent, from any thread.
    pub fn set(&self) {
        if self.is_set() {
            return;
        }
        let mut wakes = Wakes::None;
        self.waits.with(|waits| {
            self.set.store(true, Ordering::Release);
            while let Some((parked, ())) = waits.pop() {
                wakes.push(parked);
            }
        });
        wakes.wake();
    }

    /// Has it happened?
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it has happened. A checkpoint, also if it has happened before.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled, also if the event has happened before; a wait that the event ended
    /// before the cancel came succeeds.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Fairness
    ///
    /// All who wait are woken at once, in the order in which they came.
    #[track_caller]
    pub fn wait(&self) -> EventWait<'_> {
        EventWait { event: self, phase: Phase::new(), at: Location::caller() }
    }

    /// Counts who waits.
    pub fn statistics(&self) -> EventStatistics {
        EventStatistics { waiting: self.waits.with(|waits| waits.len()) }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

/// The future of [`Event::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct EventWait<'a> {
    event: &'a Event,
    phase: Phase,
    at: &'static Location<'static>,
}

impl Future for EventWait<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Place::new(OP, self.at);
        let this = &mut *self;
        if let Some(over) = ready!(this.phase.poll(&this.event.waits, place, cx)) {
            return Poll::Ready(over);
        }
        if self.event.is_set() {
            return Poll::Ready(Ok(()));
        }
        let parked = place.park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Err(cancelled()));
        }
        let event = self.event;
        match event.waits.with(|waits| if event.is_set() { Err(parked) } else { Ok(waits.push_back(parked, ())) }) {
            Ok(key) => {
                self.phase = Phase::Queued(key);
                Poll::Pending
            }
            Err(_unused) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for EventWait<'_> {
    fn drop(&mut self) {
        if let Phase::Queued(key) = self.phase {
            let _spare = self.event.waits.with(|waits| waits.remove(key));
        }
    }
}
