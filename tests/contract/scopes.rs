//! Section 2: cancel scopes and timeouts.

use crate::{Oops, debug, is_clone, not, send, send_value, sync, yields, yields_send};
use std::borrow::Cow;
use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;
use trine::{
    CancelScope, Cancellable, Cancelled, EffectiveDeadline, Error, FailAfter, Finally, Instant, Isolated, Lift, Reason,
    ReasonKind, Result, Scoped, ScopedLocalNursery, ScopedNursery, Shielded, TooSlow,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn scopes_are_handles() {
    send::<CancelScope>();
    sync::<CancelScope>();
    is_clone::<CancelScope>();
    debug::<CancelScope>();
    is_clone::<Reason>();
    send::<Reason>();
    send::<ScopedNursery<'static, Cell<u8>>>();
    send::<Scoped<std::future::Ready<u8>>>();
}

not!(Send: ScopedLocalNursery<'static, ()>, Scoped<std::future::Ready<Rc<u8>>>, Shielded<std::future::Ready<Rc<u8>>>);

// Every root function takes exactly `Result<T, Error>`, and says what it returns.

fn move_on_after<T, F: Future<Output = Result<T>>>(d: Duration, fut: F) -> Scoped<F> {
    yields::<Result<Option<T>>, _>(trine::move_on_after(d, fut))
}
fn move_on_at<T, F: Future<Output = Result<T>>>(at: Instant, fut: F) -> Scoped<F> {
    yields::<Result<Option<T>>, _>(trine::move_on_at(at, fut))
}
fn fail_after<T, F: Future<Output = Result<T>>>(d: Duration, fut: F) -> FailAfter<F> {
    yields::<Result<T>, _>(trine::fail_after(d, fut))
}
fn fail_at<T, F: Future<Output = Result<T>>>(at: Instant, fut: F) -> FailAfter<F> {
    yields::<Result<T>, _>(trine::fail_at(at, fut))
}
fn shielded<T, F: Future<Output = Result<T>>>(fut: F) -> Shielded<F> {
    yields::<Result<T>, _>(trine::shielded(fut))
}
fn shielded_for<T, F: Future<Output = Result<T>>>(d: Duration, fut: F) -> Scoped<F> {
    yields::<Result<Option<T>>, _>(trine::shielded_for(d, fut))
}
fn lift<T, E: Into<Error>, F: Future<Output = Result<T, E>>>(fut: F) -> Lift<F> {
    yields::<Result<T>, _>(trine::lift(fut))
}
fn cancellable<F: Future>(fut: F) -> Cancellable<F> {
    yields::<Result<F::Output, Cancelled>, _>(trine::cancellable(fut))
}
fn isolated<F: Future>(fut: F) -> Isolated<F> {
    yields::<F::Output, _>(trine::isolated(fut))
}
fn finally<T, B, C>(body: B, cleanup: C) -> Finally<T, B, C>
where
    B: Future<Output = Result<T>>,
    C: Future<Output = Result<()>>,
{
    yields::<Result<T>, _>(trine::finally(body, cleanup).within(SECOND))
}
fn run_in<T, F: Future<Output = Result<T>>>(scope: &CancelScope, fut: F) -> Scoped<F> {
    yields::<Result<Option<T>>, _>(scope.run(fut))
}

#[test]
fn every_function_is_there_and_send_if_its_future_is() {
    let at = trine::now() + SECOND;
    let whole = send_value(async {
        let one = || async { Ok(Cell::new(1)) };
        let scope = CancelScope::new();
        let mut sum = 0;
        for caught in [
            move_on_after(SECOND, one()).await?,
            move_on_at(trine::now() + SECOND, one()).await?,
            shielded_for(SECOND, one()).await?,
            run_in(&scope, one()).await?,
            CancelScope::new().nursery(async |_| Ok(Cell::new(1))).await?,
        ] {
            sum += caught.map_or(0, |c| c.get());
        }
        for value in [
            fail_after(SECOND, one()).await?,
            fail_at(trine::now() + SECOND, one()).await?,
            shielded(one()).await?,
            finally(one(), async { Ok(()) }).await?,
            lift(async { Ok::<_, std::io::Error>(Cell::new(1)) }).await?,
            cancellable(ready(Cell::new(1))).await?,
            isolated(ready(Cell::new(1))).await,
        ] {
            sum += value.get();
        }
        Ok::<_, Error>(sum)
    });
    assert_eq!(trine::testing::run(whole).unwrap(), 12);
    assert!(at > trine::now() - SECOND);
}

#[test]
fn scopes_have_every_method() {
    let scope: CancelScope = CancelScope::new();
    let _: CancelScope = CancelScope::after(SECOND);
    let at: CancelScope = CancelScope::at(trine::now() + SECOND).shielded();
    assert!(at.is_shielded() && at.deadline().is_some());
    scope.set_deadline(Some(trine::now() + SECOND));
    scope.set_deadline(None::<Instant>);
    scope.set_shield(true);
    scope.set_shield(false);
    let _: bool = scope.cancel_called() || scope.cancelled_caught() || scope.is_shielded();
    let _: Option<Instant> = scope.deadline();
    assert!(scope.reason().is_none());
    scope.cancel_because("literal");
    scope.cancel_because(String::from("owned"));
    scope.cancel_because(Cow::Borrowed("cow"));
    scope.cancel();
    let reason: Reason = scope.reason().unwrap();
    let (kind, message): (ReasonKind, Option<&str>) = (reason.kind(), reason.message());
    assert_eq!((kind, message, reason.to_string().as_str()), (ReasonKind::Explicit, Some("literal"), "literal"));
    drop(yields_send::<Result<Option<u8>>, _>(scope.nursery(async |_| Ok(1))));
    drop(yields::<Result<Option<Rc<u8>>>, _>(CancelScope::new().local_nursery(async |_| Ok(Rc::new(1)))));
}

#[test]
fn kinds_of_reasons_are_matched_with_a_rest() {
    fn name(kind: ReasonKind) -> &'static str {
        match kind {
            ReasonKind::Explicit => "explicit",
            ReasonKind::Deadline => "deadline",
            ReasonKind::Nursery => "nursery",
            ReasonKind::Shutdown => "shutdown",
            _ => "later",
        }
    }
    let late: Result<()> = trine::testing::run(trine::fail_after(SECOND, async { Ok(pending().await) }));
    let late = late.unwrap_err();
    assert_eq!(name(late.find::<TooSlow>().unwrap().reason().kind()), "deadline");
}

#[test]
fn effective_deadline_is_an_ordered_enum() {
    fn ordered<T: Ord + Copy + std::fmt::Debug>(_: T) {}
    ordered(EffectiveDeadline::Never);
    let at = EffectiveDeadline::At(trine::now());
    assert!(EffectiveDeadline::Cancelled < at && at < EffectiveDeadline::Never);
    assert_eq!(trine::current_effective_deadline(), EffectiveDeadline::Never);
}

// Section 11.

#[test]
fn timeouts_around_foreign_futures() {
    async fn foreign() -> std::result::Result<u32, std::num::ParseIntError> {
        "7".parse()
    }
    async fn whole() -> Result<u32> {
        let a = trine::fail_after(SECOND, trine::lift(foreign())).await?;
        let b = trine::fail_after(SECOND, async { Ok(foreign().await?) }).await?;
        trine::fail_after(SECOND, async {
            ready(5).await;
            Ok(())
        })
        .await?;
        let c = trine::shielded(async { Ok(ready(1).await) }).await?;
        Ok(a + b + c)
    }
    assert_eq!(trine::testing::run(whole()).unwrap(), 15);
}

#[test]
fn foreign_spawn_is_awaited_in_one_expression() {
    // `cancellable(tokio::spawn(fut)).await???`, with what a foreign runtime's handle gives.
    async fn whole() -> Result<u32> {
        let handle = async { Ok::<_, Oops>(Ok::<_, std::io::Error>(7)) };
        Ok(trine::cancellable(handle).await???)
    }
    assert_eq!(trine::run(whole()).unwrap(), 7);
}
