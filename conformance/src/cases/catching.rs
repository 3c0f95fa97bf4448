//! Cancel scopes at their exit: which of several catches, and what it leaves of an error.

use super::cancel_tools::{Live, Log, after, checkpoint, forever, leaves};
use crate::case::{Case, on_host, portable, skip};
use crate::host::Host;
use std::sync::{Arc, Mutex};
use trine::testing::wait_all_tasks_blocked;
use trine::{Builder, CancelScope, Error, Result, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        outermost_catches_when_it_was_cancelled_last,
        "catch.outermost",
        "trio test_run.py::test_cancel_scope_nesting, divergence 4"
    ),
    portable!(
        outermost_catches_when_it_was_cancelled_first,
        "catch.outermost",
        "trio test_run.py::test_cancel_scope_nesting, divergence 4"
    ),
    portable!(inner_catches_its_own, "catch.inner", "divergence 4"),
    portable!(state_at_exit_decides, "catch.state-at-exit", "design 4.3"),
    portable!(
        shield_raised_while_unwinding_does_not_catch,
        "catch.shield",
        "trio test_run.py::test_unshield_while_cancel_propagating"
    ),
    portable!(shield_and_cancel_while_unwinding_catch, "catch.shield", "design 4.3, divergence 4"),
    portable!(kept_cancelled_is_caught_by_any_cancelled_scope, "catch.any", "design 4.3"),
    portable!(kept_cancelled_passes_a_scope_that_is_not_cancelled, "catch.any", "design 4.3"),
    portable!(
        group_loses_its_cancelled,
        "catch.group",
        "trio test_run.py::test_cancel_scope_exceptiongroup_filtering, divergence 4"
    ),
    portable!(
        inner_nursery_leaves_to_the_outer_scope,
        "catch.group",
        "trio test_run.py::test_cancel_scope_exceptiongroup_filtering"
    ),
    portable!(
        group_without_cancelled_passes_untouched,
        "catch.group",
        "trio test_run.py::test_cancel_scope_no_cancellederror"
    ),
    portable!(group_of_cancelled_alone_is_none, "catch.group", "divergence 4"),
    portable!(
        nothing_is_kept_of_a_caught_error,
        "catch.garbage",
        "trio test_run.py::test_cancel_scope_exit_doesnt_create_cyclic_garbage"
    ),
    portable!(
        nothing_is_kept_of_a_cancelled_nursery,
        "catch.garbage",
        "trio test_run.py::test_nursery_cancel_doesnt_create_cyclic_garbage"
    ),
    portable!(
        nothing_is_kept_of_a_scope_with_an_error,
        "catch.garbage",
        "trio test_run.py::test_simple_cancel_scope_usage_doesnt_create_cyclic_garbage"
    ),
    on_host!(
        thousands_of_nested_scopes_are_cancelled,
        "catch.deep",
        "trio test_run.py::test_very_deep_cancel_scope_nesting"
    ),
];

async fn outermost_catches_when_it_was_cancelled_last() -> Result<()> {
    which_catches(|outer, inner| {
        inner.cancel();
        outer.cancel();
    })
    .await
}

async fn outermost_catches_when_it_was_cancelled_first() -> Result<()> {
    which_catches(|outer, inner| {
        outer.cancel();
        inner.cancel();
    })
    .await
}

async fn which_catches(cancel: fn(&CancelScope, &CancelScope)) -> Result<()> {
    let (outer, inner, log) = (CancelScope::new(), CancelScope::new(), Log::default());
    let outcome = outer
        .run(async {
            let inside = inner
                .run(async {
                    cancel(&outer, &inner);
                    checkpoint().await
                })
                .await;
            log.add(if inside.is_err() { "left by an error" } else { "caught inside" });
            inside
        })
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["left by an error"]));
    assert!(outer.cancelled_caught() && !inner.cancelled_caught());
    Ok(())
}

async fn inner_catches_its_own() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let outcome = outer
        .run(async {
            inner.cancel();
            assert_eq!(inner.run(checkpoint()).await?, None);
            trine::checkpoint().await?;
            Ok(1)
        })
        .await?;
    assert_eq!(outcome, Some(1));
    assert!(inner.cancelled_caught() && !outer.cancel_called());
    Ok(())
}

