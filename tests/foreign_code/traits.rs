//! Traits with asynchronous methods, boxed by hand, behind `dyn`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use trine::{Result, fail_after, nursery, shielded};

use crate::{Boxed, LONG, on_threads};

trait Store: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<u64>>>;

    /// All at once.
    fn get_all<'a>(&'a self, keys: &'a [String]) -> Boxed<'a, Result<Vec<Option<u64>>>> {
        Box::pin(nursery(async move |n| {
            let gets: Vec<_> = keys.iter().map(|key| n.spawn(async move { self.get(key).await })).collect();
            let mut values = Vec::new();
            for get in gets {
                values.push(get.await?);
            }
            Ok(values)
        }))
    }
}

struct Memory(trine::sync::Mutex<HashMap<String, u64>>);

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let map = self.0.lock().await?;
            tokio::task::yield_now().await;
            Ok(map.get(key).copied())
        })
    }
}

/// Asks several stores; the first that knows decides.
struct Either(Vec<Box<dyn Store>>);

impl Store for Either {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<u64>>> {
        Box::pin(async move {
            nursery(async move |n| {
                let (tx, rx) = trine::channel(self.0.len());
                for store in &self.0 {
                    let tx = tx.clone();
                    n.start_soon(async move {
                        if let Some(value) = store.get(key).await? {
                            tx.send(value).await?;
                        }
                        Ok(())
                    });
                }
                drop(tx);
                let first = rx.try_next().await?;
                n.cancel_children();
                Ok(first)
            })
            .await
        })
    }
}

/// Counts and sets a timeout.
struct Guarded<S: ?Sized> {
    gets: AtomicUsize,
    inner: Arc<S>,
}

impl<S: Store + ?Sized> Store for Guarded<S> {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<u64>>> {
        Box::pin(fail_after(LONG, async move {
            let value = self.inner.get(key).await;
            shielded(async {
                self.gets.fetch_add(1, Ordering::Relaxed);
                Ok(trine::checkpoint().await?)
            })
            .await?;
            value
        }))
    }
}

fn memory(pairs: &[(&str, u64)]) -> Memory {
    Memory(trine::sync::Mutex::new(pairs.iter().map(|&(key, value)| (key.to_owned(), value)).collect()))
}

#[test]
fn methods_behind_dyn_open_nurseries_in_tasks() {
    on_threads(async {
        let either = Either(vec![Box::new(memory(&[("a", 1)])), Box::new(memory(&[("b", 2)]))]);
        let inner: Arc<dyn Store> = Arc::new(either);
        let store: Arc<Guarded<dyn Store>> = Arc::new(Guarded { gets: AtomicUsize::new(0), inner });
        let keys: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (store, keys) = (store.clone(), keys.clone());
                tokio::spawn(async move { (store as Arc<dyn Store>).get_all(&keys).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), [Some(1), Some(2), None]);
        }
        assert_eq!(store.gets.load(Ordering::Relaxed), 16 * 3);
    });
}

/// A method whose future is `Send` by its signature, without a box.
trait Job {
    fn run(&self, input: &[u64]) -> impl Future<Output = Result<u64>> + Send;
}

struct Sum;

impl Job for Sum {
    async fn run(&self, input: &[u64]) -> Result<u64> {
        nursery(async |n| Ok(n.spawn(async { Ok(input.iter().sum()) }).await?)).await
    }
}

/// Any job, many times, each in a task of tokio that a child of a nursery waits for.
async fn in_tasks<J: Job + Send + Sync + 'static>(job: J, times: u64) -> Result<u64> {
    let job = Arc::new(job);
    nursery(async |n| {
        let mut runs = Vec::new();
        for i in 0..times {
            let job = job.clone();
            runs.push(n.spawn(async move {
                let task = tokio::spawn(async move { job.run(&[i, 1]).await });
                trine::cancellable(task).await??
            }));
        }
        let mut sum = 0;
        for run in runs {
            sum += run.await?;
        }
        Ok(sum)
    })
    .await
}

#[test]
fn methods_whose_futures_are_send_by_signature() {
    assert_eq!(on_threads(in_tasks(Sum, 10)).unwrap(), 55);
}
