//! Section 8: running, backends, testing, inspection, low level, task locals.

use crate::{debug, is_clone, is_error, send, send_value, sync, yields, yields_send};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use trine::backend::{Backend, UnknownBackend};
use trine::inspect::{Instrument, Statistics, TaskInfo, Tree};
use trine::lowlevel::ParkingLot;
use trine::net::Shutdown;
use trine::testing::{MemoryStream, MockClock, Order, Sequencer, Turn};
use trine::{Builder, Cancelled, Error, Hosted, NotSet, Result, RunError};

fn own_run<T>(fut: impl Future<Output = T>) -> T {
    trine::run(fut)
}

#[test]
fn run_takes_any_future() {
    let local = Rc::new(1);
    assert_eq!(*own_run(async { local.clone() }), 1);
    let borrowed: &str = own_run(async { "text" });
    assert_eq!(borrowed, "text");
}

struct Counts(&'static AtomicU32);

impl Instrument for Counts {
    fn task_spawned(&self, _: &TaskInfo) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn before_step(&self, _: &TaskInfo) {}
    fn after_step(&self, _: &TaskInfo) {}
    fn task_exited(&self, _: &TaskInfo) {}
}

struct SeesNothing;
impl Instrument for SeesNothing {}

#[test]
fn builder_has_every_setting_and_end() {
    static SPAWNED: AtomicU32 = AtomicU32::new(0);
    let all = || {
        let clock = MockClock::new().autojump();
        Builder::new().backend(trine::backend::native()).clock(clock).order(Order::Fifo).instrument(Counts(&SPAWNED))
    };
    all().run(trine::nursery(async |n| Ok(n.start_soon(async { Ok(()) })))).unwrap();
    assert!(SPAWNED.load(Ordering::Relaxed) > 0);
    let tried: std::result::Result<u8, RunError> = all().instrument(SeesNothing).try_run(async { 1 });
    assert_eq!(tried.unwrap(), 1);
    let hosted: Hosted<_> = all().host(async { 1 });
    assert_eq!(futures::executor::block_on(yields::<i32, _>(hosted)), 1);
    debug::<Builder>();
}

#[test]
fn run_errors_have_the_variants() {
    fn matched(e: &RunError) -> &'static str {
        match e {
            RunError::Deadlock(tree) if !tree.to_string().is_empty() => "deadlock",
            RunError::Nested => "nested",
            RunError::UnknownBackend(e) if !e.name().is_empty() => "unknown",
            RunError::Io(e) if e.kind() == io::ErrorKind::Other => "io",
            _ => "later",
        }
    }
    let nested = trine::run(async { Builder::new().try_run(async {}).unwrap_err() });
    assert_eq!(matched(&nested), "nested");
    let deadlock = Builder::new().clock(MockClock::new()).try_run(trine::sleep_forever()).unwrap_err();
    assert_eq!(matched(&deadlock), "deadlock");
    assert_eq!(matched(&RunError::Io(io::Error::other("x"))), "io");
    is_error::<RunError>();
}

#[test]
fn backends_are_values() {
    send::<Backend>();
    sync::<Backend>();
    is_clone::<Backend>();
    is_error::<UnknownBackend>();
    let native: Backend = trine::backend::native();
    let by_name: Result<Backend, UnknownBackend> = "native".parse();
    assert_eq!((native.name(), by_name.unwrap().name()), ("native", "native"));
    assert_eq!("nonesuch".parse::<Backend>().unwrap_err().name(), "nonesuch");
    let known: Vec<Backend> = trine::backend::available();
    assert!(known.iter().any(|b| b.name() == "native"));
    let _: Result<Backend, UnknownBackend> = trine::backend::from_env();
    let current: Option<Backend> = trine::backend::current();
    assert!(current.is_none());
    let inside = Builder::new().backend(native.clone()).run(async { trine::backend::current() });
    assert_eq!(inside.unwrap().name(), "native");
    let hosted: Hosted<_> = native.host(async { 1 });
    assert_eq!(futures::executor::block_on(send_value(hosted)), 1);
}

/// Any implementation of the interface will do.
#[expect(dead_code, reason = "only to be compiled")]
fn own_backend(backend: impl trine_backend::Backend) -> Backend {
    Backend::new(backend)
}