async fn state_at_exit_decides() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let outcome = outer
        .run(async {
            inner
                .run(async {
                    inner.cancel();
                    let told = checkpoint().await;
                    // Only now; the error in hand is older.
                    outer.cancel();
                    told
                })
                .await
        })
        .await?;
    assert_eq!(outcome, None);
    assert!(outer.cancelled_caught() && !inner.cancelled_caught());
    Ok(())
}

async fn shield_raised_while_unwinding_does_not_catch() -> Result<()> {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let outcome = outer
        .run(async {
            inner
                .run(async {
                    outer.cancel();
                    let told = checkpoint().await;
                    inner.set_shield(true);
                    trine::checkpoint().await.expect("it is shielded");
                    told
                })
                .await
        })
        .await?;
    assert_eq!(outcome, None);
    assert!(outer.cancelled_caught() && !inner.cancelled_caught());
    Ok(())
}

async fn shield_and_cancel_while_unwinding_catch() -> Result<()> {
    let (outer, inner, log) = (CancelScope::new(), CancelScope::new(), Log::default());
    let outcome = outer
        .run(async {
            let inside = inner
                .run(async {
                    outer.cancel();
                    let told = checkpoint().await;
                    inner.set_shield(true);
                    inner.cancel();
                    told
                })
                .await;
            assert_eq!(inside?, None);
            log.add("runs on");
            checkpoint().await
        })
        .await?;
    assert_eq!((outcome, log.take()), (None, vec!["runs on"]));
    assert!(outer.cancelled_caught() && inner.cancelled_caught());
    Ok(())
}

/// A `Cancelled` to play with.
async fn keep_a_cancelled() -> Result<trine::Cancelled> {
    let scope = CancelScope::new();
    scope.cancel();
    let kept = scope.run(async { Ok(trine::checkpoint().await.expect_err("cancelled")) }).await?;
    Ok(kept.expect("nothing left the scope"))
}

async fn kept_cancelled_is_caught_by_any_cancelled_scope() -> Result<()> {
    let kept = keep_a_cancelled().await?;
    let scope = CancelScope::new();
    scope.cancel();
    assert_eq!(scope.run(async { Err::<(), _>(kept.into()) }).await?, None);
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn kept_cancelled_passes_a_scope_that_is_not_cancelled() -> Result<()> {
    let kept = keep_a_cancelled().await?;
    let scope = CancelScope::new();
    let error = scope.run(async { Err::<(), Error>(kept.into()) }).await.expect_err("it passes");
    assert!(error.is_cancelled() && !scope.cancelled_caught());
    Ok(())
}

async fn group_loses_its_cancelled() -> Result<()> {
    let scope = CancelScope::new();
    let error = scope
        .run(nursery(async |n| {
            n.start_soon(forever());
            n.start_soon(async {
                let _ = forever().await;
                Err(Error::msg("key"))
            });
            wait_all_tasks_blocked().await?;
            scope.cancel();
            forever().await
        }))
        .await
        .expect_err("one error is real");
    assert!(error.is_group() && !error.has_cancelled());
    assert_eq!(leaves(&error), ["key"]);
    assert!(scope.cancelled_caught());
    Ok(())
}

async fn inner_nursery_leaves_to_the_outer_scope() -> Result<()> {
    let (scope, seen) = (CancelScope::new(), Mutex::new(None));
    let error = scope
        .run(async {
            let result = nursery(async |n| {
                n.start_soon(forever());
                n.start_soon(async {
                    wait_all_tasks_blocked().await?;
                    scope.cancel();
                    Err(Error::msg("key"))
                });
                Ok(())
            })
            .await;
            *seen.lock().unwrap() = result.as_ref().err().map(|e| (e.has_cancelled(), e.leaves().count()));
            result
        })
        .await
        .expect_err("one error is real");
    assert_eq!(seen.into_inner().unwrap(), Some((true, 2)));
    assert!(error.is_group());
    assert_eq!(leaves(&error), ["key"]);
    Ok(())
}

async fn group_without_cancelled_passes_untouched() -> Result<()> {
    let scope = CancelScope::new();
    let error = scope
        .run(async {
            scope.cancel();
            let inner = Error::group([Error::msg("a")]).expect("a group");
            Err::<(), _>(Error::group([inner, Error::msg("b")]).expect("a group"))
        })
        .await
        .expect_err("nothing to catch");
    assert_eq!((error.errors().len(), leaves(&error)), (2, vec!["a".to_owned(), "b".to_owned()]));
    assert!(scope.cancel_called() && !scope.cancelled_caught());
    Ok(())
}

async fn group_of_cancelled_alone_is_none() -> Result<()> {
    let scope = CancelScope::new();
    let outcome = scope
        .run(nursery(async |n| {
            for _ in 0..3 {
                n.start_soon(nursery(async |inner| {
                    inner.start_soon(forever());
                    forever().await
                }));
            }
            wait_all_tasks_blocked().await?;
            scope.cancel();
            forever().await
        }))
        .await?;
    assert_eq!(outcome, None);
    Ok(())
}

#[derive(Debug)]
struct Holds(#[expect(dead_code, reason = "only counted")] Arc<()>);

impl std::fmt::Display for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("holds something")
    }
}

