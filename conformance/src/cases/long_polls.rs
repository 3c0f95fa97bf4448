//! Tasks whose polls take long: how late what comes from outside is then, in polls.
//!
//! A root cannot know how long a poll will take; it learns it from those before ([`LESSON`]), and from then on looks around after
//! each that takes as long.

use super::net::pair;
use crate::case::{Case, real_time};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use trine::sync::Event;
use trine::{Result, checkpoint, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    real_time!(deadline_passes_between_two_of_them, "turn.deadline", "trio test_run.py::test_timekeeping, design 2"),
    real_time!(long_ones_after_short_ones_are_noticed, "turn.deadline", "design 2"),
    real_time!(thread_is_heard_between_two_of_them, "turn.thread", "design 2"),
    real_time!(data_is_read_between_two_of_them, "turn.data", "design 2"),
];

/// Polls that are enough to learn that they take long.
const LESSON: u32 = 80;

/// A step that takes at least a millisecond, and lets others run then.
async fn long_step() -> Result<()> {
    thread::sleep(Duration::from_millis(1));
    Ok(checkpoint().await?)
}

async fn long_steps(count: u32) -> Result<()> {
    for _ in 0..count {
        long_step().await?;
    }
    Ok(())
}

/// Makes steps until something has happened. Returns how many.
async fn steps_until(happened: &AtomicBool) -> Result<u32> {
    for steps in 0.. {
        if happened.load(Ordering::Relaxed) {
            return Ok(steps);
        }
        long_step().await?;
    }
    unreachable!("there are more steps than time")
}

/// Steps that may go by until a task hears of something: one that had begun, one that stands before it in the queue, and as many again
/// for what another thread takes.
const FEW: u32 = 4;

/// Returns how many steps were begun after a deadline.
async fn late_steps() -> Result<u32> {
    let mut late = 0;
    let timeout = Duration::from_millis(8);
    let left = move_on_after(timeout, async {
        // The time of a timer begins with the end of the poll that makes it, at the latest.
        long_step().await?;
        let start = Instant::now();
        loop {
            late += u32::from(start.elapsed() >= timeout);
            long_step().await?;
        }
    });
    let left: Option<()> = left.await?;
    assert_eq!(left, None);
    Ok(late)
}

async fn deadline_passes_between_two_of_them() -> Result<()> {
    nursery(async |n| {
        n.start_soon(async {
            long_steps(LESSON).await?;
            let late = late_steps().await?;
            assert!(late <= FEW, "{late} steps were begun after the deadline");
            Ok(())
        });
        Ok(())
    })
    .await
}

/// What is busy with short polls reads no clock for a while, but not for a thousand long ones.
async fn long_ones_after_short_ones_are_noticed() -> Result<()> {
    nursery(async |n| {
        n.start_soon(async {
            for _ in 0..10_000 {
                checkpoint().await?;
            }
            let late = late_steps().await?;
            assert!(late <= 300, "{late} steps were begun after the deadline");
            Ok(())
        });
        Ok(())
    })
    .await
}

async fn thread_is_heard_between_two_of_them() -> Result<()> {
    let (event, heard) = (Arc::new(Event::new()), AtomicBool::new(false));
    nursery(async |n| {
        n.start_soon(async {
            event.wait().await?;
            heard.store(true, Ordering::Relaxed);
            Ok(())
        });
        n.start_soon(async {
            long_steps(LESSON).await?;
            let event = event.clone();
            thread::spawn(move || event.set()).join().expect("to set an event does not panic");
            let steps = steps_until(&heard).await?;
            assert!(steps <= FEW, "a thread was heard after {steps} steps");
            Ok(())
        });
        Ok(())
    })
    .await
}

/// An executor around looks at its reactor when it likes: tokio after 61 of its polls.
async fn data_is_read_between_two_of_them() -> Result<()> {
    let ((near, far), heard) = (pair().await?, AtomicBool::new(false));
    nursery(async |n| {
        n.start_soon(async {
            far.read(&mut [0; 8]).await?;
            heard.store(true, Ordering::Relaxed);
            Ok(())
        });
        n.start_soon(async {
            long_steps(LESSON).await?;
            near.write_all(b"data").await?;
            let steps = steps_until(&heard).await?;
            assert!(steps <= 100, "data was read after {steps} steps");
            Ok(())
        });
        Ok(())
    })
    .await
}
