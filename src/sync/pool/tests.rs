use super::*;
use crate::sync::fake::{Fake, Random, ids};
use crate::sync::queue::Progress;
use std::task::{Context, Waker};

fn queued(pool: &mut Pool<Fake>, id: u32) -> Key {
    pool.take_or_queue(Fake::new(id)).expect_err("no unit is left")
}

fn is_served(pool: &mut Pool<Fake>, key: Key) -> bool {
    matches!(pool.waits.poll(key, &Context::from_waker(Waker::noop())), Progress::Done(()))
}

#[test]
fn unit_that_comes_back_is_handed_over() {
    let mut pool = Pool::new(1);
    assert!(pool.try_take());
    let key = queued(&mut pool, 1);
    assert_eq!(pool.give_back().map(|wait| wait.id), Some(1));
    assert!(!pool.try_take(), "nobody can take it in between");
    assert_eq!(pool.used(), 1);
    assert!(is_served(&mut pool, key));
    assert!(pool.give_back().is_none());
    assert_eq!(pool.used(), 0);
}

#[test]
fn unit_of_a_dropped_wait_goes_on_to_the_next() {
    let mut pool = Pool::new(1);
    assert!(pool.try_take());
    let first = queued(&mut pool, 1);
    let second = queued(&mut pool, 2);
    pool.give_back();
    assert!(matches!(pool.leave(first), Left::Served(Some(Fake { id: 2, .. }))));
    assert!(is_served(&mut pool, second));
}

#[test]
fn wait_that_leaves_unserved_takes_nothing_along() {
    let mut pool = Pool::new(1);
    assert!(pool.try_take());
    let key = queued(&mut pool, 1);
    assert!(matches!(pool.leave(key), Left::Unserved(Fake { id: 1, .. })));
    assert!(pool.give_back().is_none());
    assert!(pool.try_take());
}

#[test]
fn raised_total_serves_in_order_at_once() {
    let mut pool = Pool::new(0);
    for id in 0..4 {
        queued(&mut pool, id);
    }
    assert_eq!(ids(pool.set_total(3)), [0, 1, 2]);
    assert_eq!((pool.used(), pool.waiting()), (3, 1));
}

#[test]
fn lowered_total_takes_nothing_away_and_serves_when_enough_came_back() {
    let mut pool = Pool::new(3);
    assert!((0..3).all(|_| pool.try_take()));
    queued(&mut pool, 0);
    assert!(ids(pool.set_total(1)).is_empty());
    assert_eq!(pool.used(), 3);
    assert!(pool.give_back().is_none());
    assert!(pool.give_back().is_none());
    assert_eq!(pool.give_back().map(|wait| wait.id), Some(0));
    assert_eq!(pool.used(), 1);
}

#[test]
fn forgotten_unit_is_gone() {
    let mut pool: Pool<Fake> = Pool::new(2);
    assert!(pool.try_take());
    pool.forget();
    assert_eq!((pool.used(), pool.total()), (0, 1));
}

#[test]
fn admitted_wait_is_served_or_queued() {
    let mut pool = Pool::new(1);
    let (first, served) = pool.admit(Fake::new(1));
    assert_eq!(served.map(|wait| wait.id), Some(1));
    assert!(is_served(&mut pool, first));
    let (second, served) = pool.admit(Fake::new(2));
    assert!(served.is_none());
    assert_eq!(pool.give_back().map(|wait| wait.id), Some(2));
    assert!(is_served(&mut pool, second));
}

/// Whatever happens, units are neither lost nor made, and nobody waits while one is free.
#[test]
fn units_are_conserved() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut pool = Pool::new(random.below(4));
        let mut held = 0;
        let mut waits: Vec<(Key, Fake)> = vec![];
        for id in 0..400 {
            match random.below(7) {
                0 if pool.try_take() => held += 1,
                1 | 2 => {
                    let wait = Fake::new(id);
                    match pool.take_or_queue(wait.clone()) {
                        Ok(_) => held += 1,
                        Err(key) => waits.push((key, wait)),
                    }
                }
                3 if held > 0 => {
                    held -= 1;
                    pool.give_back();
                }
                4 if !waits.is_empty() => waits[random.below(waits.len())].1.cancel(),
                5 if !waits.is_empty() => {
                    let at = random.below(waits.len());
                    match pool.waits.poll(waits[at].0, &Context::from_waker(Waker::noop())) {
                        Progress::Done(()) => {
                            held += 1;
                            waits.swap_remove(at);
                        }
                        Progress::Cancelled(..) => drop(waits.swap_remove(at)),
                        Progress::Waiting | Progress::Stale => {
                            pool.leave(waits.swap_remove(at).0);
                        }
                    }
                }
                6 if random.below(4) == 0 => drop(pool.set_total(random.below(5))),
                _ => {}
            }
            assert!(pool.waiting() == 0 || pool.used() >= pool.total());
            assert!(pool.used() >= held && pool.used() <= held + waits.len());
        }
        for (key, _) in waits.drain(..) {
            pool.leave(key);
        }
        assert_eq!(pool.used(), held);
    }
}
