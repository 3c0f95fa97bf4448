//! The capacity limiter, whose total may change.

use super::sync_tools::{Log, settle};
use crate::case::{Case, portable};
use std::sync::Arc;
use trine::sync::CapacityLimiter;
use trine::{CancelScope, nursery};

pub(super) const CASES: &[Case] = &[
    // Trio's rules on the identity of borrowers have no counterpart: a token is a guard.
    portable!(lends_and_queues, "limiter.basics", "trio test_sync.py::test_CapacityLimiter"),
    portable!(unlimited_always_lends, "limiter.unlimited", "trio test_sync.py::test_CapacityLimiter_inf"),
    portable!(
        total_may_change_both_ways,
        "limiter.set-total",
        "trio test_sync.py::test_CapacityLimiter_change_total_tokens"
    ),
    portable!(
        cancelled_acquire_leaves_nothing_behind,
        "limiter.no-leak",
        "trio test_sync.py::test_CapacityLimiter_memleak_548"
    ),
    portable!(
        total_of_zero_lets_nobody_in,
        "limiter.zero",
        "trio test_sync.py::test_CapacityLimiter_zero_limit_tokens"
    ),
    portable!(raised_while_over_the_limit_admits_nobody_yet, "limiter.over-limit", "divergence 15"),
    portable!(raised_serves_in_order_at_once, "limiter.raise-in-order", "divergence 10"),
    portable!(lowered_takes_nothing_away, "limiter.lower", "divergence 15"),
    portable!(owned_token_keeps_it_alive, "limiter.owned", "design 10"),
];

/// Tokens, the queue, and nobody overtakes.
async fn lends_and_queues() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(1);
    let token = limiter.try_acquire()?;
    assert!(limiter.try_acquire().is_err());
    nursery(async |n| {
        let waiter = n.spawn(async {
            let _token = limiter.acquire().await?;
            settle().await?;
            Ok(())
        });
        settle().await?;
        let counts = limiter.statistics();
        assert_eq!((counts.borrowed, counts.total, counts.waiting), (1, 1, 1));
        drop(token);
        assert_eq!((limiter.borrowed(), limiter.available()), (1, 0));
        assert!(limiter.try_acquire().is_err(), "it is the waiter's");
        Ok(waiter.await?)
    })
    .await?;
    let counts = limiter.statistics();
    assert_eq!((counts.borrowed, counts.total, counts.waiting), (0, 1, 0));
    Ok(())
}

/// What is borrowed is counted, and there is always one more.
async fn unlimited_always_lends() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(CapacityLimiter::UNLIMITED);
    let tokens: Vec<_> = (0..1000).map(|_| limiter.try_acquire()).collect::<Result<_, _>>()?;
    let _one_more = limiter.acquire().await?;
    assert_eq!((limiter.borrowed(), limiter.total()), (1001, CapacityLimiter::UNLIMITED));
    drop(tokens);
    limiter.set_total(1);
    assert!(limiter.try_acquire().is_err());
    Ok(())
}

/// Raising lets waiters in at once; after lowering, holders finish and then others are let in.
async fn total_may_change_both_ways() -> trine::Result<()> {
    let (limiter, go_on) = (CapacityLimiter::new(2), trine::sync::Semaphore::new(0));
    nursery(async |n| {
        for _ in 0..5 {
            n.start_soon(async {
                let _token = limiter.acquire().await?;
                go_on.acquire().await?.forget();
                Ok(())
            });
        }
        let check = async |borrowed, waiting| {
            settle().await?;
            let counts = limiter.statistics();
            assert_eq!((counts.borrowed, counts.waiting), (borrowed, waiting));
            Ok::<_, trine::Error>(())
        };
        check(2, 3).await?;
        limiter.set_total(4);
        check(4, 1).await?;
        limiter.set_total(1);
        assert_eq!(limiter.available(), 0);
        check(4, 1).await?;
        go_on.add_permits(3);
        check(1, 1).await?;
        go_on.add_permits(1);
        check(1, 0).await?;
        go_on.add_permits(1);
        check(0, 0).await
    })
    .await
}

