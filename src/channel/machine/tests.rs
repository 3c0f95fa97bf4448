use super::*;
use crate::sync::fake::{Fake, Random, ids};
use crate::sync::queue::Progress;
use std::task::{Context, Waker};

type Channel = Machine<u32, Fake>;

const TX: HandleId = HandleId(0);
const RX: HandleId = HandleId(1);

fn channel(capacity: usize) -> Channel {
    Machine::new(capacity).0
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn sends(channel: &mut Channel, value: u32) -> Vec<u32> {
    ids(channel.try_send(&mut Some(value)).expect("it can be sent"))
}

fn blocks_sending(channel: &mut Channel, value: u32) -> Key {
    assert_eq!(channel.try_send(&mut Some(value)).unwrap_err(), SendRefusal::Full);
    channel.queue_send(TX, Fake::new(value), Some(value)).0
}

fn blocks_receiving(channel: &mut Channel, id: u32) -> Key {
    assert_eq!(channel.try_recv().unwrap_err(), RecvRefusal::Empty);
    channel.queue_recv(RX, Fake::new(id))
}

fn receives(channel: &mut Channel) -> Result<u32, RecvRefusal> {
    channel.try_recv().map(|(item, _)| item)
}

fn handed(channel: &mut Channel, key: Key) -> Result<u32, RecvRefusal> {
    match channel.receiving.poll(key, &cx()) {
        Progress::Done(slot) => slot.item.ok_or(slot.refusal),
        progress => panic!("{progress:?}"),
    }
}

#[test]
fn items_come_out_in_order() {
    let mut channel = channel(2);
    sends(&mut channel, 1);
    sends(&mut channel, 2);
    assert_eq!(channel.try_send(&mut Some(3)).unwrap_err(), SendRefusal::Full);
    assert_eq!((receives(&mut channel), receives(&mut channel)), (Ok(1), Ok(2)));
    assert_eq!(receives(&mut channel), Err(RecvRefusal::Empty));
}

#[test]
fn refused_value_stays_with_its_owner() {
    let mut channel = channel(0);
    let mut value = Some(1);
    assert!(channel.try_send(&mut value).is_err());
    assert_eq!(value, Some(1));
}

#[test]
fn waiting_receive_gets_the_item_directly() {
    let mut channel = channel(5);
    let key = blocks_receiving(&mut channel, 7);
    assert_eq!(sends(&mut channel, 1), [7]);
    assert_eq!(receives(&mut channel), Err(RecvRefusal::Empty), "it cannot be taken in between");
    assert_eq!(channel.statistics().peak_buffered, 0);
    assert_eq!(handed(&mut channel, key), Ok(1));
}

#[test]
fn freed_place_goes_to_the_first_blocked_send() {
    let mut channel = channel(1);
    sends(&mut channel, 1);
    let key = blocks_sending(&mut channel, 2);
    let (item, moved_up) = channel.try_recv().unwrap();
    assert_eq!((item, moved_up.map(|wait| wait.id)), (1, Some(2)));
    assert_eq!(channel.try_send(&mut Some(3)).unwrap_err(), SendRefusal::Full);
    assert!(matches!(channel.sending.poll(key, &cx()), Progress::Done(SendSlot { value: None, .. })));
    assert_eq!(receives(&mut channel), Ok(2));
}

#[test]
fn rendezvous_takes_from_the_blocked_send() {
    let mut channel = channel(0);
    blocks_sending(&mut channel, 1);
    blocks_sending(&mut channel, 2);
    let (item, sender) = channel.try_recv().unwrap();
    assert_eq!((item, sender.map(|wait| wait.id)), (1, Some(1)));
    assert_eq!(receives(&mut channel), Ok(2));
}

#[test]
fn cancelled_waits_are_not_seen() {
    let mut channel = channel(0);
    let wait = Fake::new(1);
    drop(channel.queue_send(TX, wait.clone(), Some(1)));
    wait.cancel();
    assert_eq!(channel.statistics().waiting_send, 0);
    let wait = Fake::new(2);
    assert_eq!(receives(&mut channel), Err(RecvRefusal::Empty));
    channel.queue_recv(RX, wait.clone());
    wait.cancel();
    assert_eq!(channel.statistics().waiting_recv, 0);
    assert_eq!(channel.try_send(&mut Some(3)).unwrap_err(), SendRefusal::Full);
}

#[test]
fn last_sender_leaves_the_buffer_and_ends_blocked_receives() {
    let mut channel = channel(1);
    sends(&mut channel, 1);
    drop(channel.close_sender(TX));
    assert_eq!((receives(&mut channel), receives(&mut channel)), (Ok(1), Err(RecvRefusal::Ended)));

    let mut channel = self::channel(1);
    let key = blocks_receiving(&mut channel, 7);
    assert_eq!(ids(channel.close_sender(TX)), [7]);
    assert_eq!(handed(&mut channel, key), Err(RecvRefusal::Ended));
}

#[test]
fn last_receiver_discards_the_buffer_and_breaks_blocked_sends() {
    let mut channel = channel(1);
    sends(&mut channel, 1);
    let key = blocks_sending(&mut channel, 2);
    let (wakes, discarded) = channel.close_receiver(RX);
    assert_eq!((ids(wakes), discarded.into_iter().collect::<Vec<_>>()), (vec![2], vec![1]));
    match channel.sending.poll(key, &cx()) {
        Progress::Done(slot) => {
            assert_eq!((slot.value, slot.refusal), (Some(2), SendRefusal::Broken))
        }
        progress => panic!("{progress:?}"),
    }
    assert_eq!(channel.try_send(&mut Some(3)).unwrap_err(), SendRefusal::Broken);
}

#[test]
fn close_ends_only_what_is_blocked_on_that_handle() {
    let mut channel = channel(0);
    let other = channel.add_sender();
    drop(channel.queue_send(TX, Fake::new(1), Some(1)));
    drop(channel.queue_send(other, Fake::new(2), Some(2)));
    assert_eq!(ids(channel.close_sender(other)), [2]);
    assert_eq!(receives(&mut channel), Ok(1));

    let other = channel.add_receiver();
    blocks_receiving(&mut channel, 1);
    let key = channel.queue_recv(other, Fake::new(2));
    assert_eq!(ids(channel.close_receiver(other).0), [2]);
    assert_eq!(handed(&mut channel, key), Err(RecvRefusal::Closed));
    assert_eq!(channel.statistics().waiting_recv, 1);
}

#[test]
fn item_of_a_dropped_receive_goes_on_to_the_next() {
    let mut channel = channel(1);
    let first = blocks_receiving(&mut channel, 1);
    let second = blocks_receiving(&mut channel, 2);
    sends(&mut channel, 10);
    assert_eq!(ids(channel.leave_recv(first).wakes), [2]);
    assert_eq!(handed(&mut channel, second), Ok(10));
}

#[test]
fn items_of_dropped_receives_come_back_in_order_before_all_others() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut channel = channel(1);
        let keys: Vec<_> = (0..3).map(|id| blocks_receiving(&mut channel, id)).collect();
        for value in 0..4 {
            sends(&mut channel, value);
        }
        blocks_sending(&mut channel, 4);
        for at in order {
            channel.leave_recv(keys[at]);
        }
        let received: Vec<_> = std::iter::from_fn(|| receives(&mut channel).ok()).collect();
        assert_eq!(received, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn item_that_comes_back_to_no_receiver_is_dropped_outside() {
    let mut channel = channel(1);
    let key = blocks_receiving(&mut channel, 1);
    sends(&mut channel, 10);
    drop(channel.close_receiver(RX));
    assert_eq!(channel.leave_recv(key).value, Some(10));
    assert_eq!(channel.statistics().buffered, 0);
}

#[test]
fn dropped_send_is_never_delivered() {
    let mut channel = channel(0);
    let key = blocks_sending(&mut channel, 1);
    assert_eq!(channel.leave_send(key).value, Some(1));
    assert_eq!(receives(&mut channel), Err(RecvRefusal::Empty));
}

#[test]
fn streams_are_told_but_not_handed_anything() {
    let mut channel = channel(1);
    channel.watch(RX, Fake::new(1));
    channel.watch(RX, Fake::new(2));
    assert_eq!(sends(&mut channel, 10), [1, 2]);
    assert_eq!(receives(&mut channel), Ok(10));
    channel.watch(RX, Fake::new(3));
    assert_eq!(ids(channel.close_sender(TX)), [3]);
}

#[test]
fn streams_are_told_of_a_send_that_blocks_in_a_rendezvous() {
    let mut channel = channel(0);
    channel.watch(RX, Fake::new(1));
    assert_eq!(channel.try_send(&mut Some(10)).unwrap_err(), SendRefusal::Full);
    assert_eq!(ids(channel.queue_send(TX, Fake::new(2), Some(10)).1), [1]);
    assert_eq!(receives(&mut channel), Ok(10));
}

#[test]
fn huge_buffer_is_given_back_when_it_is_empty() {
    let mut channel = channel(usize::MAX);
    for value in 0..10_000 {
        sends(&mut channel, value);
    }
    while receives(&mut channel).is_ok() {}
    blocks_receiving(&mut channel, 0);
    assert_eq!(channel.buffer.capacity(), 0);
    assert_eq!(channel.statistics().peak_buffered, 10_000);
}

/// A random run of a channel with several handles: what has become of each value, and whether the invariants hold.
struct Run {
    channel: Channel,
    random: Random,
    next: u32,
    senders: Vec<HandleId>,
    receivers: Vec<HandleId>,
    sends: Vec<(Key, Fake, u32)>,
    receives: Vec<(Key, Fake)>,
    watches: Vec<(Key, Fake)>,
    sent: Vec<u32>,
    received: Vec<u32>,
    discarded: Vec<u32>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (channel, sender, receiver) = Machine::new(random.below(4));
        Self {
            channel,
            random,
            next: 0,
            senders: vec![sender],
            receivers: vec![receiver],
            sends: vec![],
            receives: vec![],
            watches: vec![],
            sent: vec![],
            received: vec![],
            discarded: vec![],
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=5 => self.send(),
            6..=10 => self.receive(),
            11 | 12 if !self.sends.is_empty() => self.poll_or_drop_send(),
            13..=15 if !self.receives.is_empty() => self.poll_or_drop_receive(),
            16 if !self.sends.is_empty() => self.sends[self.random.below(self.sends.len())].1.cancel(),
            17 if !self.receives.is_empty() => self.receives[self.random.below(self.receives.len())].1.cancel(),
            18 => self.change_handles(),
            19 if !self.watches.is_empty() => self.change_watches(),
            _ => {}
        }
        self.check();
    }

    fn send(&mut self) {
        let Some(&handle) = self.senders.first() else {
            return;
        };
        let value = self.next;
        self.next += 1;
        if self.random.below(2) == 0 && self.send_plainly(handle, value) {
            return;
        }
        match self.channel.try_send(&mut Some(value)) {
            Ok(_) => self.sent.push(value),
            Err(SendRefusal::Full) => {
                let wait = Fake::new(value);
                let (key, _) = self.channel.queue_send(handle, wait.clone(), Some(value));
                self.sends.push((key, wait, value));
            }
            Err(refusal) => assert_eq!((refusal, self.receivers.len()), (SendRefusal::Broken, 0)),
        }
    }

    /// By the short ways, as far as they go. False: nothing was done.
    fn send_plainly(&mut self, handle: HandleId, value: u32) -> bool {
        let mut offered = Some(value);
        if self.channel.try_send_plainly(&mut offered).is_some() {
            assert_eq!(offered, None);
            self.sent.push(value);
            return true;
        }
        assert_eq!(offered, Some(value));
        if !self.channel.must_wait_to_send() {
            return false;
        }
        let wait = Fake::new(value);
        let key = self.channel.queue_send_plainly(handle, wait.clone(), &mut offered);
        self.sends.push((key, wait, value));
        true
    }

    fn receive(&mut self) {
        let Some(&handle) = self.receivers.last() else {
            return;
        };
        match self.channel.try_recv() {
            Ok((item, _)) => self.received.push(item),
            Err(RecvRefusal::Empty) => {
                let wait = Fake::new(0);
                if self.random.below(4) == 0 {
                    self.watches.push((self.channel.watch(handle, wait.clone()), wait));
                } else {
                    self.receives.push((self.channel.queue_recv(handle, wait.clone()), wait));
                }
            }
            Err(refusal) => assert_eq!((refusal, self.senders.len()), (RecvRefusal::Ended, 0)),
        }
    }

    fn poll_or_drop_send(&mut self) {
        let (key, wait, value) = self.sends.swap_remove(self.random.below(self.sends.len()));
        let was_taken = |slot: &mut SendSlot<u32>| slot.value.is_none().then_some(());
        if self.random.below(2) == 0 && self.channel.sending.take_done(key, was_taken).is_some() {
            self.sent.push(value);
            return;
        }
        let left = match self.channel.sending.poll(key, &cx()) {
            Progress::Done(slot) => slot.value,
            Progress::Cancelled(slot, _) => {
                assert!(wait.is_cancelled());
                slot.value
            }
            Progress::Waiting | Progress::Stale => self.channel.leave_send(key).value,
        };
        if left.is_none() {
            self.sent.push(value);
        }
    }

    fn poll_or_drop_receive(&mut self) {
        let (key, wait) = self.receives.swap_remove(self.random.below(self.receives.len()));
        if self.random.below(3) == 0 {
            self.discarded.extend(self.channel.leave_recv(key).value);
            return;
        }
        if self.random.below(2) == 0 {
            if let Some(item) = self.channel.receiving.take_done(key, |slot| slot.item.take()) {
                self.received.push(item);
                return;
            }
        }
        match self.channel.receiving.poll(key, &cx()) {
            Progress::Done(slot) => self.received.extend(slot.item),
            Progress::Cancelled(slot, _) => assert!(wait.is_cancelled() && slot.item.is_none()),
            Progress::Waiting | Progress::Stale => self.receives.push((key, wait)),
        }
    }

    fn change_watches(&mut self) {
        let at = self.random.below(self.watches.len());
        if self.random.below(2) == 0 {
            self.watches[at].1.cancel();
        } else {
            self.channel.watching.remove(self.watches.swap_remove(at).0);
        }
    }

    fn change_handles(&mut self) {
        match self.random.below(10) {
            0..=3 if !self.senders.is_empty() => self.senders.push(self.channel.add_sender()),
            4..=7 if !self.receivers.is_empty() => self.receivers.push(self.channel.add_receiver()),
            8 if !self.senders.is_empty() => {
                let handle = self.senders.swap_remove(self.random.below(self.senders.len()));
                drop(self.channel.close_sender(handle));
            }
            9 if !self.receivers.is_empty() => {
                let handle = self.receivers.swap_remove(self.random.below(self.receivers.len()));
                self.discarded.extend(self.channel.close_receiver(handle).1);
            }
            _ => {}
        }
    }

    /// The invariants in the head of the module.
    fn check(&self) {
        let state = self.channel.statistics();
        let capacity = self.channel.capacity;
        let watched = self.channel.watching.iter().next().is_some();
        assert!(!watched || (state.buffered == 0 && state.waiting_send == 0 && state.senders > 0), "3: {state:?}");
        let state = Statistics { waiting_recv: self.channel.receiving.len(), ..state };
        assert!(state.waiting_recv == 0 || (state.buffered == 0 && state.waiting_send == 0), "1: {state:?}");
        assert!(state.waiting_send == 0 || (state.buffered >= capacity && state.waiting_recv == 0), "2: {state:?}");
        assert!(state.receivers > 0 || (state.buffered == 0 && state.waiting_send == 0), "4: {state:?}");
        assert!(state.senders > 0 || state.waiting_recv == 0, "4: {state:?}");
        assert!(state.buffered <= capacity + self.channel.returned.len(), "5: {state:?}");
        assert!(self.channel.buffer.iter().is_sorted(), "{:?}", self.channel.buffer);
        assert!(self.channel.returned.iter().is_sorted());
    }

    /// Nothing is lost, and nothing is there twice.
    fn account(mut self) {
        while !self.sends.is_empty() {
            self.poll_or_drop_send();
        }
        while !self.receives.is_empty() {
            self.poll_or_drop_receive_for_good();
        }
        let mut accounted = self.received;
        accounted.extend(self.discarded);
        accounted.extend(self.channel.buffer);
        accounted.sort_unstable();
        self.sent.sort_unstable();
        assert_eq!(accounted, self.sent);
    }

    fn poll_or_drop_receive_for_good(&mut self) {
        if let Some((key, _)) = self.receives.pop() {
            self.discarded.extend(self.channel.leave_recv(key).value);
        }
    }
}

#[test]
fn nothing_is_lost_or_duplicated() {
    for seed in 0..1000 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.step();
        }
        run.account();
    }
}
