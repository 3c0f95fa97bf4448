//! `trine::typed`, and the rows of section 11 about errors of one's own.

use crate::{Oops, send_value, yields};
use std::time::Duration;
use trine::channel::SendError;
use trine::{
    CancelScope, Cancelled, Error, FailAfter, Instant, JoinError, LocalNurseryFuture, Nursery, NurseryFuture, Scoped,
    ScopedNursery, Shielded, StartError, TaskError, TaskStatus, TooSlow, typed,
};

const SECOND: Duration = Duration::from_secs(1);

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
    Send(#[from] SendError),
    #[error("oops")]
    Oops(#[from] Oops),
}

impl TaskError for MyErr {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

/// The other way: one variant for all that is Trine's.
#[derive(Debug, thiserror::Error)]
enum Whole {
    #[error(transparent)]
    Trine(#[from] Error),
}

impl From<Cancelled> for Whole {
    fn from(c: Cancelled) -> Self {
        Self::Trine(c.into())
    }
}

impl TaskError for Whole {
    fn is_cancelled(&self) -> bool {
        trine::is_cancelled(self)
    }
}

type Result<T, E = MyErr> = std::result::Result<T, E>;

// `E` first among the type parameters, and needed of it no more than each function needs.

fn generic<E: TaskError, T, F: Future<Output = Result<T, E>>>(scope: &CancelScope, mut futs: impl FnMut() -> F) {
    drop::<Scoped<F>>(yields::<Result<Option<T>, E>, _>(typed::run_in::<E, T, F>(scope, futs())));
    drop::<Scoped<F>>(yields::<Result<Option<T>, E>, _>(typed::move_on_after::<E, T, F>(SECOND, futs())));
    drop::<Scoped<F>>(yields::<Result<Option<T>, E>, _>(typed::move_on_at::<E, T, F>(Instant::now(), futs())));
    drop::<Shielded<F>>(yields::<Result<T, E>, _>(typed::shielded::<E, T, F>(futs())));
    drop::<Scoped<F>>(yields::<Result<Option<T>, E>, _>(typed::shielded_for::<E, T, F>(SECOND, futs())));
}

fn generic_timeout<E, T, F>(mut futs: impl FnMut() -> F)
where
    E: TaskError + From<TooSlow>,
    F: Future<Output = Result<T, E>>,
{
    drop::<FailAfter<F>>(yields::<Result<T, E>, _>(typed::fail_after::<E, T, F>(SECOND, futs())));
    drop::<FailAfter<F>>(yields::<Result<T, E>, _>(typed::fail_at::<E, T, F>(Instant::now(), futs())));
}

#[test]
fn same_types_with_the_error_first() {
    generic::<Cancelled, _, _>(&CancelScope::new(), trine::checkpoint);
    generic::<Whole, _, _>(&CancelScope::new(), || async { Ok(1) });
    generic_timeout::<MyErr, _, _>(|| async { Ok(1) });
    let plain: NurseryFuture<'_, u32, MyErr> = typed::nursery::<MyErr, _>(async |_| Ok(1));
    let local: LocalNurseryFuture<'_, u32, MyErr> = typed::local_nursery::<MyErr, _>(async |_| Ok(1));
    let scoped: ScopedNursery<'_, u32, MyErr> = typed::nursery_in::<MyErr, _>(&CancelScope::new(), async |_| Ok(1));
    assert_eq!(trine::run(yields::<Result<u32>, _>(plain)).unwrap(), 1);
    assert_eq!(trine::run(yields::<Result<u32>, _>(local)).unwrap(), 1);
    assert_eq!(trine::run(yields::<Result<Option<u32>>, _>(scoped)).unwrap(), Some(1));
}

#[test]
fn conversions_are_asked_for_only_where_they_are_used() {
    async fn all() -> Result<u32> {
        let (tx, rx) = trine::channel(1);
        typed::nursery::<MyErr, _>(async |n| {
            let child = n.spawn(async { Ok(1) });
            let started: u32 = n.start(async |s| Ok(TaskStatus::started(s, 2))).await?;
            n.task("named").start_soon(async { Ok(tx.send(3).await?) });
            let late = typed::fail_after::<MyErr, _, _>(SECOND, async { Ok(trine::sleep(SECOND / 2).await?) });
            late.await?;
            let sum = child.await? + started + rx.try_next().await?.unwrap_or(0);
            Ok(sum)
        })
        .await
    }
    assert_eq!(trine::testing::run(send_value(all())).unwrap(), 6);
    // The smallest error there is: with it, all that fails with nothing else.
    let smallest = trine::run(typed::nursery::<Cancelled, _>(async |n| {
        n.start_soon(async {
            trine::sleep(Duration::ZERO).await?;
            trine::checkpoint().await?;
            let (_, rx) = trine::channel::<u8>(1);
            rx.try_next().await?;
            let event = trine::sync::Event::new();
            event.set();
            event.wait().await?;
            let mutex = trine::sync::Mutex::new(());
            let mut guard = mutex.lock().await?;
            trine::sync::Condition::new().wait_while(&mut guard, |()| false).await?;
            drop(trine::sync::Semaphore::new(1).acquire().await?);
            drop(trine::sync::CapacityLimiter::new(1).acquire().await?);
            trine::cancellable(async {}).await
        });
        Ok(())
    }));
    smallest.unwrap();
}

// Section 11, row by row.

#[test]
fn nursery_as_the_tail_needs_nothing() {
    async fn tail() -> Result<u32> {
        typed::nursery(async |n| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(1)
        })
        .await
    }
    assert_eq!(trine::run(tail()).unwrap(), 1);
}

#[test]
fn nursery_with_a_question_mark_names_the_error_once() {
    async fn three() -> Result<u32> {
        let a = typed::nursery(async |n: &Nursery<MyErr>| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(1)
        })
        .await?;
        let b = typed::nursery::<MyErr, _>(async |n| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(1)
        })
        .await?;
        let c = typed::nursery(async |n| -> Result<_, MyErr> {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(1)
        })
        .await?;
        Ok(a + b + c)
    }
    assert_eq!(trine::run(send_value(three())).unwrap(), 3);
}

