//! Scopes, shields, races, `finally`.

use super::{Cx, millis};
use crate::fuzz::foreign::Run;
use crate::fuzz::program::Op;
use crate::fuzz::world::lock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trine::{CancelScope, Result, TooSlow};

pub(super) fn scope(cx: Cx, op: Op, blocks: Vec<Run>) -> Run {
    let mut blocks = blocks.into_iter();
    let mut next = move || blocks.next();
    let Some(body) = next() else { return Box::pin(async { Ok(()) }) };
    match op {
        Op::Scope { slot, deadline, shield } => Box::pin(async move {
            let scope = new_scope(&cx, slot, deadline, shield);
            // A shield that may be lowered promises nothing.
            let section = (shield && !cx.world.toggles).then(|| cx.world.section("a shielded scope"));
            let result = scope.run(body).await;
            if let Some(section) = section {
                section.end();
            }
            check_exit(&cx, &scope, &result);
            result.map(drop)
        }),
        Op::MoveOnAfter(d) => Box::pin(async move {
            let start = trine::now();
            let result = trine::move_on_after(millis(d), body).await;
            check_none(&cx, start, d, &result);
            result.map(drop)
        }),
        Op::MoveOnPast => Box::pin(async move {
            let past = trine::now() - Duration::from_millis(1);
            trine::move_on_at(past, body).await.map(drop)
        }),
        Op::FailAfter(d) => Box::pin(async move {
            match trine::fail_after(millis(d), body).await {
                Err(error) if error.downcast_ref::<TooSlow>().is_some() => Ok(()),
                other => other,
            }
        }),
        Op::Shielded(d) => Box::pin(async move {
            let section = cx.world.section("a shield");
            let result = trine::shielded(trine::move_on_after(millis(d), body)).await;
            section.end();
            check_uncancelled(&cx, op, &result);
            result.map(drop)
        }),
        Op::ShieldedFor(d) => Box::pin(async move {
            let section = cx.world.section("a shield with a time");
            let start = trine::now();
            let result = trine::shielded_for(millis(d), body).await;
            section.end();
            check_none(&cx, start, d, &result);
            check_uncancelled(&cx, op, &result);
            result.map(drop)
        }),
        Op::Finally(d) => {
            let Some(cleanup) = next() else { return body };
            Box::pin(async move {
                let section = cx.world.section("a `finally`");
                let began = Arc::new(AtomicBool::new(false));
                let mark = began.clone();
                let cleanup = async move {
                    mark.store(true, Ordering::Relaxed);
                    cleanup.await
                };
                let result = trine::finally(body, cleanup).within(millis(d)).await;
                section.end();
                if !began.load(Ordering::Relaxed) {
                    cx.fail("the clean-up of a `finally` never ran");
                }
                ignore_too_slow(result)
            })
        }
        Op::Race => {
            let Some(other) = next() else { return body };
            Box::pin(async move { trine::race(body, other).await.map(drop) })
        }
        Op::RaceAll => {
            let all: Vec<Run> = std::iter::once(body).chain(std::iter::from_fn(next)).collect();
            Box::pin(trine::race_all(all))
        }
        other => unreachable!("{other:?} is no scope"),
    }
}

/// A `TooSlow` that stands alone is no error of the program.
fn ignore_too_slow(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.downcast_ref::<TooSlow>().is_some() => Ok(()),
        other => other,
    }
}

/// A fresh scope in a slot.
pub(super) fn new_scope(cx: &Cx, slot: u8, deadline: Option<u8>, shield: bool) -> CancelScope {
    let scope = match deadline {
        Some(d) => CancelScope::after(millis(d)),
        None => CancelScope::new(),
    };
    let scope = if shield { scope.shielded() } else { scope };
    *lock(&cx.world.scopes[usize::from(slot)]) = scope.clone();
    scope
}

pub(super) fn check_exit<T>(cx: &Cx, scope: &CancelScope, result: &Result<Option<T>>) {
    let (called, caught) = (scope.cancel_called(), scope.cancelled_caught());
    match result {
        Ok(None) if !(called && caught) => {
            cx.fail(format!("a scope gave `None`, but called is {called} and caught {caught}"));
        }
        Ok(Some(_)) if caught => cx.fail("a scope gave a value, but says that it caught"),
        Err(error) if caught && error.has_cancelled() => {
            cx.fail(format!("a scope says that it caught, but gave {error}"));
        }
        _ => {}
    }
}

fn check_none<T>(cx: &Cx, start: trine::Instant, d: u8, result: &Result<Option<T>>) {
    let took = trine::now() - start;
    if matches!(result, Ok(None)) && took < millis(d) {
        cx.fail(format!("a scope of {d} ms gave `None` after {took:?}"));
    }
}

/// What comes out of a shield that catches its own cancel has no cancellation in it.
fn check_uncancelled<T>(cx: &Cx, op: Op, result: &Result<Option<T>>) {
    if let Err(error) = result {
        if error.has_cancelled() && !cx.world.toggles {
            cx.fail(format!("{op:?} let {error} out"));
        }
    }
}
