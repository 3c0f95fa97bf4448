//! Adoption: a half-run subtree goes on under another root, while those who knew it under the old one wake its task.
//!
//! These run [`attach`](crate::cancel::slot::attach), `rehome`, limbo, the letters and the drains as they are; loom watches
//! the cells of nodes, headers, nurseries and roots.

use super::check;
use super::tree::{Driver, Flag, assert_all_cells_are_free, waiting_for};
use loom::thread;
use std::future::Future;

/// The old root is idle: its subtree is taken on the spot. A thread wakes the child meanwhile.
#[test]
fn a_child_is_woken_while_its_nursery_leaves_an_idle_root() {
    check("adoption from an idle root", Some(3), || {
        let flag = Flag::new();
        let old = Driver::new();
        let mut half = waiting_for(&flag);
        assert!(old.turn(|cx| half.as_mut().poll(cx)).is_pending());
        let waker = flag.waker();
        let sibling = {
            let flag = flag.clone();
            thread::spawn(move || {
                flag.set();
                waker.wake();
            })
        };
        let new = Driver::new();
        new.drive(|cx| half.as_mut().poll(cx)).unwrap();
        drop(half);
        new.end();
        sibling.join().unwrap();
        old.end();
        assert_all_cells_are_free();
    });
}

/// The old root is run by its thread, where a sibling wakes the child: the new one asks for the subtree by letter, and
/// gets it by way of limbo.
#[test]
fn a_sibling_wakes_a_child_whose_nursery_leaves_a_running_root() {
    check("adoption from a running root", Some(3), || {
        let (flag, quit) = (Flag::new(), Flag::new());
        let old = Driver::new();
        let mut half = waiting_for(&flag);
        assert!(
            old.turn(|cx| {
                let _ = quit.poll(cx);
                half.as_mut().poll(cx)
            })
            .is_pending()
        );
        let (waker, quit_waker) = (flag.waker(), quit.waker());
        let sibling = {
            let (flag, quit) = (flag.clone(), quit.clone());
            let mut waker = Some(waker);
            thread::spawn(move || {
                old.drive(|cx| {
                    if let Some(waker) = waker.take() {
                        flag.set();
                        waker.wake();
                    }
                    quit.poll(cx)
                });
                old.end();
            })
        };
        let new = Driver::new();
        new.drive(|cx| half.as_mut().poll(cx)).unwrap();
        drop(half);
        new.end();
        quit.set();
        quit_waker.wake();
        sibling.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// The old root ends while its subtree is taken, and while a third thread wakes the child.
#[test]
fn a_child_is_woken_while_its_nursery_leaves_a_root_that_ends() {
    check("adoption from a root that ends", Some(3), || {
        let flag = Flag::new();
        let old = Driver::new();
        let mut half = waiting_for(&flag);
        assert!(old.turn(|cx| half.as_mut().poll(cx)).is_pending());
        let waker = flag.waker();
        let sibling = {
            let flag = flag.clone();
            thread::spawn(move || {
                flag.set();
                waker.wake();
            })
        };
        let owner = thread::spawn(move || old.end());
        let new = Driver::new();
        new.drive(|cx| half.as_mut().poll(cx)).unwrap();
        drop(half);
        new.end();
        sibling.join().unwrap();
        owner.join().unwrap();
        assert_all_cells_are_free();
    });
}
