//! What the cases of the laws share: futures over the traits, connected sockets, counting wakers.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use trine_backend::{Alarm, Handle, Readiness, Tick};

pub(super) const MS: Duration = Duration::from_millis(1);
/// So late that no case sees it.
pub(super) const FAR: Duration = Duration::from_secs(1_000);

pub(super) async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Pending once, having done `f` with the context.
pub(super) async fn pend(f: impl FnOnce(&mut Context<'_>)) {
    let mut f = Some(f);
    poll_fn(|cx| match f.take() {
        Some(f) => {
            f(cx);
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
}

/// Back to the host once.
pub(super) async fn yield_now() {
    pend(|cx| cx.waker().wake_by_ref()).await;
}

/// An alarm of that loop, set.
pub(super) fn alarm_at(handle: &dyn Handle, at: Instant) -> Box<dyn Alarm> {
    let mut alarm = handle.alarm().expect("an alarm");
    alarm.set(Some(at));
    alarm
}

pub(super) async fn fired(alarm: &mut dyn Alarm) {
    poll_fn(|cx| alarm.poll(cx)).await;
}

pub(super) fn poll_alarm(alarm: &mut dyn Alarm, waker: &Waker) -> Poll<()> {
    alarm.poll(&mut Context::from_waker(waker))
}

/// An alarm that waits with that waker, and its instant: it was polled before. A machine that is too slow for `time` gets
/// longer ones.
pub(super) fn waiting_alarm(handle: &dyn Handle, mut time: Duration, waker: &Waker) -> (Box<dyn Alarm>, Instant) {
    loop {
        let at = Instant::now() + time;
        let mut alarm = alarm_at(handle, at);
        if poll_alarm(&mut *alarm, waker).is_pending() {
            return (alarm, at);
        }
        assert!(Instant::now() >= at, "early by {:?}", at - Instant::now());
        time *= 2;
    }
}

/// Until so long after the instant that whoever waited for it has been woken.
pub(super) async fn sleep_past(handle: &dyn Handle, at: Instant) {
    fired(&mut *alarm_at(handle, at + 8 * MS)).await;
}

pub(super) async fn sleep(handle: &dyn Handle, time: Duration) {
    fired(&mut *alarm_at(handle, Instant::now() + time)).await;
}

/// One probe, to its end.
pub(super) async fn turn(handle: &dyn Handle) {
    let mut round = 0;
    poll_fn(|cx| {
        assert!(round < 1_000, "no end of rounds");
        round += 1;
        handle.poll_turn(cx, round - 1)
    })
    .await;
}

pub(super) async fn readable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_readable(cx)).await.expect("readable")
}

pub(super) async fn writable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_writable(cx)).await.expect("writable")
}

/// One look, with a waker that does nothing.
pub(super) fn is_readable(readiness: &dyn Readiness) -> Option<Tick> {
    ready(readiness.poll_readable(&mut Context::from_waker(Waker::noop())))
}

/// One look, with a waker that does nothing.
pub(super) fn is_writable(readiness: &dyn Readiness) -> Option<Tick> {
    ready(readiness.poll_writable(&mut Context::from_waker(Waker::noop())))
}

/// Leaves a waker with the reader's side, which must not be ready.
pub(super) fn wait_readable(readiness: &dyn Readiness, waker: &Waker) {
    let polled = readiness.poll_readable(&mut Context::from_waker(waker));
    assert!(polled.is_pending(), "readable at {polled:?}, though there is nothing to read");
}

/// Leaves a waker with the writer's side, which must not be ready.
pub(super) fn wait_writable(readiness: &dyn Readiness, waker: &Waker) {
    let polled = readiness.poll_writable(&mut Context::from_waker(waker));
    assert!(polled.is_pending(), "writable at {polled:?}, though there is no room");
}

/// Leaves a waker of its own with each direction, neither of which may be ready; returns the counts of the reader's and of
/// the writer's.
pub(super) fn wait_both(readiness: &dyn Readiness) -> (Arc<Count>, Arc<Count>) {
    let ((reader, read_waker), (writer, write_waker)) = (Count::new(), Count::new());
    wait_readable(readiness, &read_waker);
    wait_writable(readiness, &write_waker);
    (reader, writer)
}

/// Leaves a waker with the reader's side, does `act`, and waits for the wake; whoever waited so is gone by then.
pub(super) async fn until_reader_is_woken_by(handle: &dyn Handle, readiness: &dyn Readiness, act: impl FnOnce()) {
    let (count, waker) = Count::new();
    wait_readable(readiness, &waker);
    drop(waker);
    act();
    until_woken(handle, &count, 1).await;
}

/// Leaves a waker by `wait` again and again, for a while in which nothing may wake it.
pub(super) async fn never_woken(handle: &dyn Handle, wait: impl Fn(&Waker)) {
    let (count, waker) = Count::new();
    for _ in 0..5 {
        wait(&waker);
        sleep(handle, MS).await;
    }
    assert_eq!(count.get(), 0, "woken for nothing");
}

/// Waits for data, and until the loop has told all it knows of it. One that runs on another thread may tell of a few bytes
/// twice: the system has them before it gives notice of them.
pub(super) async fn all_news(handle: &dyn Handle, readiness: &dyn Readiness) -> Tick {
    readable(readiness).await;
    turn(handle).await;
    readable(readiness).await
}

/// Waits for data, reads all of it from the registered end, and clears.
pub(super) async fn take_data(handle: &dyn Handle, a: &UnixStream, readiness: &dyn Readiness) -> Tick {
    let tick = all_news(handle, readiness).await;
    drain(a);
    readiness.clear_readable(tick);
    tick
}

fn ready(poll: Poll<io::Result<Tick>>) -> Option<Tick> {
    match poll {
        Poll::Ready(tick) => Some(tick.expect("a tick")),
        Poll::Pending => None,
    }
}

/// Two ends of a connection, in non-blocking mode.
pub(super) fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    for end in [&a, &b] {
        end.set_nonblocking(true).expect("non-blocking mode");
    }
    (a, b)
}

/// Two ends of a connection, and the registration of the first one.
pub(super) fn registered_pair(handle: &dyn Handle) -> (UnixStream, UnixStream, Box<dyn Readiness>) {
    let (a, b) = pair();
    let readiness = handle.register(a.as_fd()).expect("registered");
    (a, b, readiness)
}

pub(super) fn send(mut stream: &UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("room for a few bytes");
}

/// Writes until there is no room; the last write would have blocked.
pub(super) fn fill(mut stream: &UnixStream) {
    while stream.write(&[0; 4096]).is_ok() {}
}

/// Reads until there is nothing; the last read would have blocked.
pub(super) fn drain(mut stream: &UnixStream) {
    while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

/// Waits until `count` has been woken so often, looking after each turn of the loop; some wakes come from other threads.
pub(super) async fn until_woken(handle: &dyn Handle, count: &Count, times: usize) {
    let begin = Instant::now();
    while count.get() < times {
        assert!(begin.elapsed() < trine_backend::laws::SLACK, "woken {} times, not {times}", count.get());
        turn(handle).await;
        sleep(handle, MS).await;
    }
}
