//! The future half of a nursery: its body, and the poll that runs body and children until all have ended.
//!
//! Everything lives in one pinned allocation, [`Cell`], that the public future owns through an erased pointer: first the
//! body's closure, then the body's future in its place. The references that bodies and children hold into it
//! (`&Nursery`) are shared, so all that changes is in cells.

use super::child::abandon;
use super::core::{CoreSlot, Panic, go_on, keep_first};
use super::errors::Errors;
use super::inbox::Inbox;
use super::memory;
use super::outcome::{Concluded, Finished, Mode};
use crate::cancel::ScopeShared;
use crate::cancel::region::{as_outermost, drop_in_root, new_root};
use crate::cancel::slot::attach;
use crate::error::TaskError;
use crate::sched::context;
use crate::sched::node;
use crate::sched::pool;
use crate::sched::root::Root;
use crate::sched::wakes::{Later, Wakes};
use crate::task::header::{Header, VTable};
use std::alloc::Layout;
use std::cell::{Cell as StdCell, UnsafeCell};
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

/// A spawn from a thread that does not hold the root: run by the nursery's next poll.
pub(crate) type Job = ScopedJob<'static>;

/// As [`Job`], for what the nursery outlives.
pub(crate) type ScopedJob<'a> = Box<dyn FnOnce(&CoreSlot, &Root) + Send + 'a>;

/// What `&Nursery` refers to.
pub(crate) struct Shared<E> {
    pub(crate) core: StdCell<*const CoreSlot>,
    pub(crate) errors: Errors<E>,
    /// Children of the nursery's own lifetime, spawned by threads of a `std::thread::scope`. Kept here, not in the
    /// inbox, which may outlive what they borrow.
    remote: Mutex<Vec<Job>>,
    inbox: OnceLock<Arc<Inbox>>,
    /// The nursery is being dropped, or has ended.
    closed: StdCell<bool>,
}

impl<E> Shared<E> {
    fn new() -> Self {
        Self {
            core: StdCell::new(ptr::null()),
            errors: Errors::new(),
            remote: Mutex::new(Vec::new()),
            inbox: OnceLock::new(),
            closed: StdCell::new(false),
        }
    }

    /// The core, for those who may only be called while the nursery runs.
    pub(crate) fn core(&self) -> &CoreSlot {
        // SAFETY: a `&Nursery` exists only between the nursery's first poll and its end.
        unsafe { &*self.core.get() }
    }

    /// The core and its root, if this thread holds it and the nursery takes children.
    #[inline(always)]
    pub(crate) fn here(&self) -> Option<(&CoreSlot, &Root)> {
        let core = self.core();
        if !self.closed.get() && core.scope.node.in_use_is_here() {
            // SAFETY: the owner, which there is, is the context's root, which is held by this thread.
            return Some((core, unsafe { &*context::root() }));
        }
        None
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.inbox.get_or_init(|| {
            let inbox = Inbox::new(self.core.get());
            if self.closed.get() {
                // Asked for by a destructor of what is being dropped: nobody will close it later.
                drop(inbox.close());
            }
            Arc::new(inbox)
        })
    }

    /// Leaves a job for the nursery's next poll. Dropped if the nursery is being dropped.
    pub(crate) fn send(&self, job: Job) {
        if self.closed.get() {
            // Called by a destructor of what is being dropped; other threads wait for it, if there are any.
            drop(job);
            return;
        }
        self.remote.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        self.inbox().ring();
    }
}

/// The erased nursery.
trait Open<O> {
    /// Ready: everything has ended. A panic of a task goes on here.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<O>;
    /// It has ended by itself, and left nothing that would have to be dropped.
    fn has_nothing(&self) -> bool;
    /// Drops what is left, and ends the slots.
    fn close(&self);
}

/// What the two kinds of nursery have in common.
///
/// # Safety
/// `shared` always returns the same value, which lives inside `self`.
pub(crate) unsafe trait HasShared<E> {
    fn new(shared: Shared<E>) -> Self;
    fn shared(&self) -> &Shared<E>;
}

enum Stage<B, Fut> {
    Closure(B),
    Running(Fut),
    Done,
}

struct Cell<'env, N, B, Fut, T, E, M> {
    nursery: N,
    stage: UnsafeCell<Stage<B, Fut>>,
    value: StdCell<Option<T>>,
    own: StdCell<Option<&'static Root>>,
    scope: StdCell<Option<Arc<ScopeShared>>>,
    /// What it came to, if that was found out inside a root of its own.
    outcome: StdCell<Option<Concluded<T, E>>>,
    at: &'static Location<'static>,
    marker: PhantomData<(&'env (), E, M)>,
}

