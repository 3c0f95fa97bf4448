//! The channel as a pure machine: items, waits and handles, no waker called and no value dropped.
//!
//! Each transition returns what its caller has to wake, and to drop, once the lock is released.
//!
//! Invariants, whenever the lock is free ("waits" are those that are not cancelled):
//!
//! 1. a receive waits only while nothing can be received: the buffer is empty and no send waits;
//! 2. a send waits only while the buffer is full and no receive waits;
//! 3. a stream watches only while nothing can be received and a sender is left. It is *told* and takes nothing: whatever
//!    makes something receivable tells all that watch, since any of them may have been abandoned;
//! 4. without a receiver the buffer is empty and no send waits; without a sender no receive waits;
//! 5. the buffer holds more than `capacity` items only after items have come back to it.
//!
//! An item that was handed to a receive which is then dropped comes back to where it was taken from: items are numbered
//! as they are handed over, and those that came back stand at the front of the buffer in the order of their numbers.

use crate::sync::queue::{Key, WaitQueue, Waiter};
use crate::sync::wait::Wakes;
use crate::task::park::Parked;
use std::collections::VecDeque;

/// An empty buffer that has grown beyond this is given back when a receive begins to wait.
const KEEP: usize = 1024;

/// Names a handle, of either side, within its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HandleId(u64);

/// Why nothing could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendRefusal {
    Full,
    Closed,
    Broken,
}

/// Why nothing could be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecvRefusal {
    Empty,
    Closed,
    Ended,
}

/// A blocked send.
#[derive(Debug)]
pub(super) struct SendSlot<T> {
    handle: HandleId,
    /// What is to be sent; taken when it is.
    pub(super) value: Option<T>,
    /// Why the wait was ended, if `value` was not taken.
    pub(super) refusal: SendRefusal,
}

/// A blocked receive.
#[derive(Debug)]
pub(super) struct RecvSlot<T> {
    handle: HandleId,
    /// What was handed over.
    pub(super) item: Option<T>,
    /// The number of `item`.
    number: u64,
    /// Why the wait was ended, if there is no `item`.
    pub(super) refusal: RecvRefusal,
}

/// A stream that watches.
#[derive(Debug)]
pub(super) struct WatchSlot {
    handle: HandleId,
}

/// What is left of a wait that was given up.
#[derive(Debug)]
pub(super) struct Remains<T, W = Parked> {
    /// To be woken.
    pub(super) wakes: Wakes<W>,
    /// To be dropped after that.
    pub(super) spare: Option<W>,
    /// To be dropped after that.
    pub(super) value: Option<T>,
}

/// See the head of the module.
#[derive(Debug)]
pub(super) struct Machine<T, W = Parked> {
    buffer: VecDeque<T>,
    /// The numbers of the items that came back, which stand at the front of `buffer`; ascending.
    returned: VecDeque<u64>,
    /// `usize::MAX`: no bound.
    capacity: usize,
    /// The most `buffer` ever held.
    peak: usize,
    senders: usize,
    receivers: usize,
    next_handle: u64,
    /// The number of the next item that is handed over.
    next_number: u64,
    pub(super) sending: WaitQueue<SendSlot<T>, W>,
    pub(super) receiving: WaitQueue<RecvSlot<T>, W>,
    pub(super) watching: WaitQueue<WatchSlot, W>,
}

/// The state of a channel at one moment, the same from every handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Items in the buffer.
    pub buffered: usize,
    /// Items the buffer takes; `None` if there is no bound.
    pub capacity: Option<usize>,
    /// Open sender handles.
    pub senders: usize,
    /// Open receiver handles.
    pub receivers: usize,
    /// Sends that wait.
    pub waiting_send: usize,
    /// Receives that wait, streams included.
    pub waiting_recv: usize,
    /// The most items that were ever in the buffer. What goes directly to a waiting receive never is.
    pub peak_buffered: usize,
}

impl<T, W> Machine<T, W> {
    /// A channel with one handle on each side.
    pub(super) const fn new(capacity: usize) -> (Self, HandleId, HandleId) {
        let machine = Self {
            buffer: VecDeque::new(),
            returned: VecDeque::new(),
            capacity,
            peak: 0,
            senders: 1,
            receivers: 1,
            next_handle: 2,
            next_number: 0,
            sending: WaitQueue::new(),
            receiving: WaitQueue::new(),
            watching: WaitQueue::new(),
        };
        (machine, HandleId(0), HandleId(1))
    }

