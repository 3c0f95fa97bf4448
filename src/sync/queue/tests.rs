use super::*;
use crate::sync::fake::{Fake, Random};
use std::collections::VecDeque;
use std::task::Waker;

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn pop_id(queue: &mut WaitQueue<u32, Fake>) -> Option<u32> {
    queue.pop().map(|(wait, _)| wait.id)
}

#[test]
fn pops_in_order_of_arrival() {
    let mut queue = WaitQueue::new();
    for id in 0..4 {
        queue.push_back(Fake::new(id), id);
    }
    assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let popped: Vec<_> = std::iter::from_fn(|| pop_id(&mut queue)).collect();
    assert_eq!(popped, [0, 1, 2, 3]);
    assert!(queue.is_empty());
}

#[test]
fn slot_filled_at_pop_reaches_the_owner() {
    let mut queue = WaitQueue::new();
    let key = queue.push_back(Fake::new(0), 0);
    *queue.pop().unwrap().1 = 7;
    assert!(matches!(queue.poll(key, &cx()), Progress::Done(7)));
}

#[test]
fn cancelled_wait_is_passed_over_and_told_when_polled() {
    let mut queue = WaitQueue::new();
    let first = Fake::new(0);
    let key = queue.push_back(first.clone(), 0);
    queue.push_back(Fake::new(1), 1);
    first.cancel();
    assert_eq!(queue.len(), 1);
    assert_eq!(pop_id(&mut queue), Some(1));
    assert!(matches!(queue.poll(key, &cx()), Progress::Cancelled(0, _)));
}

#[test]
fn completed_beats_cancelled() {
    let mut queue = WaitQueue::new();
    let wait = Fake::new(0);
    let key = queue.push_back(wait.clone(), 0);
    queue.pop();
    wait.cancel();
    assert!(matches!(queue.poll(key, &cx()), Progress::Done(0)));
}

#[test]
fn removed_from_the_middle_leaves_the_order() {
    let mut queue = WaitQueue::new();
    let keys: Vec<_> = (0..3).map(|id| queue.push_back(Fake::new(id), id)).collect();
    let (slot, parked) = queue.remove(keys[1]);
    assert_eq!((slot, parked.map(|wait| wait.id)), (1, Some(1)));
    assert_eq!((pop_id(&mut queue), pop_id(&mut queue), pop_id(&mut queue)), (Some(0), Some(2), None));
}

#[test]
fn stale_wait_is_renewed_in_place() {
    let mut queue = WaitQueue::new();
    let key = queue.push_back(Fake::stale(0), 0);
    queue.push_back(Fake::new(1), 1);
    assert!(matches!(queue.poll(key, &cx()), Progress::Stale));
    let (progress, old) = queue.renew(key, Fake::new(2));
    assert!(matches!(progress, Progress::Waiting));
    assert_eq!(old.id, 0);
    assert!(matches!(queue.poll(key, &cx()), Progress::Waiting));
    assert_eq!(pop_id(&mut queue), Some(2));
}

#[test]
fn renewal_under_a_cancelled_scope_ends_the_wait() {
    let mut queue = WaitQueue::new();
    let key = queue.push_back(Fake::stale(0), 0);
    let fresh = Fake::new(1);
    fresh.cancel();
    let (progress, old) = queue.renew(key, fresh);
    assert!(matches!(progress, Progress::Cancelled(0, Fake { id: 1, .. })));
    assert_eq!(old.id, 0);
    assert!(queue.is_empty());
}

#[test]
fn renewal_of_a_completed_wait_returns_its_result() {
    let mut queue = WaitQueue::new();
    let key = queue.push_back(Fake::stale(0), 5);
    queue.pop();
    let (progress, spare) = queue.renew(key, Fake::new(1));
    assert!(matches!(progress, Progress::Done(5)));
    assert_eq!(spare.id, 1);
}

#[test]
fn take_where_completes_only_what_matches() {
    let mut queue = WaitQueue::new();
    for id in 0..4 {
        queue.push_back(Fake::new(id), id);
    }
    let mut taken = vec![];
    queue.take_where(|slot| slot % 2 == 0, |wait, _| taken.push(wait.id));
    assert_eq!(taken, [0, 2]);
    assert_eq!((pop_id(&mut queue), pop_id(&mut queue), pop_id(&mut queue)), (Some(1), Some(3), None));
}

#[test]
fn entries_are_recycled_and_a_huge_slab_is_given_back() {
    let mut queue = WaitQueue::new();
    for round in 0..100 {
        let key = queue.push_back(Fake::new(round), 0);
        queue.remove(key);
    }
    assert_eq!(queue.entries.len(), 1);
    let keys: Vec<_> = (0..=KEEP as u32).map(|id| queue.push_back(Fake::new(id), 0)).collect();
    assert_eq!(queue.entries.len(), KEEP + 1);
    for key in keys {
        queue.remove(key);
    }
    assert_eq!(queue.entries.capacity(), 0);
    let key = queue.push_back(Fake::new(0), 9);
    assert_eq!(queue.remove(key).0, 9);
}

/// Random operations, compared with a plain list.
#[test]
fn behaves_as_a_list() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut queue: WaitQueue<u32, Fake> = WaitQueue::new();
        let mut waiting: VecDeque<(Key, Fake)> = VecDeque::new();
        let mut over: Vec<(Key, bool)> = vec![];
        for id in 0..300 {
            match random.below(6) {
                0 | 1 => {
                    let wait = Fake::new(id);
                    waiting.push_back((queue.push_back(wait.clone(), id), wait));
                }
                2 => {
                    let expected = loop {
                        match waiting.pop_front() {
                            None => break None,
                            Some((key, wait)) if wait.is_cancelled() => over.push((key, false)),
                            Some((key, wait)) => {
                                over.push((key, true));
                                break Some(wait.id);
                            }
                        }
                    };
                    assert_eq!(pop_id(&mut queue), expected);
                }
                3 if !waiting.is_empty() => {
                    let (key, _) = waiting.remove(random.below(waiting.len())).unwrap();
                    assert!(queue.remove(key).1.is_some());
                }
                4 if !waiting.is_empty() => waiting[random.below(waiting.len())].1.cancel(),
                5 if !over.is_empty() => {
                    let (key, completed) = over.swap_remove(random.below(over.len()));
                    match queue.poll(key, &cx()) {
                        Progress::Done(_) => assert!(completed),
                        Progress::Cancelled(..) => assert!(!completed),
                        progress => panic!("{progress:?}"),
                    }
                }
                _ => {}
            }
            let live: Vec<_> =
                waiting.iter().filter(|(_, wait)| !wait.is_cancelled()).map(|(_, wait)| wait.id).collect();
            assert_eq!(queue.iter().copied().collect::<Vec<_>>(), live);
            assert_eq!(queue.occupied as usize, waiting.len() + over.len());
        }
    }
}