/// The erased allocation, uniquely owned, but with shared references into it. `O` is the nursery's output.
pub(crate) struct Opened<'env, O>(NonNull<dyn Open<O> + 'env>);

impl<'env, O> Opened<'env, O> {
    pub(crate) fn new<N, B, Fut, T, E, M>(
        body: B,
        scope: Option<Arc<ScopeShared>>,
        at: &'static Location<'static>,
    ) -> Self
    where
        N: HasShared<E> + 'env,
        B: FnOnce(&'env N) -> Fut + 'env,
        Fut: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: TaskError + 'env,
        M: Mode<T, E, Out = O> + 'env,
    {
        let cell = memory::take(Layout::new::<Cell<'env, N, B, Fut, T, E, M>>());
        let cell = cell.cast::<Cell<'env, N, B, Fut, T, E, M>>();
        // Field by field: to copy what was just written makes a processor wait.
        // SAFETY: there is room for it; all fields are written, but for the marker, which has no size.
        unsafe {
            (&raw mut (*cell).nursery).write(N::new(Shared::new()));
            (&raw mut (*cell).stage).write(UnsafeCell::new(Stage::Closure(body)));
            (&raw mut (*cell).value).write(StdCell::new(None));
            (&raw mut (*cell).own).write(StdCell::new(None));
            (&raw mut (*cell).scope).write(StdCell::new(scope));
            (&raw mut (*cell).outcome).write(StdCell::new(None));
            (&raw mut (*cell).at).write(at);
            let open: *mut (dyn Open<O> + 'env) = cell;
            Self(NonNull::new_unchecked(open))
        }
    }

    /// A jump, see [`batch`](super::batch).
    #[inline(always)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        // SAFETY: alive until dropped.
        unsafe { self.0.as_ref() }.poll(cx)
    }
}

impl<O> Drop for Opened<'_, O> {
    #[inline]
    fn drop(&mut self) {
        /// Gives back the memory.
        struct Free(*mut u8, Layout);
        impl Drop for Free {
            #[inline(always)]
            fn drop(&mut self) {
                // SAFETY: as the outer block says.
                unsafe { memory::give(self.0, self.1) };
            }
        }
        // SAFETY: taken for the layout of what it is; nothing refers into it after `close`.
        unsafe {
            let free = Free(self.0.as_ptr().cast(), Layout::for_value(self.0.as_ref()));
            if !self.0.as_ref().has_nothing() {
                close(self.0);
            }
            drop(free);
        }
    }
}

/// Closes it, and drops what is in it, also if that panics.
///
/// # Safety
/// It is not used any more.
#[cold]
#[inline(never)]
unsafe fn close<O>(open: NonNull<dyn Open<O> + '_>) {
    struct DropAll<'env, O>(NonNull<dyn Open<O> + 'env>);
    impl<O> Drop for DropAll<'_, O> {
        fn drop(&mut self) {
            // SAFETY: by contract; once.
            unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        }
    }
    let all = DropAll(open);
    // SAFETY: by contract.
    unsafe { all.0.as_ref() }.close();
}

