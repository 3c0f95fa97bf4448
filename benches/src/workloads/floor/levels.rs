//! The least that a level of nested groups costs: what no group can do without whose children borrow, and nothing else.
//!
//! Such a group is polled inside the task that it belongs to, so a wake goes up from queue to queue, and a poll comes down
//! again. A child is queued once, is polled with a waker of its own, as the thread's current one, under a guard against panics.
//! There are no scopes, errors, deadlines, budgets, checks of who polls, or other threads.

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::{
    super::wake::{Baton, answer, drive},
    Queue, Queued,
};
use crate::harness::Measurement;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

struct Child {
    home: *const Home,
    behind: Cell<*const Child>,
    is_queued: Cell<bool>,
    future: UnsafeCell<Boxed>,
}

impl Queued for Child {
    #[inline(always)]
    fn behind(&self) -> &Cell<*const Self> {
        &self.behind
    }
}

/// What a child knows of its group.
struct Home {
    queue: Queue<Child>,
    /// Whom the group belongs to; null: the outermost.
    parent: Cell<*const Child>,
}

thread_local! {
    static CURRENT: Cell<*const Child> = const { Cell::new(ptr::null()) };
}

unsafe fn clone(child: *const ()) -> RawWaker {
    RawWaker::new(child, &WAKER)
}

/// Queues a child, and as far up as needed those that its group is polled by.
unsafe fn wake(child: *const ()) {
    let mut at = child.cast::<Child>();
    // SAFETY: no waker of this workload outlives its child, nor a child those around it.
    unsafe {
        while !at.is_null() && !(*at).is_queued.replace(true) {
            let home = &*(*at).home;
            home.queue.push(at);
            at = home.parent.get();
        }
    }
}

unsafe fn forget(_child: *const ()) {}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, forget);

/// A group as a future: ready when its children are.
struct Group {
    home: Box<Home>,
    children: Box<[Child]>,
    left: usize,
}

impl Group {
    fn new(children: Vec<Boxed>) -> Self {
        let home = Box::new(Home { queue: Queue::new(), parent: Cell::new(ptr::null()) });
        let at: *const Home = &raw const *home;
        let new_child = |future| Child {
            home: at,
            behind: Cell::new(ptr::null()),
            is_queued: Cell::new(true),
            future: UnsafeCell::new(future),
        };
        let children: Box<[Child]> = children.into_iter().map(new_child).collect();
        for child in &children {
            // SAFETY: it stays where it is.
            unsafe { home.queue.push(child) };
        }
        Self { home, left: children.len(), children }
    }

    /// Polls the children that are queued, and those that are queued meanwhile; true when all have ended.
    #[inline(always)]
    fn poll_children(&mut self) -> bool {
        debug_assert!(self.left <= self.children.len());
        CURRENT.with(|current| {
            let around = current.get();
            self.home.parent.set(around);
            while let Some(at) = self.home.queue.pop() {
                // SAFETY: queued children are alive.
                let child = unsafe { &*at };
                child.is_queued.set(false);
                current.set(at);
                // SAFETY: no waker of this workload outlives its child.
                let waker = ManuallyDrop::new(unsafe { Waker::new(at.cast(), &WAKER) });
                let mut cx = Context::from_waker(&waker);
                // SAFETY: nobody else polls it, and it is not being polled.
                let polled = || unsafe { (*child.future.get()).as_mut().poll(&mut cx) };
                match catch_unwind(AssertUnwindSafe(polled)) {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(())) => self.left -= 1,
                    Err(panic) => resume_unwind(panic),
                }
            }
            current.set(around);
        });
        self.left == 0
    }
}

impl Future for Group {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_children() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The handshake with a leaf so many groups deep.
pub(in super::super) fn nested(ops: usize, depth: usize) -> Measurement {
    fn level(baton: Arc<Baton>, ops: usize, depth: usize) -> Boxed {
        if depth == 1 {
            return Box::pin(answer(baton, ops));
        }
        Box::pin(Group::new(vec![level(baton, ops, depth - 1)]))
    }

    let (baton, measured) = (Baton::new(), std::rc::Rc::new(Cell::new(None)));
    let (leaf, measurement) = (level(Arc::clone(&baton), ops, depth), std::rc::Rc::clone(&measured));
    let driver: Boxed = Box::pin(async move { measurement.set(Some(drive(baton, ops).await)) });
    let mut outermost = Group::new(vec![leaf, driver]);
    while !outermost.poll_children() {}
    measured.take().expect("the driver has run to its end")
}
