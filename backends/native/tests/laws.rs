//! The laws of the interface, on this backend. Named by law; what the traits do not show is tested beside the code.

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use trine_backend::laws::SLACK;
use trine_backend::{Alarm, Driver, Handle, Readiness, Tick};

const MS: Duration = Duration::from_millis(1);

fn driver() -> Box<dyn Driver> {
    trine_native::native().driver().unwrap()
}

/// Drives a future made from a handle, on a driver of its own.
fn drive<T, F: Future<Output = T>>(fut: impl FnOnce(Arc<dyn Handle>) -> F) -> T {
    let mut driver = driver();
    let fut = fut(driver.handle());
    drive_on(&mut *driver, fut)
}

fn drive_on<T>(driver: &mut dyn Driver, fut: impl Future<Output = T>) -> T {
    let mut out = None;
    driver.drive(pin!(async { out = Some(fut.await) })).unwrap();
    out.unwrap()
}

async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Pending once, having done `f` with the context.
async fn pend(f: impl FnOnce(&mut Context<'_>)) {
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

async fn fired(alarm: &mut dyn Alarm) {
    poll_fn(|cx| alarm.poll(cx)).await;
}

async fn sleep(handle: &dyn Handle, time: Duration) {
    let mut alarm = handle.alarm().unwrap();
    alarm.set(Some(Instant::now() + time));
    fired(&mut *alarm).await;
}

async fn turn(handle: &dyn Handle) {
    let mut round = 0;
    poll_fn(|cx| {
        assert!(round < 1_000, "no end of rounds");
        round += 1;
        handle.poll_turn(cx, round - 1)
    })
    .await;
}

async fn readable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_readable(cx)).await.unwrap()
}

async fn writable(readiness: &dyn Readiness) -> Tick {
    poll_fn(|cx| readiness.poll_writable(cx)).await.unwrap()
}

fn is_readable(readiness: &dyn Readiness) -> Option<Tick> {
    ready(readiness.poll_readable(&mut Context::from_waker(Waker::noop())))
}

fn is_writable(readiness: &dyn Readiness) -> Option<Tick> {
    ready(readiness.poll_writable(&mut Context::from_waker(Waker::noop())))
}

fn ready(poll: Poll<io::Result<Tick>>) -> Option<Tick> {
    match poll {
        Poll::Ready(tick) => Some(tick.unwrap()),
        Poll::Pending => None,
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

fn fill(mut stream: &UnixStream) {
    while stream.write(&[0; 4096]).is_ok() {}
}

fn drain(mut stream: &UnixStream) {
    while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// Driving.

#[test]
fn l1_drive_returns_when_the_future_is_ready() {
    let here = thread::current().id();
    let mut local = std::rc::Rc::new(0);
    drive(|_| async {
        pend(|cx| cx.waker().wake_by_ref()).await;
        assert_eq!(thread::current().id(), here);
        *std::rc::Rc::get_mut(&mut local).unwrap() += 1;
    });
    assert_eq!(*local, 1);
}

#[test]
fn l1_a_driver_can_drive_again() {
    let mut driver = driver();
    for n in 0..3 {
        assert_eq!(drive_on(&mut *driver, async { n }), n);
    }
}

#[test]
fn l2_a_wake_during_the_poll_leads_to_another_poll() {
    drive(|_| async {
        for _ in 0..100 {
            pend(|cx| cx.waker().wake_by_ref()).await;
        }
    });
}

#[test]
fn l2_a_wake_of_another_thread_during_the_poll_leads_to_another_poll() {
    drive(|_| async {
        for _ in 0..100 {
            pend(|cx| {
                let waker = cx.waker().clone();
                thread::spawn(move || waker.wake()).join().unwrap();
            })
            .await;
        }
    });
}

#[test]
fn l3_a_wake_from_another_thread_ends_the_sleep() {
    drive(|_| async {
        let (tx, rx) = mpsc::channel::<Waker>();
        let thread = thread::spawn(move || rx.into_iter().for_each(Waker::wake));
        for _ in 0..1_000 {
            pend(|cx| tx.send(cx.waker().clone()).unwrap()).await;
        }
        drop(tx);
        thread.join().unwrap();
    });
}

#[test]
fn l3_a_waker_may_outlive_future_and_driver() {
    let mut driver = driver();
    let waker = drive_on(&mut *driver, waker());
    waker.wake_by_ref();
    drive_on(&mut *driver, async {});
    drop(driver);
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().unwrap();
}

#[test]
fn l4_an_idle_loop_sleeps() {
    let polls = AtomicUsize::new(0);
    drive(|handle| {
        let (polls, mut alarm) = (&polls, handle.alarm().unwrap());
        alarm.set(Some(Instant::now() + 20 * MS));
        poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            alarm.poll(cx)
        })
    });
    assert_eq!(polls.into_inner(), 2);
}

#[test]
fn l5_a_busy_future_still_gets_alarms_readiness_and_wakes() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + MS));
        let (count, foreign) = Count::new();
        let foreign_cx = &mut Context::from_waker(&foreign);
        assert!(readiness.poll_readable(foreign_cx).is_pending());
        (&b).write_all(b"x").unwrap();
        let started = Instant::now();
        poll_fn(|cx| {
            assert!(started.elapsed() < SLACK, "starved");
            cx.waker().wake_by_ref();
            match alarm.poll(foreign_cx) {
                Poll::Ready(()) if count.get() == 2 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        assert!(is_readable(&*readiness).is_some());
    });
}

