//! The poll-based operations that wait in one direction of a stream.
//!
//! Such an operation has no future of its own to keep its state in, so the stream keeps it. Nobody says when one is given
//! up: what a future leaves that was dropped after `Pending` looks like one that waits. So whoever is in doubt asks, by a
//! wake, and who is alive answers, by a poll.
//!
//! News go to one waker, that of the last poll. Protocol, with the list of those who wait, in order of arrival:
//!
//! 1. *Arrival*: who polls is not in the list. It tries, and all in the list are woken; if it has to wait, it goes to the
//!    end.
//! 2. *Answer*: who polls is in the list, and so is alive. Those who arrived later are second: they are *refused*, that is,
//!    woken, and get `ResourceBusy` at their next poll.
//! 3. *End*: an operation that is done leaves an empty list, and so does one with a future of its own when it claims the
//!    direction. Whoever is woken and alive arrives anew.
//!
//! Invariant: all but the one that polled last have been woken since they polled, so nobody waits for news that go
//! elsewhere. It ends: of two who are alive, the first answers the second's arrival and the second hears that it is
//! refused. What was left behind does not answer, and delays nobody: who arrived after it has the news.
//!
//! Who polls is known by its waker. If it comes in another scope it arrives anew: what was left in the old one, and a
//! cancel of that, are none of the new operation. What was left in the same scope cannot be told from a new operation
//! there, which goes on with its wait and answers for it. So if two tasks take turns and each gives up twice, in the same
//! scopes and with no end in between, one of them is refused once though nobody waits; then it arrives anew.

use std::io;
use std::mem;
use std::task::{Context, Poll};

use super::wait::busy;
use crate::sched::wakes::each;
use crate::task::park::Who;
use crate::task::wake::WakeRef;

/// So many wait in a list at most. Arrivals beyond that, with no answer and no end among them, wake nobody and displace
/// the last: these are wakers that cannot be compared (`will_wake` may say no to a clone), so that each poll of one
/// operation is an arrival, and to wake the last would be to wake oneself, again and again.
const MOST: usize = 8;

/// The list, see the module.
#[derive(Debug)]
pub(crate) struct Contenders<W>(Vec<Contender<W>>);

#[derive(Debug)]
struct Contender<W> {
    who: Who,
    wait: W,
    refused: bool,
}

impl<W> Default for Contenders<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// One direction of a stream.
pub(crate) trait Lane {
    /// The state of an operation.
    type Wait;

    /// Reserves the direction; false if another operation has it.
    fn claim(&self) -> bool;

    /// Gives it back.
    fn release(&self);

    /// Exchanges the list. Only while the direction is claimed, so that it is in one hand at a time, and outside of any
    /// lock there.
    fn exchange(&self, contenders: Contenders<Self::Wait>) -> Contenders<Self::Wait>;

    /// The news may have been turned away from this wait, to another one's waker.
    fn turned(wait: &mut Self::Wait);
}

impl<W> Contenders<W> {
    /// Whether it has never held anybody.
    pub(crate) fn is_unused(&self) -> bool {
        self.0.capacity() == 0
    }

    fn take(&mut self, cx: &Context<'_>) -> Option<(usize, Contender<W>)> {
        let place = self.0.iter().position(|contender| contender.who.will_wake(cx))?;
        let contender = self.0.remove(place);
        contender.who.is_current(cx).then_some((place, contender))
    }

    fn insert(&mut self, place: usize, contender: Contender<W>) {
        // Nearly always there is but one.
        self.0.reserve_exact(1);
        self.0.insert(place, contender);
    }

    /// Somebody arrives: returns whom to wake.
    fn ask(&mut self) -> Vec<WakeRef> {
        if self.0.len() < MOST {
            return self.0.iter().map(|contender| contender.who.waker()).collect();
        }
        self.0.truncate(MOST - 1);
        Vec::new()
    }

    /// Refuses those from `place` on: returns whom to wake.
    fn refuse_from(&mut self, place: usize) -> Vec<WakeRef> {
        let later = self.0[place..].iter_mut().filter(|contender| !contender.refused);
        let refuse = |contender: &mut Contender<W>| {
            contender.refused = true;
            contender.who.waker()
        };
        later.map(refuse).collect()
    }

    fn clear(&mut self) {
        if self.0.len() > 1 { *self = Self::default() } else { self.0.clear() }
    }
}