#[test]
fn clock_has_every_method() {
    is_clone::<MockClock>();
    send::<MockClock>();
    let clock: MockClock = MockClock::new().autojump_after(Duration::from_millis(1));
    let shared = clock.clone();
    let moved = Builder::new().clock(clock).run(async {
        let before = trine::now();
        shared.jump(Duration::from_secs(5));
        trine::now() - before
    });
    assert_eq!(moved, Duration::from_secs(5));
    shared.set_rate(0.5);
    let value: u8 = trine::testing::run(async { 1 });
    assert_eq!(value, 1);
}

#[test]
fn orders_have_the_variants() {
    for order in [Order::Fifo, Order::Lifo, Order::Shuffle(1)] {
        Builder::new().order(order).run(async {});
    }
}

#[test]
fn testing_helpers_have_the_outputs_and_are_send() {
    use trine::testing;
    drop(yields_send::<Result<(), Cancelled>, _>(testing::wait_all_tasks_blocked()));
    drop(yields_send::<Result<(), Cancelled>, _>(testing::wait_all_tasks_blocked_for(Duration::ZERO)));
    let sequencer = Sequencer::new();
    drop(yields_send::<Result<Turn<'_>>, _>(sequencer.turn(0)));
    drop(yields_send::<Cell<u8>, _>(testing::assert_checkpoints(async { Cell::new(1) })));
    drop(yields::<Rc<u8>, _>(testing::assert_no_checkpoints(async { Rc::new(1) })));
    let (a, b): (MemoryStream, MemoryStream) = testing::duplex(16);
    send_value((a, b));
}

#[test]
fn memory_streams_have_the_methods_of_streams() {
    fn both<S: futures_util::io::AsyncRead + futures_util::io::AsyncWrite + Unpin + Send + Sync>(_: &S) {}
    let (a, b) = trine::testing::duplex(16);
    both(&a);
    both(&&a);
    trine::run(async {
        let _: usize = a.write(b"a").await?;
        a.write_all(b"b").await?;
        let _: usize = b.read(&mut [0; 8]).await?;
        a.shutdown(Shutdown::Write).await
    })
    .unwrap();
}

#[test]
fn inspection_is_there() {
    let task: Option<TaskInfo> = trine::inspect::current_task();
    assert!(task.is_none());
    trine::run(trine::nursery(async |n| {
        n.task("reader").start_soon(async {
            let task = trine::inspect::current_task().unwrap();
            let _: (u64, Option<u64>) = (task.id, task.parent);
            assert_eq!(task.name.as_deref(), Some("reader"));
            let tree: Tree = trine::inspect::tree();
            assert!(tree.to_string().contains("reader"));
            let statistics: Statistics = trine::inspect::statistics();
            assert!(statistics.tasks >= 2);
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

#[test]
fn low_level_is_there() {
    static LOT: ParkingLot = ParkingLot::new();
    drop(yields_send::<Result<(), Cancelled>, _>(LOT.park()));
    let counts: [usize; 3] = [LOT.unpark(1), LOT.unpark_all(), LOT.len()];
    assert_eq!(counts, [0; 3]);
    let asks: fn(&mut Context<'_>) -> Poll<Cancelled> = trine::lowlevel::poll_cancelled;
    assert!(asks(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    #[cfg(unix)]
    {
        use std::os::fd::{AsFd, BorrowedFd};
        fn waits(fd: BorrowedFd<'_>) {
            drop(yields_send::<io::Result<()>, _>(trine::lowlevel::wait_readable(fd)));
            drop(yields_send::<io::Result<()>, _>(trine::lowlevel::wait_writable(fd)));
        }
        waits(io::stdin().as_fd());
    }
}

trine::task_local! {
    /// Documented.
    static ID: u64;
    pub static NAME: String;
}

#[test]
fn task_locals_have_every_method() {
    let not_set: std::result::Result<u64, NotSet> = ID.try_with(|id| *id);
    is_error::<NotSet>();
    assert!(not_set.is_err());
    let scoped = ID.scope(7, NAME.scope("n".into(), async { (ID.with(|id| *id), ID.get(), NAME.get()) }));
    assert_eq!(trine::run(yields_send::<(u64, u64, String), _>(scoped)), (7, 7, "n".to_owned()));
}

#[test]
fn tree_on_a_foreign_executor_needs_no_set_up() {
    let sum = futures::executor::block_on(trine::nursery(async |n| {
        let child = n.spawn(async {
            trine::checkpoint().await?;
            Ok(1)
        });
        Ok::<_, Error>(child.await? + 1)
    }));
    assert_eq!(sum.unwrap(), 2);
}
