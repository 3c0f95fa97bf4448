//! Sources that are switched between edges and levels, on a loop whose looks are taken by hand.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

/// A registered socket and its peer.
struct World {
    shared: Arc<Shared>,
    registration: Registration,
    here: UnixStream,
    there: UnixStream,
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    fn new() -> Self {
        let shared = Arc::new(Shared::new().unwrap());
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let registration = Registration::new(Arc::clone(&shared), here.as_fd()).unwrap();
        Self { shared, registration, here, there }
    }

    fn look(&self) {
        let mut wakers = Vec::new();
        self.shared.look(&mut wakers).unwrap();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn send(&mut self) {
        self.there.write_all(b"x").unwrap();
        self.look();
    }

    fn tick(&self, direction: Direction) -> Option<Tick> {
        let cx = &mut Context::from_waker(Waker::noop());
        let polled = match direction {
            Direction::Read => self.registration.poll_readable(cx),
            Direction::Write => self.registration.poll_writable(cx),
        };
        match polled {
            Poll::Ready(tick) => Some(tick.unwrap()),
            Poll::Pending => None,
        }
    }

    fn renew(&self, tick: Tick) -> bool {
        self.registration.renew_readable(self.here.as_fd(), tick)
    }

    /// Takes a byte and renews.
    fn take(&mut self) -> bool {
        let tick = self.tick(Direction::Read).expect("readable");
        self.here.read_exact(&mut [0]).unwrap();
        self.renew(tick)
    }

    /// One byte at a time, until the source is switched to levels.
    fn switch(&mut self) {
        for _ in 0..100 {
            self.send();
            if self.take() {
                assert!(self.registration.source.has_levels());
                return;
            }
        }
        panic!("never switched");
    }
}

#[test]
fn l17_a_renewal_loses_nothing_that_is_left() {
    let mut world = World::new();
    world.switch();
    world.look();
    assert_eq!(world.tick(Direction::Read), None);
    world.there.write_all(b"xyz").unwrap();
    for _ in 0..3 {
        world.look();
        assert!(world.take());
        assert_eq!(world.tick(Direction::Read), None);
    }
    world.look();
    assert_eq!(world.tick(Direction::Read), None);
}

#[test]
fn l18_a_renewal_with_an_old_tick_does_nothing() {
    let mut world = World::new();
    world.switch();
    world.send();
    let old = world.tick(Direction::Read).unwrap();
    assert!(world.take());
    world.send();
    assert!(!world.renew(old));
    assert!(world.tick(Direction::Read).is_some());
}

#[test]
fn l4_what_is_not_taken_is_reported_twice_at_most() {
    let mut world = World::new();
    world.switch();
    world.send();
    assert!(world.registration.source.has_levels());
    // The level again, the edge of the switch, and then nothing, so that the loop sleeps.
    world.look();
    assert!(!world.registration.source.has_levels());
    world.look();
    let last = world.tick(Direction::Read);
    world.look();
    assert_eq!(world.tick(Direction::Read), last);
    assert!(last.is_some());
}

#[test]
fn l19_a_writer_has_edges_though_the_reader_had_levels() {
    let mut world = World::new();
    world.switch();
    let tick = world.tick(Direction::Write).expect("writable");
    while world.here.write(&[0; 4096]).is_ok() {}
    world.registration.clear_writable(tick);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(world.registration.poll_writable(&mut Context::from_waker(&waker)).is_pending());
    while world.there.read(&mut [0; 4096]).is_ok() {}
    world.look();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(world.tick(Direction::Write).is_some());
}

#[test]
fn l21_the_end_is_not_renewed_away() {
    let mut world = World::new();
    world.switch();
    world.there.write_all(b"x").unwrap();
    world.there.shutdown(std::net::Shutdown::Both).unwrap();
    world.look();
    assert!(!world.take());
    assert!(world.tick(Direction::Read).unwrap().is_hangup());
}

#[test]
fn l27_one_look_brings_a_level_once_however_many_there_are() {
    // More sources than one batch of events holds need more descriptors than a test may take: the second batch is played.
    let mut world = World::new();
    world.switch();
    world.there.write_all(b"x").unwrap();
    let shared = Arc::clone(&world.shared);
    let mut poll = mio::Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut events = mio::Events::with_capacity(8);
    // Another selector with the same token stands for the batches of the real one.
    world.registration.source.watch().begin(&registry).unwrap();
    poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    let mut wakers = Vec::new();
    assert!(shared.sources.deliver(&events, true, &registry, &mut wakers));
    assert!(!shared.sources.deliver(&events, false, &registry, &mut wakers));
    assert!(world.registration.source.has_levels());
}
