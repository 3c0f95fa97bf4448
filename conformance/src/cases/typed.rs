//! Nurseries and scopes whose tasks fail with a type of their own.

use super::nursery_tools::{Log, Oops, SECOND};
use crate::case::{Case, portable};
use std::error::Error as StdError;
use std::{fmt, io};
use trine::testing::wait_all_tasks_blocked;
use trine::{
    CancelScope, Cancelled, JoinError, Nursery, StartError, TaskError, TaskStatus, TooSlow, checkpoint, shielded,
    sleep, sleep_forever, typed,
};

pub(super) const CASES: &[Case] = &[
    portable!(first_real_error_is_the_nursery_s, "typed.merge", "design 5"),
    portable!(value_comes_out, "typed.value", "design 5"),
    portable!(first_error_cancels_and_all_are_awaited, "typed.first-error-cancels", "design 3"),
    portable!(own_merge_sees_all_errors, "typed.merge", "design 5"),
    portable!(scope_catches_a_typed_cancellation, "typed.catch", "design 5"),
    portable!(scope_passes_a_typed_error_on, "typed.catch", "design 5"),
    portable!(nursery_in_a_scope_is_cut, "typed.in-scope", "design 3"),
    portable!(timeouts_fail_with_too_slow, "typed.timeouts", "design 4"),
    portable!(start_and_handle_convert_their_errors, "typed.start", "design 3"),
    portable!(io_errors_keep_the_rules, "typed.io", "divergence 14"),
    portable!(scope_strips_a_tree_in_an_io_error, "typed.io", "design 5"),
    portable!(cancelled_alone_is_an_error_type, "typed.cancelled", "design 5"),
    portable!(shield_keeps_the_type, "typed.shield", "design 4"),
];

type Result<T> = std::result::Result<T, Failure>;

/// An error as a program has it.
#[derive(Debug)]
enum Failure {
    Cancelled(Cancelled),
    Oops(Oops),
    TooSlow,
    Join,
    Start(StartError),
    Many(Vec<Failure>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }
}

