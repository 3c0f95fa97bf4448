//! The loop of one thread: poll, look, park.
//!
//! 1. If the future was woken, poll it; every [`LOOK_EVERY`] polls look at events and alarms without sleeping.
//! 2. Else sleep until the next alarm, an event or a notification.
//! 3. Wake whom the events and alarms concern, and go to 1.
//!
//! The future is polled only if it was woken: an event that wakes nobody costs no poll.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use trine_backend::{Driver, Handle, wake_all};

use crate::shared::{NativeHandle, Shared};

/// How many polls of a busy future may go by until the loop looks at events. A root's takes a millisecond, or has a thousand polls of
/// tasks: a look after each fourth costs little and delays an event by little.
const LOOK_EVERY: u32 = 4;

thread_local! {
    /// The loop that is driven on this thread, as an address to compare with; null: none.
    static DRIVEN: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Whether this thread is inside a `drive`.
pub(crate) fn is_driving() -> bool {
    DRIVEN.try_with(|driven| !driven.get().is_null()).unwrap_or(false)
}

/// Whether this thread is inside a `drive` of this very loop.
pub(crate) fn is_driven_here(shared: &Shared) -> bool {
    DRIVEN.try_with(|driven| ptr::eq(driven.get(), shared)).unwrap_or(false)
}

/// Marks this thread as inside a `drive`.
struct Entered;

impl Entered {
    fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        DRIVEN.with(|driven| {
            if !driven.get().is_null() {
                return Err(io::Error::new(
                    io::ErrorKind::Deadlock,
                    "this thread is driving a native event loop already",
                ));
            }
            driven.set(Arc::as_ptr(shared));
            Ok(Self)
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        DRIVEN.with(|driven| driven.set(ptr::null()));
    }
}

/// The owner of a loop.
#[derive(Debug)]
pub(crate) struct NativeDriver {
    shared: Arc<Shared>,
    /// One for all who ask, so that they can compare theirs.
    handle: Arc<NativeHandle>,
    /// Whom to wake after a look; empty between looks.
    wakers: Vec<Waker>,
}

impl NativeDriver {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared::new()?);
        Ok(Self { handle: Arc::new(NativeHandle(Arc::clone(&shared))), shared, wakers: Vec::new() })
    }

    /// Delivers what is there without sleeping.
    fn look(&mut self) -> io::Result<()> {
        let result = self.shared.look(&mut self.wakers);
        if self.shared.alarms.next().is_some() {
            self.fire();
        }
        self.wake();
        result
    }

    /// Sleeps until there is something to deliver, and delivers it.
    fn sleep(&mut self) -> io::Result<()> {
        let next = self.shared.alarms.next();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let result = self.shared.sleep(timeout, &mut self.wakers);
        if next.is_some() {
            self.fire();
        }
        self.wake();
        result
    }

    fn fire(&mut self) {
        self.shared.alarms.fire(Instant::now(), &mut self.wakers);
    }

    fn wake(&mut self) {
        wake_all(self.wakers.drain(..));
    }
}

impl Driver for NativeDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, mut fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let _entered = Entered::new(&shared)?;
        let waker = Waker::from(Arc::clone(&shared));
        let mut cx = Context::from_waker(&waker);
        let mut polls: u32 = 0;
        shared.notify();
        loop {
            if shared.take_wake() {
                if fut.as_mut().poll(&mut cx).is_ready() {
                    return Ok(());
                }
                polls = polls.wrapping_add(1);
                if polls % LOOK_EVERY == 0 {
                    self.look()?;
                }
            } else {
                self.sleep()?;
                polls = 0; // that was a look
            }
        }
    }
}

impl Drop for NativeDriver {
    fn drop(&mut self) {
        self.shared.end();
    }
}
