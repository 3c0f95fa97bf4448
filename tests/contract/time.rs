//! Section 4: time and checkpoints.

use crate::{debug, send, yields_send};
use std::convert::Infallible;
use std::ops::{Add, Sub};
use std::time::Duration;
use trine::{Cancelled, Instant, Result, Sleep};

#[test]
fn instant_is_plain_and_saturates() {
    fn plain<T>()
    where
        T: Copy + Ord + std::hash::Hash + Send + Sync + 'static,
        T: Add<Duration, Output = T> + Sub<Duration, Output = T> + Sub<T, Output = Duration>,
    {
    }
    plain::<Instant>();
    debug::<Instant>();
    let now: Instant = Instant::now();
    assert!(now + Duration::MAX >= now && now - Duration::MAX <= now);
    assert_eq!(now - (now + Duration::from_secs(1)), Duration::ZERO);
    assert!(trine::now() >= now);
}

#[test]
fn waits_have_the_outputs_and_are_send() {
    send::<Sleep>();
    drop(yields_send::<Result<(), Cancelled>, _>(trine::sleep(Duration::ZERO)));
    drop(yields_send::<Result<(), Cancelled>, _>(trine::sleep_until(trine::now())));
    drop(yields_send::<Result<Infallible, Cancelled>, _>(trine::sleep_forever()));
    drop(yields_send::<Result<(), Cancelled>, _>(trine::checkpoint()));
    drop(yields_send::<(), _>(trine::shielded_checkpoint()));
    let plain: fn() -> Result<(), Cancelled> = trine::checkpoint_if_cancelled;
    assert!(plain().is_ok());
}

#[test]
fn sleeps_show_the_line_of_the_wait() {
    let line = line!() + 1;
    let fut = async { trine::sleep_forever().await };
    trine::testing::run(trine::nursery(async |n| {
        n.start_soon(async { Ok(fut.await.map(|_| ())?) });
        trine::testing::wait_all_tasks_blocked().await?;
        let tree = trine::inspect::tree().to_string();
        assert!(tree.contains(&format!("time.rs:{line}")), "{tree}");
        n.cancel_children();
        Ok(())
    }))
    .unwrap();
}
