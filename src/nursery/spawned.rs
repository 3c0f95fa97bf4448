//! Children with a handle: `{header | cell for the value | future}` in one slot.

use super::child::{abandon, spawn_task};
use super::core::CoreSlot;
use super::handle::{Apart, Handle, Joined};
use super::join::{JoinCell, JoinHead};
use super::task::{Name, introduce};
use crate::error::TaskError;
use crate::sched::pool;
use crate::sched::root::Root;
use crate::task::header::{Header, VTable};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};

#[repr(C)]
struct SpawnedCell<F, T> {
    head: JoinHead<T>,
    fut: ManuallyDrop<F>,
}

/// Do value and future stand in the slot itself?
const fn fits<F, T>() -> bool {
    size_of::<SpawnedCell<F, T>>() <= pool::MAX_SLOT && align_of::<SpawnedCell<F, T>>() <= pool::ALIGN
}

struct Spawned<F, T, E>(PhantomData<(F, T, E)>);

impl<F: Future<Output = Result<T, E>>, T, E: TaskError> Spawned<F, T, E> {
    const VTABLE: &'static VTable =
        &VTable::new::<E>(Self::poll, abandon::<E>, Self::drop, pool::task_class(size_of::<SpawnedCell<F, T>>()))
            .in_group(true)
            .with_handle(Self::drop_unclaimed);

    #[inline(always)]
    unsafe fn fut(h: *const Header) -> *mut F {
        // SAFETY: the header is the head of such a cell; the future is used by one thread, in its poll or drop.
        unsafe { &raw mut (*h.cast::<SpawnedCell<F, T>>().cast_mut()).fut }.cast()
    }

    #[inline(always)]
    unsafe fn join<'a>(h: *const Header) -> &'a JoinCell<T> {
        // SAFETY: as above; in its place until task and handle have left.
        unsafe { &(*h.cast::<JoinHead<T>>()).join }
    }

    unsafe fn poll(h: *const Header, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        // SAFETY: pinned: slots do not move.
        let fut = unsafe { Pin::new_unchecked(&mut *Self::fut(h)) };
        Poll::Ready(match ready!(fut.poll(cx)) {
            Ok(value) => {
                // SAFETY: a future returns once, and the task settles after; the future is dropped once, as `gone` says.
                unsafe {
                    Self::join(h).fill(value);
                    (*h).drop_in_poll(|| ptr::drop_in_place(Self::fut(h)));
                }
                Ok(())
            }
            // The nursery is cancelled before the handle completes: with the end of the task.
            Err(e) => Err(e),
        })
    }

    unsafe fn drop(h: *const Header) {
        // SAFETY: called once.
        unsafe { ptr::drop_in_place(Self::fut(h)) };
    }

    unsafe fn drop_unclaimed(h: *const Header) {
        // SAFETY: by the caller's contract.
        unsafe { Self::join(h).drop_unclaimed() };
    }
}

/// Makes a child of `fut` in `core`, with a handle.
///
/// # Safety
/// As [`spawn_task`]; the same goes for the value, as to the handle.
#[track_caller]
#[inline(always)]
pub(super) unsafe fn spawn_with_handle<'scope, F, T, E>(
    core: &CoreSlot,
    root: &Root,
    fut: ManuallyDrop<F>,
    name: Name,
) -> Handle<'scope, T>
where
    F: Future<Output = Result<T, E>>,
    E: TaskError,
{
    // SAFETY: by contract.
    unsafe {
        if const { fits::<F, T>() } {
            place::<F, T, E>(core, root, fut, name)
        } else if const { fits::<Pin<Box<F>>, T>() } {
            let fut = Box::pin(ManuallyDrop::into_inner(fut));
            place::<Pin<Box<F>>, T, E>(core, root, ManuallyDrop::new(fut), name)
        } else {
            let apart = Apart::new();
            let joined = Joined::new(ManuallyDrop::into_inner(fut), apart.clone());
            let h = &*spawn_task::<_, E>(core, root, ManuallyDrop::new(joined));
            apart.bind(h);
            let handle = Handle::apart(apart);
            introduce(h, root, name);
            handle
        }
    }
}

#[track_caller]
#[inline(always)]
unsafe fn place<'scope, F, T, E>(core: &CoreSlot, root: &Root, fut: ManuallyDrop<F>, name: Name) -> Handle<'scope, T>
where
    F: Future<Output = Result<T, E>>,
    E: TaskError,
{
    let vtable = Spawned::<F, T, E>::VTABLE;
    // SAFETY: the class has room for the cell.
    unsafe {
        let slot = root.pool.begin_task(root, vtable, &core.group);
        let head = slot.cast::<JoinHead<T>>();
        JoinCell::init_at((&raw const (*head).join).cast_mut(), root, Location::caller());
        ptr::write(Spawned::<F, T, E>::fut(slot), ManuallyDrop::into_inner(fut));
        // First: it must leave the slot also if an instrument panics.
        let handle = Handle::new(head);
        core.adopt_new(&*slot, &core.group, root);
        introduce(&*slot, root, name);
        handle
    }
}
