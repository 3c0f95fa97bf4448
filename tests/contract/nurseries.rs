//! Section 1: nurseries, and the rows of section 11 that are about them.

use crate::{Oops, debug, is_clone, is_error, not, send, send_value, sync, unpin, yields, yields_send};
use std::borrow::Cow;
use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;
use trine::body::Body;
use trine::{
    Closed, Either, Error, Handle, JoinError, LocalNursery, LocalNurseryFuture, LocalStart, LocalTask, Nursery,
    NurseryFuture, Result, Spawner, Start, StartError, Task, TaskError, TaskStatus,
};

// The signatures, as bounds of a user's own functions.

fn own_nursery<'env, T: 'env, B>(body: B) -> NurseryFuture<'env, T>
where
    B: for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>
        + for<'scope> Body<&'scope Nursery<'scope, 'env>, Out = Result<T>>
        + Send
        + 'env,
{
    trine::nursery(body)
}

fn own_local_nursery<'env, T: 'env>(
    body: impl for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env>) -> Result<T> + 'env,
) -> LocalNurseryFuture<'env, T> {
    trine::local_nursery(body)
}

struct OwnNursery<'n, 'scope, 'env, E>(&'n Nursery<'scope, 'env, E>)
where
    'n: 'scope;

impl<'scope, E: TaskError + Send + 'scope> OwnNursery<'scope, 'scope, '_, E> {
    fn start_soon<F>(&self, fut: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'scope,
    {
        self.0.start_soon(fut);
    }

    fn spawn<T, F>(&self, fut: F) -> Handle<'scope, T>
    where
        F: Future<Output = Result<T, E>> + Send + 'scope,
        T: Send + 'scope,
    {
        self.0.spawn(fut)
    }

    fn start<P, F, Fut>(&self, f: F) -> Start<'scope, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'scope,
        P: Send + 'scope,
        E: From<StartError>,
    {
        yields::<Result<P, E>, _>(self.0.start(f))
    }

    fn spawner(&self) -> Spawner<E>
    where
        E: 'static,
    {
        self.0.spawner()
    }

    fn cancel_children(&self) {
        self.0.cancel_children();
    }
}

fn own_spawner<E, T, F>(spawner: &Spawner<E>, fut: F) -> Result<Handle<'static, T>, Closed>
where
    E: TaskError + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
{
    spawner.spawn(fut)
}

#[test]
fn own_wrappers_of_every_signature_work() {
    let outside = String::from("borrowed");
    let length = trine::run(own_nursery(async |n| {
        let n = OwnNursery(n);
        n.start_soon(async { Ok(assert_eq!(outside, "borrowed")) });
        let handle = n.spawn(async { Ok(outside.len()) });
        let started: usize = n.start(async |status| Ok(TaskStatus::started(status, 1))).await?;
        let spawned = own_spawner(&n.spawner(), async { Ok(1) })?;
        let length = handle.await? + started + spawned.await?;
        n.cancel_children();
        Ok(length)
    }));
    assert_eq!(length.unwrap(), 10);
    assert_eq!(trine::run(own_local_nursery(async |_| Ok(Rc::new(1)))).unwrap(), Rc::new(1));
}

#[test]
fn outputs_are_as_written() {
    drop(yields_send::<Result<u32>, _>(trine::nursery(async |_| Ok(1))));
    drop(yields::<Result<Rc<u32>>, _>(trine::local_nursery(async |_| Ok(Rc::new(1)))));
    let race = trine::race(async { Ok(1_u8) }, async { Ok("b") });
    drop(yields_send::<Result<Either<u8, &str>>, _>(race));
    drop(yields_send::<Result<u8>, _>(trine::race_all(vec![ready(Ok::<u8, Error>(1))])));
    drop(yields::<Result<Rc<u8>>, _>(trine::race_all([pending::<Result<Rc<u8>>>()])));
}

