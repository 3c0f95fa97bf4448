//! `start`: a child that runs inside the call until it says that it has started, then moves into the nursery.
//!
//! The call is a private nursery with one child. States of a [`StartCell`]: `Waiting`; `Started` (said, not yet
//! decided); then `Moved`; or `Kept`, because the call was effectively cancelled at that moment; or `Around`, because the
//! nursery is inside of the child, so that it stays, too, and must not keep the nursery open; or `Dropped`.
//!
//! 1. `started` on the root's own thread decides on the spot, also in the middle of the child's poll: unlinked here,
//!    linked there, and the checkpoints that follow see the nursery's scopes. That is right if the nursery is being polled, with
//!    the child somewhere within: then nobody can drop or poll it while the child runs. It always is for `Nursery::start`, which
//!    borrows it; for a `Spawner`'s call it is looked up ([`is_polled_within`]).
//! 2. Else, and on another thread, it only records, and wakes; the call decides after the child's poll. A `Spawner` may be
//!    anywhere, also in a child that owns the nursery: had that been moved in the middle of its poll, the nursery could be dropped,
//!    or polled, around a child that is being polled. Whether the nursery is open is looked at under the lock that its end takes,
//!    since it may be dropped on another thread.
//! 3. If the nursery belongs to another root, the child is handed over after the poll, in limbo on the way.
//!
//! A pending call keeps the nursery open (`Inbox::begin_start`).

use super::child::spawn_task;
use super::core::{CoreSlot, Panic, go_on, keep_first};
use super::errors::Errors;
use super::inbox::{Inbox, Opening};
use super::open::{Job, Shared, move_task};
use super::place::Place;
use super::task::{Name, introduce};
use crate::cancel::region::{drop_in_root, in_root, own_root};
use crate::cancel::slot::attach;
use crate::error::{Error, Result, StartError, TaskError};
use crate::sched::context;
use crate::sched::node::{self, Node, SlotRef};
use crate::sched::remote::{self, Mail, SlotPtr};
use crate::sched::root::Root;
use crate::sched::sync::{Mutex, MutexGuard};
use crate::sched::wakes::Wakes;
use crate::task::header::{APART, Header};
use crate::task::{is_polled_within, wake};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waiting,
    Started,
    Moved,
    Kept,
    Around,
    Dropped,
}

impl Phase {
    /// The pending start has been counted off by the decision.
    fn is_counted_off(self) -> bool {
        matches!(self, Self::Moved | Self::Around)
    }
}

struct State<P> {
    phase: Phase,
    value: Option<P>,
    child: Option<SlotRef>,
}

pub(crate) struct StartCell<P> {
    state: Mutex<State<P>>,
    target: Arc<Inbox>,
    /// The call borrows the nursery; else it is a `Spawner`'s.
    is_scoped: bool,
}

impl<P> StartCell<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> Phase {
        self.lock().phase
    }

    fn decided(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// Decides where the child goes, if it can be decided now.
    ///
    /// Under the lock, so that a call that is dropped by another thread finds the child in its private nursery, or not.
    ///
    /// # Safety
    /// This thread holds the owner of `h`, which is the child, still in its private nursery if the phase is `Started`. It is
    /// not being polled, or the nursery is, around it.
    unsafe fn decide(&self, h: &Header) {
        let mut wakes;
        {
            let mut state = self.lock();
            if state.phase != Phase::Started {
                return;
            }
            // SAFETY: by contract.
            let private = unsafe { h.core_around() };
            if private.scope.node.is_effective() {
                state.phase = Phase::Kept;
                return;
            }
            // SAFETY: by contract; the nursery does not end before its lock is let go.
            let moved = self.target.with_open(|target| unsafe {
                // A child that polls its nursery is around it, and cannot be in it.
                let may_move = self.is_scoped || !is_around(&h.node, target.node());
                may_move.then(|| move_task(h, target))
            });
            match moved {
                Opening::Open(Some(moved)) => {
                    state.phase = Phase::Moved;
                    wakes = moved;
                }
                Opening::Open(None) => {
                    state.phase = Phase::Around;
                    wakes = Wakes::none();
                }
                Opening::Closed => {
                    state.phase = Phase::Kept;
                    return;
                }
                Opening::Elsewhere => return,
            }
        }
        self.target.end_start_later(&mut wakes);
        wakes.wake();
    }
}

