//! Where a future may be driven: on a thread that is not inside of the same host already.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::{Host, HostHandle};
use crate::{Driver, Handle, gone};

thread_local! {
    /// The backends whose `drive` this thread is inside of, the innermost last. Never borrowed across foreign code.
    static DRIVEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// On which threads a backend must not block: those that it drives already, and those of which its host says so.
///
/// # Examples
///
/// ```
/// use trine_backend::adapter::Nesting;
///
/// static NESTING: Nesting = Nesting::new("mine", "this thread is driving already: await the future there instead");
///
/// let driving = NESTING.enter()?;
/// assert!(NESTING.hint().is_some());
/// assert_eq!(NESTING.enter().unwrap_err().kind(), std::io::ErrorKind::Deadlock);
/// drop(driving);
/// assert!(NESTING.hint().is_none());
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Nesting {
    backend: &'static str,
    hint: &'static str,
    is_around: fn() -> bool,
}

impl Nesting {
    /// Of the backend of this name; `hint` says what to do instead.
    pub const fn new(backend: &'static str, hint: &'static str) -> Self {
        Self { backend, hint, is_around: || false }
    }

    /// Counts a thread of which `is_around` says so as well, whoever drives it.
    #[must_use]
    pub const fn or_where(self, is_around: fn() -> bool) -> Self {
        Self { is_around, ..self }
    }

    /// Returns the hint if this thread must not be blocked: as [`Backend::nested_hint`](crate::Backend::nested_hint).
    pub fn hint(&self) -> Option<&'static str> {
        let is_driven = DRIVEN.try_with(|driven| driven.borrow().contains(&self.backend));
        (is_driven.unwrap_or(false) || (self.is_around)()).then_some(self.hint)
    }

    /// Marks this thread as inside of a [`drive`](Driver::drive).
    ///
    /// # Errors
    ///
    /// `Deadlock` with the hint: it must not be blocked.
    pub fn enter(&self) -> io::Result<Driving> {
        if self.hint().is_some() {
            return Err(self.refusal());
        }
        // A thread that is about to end has no mark to set any more, nor anything that it drives.
        let _ = DRIVEN.try_with(|driven| driven.borrow_mut().push(self.backend));
        Ok(Driving { backend: self.backend })
    }

    fn refusal(&self) -> io::Error {
        io::Error::new(io::ErrorKind::Deadlock, self.hint)
    }

    /// Blocks on `fut` by the function of a host that refuses by a panic, which happens before the future is polled; a
    /// panic of the future's own goes on.
    fn block_on(
        &self,
        mut fut: Pin<&mut dyn Future<Output = ()>>,
        block_on: impl FnOnce(Pin<&mut dyn Future<Output = ()>>),
    ) -> io::Result<()> {
        let _driving = self.enter()?;
        let polled = Cell::new(false);
        let mut watched = pin!(poll_fn(|cx| {
            polled.set(true);
            fut.as_mut().poll(cx)
        }));
        match catch_unwind(AssertUnwindSafe(|| block_on(watched.as_mut()))) {
            Ok(()) => Ok(()),
            Err(_) if !polled.get() => Err(self.refusal()),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Marks this thread as inside of a [`drive`](Driver::drive) until it is dropped, also by a panic.
#[derive(Debug)]
#[must_use = "the mark goes with it"]
pub struct Driving {
    backend: &'static str,
}

impl Drop for Driving {
    fn drop(&mut self) {
        let _ = DRIVEN.try_with(|driven| {
            let mut driven = driven.borrow_mut();
            let mine = driven.iter().rposition(|&backend| backend == self.backend);
            mine.map(|mine| driven.swap_remove(mine));
        });
    }
}

/// How a host blocks a thread on a future. It may refuse by a panic, before it polls the future: that is the hint of
/// the [`Nesting`], and the panic hook has reported the host's.
pub type BlockOn<T> = fn(&mut T, Pin<&mut dyn Future<Output = ()>>);

/// The [`Driver`] of a [`Host`] that can block a thread.
pub struct HostDriver<H: Host, T> {
    handle: Arc<HostHandle<H>>,
    nesting: &'static Nesting,
    /// What is blocked on. Taken when dropped.
    on: Option<T>,
    block_on: BlockOn<T>,
    /// Of the owner.
    shut_down: Option<fn(T)>,
}

impl<H: Host, T: Send + 'static> HostDriver<H, T> {
    /// Makes the driver of a loop that others own: it blocks on `on`, by this function.
    ///
    /// # Errors
    ///
    /// The loop is gone.
    pub fn new(
        handle: Arc<HostHandle<H>>,
        nesting: &'static Nesting,
        on: T,
        block_on: BlockOn<T>,
    ) -> io::Result<Box<Self>> {
        let driver = Self { handle, nesting, on: Some(on), block_on, shut_down: None };
        if driver.handle.is_dead() { Err(gone()) } else { Ok(Box::new(driver)) }
    }

    /// Makes it the owner: its drop [ends](HostHandle::end) the loop, and then shuts down what it blocked on. The latter
    /// must wait for nothing, and may happen on any thread.
    #[must_use]
    pub fn owning(mut self: Box<Self>, shut_down: fn(T)) -> Box<Self> {
        self.shut_down = Some(shut_down);
        self
    }
}

impl<H: Host, T> Debug for HostDriver<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_owner = self.shut_down.is_some();
        f.debug_struct("HostDriver").field("handle", &self.handle).field("is_owner", &is_owner).finish_non_exhaustive()
    }
}

