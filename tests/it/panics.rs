//! A panic of any part of a tree cancels the rest, waits for it, and then goes on.

use crate::support::{CountWakes, Log, OnDrop, Oops, panic_text, waker_that_panics};
use std::future::Future;
use std::sync::Mutex as StdMutex;
use std::task::{Context, Waker};
use std::time::Duration;
use trine::inspect::{Instrument, TaskInfo};
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{Error, Result};

/// A sibling whose shielded clean-up takes a while.
async fn cleans_up(log: &Log) -> Result<()> {
    let result = trine::sleep_forever().await;
    trine::shielded(async { Ok(trine::sleep(Duration::from_secs(3)).await?) }).await?;
    log.add("cleaned up");
    result?;
    Ok(())
}

#[test]
fn a_panic_of_a_child_goes_on_after_its_siblings_have_cleaned_up() {
    let log = Log::new();
    let text = panic_text(|| {
        run(trine::nursery(async |n| {
            n.start_soon(cleans_up(&log));
            n.start_soon(async {
                trine::checkpoint().await?;
                panic!("child");
            });
            cleans_up(&log).await
        }))
        .unwrap();
    });
    assert_eq!((text.as_str(), log.take()), ("child", vec!["cleaned up", "cleaned up"]));
}

#[test]
fn a_panic_of_the_body_goes_on_after_the_children_have_cleaned_up() {
    let log = Log::new();
    let text = panic_text(|| {
        let result: Result<()> = run(trine::nursery(async |n| {
            n.start_soon(cleans_up(&log));
            trine::checkpoint().await?;
            trine::checkpoint().await?;
            panic!("body");
        }));
        drop(result);
    });
    assert_eq!((text.as_str(), log.take()), ("body", vec!["cleaned up"]));
}

#[test]
fn a_panic_in_the_first_poll_of_the_body_goes_on() {
    let text = panic_text(|| {
        let result: Result<()> = run(trine::nursery(async |_| panic!("at once")));
        drop(result);
    });
    assert_eq!(text, "at once");
}

#[test]
fn a_panic_passes_through_all_nurseries_around() {
    let log = Log::new();
    let text = panic_text(|| {
        run(trine::nursery(async |outer| {
            outer.start_soon(cleans_up(&log));
            trine::nursery(async |middle| {
                middle.start_soon(cleans_up(&log));
                middle.start_soon(trine::nursery(async |inner| {
                    inner.start_soon(async {
                        trine::checkpoint().await?;
                        panic!("deep");
                    });
                    Ok(())
                }));
                Ok(())
            })
            .await
        }))
        .unwrap();
    });
    assert_eq!((text.as_str(), log.take()), ("deep", vec!["cleaned up", "cleaned up"]));
}

struct Exits(std::sync::Arc<StdMutex<Vec<Option<String>>>>);

impl Instrument for Exits {
    fn task_exited(&self, task: &TaskInfo) {
        self.0.lock().unwrap().push(task.name.as_deref().map(str::to_owned));
    }
}

#[test]
fn of_several_panics_the_first_goes_on_and_the_others_reach_the_instrument() {
    let exits = std::sync::Arc::new(StdMutex::new(Vec::new()));
    let text = panic_text(|| {
        trine::Builder::new()
            .instrument(Exits(exits.clone()))
            .run(trine::nursery(async |n| {
                n.task("first").start_soon(async { panic!("first") });
                n.task("second").start_soon(async { panic!("second") });
                n.task("late").start_soon(async {
                    let _ = trine::sleep_forever().await;
                    panic!("late");
                });
                Ok(())
            }))
            .unwrap();
    });
    assert_eq!(text, "first");
    let exits = exits.lock().unwrap();
    for name in ["second", "late"] {
        let told = exits.iter().filter(|e| e.as_deref() == Some(name)).count();
        assert!(told >= 2, "{name}: told {told} times, once for its end and once for its panic");
    }
}

#[test]
fn a_panic_beats_errors_beside_it() {
    let text = panic_text(|| {
        run(trine::nursery(async |n| {
            n.start_soon(async { Err(Oops(1).into()) });
            n.start_soon(async {
                let _ = trine::checkpoint().await;
                panic!("beside");
            });
            Ok(())
        }))
        .unwrap();
    });
    assert_eq!(text, "beside");
}

