//! Every host runs a future to its end and says why if it cannot.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use trine::Builder;
use trine::testing::MockClock;
use trine_conformance::host::{self, HostError};
use trine_conformance::suite;

#[test]
fn value_comes_back() {
    for host in host::all() {
        assert_eq!(host.run(Builder::new(), async { 7 }), Ok(7), "{host:?}");
    }
}

#[test]
fn order_and_clock_of_the_builder_are_kept() {
    for host in host::all() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&seen);
        let builder = Builder::new().clock(MockClock::new().autojump()).order(trine::testing::Order::Lifo);
        let took = host.run(builder, async move {
            let start = trine::now();
            trine::nursery(async |n| {
                for number in 0..3 {
                    let theirs = &theirs;
                    n.start_soon(async move {
                        theirs.lock().unwrap().push(number);
                        Ok(trine::sleep(Duration::from_secs(60)).await?)
                    });
                }
                Ok(())
            })
            .await
            .map(|()| trine::now() - start)
        });
        assert_eq!(took.unwrap().unwrap(), Duration::from_secs(60), "{host:?}");
        assert_eq!(*seen.lock().unwrap(), [2, 1, 0], "{host:?}");
    }
}

#[test]
fn deadlock_and_panic_are_told() {
    suite::keep_panics();
    for host in host::all() {
        let builder = Builder::new().clock(MockClock::new().autojump());
        let ended = host.run(builder, async { trine::sleep_forever().await });
        assert!(matches!(ended, Err(HostError::Deadlock(tree)) if tree.contains("sleep_forever")), "{host:?}");
        let ended = host.run::<()>(Builder::new(), async { panic!("on purpose") });
        assert_eq!(ended, Err(HostError::Panicked("on purpose".to_owned())), "{host:?}");
    }
}

#[test]
fn names_find_rows() {
    assert_eq!(host::named("all").len(), host::all().len());
    assert_eq!(host::named("native").len(), 1);
    assert!(host::named("nativ").is_empty());
    #[cfg(feature = "tokio")]
    assert_eq!(host::named("tokio").len(), 3);
}

#[cfg(feature = "tokio")]
#[test]
fn future_on_the_multi_thread_runtime_changes_threads() {
    let host = host::named("tokio-multi-thread").remove(0);
    let threads = host.run(Builder::new(), async {
        let mut threads = std::collections::HashSet::new();
        trine::nursery(async |n| {
            let sleeper = n.spawn(async { Ok(trine::sleep(Duration::from_millis(1)).await?) });
            for _ in 0..5 {
                threads.insert(std::thread::current().id());
                trine::sleep(Duration::from_millis(1)).await?;
            }
            Ok(sleeper.await?)
        })
        .await?;
        Ok::<_, trine::Error>(threads.len())
    });
    assert!(threads.unwrap().unwrap() > 1);
}

/// Runs a future as the cases of the laws do.
#[cfg(feature = "tokio")]
fn as_a_law_case<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    make: impl Fn() -> F + Clone + Send + 'static,
) -> T {
    let mut out = None;
    let host = host::named("tokio-multi-thread").remove(0);
    host.with_subject(&mut |subject| {
        let make = make.clone();
        out = Some(subject.drive(move |_| make()));
    });
    out.expect("there is a backend")
}

#[cfg(feature = "tokio")]
#[test]
fn law_case_on_the_multi_thread_runtime_is_a_task_that_changes_threads() {
    let here = std::thread::current().id();
    let seen = as_a_law_case(|| async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push((tokio::task::try_id(), std::thread::current().id()));
            tokio::task::yield_now().await;
        }
        seen
    });
    assert!(seen.iter().all(|(task, thread)| task.is_some() && task == &seen[0].0 && *thread != here), "{seen:?}");
    assert!(seen.iter().any(|(_, thread)| *thread != seen[0].1), "{seen:?}");
}

#[cfg(feature = "tokio")]
#[test]
fn law_case_that_is_ready_at_once_has_changed_threads_too() {
    let (made, polled) = as_a_law_case(|| {
        let made = std::thread::current().id();
        async move { (made, std::thread::current().id()) }
    });
    assert_ne!(made, polled);
}

#[cfg(feature = "tokio")]
#[test]
fn panic_of_a_law_case_leaves_the_multi_thread_runtime() {
    suite::keep_panics();
    let panicked = std::panic::catch_unwind(|| as_a_law_case(|| async { panic!("on purpose") }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<String>().map(String::as_str), Some("on purpose"));
}
