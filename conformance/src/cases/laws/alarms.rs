//! L8 to L13: alarms.

use super::support::{
    Count, FAR, MS, alarm_at, drain, fill, fired, pair, poll_alarm, send, sleep, sleep_past, until_woken,
    wait_readable, wait_writable, waiting_alarm, yield_now,
};
use crate::case::{Case, backend};
use crate::host::Subject;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use trine::Result;
use trine_backend::laws::SLACK;

pub(super) const CASES: &[Case] = &[
    backend!(alarm_is_never_early, "L8", "divergence 8"),
    backend!(poll_at_any_time_is_not_early, "L8", "divergence 8"),
    backend!(wake_is_not_early, "L8", "divergence 8"),
    backend!(alarm_fires_soon, "L9", "divergence 8"),
    backend!(alarm_in_the_past_fires_at_once, "L9", "divergence 8"),
    backend!(alarm_fires_again_and_again, "L9", "divergence 8"),
    backend!(fired_alarm_stays_fired, "L10", "design 2"),
    backend!(fired_alarm_is_ready_for_any_waker, "L10", "design 2"),
    backend!(set_forgets_the_outcome, "L11", "divergence 8"),
    backend!(set_to_later_postpones, "L11", "divergence 8"),
    backend!(set_to_earlier_brings_forward, "L11", "divergence 8"),
    backend!(set_to_none_means_never, "L11", "divergence 8"),
    backend!(alarms_are_independent, "L12", "design 2"),
    backend!(many_alarms_of_one_instant_all_fire, "L12", "divergence 8"),
    backend!(alarm_set_on_another_thread_is_noticed_by_a_sleeping_loop, "L12", "design 3"),
    backend!(dropped_alarm_wakes_nobody, "L12", "divergence 2"),
    backend!(alarm_dropped_on_another_thread_leaves_the_others, "L12", "design 3"),
    backend!(alarm_wakes_the_waker_of_its_last_poll, "L13", "design 3"),
    backend!(direction_wakes_the_waker_of_its_last_poll, "L13", "design 3"),
];

fn alarm_is_never_early(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = handle.alarm().expect("an alarm");
        for micros in [0, 1, 300, 999, 1_000, 1_001, 1_500, 2_700] {
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.set(Some(at));
            fired(&mut *alarm).await;
            assert!(Instant::now() >= at, "early by {:?}", at - Instant::now());
        }
    });
    Ok(())
}

fn poll_at_any_time_is_not_early(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..5 {
            let at = Instant::now() + Duration::from_micros(2_300);
            let mut alarm = alarm_at(&*handle, at);
            while poll_alarm(&mut *alarm, Waker::noop()).is_pending() {
                yield_now().await;
            }
            assert!(Instant::now() >= at, "early by {:?}", at - Instant::now());
        }
    });
    Ok(())
}

fn wake_is_not_early(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let at = Instant::now() + 20 * MS;
        let mut alarm = alarm_at(&*handle, at);
        poll_fn(|cx| {
            let polled = alarm.poll(cx);
            assert!(polled.is_pending() || Instant::now() >= at);
            polled
        })
        .await;
    });
    Ok(())
}

fn alarm_fires_soon(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for time in [MS, 5 * MS, 20 * MS] {
            let at = Instant::now() + time;
            fired(&mut *alarm_at(&*handle, at)).await;
            assert!(at.elapsed() < SLACK, "late by {:?}", at.elapsed());
        }
    });
    Ok(())
}

fn alarm_in_the_past_fires_at_once(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let now = Instant::now();
        for at in [now, now.checked_sub(10 * MS).unwrap_or(now), now.checked_sub(FAR).unwrap_or(now)] {
            fired(&mut *alarm_at(&*handle, at)).await;
        }
        assert!(now.elapsed() < SLACK);
    });
    Ok(())
}

fn alarm_fires_again_and_again(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = handle.alarm().expect("an alarm");
        for round in 0..20 {
            let at = Instant::now() + MS;
            alarm.set(Some(at));
            // Some are polled after their instant for the first time.
            if round % 3 == 0 {
                sleep(&*handle, 2 * MS).await;
            }
            fired(&mut *alarm).await;
            assert!(at.elapsed() < SLACK, "late by {:?}", at.elapsed());
        }
    });
    Ok(())
}

fn fired_alarm_stays_fired(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now() + MS);
        for _ in 0..3 {
            fired(&mut *alarm).await;
        }
        sleep(&*handle, 2 * MS).await;
        fired(&mut *alarm).await;
    });
    Ok(())
}

fn fired_alarm_is_ready_for_any_waker(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now() + MS);
        fired(&mut *alarm).await;
        for _ in 0..10 {
            let (_count, waker) = Count::new();
            assert!(poll_alarm(&mut *alarm, &waker).is_ready());
            yield_now().await;
        }
    });
    Ok(())
}

fn set_forgets_the_outcome(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now());
        fired(&mut *alarm).await;
        alarm.set(Some(Instant::now() + FAR));
        assert!(poll_alarm(&mut *alarm, Waker::noop()).is_pending());
        alarm.set(Some(Instant::now()));
        fired(&mut *alarm).await;
    });
    Ok(())
}

fn set_to_later_postpones(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (count, waker) = Count::new();
        let (mut alarm, at) = waiting_alarm(&*handle, 10 * MS, &waker);
        alarm.set(Some(Instant::now() + FAR));
        let in_time = Instant::now() < at;
        assert!(poll_alarm(&mut *alarm, &waker).is_pending());
        sleep_past(&*handle, at).await;
        assert!(!in_time || count.get() == 0, "woken at an instant that was put off");
        assert!(poll_alarm(&mut *alarm, &waker).is_pending());
    });
    Ok(())
}