/// Is `node` around `inner`?
///
/// # Safety
/// This thread holds the owner of both.
unsafe fn is_around(node: *const Node, inner: *const Node) -> bool {
    let mut at = inner;
    while !at.is_null() && at != node {
        // SAFETY: linked nodes are alive.
        at = unsafe { (*at).parent.get() };
    }
    at == node
}

/// What a child started with [`Nursery::start`](super::Nursery::start) says that it has started with.
pub struct TaskStatus<P = ()> {
    cell: Option<Arc<StartCell<P>>>,
}

impl<P> fmt::Debug for TaskStatus<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStatus").field("ignored", &self.cell.is_none()).finish()
    }
}

impl<P> TaskStatus<P> {
    /// Says that the task has started: `start` returns `value`, and the task moves into the nursery.
    pub fn started(self, value: P) {
        let Some(cell) = self.cell else { return };
        let child = {
            let mut state = cell.lock();
            if state.phase != Phase::Waiting {
                drop(state);
                drop(value);
                return;
            }
            state.phase = Phase::Started;
            state.value = Some(value);
            state.child.clone()
        };
        let Some(child) = child else { return };
        if !child.is_live() {
            return;
        }
        let h = child.as_ptr().cast::<Header>();
        // SAFETY: the slot reference keeps it mapped; if it is here and live, it is in its private nursery.
        unsafe {
            if child.get().is_here() && (cell.is_scoped || is_polled_within(h, cell.target.core())) {
                cell.decide(&*h);
            }
            if cell.phase() == Phase::Started {
                wake::wake_header(h);
            }
        }
    }

    /// Makes a status that nobody listens to, to call such a function directly.
    pub fn ignored() -> Self {
        Self { cell: None }
    }
}

type BoxFuture<'scope, E> = Pin<Box<dyn Future<Output = Result<(), E>> + 'scope>>;

/// The private half of [`Start`] and `LocalStart`.
pub(crate) struct Inner<'scope, P, E> {
    fut: Option<BoxFuture<'scope, E>>,
    cell: Arc<StartCell<P>>,
    /// The nursery, for children of its lifetime; null for a `Spawner`'s.
    shared: *const Shared<E>,
    errors: Place<Errors<E>>,
    core: *const CoreSlot,
    own: Option<&'static Root>,
    counted: bool,
    finished: bool,
    name: Name,
    at: &'static Location<'static>,
}

