//! L25 and L26: blocking jobs.

use super::support::{Count, MS, pend, sleep, yield_now};
use crate::case::{Case, backend};
use crate::host::Subject;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use trine::Result;
use trine_backend::Handle;
use trine_backend::laws::SLACK;

pub(super) const CASES: &[Case] = &[
    backend!(job_runs_once, "L25", "divergence 15"),
    backend!(job_runs_on_another_thread, "L25", "divergence 15"),
    backend!(jobs_may_wait_for_each_other, "L25", "divergence 15"),
    backend!(job_runs_while_the_loop_is_busy, "L25", "divergence 15"),
    backend!(job_runs_though_the_loop_ends, "L25", "divergence 15").needs_driver(),
    backend!(job_may_start_a_job, "L25", "divergence 15"),
    backend!(panic_in_a_job_harms_nobody, "L26", "divergence 14"),
];

/// Runs a job, and waits for it.
async fn job(handle: &dyn Handle, work: impl FnOnce() + Send + 'static) {
    pend(|cx| {
        let waker = cx.waker().clone();
        let job = move || {
            work();
            waker.wake();
        };
        handle.spawn_blocking(Box::new(job)).expect("accepted");
    })
    .await;
}

fn job_runs_once(subject: &Subject<'_>) -> Result<()> {
    let runs = Arc::new(Count::default());
    let counted = Arc::clone(&runs);
    subject.drive(|handle| async move {
        for _ in 0..50 {
            let counted = Arc::clone(&counted);
            job(&*handle, move || counted.add()).await;
        }
        sleep(&*handle, 2 * MS).await;
    });
    assert_eq!(runs.get(), 50);
    Ok(())
}

fn job_runs_on_another_thread(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..20 {
            let (tx, rx) = mpsc::channel();
            let job = move || tx.send(thread::current().id()).expect("listened to");
            handle.spawn_blocking(Box::new(job)).expect("accepted");
            // This thread waits for it in the middle of a poll, so it cannot have been lent to the job meanwhile.
            let there = rx.recv_timeout(SLACK).expect("the job needs nothing of the loop");
            assert_ne!(there, thread::current().id());
            yield_now().await;
        }
    });
    Ok(())
}

fn jobs_may_wait_for_each_other(subject: &Subject<'_>) -> Result<()> {
    let barrier = Arc::new(Barrier::new(64));
    let (tx, rx) = mpsc::channel();
    subject.drive(|handle| async move {
        for _ in 0..64 {
            let (barrier, tx) = (Arc::clone(&barrier), tx.clone());
            let job = move || {
                barrier.wait();
                tx.send(()).expect("listened to");
            };
            handle.spawn_blocking(Box::new(job)).expect("accepted");
        }
    });
    // The loop may be gone by now.
    (0..64).for_each(|_| rx.recv().expect("all of them run"));
    Ok(())
}

fn job_runs_while_the_loop_is_busy(subject: &Subject<'_>) -> Result<()> {
    let (tx, rx) = mpsc::channel();
    subject.drive(|handle| async move {
        handle.spawn_blocking(Box::new(move || tx.send(()).expect("listened to"))).expect("accepted");
        // In the middle of a poll, on the loop's own thread.
        rx.recv_timeout(SLACK).expect("the job needs nothing of the loop");
    });
    Ok(())
}

fn job_runs_though_the_loop_ends(subject: &Subject<'_>) -> Result<()> {
    let (tx, rx) = mpsc::channel();
    let driver = subject.driver();
    let handle = driver.handle();
    for n in 0..8 {
        let tx = tx.clone();
        let job = move || {
            thread::sleep(MS);
            tx.send(n).expect("listened to");
        };
        handle.spawn_blocking(Box::new(job)).expect("accepted");
    }
    drop((driver, tx));
    let mut ran: Vec<u32> = rx.iter().collect();
    ran.sort_unstable();
    assert_eq!(ran, [0, 1, 2, 3, 4, 5, 6, 7]);
    Ok(())
}

fn job_may_start_a_job(subject: &Subject<'_>) -> Result<()> {
    let (tx, rx) = mpsc::channel();
    subject.drive(|handle| async move {
        let inner = Arc::clone(&handle);
        job(&*handle, move || {
            inner.spawn_blocking(Box::new(move || tx.send(()).expect("listened to"))).expect("accepted");
        })
        .await;
    });
    rx.recv()?;
    Ok(())
}

fn panic_in_a_job_harms_nobody(subject: &Subject<'_>) -> Result<()> {
    subject.drive(|handle| async move {
        for _ in 0..10 {
            let panics = || std::panic::resume_unwind(Box::new("on purpose"));
            handle.spawn_blocking(Box::new(panics)).expect("accepted");
        }
        // Some before the panics, and some after them, whenever those come.
        for _ in 0..20 {
            job(&*handle, || ()).await;
            sleep(&*handle, MS).await;
        }
    });
    Ok(())
}
