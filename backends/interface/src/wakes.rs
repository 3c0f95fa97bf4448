//! Many wakers at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Wakes all of them, in order, also if one panics: the others are woken before the panic goes on.
///
/// A loop takes the wakers that an event concerns out of its tables, so whoever it did not wake would wait for ever.
///
/// # Panics
///
/// If a waker does. Of several panics the first goes on.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    each(wakers, Waker::wake);
}

/// As [`wake_all`], for whatever is woken by `wake`.
#[inline]
pub(crate) fn each<I: IntoIterator>(items: I, wake: fn(I::Item)) {
    /// What has not been woken.
    struct Rest<I: Iterator>(I, fn(I::Item));
    impl<I: Iterator> Drop for Rest<I> {
        fn drop(&mut self) {
            for item in self.0.by_ref() {
                // A second panic while the first unwinds would end the process.
                let _ = catch_unwind(AssertUnwindSafe(|| self.1(item)));
            }
        }
    }
    let mut rest = Rest(items.into_iter(), wake);
    for item in rest.0.by_ref() {
        wake(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    /// Counts its wakes, and panics with its text if it has one.
    struct Fragile(AtomicUsize, Option<&'static str>);

    impl Wake for Fragile {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            if let Some(text) = self.1 {
                panic!("{text}");
            }
        }
    }

    fn fragile() -> [Arc<Fragile>; 5] {
        [None, Some("first"), None, Some("second"), None].map(|text| Arc::new(Fragile(AtomicUsize::new(0), text)))
    }

    #[test]
    fn all_are_woken_though_some_panic_and_the_first_panic_goes_on() {
        let wakes = fragile();
        let wakers = wakes.each_ref().map(|wake| Waker::from(Arc::clone(wake)));
        let panic = catch_unwind(|| wake_all(wakers)).unwrap_err();
        assert_eq!(*panic.downcast::<String>().unwrap(), "first");
        assert_eq!(wakes.map(|wake| wake.0.load(Ordering::SeqCst)), [1; 5]);
    }

    #[test]
    fn a_vector_that_is_drained_can_be_filled_again() {
        let wakes = fragile();
        let wakers = Mutex::new(wakes.each_ref().map(|wake| Waker::from(Arc::clone(wake))).to_vec());
        assert!(catch_unwind(|| wake_all(wakers.lock().unwrap().drain(..))).is_err());
        assert!(wakers.into_inner().unwrap_err().into_inner().is_empty());
        assert_eq!(wakes.map(|wake| wake.0.load(Ordering::SeqCst)), [1; 5]);
    }
}