/// A claimed direction with its list, both of which are given back in any case, also if a waker panics. Then those are
/// woken whom it concerns.
struct Visit<'a, L: Lane> {
    lane: &'a L,
    contenders: Contenders<L::Wait>,
    wakes: Vec<WakeRef>,
}

impl<L: Lane> Drop for Visit<'_, L> {
    fn drop(&mut self) {
        drop(self.lane.exchange(mem::take(&mut self.contenders)));
        self.lane.release();
        if !self.wakes.is_empty() {
            each(mem::take(&mut self.wakes), WakeRef::wake);
        }
    }
}

/// Polls an operation that has no future of its own: `begin` makes its state, `poll` goes on with it.
pub(crate) fn poll<L: Lane, T>(
    lane: &L,
    cx: &mut Context<'_>,
    begin: impl FnOnce() -> L::Wait,
    poll: impl FnOnce(&mut L::Wait, &mut Context<'_>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    if !lane.claim() {
        return Poll::Ready(Err(busy()));
    }
    let mut visit = Visit { lane, contenders: lane.exchange(Contenders::default()), wakes: Vec::new() };
    let contenders = &mut visit.contenders;
    let (place, who, mut wait) = match contenders.take(cx) {
        Some((_, Contender { refused: true, .. })) => return Poll::Ready(Err(busy())),
        Some((place, Contender { who, mut wait, .. })) => {
            if !contenders.0.is_empty() {
                visit.wakes = contenders.refuse_from(place);
                L::turned(&mut wait);
            }
            (place, Some(who), wait)
        }
        None => {
            visit.wakes = contenders.ask();
            (contenders.0.len(), None, begin())
        }
    };
    let result = poll(&mut wait, cx);
    if result.is_pending() {
        let who = who.unwrap_or_else(|| Who::polls(cx));
        contenders.insert(place, Contender { who, wait, refused: false });
    } else {
        contenders.clear();
    }
    result
}

