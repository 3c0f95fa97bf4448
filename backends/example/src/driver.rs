//! The loop of one thread.
//!
//! 1. If the future was woken, poll it.
//! 2. Look at descriptors and alarms: without sleeping if it was woken again meanwhile (law 5), else until there is
//!    something to tell (law 4). Go to 1.

use crate::handle::PollHandle;
use crate::table::Table;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use trine_backend::adapter::Nesting;
use trine_backend::{Driver, Handle};

/// Knows whether this thread is inside a `drive`. The tools for adapters do the rest of laws 6 and 7: the outer loop
/// goes on, and a panic takes the mark back.
pub(crate) static NESTING: Nesting =
    Nesting::new("example", "this thread is driving already: await the future there instead");

/// What the future is polled with: sticky, and good from any thread and for ever (laws 2 and 3).
struct Woken {
    woken: AtomicBool,
    table: Arc<Table>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.table.interrupt();
    }
}

#[derive(Debug)]
pub(crate) struct PollDriver {
    /// The same one for all who ask.
    handle: Arc<PollHandle>,
}

impl PollDriver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { handle: Arc::new(PollHandle(Arc::new(Table::new()?))) })
    }
}

impl Driver for PollDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, mut fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let _driving = NESTING.enter()?;
        let table = &self.handle.0;
        let woken = Arc::new(Woken { woken: AtomicBool::new(true), table: Arc::clone(table) });
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            if woken.woken.swap(false, Ordering::SeqCst)
                && fut.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
            {
                return Ok(());
            }
            // A wake that comes from here on interrupts the look.
            table.look(!woken.woken.load(Ordering::SeqCst))?;
        }
    }
}

impl Drop for PollDriver {
    /// Law 30.
    fn drop(&mut self) {
        self.handle.0.end();
    }
}
