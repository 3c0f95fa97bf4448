//! What trine knows of one runtime, for as long as that lives.
//!
//! There is one [`TokioHandle`] for each runtime that was met: trees compare handles by address. Each leaves a task in its
//! runtime that does nothing; tokio drops its tasks when it shuts down, before its drivers, and this is how the end is
//! heard of. The handle is then marked dead and forgotten here, so nothing is kept for longer than the runtime.
//!
//! Invariants:
//!
//! 1. while somebody has [`TokioHandle::alive`], the runtime's drivers are not shut down: tokio's timers panic otherwise;
//! 2. no foreign code runs under it.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle as RuntimeHandle, Id};
use tokio::task::coop;
use trine_backend::{Alarm, Handle, Job, Readiness, Source};

use crate::{alarm, jobs};

/// The runtimes that were met and live.
static MET: Mutex<Option<HashMap<Id, Arc<TokioHandle>>>> = Mutex::new(None);

/// The services of one runtime.
pub(crate) struct TokioHandle {
    runtime: RuntimeHandle,
    /// The runtime shuts down, or is about to.
    dead: RwLock<bool>,
    /// Found out at the first question.
    lacks: OnceLock<Lacks>,
    #[cfg(unix)]
    probe: OnceLock<Option<trine_backend::Probe>>,
}

/// Which drivers the runtime was built without.
#[derive(Clone, Copy, Debug)]
struct Lacks {
    timers: bool,
    io: bool,
}

/// Tells of the end of the runtime whose task it is in.
struct Sentinel(Arc<TokioHandle>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl TokioHandle {
    /// The handle of the runtime around the caller.
    pub(crate) fn current() -> Option<Arc<Self>> {
        RuntimeHandle::try_current().ok().map(Self::of)
    }

    /// The one handle of this runtime.
    pub(crate) fn of(runtime: RuntimeHandle) -> Arc<Self> {
        let id = runtime.id();
        if let Some(met) = met().as_ref().and_then(|all| all.get(&id)) {
            return Arc::clone(met);
        }
        let new = Arc::new(Self {
            runtime,
            dead: RwLock::new(false),
            lacks: OnceLock::new(),
            #[cfg(unix)]
            probe: OnceLock::new(),
        });
        let handle = Arc::clone(met().get_or_insert_default().entry(id).or_insert_with(|| Arc::clone(&new)));
        if Arc::ptr_eq(&handle, &new) {
            let sentinel = Sentinel(new);
            // Runtimes that are gone drop it at once.
            drop(handle.runtime.spawn(async move {
                let _sentinel = sentinel;
                pending::<()>().await;
            }));
        }
        handle
    }

    pub(crate) fn runtime(&self) -> &RuntimeHandle {
        &self.runtime
    }

    /// Marks the runtime as gone.
    pub(crate) fn end(&self) {
        *self.dead.write().unwrap_or_else(PoisonError::into_inner) = true;
        let forgotten = met().as_mut().and_then(|all| all.remove(&self.runtime.id()));
        drop(forgotten);
    }

    /// Keeps the runtime from shutting its drivers down; `None`: it is gone.
    pub(crate) fn alive(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        (!*dead).then_some(dead)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.alive().is_none()
    }

    /// Whether it was built with both timers and I/O.
    pub(crate) fn is_whole(&self) -> bool {
        let lacks = self.tried();
        !lacks.timers && !lacks.io
    }

    fn tried(&self) -> Lacks {
        *self.lacks.get_or_init(|| {
            let _inside = self.runtime.enter();
            Lacks {
                timers: catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_err(),
                io: catch_unwind(try_io).is_err(),
            }
        })
    }

    fn unsupported(&self, service: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the tokio runtime here was built without {service}: call `enable_all` on its builder, or add the \
                 feature `async-io` of trine"
            ),
        )
    }
}

/// Registers something; panics if the runtime around has no I/O.
fn try_io() {
    cfg_if::cfg_if! {
        if #[cfg(unix)] {
            // A failure to make the pair or to watch it says nothing about the runtime.
            if let Ok((a, _b)) = std::os::unix::net::UnixStream::pair() {
                let _ = crate::source::watch(&a);
            }
        } else {
            // Nothing can be watched here whatever the runtime has.
        }
    }
}

fn met() -> MutexGuard<'static, Option<HashMap<Id, Arc<TokioHandle>>>> {
    MET.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for TokioHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioHandle").field("runtime", &self.runtime.id()).finish_non_exhaustive()
    }
}

/// The services themselves, which are made of a counted handle.
impl Handle for TokioHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        if self.is_dead() {
            return Err(trine_backend::gone());
        }
        if self.tried().timers {
            return Err(self.unsupported("timers"));
        }
        Ok(Box::new(alarm::TokioAlarm::new(Self::of(self.runtime.clone()))))
    }

    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        if self.is_dead() {
            return Err(trine_backend::gone());
        }
        if self.tried().io {
            return Err(self.unsupported("I/O"));
        }
        cfg_if::cfg_if! {
            if #[cfg(unix)] {
                Ok(Box::new(crate::source::Registration::new(Self::of(self.runtime.clone()), source)?))
            } else {
                let _ = source;
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        if self.is_dead() { jobs::spawn_elsewhere(job) } else { jobs::spawn(&self.runtime, job) }
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        if self.is_dead() {
            return Poll::Ready(());
        }
        cfg_if::cfg_if! {
            if #[cfg(unix)] {
                match self.probe.get_or_init(|| trine_backend::Probe::new(self).ok()) {
                    Some(probe) => probe.poll(cx, round),
                    None => yield_twice(cx, round),
                }
            } else {
                yield_twice(cx, round)
            }
        }
    }

    fn has_budget(&self) -> bool {
        coop::has_budget_remaining()
    }
}

/// Where no probe can be made, or there is no I/O to look for: tokio looks at its driver between two polls of the future
/// that is blocked on, once for as many events as fit its buffer.
fn yield_twice(cx: &mut Context<'_>, round: u32) -> Poll<()> {
    if round >= 2 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
