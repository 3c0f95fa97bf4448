//! Panics: a panic of any part of a tree cancels the rest, waits for it, and goes on.

use super::nursery_tools::{Live, Log, OnDrop, Oops, after, cleans_up, fails_after, forever, panic_of, poll_here};
use crate::case::{Case, on_host, portable};
use crate::host::{Host, HostError};
use std::sync::{Arc, Mutex};
use trine::inspect::{Instrument, TaskInfo};
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{Builder, CancelScope, Error, Result, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(panic_of_a_child_goes_on_after_its_siblings, "panic.child", "design 3, divergence 14"),
    portable!(panic_of_the_body_goes_on_after_the_children, "panic.body", "design 3"),
    portable!(panic_in_the_first_poll_of_the_body_goes_on, "panic.body", "design 3"),
    portable!(panic_passes_through_nurseries, "panic.nested", "design 3"),
    portable!(first_of_several_goes_on, "panic.first", "design 3"),
    portable!(panic_beats_errors, "panic.beats-errors", "design 3"),
    portable!(panic_payload_is_kept, "panic.payload", "design 3"),
    portable!(panic_while_cleaning_up_goes_on, "panic.clean-up", "design 3"),
    portable!(destructor_that_panics_is_the_child_s_panic, "panic.destructor", "design 3"),
    portable!(destructor_that_panics_after_an_error_wins, "panic.destructor", "design 3"),
    portable!(destructor_that_panics_while_the_tree_is_dropped_drops_the_rest, "panic.in-drop", "design 3"),
    portable!(destructor_that_panics_in_a_cut_branch_goes_on, "panic.in-drop", "design 3"),
    portable!(panic_leaves_the_scopes_around_as_they_were, "panic.scopes", "design 4"),
    portable!(panic_in_a_scope_ends_it, "panic.scopes", "design 4"),
    on_host!(later_panics_reach_the_instrument, "panic.instrument", "design 3"),
    on_host!(panic_leaves_a_host_that_can_be_used_again, "panic.host", "divergence 14"),
];

async fn panics_after(seconds: u32, text: &'static str) -> Result<()> {
    after(seconds, ()).await?;
    panic!("{text}");
}

async fn panic_of_a_child_goes_on_after_its_siblings() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.start_soon(panics_after(1, "child"));
        cleans_up(&log).await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("child", 2));
    Ok(())
}

async fn panic_of_the_body_goes_on_after_the_children() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.start_soon(cleans_up(&log));
        panics_after(1, "body").await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("body", 2));
    Ok(())
}

/// A child that it has spawned runs to its first checkpoint, as ever.
async fn panic_in_the_first_poll_of_the_body_goes_on() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| -> Result<()> {
        n.start_soon(async {
            log.add("ran");
            checkpoint().await?;
            log.add("went on");
            Ok(())
        });
        panic!("at once");
    }))
    .await;
    assert_eq!((text.as_str(), log.take().join(" ").as_str()), ("at once", "ran"));
    Ok(())
}

async fn panic_passes_through_nurseries() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |outer| {
        outer.start_soon(cleans_up(&log));
        nursery(async |middle| {
            middle.start_soon(cleans_up(&log));
            middle.start_soon(nursery(async |inner| {
                inner.start_soon(cleans_up(&log));
                inner.start_soon(panics_after(1, "deep"));
                Ok(())
            }));
            Ok(())
        })
        .await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("deep", 3));
    Ok(())
}

async fn first_of_several_goes_on() -> Result<()> {
    let text = panic_of(nursery(async |n| {
        n.start_soon(panics_after(1, "first"));
        n.start_soon(async {
            let _ = trine::sleep_forever().await;
            panic!("child");
        });
        let _ = trine::sleep_forever().await;
        if trine::checkpoint_if_cancelled().is_err() {
            panic!("body");
        }
        Ok(())
    }))
    .await;
    assert_eq!(text, "first");
    Ok(())
}

/// Those before it and those after.
async fn panic_beats_errors() -> Result<()> {
    let text = panic_of(nursery(async |n| {
        n.start_soon(fails_after(1, 1));
        n.start_soon(async {
            let _ = trine::sleep_forever().await;
            panic!("beside");
        });
        cleans_up(&Log::new()).await.map_err(|_| Oops(2))?;
        Ok(())
    }))
    .await;
    assert_eq!(text, "beside");
    Ok(())
}

async fn panic_payload_is_kept() -> Result<()> {
    use futures_util::FutureExt;
    let failing = nursery(async |n| {
        n.start_soon(nursery(async |inner| {
            inner.start_soon(async {
                checkpoint().await?;
                std::panic::panic_any(Oops(7));
            });
            Ok(())
        }));
        Ok(())
    });
    let payload = std::panic::AssertUnwindSafe(failing).catch_unwind().await.expect_err("a panic");
    assert_eq!(payload.downcast_ref::<Oops>(), Some(&Oops(7)));
    Ok(())
}

