//! What the traits do not show of this backend, and the laws that it must test itself.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use trine_backend::{Driver, Handle};
use trine_tokio::{incomplete, tokio as backend, tokio_handle};

const LONG: Duration = Duration::from_secs(1000);

fn runtimes() -> [Runtime; 2] {
    let multi = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    [Builder::new_current_thread().enable_all().build().unwrap(), multi]
}

fn ambient() -> Arc<dyn Handle> {
    backend().ambient().unwrap()
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn one_runtime_has_one_handle_wherever_it_is_asked_for() {
    for runtime in runtimes() {
        let first = runtime.block_on(async { ambient() });
        let second = runtime.block_on(async { tokio::spawn(async { ambient() }).await.unwrap() });
        let chosen = tokio_handle(runtime.handle().clone()).ambient().unwrap();
        assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &chosen));
    }
    let [a, b] = runtimes().map(|runtime| runtime.block_on(async { ambient() }));
    assert!(!Arc::ptr_eq(&a, &b));
}

#[test]
fn a_handle_is_forgotten_with_its_runtime() {
    for runtime in runtimes() {
        let handle = runtime.block_on(async { Arc::downgrade(&ambient()) });
        assert!(handle.upgrade().is_some());
        drop(runtime);
        assert!(handle.upgrade().is_none());
    }
}

#[test]
fn l30_the_end_of_a_foreign_runtime_is_noticed() {
    for runtime in runtimes() {
        let handle = runtime.block_on(async { ambient() });
        let (a, _b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&waker);
        let readiness = handle.register(a.as_fd()).unwrap();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + LONG));
        assert!(readiness.poll_readable(cx).is_pending() && alarm.poll(cx).is_pending());

        drop(runtime);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert!(readiness.is_dead() && alarm.is_dead());
        assert!(alarm.poll(cx).is_pending());
        assert!(matches!(readiness.poll_readable(cx), Poll::Ready(Err(_))));
        assert!(handle.alarm().is_err() && handle.register(a.as_fd()).is_err());
        assert!(handle.poll_turn(cx, 0).is_ready());
    }
}

#[test]
fn l25_jobs_that_a_runtime_drops_at_its_end_are_run() {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let handle = runtime.block_on(async { ambient() });
    let (tx, rx) = mpsc::channel();
    let gate = Arc::new(Barrier::new(2));
    for n in 0..4 {
        let (tx, gate) = (tx.clone(), gate.clone());
        // The first one has the only thread until the runtime is gone; the others wait for it.
        let job = Box::new(move || {
            if n == 0 {
                gate.wait();
            }
            tx.send(n).unwrap();
        });
        handle.spawn_blocking(job).unwrap();
    }
    runtime.shutdown_background();
    handle.spawn_blocking(Box::new(move || tx.send(4).unwrap())).unwrap();
    // Its thread finds the runtime gone when it is through with the first, and drops the others.
    gate.wait();
    let mut done: Vec<_> = (0..5).map(|_| rx.recv().unwrap()).collect();
    assert!(rx.recv().is_err(), "a job ran twice");
    done.sort_unstable();
    assert_eq!(done, [0, 1, 2, 3, 4]);
}

#[test]
fn a_job_has_the_runtime_around_it() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let (tx, rx) = tokio::sync::oneshot::channel();
        ambient().spawn_blocking(Box::new(move || drop(tx.send(ambient())))).unwrap();
        assert!(Arc::ptr_eq(&rx.await.unwrap(), &ambient()));
    });
}

#[test]
fn polls_of_services_cost_no_budget_and_do_not_need_any() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let (handle, cx) = (ambient(), &mut Context::from_waker(Waker::noop()));
        let (a, _b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let readiness = handle.register(a.as_fd()).unwrap();
        let mut alarm = handle.alarm().unwrap();
        alarm.set(Some(Instant::now() + LONG));
        while readiness.poll_writable(cx).is_pending() {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            assert!(alarm.poll(cx).is_pending() && readiness.poll_writable(cx).is_ready());
        }
        assert!(handle.has_budget());
        poll_fn(|cx| {
            while handle.has_budget() {
                if let Poll::Ready(unit) = tokio::task::coop::poll_proceed(cx) {
                    unit.made_progress();
                }
            }
            assert!(readiness.poll_writable(cx).is_ready());
            alarm.set(Some(Instant::now()));
            assert!(alarm.poll(cx).is_ready());
            Poll::Ready(())
        })
        .await;
    });
}

