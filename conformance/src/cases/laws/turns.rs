//! L27 to L29, L33: a look at what is ready, and the host's budget.

use super::support::{
    Count, FAR, MS, alarm_at, fired, pair, poll_alarm, readable, registered_pair, send, take_data, turn, wait_readable,
    yield_now,
};
use crate::case::{Case, backend};
use crate::host::Subject;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;
use trine::Result;
use trine_backend::laws::SLACK;

pub(super) const CASES: &[Case] = &[
    backend!(turn_reports_what_is_ready, "L27", "design 2"),
    backend!(turn_reports_all_that_is_ready, "L27", "design 2"),
    backend!(turn_reports_what_comes_again, "L27", "design 2"),
    backend!(turn_ends_though_nothing_happens, "L28", "design 2"),
    backend!(turn_does_not_wait_for_an_alarm, "L28", "design 2"),
    backend!(turn_on_another_thread_ends, "L28", "design 3"),
    backend!(return_to_the_host_restores_the_budget, "L29", "design 4"),
    backend!(grants_of_a_turn_are_bounded_and_end_with_it, "L33", "design 4"),
];

fn turn_reports_what_is_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..20 {
            let (_a, b, readiness) = registered_pair(&*handle);
            let (count, waker) = Count::new();
            wait_readable(&*readiness, &waker);
            send(&b, b"x");
            turn(&*handle).await;
            assert_eq!(count.get(), 1, "not woken by the end of the turn");
            readable(&*readiness).await;
        }
    });
    Ok(())
}

fn turn_reports_all_that_is_ready(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
        let (count, waker) = Count::new();
        let all: Vec<_> = pairs
            .iter()
            .map(|(a, b)| {
                let readiness = handle.register(a.as_fd()).expect("registered");
                wait_readable(&*readiness, &waker);
                send(b, b"x");
                readiness
            })
            .collect();
        turn(&*handle).await;
        assert_eq!(count.get(), all.len());
    });
    Ok(())
}

fn turn_reports_what_comes_again(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let (a, b, readiness) = registered_pair(&*handle);
        let (count, waker) = Count::new();
        for round in 1..=20 {
            wait_readable(&*readiness, &waker);
            send(&b, b"x");
            turn(&*handle).await;
            assert_eq!(count.get(), round, "not woken by the end of the turn");
            take_data(&*handle, &a, &*readiness).await;
        }
    });
    Ok(())
}

fn turn_ends_though_nothing_happens(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..100 {
            turn(&*handle).await;
        }
    });
    Ok(())
}

fn turn_does_not_wait_for_an_alarm(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut never = alarm_at(&*handle, Instant::now() + FAR);
        assert!(poll_alarm(&mut *never, Waker::noop()).is_pending());
        let begin = Instant::now();
        turn(&*handle).await;
        assert!(begin.elapsed() < SLACK);
    });
    Ok(())
}

fn turn_on_another_thread_ends(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let asked = Arc::clone(&handle);
        let thread = thread::spawn(move || {
            let (count, waker) = Count::new();
            let mut round = 0;
            while asked.poll_turn(&mut Context::from_waker(&waker), round).is_pending() {
                assert!(round < 1_000, "no end of rounds");
                round += 1;
                let begin = Instant::now();
                while count.get() < round as usize {
                    assert!(begin.elapsed() < SLACK, "pending without a wake");
                    thread::sleep(MS / 10);
                }
            }
        });
        while !thread.is_finished() {
            fired(&mut *alarm_at(&*handle, Instant::now() + MS)).await;
        }
        thread.join().expect("all rounds were right");
    });
    Ok(())
}

fn return_to_the_host_restores_the_budget(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now());
        for _ in 0..20 {
            yield_now().await;
            assert!(handle.has_budget(), "no budget after a return to the host");
            // Uses up what there is, if it is counted by services.
            for _ in 0..1_000 {
                if !handle.has_budget() {
                    break;
                }
                let _ = poll_alarm(&mut *alarm, Waker::noop());
            }
        }
    });
    Ok(())
}

fn grants_of_a_turn_are_bounded_and_end_with_it(subject: &Subject<'_>) -> Result<()> {
    // More than any host grants a turn.
    const ENOUGH: usize = 1_000_000;
    subject.drive(|handle| async move {
        let mut alarm = alarm_at(&*handle, Instant::now());
        // Whether it is used up at last, if it is counted by questions or services.
        let mut is_spent = |most: usize| {
            (0..most).any(|_| {
                let _ = poll_alarm(&mut *alarm, Waker::noop());
                !handle.has_budget()
            })
        };
        yield_now().await;
        if !is_spent(1_000) {
            // A host that does not ration, or not these.
            return;
        }
        handle.begin_turn();
        assert!(is_spent(ENOUGH), "a turn that is granted budgets without end");
        handle.end_turn();
        assert!(!handle.has_budget(), "what the turn was granted outlasts it");
    });
    Ok(())
}
