//! "All futures and handles are `Send` if what they hold is, except the `Local` ones": each type by its name, with what can
//! be sent, and with what cannot. That operations give these types is in the files of their sections.

use crate::{not, send, send_value, sync};
use std::cell::Cell;
use std::future::Ready;
use std::pin::Pin;
use std::rc::Rc;
use trine::{
    CancelScope, Cancellable, EffectiveDeadline, Error, FailAfter, Finally, Handle, Hosted, Instant, Isolated, Lift,
    Nursery, NurseryFuture, Race, RaceAll, Reason, Result, Scoped, ScopedNursery, Shielded, Sleep, SleepForever, Start,
    TaskError, TaskStatus,
};

/// A future whose value, and so the future, can be sent but not shared.
type Sent = Ready<Result<Cell<u8>>>;
/// A future that cannot be sent.
type Stays = Ready<Result<Rc<u8>>>;

#[test]
fn futures_are_send_if_what_they_hold_is() {
    send::<(Scoped<Sent>, FailAfter<Sent>, Shielded<Sent>, Lift<Sent>, Cancellable<Sent>, Isolated<Sent>)>();
    send::<Finally<Cell<u8>, Sent, Ready<Result<()>>>>();
    send::<(Race<Sent, Sent>, RaceAll<Sent>)>();
    send::<Hosted<Sent>>();
    send::<(NurseryFuture<'static, Cell<u8>>, ScopedNursery<'static, Cell<u8>>, Start<'static, Cell<u8>>)>();
    send::<(Sleep, SleepForever, trine::Checkpoint, trine::ShieldedCheckpoint)>();
    send::<(Instant, EffectiveDeadline, Reason, Error)>();
    sync::<(Instant, EffectiveDeadline, Reason, Error)>();
    send::<(trine::testing::AllTasksBlocked, trine::testing::Sequencer, trine::testing::Turn<'static>)>();
    sync::<(trine::testing::Sequencer, trine::testing::MockClock, trine::testing::MemoryStream)>();
    send::<(trine::inspect::TaskInfo, trine::inspect::Tree, trine::inspect::Statistics)>();
    send::<(trine::lowlevel::ParkingLot, trine::lowlevel::Park<'static>)>();
    sync::<(trine::lowlevel::ParkingLot, CancelScope)>();
}

not!(Send: Scoped<Stays>, FailAfter<Stays>, Shielded<Stays>, Lift<Stays>, Cancellable<Stays>, Isolated<Stays>,
    Race<Stays, Sent>, Race<Sent, Stays>, RaceAll<Stays>, Hosted<Stays>);
not!(Send: Finally<Rc<u8>, Stays, Ready<Result<()>>>, Finally<Cell<u8>, Sent, Stays>);
not!(Send: NurseryFuture<'static, Rc<u8>>, ScopedNursery<'static, Rc<u8>>, Start<'static, Rc<u8>>,
    Handle<'static, Rc<u8>>, TaskStatus<Rc<u8>>);

/// What a body or a child holds across its waits, for any lifetime, value and error.
fn in_generic_code<'env, T, E, F>(value: &'env T, make: impl Fn(&'env T) -> F + Send + Sync + 'env)
where
    T: Sync,
    E: TaskError + Send + 'static,
    F: Future<Output = Result<u8, E>> + Send + 'env,
{
    drop(send_value(trine::typed::nursery::<E, _>(async move |n: &Nursery<'_, 'env, E>| {
        let child = n.spawn(make(value));
        let waited = trine::typed::shielded::<E, _, _>(make(value)).await?;
        let caught = trine::typed::move_on_after::<E, _, _>(std::time::Duration::MAX, make(value)).await?;
        child.cancel();
        Ok(waited + caught.unwrap_or_default())
    })));
}

#[test]
fn generic_code_is_send_by_its_bounds() {
    let text = String::from("borrowed");
    in_generic_code::<_, Error, _>(&text, |text| async move {
        trine::checkpoint().await?;
        Ok(text.len() as u8)
    });
}

#[test]
fn everything_that_waits_is_held_across_waits_in_one_future_that_is_send() {
    type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
    fn whole<'a>(words: &'a [String], scope: &'a CancelScope) -> Boxed<'a, Result<usize>> {
        Box::pin(async move {
            let event = trine::sync::Event::new();
            let mutex = trine::sync::Mutex::new(Cell::new(0));
            let condition = trine::sync::Condition::new();
            let semaphore = trine::sync::Semaphore::new(1);
            let limiter = trine::sync::CapacityLimiter::new(1);
            let lock = trine::sync::Lock::new();
            let lot = trine::lowlevel::ParkingLot::new();
            let (tx, rx) = trine::channel(0);
            let outcome = scope
                .nursery(async |n| {
                    n.start_soon(async {
                        for word in words {
                            tx.send(word.as_str()).await?;
                        }
                        event.wait().await?;
                        let mut guard = mutex.lock().await?;
                        condition.wait_while(&mut guard, |number| number.get() == 0).await?;
                        lot.park().await?;
                        Ok(())
                    });
                    let _permit = semaphore.acquire().await?;
                    let _token = limiter.acquire().await?;
                    lock.acquire().await?;
                    let mut length = 0;
                    for _ in words {
                        length += rx.recv().await?.len();
                    }
                    event.set();
                    trine::testing::wait_all_tasks_blocked().await?;
                    mutex.lock().await?.set(1);
                    condition.notify_all();
                    let status: Boxed<'_, Result<usize>> = Box::pin(n.start(async |status: TaskStatus<usize>| {
                        trine::checkpoint().await?;
                        status.started(1);
                        Ok(())
                    }));
                    let started = trine::fail_after(std::time::Duration::MAX, status).await?;
                    trine::testing::wait_all_tasks_blocked().await?;
                    lot.unpark_all();
                    lock.release()?;
                    let raced =
                        trine::race(async { Ok(trine::sleep_forever().await?) }, async { Ok(length + started) });
                    match raced.await? {
                        trine::Either::Left(never) => match never {},
                        trine::Either::Right(length) => Ok(length),
                    }
                })
                .await?;
            trine::shielded_checkpoint().await;
            Ok(outcome.unwrap_or_default())
        })
    }
    let words = ["a".to_owned(), "bc".to_owned()];
    let scope = CancelScope::new();
    let on_another_thread = std::thread::scope(|s| {
        let whole = whole(&words, &scope);
        s.spawn(move || trine::testing::run(whole).unwrap()).join().unwrap()
    });
    assert_eq!(on_another_thread, 4);
}
