//! What trine knows of one runtime, for as long as that lives.
//!
//! There is one [`TokioHandle`] for each runtime that was met: trees compare handles by address. Each leaves a task in
//! its runtime that does nothing; tokio drops its tasks when it shuts down, before its drivers, and this is how the end
//! is heard of. That task alone keeps the handle, so nothing is kept for longer than the runtime.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, OnceLock};

use tokio::runtime::{Handle as RuntimeHandle, Id};
use tokio::task::coop::has_budget_remaining;
use trine_backend::Source;
use trine_backend::adapter::{Host, HostHandle, Registry, SureJob};

use crate::budget;
use crate::timer::SleepTimer;

#[cfg(unix)]
use crate::source::Watched;
#[cfg(not(unix))]
use std::convert::Infallible as Watched;

/// The services of one runtime.
pub(crate) type TokioHandle = HostHandle<TokioHost>;

/// The runtimes that were met and live.
static MET: LazyLock<Registry<Id, TokioHandle>> = LazyLock::new(Registry::default);

/// Which services a runtime may have been built without.
const TIMERS: &str = "timers";
const IO: &str = "I/O";
/// What helps then.
const FIX: &str = "call `enable_all` on its builder, or add the feature `async-io` of trine";

/// The runtime as the host.
#[derive(Debug)]
pub(crate) struct TokioHost {
    pub(crate) runtime: RuntimeHandle,
    /// Found out at the first question.
    lacks: OnceLock<Vec<&'static str>>,
}

/// The one handle of this runtime.
pub(crate) fn handle_of(runtime: RuntimeHandle) -> Arc<TokioHandle> {
    let host = || HostHandle::new(TokioHost { runtime: runtime.clone(), lacks: OnceLock::new() });
    let (handle, is_new) = MET.get_or_make(runtime.id(), host);
    if is_new {
        // Runtimes that are gone drop it at once.
        drop(runtime.spawn(handle.sentinel()));
    }
    handle
}

impl TokioHost {
    /// The services that it was built without.
    pub(crate) fn lacks(&self) -> &[&'static str] {
        self.lacks.get_or_init(|| {
            let _inside = self.runtime.enter();
            let tried = [(TIMERS, catch_unwind(|| drop(SleepTimer::new()))), (IO, catch_unwind(try_io))];
            tried.into_iter().filter(|(_, tried)| tried.is_err()).map(|(service, _)| service).collect()
        })
    }

    fn needs(&self, service: &str) -> io::Result<()> {
        let why = || format!("the tokio runtime here was built without {service}: {FIX}");
        let has = !self.lacks().contains(&service);
        has.then_some(()).ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, why()))
    }
}

/// Registers something; panics if the runtime around has no I/O. On Windows nothing can be watched whatever it has.
fn try_io() {
    // A failure to make the pair or to watch it says nothing about the runtime.
    #[cfg(unix)]
    if let Ok((a, _b)) = std::os::unix::net::UnixStream::pair() {
        let _ = Watched::new(&a);
    }
}

impl Host for TokioHost {
    type Timer = SleepTimer;
    type Source = Watched;

    fn timer(&self) -> io::Result<SleepTimer> {
        self.needs(TIMERS)?;
        let _inside = self.runtime.enter();
        Ok(SleepTimer::new())
    }

    fn watch(&self, source: Source<'_>) -> io::Result<Watched> {
        self.needs(IO)?;
        let _inside = self.runtime.enter();
        #[cfg(unix)]
        return Watched::new(&source);
        #[cfg(not(unix))]
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("tokio cannot watch {source:?}")))
    }

    /// A runtime has one driver, whichever of its threads a source is used on.
    fn registers_early(&self) -> bool {
        true
    }

    fn spawn_blocking(&self, job: SureJob) {
        // tokio panics if the pool has no thread and cannot start one; the job is then queued or dropped, and run in
        // the end.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.runtime.spawn_blocking(move || job.run()))));
    }

    fn has_budget(&self) -> bool {
        has_budget_remaining() || budget::renew()
    }

    fn begin_turn(&self) {
        budget::begin_turn();
    }

    fn end_turn(&self) {
        budget::end_turn();
    }
}
