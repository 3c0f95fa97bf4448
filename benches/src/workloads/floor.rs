//! The least that children cost: what no nursery can do without, and nothing else.
//!
//! A child's future is written to a slot of reused memory, linked to its siblings, so that a cancel or a drop finds it, and
//! queued. It is polled by way of its vtable, with a waker of its own, as the thread's current task, under a guard against
//! panics. When it is ready, its future is dropped, it is unlinked, and its slot is free for the next one. There are no
//! scopes, errors, deadlines, budgets, names or instruments, and there is one thread. So it stands for scale: how far a
//! target, or trine, is from what the machine can do.

pub(super) mod levels;

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    hint::black_box,
    marker::{PhantomData, PhantomPinned},
    mem::{ManuallyDrop, MaybeUninit},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    ptr,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::{
    hosts::{Arrivals, park},
    spawn::{batches, child},
    turns::{turns, wake_and_wait},
};
use crate::harness::{Measurement, Stopwatch};

/// Of a slot, in bytes.
const SIZE: usize = 128;

#[repr(C, align(128))]
struct Memory(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

/// What can be done with the future in a slot.
struct Functions {
    /// Drops the future when it is ready.
    poll: unsafe fn(*const Slot, &mut Context<'_>) -> Poll<()>,
    drop: unsafe fn(*const Slot),
    /// The slot is freed by its handle.
    has_handle: bool,
}

/// The head of a slot.
#[repr(C)]
struct Slot {
    functions: Cell<&'static Functions>,
    prev: Cell<*const Slot>,
    next: Cell<*const Slot>,
    /// In the queue, or among the free ones.
    behind: Cell<*const Slot>,
    is_queued: Cell<bool>,
}

#[repr(C)]
struct Plain<F> {
    slot: Slot,
    future: ManuallyDrop<F>,
}

#[repr(C)]
struct Valued<F: Future> {
    slot: Slot,
    value: Value<F::Output>,
    future: ManuallyDrop<F>,
}

/// Where a child leaves its value.
#[repr(C)]
struct Value<T> {
    value: Cell<Option<T>>,
    waiter: Cell<*const Slot>,
}

thread_local! {
    static CURRENT: Cell<*const Slot> = const { Cell::new(ptr::null()) };
    static QUEUE: Queue<Slot> = const { Queue::new() };
}

/// What stands on a queue.
trait Queued {
    fn behind(&self) -> &Cell<*const Self>;
}

impl Queued for Slot {
    #[inline(always)]
    fn behind(&self) -> &Cell<*const Self> {
        &self.behind
    }
}

struct Queue<T> {
    head: Cell<*const T>,
    tail: Cell<*const T>,
}

impl<T: Queued> Queue<T> {
    const fn new() -> Self {
        Self { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()) }
    }

    /// # Safety
    /// It is in use for as long as it is queued, and not queued yet.
    #[inline(always)]
    unsafe fn push(&self, item: *const T) {
        // SAFETY: by contract; so is the last one.
        unsafe {
            (*item).behind().set(ptr::null());
            let tail = self.tail.replace(item);
            if tail.is_null() { self.head.set(item) } else { (*tail).behind().set(item) }
        }
    }

    #[inline(always)]
    fn pop(&self) -> Option<*const T> {
        let item = self.head.get();
        // SAFETY: what is queued is in use.
        let next = unsafe { item.as_ref()? }.behind().get();
        self.head.set(next);
        if next.is_null() {
            self.tail.set(next);
        }
        Some(item)
    }
}

/// Queues a slot.
///
/// # Safety
/// It is in use, and not queued.
#[inline(always)]
unsafe fn queue(slot: *const Slot) {
    // SAFETY: by contract.
    unsafe {
        (*slot).is_queued.set(true);
        QUEUE.with(|queue| queue.push(slot));
    }
}

unsafe fn clone(slot: *const ()) -> RawWaker {
    RawWaker::new(slot, &WAKER)
}

unsafe fn wake(slot: *const ()) {
    let slot = slot.cast::<Slot>();
    // SAFETY: no waker of these workloads outlives its child.
    unsafe {
        if !(*slot).is_queued.get() {
            queue(slot);
        }
    }
}

unsafe fn forget(_slot: *const ()) {}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, forget);

/// The children and their memory. Pinned by its users: the ring of the siblings goes through it.
struct Floor {
    ring: Slot,
    free: Cell<*const Slot>,
    _memory: Box<[Memory]>,
    _pinned: PhantomPinned,
}

unsafe fn nothing(_slot: *const Slot) {}
unsafe fn never(_slot: *const Slot, _cx: &mut Context<'_>) -> Poll<()> {
    Poll::Pending
}
const NO_FUTURE: &Functions = &Functions { poll: never, drop: nothing, has_handle: false };

