//! Task locals: bound for the extent of a future, inherited at the spawn.

use super::nursery_tools::{Guard, Live, Log, after, forever, yield_once};
use crate::case::{Case, portable};
use trine::{Result, checkpoint, move_on_after, nursery, race, task_local};

pub(super) const CASES: &[Case] = &[
    portable!(
        children_inherit_from_their_spawner,
        "local.inherit",
        "trio test_run.py::test_contextvar_multitask, trio test_contextvars.py::test_contextvars_default"
    ),
    portable!(
        what_a_child_binds_is_its_own,
        "local.own",
        "trio test_run.py::test_contextvar_multitask, trio test_contextvars.py::test_contextvars_set"
    ),
    portable!(binding_ends_with_its_future, "local.extent", "trio test_run.py::test_contextvar_support"),
    portable!(inner_binding_shadows, "local.shadow", "design 3"),
    portable!(child_keeps_the_values_of_its_spawn, "local.captured", "design 3"),
    portable!(started_child_inherits_from_the_caller, "local.start", "design 3"),
    portable!(bindings_of_siblings_do_not_meet, "local.interleave", "trio test_run.py::test_contextvar_multitask"),
    portable!(unset_local_says_so, "local.unset", "design 3"),
    portable!(value_lives_as_long_as_who_inherited_it, "local.lifetime", "design 3"),
    portable!(value_is_dropped_when_its_future_is, "local.lifetime", "design 3"),
    portable!(branches_and_scopes_see_what_is_around, "local.through", "design 3"),
];

task_local! {
    static REQUEST: u32;
    static USER: String;
    static HELD: Guard;
}

#[expect(clippy::async_yields_async, reason = "the handle is awaited elsewhere")]
async fn children_inherit_from_their_spawner() -> Result<()> {
    nursery(async |n| {
        let child = REQUEST.scope(1, async {
            n.spawn(async {
                checkpoint().await?;
                let grandchild = n.spawn(async { Ok(REQUEST.get()) });
                Ok((REQUEST.get(), grandchild.await?))
            })
        });
        let child = child.await;
        // Not from the one that awaits it, nor from the nursery's task.
        assert_eq!(REQUEST.scope(2, child).await?, (1, 1));
        Ok(())
    })
    .await
}

async fn what_a_child_binds_is_its_own() -> Result<()> {
    REQUEST
        .scope(
            1,
            nursery(async |n| {
                n.start_soon(REQUEST.scope(2, async {
                    after(1, ()).await?;
                    assert_eq!(REQUEST.get(), 2);
                    after(2, ()).await
                }));
                after(2, ()).await?;
                assert_eq!(REQUEST.get(), 1);
                let sibling = n.spawn(async { Ok(REQUEST.get()) });
                assert_eq!(sibling.await?, 1);
                Ok(())
            }),
        )
        .await
}

async fn binding_ends_with_its_future() -> Result<()> {
    let value = REQUEST
        .scope(1, async {
            yield_once().await;
            REQUEST.get()
        })
        .await;
    assert_eq!(value, 1);
    assert!(REQUEST.try_with(|_| ()).is_err());
    // Also while the future is pending, outside of it.
    let mut pending = Box::pin(REQUEST.scope(2, yield_once()));
    assert!(super::nursery_tools::poll_here(&mut pending).await.is_pending());
    assert!(REQUEST.try_with(|_| ()).is_err());
    pending.await;
    Ok(())
}

async fn inner_binding_shadows() -> Result<()> {
    let seen = REQUEST
        .scope(1, async {
            let inner = REQUEST.scope(2, async {
                yield_once().await;
                (REQUEST.get(), USER.scope("ann".to_owned(), async { (REQUEST.get(), USER.get()) }).await)
            });
            (inner.await, REQUEST.get())
        })
        .await;
    assert_eq!(seen, ((2, (2, "ann".to_owned())), 1));
    Ok(())
}

/// Not those of its first poll.
#[expect(clippy::async_yields_async, reason = "the handle is awaited elsewhere")]
async fn child_keeps_the_values_of_its_spawn() -> Result<()> {
    nursery(async |n| {
        let mut children = Vec::new();
        for i in 0..5 {
            let spawn = async { n.spawn(async { Ok((REQUEST.get(), after(1, REQUEST.get()).await?)) }) };
            children.push(REQUEST.scope(i, spawn).await);
        }
        for (i, child) in (0..).zip(children) {
            let (first, later) = child.await?;
            assert_eq!((first, later), (i, i));
        }
        Ok(())
    })
    .await
}

async fn started_child_inherits_from_the_caller() -> Result<()> {
    let log = Log::new();
    nursery(async |n| {
        let call = n.start(async |status| {
            let before = REQUEST.get();
            status.started(before);
            checkpoint().await?;
            log.add(format!("{before} {}", REQUEST.get()));
            Ok(())
        });
        assert_eq!(REQUEST.scope(4, call).await?, 4);
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), ["4 4"]);
    Ok(())
}

async fn bindings_of_siblings_do_not_meet() -> Result<()> {
    nursery(async |n| {
        for i in 0..10 {
            n.start_soon(REQUEST.scope(i, async move {
                for _ in 0..10 {
                    checkpoint().await?;
                    assert_eq!(REQUEST.get(), i);
                }
                Ok(())
            }));
        }
        Ok(())
    })
    .await
}

async fn unset_local_says_so() -> Result<()> {
    assert!(REQUEST.try_with(|_| ()).is_err());
    nursery(async |n| {
        let unset = n.spawn(async { Ok(USER.try_with(|_| ()).is_err()) });
        assert!(unset.await?);
        Ok(())
    })
    .await?;
    let text = super::nursery_tools::panic_of(async { REQUEST.get() }).await;
    assert!(!text.is_empty());
    // What was not set is set later.
    assert_eq!(REQUEST.scope(3, async { REQUEST.with(|value| *value + 1) }).await, 4);
    Ok(())
}

async fn value_lives_as_long_as_who_inherited_it() -> Result<()> {
    let live = Live::new();
    nursery(async |n| {
        HELD.scope(live.guard(), async { n.start_soon(after(1, ())) }).await;
        checkpoint().await?;
        assert_eq!(live.count(), 1);
        after(2, ()).await?;
        assert_eq!(live.count(), 0);
        Ok(())
    })
    .await
}

async fn value_is_dropped_when_its_future_is() -> Result<()> {
    let live = Live::new();
    let mut bound = Box::pin(HELD.scope(
        live.guard(),
        nursery(async |n| {
            n.start_soon(forever());
            forever().await
        }),
    ));
    assert!(super::nursery_tools::poll_here(&mut bound).await.is_pending());
    assert_eq!(live.count(), 1);
    drop(bound);
    assert_eq!(live.count(), 0);
    Ok(())
}

async fn branches_and_scopes_see_what_is_around() -> Result<()> {
    REQUEST
        .scope(5, async {
            let inner = nursery(async |_| {
                race(async { Ok(REQUEST.get()) }, forever()).await?;
                move_on_after(super::nursery_tools::SECOND, async { Ok(REQUEST.get()) }).await
            });
            assert_eq!(inner.await?, Some(5));
            Ok(())
        })
        .await
}
