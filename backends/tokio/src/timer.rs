//! One timer of tokio.
//!
//! tokio's clock may be paused, and then stands for another time than the instants of alarms do: so it is told how long
//! to wait. It rounds up to its milliseconds. Its timers panic when they are polled after a shutdown, from which the
//! tools keep the runtime meanwhile; at the shutdown itself tokio wakes whoever waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep};
use trine_backend::adapter::Timer;

/// See the module.
#[derive(Debug)]
pub(crate) struct SleepTimer(Pin<Box<Sleep>>);

impl SleepTimer {
    /// Makes one of the runtime that was entered; panics if that has no timers.
    pub(crate) fn new() -> Self {
        Self(Box::pin(sleep(Duration::ZERO)))
    }
}

impl Timer for SleepTimer {
    fn set(&mut self, left: Duration) {
        self.0.as_mut().reset(Instant::now() + left);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut unconstrained(self.0.as_mut())).poll(cx)
    }
}
