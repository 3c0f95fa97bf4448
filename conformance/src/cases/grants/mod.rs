//! Every wait of channels and synchronisation, in the turns that are easily got wrong: granted and cancelled in one
//! step, in either order; dropped between grant and poll; cancelled at each place of the queue.
//!
//! `wait` says what a waiting operation is here; `channels`, `locks` and `signals` are the operations, `turns`, `queue`
//! and `entry` what is proved of each.

mod channels;
mod entry;
mod locks;
mod queue;
mod signals;
mod turns;
mod wait;

use self::channels::{Next, Receive, SendFull, SendMeeting, SendReturning, TryNext};
use self::locks::{LimiterBorrow, LimiterBorrowOwned, LockOwn, MutexHold, MutexHoldOwned, PermitHold, PermitHoldOwned};
use self::signals::{ConditionNotified, ConditionWhile, EventHappens, Park};
use crate::case::{Body, Case};

pub(super) const CASES: &[&[Case]] =
    &[GRANT_THEN_CANCEL, CANCEL_THEN_GRANT, DROPPED_AFTER_GRANT, EACH_PLACE, IN_ORDER, CANCELLED_ENTRY, READY_YIELDS];

/// One case for each operation: `group!("suffix", law, origin, function, [(operation, Type), ..])`.
macro_rules! group {
    ($suffix:literal, $law:literal, $origin:literal, $function:path, [$(($name:literal, $wait:ty)),* $(,)?]) => {
        &[$(Case::new(
            concat!(module_path!(), "::", $name, "_", $suffix),
            $law,
            $origin,
            Body::Portable(|| Box::pin($function(<$wait as wait::Wait>::make))),
        )),*]
    };
}

const GRANT_THEN_CANCEL: &[Case] = group!(
    "granted_then_cancelled",
    "wait.completed-beats-cancelled",
    "divergence 3",
    turns::granted_then_cancelled,
    [
        ("recv", Receive),
        ("try_next", TryNext),
        ("stream_next", Next),
        ("send", SendFull),
        ("rendezvous_send", SendMeeting),
        ("send_or_return", SendReturning),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("mutex_owned", MutexHoldOwned),
        ("semaphore", PermitHold),
        ("semaphore_owned", PermitHoldOwned),
        ("limiter", LimiterBorrow),
        ("limiter_owned", LimiterBorrowOwned),
        ("lock", LockOwn),
        ("condition", ConditionNotified),
        ("condition_while", ConditionWhile),
        ("parking_lot", Park),
    ]
);

const CANCEL_THEN_GRANT: &[Case] = group!(
    "cancelled_then_granted",
    "wait.cancelled-takes-nothing",
    "divergence 3",
    turns::cancelled_then_granted,
    [
        ("recv", Receive),
        ("try_next", TryNext),
        ("stream_next", Next),
        ("send", SendFull),
        ("rendezvous_send", SendMeeting),
        ("send_or_return", SendReturning),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("mutex_owned", MutexHoldOwned),
        ("semaphore", PermitHold),
        ("semaphore_owned", PermitHoldOwned),
        ("limiter", LimiterBorrow),
        ("limiter_owned", LimiterBorrowOwned),
        ("lock", LockOwn),
        ("condition", ConditionNotified),
        ("condition_while", ConditionWhile),
        ("parking_lot", Park),
    ]
);

const DROPPED_AFTER_GRANT: &[Case] = group!(
    "dropped_after_the_grant",
    "wait.drop-passes-on",
    "divergence 3",
    turns::dropped_after_the_grant,
    [
        ("recv", Receive),
        ("try_next", TryNext),
        ("stream_next", Next),
        ("send", SendFull),
        ("rendezvous_send", SendMeeting),
        ("send_or_return", SendReturning),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("mutex_owned", MutexHoldOwned),
        ("semaphore", PermitHold),
        ("semaphore_owned", PermitHoldOwned),
        ("limiter", LimiterBorrow),
        ("limiter_owned", LimiterBorrowOwned),
        ("lock", LockOwn),
        ("condition", ConditionNotified),
        ("condition_while", ConditionWhile),
        ("parking_lot", Park),
    ]
);

const EACH_PLACE: &[Case] = group!(
    "cancelled_at_each_place",
    "wait.cancelled-leaves-order",
    "divergence 10",
    queue::cancelled_at_each_place,
    [
        ("recv", Receive),
        ("send", SendFull),
        ("rendezvous_send", SendMeeting),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("semaphore", PermitHold),
        ("limiter", LimiterBorrow),
        ("lock", LockOwn),
        ("condition", ConditionNotified),
        ("parking_lot", Park),
    ]
);

const IN_ORDER: &[Case] = group!(
    "served_in_order",
    "wait.fifo",
    "divergence 10",
    queue::served_in_order,
    [
        ("recv", Receive),
        ("try_next", TryNext),
        ("send", SendFull),
        ("rendezvous_send", SendMeeting),
        ("send_or_return", SendReturning),
        ("mutex", MutexHold),
        ("mutex_owned", MutexHoldOwned),
        ("semaphore", PermitHold),
        ("semaphore_owned", PermitHoldOwned),
        ("limiter", LimiterBorrow),
        ("limiter_owned", LimiterBorrowOwned),
        ("lock", LockOwn),
        ("condition", ConditionNotified),
        ("parking_lot", Park),
    ]
);

const CANCELLED_ENTRY: &[Case] = group!(
    "in_a_cancelled_scope_takes_nothing",
    "wait.checks-first",
    "divergence 9",
    entry::in_a_cancelled_scope_takes_nothing,
    [
        ("recv", Receive),
        ("try_next", TryNext),
        ("stream_next", Next),
        ("send", SendFull),
        ("send_or_return", SendReturning),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("mutex_owned", MutexHoldOwned),
        ("semaphore", PermitHold),
        ("semaphore_owned", PermitHoldOwned),
        ("limiter", LimiterBorrow),
        ("limiter_owned", LimiterBorrowOwned),
        ("lock", LockOwn),
        ("condition_while", ConditionWhile),
    ]
);

const READY_YIELDS: &[Case] = group!(
    "that_need_not_wait_yield",
    "wait.step-budget",
    "divergence 9",
    entry::those_that_need_not_wait_yield,
    [
        ("recv", Receive),
        ("stream_next", Next),
        ("send", SendFull),
        ("event", EventHappens),
        ("mutex", MutexHold),
        ("semaphore", PermitHold),
        ("limiter", LimiterBorrow),
        ("lock", LockOwn),
        ("condition_while", ConditionWhile),
    ]
);
