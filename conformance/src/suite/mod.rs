//! Running cases: each on a thread of its own, under a limit in real time.
//!
//! A thread cannot be stopped: one that hangs is left behind, its case has failed, and the suite goes on.

mod panics;
mod probe;

use crate::case::{Body, BoxCase, Case, Skip};
use crate::host::{Host, HostError, panic_text};
pub use panics::keep as keep_panics;
use probe::{Probe, Probed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use trine::testing::{MockClock, Order};
use trine::{Builder, Error};

/// How to run cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// In which order runnable children run.
    pub order: Order,
    /// Ends cases earlier than they ask for.
    pub limit: Option<Duration>,
}

/// What became of a case on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Passed,
    /// It is not; with the text.
    Failed(String),
    /// It was left out, for this reason.
    Skipped(String),
}

/// What became of a case on a host, and how long it took.
#[derive(Clone, Debug)]
pub struct Report {
    /// What became of it.
    pub verdict: Verdict,
    /// In real time.
    pub took: Duration,
}

/// Runs a case on a host.
pub fn run(case: &Case, host: &Arc<dyn Host>, options: &Options) -> Report {
    if let Some(reason) = case.skipped(&**host, options.order) {
        return Report { verdict: Verdict::Skipped(reason), took: Duration::ZERO };
    }
    let begin = Instant::now();
    let verdict = on_a_thread(*case, host, options);
    Report { verdict, took: begin.elapsed() }
}

fn on_a_thread(case: Case, host: &Arc<dyn Host>, options: &Options) -> Verdict {
    let (order, limit) = (options.order, options.limit.unwrap_or(case.limit()).min(case.limit()));
    let (send, receive) = mpsc::channel();
    let probe = Arc::new(Probe::default());
    let (its_host, its_probe) = (Arc::clone(host), Arc::clone(&probe));
    let spawned = thread::Builder::new().name(case.name().to_owned()).spawn(move || {
        let done = catch_unwind(AssertUnwindSafe(|| run_here(&case, &*its_host, order, &its_probe)));
        // Nobody listens any more if it took too long.
        let _ = send.send(done.unwrap_or_else(|payload| Verdict::Failed(panics::located(&panic_text(&*payload)))));
    });
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => return Verdict::Failed(format!("no thread for it: {error}")),
    };
    match receive.recv_timeout(limit) {
        Ok(verdict) => {
            let _ = thread.join();
            verdict
        }
        Err(_) => {
            let tree = probe.tree().map(|tree| format!("\n{tree}")).unwrap_or_default();
            Verdict::Failed(format!("hangs: no end after {limit:?}{tree}"))
        }
    }
}

fn run_here(case: &Case, host: &dyn Host, order: Order, probe: &Arc<Probe>) -> Verdict {
    let builder = Builder::new().order(order);
    let result = match case.body() {
        Body::Portable(make) => portable(host, builder.clock(MockClock::new().autojump()), make(), probe),
        Body::RealTime(make) => {
            probe.allow_wake();
            portable(host, builder, make(), probe)
        }
        Body::Clocked(make) => {
            let clock = MockClock::new();
            portable(host, builder.clock(clock.clone()), make(clock), probe)
        }
        Body::OnHost(run) => run(host),
        Body::Backend(run) => {
            let mut result = Err(Error::msg("the host has no backend"));
            host.with_subject(&mut |subject| result = run(subject));
            result
        }
    };
    match result {
        Ok(()) => Verdict::Passed,
        Err(error) => match (error.find::<Skip>(), error.find::<HostError>()) {
            (Some(skip), _) => Verdict::Skipped(skip.to_string()),
            (_, Some(HostError::Panicked(message))) => Verdict::Failed(panics::located(message)),
            _ => Verdict::Failed(format!("{error}")),
        },
    }
}

fn portable(host: &dyn Host, builder: Builder, case: BoxCase, probe: &Arc<Probe>) -> trine::Result<()> {
    host.run(builder, Probed::new(case, Arc::clone(probe)))?
}
