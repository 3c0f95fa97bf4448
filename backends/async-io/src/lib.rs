//! Runs trine on [async-io](mod@async_io): one reactor for the whole process, with a thread of its own for when nobody else
//! drives it. So its services work under every executor.
//!
//! | file | what is in it |
//! |---|---|
//! | `alarm` | one [`async_io::Timer`], lasting once it has fired |
//! | `life` | the end of a driver, though the reactor goes on |
//! | `source` | one [`async_io::Async`], which wakes; the system is asked what is ready |
//!
//! # What the reactor decides
//!
//! - A registration watches a duplicate of the descriptor, since the reactor wants to own what it watches: each
//!   registered source costs a second descriptor. A second registration of a source is independent of the first
//!   ([L24]).
//! - A lasting state (data that was left, a hang-up) is reported anew after each clear. So no
//!   [tick](trine_backend::Tick) is marked as a hang-up.
//! - Wakers run while the thread that looked for events still has the reactor to itself. A wake that waits for *another*
//!   event would wait until that thread is through; it may register, poll, set and drop what it likes ([L31]).
//!
//! [L24]: trine_backend::laws::L24
//! [L31]: trine_backend::laws::L31
#![forbid(unsafe_code)]

mod alarm;
mod life;
mod source;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use trine_backend::{Alarm, Backend, Driver, Handle, Job, Readiness, Source};

use crate::life::Life;

/// Names async-io's reactor.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsyncIo;

/// Returns the async-io backend.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
///
/// let mut driver = trine_async_io::async_io().driver()?;
/// let mut answer = 0;
/// driver.drive(pin!(async { answer = 42 }))?;
/// assert_eq!(answer, 42);
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn async_io() -> Arc<dyn Backend> {
    Arc::new(AsyncIo)
}

impl Backend for AsyncIo {
    fn name(&self) -> &'static str {
        "async-io"
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        let handle = ReactorHandle { life: Some(Arc::default()), ..ReactorHandle::default() };
        Ok(Box::new(ReactorDriver { handle: Arc::new(handle) }))
    }

    /// The reactor, which its own thread drives if nobody else does.
    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        static AMBIENT: OnceLock<Arc<ReactorHandle>> = OnceLock::new();
        Some(Arc::clone(AMBIENT.get_or_init(Arc::default)) as Arc<dyn Handle>)
    }

    fn nested_hint(&self) -> Option<&'static str> {
        DRIVING.try_with(Cell::get).unwrap_or(false).then_some(
            "this thread is inside a run of the async-io backend already; await the future there instead of running it",
        )
    }
}

thread_local! {
    /// This thread is inside a `drive`.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as inside a `drive`.
struct Driving;

impl Driving {
    fn enter() -> io::Result<Self> {
        if DRIVING.replace(true) {
            return Err(io::Error::new(io::ErrorKind::Deadlock, "this thread is driving async-io already"));
        }
        Ok(Self)
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.set(false);
    }
}

/// Drives the process's reactor, on whichever thread.
#[derive(Debug)]
struct ReactorDriver {
    handle: Arc<ReactorHandle>,
}

impl Driver for ReactorDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let _driving = Driving::enter()?;
        async_io::block_on(fut);
        Ok(())
    }
}

impl Drop for ReactorDriver {
    fn drop(&mut self) {
        if let Some(life) = &self.handle.life {
            life.end();
        }
    }
}

/// The services of the reactor: for a driver, or for hosted trees.
#[derive(Debug, Default)]
struct ReactorHandle {
    /// The driver's; `None`: there is none.
    life: Option<Arc<Life>>,
    #[cfg(unix)]
    probe: OnceLock<Option<trine_backend::Probe>>,
}

impl Handle for ReactorHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        Ok(Box::new(alarm::ReactorAlarm::new(self.life.as_ref())?))
    }

    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        Ok(Box::new(source::Registration::new(self.life.as_ref(), source)?))
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        blocking::unblock(job).detach();
        Ok(())
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        if self.life.as_ref().is_some_and(|life| life.has_ended()) {
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
}

/// Where no probe can be made: each return to a driver makes it look once, for as many events as fit its buffer.
fn yield_twice(cx: &mut Context<'_>, round: u32) -> Poll<()> {
    if round >= 2 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
