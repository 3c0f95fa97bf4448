//! Half-run trees on their way between threads and executors.

use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;

use trine::net::TcpListener;
use trine::{Result, nursery};

use crate::support::{LONG, MS, checked_tree, current_thread, multi_thread, poll_once};

type Tree = Pin<Box<dyn Future<Output = Result<&'static str>> + Send>>;

/// Waits for a connection in one child and for time in another; the port comes out at the first poll.
fn half(port: mpsc::Sender<u16>) -> Tree {
    Box::pin(nursery(async move |n| {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        port.send(listener.local_addr()?.port())?;
        n.start_soon(async { trine::sleep(5 * MS).await.map_err(Into::into) });
        let accepted = n.spawn(async move {
            trine::fail_after(LONG, async {
                listener.accept().await?;
                Ok(())
            })
            .await
        });
        accepted.await?;
        Ok(trine::backend::current().unwrap().name())
    }))
}

/// Polls it until it waits, under an executor that then goes away or stops.
fn begin(block_on: impl FnOnce(Pin<&mut (dyn Future<Output = ()> + Send)>)) -> (Tree, u16) {
    let (tx, rx) = mpsc::channel();
    let mut tree = half(tx);
    block_on(Box::pin(async { assert!(poll_once(tree.as_mut()).await.is_none()) }).as_mut());
    (tree, rx.recv().unwrap())
}

/// Ends it elsewhere, where it is to be served by what is named.
fn finish(port: u16, tree: Tree, block_on: impl FnOnce(Tree) -> Result<&'static str>, served: &str) {
    let peer = thread::spawn(move || StdStream::connect(("127.0.0.1", port)).unwrap());
    assert_eq!(block_on(tree).unwrap(), served);
    peer.join().unwrap();
}

#[test]
fn from_a_runtime_that_stands_still_to_another_executor() {
    let runtime = current_thread();
    let (tree, port) = begin(|fut| runtime.block_on(fut));
    finish(port, tree, futures::executor::block_on, "async-io");
}

#[test]
fn from_a_runtime_that_is_gone_to_another_executor() {
    let runtime = current_thread();
    let (tree, port) = begin(|fut| runtime.block_on(fut));
    drop(runtime);
    finish(port, tree, futures::executor::block_on, "async-io");
}

#[test]
fn from_one_runtime_to_another() {
    let runtime = current_thread();
    let (tree, port) = begin(|fut| runtime.block_on(fut));
    finish(port, tree, |tree| multi_thread().block_on(tree), "tokio");
    drop(runtime);
}

#[test]
fn from_an_executor_without_a_loop_to_a_runtime() {
    let (tree, port) = begin(|fut| futures::executor::block_on(fut));
    finish(port, tree, |tree| current_thread().block_on(tree), "tokio");
}

#[test]
fn from_a_runtime_to_a_run() {
    for backend in trine::backend::available() {
        let runtime = current_thread();
        let (tree, port) = begin(|fut| runtime.block_on(fut));
        let name = backend.name();
        let peer = thread::spawn(move || StdStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(trine::Builder::new().backend(backend).run(tree).unwrap(), name);
        peer.join().unwrap();
    }
}

#[test]
fn between_the_threads_of_a_runtime() {
    // Each task is polled again by whichever worker is free; the plain tasks keep both busy.
    multi_thread().block_on(async {
        let busy: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(async {
                    for _ in 0..2_000 {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let trees: Vec<_> = (0..16).map(|_| tokio::spawn(checked_tree())).collect();
        for tree in trees {
            assert_eq!(tree.await.unwrap(), "tokio");
        }
        for task in busy {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_waiting_child_is_woken_by_its_sibling_on_the_new_thread() {
    let runtime = multi_thread();
    let (tx, rx) = trine::channel(0);
    let mut tree = Box::pin(nursery(async |n| {
        n.start_soon(async {
            trine::sleep(MS).await?;
            tx.send(7).await?;
            Ok(())
        });
        Ok(rx.recv().await?)
    }));
    runtime.block_on(async { assert!(poll_once(tree.as_mut()).await.is_none()) });
    let value = thread::scope(|s| s.spawn(|| pollster::block_on(tree)).join().unwrap());
    assert_eq!(value.unwrap(), 7);
}
