//! The combinators of `futures`, in tasks of tokio, with trees among what they combine.

use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt, TryStreamExt};
use trine::{Cancelled, Error, Result, nursery};

use crate::{Boxed, on_threads};

async fn tree(number: u64) -> Result<u64> {
    nursery(async move |n| {
        let child = n.spawn(async move {
            trine::checkpoint().await?;
            Ok(number)
        });
        Ok(child.await? + 1)
    })
    .await
}

#[test]
fn trees_are_buffered_by_streams() {
    on_threads(async {
        let sum = stream::iter(0..40).map(tree).buffer_unordered(7).try_fold(0, async |sum, one| Ok(sum + one)).await;
        assert_eq!(sum.unwrap(), (1..=40).sum());
        let unordered: FuturesUnordered<Boxed<'_, _>> = (0..10).map(|i| tree(i).boxed()).collect();
        assert_eq!(unordered.try_collect::<Vec<_>>().await.unwrap().len(), 10);
        let joined = futures::future::try_join_all((0..10).map(|i| tokio::spawn(tree(i)))).await.unwrap();
        assert!(joined.into_iter().all(|one| one.is_ok()));
        let shared = tree(6).map(|result| result.map_err(|e| e.to_string())).boxed().shared();
        let (one, two) = tokio::join!(tokio::spawn(shared.clone()), tokio::spawn(shared));
        assert_eq!((one.unwrap(), two.unwrap()), (Ok(7), Ok(7)));
    });
}

#[test]
fn receivers_are_streams_behind_dyn() {
    type Source = std::pin::Pin<Box<dyn stream::Stream<Item = Result<u64, Cancelled>> + Send>>;
    async fn sum(source: Source) -> Result<u64> {
        let doubled = source.map_ok(|n| 2 * n).map_err(Error::from);
        doubled.try_fold(0, async |sum, n| Ok(sum + n)).await
    }
    on_threads(async {
        let (tx, rx) = trine::channel(2);
        let total = tokio::spawn(sum(Box::pin(rx)));
        nursery(async |n| {
            for i in 0..10 {
                let tx = &tx;
                n.start_soon(async move { Ok(tx.send(i).await?) });
            }
            Ok(())
        })
        .await
        .unwrap();
        drop(tx);
        assert_eq!(total.await.unwrap().unwrap(), 90);
    });
}
