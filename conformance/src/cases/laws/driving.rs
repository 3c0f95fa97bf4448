//! L1 to L7: driving a future.

use super::support::{
    Count, FAR, MS, alarm_at, pend, poll_alarm, readable, registered_pair, send, sleep, wait_readable, waiting_alarm,
    waker, yield_now,
};
use crate::case::{Case, backend};
use crate::host::{Subject, drive_on};
use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Instant;
use trine::Result;
use trine_backend::laws::SLACK;

pub(super) const CASES: &[Case] = &[
    backend!(future_is_polled_on_the_calling_thread, "L1", "design 2").needs_driver(),
    backend!(future_is_not_polled_after_its_end, "L1", "design 2"),
    backend!(driver_drives_again, "L1", "design 2").needs_driver(),
    backend!(wake_during_the_poll_leads_to_another_poll, "L2", "divergence 2"),
    backend!(wake_by_another_thread_during_the_poll_is_kept, "L2", "design 2"),
    backend!(wake_between_drives_is_harmless, "L2", "design 2").needs_driver(),
    backend!(many_wakes_at_once_are_one_poll_at_least, "L2", "divergence 2"),
    backend!(wake_by_another_thread_ends_the_sleep, "L3", "design 2"),
    backend!(wakes_race_with_the_park, "L3", "design 2"),
    backend!(waker_may_outlive_future_and_loop, "L3", "design 2"),
    backend!(idle_loop_sleeps, "L4", "divergence 2"),
    backend!(wake_of_others_costs_no_poll, "L4", "divergence 2"),
    backend!(busy_future_gets_its_alarm, "L5", "divergence 10"),
    backend!(busy_future_gets_readiness, "L5", "divergence 10"),
    backend!(busy_future_does_not_hide_a_foreign_wake, "L5", "divergence 10"),
    backend!(drive_inside_a_drive_is_refused, "L6", "design 2").needs_driver(),
    backend!(hint_says_why_a_drive_is_wrong_here, "L6", "design 2").needs_driver(),
    backend!(panic_leaves_driver_and_thread_in_order, "L7", "design 2").needs_driver(),
    backend!(panic_while_others_wait_leaves_the_loop_in_order, "L7", "design 2").needs_driver(),
];

fn future_is_polled_on_the_calling_thread(subject: &Subject<'_>) -> Result<()> {
    let here = thread::current().id();
    let mut local = Rc::new(0);
    let mut driver = subject.driver();
    let handle = driver.handle();
    drive_on(&mut *driver, async {
        for _ in 0..10 {
            yield_now().await;
            sleep(&*handle, MS).await;
            assert_eq!(thread::current().id(), here);
            *Rc::get_mut(&mut local).expect("unshared") += 1;
        }
    });
    assert_eq!(*local, 10);
    Ok(())
}

fn future_is_not_polled_after_its_end(subject: &Subject<'_>) -> Result<()> {
    let polls = Arc::new(Count::default());
    let counted = Arc::clone(&polls);
    subject.drive(|_| {
        poll_fn(move |cx| {
            counted.add();
            assert_eq!(counted.get(), 1, "polled after its end");
            cx.waker().wake_by_ref();
            Poll::Ready(())
        })
    });
    assert_eq!(polls.get(), 1);
    Ok(())
}

fn driver_drives_again(subject: &Subject<'_>) -> Result<()> {
    let mut driver = subject.driver();
    for n in 0..3 {
        let handle = driver.handle();
        let done = drive_on(&mut *driver, async {
            sleep(&*handle, MS).await;
            n
        });
        assert_eq!(done, n);
    }
    Ok(())
}

fn wake_during_the_poll_leads_to_another_poll(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|_| async {
        for _ in 0..100 {
            yield_now().await;
        }
    });
    Ok(())
}

fn wake_by_another_thread_during_the_poll_is_kept(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|_| async {
        for _ in 0..100 {
            pend(|cx| {
                let waker = cx.waker().clone();
                thread::spawn(move || waker.wake()).join().expect("a wake");
            })
            .await;
        }
    });
    Ok(())
}

fn wake_between_drives_is_harmless(subject: &Subject<'_>) -> Result<()> {
    let mut driver = subject.driver();
    let waker = drive_on(&mut *driver, waker());
    for _ in 0..3 {
        waker.wake_by_ref();
        let polls = Cell::new(0);
        drive_on(&mut *driver, async {
            polls.set(polls.get() + 1);
            yield_now().await;
        });
        assert_eq!(polls.get(), 1);
    }
    Ok(())
}

fn many_wakes_at_once_are_one_poll_at_least(subject: &Subject<'_>) -> Result<()> {
    let polls = subject.drive(|handle| {
        let (mut polls, mut end) = (0, alarm_at(&*handle, Instant::now() + 20 * MS));
        poll_fn(move |cx| {
            polls += 1;
            if polls == 1 {
                (0..1_000).for_each(|_| cx.waker().wake_by_ref());
                return Poll::Pending;
            }
            end.poll(cx).map(|()| polls)
        })
    });
    // The wakes, the alarm, and whatever a loop adds of its own; not one for each wake.
    assert!((2..100).contains(&polls), "{polls} polls");
    Ok(())
}

fn wake_by_another_thread_ends_the_sleep(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|_| async {
        pend(|cx| {
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(20 * MS);
                waker.wake();
            });
        })
        .await;
    });
    Ok(())
}

fn wakes_race_with_the_park(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|_| async {
        let (tx, rx) = mpsc::channel::<Waker>();
        let thread = thread::spawn(move || rx.into_iter().for_each(Waker::wake));
        for _ in 0..1_000 {
            pend(|cx| tx.send(cx.waker().clone()).expect("the thread listens")).await;
        }
        drop(tx);
        thread.join().expect("the thread ends");
    });
    Ok(())
}