#[test]
fn l6_a_drive_inside_a_drive_is_refused() {
    drive(|handle| async move {
        let mut inner = driver();
        assert!(inner.drive(pin!(async { unreachable!() })).is_err());
        assert!(trine_native::native().nested_hint().is_some());
        sleep(&*handle, MS).await;
    });
    assert!(trine_native::native().nested_hint().is_none());
}

#[test]
fn l7_a_panic_leaves_the_thread_and_the_driver_in_order() {
    let mut driver = driver();
    let panicked = catch_unwind(AssertUnwindSafe(|| drive_on(&mut *driver, async { panic!("on purpose") })));
    assert!(panicked.is_err());
    let handle = driver.handle();
    drive_on(&mut *driver, async { sleep(&*handle, MS).await });
    drive(|_| async {});
}

// Alarms.

#[test]
fn l8_an_alarm_never_fires_early() {
    drive(|handle| async move {
        let mut alarm = handle.alarm().unwrap();
        for micros in [0, 1, 300, 999, 1_000, 1_001, 1_500, 2_700] {
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.set(Some(at));
            fired(&mut *alarm).await;
            assert!(Instant::now() >= at);
        }
    });
}

#[test]
fn l9_an_alarm_fires_soon() {
    drive(|handle| async move {
        let mut alarm = handle.alarm().unwrap();
        let start = Instant::now();
        let past = start.checked_sub(10 * MS).unwrap_or(start);
        for at in [past, start, start + 2 * MS] {
            alarm.set(Some(at));
            fired(&mut *alarm).await;
        }
        assert!(start.elapsed() < SLACK);
    });
}

#[test]
fn l10_a_fired_alarm_stays_fired() {
    drive(|handle| async move {
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + MS));
        for _ in 0..3 {
            fired(&mut *alarm).await;
        }
        sleep(&*handle, MS).await;
        fired(&mut *alarm).await;
    });
}

#[test]
fn l11_set_replaces_instant_and_outcome() {
    drive(|handle| async move {
        let mut alarm = handle.alarm().unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        let now = Instant::now();
        alarm.set(Some(now));
        fired(&mut *alarm).await;
        alarm.set(None);
        assert!(alarm.poll(cx).is_pending());
        alarm.set(Some(now + MS));
        assert!(alarm.poll(cx).is_pending());
        alarm.set(Some(now + 1_000_000 * MS)); // later
        assert!(alarm.poll(cx).is_pending());
        sleep(&*handle, 5 * MS).await;
        assert!(alarm.poll(cx).is_pending());
        alarm.set(Some(now)); // earlier, the same as the first
        fired(&mut *alarm).await;
    });
}