impl Floor {
    /// With room for so many children.
    fn new(children: usize) -> Pin<Box<Self>> {
        let memory: Box<[Memory]> =
            (0..children).map(|_| Memory(UnsafeCell::new([MaybeUninit::uninit(); SIZE]))).collect();
        let new_slot = || Slot {
            functions: Cell::new(NO_FUTURE),
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            behind: Cell::new(ptr::null()),
            is_queued: Cell::new(false),
        };
        let floor =
            Box::pin(Self { ring: new_slot(), free: Cell::new(ptr::null()), _memory: memory, _pinned: PhantomPinned });
        floor.ring.prev.set(&raw const floor.ring);
        floor.ring.next.set(&raw const floor.ring);
        for memory in floor._memory.iter().rev() {
            let slot = memory.0.get().cast::<Slot>();
            // SAFETY: there is room, and nobody else has it.
            unsafe { slot.write(new_slot()) };
            floor.free(slot);
        }
        floor
    }

    #[inline(always)]
    fn free(&self, slot: *const Slot) {
        // SAFETY: one of the floor's, in use by nobody.
        unsafe { (*slot).behind.set(self.free.replace(slot)) };
    }

    /// Takes a slot; the caller writes a future, for which these functions are.
    #[inline(always)]
    fn take(&self) -> *const Slot {
        let slot = self.free.get();
        assert!(!slot.is_null(), "there is room");
        // SAFETY: free slots are valid.
        self.free.set(unsafe { (*slot).behind.get() });
        slot
    }

    /// Links and queues a child.
    ///
    /// # Safety
    /// The slot was taken, and its future written.
    #[inline(always)]
    unsafe fn begin(&self, slot: *const Slot, functions: &'static Functions) {
        // SAFETY: by contract; the siblings are in use.
        unsafe {
            (*slot).functions.set(functions);
            let last = self.ring.prev.get();
            (*last).next.set(slot);
            (*slot).prev.set(last);
            (*slot).next.set(&raw const self.ring);
            self.ring.prev.set(slot);
            queue(slot);
        }
    }

    #[inline(always)]
    fn spawn<F: Future<Output = ()>>(&self, future: F) {
        const { assert!(size_of::<Plain<F>>() <= SIZE && align_of::<F>() <= SIZE, "it fits a slot") };
        let slot = self.take();
        // SAFETY: there is room behind the head.
        unsafe {
            (&raw mut (*slot.cast_mut().cast::<Plain<F>>()).future).write(ManuallyDrop::new(future));
            self.begin(slot, Plain::<F>::FUNCTIONS);
        }
    }

    #[inline(always)]
    fn spawn_with_value<F: Future>(&self, future: F) -> Handle<'_, F::Output> {
        const { assert!(size_of::<Valued<F>>() <= SIZE && align_of::<F>() <= SIZE, "it fits a slot") };
        let slot = self.take();
        let valued = slot.cast_mut().cast::<Valued<F>>();
        // SAFETY: there is room behind the head.
        unsafe {
            let value = &raw mut (*valued).value;
            value.write(Value { value: Cell::new(None), waiter: Cell::new(ptr::null()) });
            (&raw mut (*valued).future).write(ManuallyDrop::new(future));
            self.begin(slot, Valued::<F>::FUNCTIONS);
            Handle { floor: self, slot, value, lives: PhantomData }
        }
    }

    /// Polls what is queued, until nothing is.
    fn run(&self) {
        CURRENT.with(|current| {
            QUEUE.with(|queue| {
                while let Some(at) = queue.pop() {
                    // SAFETY: queued slots are in use.
                    let slot = unsafe { &*at };
                    slot.is_queued.set(false);
                    current.set(at);
                    // SAFETY: no waker of these workloads outlives its child.
                    let waker = ManuallyDrop::new(unsafe { Waker::new(at.cast(), &WAKER) });
                    let mut cx = Context::from_waker(&waker);
                    let functions = slot.functions.get();
                    // SAFETY: the slot is in use, its future was not ready.
                    match catch_unwind(AssertUnwindSafe(|| unsafe { (functions.poll)(at, &mut cx) })) {
                        Ok(Poll::Pending) => {}
                        Ok(Poll::Ready(())) => {
                            let (prev, next) = (slot.prev.get(), slot.next.get());
                            // SAFETY: the siblings are in use.
                            unsafe {
                                (*prev).next.set(next);
                                (*next).prev.set(prev);
                            }
                            if !functions.has_handle {
                                self.free(at);
                            }
                        }
                        Err(panic) => resume_unwind(panic),
                    }
                }
            });
        });
    }

    /// Drops the children that wait.
    fn drop_all(&self) {
        let mut at = self.ring.next.get();
        while !ptr::eq(at, &raw const self.ring) {
            // SAFETY: linked slots are in use.
            unsafe {
                let next = (*at).next.get();
                ((*at).functions.get().drop)(at);
                self.free(at);
                at = next;
            }
        }
        self.ring.prev.set(&raw const self.ring);
        self.ring.next.set(&raw const self.ring);
    }
}