impl<'env, N, B, Fut, T, E, M> Open<M::Out> for Cell<'env, N, B, Fut, T, E, M>
where
    N: HasShared<E> + 'env,
    B: FnOnce(&'env N) -> Fut + 'env,
    Fut: Future<Output = Result<T, E>> + 'env,
    E: TaskError + 'env,
    M: Mode<T, E>,
{
    fn poll(&self, cx: &mut Context<'_>) -> Poll<M::Out> {
        let core = self.shared().core.get();
        // SAFETY: in use until this future ends.
        if core.is_null() || !unsafe { (*core).is_polled_as_before(cx) } {
            if context::root().is_null() {
                return self.poll_outermost(cx);
            }
            ready!(self.poll_anew::<false>(cx));
        } else {
            ready!(self.poll_as_before());
        }
        Poll::Ready(self.finish())
    }

    fn has_nothing(&self) -> bool {
        // SAFETY: not borrowed further.
        let has_nothing = self.is_over() && unsafe { (*self.outcome.as_ptr()).is_none() };
        debug_assert!(!has_nothing || self.is_empty(), "its tasks are gone, and with them body, errors and value");
        has_nothing
    }

    fn close(&self) {
        if self.is_over() {
            return;
        }
        let mut own = self.own.take();
        let panic = {
            let mut panic = None;
            drop_in_root(&mut own, || panic = self.close_inside());
            panic
        };
        go_on(panic);
    }
}

impl<'env, N, B, Fut, T, E, M> Cell<'env, N, B, Fut, T, E, M>
where
    N: HasShared<E> + 'env,
    B: FnOnce(&'env N) -> Fut + 'env,
    Fut: Future<Output = Result<T, E>> + 'env,
    E: TaskError + 'env,
    M: Mode<T, E>,
{
    /// A body's first poll calls its closure, and makes it a `RUNNING` one.
    const BODY: &'static VTable =
        &VTable::new::<E>(Self::poll_first, abandon::<E>, Self::drop_body, pool::task_class(size_of::<BodyCell>()))
            .dropping();
    const RUNNING: &'static VTable =
        &VTable::new::<E>(Self::poll_body, abandon::<E>, Self::drop_body, pool::task_class(size_of::<BodyCell>()))
            .dropping();

    fn shared(&self) -> &Shared<E> {
        self.nursery.shared()
    }

    #[inline(never)]
    fn poll_outermost(&self, cx: &mut Context<'_>) -> Poll<M::Out> {
        // It stays the nursery's if the poll panics.
        let root = self.own.get().unwrap_or_else(new_root);
        self.own.set(Some(root));
        let result = as_outermost(root, cx, |cx| {
            ready!(self.poll_anew::<true>(cx));
            self.outcome.set(Some(self.conclude()));
            Poll::Ready(())
        });
        if result.is_ready() {
            drop_in_root(&mut self.own.take(), || ());
        }
        result.map(|()| Self::give(self.outcome.take().expect("a nursery that has ended came to something")))
    }

    #[inline(always)]
    fn enter(&self) {
        let shared = self.shared();
        assert!(!shared.closed.get(), "a nursery's future was polled after it had finished");
        let scope = self.scope.take();
        if let Some(scope) = &scope {
            // It stays the nursery's if it is refused.
            self.scope.set(Some(scope.clone()));
            scope.claim();
            self.scope.set(None);
        }
        // SAFETY: there is a root in the context, around or the nursery's own; the errors live in this cell.
        unsafe {
            let core = CoreSlot::open(&shared.errors, scope, self.at);
            shared.core.set(core);
            let (core, root) = (&*core, &*context::root());
            let slot = root.pool.begin_task(root, Self::BODY, core.node()).cast::<BodyCell>();
            (*slot.cast_mut()).cell = ptr::from_ref(self).cast();
            let header = &*slot.cast::<Header>();
            core.adopt_new(header, &*core.node(), root);
        }
    }

    /// A poll in a root, the first one or another.
    #[inline(never)]
    fn poll_anew<const OUTERMOST: bool>(&self, cx: &Context<'_>) -> Poll<()> {
        // SAFETY: there is one, around or the nursery's own, which this thread holds.
        let root = unsafe { &*context::root() };
        let is_new = self.shared().core.get().is_null();
        if is_new {
            self.enter();
        }
        let core = self.shared().core();
        if is_new {
            if core.is_put_off(root, cx) {
                return Poll::Pending;
            }
        } else {
            // SAFETY: entered, and this is the poll of its future.
            ready!(unsafe { attach(core.node(), root, cx) });
        }
        core.begin_poll(cx);
        // SAFETY: held.
        unsafe { core.run_batches::<E>() };
        self.end_poll::<OUTERMOST>()
    }

    /// A poll that is [as the one before](CoreSlot::is_polled_as_before).
    #[inline(always)]
    fn poll_as_before(&self) -> Poll<()> {
        let shared = self.shared();
        let core = shared.core();
        // SAFETY: the context's root is held by this thread.
        if !unsafe { core.run_only::<E>() } || shared.inbox.get().is_some() {
            return self.end_poll_apart();
        }
        if core.is_done() {
            return Poll::Ready(());
        }
        core.sleep();
        // SAFETY: held.
        unsafe { core.scope.arm(&*context::root()) };
        Poll::Pending
    }

    #[inline(never)]
    fn end_poll_apart(&self) -> Poll<()> {
        // It was left asleep if nothing was runnable.
        self.shared().core().awake();
        self.end_poll::<false>()
    }

    /// The end of a poll, with all that may be left to do.
    #[inline(always)]
    fn end_poll<const OUTERMOST: bool>(&self) -> Poll<()> {
        let shared = self.shared();
        // SAFETY: there is one, around or the nursery's own, which this thread holds.
        let root = unsafe { &*context::root() };
        let core = shared.core();
        if let Some(inbox) = shared.inbox.get() {
            return self.end_poll_with_inbox(inbox, core, root);
        }
        if core.is_done() {
            return Poll::Ready(());
        }
        self.stop::<OUTERMOST>(core, root, false);
        Poll::Pending
    }

    #[inline(always)]
    fn stop<const OUTERMOST: bool>(&self, core: &CoreSlot, root: &Root, starting: bool) {
        let more = core.end_poll();
        if (more || starting) && core.scope.node.is_effective() {
            core.set_busy(true);
        }
        if more {
            if OUTERMOST {
                // The context's waker is the main task's.
                root.main_woken.set(true);
            } else {
                core.wake_parent();
            }
        }
        // SAFETY: held.
        unsafe { core.scope.arm(root) };
    }

    #[cold]
    fn end_poll_with_inbox(&self, inbox: &Inbox, core: &CoreSlot, root: &Root) -> Poll<()> {
        self.take_in(inbox, core, root);
        let starts = inbox.starts();
        if core.is_done() && starts == 0 && inbox.close_if_empty() {
            return Poll::Ready(());
        }
        inbox.set_waker(core.parent());
        if inbox.is_rung() {
            core.wake_parent();
        }
        self.stop::<false>(core, root, starts > 0);
        Poll::Pending
    }

    /// Runs what other threads left.
    #[cold]
    fn take_in(&self, inbox: &Inbox, core: &CoreSlot, root: &Root) {
        if !inbox.take_ring() {
            return;
        }
        let scoped = std::mem::take(&mut *self.shared().remote.lock().unwrap_or_else(PoisonError::into_inner));
        let mut panic = None;
        for job in scoped.into_iter().chain(inbox.take_jobs()) {
            // An instrument may panic.
            keep_first(&mut panic, || job(core, root));
        }
        go_on(panic);
    }

    /// What becomes of what it came to; a panic of a task goes on here.
    #[inline(always)]
    fn give((finished, panic): Concluded<T, E>) -> M::Out {
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        M::result(finished)
    }

    /// Is there nothing in it that would have to be dropped? For debug builds, which look.
    fn is_empty(&self) -> bool {
        let shared = self.shared();
        // SAFETY: none of them is borrowed: the nursery has ended.
        let (is_done, has_value, has_scope) = unsafe {
            let has_scope = (*self.scope.as_ptr()).is_some();
            (matches!(*self.stage.get(), Stage::Done), (*self.value.as_ptr()).is_some(), has_scope)
        };
        // Jobs come with an inbox.
        let has_jobs = shared.remote.try_lock().is_ok_and(|remote| remote.capacity() > 0);
        is_done && !has_value && !has_scope && !has_jobs && shared.errors.is_unused()
    }

    /// It has ended by itself, and nobody else knows it.
    fn is_over(&self) -> bool {
        let shared = self.shared();
        shared.closed.get() && shared.core.get().is_null() && shared.inbox.get().is_none() && self.own.get().is_none()
    }

    /// All has ended, inside a task.
    #[inline(always)]
    fn finish(&self) -> M::Out {
        let shared = self.shared();
        // SAFETY: held; no task is left. Nothing was cancelled if that is true, so that there is neither a panic nor a reason.
        if shared.errors.is_empty() && unsafe { shared.core().end_plainly() } {
            shared.closed.set(true);
            shared.core.set(ptr::null());
            return M::plain(self.value.take());
        }
        Self::give(self.conclude())
    }

    /// What it comes to. Called once.
    #[cold]
    #[inline(never)]
    fn conclude(&self) -> Concluded<T, E> {
        let shared = self.shared();
        let core = shared.core();
        shared.closed.set(true);
        let mut panic = core.panic.take();
        let mut error = None;
        if !shared.errors.is_empty() {
            let mut errors = shared.errors.take().into_iter();
            if let Some(first) = errors.next() {
                // It is the error's type that merges: it may panic.
                keep_first(&mut panic, || error = Some(E::merge(first, errors.collect())));
            }
        }
        let finished = Finished {
            value: self.value.take(),
            error,
            catches: core.scope.catches(),
            reason: core.scope.reason.borrow().clone(),
            shared: core.scope.shared.borrow().clone(),
        };
        // SAFETY: held; no task is left.
        let wakes = unsafe { CoreSlot::end(core.node()) };
        // First, since a waker may panic, and the slot is another's by then.
        shared.core.set(ptr::null());
        wakes.wake();
        (finished, panic)
    }

    fn close_inside(&self) -> Option<Panic> {
        let shared = self.shared();
        shared.closed.set(true);
        let mut first = None;
        let jobs = shared.inbox.get().map(|i| i.close());
        keep_first(&mut first, || drop(jobs));
        let core = shared.core.get();
        if core.is_null() {
            return first;
        }
        let scoped = std::mem::take(&mut *shared.remote.lock().unwrap_or_else(PoisonError::into_inner));
        keep_first(&mut first, || drop(scoped));
        // Bodies and children still call through `&Nursery` while they are dropped.
        // SAFETY: the slot is in use; its future is being dropped.
        let panic = unsafe { (*core).drop_futures() };
        shared.core.set(ptr::null());
        // SAFETY: the futures are gone.
        keep_first(&mut first, || unsafe { (*core).end_from_anywhere() });
        first.or(panic)
    }

    unsafe fn of<'a>(h: *const Header) -> &'a Self {
        // SAFETY: a body's cell outlives its header's use.
        unsafe { &*(*h.cast::<BodyCell>()).cell.cast::<Self>() }
    }

    unsafe fn poll_first(h: *const Header, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        // SAFETY: as `of`; what runs from now on is the future.
        unsafe {
            Self::of(h).call_body();
            (*h).vtable.set(Self::RUNNING);
            Self::poll_body(h, cx)
        }
    }

    /// Made the poll of a body by `poll_first`, which has made the closure a future. A task is polled until it ends, and its
    /// future is dropped no sooner.
    unsafe fn poll_body(h: *const Header, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        // SAFETY: as `of`; pinned: the allocation stays where it is.
        unsafe {
            let this = Self::of(h);
            let stage = this.stage.get();
            let fut = match &mut *stage {
                Stage::Running(fut) => fut,
                _ if cfg!(debug_assertions) => unreachable!("a body is polled until it ends"),
                // SAFETY: see above: it is `RUNNING` as soon as this is the poll, and until the task has ended.
                _ => std::hint::unreachable_unchecked(),
            };
            Poll::Ready(match ready!(Pin::new_unchecked(fut).poll(cx)) {
                Ok(value) => {
                    this.value.set(Some(value));
                    // Dropped here, where that is often nothing; once, as `gone` says.
                    (*h).drop_in_poll(|| Self::drop_body(h));
                    Ok(())
                }
                Err(e) => Err(e),
            })
        }
    }

    /// The body's closure becomes its future.
    ///
    /// # Safety
    /// Called in the body's poll.
    #[cold]
    unsafe fn call_body(&self) {
        // SAFETY: the stage is not borrowed. The lifetime of `nursery` is that of the body's run; the closure is general over
        // it, so that calling it with the longest possible one gives it no more than it could use with the right one.
        unsafe {
            let stage = self.stage.get();
            if let Stage::Closure(body) = ptr::replace(stage, Stage::Done) {
                let nursery: &'env N = &*ptr::from_ref(&self.nursery);
                let fut = body(nursery);
                *stage = Stage::Running(fut);
            }
        }
    }

    unsafe fn drop_body(h: *const Header) {
        // SAFETY: as `of`; the stage is not borrowed: the body is not being polled.
        unsafe {
            let stage = Self::of(h).stage.get();
            /// Dropped once, also if that panics.
            struct Done<B, Fut>(*mut Stage<B, Fut>);
            impl<B, Fut> Drop for Done<B, Fut> {
                fn drop(&mut self) {
                    // SAFETY: what was there has been dropped.
                    unsafe { self.0.write(Stage::Done) };
                }
            }
            let _done = Done(stage);
            ptr::drop_in_place(stage);
        }
    }
}

/// The slot of a body: its future lives in the nursery's allocation.
#[repr(C)]
struct BodyCell {
    header: Header,
    cell: *const (),
}

/// Unlinks a task from one nursery and puts it into another of the same root.
///
/// # Safety
/// This thread holds the owner of both; the errors of both are of one type.
pub(crate) unsafe fn move_task(h: &Header, to: &CoreSlot) -> Wakes {
    // SAFETY: by contract.
    unsafe {
        let from = h.core_around();
        let queued = h.has(crate::task::header::QUEUED);
        if queued {
            from.unqueue_all();
        }
        let mut wakes = node::unlink(&h.node);
        if queued && to.push_ready(h) {
            wakes.extend(to.parent().map(Later::Wake));
        }
        wakes.append(node::link(&h.node, &to.group));
        wakes.parent(from);
        wakes
    }
}
