//! Runs trine on [async-io](async_io): one reactor for the whole process, with a thread of its own for when nobody else
//! drives it. So its services work under every executor.
//!
//! | file | what is in it |
//! |---|---|
//! | `alarm` | one [`async_io::Timer`], lasting once it has fired |
//! | `source` | one [`async_io::Async`], its events made into lasting readiness |
//!
//! # What the reactor decides
//!
//! - It outlives every driver, so what a driver gave out goes on working after it: nothing is ever "gone" here, and what
//!   law [L30] asks for then does not come up.
//! - A registration watches a duplicate of the descriptor, since the reactor wants to own what it watches: each
//!   registered source costs a second descriptor. A second registration of a source is independent of the first
//!   ([L24]).
//! - Interest is armed for one event at a time, and a lasting state (data that was left, a hang-up) is reported anew after
//!   each clear. So no [tick](trine_backend::Tick) is marked as a hang-up.
//! - Wakers run while the thread that looked for events still has the reactor to itself. A wake that waits for *another*
//!   event would wait until that thread is through; it may register, poll, set and drop what it likes ([L31]).
//!
//! [L24]: trine_backend::laws::L24
//! [L30]: trine_backend::laws::L30
//! [L31]: trine_backend::laws::L31
#![forbid(unsafe_code)]

mod alarm;
mod source;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use trine_backend::{Alarm, Backend, Driver, Handle, Job, Readiness, Source};

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
        Ok(Box::new(ReactorDriver))
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        Some(handle())
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
struct ReactorDriver;

impl Driver for ReactorDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        handle()
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let _driving = Driving::enter()?;
        async_io::block_on(fut);
        Ok(())
    }
}

/// The one handle: there is one reactor.
fn handle() -> Arc<dyn Handle> {
    static HANDLE: OnceLock<Arc<ReactorHandle>> = OnceLock::new();
    Arc::clone(HANDLE.get_or_init(Arc::default)) as Arc<dyn Handle>
}

/// The services of the reactor.
#[derive(Debug, Default)]
struct ReactorHandle {
    #[cfg(unix)]
    probe: OnceLock<Option<trine_backend::Probe>>,
}

impl Handle for ReactorHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        Ok(Box::new(alarm::ReactorAlarm::new()))
    }

    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        Ok(Box::new(source::Registration::new(source)?))
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        blocking::unblock(job).detach();
        Ok(())
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
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