impl std::error::Error for Holds {}

async fn nothing_is_kept_of_a_caught_error() -> Result<()> {
    let (token, scope) = (Arc::new(()), CancelScope::new());
    let held = Arc::clone(&token);
    let error = scope
        .run(nursery(async |n| {
            n.start_soon(forever());
            scope.cancel();
            Err::<(), _>(Holds(held).into())
        }))
        .await
        .expect_err("one error is real");
    assert_eq!(Arc::strong_count(&token), 2);
    drop(error);
    assert_eq!(Arc::strong_count(&token), 1);
    Ok(())
}

async fn nothing_is_kept_of_a_cancelled_nursery() -> Result<()> {
    let (live, scope) = (Live::default(), CancelScope::new());
    scope
        .nursery(async |n| {
            for _ in 0..5 {
                let guard = live.guard();
                n.start_soon(async move {
                    let _guard = guard;
                    forever().await
                });
            }
            wait_all_tasks_blocked().await?;
            scope.cancel();
            Ok(())
        })
        .await?;
    assert_eq!((live.count(), trine::inspect::statistics().tasks), (0, 1));
    Ok(())
}

async fn nothing_is_kept_of_a_scope_with_an_error() -> Result<()> {
    let token = Arc::new(());
    for cancel in [false, true] {
        let (held, inside) = (Arc::clone(&token), Arc::clone(&token));
        let scope = CancelScope::after(std::time::Duration::from_secs(9));
        let result = scope
            .run(async {
                let _inside = inside;
                if cancel {
                    scope.cancel();
                    trine::checkpoint().await?;
                }
                after(1).await?;
                Err::<(), Error>(Holds(held).into())
            })
            .await;
        assert_eq!(result.is_ok(), cancel);
        drop(result);
        assert_eq!(Arc::strong_count(&token), 1);
    }
    assert_eq!(trine::inspect::statistics().timers, 0);
    Ok(())
}

/// The cancel goes down without recursion. Polls are nested calls here, so the thread needs a large stack.
fn thousands_of_nested_scopes_are_cancelled(host: &dyn Host) -> Result<()> {
    const DEPTH: usize = 5000;
    if !host.stays() {
        return Err(skip("polls on threads whose stacks it chose"));
    }
    let run = || {
        host.run(Builder::new(), async {
            let scope = CancelScope::new();
            let mut nested: std::pin::Pin<Box<dyn Future<Output = Result<usize>> + Send>> = {
                let scope = scope.clone();
                Box::pin(async move {
                    scope.cancel();
                    checkpoint().await.map(|()| 0)
                })
            };
            for _ in 0..DEPTH {
                nested = Box::pin(async move {
                    let result = CancelScope::new().run(nested).await?;
                    Ok(result.map_or(0, |n| n + 1))
                });
            }
            scope.run(nested).await
        })
    };
    let outcome = std::thread::scope(|s| {
        let thread = std::thread::Builder::new().stack_size(1 << 30).spawn_scoped(s, run);
        thread.expect("a thread").join().expect("no panic")
    });
    assert_eq!(outcome??, None);
    Ok(())
}
