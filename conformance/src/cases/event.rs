//! Events.

use super::sync_tools::settle;
use crate::case::{Case, portable, real_time};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trine::sync::Event;
use trine::{CancelScope, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(wakes_all_and_stays_set, "event.sticky", "trio test_sync.py::test_Event"),
    real_time!(can_be_set_from_another_thread, "event.any-thread", "divergence 15"),
    portable!(set_again_wakes_nobody_new, "event.idempotent", "divergence 10"),
    portable!(cancelled_waits_are_not_counted, "event.statistics", "divergence 3"),
    portable!(can_be_a_static, "event.const", "design 10"),
];

/// All who wait go on, and all who come later pass.
async fn wakes_all_and_stays_set() -> trine::Result<()> {
    let event = Event::new();
    let passed = AtomicUsize::new(0);
    assert!(!event.is_set());
    nursery(async |n| {
        for _ in 0..5 {
            n.start_soon(async {
                event.wait().await?;
                passed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        settle().await?;
        assert_eq!((event.statistics().waiting, passed.load(Ordering::Relaxed)), (5, 0));
        event.set();
        assert!(event.is_set());
        assert_eq!(event.statistics().waiting, 0);
        settle().await?;
        assert_eq!(passed.load(Ordering::Relaxed), 5);
        Ok(event.wait().await?)
    })
    .await?;
    Ok(event.wait().await?)
}

/// A wait is woken by a thread that is no part of the run.
async fn can_be_set_from_another_thread() -> trine::Result<()> {
    for _ in 0..20 {
        let event = Arc::new(Event::new());
        let setter = std::thread::spawn({
            let event = Arc::clone(&event);
            move || {
                // Not before somebody waits.
                while event.statistics().waiting == 0 {
                    std::thread::yield_now();
                }
                event.set();
            }
        });
        event.wait().await?;
        assert!(event.is_set());
        setter.join().expect("it does not panic");
    }
    Ok(())
}

/// The second `set` changes nothing.
async fn set_again_wakes_nobody_new() -> trine::Result<()> {
    let event = Event::new();
    event.set();
    event.set();
    assert!(event.is_set());
    event.wait().await?;
    assert_eq!(event.statistics().waiting, 0);
    Ok(())
}

/// A wait that is cancelled is gone at once; the others are not touched.
async fn cancelled_waits_are_not_counted() -> trine::Result<()> {
    let event = Event::new();
    let scope = CancelScope::new();
    nursery(async |n| {
        let cancelled = n.spawn(async { scope.run(async { Ok(event.wait().await?) }).await });
        let kept = n.spawn(async { Ok(event.wait().await?) });
        settle().await?;
        scope.cancel();
        assert_eq!(event.statistics().waiting, 1);
        assert_eq!(cancelled.await?, None);
        assert!(!kept.is_finished());
        event.set();
        Ok(kept.await?)
    })
    .await
}

/// `new` is const.
async fn can_be_a_static() -> trine::Result<()> {
    static HAPPENED: Event = Event::new();
    HAPPENED.set();
    Ok(HAPPENED.wait().await?)
}