    pub(super) const fn add_sender(&mut self) -> HandleId {
        self.senders += 1;
        self.new_handle()
    }

    pub(super) const fn add_receiver(&mut self) -> HandleId {
        self.receivers += 1;
        self.new_handle()
    }

    const fn new_handle(&mut self) -> HandleId {
        self.next_handle += 1;
        HandleId(self.next_handle - 1)
    }
}

impl<T, W: Waiter> Machine<T, W> {
    /// Takes `value` and hands it to the first who waits, or buffers it; or leaves it where it is.
    #[inline(always)]
    pub(super) fn try_send(&mut self, value: &mut Option<T>) -> Result<Wakes<W>, SendRefusal> {
        if let Some(parked) = self.hand_over(value) {
            return Ok(Wakes::One(parked));
        }
        if self.receivers == 0 {
            return Err(SendRefusal::Broken);
        }
        if self.buffer.len() >= self.capacity {
            return Err(SendRefusal::Full);
        }
        self.add(value);
        Ok(self.tell())
    }

    /// As [`Machine::try_send`], if it succeeds and no stream has to be told: who is to be woken.
    #[inline(always)]
    pub(super) fn try_send_plainly(&mut self, value: &mut Option<T>) -> Option<Option<W>> {
        if let Some(parked) = self.hand_over(value) {
            return Some(Some(parked));
        }
        if self.receivers == 0 || self.buffer.len() >= self.capacity || !self.watching.is_empty() {
            return None;
        }
        self.add(value);
        Some(None)
    }

    /// Hands `value` to the first receive that waits.
    #[inline(always)]
    fn hand_over(&mut self, value: &mut Option<T>) -> Option<W> {
        let (parked, slot) = self.receiving.pop()?;
        slot.item = value.take();
        slot.number = self.next_number;
        self.next_number += 1;
        Some(parked)
    }

    #[inline(always)]
    fn add(&mut self, value: &mut Option<T>) {
        if let Some(value) = value.take() {
            self.buffer.push_back(value);
            self.peak = self.peak.max(self.buffer.len());
        }
    }

    /// Queues a send that found the channel full.
    #[inline(always)]
    pub(super) fn queue_send(&mut self, handle: HandleId, parked: W, value: Option<T>) -> (Key, Wakes<W>) {
        let slot = SendSlot { handle, value, refusal: SendRefusal::Full };
        // In a rendezvous channel a queued send is something to receive.
        (self.sending.push_back(parked, slot), self.tell())
    }

    /// Must a send wait, with no stream to be told of it?
    #[inline(always)]
    pub(super) fn must_wait_to_send(&self) -> bool {
        let is_full = self.receivers > 0 && self.buffer.len() >= self.capacity;
        is_full && self.receiving.is_empty() && self.watching.is_empty()
    }

    /// As [`Machine::queue_send`], where that is so.
    #[inline(always)]
    pub(super) fn queue_send_plainly(&mut self, handle: HandleId, parked: W, value: &mut Option<T>) -> Key {
        self.sending.push_back(parked, SendSlot { handle, value: value.take(), refusal: SendRefusal::Full })
    }

    /// Takes the first item, and moves up the first blocked send, which is returned for waking.
    #[inline(always)]
    pub(super) fn try_recv(&mut self) -> Result<(T, Option<W>), RecvRefusal> {
        if let Some(item) = self.buffer.pop_front() {
            if !self.returned.is_empty() {
                self.returned.pop_front();
            }
            let moved_up = if self.sending.is_empty() { None } else { self.refill() };
            return Ok((item, moved_up));
        }
        if let Some((parked, slot)) = self.sending.pop() {
            if let Some(item) = slot.value.take() {
                return Ok((item, Some(parked)));
            }
        }
        Err(if self.senders == 0 { RecvRefusal::Ended } else { RecvRefusal::Empty })
    }

    /// Queues a receive that found the channel empty.
    #[inline(always)]
    pub(super) fn queue_recv(&mut self, handle: HandleId, parked: W) -> Key {
        self.shrink();
        let slot = RecvSlot { handle, item: None, number: 0, refusal: RecvRefusal::Empty };
        self.receiving.push_back(parked, slot)
    }