impl<'scope, P, E: TaskError + From<StartError>> Inner<'scope, P, E> {
    pub(crate) fn new<Fut>(
        target: Arc<Inbox>,
        shared: *const Shared<E>,
        f: impl FnOnce(TaskStatus<P>) -> Fut,
        name: Name,
        at: &'static Location<'static>,
    ) -> Self
    where
        Fut: Future<Output = Result<(), E>> + 'scope,
    {
        let state = State { phase: Phase::Waiting, value: None, child: None };
        let cell = Arc::new(StartCell { state: Mutex::new(state), target, is_scoped: !shared.is_null() });
        let fut = f(TaskStatus { cell: Some(cell.clone()) });
        Self {
            fut: Some(Box::pin(fut)),
            cell,
            shared,
            errors: Place::new(Errors::new()),
            core: ptr::null(),
            own: None,
            counted: false,
            finished: false,
            name,
            at,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<P, E>> {
        assert!(!self.finished, "a `start` future was polled after it had finished");
        let result = in_root(own_root(&mut self.own), cx, |cx| self.poll_inside(cx));
        if result.is_ready() {
            drop_in_root(&mut self.own, || ());
        }
        result
    }

    fn poll_inside(&mut self, cx: &mut Context<'_>) -> Poll<Result<P, E>> {
        let fut = self.fut.take();
        let first = fut.is_some();
        if let Some(fut) = fut {
            if !self.cell.target.begin_start() {
                self.finished = true;
                drop(fut);
                return Poll::Ready(Err(StartError::Closed.into()));
            }
            self.counted = true;
            // SAFETY: `in_root` sees to it that the context has a root; the errors stay where they are.
            unsafe {
                self.core = CoreSlot::open(self.errors.as_ptr(), None, self.at);
                let root = &*context::root();
                let h = &*spawn_task::<_, E>(&*self.core, root, ManuallyDrop::new(fut));
                introduce(h, root, self.name.take());
                let child = SlotRef::new(&h.node);
                let phase = {
                    let mut state = self.cell.lock();
                    state.child = Some(child);
                    state.phase
                };
                // It may have said so before there was a child.
                if phase == Phase::Started {
                    self.decide_now();
                    if let Some(value) = self.moved() {
                        return Poll::Ready(Ok(value));
                    }
                }
            }
        } else {
            assert!(!self.core.is_null(), "a `start` future was polled after it had finished");
            // SAFETY: entered, and this is the poll of its future.
            ready!(unsafe { attach((*self.core).node(), &*context::root(), cx) });
        }
        // SAFETY: in use until this future ends; the root is held by this thread.
        let (core, root) = unsafe { (&*self.core, &*context::root()) };
        if first && core.is_put_off(root, cx) {
            return Poll::Pending;
        }
        core.begin_poll(cx);
        // One batch only: a child that says `started` to a nursery of another root must not run on under this one.
        // SAFETY: held.
        unsafe { core.run_one_batch::<E>() };
        if self.cell.phase() == Phase::Started && !core.is_done() {
            // SAFETY: the child is in its private nursery, and not being polled.
            unsafe { self.decide_now() };
        }
        if let Some(value) = self.moved() {
            return Poll::Ready(Ok(value));
        }
        if core.is_done() {
            let panic = core.panic.take();
            let error = self.errors.get().take().pop();
            let value = self.cell.lock().value.take();
            self.end_core();
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
            return Poll::Ready(match (error, value) {
                (Some(e), _) => Err(e),
                (None, Some(value)) => Ok(value),
                (None, None) => Err(StartError::NeverStarted.into()),
            });
        }
        core.end_poll_pending();
        Poll::Pending
    }

    /// The child said that it has started, and is not being polled now.
    unsafe fn decide_now(&mut self) {
        let child = self.cell.lock().child.clone();
        let Some(child) = child else { return };
        // SAFETY: by contract.
        unsafe {
            let h = &*child.as_ptr().cast::<Header>();
            self.cell.decide(h);
            if self.cell.phase() != Phase::Started {
                return;
            }
            // The nursery is another root's.
            let core = h.core_around();
            let limbo = Root::limbo();
            let wakes = {
                let _hold = limbo.hold();
                core.unqueue_all();
                let mut wakes = node::unlink(&h.node);
                h.set(APART);
                wakes.append(node::rehome(&h.node, context::root(), limbo));
                wakes
            };
            let handed = Handed(SlotPtr(&h.node));
            self.cell.decided(Phase::Moved);
            let job: Job = Box::new(move |core, root| handed.arrive(core, root));
            // Who is woken for the job may panic, and so may what the child drops if it is refused.
            let _end = EndStart(&self.cell.target, wakes);
            if self.shared.is_null() {
                drop(self.cell.target.send(job));
            } else {
                (*self.shared).send(job);
            }
        }
    }

    /// The value, if the child has moved: then the call has ended.
    fn moved(&mut self) -> Option<P> {
        let value = {
            let mut state = self.cell.lock();
            if state.phase != Phase::Moved {
                return None;
            }
            state.value.take()
        };
        self.counted = false;
        self.end_core();
        Some(value.expect("a started child left a value"))
    }

    /// No task is left, and the call has ended, whatever panics from here on.
    fn end_core(&mut self) {
        self.finished = true;
        let core = std::mem::replace(&mut self.core, ptr::null());
        // SAFETY: held: called in this future's poll; no task is left.
        let mut wakes = unsafe { CoreSlot::end((*core).node()) };
        if std::mem::take(&mut self.counted) && !self.cell.phase().is_counted_off() {
            self.cell.target.end_start_later(&mut wakes);
        }
        wakes.wake();
    }
}

/// Ends a pending start when dropped, once the child has been sent; then wakes.
struct EndStart<'a>(&'a Inbox, Wakes);

impl Drop for EndStart<'_> {
    fn drop(&mut self) {
        let mut wakes = std::mem::replace(&mut self.1, Wakes::none());
        self.0.end_start_later(&mut wakes);
        wakes.wake();
    }
}

impl<P, E> Inner<'_, P, E> {
    fn close(&mut self) -> Option<Panic> {
        let (child, value) = {
            let mut state = self.cell.lock();
            if state.phase.is_counted_off() {
                self.counted = false;
            }
            state.phase = Phase::Dropped;
            (state.child.take(), state.value.take())
        };
        drop(child);
        let core = std::mem::replace(&mut self.core, ptr::null());
        let mut panic = None;
        if !core.is_null() {
            // SAFETY: the slot is in use; its future is being dropped.
            unsafe {
                panic = (*core).drop_futures();
                keep_first(&mut panic, || (*core).end_from_anywhere());
            }
        }
        if std::mem::take(&mut self.counted) {
            keep_first(&mut panic, || self.cell.target.end_start());
        }
        keep_first(&mut panic, || drop(value));
        panic
    }
}