impl<H: Host, T: Send + 'static> Driver for HostDriver<H, T> {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        let Some(on) = &mut self.on else { return Err(gone()) };
        self.nesting.block_on(fut, |fut| (self.block_on)(on, fut))
    }
}

impl<H: Host, T> Drop for HostDriver<H, T> {
    fn drop(&mut self) {
        if let (Some(on), Some(shut_down)) = (self.on.take(), self.shut_down) {
            self.handle.end();
            shut_down(on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::support::Nothing;
    use super::*;
    use std::future::{pending, ready};
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Waker};

    static NESTING: Nesting = Nesting::new("mine", "why");
    static OTHER: Nesting = Nesting::new("another", "why");

    fn poll_once(fut: Pin<&mut dyn Future<Output = ()>>) {
        let _ = fut.poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn l6_a_marked_thread_is_refused_and_another_is_not() {
        let _driving = NESTING.enter().unwrap();
        assert_eq!((NESTING.enter().unwrap_err().to_string(), NESTING.hint()), ("why".into(), Some("why")));
        std::thread::spawn(|| drop(NESTING.enter().unwrap())).join().unwrap();
    }

    #[test]
    fn l6_a_mark_belongs_to_one_backend_whatever_goes_first() {
        let (mine, other) = (NESTING.enter().unwrap(), OTHER.enter().unwrap());
        drop(mine);
        assert_eq!((NESTING.hint(), OTHER.hint()), (None, Some("why")));
        drop(other);
        assert_eq!(OTHER.hint(), None);
    }

    #[test]
    fn l6_a_thread_of_which_the_host_says_so_is_refused() {
        let nesting = NESTING.or_where(|| true);
        assert_eq!((nesting.hint(), nesting.enter().is_err()), (Some("why"), true));
    }

    #[test]
    fn l7_a_panic_takes_the_mark_back() {
        let panicked = catch_unwind(|| {
            let _driving = NESTING.enter().unwrap();
            resume_unwind(Box::new("out"));
        });
        assert!(panicked.is_err() && NESTING.hint().is_none());
    }

    #[test]
    fn a_panic_of_the_host_before_the_first_poll_is_a_refusal() {
        let refused = NESTING.block_on(pin!(pending()), |_| resume_unwind(Box::new("no")));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Deadlock);
        NESTING.block_on(pin!(ready(())), poll_once).unwrap();
    }

    #[test]
    fn a_panic_of_the_future_goes_on() {
        let fut = pin!(async { resume_unwind(Box::new("mine")) });
        let panic = catch_unwind(AssertUnwindSafe(|| NESTING.block_on(fut, poll_once))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"mine"));
    }

    #[test]
    fn l30_an_owner_ends_its_loop_before_it_shuts_it_down_and_a_guest_does_neither() {
        type On = (Arc<HostHandle<Nothing>>, Sender<bool>);
        let ((tx, rx), handle) = (channel(), HostHandle::new(Nothing));
        let driver = || {
            let on: On = (Arc::clone(&handle), tx.clone());
            HostDriver::new(Arc::clone(&handle), &NESTING, on, |_, fut| poll_once(fut))
        };
        let mut guest = driver().unwrap();
        guest.drive(pin!(ready(()))).unwrap();
        drop(guest);
        assert!(!handle.is_dead());
        drop(driver().unwrap().owning(|(handle, tx)| tx.send(handle.is_dead()).unwrap()));
        assert_eq!((rx.try_recv(), handle.is_dead()), (Ok(true), true));
        assert!(driver().is_err() && rx.try_recv().is_err());
    }
}