    /// Lets a stream that found the channel empty watch it.
    pub(super) fn watch(&mut self, handle: HandleId, parked: W) -> Key {
        self.shrink();
        self.watching.push_back(parked, WatchSlot { handle })
    }

    /// Takes out the wait of a send that is given up. A value that was not taken is never delivered.
    pub(super) fn leave_send(&mut self, key: Key) -> Remains<T, W> {
        let (slot, spare) = self.sending.remove(key);
        Remains { wakes: Wakes::None, spare, value: slot.value }
    }

    /// Takes out the wait of a receive that is given up. What it was handed goes on, or comes back.
    pub(super) fn leave_recv(&mut self, key: Key) -> Remains<T, W> {
        let (mut slot, spare) = self.receiving.remove(key);
        let wakes = if slot.item.is_some() { self.put_back(&mut slot.item, slot.number) } else { Wakes::None };
        Remains { wakes, spare, value: slot.item }
    }

    /// Closes a sender handle that is open.
    pub(super) fn close_sender(&mut self, handle: HandleId) -> Wakes<W> {
        let mut wakes = Wakes::None;
        self.sending.take_where(
            |slot| slot.handle == handle,
            |parked, slot| {
                slot.refusal = SendRefusal::Closed;
                wakes.push(parked);
            },
        );
        self.senders -= 1;
        if self.senders == 0 {
            while let Some((parked, slot)) = self.receiving.pop() {
                slot.refusal = RecvRefusal::Ended;
                wakes.push(parked);
            }
            while let Some((parked, _)) = self.watching.pop() {
                wakes.push(parked);
            }
        }
        wakes
    }

    /// Closes a receiver handle that is open. Returns the items that are discarded, too.
    pub(super) fn close_receiver(&mut self, handle: HandleId) -> (Wakes<W>, VecDeque<T>) {
        let mut wakes = Wakes::None;
        self.receiving.take_where(
            |slot| slot.handle == handle,
            |parked, slot| {
                slot.refusal = RecvRefusal::Closed;
                wakes.push(parked);
            },
        );
        self.watching.take_where(|slot| slot.handle == handle, |parked, _| wakes.push(parked));
        self.receivers -= 1;
        if self.receivers > 0 {
            return (wakes, VecDeque::new());
        }
        while let Some((parked, slot)) = self.sending.pop() {
            slot.refusal = SendRefusal::Broken;
            wakes.push(parked);
        }
        self.returned.clear();
        (wakes, std::mem::take(&mut self.buffer))
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            buffered: self.buffer.len(),
            capacity: (self.capacity != usize::MAX).then_some(self.capacity),
            senders: self.senders,
            receivers: self.receivers,
            waiting_send: self.sending.len(),
            waiting_recv: self.receiving.len() + self.watching.len(),
            peak_buffered: self.peak,
        }
    }

    /// Moves the value of the first blocked send into the place that has become free.
    fn refill(&mut self) -> Option<W> {
        if self.buffer.len() >= self.capacity {
            return None;
        }
        let (parked, slot) = self.sending.pop()?;
        if let Some(value) = slot.value.take() {
            self.buffer.push_back(value);
        }
        Some(parked)
    }

    #[inline(always)]
    fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = VecDeque::new();
        }
    }

    /// Tells all streams that watch.
    #[inline(always)]
    fn tell(&mut self) -> Wakes<W> {
        if self.watching.is_empty() { Wakes::None } else { self.tell_all() }
    }

    #[cold]
    fn tell_all(&mut self) -> Wakes<W> {
        let mut wakes = Wakes::None;
        while let Some((parked, _)) = self.watching.pop() {
            wakes.push(parked);
        }
        wakes
    }

    /// Gives an item that had been handed over to the next who waits, or back to the buffer; leaves it where it is if no
    /// receiver is left.
    #[cold]
    fn put_back(&mut self, item: &mut Option<T>, number: u64) -> Wakes<W> {
        if let Some((parked, slot)) = self.receiving.pop() {
            slot.item = item.take();
            slot.number = number;
            return Wakes::One(parked);
        }
        if self.receivers == 0 {
            return Wakes::None;
        }
        if let Some(item) = item.take() {
            let place = self.returned.partition_point(|earlier| *earlier < number);
            self.returned.insert(place, number);
            self.buffer.insert(place, item);
            self.peak = self.peak.max(self.buffer.len());
        }
        self.tell()
    }
}

#[cfg(test)]
mod tests;
