//! Errors in nurseries: the first one cancels, all are awaited, all are grouped.

use super::nursery_tools::{
    Log, Oops, SECOND, after, cleans_up, error_of, fails_after, fails_when_cancelled, forever, oopses, sorted_oopses,
};
use crate::case::{Case, portable};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use trine::testing::wait_all_tasks_blocked;
use trine::{Error, Result, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(
        error_of_the_body_is_grouped,
        "nursery.group-always",
        "trio test_run.py::test_nursery_main_block_error_basic, trio test_run.py::test_nursery_explicit_exception"
    ),
    portable!(error_of_a_child_is_grouped, "nursery.group-always", "trio test_run.py::test_child_crash_basic"),
    portable!(
        error_of_a_child_cancels_its_sibling,
        "nursery.first-error-cancels",
        "trio test_run.py::test_task_crash_propagation"
    ),
    portable!(
        error_of_a_child_wakes_the_body,
        "nursery.first-error-cancels",
        "trio test_run.py::test_child_crash_wakes_parent"
    ),
    portable!(error_of_the_body_cancels_the_children, "nursery.first-error-cancels", "design 3"),
    portable!(
        errors_of_body_and_child_are_one_group,
        "nursery.all-errors",
        "trio test_run.py::test_main_and_task_both_crash, divergence 5"
    ),
    portable!(errors_of_two_children_are_one_group, "nursery.all-errors", "trio test_run.py::test_two_child_crashes"),
    portable!(errors_are_in_the_order_of_their_end, "nursery.error-order", "divergence 10"),
    portable!(errors_of_cleaning_up_are_grouped, "nursery.all-errors", "design 3"),
    portable!(clean_up_ends_before_the_nursery, "nursery.awaits-all", "design 3"),
    portable!(nested_groups_keep_their_shape, "nursery.nested-groups", "design 5"),
    portable!(thirty_nested_nurseries_give_thirty_groups, "nursery.nested-groups", "design 5"),
    portable!(handled_error_leaves_the_nursery_around_alone, "nursery.nested", "design 3"),
    portable!(unhandled_error_cancels_the_nursery_around, "nursery.nested", "design 3"),
];

/// An error that can be told from its equals.
#[derive(Debug)]
struct Token(Arc<()>);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token")
    }
}

impl std::error::Error for Token {}

fn assert_only(error: &Error, token: &Arc<()>) {
    assert!(error.is_group());
    assert_eq!(error.errors().len(), 1);
    assert!(!error.errors()[0].is_group());
    assert!(error.find::<Token>().is_some_and(|found| Arc::ptr_eq(&found.0, token)));
}

/// Even alone, and it is the very same error.
async fn error_of_the_body_is_grouped() -> Result<()> {
    let token = Arc::new(());
    let error = error_of(nursery(async |_| Result::<()>::Err(Token(token.clone()).into())).await);
    assert_only(&error, &token);
    Ok(())
}

async fn error_of_a_child_is_grouped() -> Result<()> {
    let token = Arc::new(());
    let result = nursery(async |n| {
        n.start_soon(async { Err(Token(token.clone()).into()) });
        Ok(())
    });
    assert_only(&error_of(result.await), &token);
    Ok(())
}

async fn error_of_a_child_cancels_its_sibling() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |n| {
            n.start_soon(async {
                while checkpoint().await.is_ok() {}
                log.add("sibling was cancelled");
                Ok(checkpoint().await?)
            });
            n.start_soon(async { Err(Oops(1).into()) });
            Ok(())
        })
        .await,
    );
    assert_eq!((oopses(&error), error.leaves().count()), (vec![1], 1));
    assert_eq!(log.take(), ["sibling was cancelled"]);
    Ok(())
}

async fn error_of_a_child_wakes_the_body() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |n| {
            n.start_soon(fails_after(1, 1));
            let result = forever().await;
            log.add("body was cancelled");
            result
        })
        .await,
    );
    assert_eq!((oopses(&error), log.take()), (vec![1], vec!["body was cancelled".to_owned()]));
    Ok(())
}

async fn error_of_the_body_cancels_the_children() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |n| {
            for _ in 0..3 {
                n.start_soon(async {
                    let result = forever().await;
                    log.add("child");
                    result
                });
            }
            wait_all_tasks_blocked().await?;
            Result::<()>::Err(Oops(1).into())
        })
        .await,
    );
    assert_eq!((oopses(&error), log.take().len()), (vec![1], 3));
    Ok(())
}