#[test]
fn l12_alarms_are_independent() {
    drive(|handle| async move {
        let order = Mutex::new(Vec::new());
        let now = Instant::now();
        let mut alarms: Vec<_> = [3, 1, 2]
            .map(|n| {
                let mut alarm = handle.alarm().unwrap();
                alarm.set(Some(now + n * 2 * MS));
                (n, Some(alarm))
            })
            .into();
        poll_fn(|cx| {
            for (n, slot) in &mut alarms {
                if slot.as_mut().is_some_and(|alarm| alarm.poll(cx).is_ready()) {
                    order.lock().unwrap().push(*n);
                    *slot = None;
                }
            }
            if alarms.iter().all(|(_, slot)| slot.is_none()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(order.into_inner().unwrap().len(), 3);
    });
}

#[test]
fn l12_a_sleeping_loop_notices_an_alarm_set_on_another_thread() {
    drive(|handle| async move {
        let (tx, rx) = mpsc::channel();
        let mut moved = Some(handle.alarm().unwrap());
        poll_fn(|cx| {
            if let Some(mut alarm) = moved.take() {
                let waker = cx.waker().clone();
                let tx = tx.clone();
                thread::spawn(move || {
                    alarm.set(Some(Instant::now() + MS));
                    assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
                    tx.send(alarm).unwrap();
                });
            }
            let Ok(mut alarm) = rx.try_recv() else {
                return Poll::Pending;
            };
            let fired = alarm.poll(cx);
            if fired.is_pending() {
                tx.send(alarm).unwrap();
            }
            fired
        })
        .await;
    });
}

#[test]
fn l12_a_dropped_alarm_wakes_nobody() {
    drive(|handle| async move {
        let (count, waker) = Count::new();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + MS));
        assert!(alarm.poll(&mut Context::from_waker(&waker)).is_pending());
        drop(alarm);
        assert_eq!(Arc::strong_count(&count), 2);
        sleep(&*handle, 3 * MS).await;
        assert_eq!(count.get(), 0);
    });
}

#[test]
fn l13_the_last_polls_waker_is_woken() {
    drive(|handle| async move {
        let (old, old_waker) = Count::new();
        let (new, new_waker) = Count::new();
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + MS));
        for waker in [&old_waker, &new_waker] {
            let cx = &mut Context::from_waker(waker);
            assert!(alarm.poll(cx).is_pending());
            assert!(readiness.poll_readable(cx).is_pending());
        }
        (&b).write_all(b"x").unwrap();
        sleep(&*handle, 3 * MS).await;
        assert_eq!((old.get(), new.get()), (0, 2));
    });
}

// Readiness.

#[test]
fn l14_what_was_ready_before_the_registration_is_reported() {
    drive(|handle| async move {
        let (a, b) = pair();
        (&b).write_all(b"x").unwrap();
        let readiness = handle.register(a.as_fd()).unwrap();
        readable(&*readiness).await;
        writable(&*readiness).await;
    });
}

#[test]
fn l14_what_becomes_ready_before_the_poll_is_reported() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        turn(&*handle).await;
        (&b).write_all(b"x").unwrap();
        turn(&*handle).await;
        readable(&*readiness).await;
    });
}

#[test]
fn l15_readiness_is_not_invented() {
    drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).unwrap();
        turn(&*handle).await;
        assert_eq!(is_readable(&*readiness), None);
        assert_eq!(is_writable(&*readiness), None);
        drain(&b);
        writable(&*readiness).await;
        assert_eq!(is_readable(&*readiness), None);
    });
}

#[test]
fn l16_readiness_lasts_until_it_is_cleared() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        (&b).write_all(b"x").unwrap();
        for _ in 0..3 {
            readable(&*readiness).await;
            turn(&*handle).await;
        }
    });
}

#[test]
fn l17_after_a_clear_the_source_waits_for_news() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        for _ in 0..10 {
            (&b).write_all(b"x").unwrap();
            let tick = readable(&*readiness).await;
            assert_eq!((&a).read(&mut [0; 8]).unwrap(), 1); // short, and no probe after it
            assert!(!tick.is_hangup());
            readiness.clear_readable(tick);
            turn(&*handle).await;
            assert_eq!(is_readable(&*readiness), None);
        }
    });
}

#[test]
fn l17_news_of_the_same_kind_is_reported() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        (&b).write_all(b"x").unwrap();
        let tick = readable(&*readiness).await;
        readiness.clear_readable(tick); // with the data unread
        assert_eq!(is_readable(&*readiness), None);
        (&b).write_all(b"y").unwrap();
        readable(&*readiness).await;
    });
}

