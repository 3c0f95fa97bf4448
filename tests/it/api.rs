//! The shapes that the documentation promises: signatures, `Send`, and what one has to write in which case.

use crate::support::Oops;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use trine::sync::{CapacityLimiter, Condition, Event, Lock, Mutex, Semaphore};
use trine::{
    CancelScope, Cancelled, Either, Error, Handle, Instant, JoinError, LocalNursery, Nursery, Result, ResultExt,
    Spawner, StartError, TaskError, TaskStatus, TooSlow, typed,
};

fn assert_send<T: Send>(value: T) -> T {
    value
}
fn drop_send<T: Send>(_: T) {}
fn send<T: Send>() {}
fn sync<T: Sync>() {}

/// `not_send!(T)` compiles only if `T` is not `Send`: else two impls apply.
macro_rules! not_send {
    ($t:ty) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn some() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct IfSend;
            impl<T: ?Sized + Send> Ambiguous<IfSend> for T {}
            let _ = <$t as Ambiguous<_>>::some;
        };
    };
}
macro_rules! not_sync {
    ($t:ty) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn some() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct IfSync;
            impl<T: ?Sized + Sync> Ambiguous<IfSync> for T {}
            let _ = <$t as Ambiguous<_>>::some;
        };
    };
}

not_send!(trine::LocalNurseryFuture<'static, ()>);
not_send!(trine::ScopedLocalNursery<'static, ()>);
not_send!(&'static LocalNursery<'static, 'static>);
not_sync!(LocalNursery<'static, 'static>);
not_send!(trine::LocalStart<'static, ()>);
not_send!(trine::NurseryFuture<'static, Rc<()>>);
not_send!(trine::Start<'static, Rc<()>>);
not_send!(Handle<'static, Rc<()>>);

#[test]
fn handles_are_send_and_sync() {
    send::<Nursery<'_, '_>>();
    sync::<Nursery<'_, '_>>();
    send::<trine::Task<'_, '_>>();
    send::<Handle<'_, u32>>();
    sync::<Handle<'_, u32>>();
    send::<Handle<'_, Cell<u32>>>();
    send::<Spawner>();
    sync::<Spawner>();
    send::<TaskStatus<Cell<u32>>>();
    sync::<TaskStatus<u32>>();
    send::<trine::Start<'_, u32>>();
    send::<CancelScope>();
    sync::<CancelScope>();
    send::<Error>();
    sync::<Error>();
    send::<Cancelled>();
    sync::<Cancelled>();
    send::<trine::NurseryFuture<'_, Cell<u32>>>();
    send::<trine::channel::Sender<Cell<u32>>>();
    send::<trine::backend::Backend>();
    sync::<trine::backend::Backend>();
    send::<trine::testing::MockClock>();
    send::<trine::inspect::Tree>();
    fn clones<T: Clone>() {}
    clones::<Spawner>();
    clones::<CancelScope>();
    clones::<Cancelled>();
    clones::<trine::testing::MockClock>();
    clones::<trine::backend::Backend>();
    fn plain<T: Copy + Ord + std::hash::Hash + std::fmt::Debug>() {}
    plain::<Instant>();
    fn ordered<T: Ord>() {}
    ordered::<trine::EffectiveDeadline>();
}

async fn with_connection<T, F>(use_it: F) -> Result<T>
where
    F: AsyncFnOnce(&Mutex<u32>) -> Result<T> + Send,
    T: Send,
{
    let connection = Mutex::new(1);
    use_it(&connection).await
}

/// Holds a nursery, a guard, a channel and scopes across awaits.
async fn everything(shared: &Mutex<u32>, depth: u32) -> Result<u32> {
    let (tx, rx) = trine::channel::<u32>(1);
    let done = Event::new();
    let value = trine::nursery(async |n| {
        let port = n
            .start(|status| async {
                status.started(depth);
                done.wait().await?;
                Ok(())
            })
            .await?;
        let handle = n.spawn(async {
            let guard = shared.lock().await?;
            trine::checkpoint().await?;
            Ok(*guard)
        });
        n.task("sender").start_soon(async {
            tx.send(1).await?;
            tx.send_or_return(2).await.map_err(|(_, e)| e)?;
            tx.close();
            Ok(())
        });
        let inner = trine::nursery(async |m| {
            m.start_soon(async {
                n.start_soon(async { Ok(()) });
                Ok(())
            });
            Ok(trine::move_on_after(Duration::from_secs(1), async { Ok(rx.recv().await?) }).await?.unwrap_or(0))
        })
        .await?;
        let second = trine::race(async { Ok(rx.recv().await?) }, async {
            trine::sleep(Duration::from_secs(9)).await?;
            Ok(())
        });
        let second = match second.await? {
            Either::Left(x) => x,
            Either::Right(()) => 0,
        };
        assert_eq!(rx.try_next().await?, None);
        let third = trine::race_all([async { Ok(3) }]).await?;
        let kept = trine::finally(async { Ok(handle.await?) }, async {
            trine::shielded(async { Ok(trine::checkpoint().await?) }).await
        })
        .await?;
        done.set();
        trine::shielded_checkpoint().await;
        Ok(port + inner + second + third + kept)
    })
    .await?;
    trine::fail_after(Duration::from_secs(1), trine::lift(async { Ok::<_, std::io::Error>(()) })).await?;
    Ok(value)
}

fn recursive(shared: &Mutex<u32>, depth: u32) -> Pin<Box<dyn Future<Output = Result<u32>> + Send + '_>> {
    Box::pin(async move {
        if depth == 0 {
            return Ok(0);
        }
        let below = trine::nursery(async |n| {
            let child = n.spawn(recursive(shared, depth - 1));
            Ok(child.await?)
        })
        .await?;
        Ok(below + everything(shared, depth).await?)
    })
}

trait Service: Send + Sync {
    fn call<'a>(&'a self, x: u32) -> Pin<Box<dyn Future<Output = Result<u32>> + Send + 'a>>;
}

struct Nested(Mutex<u32>);

impl Service for Nested {
    fn call<'a>(&'a self, x: u32) -> Pin<Box<dyn Future<Output = Result<u32>> + Send + 'a>> {
        Box::pin(async move {
            trine::nursery(async |n| {
                let guard = self.0.lock().await?;
                let child = n.spawn(async move { Ok(x + 1) });
                Ok(child.await? + *guard)
            })
            .await
        })
    }
}

#[test]
fn a_tree_of_everything_is_send_and_runs() {
    let shared = Mutex::new(5);
    let service: Box<dyn Service> = Box::new(Nested(Mutex::new(1)));
    let whole = assert_send(async {
        let a = recursive(&shared, 3).await?;
        let b = service.call(1).await?;
        let c = with_connection(async |m| Ok(*m.lock().await?)).await?;
        Ok::<_, Error>(a + b + c)
    });
    // Each level: its depth, 1 + 2 from the channel, 3 from the race, 5 from the mutex.
    assert_eq!(trine::testing::run(whole).unwrap(), (1 + 11) + (2 + 11) + (3 + 11) + 3 + 1);
}

#[test]
fn every_wait_is_send() {
    let (tx, rx) = trine::unbounded::<Cell<u32>>();
    drop_send(tx.send(Cell::new(1)));
    drop_send(rx.recv());
    drop_send(rx.try_next());
    let (mutex, condition, semaphore) = (Mutex::new(()), Condition::new(), Semaphore::new(1));
    drop_send(async {
        let mut guard = mutex.lock().await?;
        condition.wait(&mut guard).await?;
        let _permit = semaphore.acquire().await?;
        trine::checkpoint().await?;
        drop(guard);
        Ok::<_, Cancelled>(())
    });
    drop_send(Arc::new(Mutex::new(())).lock_owned());
    drop_send(Arc::new(Semaphore::new(1)).acquire_owned());
    let (limiter, lock) = (CapacityLimiter::new(1), Lock::new());
    drop_send(async {
        let _token = limiter.acquire().await?;
        lock.acquire().await.ok();
        Ok::<_, Cancelled>(())
    });
    drop_send(trine::sleep(Duration::ZERO));
    drop_send(trine::sleep_until(trine::now()));
    drop_send(trine::sleep_forever());
    drop_send(trine::shielded_checkpoint());
    drop_send(trine::cancellable(std::future::pending::<()>()));
    drop_send(trine::isolated(std::future::pending::<()>()));
    drop_send(trine::shielded_for(Duration::ZERO, async { Ok(()) }));
    drop_send(trine::testing::wait_all_tasks_blocked());
    drop_send(CancelScope::new().nursery(async |_| Ok(())));
}

#[test]
fn constructors_of_primitives_are_const() {
    static EVENT: Event = Event::new();
    static MUTEX: Mutex<u32> = Mutex::new(1);
    static CONDITION: Condition = Condition::new();
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    static LIMITER: CapacityLimiter = CapacityLimiter::new(1);
    static LOCK: Lock = Lock::new();
    EVENT.set();
    CONDITION.notify_all();
    LIMITER.set_total(CapacityLimiter::UNLIMITED);
    assert!(MUTEX.try_lock().is_ok() && SEMAPHORE.available() == 1 && !LOCK.is_locked());
}

#[test]
fn scopes_can_be_asked_and_told() {
    let scope = CancelScope::after(Duration::from_secs(5)).shielded();
    assert!(scope.is_shielded() && !scope.cancel_called() && !scope.cancelled_caught());
    assert!(scope.reason().is_none() && scope.deadline().is_none());
    scope.set_shield(false);
    scope.set_deadline(Some(trine::now() + Duration::from_secs(1)));
    scope.clone().cancel_because("enough");
    scope.cancel();
    let reason = scope.reason().unwrap();
    assert_eq!((reason.kind(), reason.message()), (trine::ReasonKind::Explicit, Some("enough")));
    let caught: Option<()> = trine::run(scope.run(async { Ok(trine::checkpoint().await?) })).unwrap();
    assert!(caught.is_none() && scope.cancelled_caught());
    assert!(CancelScope::at(trine::now()).clone().deadline().is_some());
}

// What a user must write in which case, row by row.

#[derive(Debug, thiserror::Error)]
enum MyErr {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("too slow")]
    TooSlow(#[from] TooSlow),
    #[error("lost")]
    Join(#[from] JoinError),
    #[error("not started")]
    Start(#[from] StartError),
    #[error("not sent")]
    Send(#[from] trine::channel::SendError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl TaskError for MyErr {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

#[derive(Debug, thiserror::Error)]
enum FromWhole {
    #[error(transparent)]
    Trine(#[from] Error),
}

impl From<Cancelled> for FromWhole {
    fn from(c: Cancelled) -> Self {
        Self::Trine(c.into())
    }
}

impl TaskError for FromWhole {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

#[test]
fn root_functions_need_no_annotation() {
    fn whole() -> Result<u32> {
        trine::run(async {
            let x = trine::nursery(async |n| {
                n.start_soon(async {
                    trine::checkpoint().await?;
                    Ok(())
                });
                std::io::Write::flush(&mut std::io::sink())?;
                Ok(1)
            })
            .await?;
            let y = trine::move_on_after(Duration::from_secs(1), async {
                trine::checkpoint().await?;
                Ok(2)
            })
            .await?;
            Ok(x + y.unwrap_or(0))
        })
    }
    assert_eq!(whole().unwrap(), 3);
    let inline = trine::run(async {
        trine::checkpoint().await?;
        Ok::<_, Error>(())
    });
    inline.unwrap();
}

#[test]
fn typed_functions_need_the_error_once() {
    async fn tail() -> std::result::Result<u32, MyErr> {
        typed::nursery(async |n| {
            n.start_soon(async {
                trine::checkpoint().await?;
                Ok(())
            });
            Ok(1)
        })
        .await
    }
    async fn asked() -> std::result::Result<u32, MyErr> {
        let a = typed::nursery(async |n: &Nursery<MyErr>| {
            n.start_soon(async { Ok(()) });
            Ok(1)
        })
        .await?;
        let b = typed::nursery::<MyErr, _>(async |n| {
            let handle = n.spawn(async { Ok(1) });
            let port = n
                .start(|status| async {
                    status.started(1);
                    Ok(())
                })
                .await?;
            Ok(handle.await? + port)
        })
        .await?;
        let c = typed::nursery(async |n| -> std::result::Result<u32, MyErr> {
            n.start_soon(async { Ok(()) });
            Ok(1)
        })
        .await?;
        let d = typed::move_on_after::<MyErr, _, _>(Duration::from_secs(1), async {
            trine::checkpoint().await?;
            Ok(1)
        })
        .await?;
        let e = typed::fail_after::<MyErr, _, _>(Duration::from_secs(1), async { Ok(1) }).await?;
        let f = typed::shielded::<MyErr, _, _>(async { Ok(1) }).await?;
        let g = typed::run_in::<MyErr, _, _>(&CancelScope::new(), async { Ok(1) }).await?;
        let h = typed::nursery_in::<MyErr, _>(&CancelScope::new(), async |_| Ok(1)).await?;
        let i = typed::local_nursery::<MyErr, _>(async |_| Ok(1)).await?;
        let j = typed::shielded_for::<MyErr, _, _>(Duration::from_secs(1), async { Ok(1) }).await?;
        let k = typed::fail_at::<MyErr, _, _>(trine::now() + Duration::from_secs(1), async { Ok(1) }).await?;
        let l = typed::move_on_at::<MyErr, _, _>(trine::now() + Duration::from_secs(1), async { Ok(1) }).await?;
        trine::channel(1).0.send(1).await.or_else(|e| if e.to_string().is_empty() { Err(e) } else { Ok(()) })?;
        let maybe = d.unwrap_or(0) + g.unwrap_or(0) + h.unwrap_or(0) + j.unwrap_or(0) + l.unwrap_or(0);
        Ok(a + b + c + e + f + i + k + maybe)
    }
    assert_eq!(trine::run(tail()).unwrap(), 1);
    assert_eq!(trine::run(assert_send(tail())).unwrap(), 1);
    assert_eq!(trine::run(asked()).unwrap(), 13);
    let whole = trine::run(typed::nursery::<FromWhole, _>(async |n| {
        n.start_soon(async {
            trine::sleep_forever().await?;
            Ok(())
        });
        Err::<(), _>(FromWhole::Trine(Error::new(Oops(1))))
    }));
    let FromWhole::Trine(e) = whole.unwrap_err();
    assert!(e.find::<Oops>().is_some());
}

#[test]
fn foreign_futures_are_lifted_into_timeouts() {
    let result: Result<()> = trine::testing::run(async {
        let foreign = || async { Ok::<_, std::num::ParseIntError>("7".parse::<u32>()?) };
        let second = Duration::from_secs(1);
        assert_eq!(trine::fail_after(second, trine::lift(foreign())).await?, 7);
        assert_eq!(trine::fail_after(second, async { Ok(foreign().await?) }).await?, 7);
        trine::fail_after(second, async {
            std::future::ready(()).await;
            Ok(())
        })
        .await?;
        Ok(())
    });
    result.unwrap();
}

#[test]
fn errors_that_are_no_errors_go_into_ours() {
    fn whole() -> Result<()> {
        Err::<(), _>(anyhow::anyhow!("any")).into_trine().unwrap_err();
        Err::<(), _>(String::from("text")).into_trine().unwrap_err();
        Err::<(), Box<dyn std::error::Error + Send + Sync>>("boxed".into()).into_trine()?;
        Ok(())
    }
    assert_eq!(whole().unwrap_err().to_string(), "boxed");
}

fn spawns<'s>(n: &'s Nursery<'s, '_>) {
    n.start_soon(async { Ok(()) });
}

fn spawns_borrowed<'s, 'e>(n: &'s Nursery<'s, 'e>, count: &'e std::sync::atomic::AtomicU32) {
    n.start_soon(async {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
}

#[test]
fn functions_take_nurseries_and_loops_borrow_as_with_threads() {
    let count = std::sync::atomic::AtomicU32::new(0);
    trine::run(trine::nursery(async |n| {
        spawns(n);
        spawns_borrowed(n, &count);
        for i in 0..3 {
            let count = &count;
            n.start_soon(async move {
                count.fetch_add(i, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            });
        }
        let spawner = n.spawner();
        let text = String::from("owned");
        spawner.start_soon(async move {
            assert_eq!(text, "owned");
            Ok(())
        })?;
        Ok(())
    }))
    .unwrap();
    assert_eq!(count.into_inner(), 4);
}

#[test]
fn channels_of_borrowed_values_are_declared_after_them() {
    let words = vec![String::from("a"), String::from("b")];
    let (tx, rx) = trine::channel::<&str>(0);
    let heard = trine::run(trine::nursery(async |n| {
        n.start_soon(async {
            for word in &words {
                tx.send(word).await?;
            }
            tx.close();
            Ok(())
        });
        let mut heard = Vec::new();
        while let Some(word) = rx.try_next().await? {
            heard.push(word);
        }
        Ok(heard)
    }))
    .unwrap();
    assert_eq!(heard, ["a", "b"]);
}

#[test]
fn helpers_with_async_fn_arguments_use_local_nurseries() {
    async fn retry(work: impl AsyncFn(u32) -> Result<u32>) -> Result<u32> {
        trine::local_nursery(async |n| {
            let first = n.spawn(work(1));
            let second = n.spawn(work(2));
            Ok(first.await? + second.await?)
        })
        .await
    }
    let count = Rc::new(Cell::new(0));
    let sum = trine::run(retry(async |x| {
        count.set(count.get() + x);
        trine::checkpoint().await?;
        Ok(x)
    }));
    assert_eq!((sum.unwrap(), count.get()), (3, 3));
}

#[test]
fn dyn_error_targets_take_our_error() {
    fn boxed() -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        trine::run(trine::nursery(async |_| Err::<(), _>(Oops(3).into())))?;
        Ok(())
    }
    fn io() -> std::io::Result<()> {
        Ok(trine::run(trine::nursery(async |_| Err::<(), _>(Oops(3).into())))?)
    }
    assert!(boxed().unwrap_err().to_string().contains("oops 3"));
    assert!(io().unwrap_err().to_string().contains("oops 3"));
}