/// Of a child that was only stopped.
async fn panic_while_cleaning_up_goes_on() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.task("stopped").start_soon(async {
            let _ = trine::sleep_forever().await;
            trine::shielded(panics_after(1, "clean-up")).await
        });
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        forever().await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("clean-up", 1));
    Ok(())
}

async fn destructor_that_panics_is_the_child_s_panic() -> Result<()> {
    let log = Log::new();
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        let bomb = OnDrop(|| panic!("destructor"));
        n.start_soon(async move {
            let _bomb = bomb;
            after(1, ()).await
        });
        Ok(())
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("destructor", 1));
    Ok(())
}

async fn destructor_that_panics_after_an_error_wins() -> Result<()> {
    let text = panic_of(nursery(async |n| {
        let bomb = OnDrop(|| panic!("destructor"));
        n.start_soon(async move {
            let _bomb = bomb;
            fails_after(1, 1).await
        });
        Ok(())
    }))
    .await;
    assert_eq!(text, "destructor");
    Ok(())
}

async fn destructor_that_panics_while_the_tree_is_dropped_drops_the_rest() -> Result<()> {
    let live = Live::new();
    let mut tree = Box::pin(nursery(async |n| {
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
    assert!(poll_here(&mut tree).await.is_pending());
    assert_eq!(live.count(), 4);
    let text = panic_of(async move { drop(tree) }).await;
    assert_eq!((text.as_str(), live.count()), ("bomb", 0));
    // The run goes on.
    after(1, ()).await
}

/// The scope drops what is foreign in it.
async fn destructor_that_panics_in_a_cut_branch_goes_on() -> Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    let text = panic_of(nursery(async |n| {
        n.start_soon(cleans_up(&log));
        n.start_soon(async {
            let foreign = async {
                let _bomb = OnDrop(|| panic!("cut"));
                std::future::pending::<Result<()>>().await
            };
            scope.run(foreign).await.map(drop)
        });
        wait_all_tasks_blocked().await?;
        scope.cancel();
        forever().await
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("cut", 1));
    Ok(())
}

async fn panic_leaves_the_scopes_around_as_they_were() -> Result<()> {
    let scope = CancelScope::new();
    let value = scope
        .run(async {
            let text = panic_of(nursery(async |n| {
                n.start_soon(panics_after(1, "caught"));
                forever().await
            }))
            .await;
            checkpoint().await?;
            Ok(text)
        })
        .await?;
    assert_eq!((value.as_deref(), scope.cancel_called()), (Some("caught"), false));
    assert_eq!(trine::current_effective_deadline(), trine::EffectiveDeadline::Never);
    Ok(())
}

async fn panic_in_a_scope_ends_it() -> Result<()> {
    let scope = CancelScope::after(super::nursery_tools::SECOND * 2);
    assert_eq!(panic_of(scope.run(panics_after(1, "in a scope"))).await, "in a scope");
    // Its deadline is nobody's any more.
    after(5, ()).await?;
    assert!(!scope.cancelled_caught());
    Ok(())
}

struct Exits(Arc<Mutex<Vec<String>>>);

impl Instrument for Exits {
    fn task_exited(&self, task: &TaskInfo) {
        self.0.lock().unwrap().push(task.name.as_deref().unwrap_or("").to_owned());
    }
}

/// Once for the task's end, and once more for the panic that nobody else is told of.
fn later_panics_reach_the_instrument(host: &dyn Host) -> Result<()> {
    let exits = Arc::new(Mutex::new(Vec::new()));
    let builder = Builder::new().clock(MockClock::new().autojump()).instrument(Exits(Arc::clone(&exits)));
    let ended = host.run(
        builder,
        nursery(async |n| {
            n.task("first").start_soon(panics_after(1, "first"));
            n.task("late").start_soon(async {
                let _ = trine::sleep_forever().await;
                panic!("late");
            });
            n.task("quiet").start_soon(forever());
            Ok(())
        }),
    );
    assert!(matches!(ended, Err(HostError::Panicked(text)) if text == "first"));
    let exits = exits.lock().unwrap();
    let told = |name: &str| exits.iter().filter(|exit| *exit == name).count();
    assert_eq!((told("first"), told("late"), told("quiet")), (1, 2, 1));
    Ok(())
}

fn panic_leaves_a_host_that_can_be_used_again(host: &dyn Host) -> Result<()> {
    for _ in 0..3 {
        let ended: std::result::Result<Result<()>, _> = host.run(
            Builder::new().clock(MockClock::new().autojump()),
            nursery(async |n| {
                n.start_soon(forever());
                n.start_soon(panics_after(1, "inside"));
                Ok(())
            }),
        );
        assert!(matches!(ended, Err(HostError::Panicked(text)) if text == "inside"));
        let sum = nursery(async |n| Ok(n.spawn(async { Ok(3) }).await? + 4));
        assert_eq!(host.run(Builder::new(), sum)??, 7);
    }
    Ok::<_, Error>(())
}