#[test]
fn a_panic_in_a_destructor_of_a_child_that_ends_is_a_panic_of_the_child() {
    let log = Log::new();
    let text = panic_text(|| {
        run(trine::nursery(async |n| {
            n.start_soon(cleans_up(&log));
            let guard = OnDrop(|| panic!("destructor"));
            n.start_soon(async move {
                let _guard = guard;
                trine::checkpoint().await?;
                Ok(())
            });
            Ok(())
        }))
        .unwrap();
    });
    assert_eq!((text.as_str(), log.take()), ("destructor", vec!["cleaned up"]));
}

#[test]
fn a_panic_in_a_captured_value_dropped_with_the_child_is_a_panic_of_the_child() {
    struct Bad<F>(F, #[expect(dead_code, reason = "dropped with the future")] OnDrop<fn()>);
    impl<F: Future + Unpin> Future for Bad<F> {
        type Output = F::Output;
        fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
            std::pin::Pin::new(&mut self.0).poll(cx)
        }
    }
    let log = Log::new();
    let text = panic_text(|| {
        run(trine::nursery(async |n| {
            n.start_soon(cleans_up(&log));
            let value = n.spawn(Bad(std::future::ready(Ok(1)), OnDrop(|| panic!("captured"))));
            // The value was there before the destructor ran.
            let _ = value.await;
            Ok(())
        }))
        .unwrap();
    });
    assert_eq!((text.as_str(), log.take()), ("captured", vec!["cleaned up"]));
}

#[test]
fn a_panic_in_a_destructor_while_the_tree_is_dropped_drops_the_rest_and_goes_on() {
    let live = crate::support::Live::new();
    let text = panic_text(|| {
        run(async {
            let live = &live;
            let mut nursery = Box::pin(trine::nursery(async move |n| {
                for i in 0..3 {
                    let (guard, bomb) = (live.guard(), OnDrop(move || assert!(i != 1, "bomb")));
                    n.start_soon(async move {
                        let (_guard, _bomb) = (guard, bomb);
                        std::future::pending().await
                    });
                }
                let _guard = live.guard();
                std::future::pending::<Result<()>>().await
            }));
            std::future::poll_fn(|cx| {
                assert!(nursery.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            assert_eq!(live.count(), 4);
            drop(nursery);
        });
    });
    assert_eq!((text.as_str(), live.count()), ("bomb", 0));
}

#[test]
fn a_panic_of_the_main_future_drops_what_it_held() {
    let live = crate::support::Live::new();
    let text = panic_text(|| {
        run(async {
            let mut nursery = Box::pin(trine::nursery(async |n| {
                let guard = live.guard();
                n.start_soon(async move {
                    let _guard = guard;
                    Ok(trine::sleep(Duration::from_secs(1)).await?)
                });
                Ok(())
            }));
            std::future::poll_fn(|cx| std::task::Poll::Ready(nursery.as_mut().poll(cx).is_pending())).await;
            panic!("main");
        });
    });
    assert_eq!((text.as_str(), live.count()), ("main", 0));
    // The thread is free for another run.
    assert_eq!(run(async { 1 }), 1);
}

#[test]
fn a_panic_that_is_caught_inside_a_child_leaves_the_context_as_it_was() {
    run(trine::nursery(async |n| {
        n.start_soon(async {
            let caught = std::panic::catch_unwind(|| {
                let mut inner = Box::pin(trine::move_on_after(Duration::from_secs(1), async {
                    if trine::checkpoint_if_cancelled().is_ok() {
                        panic!("inside a scope");
                    }
                    Ok(())
                }));
                let _ = crate::support::poll_once(inner.as_mut(), &crate::support::CountWakes::new());
            });
            assert!(caught.is_err());
            assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
            trine::checkpoint().await?;
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

#[test]
fn a_panicking_scope_body_ends_its_scope() {
    run(async {
        let scope = trine::CancelScope::after(Duration::from_secs(1));
        let fut = scope.run(async {
            trine::checkpoint().await?;
            if true {
                panic!("scope body");
            }
            Ok(())
        });
        let result = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(fut)).await;
        assert!(result.is_err());
        trine::sleep(Duration::from_secs(2)).await?;
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn a_panic_of_a_waker_keeps_nobody_from_hearing_that_all_others_wait() {
    let woken = CountWakes::new();
    let text = panic_text(|| {
        run(async {
            let mut watchers: Vec<_> = (0..3).map(|_| Box::pin(wait_all_tasks_blocked())).collect();
            for (watcher, panics) in watchers.iter_mut().zip([false, true, false]) {
                let waker = if panics { waker_that_panics() } else { Waker::from(woken.clone()) };
                assert!(watcher.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            trine::sleep_forever().await
        })
        .unwrap();
    });
    assert_eq!((text.as_str(), woken.count()), ("a waker panics", 2));
}