impl From<Cancelled> for Failure {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<TooSlow> for Failure {
    fn from(_: TooSlow) -> Self {
        Self::TooSlow
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            _ => Self::Join,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl TaskError for Failure {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

/// The same, but all errors count.
#[derive(Debug)]
struct All(Failure);

impl From<Cancelled> for All {
    fn from(cancelled: Cancelled) -> Self {
        Self(cancelled.into())
    }
}

impl TaskError for All {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn has_cancelled(&self) -> bool {
        match &self.0 {
            Failure::Many(errors) => errors.iter().any(Failure::is_cancelled),
            other => other.is_cancelled(),
        }
    }

    fn merge(first: Self, rest: Vec<Self>) -> Self {
        Self(Failure::Many(std::iter::once(first).chain(rest).map(|error| error.0).collect()))
    }

    fn without_cancelled(self) -> Option<Self> {
        match self.0 {
            Failure::Many(mut errors) => {
                errors.retain(|error| !error.is_cancelled());
                (!errors.is_empty()).then_some(Self(Failure::Many(errors)))
            }
            other => (!other.is_cancelled()).then_some(Self(other)),
        }
    }
}

async fn fails(seconds: u32, number: u32) -> Result<()> {
    sleep(SECOND * seconds).await?;
    Err(Failure::Oops(Oops(number)))
}

async fn forever() -> Result<()> {
    match sleep_forever().await? {}
}

/// Not a group, and not the cancellation that came before it.
async fn first_real_error_is_the_nursery_s() -> trine::Result<()> {
    let error = typed::nursery::<Failure, ()>(async |n| {
        n.start_soon(forever());
        n.start_soon(fails(2, 2));
        n.start_soon(fails(1, 1));
        forever().await
    });
    assert!(matches!(error.await, Err(Failure::Oops(Oops(1)))));
    Ok(())
}

async fn value_comes_out() -> trine::Result<()> {
    let value = typed::nursery(async |n: &Nursery<'_, '_, Failure>| {
        let (a, b) = (n.spawn(async { Ok(1) }), n.spawn(async { Ok(2) }));
        Ok(a.await? + b.await?)
    });
    assert!(matches!(value.await, Ok(3)));
    Ok(())
}

async fn first_error_cancels_and_all_are_awaited() -> trine::Result<()> {
    let (log, begin) = (Log::new(), trine::now());
    let error = typed::nursery::<Failure, ()>(async |n| {
        n.start_soon(async {
            let result = forever().await;
            typed::shielded::<Failure, _, _>(async { Ok(sleep(SECOND * 3).await?) }).await?;
            log.add("cleaned up");
            result
        });
        fails(1, 1).await
    });
    assert!(matches!(error.await, Err(Failure::Oops(Oops(1)))));
    assert_eq!((log.take().len(), trine::now() - begin), (1, SECOND * 4));
    Ok(())
}

async fn own_merge_sees_all_errors() -> trine::Result<()> {
    let error = typed::nursery::<All, ()>(async |n| {
        n.start_soon(async {
            let _ = sleep_forever().await;
            Err(All(Failure::Oops(Oops(2))))
        });
        n.start_soon(async { match sleep_forever().await? {} });
        wait_all_tasks_blocked().await?;
        Err(All(Failure::Oops(Oops(1))))
    });
    let Err(All(Failure::Many(errors))) = error.await else { panic!("they are merged") };
    let numbers: Vec<_> = errors.iter().map(|error| matches!(error, Failure::Oops(_))).collect();
    assert_eq!(numbers, [true, true], "{errors:?}");
    Ok(())
}

async fn scope_catches_a_typed_cancellation() -> trine::Result<()> {
    assert!(matches!(typed::move_on_after(SECOND, forever()).await, Ok(None)));
    assert!(matches!(typed::move_on_at(trine::now() + SECOND, forever()).await, Ok(None)));
    let scope = CancelScope::new();
    scope.cancel();
    assert!(matches!(typed::run_in(&scope, forever()).await, Ok(None)));
    assert!(scope.cancelled_caught());
    assert!(matches!(typed::shielded_for(SECOND, forever()).await, Ok(None)));
    Ok(())
}

async fn scope_passes_a_typed_error_on() -> trine::Result<()> {
    let scope = CancelScope::after(SECOND);
    let failing = async {
        let _ = sleep_forever().await;
        Result::<()>::Err(Failure::Oops(Oops(4)))
    };
    assert!(matches!(typed::run_in(&scope, failing).await, Err(Failure::Oops(Oops(4)))));
    assert!(scope.cancel_called() && !scope.cancelled_caught());
    Ok(())
}

async fn nursery_in_a_scope_is_cut() -> trine::Result<()> {
    let (log, scope) = (Log::new(), CancelScope::new());
    let cut = typed::nursery_in::<Failure, ()>(&scope, async |n| {
        n.start_soon(async {
            let result = forever().await;
            log.add("child");
            result
        });
        wait_all_tasks_blocked().await?;
        scope.cancel();
        Ok(checkpoint().await?)
    });
    assert!(matches!(cut.await, Ok(None)));
    assert_eq!(log.take(), ["child"]);
    Ok(())
}

async fn timeouts_fail_with_too_slow() -> trine::Result<()> {
    assert!(matches!(typed::fail_after(SECOND, forever()).await, Err(Failure::TooSlow)));
    assert!(matches!(typed::fail_at(trine::now() + SECOND, forever()).await, Err(Failure::TooSlow)));
    assert!(matches!(typed::fail_after(SECOND * 2, fails(1, 1)).await, Err(Failure::Oops(Oops(1)))));
    Ok(())
}

async fn start_and_handle_convert_their_errors() -> trine::Result<()> {
    let result = typed::nursery::<Failure, ()>(async |n| {
        let never = n.start(async |_: TaskStatus| Ok(())).await;
        assert!(matches!(never, Err(Failure::Start(StartError::NeverStarted))));
        let failed = n.start(async |_: TaskStatus| fails(1, 1).await).await;
        assert!(matches!(failed, Err(Failure::Oops(Oops(1)))));
        let value = n
            .start(async |status| {
                status.started(3);
                forever().await
            })
            .await?;
        let child = n.spawn(forever());
        n.cancel_children();
        let lost: Result<()> = async { Ok(child.await?) }.await;
        assert!(matches!((value, lost), (3, Err(Failure::Join))));
        Ok(())
    });
    assert!(result.await.is_ok());
    let spawner = typed::nursery::<Failure, _>(async |n| Ok(n.spawner())).await.expect("nothing fails");
    let closed = spawner.start(|status: TaskStatus| async move {
        status.started(());
        Ok(())
    });
    assert!(matches!(closed.await, Err(Failure::Start(StartError::Closed))));
    Ok(())
}

async fn io_errors_keep_the_rules() -> trine::Result<()> {
    let error = typed::nursery::<io::Error, ()>(async |n| {
        n.start_soon(async { match sleep_forever().await? {} });
        wait_all_tasks_blocked().await?;
        Err(io::ErrorKind::NotFound.into())
    });
    assert_eq!(error.await.expect_err("an error").kind(), io::ErrorKind::NotFound);
    let cut = typed::move_on_after::<io::Error, (), _>(SECOND, async { match sleep_forever().await? {} });
    assert!(cut.await?.is_none());
    Ok(())
}

/// A group that came in as an `io::Error`, of which a part is a cancellation.
async fn scope_strips_a_tree_in_an_io_error() -> trine::Result<()> {
    let scope = CancelScope::new();
    let mixed = typed::run_in::<io::Error, (), _>(&scope, async {
        scope.cancel();
        let stop = checkpoint().await.expect_err("cancelled");
        Err(trine::Error::group([stop.into(), Oops(1).into()]).expect("two errors").into())
    });
    let left = trine::Error::from(mixed.await.expect_err("the other one goes on"));
    assert!(left.find::<Oops>().is_some() && !left.has_cancelled(), "{left}");
    assert!(scope.cancelled_caught());
    Ok(())
}

/// Children that can fail in no other way.
async fn cancelled_alone_is_an_error_type() -> trine::Result<()> {
    let value = typed::nursery::<Cancelled, _>(async |n| {
        n.start_soon(async { match sleep_forever().await? {} });
        wait_all_tasks_blocked().await?;
        n.cancel_children();
        Ok(5)
    });
    assert_eq!(value.await?, 5);
    let cut = typed::move_on_after(
        SECOND,
        typed::nursery::<Cancelled, ()>(async |n| {
            n.start_soon(async { match sleep_forever().await? {} });
            Ok(())
        }),
    );
    assert_eq!(cut.await?, None);
    Ok(())
}

async fn shield_keeps_the_type() -> trine::Result<()> {
    let scope = CancelScope::new();
    scope.cancel();
    let result = scope
        .run(async {
            let inner = typed::shielded(fails(1, 6)).await;
            assert!(matches!(inner, Err(Failure::Oops(Oops(6)))));
            shielded(async { Ok(checkpoint().await?) }).await
        })
        .await?;
    assert_eq!(result, Some(()));
    Ok(())
}
