//! Adoption: a half-run subtree goes on under another root, while those who knew it under the old one wake its task.
//!
//! These run [`attach`](crate::cancel::slot::attach), `rehome`, limbo, the letters and the drains as they are; loom watches
//! the cells of nodes, headers, nurseries and roots.

use super::check;
use super::tree::{
    Driver, Flag, Until, assert_all_cells_are_free, giving_its_slot, half_run, set_and_wake, waiting_for,
};
use crate::CancelScope;
use crate::nursery::handle::cancel;
use crate::sched::node::SlotRef;
use loom::thread;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The old root is idle, and never polled again: its subtree is taken on the spot. A thread wakes the child twice meanwhile;
/// what it says with the second wake is seen, although the first may still lie on the old root's stack.
///
/// Fails with: `wake_task` without its fence; `Elsewhere` that is dropped; `rehome` that wakes nobody; a `set_owner` that does
/// not release.
#[test]
fn a_child_is_woken_while_its_nursery_leaves_an_idle_root() {
    check("adoption from an idle root", Some(3), || {
        let flag = Flag::new();
        let (old, half, waker) = half_run(&flag);
        let sibling = {
            let flag = flag.clone();
            thread::spawn(move || {
                waker.wake_by_ref();
                flag.set();
                waker.wake();
            })
        };
        let new = Driver::new();
        new.finish(half).unwrap();
        sibling.join().unwrap();
        old.end();
        assert_all_cells_are_free();
    });
}

/// The old root is run by its thread, where a sibling wakes the child: the new one asks for the subtree by letter, and
/// gets it by way of limbo.
///
/// Fails with: a `LetGo` that does not wake who asked; a `set_owner` that does not count, or not release.
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
        new.finish(half).unwrap();
        quit.set();
        quit_waker.wake();
        sibling.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// The old root ends while its subtree is taken, and while a third thread wakes the child.
