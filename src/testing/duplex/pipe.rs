//! One direction of a stream in memory: a bounded queue of bytes, and at most one waiter at each end.
//!
//! A pure machine: it gives back whom to wake and what to drop, for after the lock. Invariants:
//!
//! 1. there are never more than `capacity` bytes in it, and none after its reader has left;
//! 2. who waits for an end is either *waiting* or *served*. Whatever might let a waiter go on serves it, unless it is
//!    cancelled: so what came first, the bytes or the cancel, decides, as with all waits;
//! 3. a waiter that was served looks again, and may have to wait again.

use crate::task::park::Parked;
use std::collections::VecDeque;
use std::io;

/// The waits of a direction.
pub(super) trait Waiter {
    fn is_cancelled(&self) -> bool;
}

impl Waiter for Parked {
    fn is_cancelled(&self) -> bool {
        Parked::is_cancelled(self)
    }
}

/// Which end of the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Read = 0,
    Write = 1,
}

#[derive(Debug)]
enum Slot<W> {
    Empty,
    Waiting(W),
    Served,
}

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Look again.
    Served,
    Cancelled,
    /// Still waiting; whether the waiter is right for this poll is for the caller to find out.
    Waiting,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pipe<W> {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The reader and the writer have left.
    left: [bool; 2],
    slots: [Slot<W>; 2],
}

