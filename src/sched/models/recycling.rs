//! Slots and cells that are used again, while stale wakers and references of their last use are about: the biased count,
//! the pool and the list of cells together.

use super::check;
use super::tree::{Driver, Flag, Until, assert_all_cells_are_free, giving_its_slot, half_run, waiting_for};
use crate::CancelScope;
use crate::nursery::handle::cancel;
use loom::thread;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// A waker outlives its task, whose slot is used again: the next task there is woken for nothing, and no more. Then the
/// root ends, and whoever counts last gives the cell back, perhaps while the next root takes it.
///
/// Fails with: a waker's clone that does not count; a count whose end does not see what others did.
#[test]
fn a_waker_outlives_its_task_its_slot_and_its_root() {
    check("stale waker", Some(4), || {
        let (first, second) = (Flag::new(), Flag::new());
        let (driver, mut tree, waker) = half_run(&first);
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
        let (driver, tree, waker) = half_run(&flag);
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
/// Fails with: a waker's clone that does not count; a count whose end does not see what others did.
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

/// A thread cancels a child that ends, and in whose slot there may be another one by the time the order is carried out.
/// That one goes on.
///
/// Fails with: a `Mail::Cancel` that does not look at the generation.
#[test]
fn a_stale_cancel_does_not_reach_the_next_child_in_the_slot() {
    check("stale cancel", Some(3), || {
        let (first, second) = (Flag::new(), Flag::new());
        let (slots, ended) = ([const { None }; 2].map(|s| Arc::new(Mutex::new(s))), Arc::new(AtomicBool::new(false)));
        let driver = Driver::new();
        let mut ends = giving_its_slot(&first, slots[0].clone(), Arc::default());
        assert!(driver.turn(|cx| ends.as_mut().poll(cx)).is_pending());
        let stale = slots[0].lock().unwrap().take().unwrap();
        let is_used_again = stale.as_ptr();
        let other = thread::spawn(move || cancel(stale));
        first.set();
        first.waker().wake();
        driver.drive(|cx| ends.as_mut().poll(cx)).unwrap();
        drop((ends, slots[0].lock().unwrap().take()));
        let mut goes_on = giving_its_slot(&second, slots[1].clone(), ended.clone());
        assert!(driver.turn(|cx| goes_on.as_mut().poll(cx)).is_pending());
        assert_eq!(slots[1].lock().unwrap().as_ref().unwrap().as_ptr(), is_used_again);
        other.join().unwrap();
        second.set();
        second.waker().wake();
        driver.drive(|cx| goes_on.as_mut().poll(cx)).unwrap();
        assert!(ended.load(Ordering::Relaxed), "cancelled by a handle that is not its own");
        drop((goes_on, slots[1].lock().unwrap().take()));
        driver.end();
        assert_all_cells_are_free();
    });
}
