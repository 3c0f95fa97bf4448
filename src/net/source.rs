//! A descriptor and its readiness: try first, wait only if the system says so, and ask nothing that is known.
//!
//! Each direction is a *lane*. What is known of a lane is one word:
//!
//! - `Try`: a system call may succeed. With the tick of the readiness that said so, if one did;
//! - `Drained`: the last call would have blocked, or moved less than it had room for: wait for news before the next.
//!
//! Invariants:
//!
//! 1. a lane is used by one operation at a time (the busy flag, or `&mut` of whoever owns the source alone);
//! 2. the tick in a lane belongs to the registration of the lane, which changes only while the lane is `Drained`;
//! 3. a `Drained` lane's readiness has been cleared with that tick, so what it says next is news (laws L17, L18), or it
//!    comes from a registration made later, which says what is there (L14).
//!
//! A registration serves one loop. It is made at the first wait, or where a source comes from if the loop
//! [wants that](Handle::registers_early), and serves both lanes. A lane that is polled under another handle, or whose loop is
//! gone, gets another one; the other lane keeps its own for as long as it is right there.

use std::io;
use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use trine_backend::{Handle, Readiness, Tick};

use super::contend::Contenders;
use super::wait::Wait;
use crate::backend::{current_handle, is_current_handle};

/// Which side of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// What can be registered.
pub(crate) trait AsSource {
    fn as_source(&self) -> trine_backend::Source<'_>;
}

#[cfg(unix)]
impl<S: std::os::fd::AsFd> AsSource for S {
    fn as_source(&self) -> trine_backend::Source<'_> {
        self.as_fd()
    }
}

#[cfg(windows)]
impl<S: std::os::windows::io::AsSocket> AsSource for S {
    fn as_source(&self) -> trine_backend::Source<'_> {
        self.as_socket()
    }
}

/// What a system call did.
pub(crate) struct Done<T> {
    pub(crate) value: T,
    /// It moved less than it had room for, so the next call would block.
    pub(crate) drained: bool,
}

/// A non-blocking descriptor with its readiness.
#[derive(Debug)]
pub(crate) struct Source<S> {
    /// The first registration, for as long as the source lives; nearly always the only one.
    home: OnceLock<Registered>,
    lanes: [Lane; 2],
    /// What a lane uses that has left `home`. Held while a registration is found or made, so that the lanes do not both
    /// make one.
    away: Mutex<[Option<Arc<Registered>>; 2]>,
    /// Poll-based operations, once one of them has waited. Taken out by whoever has claimed the direction.
    contenders: OnceLock<Box<[Mutex<Contenders<Wait>>; 2]>>,
    /// Closed after the registrations have ended.
    io: S,
}

#[derive(Debug)]
struct Registered {
    /// Ends first: a registration needs its loop.
    readiness: Box<dyn Readiness>,
    handle: Arc<dyn Handle>,
}

impl Registered {
    fn serves(&self, handle: &Arc<dyn Handle>) -> bool {
        Arc::ptr_eq(&self.handle, handle) && !self.readiness.is_dead()
    }
}

/// One direction.
#[derive(Debug)]
struct Lane {
    /// See [`Known`].
    known: AtomicU64,
    /// An operation is on its way.
    busy: AtomicBool,
    /// The lane has left `home`.
    moved: AtomicBool,
    /// After how many more calls that got all they had room for the next one is not tried at once: see [`RENEWALS`].
    renewals: AtomicU8,
    /// How often the loop has refused; beyond [`REFUSALS`] it counts the calls in vain since.
    refusals: AtomicU16,
}

/// A second call in vain is to be expected after a first one: a peer who sends just as much as fits waits for an answer.
/// So after so many calls nothing is tried until the loop says so, where that costs less
/// ([`renew_readable`](Readiness::renew_readable)). Then one is tried, in case that there is always more.
const RENEWALS: u8 = 31;
/// A loop that has refused so often, one time after the other, most likely cannot do it. One that can may refuse at most events by
/// design, as the native one does: often enough that it would have agreed. It is asked again when there were 65,536 calls in vain.
const REFUSALS: u16 = 64;

/// What is known of a lane, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Try(Option<Tick>),
    Drained,
}

impl Known {
    const DRAINED: u64 = 1;
    const TICK: u64 = 2;
    const HANGUP: u64 = 4;
    const COUNT_SHIFT: u32 = 3;