#[test]
fn services_work_on_threads_without_a_runtime() {
    let [_, runtime] = runtimes();
    let handle = tokio_handle(runtime.handle().clone()).ambient().unwrap();
    assert!(backend().ambient().is_none());
    let (tx, rx) = mpsc::channel();
    struct Send(Mutex<mpsc::Sender<()>>);
    impl Wake for Send {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }
    let waker = Waker::from(Arc::new(Send(Mutex::new(tx))));
    let cx = &mut Context::from_waker(&waker);
    let at = Instant::now() + Duration::from_millis(2);
    let mut alarm = handle.alarm().unwrap();
    alarm.set(Some(at));
    while alarm.poll(cx).is_pending() {
        rx.recv().unwrap();
    }
    assert!(Instant::now() >= at);
}

#[test]
fn an_alarm_beyond_the_reach_of_the_timer_wheel_waits() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let mut alarm = ambient().alarm().unwrap();
        let far = Instant::now().checked_add(Duration::from_secs(60 * 60 * 24 * 365 * 100)).unwrap();
        alarm.set(Some(far));
        for _ in 0..3 {
            assert!(alarm.poll(&mut Context::from_waker(Waker::noop())).is_pending());
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn what_a_runtime_lacks_is_found_out_once_and_told() {
    let bare = Builder::new_current_thread().build().unwrap();
    bare.block_on(async {
        assert!(backend().ambient().is_none());
        let handle = incomplete().unwrap();
        for error in [handle.alarm().unwrap_err(), handle.register(io::stdin().as_fd()).unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("enable_all"), "{error}");
        }
        let cx = &mut Context::from_waker(Waker::noop());
        assert!((0..10).any(|round| handle.poll_turn(cx, round).is_ready()));
    });
    let [whole, _] = runtimes();
    whole.block_on(async { assert!(incomplete().is_none()) });
}

#[test]
fn l6_an_unconstrained_task_is_refused_too() {
    let [runtime, _] = runtimes();
    runtime.block_on(tokio::task::unconstrained(async {
        assert!(backend().nested_hint().is_none(), "such a task cannot be told");
        let mut driver = backend().driver().unwrap();
        let error = driver.drive(pin!(pending())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Deadlock);
    }));
}

#[test]
fn a_look_for_the_async_context_leaves_the_budget_as_it_was() {
    let [runtime, _] = runtimes();
    runtime.block_on(poll_fn(|cx| {
        let mut units = 0;
        while let Poll::Ready(unit) = tokio::task::coop::poll_proceed(cx) {
            unit.made_progress();
            units += 1;
            assert!(backend().nested_hint().is_some());
            assert!(units <= 128, "the budget was filled up");
        }
        assert_eq!(units, 128);
        assert!(backend().nested_hint().is_some());
        Poll::Ready(())
    }));
    assert!(backend().nested_hint().is_none());
}

#[test]
fn a_driver_may_be_dropped_inside_another_runtime() {
    let [runtime, _] = runtimes();
    runtime.block_on(async { drop(backend().driver().unwrap()) });
}

/// L31: the wakers of both services are dropped and woken with no lock held, so they may use what they belong to.
#[test]
fn l31_a_waker_that_uses_its_own_services_is_no_deadlock() {
    struct Reenter(Arc<dyn Handle>);
    impl Wake for Reenter {
        fn wake(self: Arc<Self>) {
            let mut alarm = self.0.alarm().unwrap();
            alarm.set(Some(Instant::now() + LONG));
            assert!(alarm.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }
    impl Drop for Reenter {
        fn drop(&mut self) {
            drop(self.0.alarm());
        }
    }
    let mut driver: Box<dyn Driver> = backend().driver().unwrap();
    let handle = driver.handle();
    driver
        .drive(pin!(async {
            let (a, b) = UnixStream::pair().unwrap();
            a.set_nonblocking(true).unwrap();
            let readiness = handle.register(a.as_fd()).unwrap();
            let mut alarm = handle.alarm().unwrap();
            alarm.set(Some(Instant::now() + Duration::from_millis(1)));
            for _ in 0..2 {
                // The second waker replaces the first, which is dropped.
                let waker = Waker::from(Arc::new(Reenter(Arc::clone(&handle))));
                let cx = &mut Context::from_waker(&waker);
                let _ = alarm.poll(cx);
                assert!(readiness.poll_readable(cx).is_pending());
            }
            io::Write::write_all(&mut &b, b"x").unwrap();
            poll_fn(|cx| readiness.poll_readable(cx)).await.unwrap();
            poll_fn(|cx| alarm.poll(cx)).await;
        }))
        .unwrap();
}