impl<W: Waiter> Pipe<W> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, left: [false; 2], slots: [Slot::Empty, Slot::Empty] }
    }

    fn has_left(&self, end: End) -> bool {
        self.left[end as usize]
    }

    /// Takes bytes out; `None` if there are none yet. Gives back whom to wake.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Option<(usize, Option<W>)> {
        if buf.is_empty() || (self.bytes.is_empty() && (self.has_left(End::Write) || self.has_left(End::Read))) {
            return Some((0, None));
        }
        let n = buf.len().min(self.bytes.len());
        if n == 0 {
            return None;
        }
        for (to, byte) in buf.iter_mut().zip(self.bytes.drain(..n)) {
            *to = byte;
        }
        Some((n, self.serve(End::Write)))
    }

    /// Puts bytes in; `None` if there is no room yet. Gives back whom to wake.
    pub(super) fn write(&mut self, buf: &[u8]) -> Option<io::Result<(usize, Option<W>)>> {
        if self.has_left(End::Read) || self.has_left(End::Write) {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(self.capacity - self.bytes.len());
        if n == 0 {
            return buf.is_empty().then_some(Ok((0, None)));
        }
        self.bytes.extend(&buf[..n]);
        Some(Ok((n, self.serve(End::Read))))
    }

    /// An end leaves. Gives back whom to wake.
    pub(super) fn leave(&mut self, end: End) -> [Option<W>; 2] {
        self.left[end as usize] = true;
        [self.serve(End::Read), self.serve(End::Write)]
    }

    /// The reader is gone for good, and with it what it has not read.
    pub(super) fn discard(&mut self) {
        self.bytes = VecDeque::new();
    }

    /// Waits at an end. What waited there before comes back, to be dropped.
    pub(super) fn wait(&mut self, end: End, waiter: W) -> Option<W> {
        match std::mem::replace(&mut self.slots[end as usize], Slot::Waiting(waiter)) {
            Slot::Waiting(old) => Some(old),
            Slot::Empty | Slot::Served => None,
        }
    }

    /// Gives up waiting. Who waited comes back, to be dropped.
    pub(super) fn give_up(&mut self, end: End) -> Option<W> {
        match std::mem::replace(&mut self.slots[end as usize], Slot::Empty) {
            Slot::Waiting(waiter) => Some(waiter),
            Slot::Empty | Slot::Served => None,
        }
    }

    /// Looks at the wait at an end.
    pub(super) fn progress(&self, end: End) -> Progress {
        match &self.slots[end as usize] {
            Slot::Waiting(waiter) if waiter.is_cancelled() => Progress::Cancelled,
            Slot::Waiting(_) => Progress::Waiting,
            Slot::Empty | Slot::Served => Progress::Served,
        }
    }

    /// Who waits at an end.
    pub(super) fn waiter(&self, end: End) -> Option<&W> {
        match &self.slots[end as usize] {
            Slot::Waiting(waiter) => Some(waiter),
            Slot::Empty | Slot::Served => None,
        }
    }

    fn serve(&mut self, end: End) -> Option<W> {
        let slot = &mut self.slots[end as usize];
        match slot {
            Slot::Waiting(waiter) if !waiter.is_cancelled() => match std::mem::replace(slot, Slot::Served) {
                Slot::Waiting(waiter) => Some(waiter),
                Slot::Empty | Slot::Served => unreachable!("just matched"),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cancelled or not.
    #[derive(Debug, PartialEq, Eq)]
    struct Fake(bool);

    impl Waiter for Fake {
        fn is_cancelled(&self) -> bool {
            self.0
        }
    }

    const fn live() -> Fake {
        Fake(false)
    }

    fn read(pipe: &mut Pipe<Fake>, n: usize) -> Option<Vec<u8>> {
        let mut buf = vec![0; n];
        let (n, _) = pipe.read(&mut buf)?;
        buf.truncate(n);
        Some(buf)
    }

    #[test]
    fn bytes_come_out_in_order_and_no_more_than_the_capacity_is_kept() {
        let mut pipe = Pipe::new(4);
        assert_eq!(read(&mut pipe, 2), None);
        assert_eq!(pipe.write(b"abcdef").unwrap().unwrap().0, 4);
        assert!(pipe.write(b"x").is_none());
        assert_eq!(read(&mut pipe, 3).unwrap(), b"abc");
        assert_eq!(pipe.write(b"efgh").unwrap().unwrap().0, 3);
        assert_eq!(read(&mut pipe, 9).unwrap(), b"defg");
    }

    #[test]
    fn empty_buffers_move_nothing_and_do_not_wait() {
        let mut pipe = Pipe::<Fake>::new(1);
        assert_eq!(read(&mut pipe, 0).unwrap(), b"");
        pipe.write(b"a").unwrap().unwrap();
        assert_eq!(pipe.write(b"").unwrap().unwrap().0, 0);
    }

    #[test]
    fn reader_has_the_rest_and_then_the_end() {
        let mut pipe = Pipe::<Fake>::new(4);
        pipe.write(b"ab").unwrap().unwrap();
        let _ = pipe.leave(End::Write);
        assert_eq!(read(&mut pipe, 1).unwrap(), b"a");
        assert_eq!(read(&mut pipe, 1).unwrap(), b"b");
        assert_eq!(read(&mut pipe, 1).unwrap(), b"");
        assert_eq!(pipe.write(b"c").unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn writer_finds_the_pipe_broken_when_the_reader_has_left() {
        let mut pipe = Pipe::<Fake>::new(4);
        let _ = pipe.leave(End::Read);
        assert_eq!(pipe.write(b"c").unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(pipe.write(b"").unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn news_serves_who_waits_once() {
        let mut pipe = Pipe::new(4);
        assert_eq!(pipe.wait(End::Read, live()), None);
        assert_eq!(pipe.progress(End::Read), Progress::Waiting);
        assert_eq!(pipe.write(b"a").unwrap().unwrap().1, Some(live()));
        assert_eq!(pipe.progress(End::Read), Progress::Served);
        assert_eq!(pipe.write(b"b").unwrap().unwrap().1, None);
        assert_eq!(pipe.give_up(End::Read), None);
    }

    #[test]
    fn cancelled_waiter_is_not_served() {
        let mut pipe = Pipe::new(4);
        pipe.wait(End::Read, Fake(true));
        assert_eq!(pipe.write(b"a").unwrap().unwrap().1, None);
        assert_eq!(pipe.progress(End::Read), Progress::Cancelled);
        assert_eq!(pipe.give_up(End::Read), Some(Fake(true)));
        // Nothing was lost.
        assert_eq!(read(&mut pipe, 9).unwrap(), b"a");
    }

    #[test]
    fn both_ends_are_served_when_one_leaves() {
        let mut pipe = Pipe::new(1);
        pipe.write(b"a").unwrap().unwrap();
        pipe.wait(End::Write, live());
        assert_eq!(pipe.leave(End::Write), [None, Some(live())]);
        let mut pipe = Pipe::new(1);
        pipe.wait(End::Read, live());
        assert_eq!(pipe.leave(End::Write), [Some(live()), None]);
    }
}
