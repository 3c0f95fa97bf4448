//! One tree, every executor.

use std::thread;

use async_executor::{Executor, LocalExecutor};
use futures_lite::future;
use trine::{Builder, backend};

use crate::support::{checked_tree, current_thread, multi_thread};

#[test]
fn each_backend_runs_a_tree() {
    for backend in backend::available() {
        let name = backend.name();
        assert_eq!(Builder::new().backend(backend).run(checked_tree()), name);
    }
}

#[test]
fn all_backends_run_side_by_side() {
    thread::scope(|s| {
        for _ in 0..2 {
            for backend in backend::available() {
                s.spawn(move || {
                    let name = backend.name();
                    assert_eq!(Builder::new().backend(backend).run(checked_tree()), name);
                });
            }
        }
    });
}

#[tokio::test]
async fn the_main_future_of_a_current_thread_runtime() {
    assert_eq!(checked_tree().await, "tokio");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_future_of_a_multi_thread_runtime() {
    assert_eq!(checked_tree().await, "tokio");
}

#[test]
fn tasks_of_both_flavours() {
    for runtime in [current_thread(), multi_thread()] {
        let served = runtime.block_on(async {
            let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(checked_tree())).collect();
            let mut served = Vec::new();
            for task in tasks {
                served.push(task.await.unwrap());
            }
            served
        });
        assert_eq!(served, ["tokio"; 4]);
    }
}

#[test]
fn a_local_set_and_its_tasks() {
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&current_thread(), async {
        let task = tokio::task::spawn_local(checked_tree());
        (checked_tree().await, task.await.unwrap())
    });
    assert_eq!(served, ("tokio".to_owned(), "tokio".to_owned()));
}

#[test]
fn a_local_runtime_and_its_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    let served = runtime.block_on(async {
        let task = tokio::task::spawn_local(checked_tree());
        (checked_tree().await, task.await.unwrap())
    });
    assert_eq!(served, ("tokio".to_owned(), "tokio".to_owned()));
}

#[test]
fn inside_a_run_on_tokio_its_tasks_are_hosted_by_the_same_runtime() {
    Builder::new().backend(backend::tokio()).run(async {
        let spawned = tokio::spawn(checked_tree()).await.unwrap();
        assert_eq!((spawned, checked_tree().await), ("tokio".to_owned(), "tokio".to_owned()));
    });
}

#[test]
fn executors_without_a_loop_of_their_own() {
    assert_eq!(futures::executor::block_on(checked_tree()), "async-io");
    assert_eq!(future::block_on(checked_tree()), "async-io");
    assert_eq!(pollster::block_on(checked_tree()), "async-io");
}

#[test]
fn executors_of_smol() {
    assert_eq!(async_io::block_on(checked_tree()), "async-io");
    let local = LocalExecutor::new();
    assert_eq!(future::block_on(local.run(local.spawn(checked_tree()))), "async-io");
    let executor = Executor::new();
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let stopped = futures::FutureExt::shared(stopped);
    thread::scope(|s| {
        for _ in 0..2 {
            let (executor, stopped) = (&executor, stopped.clone());
            s.spawn(move || future::block_on(executor.run(stopped)));
        }
        let tasks: Vec<_> = (0..4).map(|_| executor.spawn(checked_tree())).collect();
        for task in tasks {
            assert_eq!(future::block_on(task), "async-io");
        }
        drop(stop);
    });
}
