//! One rule tells a cancellation: a `Cancelled` is in its chain of sources.

use super::nursery_tools::{Oops, SECOND, after, error_of, forever};
use crate::case::{Case, portable};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use trine::{CancelScope, Cancelled, Error, Result, checkpoint, is_cancelled, move_on_after, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(cancelled_itself_and_what_wraps_it, "cancelled.rule", "design 5, divergence 14"),
    portable!(trine_s_errors_of_cancelled_operations, "cancelled.rule", "design 5, divergence 14"),
    portable!(error_that_replaces_it_is_ordinary, "cancelled.rule", "design 5"),
    portable!(wrapped_tree_is_one_only_as_a_whole, "cancelled.rule", "design 5"),
    portable!(io_error_of_it_is_never_retried, "cancelled.io", "divergence 14"),
    portable!(scope_catches_it_in_any_wrapper, "cancelled.wrapped", "design 5"),
    portable!(scope_catches_it_in_a_wrapped_tree, "cancelled.wrapped", "design 5"),
    portable!(scope_passes_on_what_replaced_it, "cancelled.replaced", "design 5"),
];

/// Says what it wraps by `source()`.
#[derive(Debug)]
struct Wraps<E>(E);

impl<E> fmt::Display for Wraps<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wraps")
    }
}

impl<E: StdError + 'static> StdError for Wraps<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// Hides itself: shows the text and the source of what it wraps.
#[derive(Debug)]
struct Transparent<E>(E);

impl<E: fmt::Display> fmt::Display for Transparent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: StdError> StdError for Transparent<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// From a scope that is cancelled.
async fn cancelled() -> Result<Cancelled> {
    let scope = CancelScope::new();
    scope.cancel();
    let kept = scope.run(async { Ok(checkpoint().await.expect_err("cancelled")) }).await?;
    Ok(kept.expect("nothing was caught"))
}

/// All sorts of errors around a cancellation.
async fn wrapped() -> Result<Vec<Error>> {
    let c = cancelled().await?;
    Ok(vec![
        Error::from(c.clone()),
        Error::new(Wraps(c.clone())),
        Error::new(Wraps(Wraps(c.clone()))),
        Error::new(Transparent(c.clone())),
        Error::new(Transparent(Wraps(c.clone()))),
        Error::from(io::Error::from(c.clone())),
        Error::new(Wraps(io::Error::from(c.clone()))),
        Error::new(Transparent(io::Error::from(c.clone()))),
        Error::from(io::Error::other(Wraps(c.clone()))),
        Error::from(io::Error::from(Error::from(c.clone()))),
        Error::from_boxed(Box::new(Transparent(c))),
    ])
}

async fn cancelled_itself_and_what_wraps_it() -> Result<()> {
    assert!(is_cancelled(&cancelled().await?) && is_cancelled(&Wraps(cancelled().await?)));
    assert!(is_cancelled(&io::Error::from(cancelled().await?)));
    for (i, error) in wrapped().await?.into_iter().enumerate() {
        assert!(error.is_cancelled() && error.has_cancelled(), "{i}: {error:?}");
        assert!(error.without_cancelled().is_none(), "{i}");
    }
    Ok(())
}

async fn trine_s_errors_of_cancelled_operations() -> Result<()> {
    let (scope, lock) = (CancelScope::new(), trine::sync::Lock::new());
    let (tx, rx) = trine::channel::<u32>(1);
    scope.cancel();
    nursery(async |n| {
        let child = n.spawn(after(1, ()));
        scope
            .run(async {
                let errors: [Error; 5] = [
                    tx.send(1).await.expect_err("cancelled").into(),
                    rx.recv().await.expect_err("cancelled").into(),
                    child.await.expect_err("cancelled").into(),
                    lock.acquire().await.expect_err("cancelled").into(),
                    rx.try_next().await.expect_err("cancelled").into(),
                ];
                assert!(errors.iter().all(Error::is_cancelled), "{errors:?}");
                Ok(())
            })
            .await?;
        Ok(())
    })
    .await
}

async fn error_that_replaces_it_is_ordinary() -> Result<()> {
    let c = cancelled().await?;
    assert!(!Error::msg(c.to_string()).has_cancelled());
    assert!(!Error::from(Oops(1)).has_cancelled());
    assert!(!is_cancelled(&io::Error::other(c.to_string())));
    Ok(())
}

/// A tree with a real error in it is no cancellation when it is wrapped, one of cancellations only is.
async fn wrapped_tree_is_one_only_as_a_whole() -> Result<()> {
    let c = cancelled().await?;
    let mixed = || Error::group([c.clone().into(), Oops(1).into()]).expect("two");
    let pure = || Error::group([c.clone().into(), Error::from(c.clone())]).expect("two");
    assert!(!is_cancelled(&io::Error::from(mixed())) && is_cancelled(&io::Error::from(pure())));
    let boxed: Box<dyn StdError + Send + Sync> = mixed().into();
    assert!(!is_cancelled(&*boxed));
    let boxed: Box<dyn StdError + Send + Sync> = pure().into();
    assert!(is_cancelled(&*boxed));
    Ok(())
}

async fn io_error_of_it_is_never_retried() -> Result<()> {
    assert_eq!(io::Error::from(cancelled().await?).kind(), io::ErrorKind::Other);
    assert_eq!(io::Error::from(Error::from(cancelled().await?)).kind(), io::ErrorKind::Other);
    Ok(())
}

async fn scope_catches_it_in_any_wrapper() -> Result<()> {
    for (i, error) in wrapped().await?.into_iter().enumerate() {
        let scope = CancelScope::new();
        scope.cancel();
        let caught = scope.run(async { Result::<()>::Err(error) }).await?;
        assert!(caught.is_none() && scope.cancelled_caught(), "{i}");
    }
    let through_io = || async {
        forever().await?;
        io::Result::Ok(())
    };
    assert_eq!(move_on_after(SECOND, async { Ok(through_io().await?) }).await?, None);
    Ok(())
}

/// A nursery's group that passed through an `io::Error` is stripped as one that did not.
async fn scope_catches_it_in_a_wrapped_tree() -> Result<()> {
    let through_io = || async {
        nursery(async |n| {
            n.start_soon(async {
                let _ = trine::sleep_forever().await;
                Err(Oops(4).into())
            });
            n.start_soon(forever());
            forever().await
        })
        .await?;
        io::Result::Ok(())
    };
    let error = error_of(move_on_after(SECOND, async { Ok(through_io().await?) }).await);
    assert!(!error.has_cancelled());
    assert_eq!(error.leaves().filter_map(|leaf| leaf.find::<Oops>()).collect::<Vec<_>>(), [&Oops(4)]);
    Ok(())
}

async fn scope_passes_on_what_replaced_it() -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let error = error_of(
        scope
            .run(async { Result::<()>::Err(forever().await.map_err(|_| Error::msg("gave up")).expect_err("cut")) })
            .await,
    );
    assert_eq!((error.to_string().as_str(), scope.cancelled_caught()), ("gave up", false));
    Ok(())
}
