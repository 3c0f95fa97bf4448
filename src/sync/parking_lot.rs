//! A bare queue of waits, for primitives that are built outside of this crate.

use super::guarded::Guarded;
use super::queue::WaitQueue;
use super::wait::{Phase, Place, Wakes};
use crate::error::Cancelled;
use crate::task::park::{Op, cancelled};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

const OP: Op = Op::ParkingLotPark;

/// A queue in which tasks wait until they are told to go on, first come, first served.
///
/// This is what other primitives are built of. It remembers nothing: an `unpark` that finds nobody is lost. So whoever
/// parks must first make sure, without an await in between, that what it waits for has not happened yet; and if it may
/// happen on another thread, once more after the first poll.
///
/// # Examples
///
/// ```
/// use trine::lowlevel::ParkingLot;
///
/// let lot = ParkingLot::new();
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async { Ok(lot.park().await?) });
///     while lot.is_empty() {
///         trine::checkpoint().await?;
///     }
///     assert_eq!(lot.unpark(1), 1);
///     assert!(lot.is_empty());
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct ParkingLot {
    waits: Guarded<WaitQueue<Slot>>,
}

/// How a wait was ended.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// It was counted by an `unpark`, and goes on to the next if the waiting future is dropped.
    counted: bool,
}

/// What [`ParkingLot::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkingLotStatistics {
    /// How many tasks are parked.
    pub waiting: usize,
}

impl ParkingLot {
    /// Makes an empty lot.
    pub const fn new() -> Self {
        Self { waits: Guarded::new(WaitQueue::new()) }
    }

    /// Waits until an unpark reaches it. A checkpoint. It is in the queue after its first poll, unless a scope around is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if a scope around is cancelled; a wait that was unparked before the cancel came succeeds.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. If a wait is dropped that [`unpark`](ParkingLot::unpark) has reached, the next
    /// one is unparked in its stead; after [`unpark_all`](ParkingLot::unpark_all) nothing is passed on.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn park(&self) -> Park<'_> {
        Park { lot: self, phase: Phase::of_wait(), at: Location::caller() }
    }

    /// Unparks the first `n`, or as many as there are, and says how many. From any thread.
    pub fn unpark(&self, n: usize) -> usize {
        self.release(n, true)
    }

    /// Unparks all that are parked, and says how many. From any thread.
    pub fn unpark_all(&self) -> usize {
        self.release(usize::MAX, false)
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.waits.with(|waits| waits.len())
    }

    /// Is nobody parked?
    pub fn is_empty(&self) -> bool {
        self.waits.with(|waits| waits.iter().next().is_none())
    }

    /// Counts who is parked.
    pub fn statistics(&self) -> ParkingLotStatistics {
        ParkingLotStatistics { waiting: self.len() }
    }

    fn release(&self, n: usize, counted: bool) -> usize {
        let mut wakes = Wakes::None;
        let mut released = 0;
        self.waits.with(|waits| {
            while released < n {
                let Some((parked, slot)) = waits.pop() else {
                    break;
                };
                slot.counted = counted;
                wakes.push(parked);
                released += 1;
            }
        });
        wakes.wake();
        released
    }
}

impl Default for ParkingLot {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ParkingLot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkingLot").field("len", &self.len()).finish()
    }
}

/// The future of [`ParkingLot::park`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Park<'a> {
    lot: &'a ParkingLot,
    phase: Phase,
    at: &'static Location<'static>,
}

impl Future for Park<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Place::new(OP, self.at);
        let this = &mut *self;
        if let Some(over) = ready!(this.phase.poll(&this.lot.waits, place, cx)) {
            return Poll::Ready(over);
        }
        let parked = place.park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Err(cancelled()));
        }
        let key = self.lot.waits.with(|waits| waits.push_back(parked, Slot::default()));
        self.phase = Phase::Queued(key);
        Poll::Pending
    }
}

impl Drop for Park<'_> {
    fn drop(&mut self) {
        if let Phase::Queued(key) = self.phase {
            let (slot, parked) = self.lot.waits.with(|waits| waits.remove(key));
            if parked.is_none() && slot.counted {
                self.lot.unpark(1);
            }
        }
    }
}