fn waker_may_outlive_future_and_loop(subject: &Subject<'_>) -> Result<()> {
    let waker = subject.drive(|_| waker());
    waker.wake_by_ref();
    subject.drive(|_| async {});
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().expect("a wake");
    Ok(())
}

fn idle_loop_sleeps(subject: &Subject<'_>) -> Result<()> {
    let polls = subject.drive(|handle| {
        let (mut polls, mut alarm) = (0, alarm_at(&*handle, Instant::now() + 50 * MS));
        poll_fn(move |cx| {
            polls += 1;
            alarm.poll(cx).map(|()| polls)
        })
    });
    // A busy loop would poll thousands of times.
    assert!(polls <= 4, "{polls} polls while nothing happened");
    Ok(())
}

fn wake_of_others_costs_no_poll(subject: &Subject<'_>) -> Result<()> {
    let polls = subject.drive(|handle| {
        let mut polls = 0;
        let (other, other_waker) = Count::new();
        let (mut others, mut end) = (Vec::new(), alarm_at(&*handle, Instant::now() + FAR));
        poll_fn(move |cx| {
            polls += 1;
            if polls == 1 {
                others.extend((1..=20).map(|n| waiting_alarm(&*handle, n * MS, &other_waker)));
                let last = others.iter().map(|(_, at)| *at).max().expect("there are some");
                end.set(Some(last + 30 * MS));
            }
            let ended = end.poll(cx);
            assert!(ended.is_pending() || other.get() == 20, "the others were not woken");
            ended.map(|()| polls)
        })
    });
    assert!(polls <= 4, "{polls} polls for the wakes of others");
    Ok(())
}

/// Wakes itself at every poll until `done` says that it is.
async fn busy(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    poll_fn(|cx| {
        assert!(begin.elapsed() < SLACK, "starved");
        cx.waker().wake_by_ref();
        if done() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn busy_future_gets_its_alarm(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (count, waker) = Count::new();
        let (mut alarm, _) = waiting_alarm(&*handle, 5 * MS, &waker);
        busy(|| count.get() == 1).await;
        assert!(poll_alarm(&mut *alarm, &waker).is_ready());
    });
    Ok(())
}

fn busy_future_gets_readiness(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (_a, b, readiness) = registered_pair(&*handle);
        let (count, waker) = Count::new();
        wait_readable(&*readiness, &waker);
        send(&b, b"x");
        busy(|| count.get() == 1).await;
        readable(&*readiness).await;
    });
    Ok(())
}

fn busy_future_does_not_hide_a_foreign_wake(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|_| async {
        let (tx, rx) = mpsc::channel();
        let waker = waker().await;
        let thread = thread::spawn(move || {
            waker.wake();
            tx.send(()).expect("the future listens");
        });
        busy(move || rx.try_recv().is_ok()).await;
        thread.join().expect("the thread ends");
        sleepy().await;
    });
    Ok(())
}

/// A park after all that, ended by a thread.
async fn sleepy() {
    pend(|cx| {
        let waker = cx.waker().clone();
        thread::spawn(move || waker.wake());
    })
    .await;
}

fn drive_inside_a_drive_is_refused(subject: &Subject<'_>) -> Result<()> {
    let backend = Arc::clone(subject.backend());
    subject.drive(|handle| async move {
        if let Ok(mut inner) = backend.driver() {
            let polled = Cell::new(false);
            let refused = inner.drive(pin!(async { polled.set(true) }));
            assert!(refused.is_err() && !polled.get(), "the inner drive ran");
        }
        sleep(&*handle, MS).await;
    });
    Ok(())
}

fn hint_says_why_a_drive_is_wrong_here(subject: &Subject<'_>) -> Result<()> {
    assert_eq!(subject.backend().nested_hint(), None);
    let backend = Arc::clone(subject.backend());
    let inside = subject.drive(|_| async move { backend.nested_hint() });
    assert!(inside.is_some_and(|hint| !hint.is_empty()), "no hint inside a drive");
    assert_eq!(subject.backend().nested_hint(), None);
    Ok(())
}

fn panic_leaves_driver_and_thread_in_order(subject: &Subject<'_>) -> Result<()> {
    let mut driver = subject.driver();
    let panicked = catch_unwind(AssertUnwindSafe(|| drive_on(&mut *driver, async { panic!("on purpose") })));
    let text = panicked.expect_err("the panic goes on");
    assert_eq!(text.downcast_ref::<&str>(), Some(&"on purpose"));
    let handle = driver.handle();
    drive_on(&mut *driver, async { sleep(&*handle, MS).await });
    drop(driver);
    subject.drive(|_| async {});
    Ok(())
}

fn panic_while_others_wait_leaves_the_loop_in_order(subject: &Subject<'_>) -> Result<()> {
    let mut driver = subject.driver();
    let handle = driver.handle();
    let (_a, b, readiness) = registered_pair(&*handle);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        drive_on(&mut *driver, async {
            let mut never = alarm_at(&*handle, Instant::now() + FAR);
            assert!(poll_alarm(&mut *never, Waker::noop()).is_pending());
            wait_readable(&*readiness, Waker::noop());
            yield_now().await;
            panic!("on purpose");
        })
    }));
    assert!(panicked.is_err());
    send(&b, b"x");
    drive_on(&mut *driver, async {
        readable(&*readiness).await;
        sleep(&*handle, MS).await;
    });
    Ok(())
}
