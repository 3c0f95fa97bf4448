//! Wakes by the thread that ran the root last: it holds the root, if that is idle, where other threads push on its stack.

use super::check;
use super::tree::{Driver, Flag, assert_all_cells_are_free, half_run, waiting_for};
use crate::CancelScope;
use loom::thread;
use std::future::Future;
use std::task::{Context, Poll};

/// The tree goes on in another thread, under another host's waker, while the thread that ran it wakes its task.
///
/// Fails with: a host that is not woken; a wake without a hold.
#[test]
fn a_thread_wakes_a_task_of_the_root_that_another_one_takes_over() {
    check("wake and another host", None, || {
        let flag = Flag::new();
        let (first, tree, waker) = half_run(&flag);
        let second = first.with_another_host();
        let other = thread::spawn(move || {
            second.finish(tree).unwrap();
        });
        flag.set();
        waker.wake();
        other.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// Two threads wake a task each of the root that a third one takes over; one of them ran it last, the other one pushes.
///
/// Fails with: a host that is not woken; a wake without a hold.
#[test]
fn a_hold_and_a_push_wake_tasks_of_the_root_that_another_one_takes_over() {
    check("hold and push", Some(3), || {
        let (left, right) = (Flag::new(), Flag::new());
        let first = Driver::new();
        let (mut one, mut two) = (waiting_for(&left), waiting_for(&right));
        let mut done = (false, false);
        let mut poll = move |cx: &mut Context<'_>| {
            done.0 = done.0 || one.as_mut().poll(cx).is_ready();
            done.1 = done.1 || two.as_mut().poll(cx).is_ready();
            if done == (true, true) { Poll::Ready(()) } else { Poll::Pending }
        };
        assert!(first.turn(&mut poll).is_pending());
        let (waker, pushed) = (left.waker(), right.waker());
        let second = first.with_another_host();
        let host = thread::spawn(move || {
            second.drive(&mut poll);
            drop(poll);
            second.end();
        });
        let pusher = thread::spawn(move || {
            right.set();
            pushed.wake();
        });
        left.set();
        waker.wake();
        host.join().unwrap();
        pusher.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// The subtree leaves an idle root for another one, while the thread that ran it wakes its task, once or twice. The new one
/// may find the old one held for that, and ask for the subtree by letter.
///
/// Fails with: a wake that does not look at the owner again under the hold, or that does not sweep.
#[test]
fn a_thread_wakes_a_task_that_leaves_the_root() {
    for wakes in 1..=2 {
        check("wake and adoption", Some(3), move || {
            let flag = Flag::new();
            let (old, half, waker) = half_run(&flag);
            let other = thread::spawn(move || {
                let new = Driver::new();
                new.finish(half).unwrap();
            });
            if wakes == 2 {
                waker.wake_by_ref();
            }
            flag.set();
            waker.wake();
            other.join().unwrap();
            old.end();
            assert_all_cells_are_free();
        });
    }
}

/// The root ends in another thread, and still owns the task that is woken.
///
/// Fails with: a wake that does not look under the hold whether the root has ended.
#[test]
fn a_thread_wakes_a_task_of_a_root_that_ends() {
    check("wake and end", None, || {
        let flag = Flag::new();
        let (driver, tree, waker) = half_run(&flag);
        let other = thread::spawn(move || driver.end());
        waker.wake();
        other.join().unwrap();
        drop(tree);
        assert_all_cells_are_free();
    });
}

/// Another thread cancels a scope of the root while that is held for a wake.
///
/// Fails with: a wake without a hold.
#[test]
fn a_cancel_comes_while_the_root_is_held_for_a_wake() {
    check("wake and cancel", None, || {
        let flag = Flag::new();
        let driver = Driver::new();
        let scope = CancelScope::new();
        let handle = scope.clone();
        let mut tree = Box::pin(scope.run(waiting_for(&flag)));
        assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        let waker = flag.waker();
        let other = thread::spawn(move || handle.cancel());
        waker.wake();
        other.join().unwrap();
        let ended = driver.drive(|cx| tree.as_mut().poll(cx));
        assert!(ended.unwrap().is_none(), "the scope was cancelled");
        drop(tree);
        driver.end();
        assert_all_cells_are_free();
    });
}