/// Empties the list, for an operation with a future of its own that has just claimed the direction.
#[cold]
pub(crate) fn displace<L: Lane>(lane: &L) {
    let Contenders(all) = lane.exchange(Contenders::default());
    each(all, |contender| contender.who.waker().wake());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    /// A direction in which the news come when they are let in.
    #[derive(Default)]
    struct Fake {
        busy: Cell<bool>,
        list: RefCell<Contenders<usize>>,
        begun: Cell<usize>,
        has_news: Cell<bool>,
    }

    impl Lane for Fake {
        /// The number of the operation.
        type Wait = usize;

        fn claim(&self) -> bool {
            !self.busy.replace(true)
        }

        fn release(&self) {
            assert!(self.busy.replace(false));
        }

        fn exchange(&self, contenders: Contenders<usize>) -> Contenders<usize> {
            assert!(self.busy.get());
            self.list.replace(contenders)
        }

        fn turned(_: &mut usize) {}
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Outcome {
        /// It waits, as operation number so many.
        Waits(usize),
        Done,
        Refused,
    }
    use Outcome::{Done, Refused, Waits};

    impl Fake {
        fn poll(&self, waker: &Waker) -> Outcome {
            let begin = || {
                self.begun.set(self.begun.get() + 1);
                self.begun.get()
            };
            let mut number = 0;
            let polled = poll(self, &mut Context::from_waker(waker), begin, |wait, _| {
                number = *wait;
                if self.has_news.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
            });
            assert!(!self.busy.get());
            match polled {
                Poll::Pending => Waits(number),
                Poll::Ready(Ok(())) => Done,
                Poll::Ready(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
                    Refused
                }
            }
        }

        fn len(&self) -> usize {
            self.list.borrow().0.len()
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn new() -> (Arc<Self>, Waker) {
            let count = Arc::new(Self::default());
            (Arc::clone(&count), Waker::from(count))
        }

        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    #[test]
    fn of_two_the_second_is_refused_and_the_first_goes_on() {
        let (lane, (first, a), (second, b)) = (Fake::default(), Count::new(), Count::new());
        assert_eq!((lane.poll(&a), lane.poll(&b)), (Waits(1), Waits(2)));
        assert_eq!((first.take(), second.take()), (1, 0));
        assert_eq!(lane.poll(&a), Waits(1));
        assert_eq!(lane.poll(&a), Waits(1));
        assert_eq!((first.take(), second.take()), (0, 1));
        assert_eq!((lane.poll(&b), lane.poll(&a)), (Refused, Waits(1)));
        assert_eq!((first.take(), second.take(), lane.len()), (0, 0, 1));
        // Refused once: it may try again.
        assert_eq!(lane.poll(&b), Waits(3));
    }

    #[test]
    fn what_was_left_delays_nobody_and_is_gone_with_the_next_end() {
        let (lane, (left, a), (count, b)) = (Fake::default(), Count::new(), Count::new());
        assert_eq!((lane.poll(&a), lane.poll(&b), lane.poll(&b)), (Waits(1), Waits(2), Waits(2)));
        lane.has_news.set(true);
        assert_eq!((lane.poll(&b), lane.len()), (Done, 0));
        assert_eq!((left.take(), count.take()), (1, 0));
        drop(a);
        assert_eq!(Arc::strong_count(&left), 1);
    }

    #[test]
    fn who_need_not_wait_wakes_who_waits() {
        let (lane, (waiting, a), (_, b)) = (Fake::default(), Count::new(), Count::new());
        assert_eq!(lane.poll(&a), Waits(1));
        lane.has_news.set(true);
        assert_eq!((lane.poll(&b), waiting.take()), (Done, 1));
        lane.has_news.set(false);
        assert_eq!((lane.poll(&a), waiting.take()), (Waits(3), 0));
    }

    #[test]
    fn who_claims_the_direction_for_longer_wakes_all() {
        let (lane, (first, a), (second, b)) = (Fake::default(), Count::new(), Count::new());
        assert_eq!((lane.poll(&a), lane.poll(&b)), (Waits(1), Waits(2)));
        assert!(lane.claim());
        displace(&lane);
        assert_eq!((first.take(), second.take(), lane.len()), (2, 1, 0));
    }

    /// Tasks that poll when they are woken, and until they are refused, in any order.
    #[test]
    fn of_many_one_goes_on_and_all_come_to_rest() {
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for round in 0..1_000 {
            let (lane, tasks) = (Fake::default(), 2 + round % (MOST - 1));
            let tasks: Vec<_> = (0..tasks).map(|_| Count::new()).collect();
            let mut woken: Vec<_> = (0..tasks.len()).collect();
            let (mut waits, mut polls) = (vec![false; tasks.len()], 0);
            while !woken.is_empty() {
                let task = woken.swap_remove(random(woken.len()));
                waits[task] = lane.poll(&tasks[task].1) != Refused;
                polls += 1;
                assert!(polls <= tasks.len() * tasks.len() * 2, "no rest");
                for (other, (count, _)) in tasks.iter().enumerate() {
                    let runs = waits[other] && count.take() > 0;
                    if runs && !woken.contains(&other) {
                        woken.push(other);
                    }
                }
            }
            assert_eq!(waits.iter().filter(|waits| **waits).count(), 1);
        }
    }

    #[test]
    fn wakers_that_cannot_be_compared_come_to_rest() {
        let lane = Fake::default();
        let mut polls = 0;
        let mut wakers: Vec<(Arc<Count>, Waker)> = Vec::new();
        // One task, whose wakers are new at each poll.
        loop {
            let new = Count::new();
            assert!(matches!(lane.poll(&new.1), Waits(_)));
            wakers.push(new);
            polls += 1;
            if wakers.iter().map(|(count, _)| count.take()).sum::<usize>() == 0 && polls > 1 {
                break;
            }
        }
        assert_eq!((polls, lane.len()), (MOST + 1, MOST));
    }

    #[test]
    fn panic_gives_the_direction_back_and_keeps_who_waits() {
        let (lane, (waiting, a), (_, b)) = (Fake::default(), Count::new(), Count::new());
        assert_eq!(lane.poll(&a), Waits(1));
        let panics = AssertUnwindSafe(|| {
            let _ =
                poll(&lane, &mut Context::from_waker(&b), || 0, |_, _| -> Poll<io::Result<()>> { panic!("a waker") });
        });
        assert!(catch_unwind(panics).is_err());
        assert_eq!((lane.busy.get(), waiting.take()), (false, 1));
        assert_eq!(lane.poll(&a), Waits(1));
    }
}
