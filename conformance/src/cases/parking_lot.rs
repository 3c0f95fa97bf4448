//! Parking lots: bare queues of waits.

use super::cancel_tools::poll_here;
use super::sync_tools::{Log, settle};
use crate::case::{Case, portable, real_time};
use std::sync::Arc;
use trine::lowlevel::ParkingLot;
use trine::sync::Semaphore;
use trine::{CancelScope, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(unparks_from_the_front, "parking-lot.fifo", "trio test_parking_lot.py::test_parking_lot_basic"),
    portable!(
        cancelled_wait_leaves_the_queue,
        "parking-lot.cancel",
        "trio test_parking_lot.py::test_parking_lot_cancel"
    ),
    portable!(unpark_all_reaches_only_those_who_are_there, "parking-lot.unpark-all", "design 10"),
    portable!(unpark_after_the_first_poll_is_not_lost, "parking-lot.at-once", "design 5"),
    portable!(unpark_says_how_many, "parking-lot.count", "design 10"),
    real_time!(can_be_unparked_from_another_thread, "parking-lot.any-thread", "divergence 15"),
];

/// One by one, several at once, or all; nobody there is no error.
async fn unparks_from_the_front() -> trine::Result<()> {
    let (lot, log) = (ParkingLot::new(), Log::new());
    lot.unpark(1);
    lot.unpark_all();
    nursery(async |n| {
        for who in 0..6 {
            let (lot, log) = (&lot, &log);
            n.start_soon(async move {
                lot.park().await?;
                log.push(who);
                Ok(())
            });
            settle().await?;
        }
        assert_eq!((lot.len(), lot.is_empty(), lot.statistics().waiting), (6, false, 6));
        let check = async |expected: &[u32]| {
            settle().await?;
            let mut got = log.take();
            got.sort_unstable(); // those of one call are woken at once
            assert_eq!(got, expected);
            Ok::<_, trine::Error>(())
        };
        lot.unpark(1);
        check(&[0]).await?;
        lot.unpark(2);
        check(&[1, 2]).await?;
        lot.unpark(0);
        check(&[]).await?;
        lot.unpark_all();
        check(&[3, 4, 5]).await?;
        assert_eq!((lot.len(), lot.is_empty()), (0, true));
        Ok(())
    })
    .await
}

/// The others go on as if it had not been there.
async fn cancelled_wait_leaves_the_queue() -> trine::Result<()> {
    let (lot, log) = (ParkingLot::new(), Log::new());
    let scope = CancelScope::new();
    nursery(async |n| {
        for who in 0..3 {
            let (lot, log) = (&lot, &log);
            let scope = if who == 1 { scope.clone() } else { CancelScope::new() };
            n.start_soon(async move {
                let result = scope.run(async { Ok(lot.park().await?) }).await?;
                log.push((who, result));
                Ok(())
            });
            settle().await?;
        }
        scope.cancel();
        settle().await?;
        assert_eq!(log.take(), [(1, None)]);
        assert_eq!(lot.len(), 2);
        for who in [0, 2] {
            lot.unpark(1);
            settle().await?;
            assert_eq!(log.take(), [(who, Some(()))]);
        }
        Ok(())
    })
    .await
}

/// Who parks after the call stays.
async fn unpark_all_reaches_only_those_who_are_there() -> trine::Result<()> {
    let (lot, log) = (ParkingLot::new(), Log::new());
    nursery(async |n| {
        n.start_soon(async {
            for round in 0..3 {
                lot.park().await?;
                log.push(round);
            }
            Ok(())
        });
        for round in 0..3 {
            settle().await?;
            assert_eq!(lot.unpark_all(), 1);
            settle().await?;
            assert_eq!(log.take(), [round]);
        }
        Ok(())
    })
    .await
}

/// Also if the task has used up its steps: between the look at a condition and the place in the queue nobody runs.
async fn unpark_after_the_first_poll_is_not_lost() -> trine::Result<()> {
    let (lot, semaphore) = (ParkingLot::new(), Semaphore::new(1));
    // More than any step budget.
    for steps in 0..200 {
        for _ in 0..steps {
            drop(semaphore.acquire().await?);
        }
        let mut park = Box::pin(lot.park());
        assert!(poll_here(&mut park).await.is_pending());
        assert_eq!(lot.unpark_all(), 1, "after {steps} steps");
        park.await?;
    }
    Ok(())
}

/// As many as there were, not as many as were asked for.
async fn unpark_says_how_many() -> trine::Result<()> {
    let lot = ParkingLot::new();
    assert_eq!((lot.unpark(5), lot.unpark_all()), (0, 0));
    let scope = CancelScope::new();
    nursery(async |n| {
        for _ in 0..3 {
            n.start_soon(async { Ok(lot.park().await?) });
        }
        n.start_soon(async { scope.run(async { Ok(lot.park().await?) }).await.map(drop) });
        settle().await?;
        scope.cancel();
        assert_eq!(lot.unpark(2), 2);
        assert_eq!(lot.unpark(5), 1, "the cancelled one does not count, even before it has run");
        Ok(())
    })
    .await
}

/// A foreign thread may unpark.
async fn can_be_unparked_from_another_thread() -> trine::Result<()> {
    let lot = Arc::new(ParkingLot::new());
    for _ in 0..50 {
        let elsewhere = Arc::clone(&lot);
        let thread = std::thread::spawn(move || {
            while elsewhere.unpark(1) == 0 {
                std::thread::yield_now();
            }
        });
        lot.park().await?;
        thread.join().expect("it does not panic");
    }
    Ok(())
}
