//! L33: what a turn is granted of tokio's cooperative budget.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Builder;
use tokio::task::{coop, unconstrained};
use trine_backend::Handle;

/// What tokio grants a task for each poll.
const BUDGET: usize = 128;
/// How many budgets a turn has.
const GRANTS: usize = 8;

/// Polls `f` in a task of tokio's.
fn in_a_task<T>(mut f: impl FnMut(&dyn Handle, &mut Context<'_>) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let handle: Arc<dyn Handle> = trine_tokio::tokio().ambient().unwrap();
        tokio::task::yield_now().await;
        poll_fn(|cx| Poll::Ready(f(&*handle, cx))).await
    })
}

fn operate(cx: &mut Context<'_>) -> bool {
    match coop::poll_proceed(cx) {
        Poll::Ready(unit) => {
            unit.made_progress();
            true
        }
        Poll::Pending => false,
    }
}

/// Operates until the handle says no; asks it before each operation, as a tree does before each child.
fn spend(handle: &dyn Handle, cx: &mut Context<'_>) -> usize {
    let mut operations = 0;
    while operations < 100 * BUDGET && handle.has_budget() {
        assert!(operate(cx), "no budget, though the handle said so");
        operations += 1;
    }
    assert!(!coop::has_budget_remaining(), "the budget has no end");
    operations
}

#[test]
fn l33_a_turn_is_granted_eight_budgets() {
    let operations = in_a_task(|handle, cx| {
        handle.begin_turn();
        let operations = spend(handle, cx);
        handle.end_turn();
        assert!(!handle.has_budget(), "granted after the turn");
        operations
    });
    // Each grant but the last one takes a unit.
    assert_eq!(operations, GRANTS * BUDGET - (GRANTS - 1));
}

#[test]
fn l33_outside_of_a_turn_the_budget_is_that_of_the_task() {
    assert_eq!(in_a_task(spend), BUDGET);
    let operations = in_a_task(|handle, cx| {
        handle.begin_turn();
        handle.end_turn();
        spend(handle, cx)
    });
    assert_eq!(operations, BUDGET - 1);
}

#[test]
fn l33_a_turn_is_granted_what_it_found() {
    for before in [BUDGET - 2, BUDGET - 1, BUDGET] {
        let operations = in_a_task(|handle, cx| {
            (0..before).for_each(|_| assert!(operate(cx)));
            handle.begin_turn();
            let operations = spend(handle, cx);
            handle.end_turn();
            operations
        });
        // A unit that is taken for a grant must not be the last one.
        let found = BUDGET - before;
        assert_eq!(operations, if found > 1 { GRANTS * found - (GRANTS - 1) } else { found });
    }
}

#[test]
fn l33_each_poll_begins_with_one_budget() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let handle = trine_tokio::tokio().ambient().unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
            let operations = poll_fn(|cx| {
                handle.begin_turn();
                handle.end_turn();
                Poll::Ready((0..2 * BUDGET).take_while(|_| operate(cx)).count())
            });
            assert_eq!(operations.await, BUDGET - 1);
        }
    });
}

#[test]
fn an_unconstrained_task_stays_so() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(unconstrained(poll_fn(|cx| {
        let handle = trine_tokio::tokio().ambient().unwrap();
        handle.begin_turn();
        for _ in 0..100 * BUDGET {
            assert!(handle.has_budget() && operate(cx));
        }
        handle.end_turn();
        assert!(handle.has_budget() && operate(cx));
        Poll::Ready(())
    })));
}