async fn errors_of_body_and_child_are_one_group() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.start_soon(async { Err(Oops(1).into()) });
            Result::<()>::Err(Oops(2).into())
        })
        .await,
    );
    assert_eq!((error.errors().len(), sorted_oopses(&error)), (2, vec![1, 2]));
    Ok(())
}

async fn errors_of_two_children_are_one_group() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.start_soon(async { Err(Oops(1).into()) });
            n.start_soon(async { Err(Oops(2).into()) });
            Ok(())
        })
        .await,
    );
    assert_eq!((error.errors().len(), sorted_oopses(&error)), (2, vec![1, 2]));
    Ok(())
}

/// Body or child, the one that failed first comes first.
async fn errors_are_in_the_order_of_their_end() -> Result<()> {
    let late = |seconds, number| async move {
        let _ = trine::sleep_forever().await;
        trine::shielded(fails_after(seconds, number)).await
    };
    let error = error_of(
        nursery(async |n| {
            n.start_soon(late(3, 4));
            n.start_soon(late(1, 2));
            n.start_soon(fails_after(1, 1));
            late(2, 3).await
        })
        .await,
    );
    assert_eq!(oopses(&error), [1, 2, 3, 4]);
    Ok(())
}

async fn errors_of_cleaning_up_are_grouped() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.start_soon(fails_when_cancelled(2));
            n.start_soon(async {
                // A cancellation is no more than a sign to stop: with a value instead of it, there is no error.
                let _ = trine::sleep_forever().await;
                Ok(())
            });
            n.start_soon(fails_after(1, 1));
            fails_when_cancelled(3).await
        })
        .await,
    );
    assert_eq!((oopses(&error)[0], sorted_oopses(&error), error.errors().len()), (1, vec![1, 2, 3], 3));
    Ok(())
}

async fn clean_up_ends_before_the_nursery() -> Result<()> {
    let (log, start) = (Log::new(), trine::now());
    let error = error_of(
        nursery(async |n| {
            n.start_soon(cleans_up(&log));
            n.start_soon(fails_after(1, 1));
            cleans_up(&log).await
        })
        .await,
    );
    assert_eq!((oopses(&error), error.leaves().count(), log.take().len()), (vec![1], 1, 2));
    assert_eq!(trine::now() - start, SECOND * 4);
    Ok(())
}

async fn nested_groups_keep_their_shape() -> Result<()> {
    let error = error_of(
        nursery(async |outer| {
            outer.start_soon(nursery(async |inner| {
                inner.start_soon(async { Err(Oops(1).into()) });
                inner.start_soon(fails_when_cancelled(2));
                forever().await
            }));
            fails_when_cancelled(3).await
        })
        .await,
    );
    let [inner, body] = error.errors() else { panic!("two members: {error}") };
    assert_eq!((inner.errors().len(), sorted_oopses(inner)), (2, vec![1, 2]));
    assert_eq!((body.is_group(), oopses(body)), (false, vec![3]));
    Ok(())
}

fn nest(depth: u32) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    Box::pin(nursery(async move |n| {
        match depth {
            1 => n.start_soon(fails_after(1, 1)),
            _ => n.start_soon(nest(depth - 1)),
        }
        Ok(())
    }))
}

async fn thirty_nested_nurseries_give_thirty_groups() -> Result<()> {
    let error = error_of(nest(30).await);
    let mut depth = 0;
    let mut at = &error;
    while at.is_group() {
        assert_eq!(at.errors().len(), 1);
        at = &at.errors()[0];
        depth += 1;
    }
    assert_eq!((depth, at.find::<Oops>()), (30, Some(&Oops(1))));
    assert_eq!(error.to_string(), "oops 1");
    Ok(())
}

async fn handled_error_leaves_the_nursery_around_alone() -> Result<()> {
    nursery(async |outer| {
        let sibling = outer.spawn(after(5, "sibling"));
        let error = error_of(nursery(async |_| fails_after(1, 1).await).await);
        assert_eq!(oopses(&error), [1]);
        checkpoint().await?;
        assert_eq!(sibling.await?, "sibling");
        Ok(())
    })
    .await
}

async fn unhandled_error_cancels_the_nursery_around() -> Result<()> {
    let log = Log::new();
    let error = error_of(
        nursery(async |outer| {
            outer.start_soon(cleans_up(&log));
            nursery(async |inner| {
                inner.start_soon(fails_after(1, 1));
                Ok(())
            })
            .await
        })
        .await,
    );
    assert_eq!((error.leaves().count(), log.take().len()), (1, 1));
    assert!(error.errors()[0].is_group());
    Ok(())
}
