//! What the driver, its handles and its wakers share.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use trine_backend::{Alarm, Handle, Job, Readiness, wake_all};

use crate::alarms::{Alarms, NativeAlarm};
use crate::notify::Notify;
use crate::sources::{self, Registration, Sources};
use crate::{driver, pool};

/// How many events the system is asked for at once. A sleep ends with the first of these batches, and their tasks run
/// before the next: what an event has brought into the caches, from the kernel's socket to the task, is there still.
const EVENTS: usize = 64;
/// How many full batches in a row are taken among busy tasks, which run for long before the next look.
const BATCHES_OF_LOOK: usize = 16;
/// How many at most by a turn, which is to find all that is there.
const BATCHES_OF_TURN: usize = 1024;

/// One loop: its services, and the waker of the future it drives.
#[derive(Debug)]
pub(crate) struct Shared {
    /// A wake on the loop's own thread. Written there only, so it needs no read-modify-write.
    woken: AtomicBool,
    /// Wakes from other threads.
    notify: Notify,
    /// Ends the sleep of the loop.
    unpark: mio::Waker,
    /// Registers sources while the reactor sleeps.
    pub(crate) registry: mio::Registry,
    /// Locked while the loop sleeps, free while it polls.
    reactor: Mutex<Reactor>,
    pub(crate) sources: Sources,
    pub(crate) alarms: Alarms,
}

#[derive(Debug)]
struct Reactor {
    poll: mio::Poll,
    events: mio::Events,
}

impl Shared {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        Ok(Self {
            woken: AtomicBool::new(false),
            notify: Notify::new(),
            unpark: mio::Waker::new(poll.registry(), sources::WAKER)?,
            registry: poll.registry().try_clone()?,
            reactor: Mutex::new(Reactor { poll, events: mio::Events::with_capacity(EVENTS) }),
            sources: Sources::default(),
            alarms: Alarms::default(),
        })
    }

    /// Asks for another poll. Any thread.
    pub(crate) fn notify(&self) {
        if driver::is_driven_here(self) {
            self.woken.store(true, Ordering::Relaxed);
        } else if self.notify.notify() {
            self.unpark();
        }
    }

    /// Makes the loop look at its alarms anew, if this is not its own thread (where it does that before it sleeps).
    pub(crate) fn nudge(&self) {
        if !driver::is_driven_here(self) && self.notify.notify() {
            self.unpark();
        }
    }

    fn unpark(&self) {
        let result = self.unpark.wake();
        // A full counter is handled by mio; nothing else can fail on a descriptor of our own.
        debug_assert!(result.is_ok(), "the loop could not be woken: {result:?}");
    }

    /// Takes the wakes that came since the last poll. Loop only.
    pub(crate) fn take_wake(&self) -> bool {
        let here = self.woken.load(Ordering::Relaxed);
        if here {
            self.woken.store(false, Ordering::Relaxed);
        }
        self.notify.take() || here
    }

    /// Sleeps until there is an event, a notification or a due alarm; hands the events to their sources. Loop only.
    pub(crate) fn sleep(&self, timeout: Option<Duration>, wakers: &mut Vec<Waker>) -> io::Result<()> {
        if !self.notify.park() {
            return Ok(());
        }
        let result = lock(&self.reactor).look(1, timeout, &self.sources, wakers);
        if self.notify.unpark() {
            self.woken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Hands the events that are there to their sources. Loop only.
    pub(crate) fn look(&self, wakers: &mut Vec<Waker>) -> io::Result<()> {
        lock(&self.reactor).look(BATCHES_OF_LOOK, Some(Duration::ZERO), &self.sources, wakers)
    }

    /// Tells everyone that the loop is gone.
    pub(crate) fn end(&self) {
        let mut wakers = Vec::new();
        self.sources.end(&mut wakers);
        self.alarms.end(&mut wakers);
        wake_all(wakers);
    }
}

impl Reactor {
    /// Waits for the first event as long as `timeout` says, then takes those that are there, as far as they fit into so
    /// many `batches`.
    ///
    /// mio rounds the timeout up to what the system can wait for, so an alarm is never looked at in vain; should a
    /// sleep end early nevertheless, the alarm just has not fired and the loop sleeps again.
    fn look(
        &mut self,
        batches: usize,
        mut timeout: Option<Duration>,
        sources: &Sources,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<()> {
        for batch in 0..batches {
            match self.poll.poll(&mut self.events, timeout) {
                Ok(()) => {}
                // A signal: the loop looks around and sleeps again.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error),
            }
            let is_first = batch == 0;
            let news = sources.deliver(&self.events, is_first, self.poll.registry(), wakers);
            if !news || self.events.iter().count() < EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// The services of one loop, as a value.
#[derive(Debug)]
pub(crate) struct NativeHandle(pub(crate) Arc<Shared>);

impl Handle for NativeHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        match NativeAlarm::new(Arc::clone(&self.0)) {
            Some(alarm) => Ok(Box::new(alarm)),
            None => Err(trine_backend::gone()),
        }
    }

    fn register(&self, source: trine_backend::Source<'_>) -> io::Result<Box<dyn Readiness>> {
        Ok(Box::new(Registration::new(Arc::clone(&self.0), source)?))
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        pool::spawn(job)
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        let mut wakers = Vec::new();
        match self.0.reactor.try_lock() {
            // Within a poll of the loop the reactor is free: look at once. An error will meet the loop again.
            Ok(mut reactor) => {
                let _ = reactor.look(BATCHES_OF_TURN, Some(Duration::ZERO), &self.0.sources, &mut wakers);
            }
            // Another thread asks while the loop itself looks: let it finish.
            Err(TryLockError::WouldBlock) if round == 0 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
        wake_all(wakers);
        Poll::Ready(())
    }
}

/// Locks; nothing foreign runs with one of our locks held, so a poisoned one holds a consistent value.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