    fn pack(self) -> u64 {
        match self {
            Known::Try(None) => 0,
            Known::Drained => Self::DRAINED,
            Known::Try(Some(tick)) => {
                let hangup = if tick.is_hangup() { Self::HANGUP } else { 0 };
                Self::TICK | hangup | tick.count() << Self::COUNT_SHIFT
            }
        }
    }

    fn unpack(word: u64) -> Self {
        if word & Self::DRAINED != 0 {
            Known::Drained
        } else if word & Self::TICK != 0 {
            let tick = Tick::new(word >> Self::COUNT_SHIFT).hangup(word & Self::HANGUP != 0);
            Known::Try(Some(tick))
        } else {
            Known::Try(None)
        }
    }
}

impl Lane {
    const fn new() -> Self {
        Self {
            known: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            renewals: AtomicU8::new(0),
            refusals: AtomicU16::new(0),
        }
    }

    fn known(&self) -> Known {
        Known::unpack(self.known.load(Ordering::Relaxed))
    }

    fn set(&self, known: Known) {
        self.known.store(known.pack(), Ordering::Relaxed);
    }

    /// Whether to wait after a call that may have left something.
    fn takes_renewal(&self) -> bool {
        let left = self.renewals.load(Ordering::Relaxed);
        if left > 0 {
            self.renewals.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn tried_in_vain(&self) {
        let refusals = self.refusals.load(Ordering::Relaxed);
        if refusals < REFUSALS {
            self.renewals.store(RENEWALS, Ordering::Relaxed);
        } else {
            self.refusals.store(refusals.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// The loop was asked to renew what it said.
    fn was_renewed(&self, done: bool) {
        if done {
            self.refusals.store(0, Ordering::Relaxed);
            self.set(Known::Drained);
            return;
        }
        let refusals = self.refusals.load(Ordering::Relaxed) + 1;
        self.refusals.store(refusals, Ordering::Relaxed);
        if refusals == REFUSALS {
            self.renewals.store(0, Ordering::Relaxed);
        }
    }
}

/// A lane's registration: lent by the source, or counted.
enum Current<'a> {
    Home(&'a Registered),
    Away(Arc<Registered>),
}

impl Deref for Current<'_> {
    type Target = dyn Readiness;

    fn deref(&self) -> &Self::Target {
        match self {
            Current::Home(registered) => &*registered.readiness,
            Current::Away(registered) => &*registered.readiness,
        }
    }
}

impl<S: AsSource> Source<S> {
    /// Takes a descriptor that is non-blocking already. Registers nothing yet.
    pub(crate) fn new(io: S) -> Self {
        Self {
            home: OnceLock::new(),
            lanes: [Lane::new(), Lane::new()],
            away: Mutex::default(),
            contenders: OnceLock::new(),
            io,
        }
    }

    /// Returns the descriptor.
    pub(crate) fn io(&self) -> &S {
        &self.io
    }

    /// Tries `attempt` until it has an outcome other than "would block"; `Pending` has arranged a wake for news.
    ///
    /// The caller has claimed the direction, or is alone.
    pub(crate) fn poll<T>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&S) -> io::Result<Done<T>>,
    ) -> Poll<io::Result<T>> {
        let lane = self.lane(direction);
        let mut blocked = false;
        let mut told = false;
        loop {
            let tick = match lane.known() {
                Known::Try(tick) => tick,
                Known::Drained => {
                    let tick = match self.poll_ready(direction, cx) {
                        Poll::Ready(tick) => tick?,
                        Poll::Pending => return Poll::Pending,
                    };
                    lane.set(Known::Try(Some(tick)));
                    told = true;
                    Some(tick)
                }
            };
            match attempt(&self.io) {
                Ok(done) => {
                    // The end of a stream is announced once: it must still be there for the next call.
                    if !tick.is_some_and(Tick::is_hangup) {
                        if done.drained {
                            self.drained(direction, tick);
                        } else if direction == Direction::Read && lane.takes_renewal() {
                            self.renew(tick);
                        }
                    }
                    return Poll::Ready(Ok(done.value));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !told && tick.is_some() {
                        lane.tried_in_vain();
                    }
                    self.drained(direction, tick);
                    // A readiness that stays though the call would block (as some loops have it after a hang-up) must
                    // not keep the thread.
                    if blocked && tick.is_some() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    blocked = tick.is_some();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Waits until the descriptor may be ready. Clears nothing.
    fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Tick>> {
        let mut poll = |readiness: &dyn Readiness| match direction {
            Direction::Read => readiness.poll_readable(cx),
            Direction::Write => readiness.poll_writable(cx),
        };
        if !self.lane(direction).moved.load(Ordering::Relaxed) {
            if let Some(home) = self.home.get() {
                if is_current_handle(&home.handle) {
                    let polled = poll(&*home.readiness);
                    // Whether the loop is gone is asked only of an error, which it is (law L30).
                    if !matches!(polled, Poll::Ready(Err(_))) || !home.readiness.is_dead() {
                        return polled;
                    }
                }
            }
        }
        poll(&*self.settle(direction, current_handle()?)?)
    }

    /// Makes the registration now, if the loop around [wants that](Handle::registers_early), for a source that is sure to wait.
    /// If it fails, the first wait tries again and tells.
    pub(crate) fn register_early(&self) {
        if let Ok(handle) = current_handle() {
            if handle.registers_early() {
                let _ = self.settle(Direction::Read, handle);
            }
        }
    }

    fn drained(&self, direction: Direction, tick: Option<Tick>) {
        let lane = self.lane(direction);
        lane.set(Known::Drained);
        // Without a tick nothing was reported that could be cleared; what was reported unseen is cleared when it has
        // led to one call in vain.
        let Some(tick) = tick else { return };
        self.with_readiness(direction, |readiness| match direction {
            Direction::Read => readiness.clear_readable(tick),
            Direction::Write => readiness.clear_writable(tick),
        });
    }

    /// After a read that may have left something: lets the loop tell of it, if that can.
    fn renew(&self, tick: Option<Tick>) {
        let Some(tick) = tick else { return };
        let renew = |readiness: &dyn Readiness| readiness.renew_readable(self.io.as_source(), tick);
        if let Some(done) = self.with_readiness(Direction::Read, renew) {
            self.lane(Direction::Read).was_renewed(done);
        }
    }

    /// Calls `f` with what the tick of a lane belongs to.
    fn with_readiness<T>(&self, direction: Direction, f: impl FnOnce(&dyn Readiness) -> T) -> Option<T> {
        if self.lane(direction).moved.load(Ordering::Relaxed) {
            let away = self.away(direction);
            away.map(|registered| f(&*registered.readiness))
        } else {
            self.home.get().map(|registered| f(&*registered.readiness))
        }
    }

    /// Finds or makes a registration for a lane that has none, or not the right one.
    #[cold]
    fn settle(&self, direction: Direction, handle: Arc<dyn Handle>) -> io::Result<Current<'_>> {
        let lane = self.lane(direction);
        if let Some(away) = self.away(direction) {
            if away.serves(&handle) {
                return Ok(Current::Away(away));
            }
        }
        // First let go of the old one: the new loop may be the same, and know each descriptor once.
        let old = self.lock_away()[direction as usize].take();
        drop(old);
        // Dropped after the guard: the last owner of a registration drops foreign wakers.
        let other;
        let mut settling = self.lock_away();
        other = settling[1 - direction as usize].clone();
        let found = |fits: &dyn Fn(&Registered) -> bool| {
            let home = self.home.get().filter(|home| fits(home)).map(Current::Home);
            home.or_else(|| other.clone().filter(|other| fits(other)).map(Current::Away))
        };
        let registered = match found(&|registered| registered.serves(&handle)) {
            Some(shared) => shared,
            None => match handle.register(self.io.as_source()) {
                Ok(readiness) => {
                    let mut new = Some(Registered { readiness, handle });
                    let home = self.home.get_or_init(|| new.take().unwrap_or_else(|| unreachable!("just made")));
                    new.map_or(Current::Home(home), |new| Current::Away(Arc::new(new)))
                }
                // Two handles of one loop: the other lane's registration serves this one too.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    found(&|registered| !registered.readiness.is_dead()).ok_or(error)?
                }
                Err(error) => return Err(error),
            },
        };
        // Another loop may be able to renew.
        lane.refusals.store(0, Ordering::Relaxed);
        match &registered {
            Current::Home(_) => lane.moved.store(false, Ordering::Relaxed),
            Current::Away(away) => {
                lane.moved.store(true, Ordering::Relaxed);
                // It was emptied before, by the one operation that may fill it.
                settling[direction as usize] = Some(Arc::clone(away));
            }
        }
        Ok(registered)
    }
}

impl<S> Source<S> {
    /// Reserves a direction; false if another operation has it.
    pub(crate) fn claim(&self, direction: Direction) -> bool {
        !self.lane(direction).busy.swap(true, Ordering::Acquire)
    }

    /// Gives a direction back.
    pub(crate) fn release(&self, direction: Direction) {
        self.lane(direction).busy.store(false, Ordering::Release);
    }

    /// Whether a poll-based operation has ever waited.
    #[inline]
    pub(crate) fn has_contenders(&self) -> bool {
        self.contenders.get().is_some()
    }

    /// Exchanges the poll-based operations of a direction, for who has claimed it.
    pub(crate) fn exchange_contenders(&self, direction: Direction, new: Contenders<Wait>) -> Contenders<Wait> {
        let both = match self.contenders.get() {
            Some(both) => both,
            None if new.is_unused() => return new,
            None => self.contenders.get_or_init(Box::default),
        };
        mem::replace(&mut *both[direction as usize].lock().unwrap_or_else(PoisonError::into_inner), new)
    }

    fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction as usize]
    }

    fn away(&self, direction: Direction) -> Option<Arc<Registered>> {
        self.lock_away()[direction as usize].clone()
    }

    fn lock_away(&self) -> MutexGuard<'_, [Option<Arc<Registered>>; 2]> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_fits_a_word() {
        for known in [
            Known::Try(None),
            Known::Drained,
            Known::Try(Some(Tick::new(0))),
            Known::Try(Some(Tick::new(1 << 58).hangup(true))),
        ] {
            assert_eq!(Known::unpack(known.pack()), known);
        }
    }

    #[test]
    fn a_loop_that_refuses_to_renew_is_asked_no_more_for_a_while() {
        let lane = Lane::new();
        let asked = |vain: usize, done: bool| {
            (0..vain)
                .filter(|_| {
                    lane.tried_in_vain();
                    let asks = lane.takes_renewal();
                    if asks {
                        lane.was_renewed(done);
                    }
                    asks
                })
                .count()
        };
        let refusals = usize::from(REFUSALS);
        assert_eq!(asked(100, true), 100);
        assert_eq!(lane.known(), Known::Drained);
        assert_eq!(asked(refusals - 1, false), refusals - 1);
        assert_eq!(asked(1, true), 1, "one that agrees is asked as before");
        assert_eq!(asked(200, false), refusals, "one refusal after the other");
        assert!(!lane.takes_renewal(), "nor for the calls that came before");
        assert_eq!(asked(1 << 16, false), refusals);
        assert!(asked(1 << 16, true) < 1 << 16);
        assert_eq!(asked(100, true), 100, "once it agrees, all is as before");
    }

    /// The loop refuses most events by design; so who takes refusals for an answer too early never gets another one.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_peer_who_fills_the_buffer_each_time_is_soon_read_without_a_call_in_vain() {
        use std::future::poll_fn;
        use std::io::{Read, Write};

        const SIZE: usize = 16;
        const REQUESTS: usize = 400;
        // Whatever came before the first one: a wait, or a request that was there already.
        for waits_first in [true, false] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_nodelay(true).unwrap();
            let stream = listener.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            let source = Source::new(stream);
            let in_vain = std::cell::Cell::new(0);
            let poll = |cx: &mut Context<'_>| {
                source.poll(Direction::Read, cx, |mut stream: &std::net::TcpStream| {
                    let mut buffer = [0; SIZE];
                    let read = stream.read(&mut buffer).inspect_err(|_| in_vain.set(in_vain.get() + 1))?;
                    Ok(Done { value: read, drained: read < SIZE })
                })
            };
            crate::Builder::new().backend("native".parse().unwrap()).run(async {
                for request in 0..REQUESTS {
                    if waits_first || request > 0 {
                        poll_fn(|cx| {
                            assert!(poll(cx).is_pending());
                            Poll::Ready(())
                        })
                        .await;
                    }
                    peer.write_all(&[1; SIZE]).unwrap();
                    assert_eq!(poll_fn(poll).await.unwrap(), SIZE);
                }
            });
            let in_vain = in_vain.get();
            assert!(in_vain < REQUESTS / 4, "{in_vain} of {REQUESTS} calls were in vain");
        }
    }
}