///
/// Fails with: `push` that does not drain a root that has ended; `Relaxed` for the release of a hold; a poll that looks by whom
/// its nursery was polled before it knows whose that is.
#[test]
fn a_child_is_woken_while_its_nursery_leaves_a_root_that_ends() {
    check("adoption from a root that ends", Some(3), || {
        let flag = Flag::new();
        let (old, half, waker) = half_run(&flag);
        let sibling = set_and_wake(&flag, waker);
        let owner = thread::spawn(move || old.end());
        let new = Driver::new();
        new.finish(half).unwrap();
        sibling.join().unwrap();
        owner.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// A thread cancels the scope of a subtree on its way from an idle root to another: the order is given to whoever owns
/// the scope, or follows it, or is found on arrival.
///
/// Fails with: a `set_owner` that does not count.
#[test]
fn a_scope_is_cancelled_while_it_leaves_an_idle_root() {
    check("cancel and adoption", Some(3), || {
        let flag = Flag::new();
        let old = Driver::new();
        let scope = CancelScope::new();
        let mut half = Box::pin(scope.run(Until(flag.clone())));
        assert!(old.turn(|cx| half.as_mut().poll(cx)).is_pending());
        drop(flag.waker());
        let canceller = thread::spawn(move || scope.cancel());
        let new = Driver::new();
        assert!(new.finish(half).unwrap().is_none());
        canceller.join().unwrap();
        old.end();
        assert_all_cells_are_free();
    });
}

/// The subtree is asked of a root that is being run, and dropped before it has come, while its thread may let go of it and
/// a third wakes the child.
///
/// Fails with: a `set_owner` that does not count.
#[test]
fn a_nursery_is_dropped_while_the_letter_that_asks_for_it_is_on_its_way() {
    check("letter and drop", Some(3), || {
        let (flag, quit) = (Flag::new(), Flag::new());
        let old = Driver::new();
        let mut half = waiting_for(&flag);
        let begun = old.turn(|cx| {
            let _pending = quit.poll(cx);
            half.as_mut().poll(cx)
        });
        assert!(begun.is_pending());
        let (waker, quit_waker) = (flag.waker(), quit.waker());
        let owner = {
            let quit = quit.clone();
            thread::spawn(move || {
                waker.wake();
                old.drive(|cx| quit.poll(cx));
                old.end();
            })
        };
        let new = Driver::new();
        let _polled = new.turn(|cx| half.as_mut().poll(cx));
        drop(half);
        new.end();
        quit.set();
        quit_waker.wake();
        owner.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// A subtree that was adopted before goes on to a third root, whose cell is new, while a thread wakes the child.
///
/// Fails with: a `hand_over` that does not release.
#[test]
fn a_child_is_woken_while_its_nursery_goes_from_one_new_root_to_another() {
    check("adoption after adoption", Some(3), || {
        let flag = Flag::new();
        let (home, mut half, waker) = half_run(&flag);
        let first = Driver::new();
        assert!(first.turn(|cx| half.as_mut().poll(cx)).is_pending());
        let sibling = set_and_wake(&flag, waker);
        // Made now: the thread knows of the cell by the node alone.
        let second = Driver::new();
        second.finish(half).unwrap();
        sibling.join().unwrap();
        first.end();
        home.end();
        assert_all_cells_are_free();
    });
}

/// A thread that wakes a child has read where that is away from home; the child comes home, and what it has left stands for
/// another node, with a root whose cell is new. The wake goes there in vain, or on from there: the child sees what came before.
///
/// Fails with: a `begin` that does not release.
#[test]
fn a_child_is_woken_by_the_number_of_a_stay_that_is_another_s_by_now() {
    check("stale stay", Some(3), || {
        let (first, second) = (Flag::new(), Flag::new());
        let (home, mut comes_home, waker) = half_run(&first);
        let mut leaves = waiting_for(&second);
        assert!(home.turn(|cx| leaves.as_mut().poll(cx)).is_pending());
        drop(second.waker());
        let away = Driver::new();
        assert!(away.turn(|cx| comes_home.as_mut().poll(cx)).is_pending());
        let sibling = set_and_wake(&first, waker);
        let at_home = home.turn(|cx| comes_home.as_mut().poll(cx));
        second.set();
        let new = Driver::new();
        new.finish(leaves).unwrap();
        if at_home.is_pending() {
            home.drive(|cx| comes_home.as_mut().poll(cx)).unwrap();
        }
        drop(comes_home);
        sibling.join().unwrap();
        away.end();
        home.end();
        assert_all_cells_are_free();
    });
}

/// A child that was adopted ends, and its slot comes home, while the thread that runs its home cancels it: that finds it
/// another root's, or free.
///
/// Fails with: a `come_home` that stores where it is before the flags; a `be_free` that says so only after it has come home.
#[test]
fn a_child_ends_away_from_home_while_its_home_cancels_it() {
    check("cancel at home", Some(3), || {
        let flag = Flag::new();
        let (home, new) = (Driver::new(), Driver::new());
        let given: Arc<Mutex<Option<SlotRef>>> = Arc::default();
        let mut tree = giving_its_slot(&flag, given.clone(), Arc::default());
        assert!(home.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        assert!(new.turn(|cx| tree.as_mut().poll(cx)).is_pending());
        let (slot, waker) = (given.lock().unwrap().take().unwrap(), flag.waker());
        let canceller = thread::spawn(move || {
            let mut slot = Some(slot);
            let turn = home.turn(|_| {
                slot.take().into_iter().for_each(cancel);
                Poll::Ready(())
            });
            assert!(turn.is_ready());
            home.end();
        });
        flag.set();
        waker.wake();
        new.finish(tree).unwrap();
        drop(given.lock().unwrap().take());
        canceller.join().unwrap();
        assert_all_cells_are_free();
    });
}

/// A root has ended that owns a subtree from elsewhere: its cell is not given to another root until that has gone on, also
/// if nobody there is to be woken for the subtree.
///
/// Fails with: a `set_owner` that counts nobody.
#[test]
fn a_root_that_has_ended_is_kept_by_what_it_has_adopted() {
    check("adopted by a root that ends", None, || {
        let flag = Flag::new();
        let (home, mut half, waker) = half_run(&flag);
        let ended = Driver::new();
        // By a waker that does not count on the root, as that of its main task would.
        assert!(ended.turn(|_| half.as_mut().poll(&mut Context::from_waker(Waker::noop()))).is_pending());
        let cell = ended.root;
        ended.end();
        let new = Driver::new();
        assert!(!std::ptr::eq(new.root, cell), "the cell is another root's");
        flag.set();
        waker.wake();
        new.finish(half).unwrap();
        home.end();
        assert_all_cells_are_free();
    });
}