#[test]
fn l17_a_writer_waits_until_there_is_room_again() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        for _ in 0..3 {
            let tick = writable(&*readiness).await;
            fill(&a);
            readiness.clear_writable(tick);
            turn(&*handle).await;
            assert_eq!(is_writable(&*readiness), None);
            drain(&b);
        }
    });
}

#[test]
fn l18_a_clear_with_an_old_tick_does_nothing() {
    drive(|handle| async move {
        let (a, b) = pair();
        let readiness = handle.register(a.as_fd()).unwrap();
        (&b).write_all(b"x").unwrap();
        let old = readable(&*readiness).await;
        (&b).write_all(b"y").unwrap();
        turn(&*handle).await;
        readiness.clear_readable(old);
        assert!(is_readable(&*readiness).is_some());
    });
}

#[test]
fn l19_the_directions_are_independent() {
    drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).unwrap();
        let (reader, read_waker) = Count::new();
        let (writer, write_waker) = Count::new();
        let pending = readiness.poll_readable(&mut Context::from_waker(&read_waker));
        assert!(pending.is_pending());
        let pending = readiness.poll_writable(&mut Context::from_waker(&write_waker));
        assert!(pending.is_pending());
        drain(&b);
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (0, 1));
        (&b).write_all(b"x").unwrap();
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (1, 1));
        let tick = readable(&*readiness).await;
        readiness.clear_readable(tick);
        assert!(is_writable(&*readiness).is_some());
    });
}

#[test]
fn l20_a_hangup_wakes_reader_and_writer() {
    drive(|handle| async move {
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).unwrap();
        let (reader, read_waker) = Count::new();
        let (writer, write_waker) = Count::new();
        let pending = readiness.poll_readable(&mut Context::from_waker(&read_waker));
        assert!(pending.is_pending());
        let pending = readiness.poll_writable(&mut Context::from_waker(&write_waker));
        assert!(pending.is_pending());
        drop(b);
        turn(&*handle).await;
        assert_eq!((reader.get(), writer.get()), (1, 1));
        readable(&*readiness).await;
        writable(&*readiness).await;
    });
}

