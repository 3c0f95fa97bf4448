//! tokio's cooperative budget: so many operations on its channels and sockets a task may do before it returns.
//!
//! tokio grants each of its tasks a budget of its own, also those that it polls within another one (a `LocalSet` polls
//! 61 in a row). The children of a tree are tasks, too, so a turn that has spent its budget is granted [`MORE`] like it.
//! tokio has no call for that; but who asks for a unit, and drops it without having made progress, restores *what there was
//! before it*. So a unit is asked for when the turn begins, and dropped when the budget is spent.

use std::cell::Cell;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::{RestoreOnPending, has_budget_remaining, poll_proceed};

/// Budgets of a turn beyond its first one: all together have as many operations as a turn has polls of tasks at most.
const MORE: u32 = 7;

thread_local! {
    /// What restores the budget of this thread's turn, and how often it may still be done.
    static GRANT: Cell<Option<(RestoreOnPending, u32)>> = const { Cell::new(None) };
}

/// Begins a turn.
pub(crate) fn begin_turn() {
    end_turn();
    GRANT.set(grant(MORE));
}

/// Ends it, and what it was granted; what is left of the budget stays.
pub(crate) fn end_turn() {
    if let Some((before, _)) = GRANT.take() {
        before.made_progress();
    }
}

/// Grants the next one, if there is one.
#[cold]
pub(crate) fn renew() -> bool {
    let Some((before, times)) = GRANT.take() else { return false };
    drop(before);
    GRANT.set(grant(times - 1));
    true
}

/// Nothing for no times, nor where it would take the last unit: then that one is restored.
fn grant(times: u32) -> Option<(RestoreOnPending, u32)> {
    let before = (times > 0).then(unit)??;
    has_budget_remaining().then_some((before, times))
}

/// Whether there is a budget in force, whatever is left of it: then so many units are not to be had.
pub(crate) fn is_in_force() -> bool {
    // More than any budget of tokio's, which is a byte.
    !have(256)
}

/// Each gives back what there was before it: the last one first.
fn have(units: u32) -> bool {
    units == 0 || unit().is_some_and(|_unit| have(units - 1))
}

fn unit() -> Option<RestoreOnPending> {
    match poll_proceed(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(unit) => Some(unit),
        Poll::Pending => None,
    }
}