#[test]
fn what_holds_only_what_can_be_sent_can_be_sent() {
    send::<NurseryFuture<'static, Cell<u8>>>();
    send::<Nursery<'static, 'static>>();
    sync::<Nursery<'static, 'static>>();
    send::<&Nursery<'static, 'static>>();
    send::<Task<'static, 'static>>();
    send::<Start<'static, Cell<u8>>>();
    send::<Handle<'static, Cell<u8>>>();
    sync::<Handle<'static, u8>>();
    send::<Spawner>();
    sync::<Spawner>();
    is_clone::<Spawner>();
    send::<TaskStatus<Cell<u8>>>();
    unpin::<NurseryFuture<'static, ()>>();
    unpin::<Handle<'static, std::marker::PhantomPinned>>();
    unpin::<Start<'static, ()>>();
    debug::<(Nursery<'static, 'static>, Handle<'static, ()>, Spawner)>();
    debug::<(LocalNursery<'static, 'static>, TaskStatus, Either<u8, u8>)>();
    is_error::<JoinError>();
    is_error::<StartError>();
    is_error::<Closed>();
    let held = (Cell::new(1), async { Ok(Cell::new(2)) });
    drop(send_value(trine::race(async { Ok(held.0) }, held.1)));
}

not!(Send: LocalNurseryFuture<'static, ()>, &'static LocalNursery<'static, 'static>, LocalStart<'static, ()>,
    LocalTask<'static, 'static>, NurseryFuture<'static, Rc<()>>, Handle<'static, Rc<()>>, TaskStatus<Rc<()>>);
not!(Sync: LocalNursery<'static, 'static>);

#[test]
fn every_method_is_there() {
    let text = trine::run(trine::nursery(async |n| {
        let named: Task<'_, '_> = n.task("literal");
        named.start_soon(async { Ok(()) });
        let handle: Handle<'_, u32> = n.task(String::from("owned")).spawn(async { Ok(1) });
        let started: Result<u32> = n.task(Cow::Borrowed("cow")).start(async |s| Ok(TaskStatus::started(s, 2))).await;
        assert!(!handle.is_finished());
        assert_eq!((started?, handle.await?), (2, 1));
        let ignored: TaskStatus = TaskStatus::ignored();
        ignored.started(());
        let cut = n.spawn(async { Ok(trine::sleep_forever().await.map(|_| ())?) });
        cut.cancel();
        assert!(matches!(cut.await, Err(JoinError::Lost)));

        let spawner: Spawner = n.spawner();
        spawner.start_soon(async { Ok(()) })?;
        let handle: Handle<'static, u32> = spawner.spawn(async { Ok(3) })?;
        let start: Start<'static, u32> = spawner.start(async |s| Ok(TaskStatus::started(s, 4)));
        assert_eq!((start.await?, handle.await?), (4, 3));
        spawner.cancel_children();
        assert!(!spawner.is_closed());
        Ok(spawner)
    }));
    let spawner = text.unwrap();
    assert!(spawner.is_closed());
    assert_eq!(spawner.start_soon(async { Ok(()) }).unwrap_err().to_string(), Closed::to_string(&closed(&spawner)));
}

fn closed(spawner: &Spawner) -> Closed {
    spawner.spawn(async { Ok(()) }).map(drop).unwrap_err()
}

#[test]
fn local_nurseries_have_the_same_methods() {
    let count = Rc::new(Cell::new(0));
    let sum = trine::run(trine::local_nursery(async |n: &LocalNursery| {
        n.start_soon(async { Ok(count.set(1)) });
        let handle: Handle<'_, Rc<u32>> = n.spawn(async { Ok(Rc::new(1)) });
        let started: LocalStart<'_, Rc<u32>> = n.start(async |s| Ok(TaskStatus::started(s, Rc::new(2))));
        let sum = *started.await? + *handle.await?;
        n.task("a").start_soon(async { Ok(()) });
        let named = n.task("b").spawn(async { Ok(3) });
        let port: u32 = n.task("c").start(async |s| Ok(TaskStatus::started(s, 4))).await?;
        let sum = sum + named.await? + port;
        n.cancel_children();
        Ok(sum + count.get())
    }));
    assert_eq!(sum.unwrap(), 11);
}

#[test]
fn children_are_started_from_any_thread_that_holds_the_nursery() {
    let sum = trine::run(trine::nursery(async |n| {
        let handles = std::thread::scope(|s| {
            let threads: Vec<_> = (0..3).map(|i| s.spawn(move || n.spawn(async move { Ok(i) }))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        let mut sum = 0;
        for handle in handles {
            sum += handle.await?;
        }
        Ok(sum)
    }));
    assert_eq!(sum.unwrap(), 3);
}

#[test]
fn join_and_start_errors_have_the_variants() {
    trine::run(trine::nursery(async |n| {
        let never: Result<u32> = n.start(|_: TaskStatus<u32>| async { Ok(()) }).await;
        assert!(matches!(never.unwrap_err().find(), Some(StartError::NeverStarted)));
        let scope = trine::CancelScope::new();
        scope.cancel();
        let handle = n.spawn(async { Ok(()) });
        let waiter = scope.run(async {
            match handle.await {
                Err(JoinError::Cancelled(c)) => Err::<(), _>(Error::from(c)),
                other => panic!("{other:?}"),
            }
        });
        assert!(waiter.await?.is_none());
        Ok(())
    }))
    .unwrap();
    let ended = trine::run(trine::nursery(async |n| Ok(n.spawner()))).unwrap();
    let refused: Result<u32> = trine::run(ended.start(async |s| Ok(TaskStatus::started(s, 1))));
    assert!(matches!(refused.unwrap_err().find(), Some(StartError::Closed)));
}

#[test]
fn either_is_matched() {
    let won = trine::run(trine::race(async { Ok(1) }, async { Ok(pending::<&str>().await) })).unwrap();
    assert!(matches!(won, Either::Left(1)));
    let failed: Result<Either<(), ()>> = trine::run(trine::race(async { Err(Oops(1).into()) }, pending()));
    assert_eq!(failed.unwrap_err().find::<Oops>(), Some(&Oops(1)));
}

// Section 11, "what a user must write in which case".

fn function_that_spawns<'s>(n: &'s Nursery<'s, '_>) {
    n.start_soon(async { Ok(()) });
}

fn function_that_spawns_with_borrowed_data<'s, 'e, T: Sync>(n: &'s Nursery<'s, 'e>, data: &'e T) {
    n.start_soon(async move {
        let _data = data;
        Ok(())
    });
}

#[test]
fn local_of_a_loop_is_moved_into_the_child() {
    let words = [String::from("a"), String::from("b")];
    trine::run(trine::nursery(async |n| {
        function_that_spawns(n);
        function_that_spawns_with_borrowed_data(n, &words);
        for i in 0..2 {
            let words = &words;
            n.start_soon(async move {
                assert_eq!(words[i].len(), 1);
                Ok(())
            });
        }
        Ok(())
    }))
    .unwrap();
}

#[test]
fn spawners_children_own_their_data() {
    trine::run(trine::nursery(async |n| {
        let (spawner, text) = (n.spawner(), String::from("owned"));
        spawner.start_soon(async move { Ok(assert_eq!(text, "owned")) })?;
        Ok(())
    }))
    .unwrap();
}

#[test]
fn async_fn_helpers_use_local_nurseries() {
    async fn helper(work: impl AsyncFn(u32) -> Result<u32>) -> Result<u32> {
        trine::local_nursery(async |n| Ok(n.spawn(work(1)).await?)).await
    }
    assert_eq!(trine::run(helper(async |x| Ok(x + 1))).unwrap(), 2);
}

#[test]
fn serving_closures_borrow_or_clone_what_they_own() {
    fn serves<H, Fut>(_: H)
    where
        H: Fn(trine::net::TcpStream) -> Fut + Send + Sync,
        Fut: Future<Output = Result<()>> + Send,
    {
    }
    let config = std::sync::Arc::new(5);
    let borrowed = &config;
    serves(|stream| async move {
        stream.write_all(&[**borrowed]).await?;
        Ok(())
    });
    serves(|stream| {
        let config = config.clone();
        async move {
            stream.write_all(&[*config]).await?;
            Ok(())
        }
    });
    async fn whole(config: &u8) -> Result<()> {
        let listener = trine::net::TcpListener::bind("127.0.0.1:0").await?;
        trine::net::serve(listener, async |stream: trine::net::TcpStream| {
            stream.write_all(&[*config]).await?;
            Ok(())
        })
        .await
    }
    drop(send_value(whole(&config)));
}