#[test]
fn timeouts_with_a_question_mark_name_the_error() {
    async fn whole() -> Result<Option<u32>> {
        let outcome = typed::move_on_after::<MyErr, _, _>(SECOND, async {
            trine::checkpoint().await?;
            Err(Oops(1))?;
            Ok(1)
        })
        .await?;
        Ok(outcome)
    }
    assert!(matches!(trine::run(whole()), Err(MyErr::Oops(Oops(1)))));
}

#[test]
fn root_functions_need_nothing() {
    async fn whole() -> trine::Result<u32> {
        let value = trine::nursery(async |n| {
            n.start_soon(async {
                Err(Oops(1)).or(Ok::<_, Oops>(()))?;
                Ok(())
            });
            Ok(1)
        })
        .await?;
        Ok(value)
    }
    assert_eq!(trine::run(whole()).unwrap(), 1);
    fn tail() -> trine::Result<()> {
        trine::run(async {
            trine::checkpoint().await?;
            Ok(())
        })
    }
    tail().unwrap();
    let named = trine::run(async {
        trine::checkpoint().await?;
        Ok::<_, Error>(())
    });
    named.unwrap();
}

#[test]
fn variant_for_the_whole_error_is_enough() {
    async fn whole() -> Result<u32, Whole> {
        let inner = trine::nursery(async |_| Ok(1)).await?;
        typed::nursery(async |n| {
            n.start_soon(async { Ok(trine::checkpoint().await?) });
            Ok(inner)
        })
        .await
    }
    assert_eq!(trine::run(whole()).unwrap(), 1);
}
