//! Faulty backends: each wraps a sound one and breaks one law, and a named case must notice.
//!
//! This is the test of the suite. [`check`] runs the named case against the sound backend and against the faulty one; it
//! must pass there and fail here, within bounded time.
//!
//! Two faults need no case, since the types exclude them: a job cannot run twice (it is an `FnOnce`), and a future cannot
//! be polled by another thread (`drive` borrows it).

mod alarms;
mod driving;
mod mixups;
mod readiness;
mod services;
mod wrap;

use crate::case::Case;
use crate::cases;
use crate::host::{Driven, Host};
use crate::suite::{self, Options, Verdict};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use trine::testing::Order;
use trine_backend::Backend;

/// How long a case may take on a faulty backend; what it waits for never comes.
const LIMIT: Duration = Duration::from_secs(3);

/// A way to break a backend.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is wrong, in words with dashes.
    pub name: &'static str,
    /// The law that is broken.
    pub law: &'static str,
    /// The name of the case that must notice.
    pub noticed_by: &'static str,
    /// Breaks a backend.
    pub wrap: fn(Arc<dyn Backend>) -> Arc<dyn Backend>,
}

/// All of them, in the order of the laws.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [driving::FAULTS, alarms::FAULTS, readiness::FAULTS, mixups::FAULTS, services::FAULTS].into_iter().flatten()
}

/// Checks all of them at once, since most of the time the cases wait for what never comes; returns the result of each.
pub fn check_all(sound: &Arc<dyn Backend>) -> Vec<(&'static Fault, Result<String, String>)> {
    thread::scope(|scope| {
        let checks: Vec<_> = all().map(|fault| (fault, scope.spawn(|| check(fault, sound)))).collect();
        let results = checks
            .into_iter()
            .map(|(fault, check)| (fault, check.join().unwrap_or_else(|_| Err("the check panicked".to_owned()))));
        results.collect()
    })
}

/// Checks that the named case passes on the backend, and notices when it is broken so; returns what it says then.
///
/// # Errors
///
/// With the text, if it does not.
pub fn check(fault: &Fault, sound: &Arc<dyn Backend>) -> Result<String, String> {
    let case = cases::all().find(|case| case.name() == fault.noticed_by);
    let case = case.ok_or_else(|| format!("there is no case {}", fault.noticed_by))?;
    if case.law() != fault.law {
        return Err(format!("{} proves {}, not {}", case.name(), case.law(), fault.law));
    }
    match verdict(case, Arc::clone(sound)) {
        Verdict::Passed => {}
        other => return Err(format!("{} on the sound backend: {other:?}", case.name())),
    }
    match verdict(case, (fault.wrap)(Arc::clone(sound))) {
        Verdict::Failed(text) => Ok(text),
        other => Err(format!("{} does not notice: {other:?}", case.name())),
    }
}

fn verdict(case: &Case, backend: Arc<dyn Backend>) -> Verdict {
    let host: Arc<dyn Host> = Arc::new(Driven::new(backend));
    suite::run(case, &host, &Options { order: Order::Fifo, limit: Some(LIMIT) }).verdict
}