impl<F: Future<Output = ()>> Plain<F> {
    const FUNCTIONS: &'static Functions = &Functions { poll: Self::poll, drop: Self::drop, has_handle: false };

    unsafe fn poll(slot: *const Slot, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the slot has such a future, which stays where it is.
        unsafe {
            let future = (&raw mut (*slot.cast_mut().cast::<Self>()).future).cast::<F>();
            let polled = Pin::new_unchecked(&mut *future).poll(cx);
            if polled.is_ready() {
                ptr::drop_in_place(future);
            }
            polled
        }
    }

    unsafe fn drop(slot: *const Slot) {
        // SAFETY: as above; it is not polled any more.
        unsafe { ManuallyDrop::drop(&mut (*slot.cast_mut().cast::<Self>()).future) };
    }
}

impl<F: Future> Valued<F> {
    const FUNCTIONS: &'static Functions = &Functions { poll: Self::poll, drop: Self::drop, has_handle: true };

    unsafe fn poll(slot: *const Slot, cx: &mut Context<'_>) -> Poll<()> {
        let this = slot.cast_mut().cast::<Self>();
        // SAFETY: the slot has such a future, which stays where it is.
        unsafe {
            let future = (&raw mut (*this).future).cast::<F>();
            let Poll::Ready(output) = Pin::new_unchecked(&mut *future).poll(cx) else { return Poll::Pending };
            ptr::drop_in_place(future);
            (*this).value.value.set(Some(output));
            let waiter = (*this).value.waiter.get();
            if !waiter.is_null() {
                wake(waiter.cast());
            }
        }
        Poll::Ready(())
    }

    unsafe fn drop(slot: *const Slot) {
        // SAFETY: as above; it is not polled any more.
        unsafe { ManuallyDrop::drop(&mut (*slot.cast_mut().cast::<Self>()).future) };
    }
}

/// Waits for a child's value.
struct Handle<'floor, T> {
    floor: &'floor Floor,
    slot: *const Slot,
    value: *const Value<T>,
    lives: PhantomData<T>,
}

impl<T> Future for Handle<'_, T> {
    type Output = T;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the slot is the handle's until it has the value.
        let place = unsafe { &*self.value };
        match place.value.take() {
            Some(value) => {
                self.floor.free(self.slot);
                Poll::Ready(value)
            }
            None => {
                place.waiter.set(CURRENT.get());
                Poll::Pending
            }
        }
    }
}

/// Children that are ready at once, in batches.
pub(super) fn bulk(ops: usize, batch: usize) -> Measurement {
    let batches = batches(ops, batch);
    let floor = Floor::new(batch);
    let clock = Stopwatch::start();
    for _ in 0..batches {
        for index in 0..batch {
            floor.spawn(async move {
                child(index).await;
            });
        }
        floor.run();
    }
    clock.stop(batches * batch)
}

/// Children that yield to each other.
pub(super) fn yields(ops: usize, tasks: usize) -> Measurement {
    let turns = turns(ops, tasks);
    let floor = Floor::new(tasks);
    let clock = Stopwatch::start();
    for _ in 0..tasks {
        floor.spawn(async move {
            for _ in 0..turns {
                wake_and_wait().await;
            }
        });
    }
    floor.run();
    clock.stop(turns * tasks)
}

/// One child and its value, time and again.
pub(super) fn one(ops: usize) -> Measurement {
    let floor = Floor::new(2);
    let measured = Cell::new(None);
    floor.spawn(Box::pin(async {
        let clock = Stopwatch::start();
        for index in 0..ops {
            black_box(floor.spawn_with_value(child(index)).await);
        }
        measured.set(Some(clock.stop(ops)));
    }));
    floor.run();
    measured.take().expect("it has run to its end")
}

/// Dropping children that wait for ever.
pub(super) fn drop_waiters(ops: usize) -> Measurement {
    let floor = Floor::new(ops);
    let arrivals = Arrivals::default();
    for _ in 0..ops {
        let arrivals = arrivals.clone();
        floor.spawn(async move {
            park(arrivals).await;
        });
    }
    floor.run();
    assert!(arrivals.complete(ops), "all are parked");
    let clock = Stopwatch::start();
    floor.drop_all();
    clock.stop(ops)
}
