//! Helpers that know nothing of the futures they are given but `Send` and a lifetime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use trine::{CancelScope, Error, Nursery, Result, TaskError, fail_after, lift, nursery, race_all, typed};

use crate::{Boxed, LONG, on_threads};

/// `f` of each item, all at once, in the order of the items.
fn map_all<'env, T, U, F, Fut>(items: &'env [T], f: F) -> impl Future<Output = Result<Vec<U>>> + Send + 'env
where
    T: Sync,
    U: Send + 'env,
    F: Fn(&'env T) -> Fut + Send + Sync + 'env,
    Fut: Future<Output = Result<U>> + Send + 'env,
{
    nursery(async move |n| {
        let children: Vec<_> = items.iter().map(|item| n.spawn(f(item))).collect();
        let mut values = Vec::new();
        for child in children {
            values.push(child.await?);
        }
        Ok(values)
    })
}

/// As a plain `async fn`; callers see only by its body whether it is `Send`.
async fn for_each<T, Fut>(
    items: impl IntoIterator<Item = T, IntoIter: Send> + Send,
    f: impl Fn(T) -> Fut + Send + Sync,
) -> Result<()>
where
    T: Send,
    Fut: Future<Output = Result<()>> + Send,
{
    nursery(async |n| {
        for item in items {
            n.start_soon(f(item));
        }
        Ok(())
    })
    .await
}

/// Again, until it is well.
async fn retry<T, F>(times: usize, mut attempt: impl FnMut(usize) -> F + Send) -> Result<T>
where
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    let mut errors = Vec::new();
    for i in 0..times {
        match fail_after(LONG, attempt(i)).await {
            Ok(value) => return Ok(value),
            Err(e) if e.has_cancelled() => return Err(e),
            Err(e) => errors.push(e),
        }
    }
    Err(Error::group(errors).unwrap_or_else(|| Error::msg("no attempt")))
}

/// Runs it in the background of a nursery that someone else has opened, until the scope is cancelled.
fn in_background<'scope, 'env, F>(n: &'scope Nursery<'scope, 'env>, fut: F) -> CancelScope
where
    F: Future<Output = Result<()>> + Send + 'env,
    'env: 'scope,
{
    let scope = CancelScope::new();
    let inner = scope.clone();
    n.start_soon(async move { inner.run(fut).await.map(|_| ()) });
    scope
}

/// In a nursery of any error.
async fn typed_all<E, T, F>(futs: Vec<F>) -> Result<Vec<T>, E>
where
    E: TaskError + From<trine::JoinError> + Send,
    T: Send,
    F: Future<Output = Result<T, E>> + Send,
{
    typed::nursery::<E, _>(async |n| {
        let children: Vec<_> = futs.into_iter().map(|fut| n.spawn(fut)).collect();
        let mut values = Vec::new();
        for child in children {
            values.push(child.await?);
        }
        Ok(values)
    })
    .await
}

async fn double(number: &u64) -> Result<u64> {
    trine::checkpoint().await?;
    Ok(2 * number)
}

#[test]
fn helpers_with_borrowed_items_run_in_tasks() {
    on_threads(async {
        let numbers = vec![1_u64, 2, 3];
        assert_eq!(map_all(&numbers, double).await.unwrap(), [2, 4, 6]);
        let offset = 10;
        let moved = map_all(&numbers, |number| {
            let offset = &offset;
            async move {
                tokio::task::yield_now().await;
                Ok(number + offset)
            }
        });
        assert_eq!(moved.await.unwrap(), [11, 12, 13]);
        // One helper in the children of the other, and the whole under a scope.
        let nested = trine::move_on_after(LONG, map_all(&numbers, |_| map_all(&numbers, double)));
        assert_eq!(nested.await.unwrap().unwrap(), vec![[2, 4, 6]; 3]);
        // What came out of a nursery is sent to another one.
        let boxed: Vec<Boxed<'_, Result<u64>>> =
            numbers.iter().map(|n| -> Boxed<'_, _> { Box::pin(double(n)) }).collect();
        assert!([2, 4, 6].contains(&race_all(boxed).await.unwrap()));
    });
}

#[test]
fn closures_that_make_futures_run_in_tasks() {
    on_threads(async {
        let count = AtomicUsize::new(0);
        for_each(0..50, |i| {
            let count = &count;
            async move {
                count.fetch_add(i, Ordering::Relaxed);
                Ok(())
            }
        })
        .await
        .unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 49 * 50 / 2);
        let third = retry(5, |i| async move { if i == 2 { Ok(i) } else { Err(Error::msg(format!("attempt {i}"))) } });
        assert_eq!(third.await.unwrap(), 2);
        let never: Result<()> = retry(2, |_| lift(async { Err(std::io::Error::other("no")) })).await;
        assert_eq!(never.unwrap_err().errors().len(), 2);
    });
}

#[test]
fn helpers_spawn_into_the_nurseries_of_others() {
    on_threads(async {
        let ticks = AtomicUsize::new(0);
        let (tx, rx) = trine::channel(0);
        nursery(async |n| {
            let scope = in_background(n, async {
                loop {
                    ticks.fetch_add(1, Ordering::Relaxed);
                    tx.send(()).await?;
                }
            });
            for _ in 0..3 {
                rx.recv().await?;
            }
            scope.cancel();
            Ok(())
        })
        .await
        .unwrap();
        assert!(ticks.load(Ordering::Relaxed) >= 3);
    });
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("stopped")]
    Cancelled(#[from] trine::Cancelled),
    #[error("lost")]
    Join(#[from] trine::JoinError),
    #[error("failed with {0}")]
    Code(u8),
}

impl TaskError for Failure {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

#[test]
fn nurseries_of_any_error_run_in_tasks() {
    let shared = Arc::new(7);
    on_threads(async move {
        let futs = (0..3).map(|i| {
            let shared = &shared;
            async move {
                trine::checkpoint().await?;
                Ok::<_, Failure>(i + **shared)
            }
        });
        assert_eq!(typed_all(futs.collect()).await.unwrap(), [7, 8, 9]);
        let futs: Vec<Boxed<'_, Result<(), Failure>>> =
            vec![Box::pin(async { Ok(trine::sleep(LONG).await?) }), Box::pin(async { Err(Failure::Code(3)) })];
        assert!(matches!(typed_all(futs).await, Err(Failure::Code(3))));
        // anyhow, too.
        let futs = vec![async { anyhow::Ok(trine::checkpoint().await?) }];
        assert!(
            typed::nursery::<trine::Error, _>(async |n| {
                for fut in futs {
                    n.start_soon(async { trine::ResultExt::into_trine(fut.await) });
                }
                Ok(())
            })
            .await
            .is_ok()
        );
    });
}
