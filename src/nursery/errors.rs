//! The errors of a nursery's tasks, until it ends.

use crate::cancel::region::strip;
use crate::error::TaskError;
use crate::sched::wakes::Wakes;
use crate::task::header::Header;
use std::cell::RefCell;
use std::ptr;

/// The errors of a nursery's tasks, in the order of their end.
#[derive(Debug)]
pub(crate) struct Errors<E>(RefCell<Vec<E>>);

impl<E> Errors<E> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Any number of plain cancellations count as one.
    fn push(&self, e: E)
    where
        E: TaskError,
    {
        let mut errors = self.0.borrow_mut();
        if e.is_cancelled() && errors.last().is_some_and(TaskError::is_cancelled) {
            drop(errors);
            drop(e);
            return;
        }
        errors.push(e);
    }

    /// Is there nothing, and no room for it?
    pub(crate) fn is_unused(&self) -> bool {
        let errors = self.0.borrow();
        // One of errors without a size says that it has room for any number.
        errors.is_empty() && (size_of::<E>() == 0 || errors.capacity() == 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<E> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

/// Hands the error of a task to its nursery, as far as its own scope and that of the children let it pass, and cancels
/// the nursery. Runs what the error's type does to be taken apart or dropped.
///
/// # Safety
/// The task's nursery has errors of type `E`, and is held by this thread.
#[inline(always)]
pub(crate) unsafe fn store_error<E: TaskError>(h: &Header, e: E) -> Wakes {
    // SAFETY: by contract.
    let core = unsafe { h.core_around() };
    let mut error = Some(e);
    for node in [&h.node, &core.group] {
        if (ptr::eq(node, &h.node) || h.vtable.get().in_group) && node.is_called() && !node.parent_is_effective() {
            // Most often there is nothing else in it.
            error = error.filter(|e| !e.is_cancelled()).and_then(|e| strip(e).0);
        }
    }
    let Some(e) = error else { return Wakes::none() };
    // SAFETY: by contract.
    let errors = unsafe { &*core.typed.get().cast::<Errors<E>>() };
    errors.push(e);
    core.fail()
}