/// Neither counted as waiting nor as borrowed.
async fn cancelled_acquire_leaves_nothing_behind() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(1);
    let token = limiter.acquire().await?;
    for _ in 0..100 {
        let scope = CancelScope::new();
        nursery(async |n| {
            let waiter = n.spawn(async { scope.run(async { Ok(limiter.acquire().await.map(drop)?) }).await });
            settle().await?;
            assert_eq!(limiter.statistics().waiting, 1);
            scope.cancel();
            assert_eq!(limiter.statistics().waiting, 0);
            assert_eq!(waiter.await?, None);
            Ok(())
        })
        .await?;
    }
    drop(token);
    assert_eq!((limiter.borrowed(), limiter.available()), (0, 1));
    Ok(())
}

/// With a total of 0 all wait; those who came before the change keep their places.
async fn total_of_zero_lets_nobody_in() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(0);
    assert!(limiter.try_acquire().is_err());
    nursery(async |n| {
        let waiters: Vec<_> = (0..2).map(|_| n.spawn(async { Ok(limiter.acquire().await.map(drop)?) })).collect();
        settle().await?;
        assert_eq!(limiter.statistics().waiting, 2);
        limiter.set_total(2);
        for waiter in waiters {
            waiter.await?;
        }
        let token = limiter.acquire().await?;
        limiter.set_total(0);
        let shut_out = n.spawn(async { Ok(limiter.acquire().await.map(drop)?) });
        drop(token);
        settle().await?;
        assert!(!shut_out.is_finished());
        limiter.set_total(1);
        Ok(shut_out.await?)
    })
    .await
}

/// Two too many are out: raising the total by one lets nobody in.
async fn raised_while_over_the_limit_admits_nobody_yet() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(3);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(limiter.acquire().await?);
    }
    limiter.set_total(1);
    nursery(async |n| {
        let waiter = n.spawn(async { Ok(limiter.acquire().await.map(drop)?) });
        settle().await?;
        limiter.set_total(2);
        settle().await?;
        assert_eq!((limiter.borrowed(), limiter.statistics().waiting), (3, 1));
        tokens.pop();
        settle().await?;
        assert!(!waiter.is_finished(), "two are out, and two may be");
        tokens.pop();
        Ok(waiter.await?)
    })
    .await
}

/// A raised total serves from the front, as many as fit.
async fn raised_serves_in_order_at_once() -> trine::Result<()> {
    let (limiter, log) = (CapacityLimiter::new(0), Log::new());
    nursery(async |n| {
        let done = trine::sync::Event::new();
        let (limiter, log, done) = (&limiter, &log, &Arc::new(done));
        for who in 0..4 {
            let done = Arc::clone(done);
            n.start_soon(async move {
                let _token = limiter.acquire().await?;
                log.push(who);
                Ok(done.wait().await?)
            });
            settle().await?;
        }
        for (total, served) in [(1, vec![0]), (1, vec![]), (3, vec![1, 2])] {
            limiter.set_total(total);
            assert_eq!(limiter.borrowed(), total, "in the call");
            settle().await?;
            let mut got = log.take();
            got.sort_unstable();
            assert_eq!(got, served);
        }
        done.set();
        Ok(())
    })
    .await?;
    assert_eq!(log.take(), [3]);
    Ok(())
}

/// Holders keep their tokens, and `available` is 0, not less.
async fn lowered_takes_nothing_away() -> trine::Result<()> {
    let limiter = CapacityLimiter::new(2);
    let (first, second) = (limiter.acquire().await?, limiter.acquire().await?);
    limiter.set_total(1);
    assert_eq!((limiter.borrowed(), limiter.available(), limiter.total()), (2, 0, 1));
    drop(first);
    assert!(limiter.try_acquire().is_err());
    drop(second);
    assert!(limiter.try_acquire().is_ok());
    Ok(())
}

/// An owned token outlives all other handles.
async fn owned_token_keeps_it_alive() -> trine::Result<()> {
    let limiter = Arc::new(CapacityLimiter::new(1));
    let weak = Arc::downgrade(&limiter);
    let token = limiter.acquire_owned().await?;
    let other = weak.upgrade().expect("the token keeps it");
    assert!(Arc::clone(&other).try_acquire_owned().is_err());
    drop(token);
    assert!(other.try_acquire_owned().is_ok());
    assert!(weak.upgrade().is_none());
    Ok(())
}
