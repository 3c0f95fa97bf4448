//! Children in their slots: `{header | future}`.

use super::core::CoreSlot;
use super::errors::store_error;
use crate::error::TaskError;
use crate::sched::pool;
use crate::sched::root::Root;
use crate::sched::wakes::Wakes;
use crate::task::header::{Header, VTable};
use crate::task::park;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

/// A task slot with its future.
#[repr(C)]
struct TaskCell<F> {
    header: Header,
    fut: ManuallyDrop<F>,
}

/// Does the future stand in the slot itself?
const fn fits<F>() -> bool {
    size_of::<TaskCell<F>>() <= pool::MAX_SLOT && align_of::<F>() <= pool::ALIGN
}

/// Is it as small as a pointer, and has it an invalid value, as a pointer has? A block of code has none. (A guess that is wrong costs
/// time.)
const fn is_pointer_like<F>() -> bool {
    size_of::<F>() <= size_of::<Pin<Box<dyn Future<Output = ()>>>>() && size_of::<Option<F>>() == size_of::<F>()
}

struct Child<F, E, const IS_CHILD: bool>(PhantomData<(F, E)>);

impl<F: Future<Output = Result<(), E>>, E: TaskError, const IS_CHILD: bool> Child<F, E, IS_CHILD> {
    const VTABLE: &'static VTable = &{
        let vtable = VTable::new::<E>(Self::poll, abandon::<E>, Self::drop, pool::task_class(size_of::<TaskCell<F>>()))
            .in_group(IS_CHILD);
        if Self::JUMPS && std::mem::needs_drop::<F>() { vtable } else { vtable.dropping() }
    };

    /// The poll is a jump to the future's own, which is behind a pointer: it returns the same. What is left then is dropped by
    /// the nursery, unless there is nothing to drop.
    const JUMPS: bool = is_pointer_like::<F>();

    #[inline(always)]
    unsafe fn fut(h: *const Header) -> *mut F {
        // SAFETY: the header is the head of such a cell; the future is used by one thread, in its poll or drop.
        unsafe { &raw mut (*h.cast::<TaskCell<F>>().cast_mut()).fut }.cast()
    }

    /// A future that is not behind a pointer is dropped here, where that is often nothing.
    unsafe fn poll(h: *const Header, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        // SAFETY: pinned: slots do not move.
        let fut = unsafe { Pin::new_unchecked(&mut *Self::fut(h)) };
        if const { Self::JUMPS } {
            return fut.poll(cx);
        }
        let polled = fut.poll(cx);
        if let Poll::Ready(Ok(())) = polled {
            // SAFETY: dropped once, as `gone` says.
            unsafe {
                if const { std::mem::needs_drop::<F>() } {
                    (*h).drop_in_poll(|| ptr::drop_in_place(Self::fut(h)));
                }
            }
        }
        polled
    }

    unsafe fn drop(h: *const Header) {
        // SAFETY: called once.
        unsafe { ptr::drop_in_place(Self::fut(h)) };
    }
}

/// Ends a task as if its future had returned `Cancelled`.
///
/// # Safety
/// As [`store_error`]; called in the task's frame.
pub(super) unsafe fn abandon<E: TaskError>(h: *const Header) -> Wakes {
    // SAFETY: by contract.
    unsafe { store_error(&*h, E::from(park::cancelled())) }
}

/// Makes a child of `fut` in `core`. The header comes back. `fut` would be leaked if the pool panicked, as it
/// may where an allocation that fails does.
///
/// # Safety
/// This thread holds `root`, the owner of `core`; the errors of `core` are of type `E`; whatever `fut` borrows lives
/// until the nursery has ended or dropped it.
#[inline(always)]
pub(crate) unsafe fn spawn_task<F, E>(core: &CoreSlot, root: &Root, fut: ManuallyDrop<F>) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    // SAFETY: by contract.
    unsafe { place_fitting::<F, E, true>(core, root, fut) }
}

/// As [`spawn_task`], for a branch that belongs to the task around.
///
/// # Safety
/// As [`spawn_task`].
pub(crate) unsafe fn spawn_branch<F, E>(core: &CoreSlot, root: &Root, fut: F) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    // SAFETY: by contract.
    unsafe { place_fitting::<F, E, false>(core, root, ManuallyDrop::new(fut)) }
}

#[inline(always)]
unsafe fn place_fitting<F, E, const IS_CHILD: bool>(core: &CoreSlot, root: &Root, fut: ManuallyDrop<F>) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    // SAFETY: by contract.
    unsafe {
        if const { fits::<F>() } {
            place::<F, E, IS_CHILD>(core, root, fut)
        } else {
            let fut = Box::pin(ManuallyDrop::into_inner(fut));
            place::<Pin<Box<F>>, E, IS_CHILD>(core, root, ManuallyDrop::new(fut))
        }
    }
}

#[inline(always)]
unsafe fn place<F, E, const IS_CHILD: bool>(core: &CoreSlot, root: &Root, fut: ManuallyDrop<F>) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    let vtable = Child::<F, E, IS_CHILD>::VTABLE;
    // SAFETY: the class has room for the cell.
    unsafe {
        let slot = root.pool.begin_task(root, vtable, &core.group);
        ptr::write(Child::<F, E, IS_CHILD>::fut(slot), ManuallyDrop::into_inner(fut));
        core.adopt_new(&*slot, &core.group, root);
        slot
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn is_pointer<F: Future>(_: &F) -> bool {
        is_pointer_like::<F>()
    }

    #[test]
    fn futures_behind_a_pointer_are_told_from_small_blocks() {
        let small = async |index: usize| index;
        assert!(is_pointer(&Box::pin(small(1))));
        assert!(is_pointer(&(Box::pin(ready(1_usize)) as Pin<Box<dyn Future<Output = usize>>>)));
        assert!(is_pointer(&std::pin::pin!(pending::<()>())));
        assert!(is_pointer(&crate::nursery(async |_| Ok::<_, crate::Error>(()))));
        assert!(!is_pointer(&small(1)));
        assert!(!is_pointer(&async {}));
        assert!(!is_pointer(&async { pending::<()>().await }));
    }
}