impl<P, E> Drop for Inner<'_, P, E> {
    fn drop(&mut self) {
        let mut own = self.own.take();
        let mut panic = None;
        drop_in_root(&mut own, || panic = self.close());
        go_on(panic);
    }
}

/// A task on its way from one root to another: in limbo, in no nursery, and never polled there.
struct Handed(SlotPtr);

impl Handed {
    fn arrive(self, core: &CoreSlot, root: &Root) {
        let node = self.0.0;
        std::mem::forget(self);
        // SAFETY: the task is in limbo; this thread holds `root`, the nursery's owner.
        unsafe {
            let h = &*node.cast::<Header>();
            let limbo = Root::limbo();
            let mut wakes = {
                let _hold = limbo.hold();
                let wakes = node::rehome(node, limbo, root);
                h.clear_queued();
                h.clear(APART);
                wakes
            };
            wakes.append(node::link(node, &core.group));
            wakes.wake();
            crate::task::header::wake_local(h);
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        // SAFETY: the task is in no nursery, and never to be polled.
        unsafe {
            let h = &*self.0.0.cast::<Header>();
            let mut panic = None;
            if !h.take_gone() {
                keep_first(&mut panic, || (h.vtable.get().drop)(h));
            }
            keep_first(&mut panic, || remote::perform(h.node.owner(), Mail::EndTask(SlotPtr(&h.node))));
            go_on(panic);
        }
    }
}

/// The future of [`Nursery::start`](super::Nursery::start).
#[must_use = "futures do nothing unless awaited"]
pub struct Start<'scope, P, E = Error> {
    inner: Inner<'scope, P, E>,
}

// SAFETY: the child is `Send` by the bounds of the constructors; the rest is touched under the hold of its root.
unsafe impl<P: Send, E: Send> Send for Start<'_, P, E> {}
// SAFETY: a shared reference gives access to nothing.
unsafe impl<P, E> Sync for Start<'_, P, E> {}
impl<P, E> Unpin for Start<'_, P, E> {}

impl<P, E> fmt::Debug for Start<'_, P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

impl<'scope, P, E: TaskError + From<StartError>> Start<'scope, P, E> {
    pub(crate) fn scoped<Fut>(
        shared: &'scope Shared<E>,
        f: impl FnOnce(TaskStatus<P>) -> Fut,
        name: Name,
        at: &'static Location<'static>,
    ) -> Self
    where
        Fut: Future<Output = Result<(), E>> + Send + 'scope,
    {
        Self { inner: Inner::new(shared.inbox().clone(), shared, f, name, at) }
    }

    pub(crate) fn detached<Fut>(
        target: Arc<Inbox>,
        f: impl FnOnce(TaskStatus<P>) -> Fut,
        at: &'static Location<'static>,
    ) -> Self
    where
        Fut: Future<Output = Result<(), E>> + Send + 'scope,
    {
        Self { inner: Inner::new(target, ptr::null(), f, None, at) }
    }
}

impl<P, E: TaskError + From<StartError>> Future for Start<'_, P, E> {
    type Output = Result<P, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(cx)
    }
}

/// The future of [`LocalNursery::start`](super::LocalNursery::start).
#[must_use = "futures do nothing unless awaited"]
pub struct LocalStart<'scope, P, E = Error> {
    inner: Inner<'scope, P, E>,
    not_send: PhantomData<*const ()>,
}

impl<P, E> Unpin for LocalStart<'_, P, E> {}

impl<P, E> fmt::Debug for LocalStart<'_, P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStart").finish_non_exhaustive()
    }
}

impl<'scope, P, E: TaskError + From<StartError>> LocalStart<'scope, P, E> {
    pub(crate) fn scoped<Fut>(
        shared: &'scope Shared<E>,
        f: impl FnOnce(TaskStatus<P>) -> Fut,
        name: Name,
        at: &'static Location<'static>,
    ) -> Self
    where
        Fut: Future<Output = Result<(), E>> + 'scope,
    {
        let inner = Inner::new(shared.inbox().clone(), shared, f, name, at);
        Self { inner, not_send: PhantomData }
    }
}

impl<P, E: TaskError + From<StartError>> Future for LocalStart<'_, P, E> {
    type Output = Result<P, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.poll(cx)
    }
}
