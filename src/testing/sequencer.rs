//! Turns for test code that must run in a given order across tasks.

use crate::error::{Error, Result};
use crate::sync::parking_lot::ParkingLot;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Lets pieces of code in different tasks run in the order of their numbers: 0, 1, 2, and so on.
///
/// # Examples
///
/// ```
/// use std::sync::Mutex;
/// use trine::testing::Sequencer;
///
/// let (order, seq) = (Mutex::new(Vec::new()), Sequencer::new());
/// trine::run(trine::nursery(async |n| {
///     n.start_soon(async {
///         let _turn = seq.turn(1).await?;
///         order.lock().unwrap().push("second");
///         Ok(())
///     });
///     let _turn = seq.turn(0).await?;
///     order.lock().unwrap().push("first");
///     Ok(())
/// }))?;
/// assert_eq!(order.into_inner().unwrap(), ["first", "second"]);
/// # Ok::<(), trine::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Sequencer {
    state: Mutex<State>,
    waits: ParkingLot,
}

#[derive(Debug, Default)]
struct State {
    next: usize,
    claimed: HashSet<usize>,
    /// A waiter was cancelled or dropped: its turn will never come.
    broken: bool,
}

/// A turn that has come. Dropping it lets the next one come.
#[derive(Debug)]
pub struct Turn<'a> {
    sequencer: &'a Sequencer,
}

impl Sequencer {
    /// Makes one whose first turn is number 0.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the turn of `number` come? An error if it never will.
    fn has_come(&self, number: usize) -> Result<bool> {
        let state = self.lock();
        if state.broken {
            return Err(Error::msg("the sequence is broken: a waiter was cancelled or dropped"));
        }
        Ok(state.next == number)
    }

    /// Waits until it is the turn of `number`.
    ///
    /// # Errors
    ///
    /// If the number has been used before, or a waiter was cancelled or dropped, so that the sequence cannot go on.
    /// `Cancelled` if a scope around is cancelled.
    ///
    /// # Cancel safety
    ///
    /// A wait that is cancelled or dropped breaks the sequence: all others fail.
    pub async fn turn(&self, number: usize) -> Result<Turn<'_>> {
        if !self.lock().claimed.insert(number) {
            return Err(Error::msg(format!("turn {number} of a sequencer is taken twice")));
        }
        let mut claim = Claim { sequencer: self, kept: false };
        crate::time::checkpoint().await?;
        let come = loop {
            match self.has_come(number) {
                Ok(false) => {}
                known => break known,
            }
            let mut park = pin!(self.waits.park());
            poll_fn(|cx| match park.as_mut().poll(cx) {
                // On another thread a turn may have ended after the look and before this was in the queue.
                Poll::Pending if !matches!(self.has_come(number), Ok(false)) => Poll::Ready(Ok(())),
                polled => polled,
            })
            .await?;
        };
        claim.kept = true;
        come.map(|_| Turn { sequencer: self })
    }
}

struct Claim<'a> {
    sequencer: &'a Sequencer,
    kept: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.sequencer.lock().broken = true;
            self.sequencer.waits.unpark_all();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sequencer.lock().next += 1;
        self.sequencer.waits.unpark_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn number_that_is_used_twice_is_an_error() {
        let seq = Sequencer::new();
        let text = crate::testing::run(async {
            drop(seq.turn(0).await?);
            seq.turn(0).await.map(drop)
        })
        .unwrap_err()
        .to_string();
        assert!(text.contains("twice"), "{text}");
    }

    #[test]
    fn cancelled_waiter_breaks_the_sequence() {
        let seq = Sequencer::new();
        let text = crate::testing::run(crate::nursery(async |n| {
            n.start_soon(async { seq.turn(2).await.map(drop) });
            crate::move_on_after(Duration::from_secs(1), async { seq.turn(1).await.map(drop) }).await?;
            Ok(())
        }))
        .unwrap_err()
        .to_string();
        assert!(text.contains("broken"), "{text}");
    }
}
