//! Where a future may be driven: on a thread that is not driving already.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::thread::LocalKey;

/// Marks this thread as inside a [`drive`](crate::Driver::drive) until it is dropped, also by a panic.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use trine_backend::adapter::{Driving, is_driving};
///
/// thread_local! {
///     static DRIVING: Cell<bool> = const { Cell::new(false) };
/// }
///
/// let driving = Driving::enter(&DRIVING, "this thread is driving already")?;
/// assert!(is_driving(&DRIVING));
/// assert!(Driving::enter(&DRIVING, "this thread is driving already").is_err());
/// drop(driving);
/// assert!(!is_driving(&DRIVING));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the mark goes with it"]
pub struct Driving {
    mark: &'static LocalKey<Cell<bool>>,
}

impl Driving {
    /// Marks this thread; the mark belongs to one backend.
    ///
    /// # Errors
    ///
    /// It is marked already: the [`refusal`] with this text.
    pub fn enter(mark: &'static LocalKey<Cell<bool>>, why: &'static str) -> io::Result<Self> {
        if mark.replace(true) {
            return Err(refusal(why));
        }
        Ok(Self { mark })
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.mark.set(false);
    }
}

/// Returns whether this thread is marked.
pub fn is_driving(mark: &'static LocalKey<Cell<bool>>) -> bool {
    mark.try_with(Cell::get).unwrap_or(false)
}

/// Returns the error of a thread that must not be blocked.
pub fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Deadlock, why)
}

/// Blocks on `fut` by the function of a host that refuses by a panic, which happens before the future is polled; a
/// panic of the future's own goes on.
///
/// # Errors
///
/// The host has refused: the [`refusal`] with this text. The panic hook has reported the host's.
pub fn unless_refused(
    why: &'static str,
    mut fut: Pin<&mut dyn Future<Output = ()>>,
    block_on: impl FnOnce(Pin<&mut dyn Future<Output = ()>>),
) -> io::Result<()> {
    let polled = Cell::new(false);
    let mut watched = pin!(poll_fn(|cx| {
        polled.set(true);
        fut.as_mut().poll(cx)
    }));
    match catch_unwind(AssertUnwindSafe(|| block_on(watched.as_mut()))) {
        Ok(()) => Ok(()),
        Err(_) if !polled.get() => Err(refusal(why)),
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    thread_local! {
        static MARK: Cell<bool> = const { Cell::new(false) };
    }

    fn poll_once(fut: Pin<&mut dyn Future<Output = ()>>) {
        let _ = fut.poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn l6_a_marked_thread_is_refused_and_another_is_not() {
        let _driving = Driving::enter(&MARK, "first").unwrap();
        assert_eq!(Driving::enter(&MARK, "why").unwrap_err().to_string(), "why");
        assert!(is_driving(&MARK));
        std::thread::spawn(|| drop(Driving::enter(&MARK, "second").unwrap())).join().unwrap();
    }

    #[test]
    fn l7_a_panic_takes_the_mark_back() {
        let panicked = catch_unwind(|| {
            let _driving = Driving::enter(&MARK, "first").unwrap();
            resume_unwind(Box::new("out"));
        });
        assert!(panicked.is_err() && !is_driving(&MARK));
    }

    #[test]
    fn a_panic_of_the_host_before_the_first_poll_is_a_refusal() {
        let refused = unless_refused("why", pin!(pending()), |_| resume_unwind(Box::new("no")));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Deadlock);
        unless_refused("why", pin!(ready(())), poll_once).unwrap();
    }

    #[test]
    fn a_panic_of_the_future_goes_on() {
        let fut = pin!(async { resume_unwind(Box::new("mine")) });
        let panic = catch_unwind(AssertUnwindSafe(|| unless_refused("why", fut, poll_once))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"mine"));
    }
}