#[test]
fn l20_a_reset_wakes_the_reader() {
    drive(|handle| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (b, _) = listener.accept().unwrap();
        a.set_nonblocking(true).unwrap();
        let readiness = handle.register(a.as_fd()).unwrap();
        turn(&*handle).await;
        assert_eq!(is_readable(&*readiness), None);
        socket2::SockRef::from(&b).set_linger(Some(Duration::ZERO)).unwrap();
        drop(b);
        readable(&*readiness).await;
        let error = (&a).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn l20_a_refused_connection_wakes_the_writer() {
    drive(|handle| async move {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        let readiness = handle.register(socket.as_fd()).unwrap();
        writable(&*readiness).await;
        let error = socket.take_error().unwrap();
        assert_eq!(error.map(|e| e.kind()), Some(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn l21_the_end_is_announced_with_the_data_before_it() {
    drive(|handle| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut b, _) = listener.accept().unwrap();
        a.set_nonblocking(true).unwrap();
        b.write_all(b"x").unwrap();
        b.shutdown(Shutdown::Write).unwrap();
        let readiness = handle.register(a.as_fd()).unwrap();
        // Loopback delivers both before `shutdown` returns, so the first event holds data and end.
        let mut buf = [0; 8];
        let tick = readable(&*readiness).await;
        assert_eq!((&a).read(&mut buf).unwrap(), 1);
        if !tick.is_hangup() {
            readiness.clear_readable(tick);
        }
        readable(&*readiness).await;
        assert_eq!((&a).read(&mut buf).unwrap(), 0);
        writable(&*readiness).await;
    });
}

#[test]
fn l22_a_source_can_be_registered_anew() {
    drive(|handle| async move {
        let (a, b) = pair();
        (&b).write_all(b"x").unwrap();
        for round in 0..100 {
            let readiness = handle.register(a.as_fd()).unwrap();
            readable(&*readiness).await;
            if round % 2 == 0 {
                thread::spawn(move || drop(readiness)).join().unwrap();
            }
        }
    });
}

#[test]
fn l22_a_registration_keeps_no_waker_when_dropped() {
    drive(|handle| async move {
        let (a, _b) = pair();
        let (count, waker) = Count::new();
        let readiness = handle.register(a.as_fd()).unwrap();
        let pending = readiness.poll_readable(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        drop(readiness);
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

#[test]
fn l23_a_waker_may_replace_a_source_that_is_in_the_same_batch() {
    /// When woken, replaces both registrations by one of a source that is not ready.
    struct Swap {
        handle: Arc<dyn Handle>,
        quiet: UnixStream,
        old: Mutex<Vec<Box<dyn Readiness>>>,
        new: Mutex<Option<Box<dyn Readiness>>>,
    }
    impl Wake for Swap {
        fn wake(self: Arc<Self>) {
            if !std::mem::take(&mut *self.old.lock().unwrap()).is_empty() {
                let new = self.handle.register(self.quiet.as_fd()).unwrap();
                *self.new.lock().unwrap() = Some(new);
            }
        }
    }
    drive(|handle| async move {
        let [(a, a_peer), (b, b_peer), (quiet, _quiet_peer)] = [pair(), pair(), pair()];
        let swap = Arc::new(Swap { handle: Arc::clone(&handle), quiet, old: Mutex::default(), new: Mutex::default() });
        let waker = Waker::from(Arc::clone(&swap));
        for source in [&a, &b] {
            let readiness = handle.register(source.as_fd()).unwrap();
            let pending = readiness.poll_readable(&mut Context::from_waker(&waker));
            assert!(pending.is_pending());
            swap.old.lock().unwrap().push(readiness);
        }
        (&a_peer).write_all(b"x").unwrap();
        (&b_peer).write_all(b"x").unwrap();
        turn(&*handle).await;
        turn(&*handle).await;
        let new = swap.new.lock().unwrap().take().expect("was woken");
        assert_eq!(is_readable(&*new), None);
    });
}

#[test]
fn l24_a_second_registration_is_refused_and_the_first_goes_on() {
    drive(|handle| async move {
        let (a, b) = pair();
        let first = handle.register(a.as_fd()).unwrap();
        let error = handle.register(a.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        (&b).write_all(b"x").unwrap();
        readable(&*first).await;
    });
}

#[test]
fn a_regular_file_is_refused() {
    let file = std::fs::File::open("Cargo.toml").unwrap();
    assert!(driver().handle().register(file.as_fd()).is_err());
}

// Jobs.

#[test]
fn l25_a_job_runs_once_on_another_thread() {
    drive(|handle| async move {
        let here = thread::current().id();
        let runs = Arc::new(AtomicUsize::new(0));
        for n in 1..=20 {
            let runs = Arc::clone(&runs);
            let done = Arc::clone(&runs);
            pend(|cx| {
                let waker = cx.waker().clone();
                let job = move || {
                    assert_ne!(thread::current().id(), here);
                    runs.fetch_add(1, Ordering::SeqCst);
                    waker.wake();
                };
                handle.spawn_blocking(Box::new(job)).unwrap();
            })
            .await;
            assert_eq!(done.load(Ordering::SeqCst), n);
        }
    });
}

#[test]
fn l25_jobs_may_wait_for_each_other() {
    let barrier = Arc::new(Barrier::new(65));
    let handle = driver().handle();
    for _ in 0..64 {
        let barrier = Arc::clone(&barrier);
        handle
            .spawn_blocking(Box::new(move || {
                barrier.wait();
            }))
            .unwrap();
    }
    barrier.wait();
}

#[test]
fn l25_an_accepted_job_runs_also_when_the_loop_ends() {
    let (tx, rx) = mpsc::channel();
    let driver = driver();
    driver.handle().spawn_blocking(Box::new(move || tx.send(()).unwrap())).unwrap();
    drop(driver);
    rx.recv().unwrap();
}

#[test]
fn l26_a_panic_in_a_job_harms_nobody() {
    drive(|handle| async move {
        let quiet = || std::panic::resume_unwind(Box::new("on purpose"));
        for _ in 0..10 {
            handle.spawn_blocking(Box::new(quiet)).unwrap();
        }
        pend(|cx| {
            let waker = cx.waker().clone();
            handle.spawn_blocking(Box::new(move || waker.wake())).unwrap();
        })
        .await;
    });
}

// Turns and budget.

#[test]
fn l27_a_turn_reports_all_that_is_ready() {
    drive(|handle| async move {
        let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
        let (count, waker) = Count::new();
        let all: Vec<_> = pairs
            .iter()
            .map(|(a, b)| {
                let readiness = handle.register(a.as_fd()).unwrap();
                let pending = readiness.poll_readable(&mut Context::from_waker(&waker));
                assert!(pending.is_pending());
                (&mut &*b).write_all(b"x").unwrap();
                readiness
            })
            .collect();
        turn(&*handle).await;
        assert_eq!(count.get(), all.len());
    });
}

#[test]
fn l28_a_turn_ends_though_nothing_happens() {
    drive(|handle| async move {
        for _ in 0..100 {
            turn(&*handle).await;
        }
    });
}

#[test]
fn l28_a_turn_on_another_thread_does_not_wait_for_the_loop() {
    let mut driver = driver();
    let handle = driver.handle();
    drive_on(&mut *driver, async {
        let waker = waker().await;
        let thread = thread::spawn(move || {
            let (count, counting) = Count::new();
            let cx = &mut Context::from_waker(&counting);
            let mut rounds = 0;
            while handle.poll_turn(cx, rounds).is_pending() {
                rounds += 1;
                assert_eq!(count.get(), rounds as usize);
            }
            assert!(rounds <= 1);
            waker.wake();
        });
        pend(|_| {}).await;
        thread.join().unwrap();
    });
}

#[test]
fn l29_there_is_always_budget() {
    drive(|handle| async move { assert!(handle.has_budget()) });
}

// The end.

#[test]
fn l30_the_end_of_the_driver_is_noticed() {
    let driver = driver();
    let handle = driver.handle();
    let (a, _b) = pair();
    let (count, waker) = Count::new();
    let cx = &mut Context::from_waker(&waker);
    let readiness = handle.register(a.as_fd()).unwrap();
    let mut alarm = handle.alarm().unwrap();
    alarm.set(Some(Instant::now() + 1_000_000 * MS));
    assert!(readiness.poll_readable(cx).is_pending());
    assert!(alarm.poll(cx).is_pending());
    assert!(!readiness.is_dead() && !alarm.is_dead());

    drop(driver);
    assert_eq!(count.get(), 2);
    assert!(readiness.is_dead() && alarm.is_dead());
    assert!(matches!(readiness.poll_readable(cx), Poll::Ready(Err(_))));
    assert!(matches!(readiness.poll_writable(cx), Poll::Ready(Err(_))));
    assert!(handle.alarm().is_err());
    assert!(handle.register(a.as_fd()).is_err());
    assert!(handle.poll_turn(cx, 0).is_ready());

    // Once the old registration has gone, another loop takes the source.
    drop(readiness);
    drive(|handle| async move { writable(&*handle.register(a.as_fd()).unwrap()).await });
}

#[test]
fn l31_a_waker_may_use_its_loop() {
    /// Uses every service of the loop it is woken by.
    struct Busy(Arc<dyn Handle>, Mutex<Option<Box<dyn Readiness>>>, Count);
    impl Wake for Busy {
        fn wake(self: Arc<Self>) {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut alarm = self.0.alarm().unwrap();
            alarm.set(Some(Instant::now()));
            let _ = alarm.poll(cx);
            let (a, _b) = pair();
            let _ = self.0.register(a.as_fd()).unwrap().poll_writable(cx);
            let _ = self.0.poll_turn(cx, 1);
            if let Some(readiness) = &*self.1.lock().unwrap() {
                let _ = readiness.poll_readable(cx).map(|tick| readiness.clear_readable(tick.unwrap()));
            }
            self.2.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    drive(|handle| async move {
        let (a, b) = pair();
        let busy = Arc::new(Busy(Arc::clone(&handle), Mutex::default(), Count::default()));
        let waker = Waker::from(Arc::clone(&busy));
        let cx = &mut Context::from_waker(&waker);
        let readiness = handle.register(a.as_fd()).unwrap();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + MS));
        assert!(alarm.poll(cx).is_pending());
        assert!(readiness.poll_readable(cx).is_pending());
        *busy.1.lock().unwrap() = Some(readiness);
        (&b).write_all(b"x").unwrap();
        sleep(&*handle, 4 * MS).await;
        assert_eq!(busy.2.get(), 2);
        busy.1.lock().unwrap().take();
    });
}

#[test]
fn l32_nothing_is_ambient() {
    drive(|_| async { assert!(trine_native::native().ambient().is_none()) });
    assert_eq!(trine_native::native().name(), "native");
}
