//! Slots and cells that are used again, while stale wakers and references of their last use are about: the biased count,
//! the pool and the list of cells together.

use super::check;
use super::tree::{Driver, Flag, Until, assert_all_cells_are_free, waiting_for};
use crate::CancelScope;
use loom::thread;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

/// A waker outlives its task, whose slot is used again: the next task there is woken for nothing, and no more. Then the
/// root ends, and whoever counts last gives the cell back, perhaps while the next root takes it.
///
/// Fails with: a waker's clone that does not count; `retire` that keeps the owner.
#[test]
fn a_waker_outlives_its_task_its_slot_and_its_root() {
    check("stale waker", Some(4), || {
        let (first, second) = (Flag::new(), Flag::new());
        let driver = Driver::new();
        let mut tree = waiting_for(&first);
        assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        let waker = first.waker();
        let other = {
            let first = first.clone();
            thread::spawn(move || {
                first.set();
                waker.wake_by_ref();
                // The task may have ended by now, and another one be in its place.
                waker.wake();
            })
        };
        driver.drive(|cx| tree.as_mut().poll(cx)).unwrap();
        drop(tree);
        second.set();
        let mut tree = waiting_for(&second);
        driver.drive(|cx| tree.as_mut().poll(cx)).unwrap();
        drop(tree);
        drop(second.waker());
        driver.end();
        // The same cell, or another one.
        let next = Driver::new();
        assert!(next.turn(|_| Poll::Ready(())).is_ready());
        next.end();
        other.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// Two threads have the last wakers of a root that ends: exactly one of the three gives the cell back.
#[test]
fn the_last_of_two_stale_wakers_and_the_end_gives_the_cell_back() {
    check("last waker", None, || {
        let flag = Flag::new();
        let driver = Driver::new();
        let mut tree = waiting_for(&flag);
        assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        let waker = flag.waker();
        let wakers = [waker.clone(), waker];
        drop(tree);
        let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
        driver.end();
        for t in threads {
            t.join().unwrap();
        }
        assert_all_cells_are_free();
    });
}

/// A thread cancels a scope whose slot is given up, and used again by another scope: the stale reference in the handle
/// does not reach the other one.
///
/// Fails with: a `Mail::Scope` that is run without a look at the generation.
#[test]
fn a_handle_s_stale_reference_does_not_reach_the_next_scope_in_the_slot() {
    check("stale scope", Some(4), || {
        let flag = Flag::new();
        let driver = Driver::new();
        let scope = CancelScope::new();
        let mut tree = Box::pin(scope.run(Until(flag.clone())));
        assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        let other = {
            let scope = scope.clone();
            thread::spawn(move || scope.cancel())
        };
        flag.set();
        let first = driver.drive(|cx| tree.as_mut().poll(cx));
        assert!(matches!(first, Ok(Some(()) | None)));
        drop(tree);
        let set = Flag::new();
        let mut tree = Box::pin(CancelScope::new().run(Until(Arc::clone(&set))));
        assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        set.set();
        drop(set.waker());
        let second = driver.turn(|cx| tree.as_mut().poll(cx));
        assert!(matches!(second, Poll::Ready(Ok(Some(())))), "cancelled by a handle that is not its own");
        drop(tree);
        drop(flag.waker());
        driver.end();
        other.join().unwrap();
        assert_all_cells_are_free();
    });
}