fn set_to_earlier_brings_forward(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now() + FAR);
        assert!(poll_alarm(&mut *alarm, Waker::noop()).is_pending());
        let at = Instant::now() + 2 * MS;
        alarm.set(Some(at));
        fired(&mut *alarm).await;
        assert!(Instant::now() >= at && at.elapsed() < SLACK);
    });
    Ok(())
}

fn set_to_none_means_never(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (count, waker) = Count::new();
        let mut unset = handle.alarm().expect("an alarm");
        assert!(poll_alarm(&mut *unset, &waker).is_pending());
        let (mut alarm, at) = waiting_alarm(&*handle, 10 * MS, &waker);
        alarm.set(None);
        let in_time = Instant::now() < at;
        let mut late = alarm_at(&*handle, Instant::now());
        fired(&mut *late).await;
        late.set(None);
        for alarm in [&mut unset, &mut alarm, &mut late] {
            assert!(poll_alarm(&mut **alarm, &waker).is_pending());
        }
        sleep_past(&*handle, at).await;
        assert!(!in_time || count.get() == 0, "woken by an alarm that is not set");
    });
    Ok(())
}

fn alarms_are_independent(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let now = Instant::now();
        let mut alarms: Vec<_> = [3, 1, 2].map(|n| Some(alarm_at(&*handle, now + n * 3 * MS))).into();
        poll_fn(|cx| {
            for slot in &mut alarms {
                if slot.as_mut().is_some_and(|alarm| alarm.poll(cx).is_ready()) {
                    *slot = None;
                }
            }
            if alarms.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(now.elapsed() >= 9 * MS);
    });
    Ok(())
}

fn many_alarms_of_one_instant_all_fire(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (count, waker) = Count::new();
        let at = Instant::now() + 5 * MS;
        let mut alarms: Vec<_> = (0..100).map(|_| alarm_at(&*handle, at)).collect();
        let mut waiting = 0;
        for alarm in &mut alarms {
            waiting += usize::from(poll_alarm(&mut **alarm, &waker).is_pending());
        }
        until_woken(&*handle, &count, waiting).await;
        assert!(alarms.iter_mut().all(|alarm| poll_alarm(&mut **alarm, &waker).is_ready()));
    });
    Ok(())
}

fn alarm_set_on_another_thread_is_noticed_by_a_sleeping_loop(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (tx, rx) = mpsc::channel();
        let mut moved = Some(handle.alarm().expect("an alarm"));
        poll_fn(move |cx| {
            if let Some(mut alarm) = moved.take() {
                let (waker, tx) = (cx.waker().clone(), tx.clone());
                thread::spawn(move || {
                    // The loop sleeps by now, or will have to look again.
                    thread::sleep(5 * MS);
                    alarm.set(Some(Instant::now() + 5 * MS));
                    let ready = alarm.poll(&mut Context::from_waker(&waker)).is_ready();
                    tx.send(alarm).expect("the future listens");
                    if ready {
                        waker.wake();
                    }
                });
            }
            let Ok(mut alarm) = rx.try_recv() else { return Poll::Pending };
            let fired = alarm.poll(cx);
            if fired.is_pending() {
                tx.send(alarm).expect("the future listens");
            }
            fired
        })
        .await;
    });
    Ok(())
}

fn dropped_alarm_wakes_nobody(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (count, waker) = Count::new();
        let (alarm, at) = waiting_alarm(&*handle, 10 * MS, &waker);
        drop(alarm);
        let in_time = Instant::now() < at;
        sleep_past(&*handle, at).await;
        assert!(!in_time || count.get() == 0, "woken by an alarm that is gone");
    });
    Ok(())
}

fn alarm_dropped_on_another_thread_leaves_the_others(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..10 {
            let at = Instant::now() + 2 * MS;
            let (mut first, mut second) = (alarm_at(&*handle, at), alarm_at(&*handle, at));
            let _ = poll_alarm(&mut *first, Waker::noop());
            let _ = poll_alarm(&mut *second, Waker::noop());
            thread::spawn(move || drop(first)).join().expect("a drop");
            fired(&mut *second).await;
        }
    });
    Ok(())
}

fn alarm_wakes_the_waker_of_its_last_poll(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut time = 10 * MS;
        let (old, new, _alarm) = loop {
            let ((old, old_waker), (new, new_waker)) = (Count::new(), Count::new());
            let (mut alarm, _) = waiting_alarm(&*handle, time, &old_waker);
            if poll_alarm(&mut *alarm, &new_waker).is_pending() {
                break (old, new, alarm);
            }
            // It came between the two polls.
            time *= 2;
        };
        until_woken(&*handle, &new, 1).await;
        assert_eq!(old.get(), 0);
    });
    Ok(())
}

fn direction_wakes_the_waker_of_its_last_poll(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let ((old, old_waker), (new, new_waker)) = (Count::new(), Count::new());
        let (a, b) = pair();
        fill(&a);
        let readiness = handle.register(a.as_fd()).expect("registered");
        for waker in [&old_waker, &new_waker] {
            wait_readable(&*readiness, waker);
            wait_writable(&*readiness, waker);
        }
        send(&b, b"x");
        until_woken(&*handle, &new, 1).await;
        drain(&b);
        until_woken(&*handle, &new, 2).await;
        assert_eq!(old.get(), 0);
    });
    Ok(())
}
