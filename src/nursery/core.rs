//! What all nurseries have in common: the ready queue, the polling of children, the end of tasks.
//!
//! Invariants, for the holder of the owner:
//!
//! - every live task of the nursery is linked: the body under the nursery's node, children under `group`;
//! - a task is on the ready queue (or in the batch that is being run) iff it is `QUEUED`;
//! - `notified` is set from the moment the parent was woken (or the nursery's poll began) until that poll ends;
//! - `live` counts the tasks that have not ended.
//!
//! The nursery runs *batches*: the tasks that are runnable when the batch begins. What is woken meanwhile runs in the next
//! one, at most [`BATCHES`] of them before the nursery's own siblings get their turn.

use crate::cancel::region::{Judgement, judge, strip};
use crate::cancel::slot::ScopeSlot;
use crate::error::{Reason, ReasonKind, TaskError};
use crate::sched::context::{self, Ambient, BatchFrame, Frame};
use crate::sched::node::{self, Kind, Later, Node, Wakes, Waste};
use crate::sched::pool::{self, CORE_CLASS};
use crate::sched::remote::{self, Mail, SlotPtr};
use crate::sched::root::{Root, finish_extras};
use crate::task::header::{self, DONE, Ended, Header, QUEUED, VTable};
use crate::task::park;
use crate::task::wake::{self, WakeRef};
use crate::testing::Order;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

/// Batches that a nursery runs in one poll.
const BATCHES: u32 = 16;

pub(crate) type Panic = Box<dyn Any + Send>;

/// The slot of a nursery: its scope, then the rest.
#[repr(C)]
pub(crate) struct CoreSlot {
    pub(crate) scope: ScopeSlot,
    /// The node of the children together.
    pub(crate) group: Node,
    parent: RefCell<Option<WakeRef>>,
    /// The parent again, if it is a task of ours: for a short way to it.
    parent_task: Cell<*const Header>,
    /// The task that `around` bodies belong to.
    pub(crate) around: Cell<*const Header>,
    pub(crate) notified: Cell<bool>,
    head: Cell<*const Header>,
    tail: Cell<*const Header>,
    pub(crate) live: Cell<usize>,
    /// A hold on the own node, while there is work left that a judgement must wait for.
    busy: Cell<bool>,
    /// The `Errors<E>` of the nursery.
    typed: Cell<*const ()>,
    pub(crate) panic: Cell<Option<Panic>>,
}

/// The alias under which task headers know their nursery.
pub(crate) type Core = CoreSlot;

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

    pub(crate) fn take(&self) -> Vec<E> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

impl CoreSlot {
    pub(crate) fn fresh(home: *const Root) -> Self {
        Self {
            scope: ScopeSlot::fresh_of(home, Kind::Nursery),
            group: Node::fresh(home, Kind::Group),
            parent: RefCell::new(None),
            parent_task: Cell::new(ptr::null()),
            around: Cell::new(ptr::null()),
            notified: Cell::new(false),
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
            live: Cell::new(0),
            busy: Cell::new(false),
            typed: Cell::new(ptr::null()),
            panic: Cell::new(None),
        }
    }

    pub(crate) fn node(&self) -> *const Node {
        &raw const self.scope.node
    }

    /// Opens a nursery under the context's root and node.
    ///
    /// # Safety
    /// The context has a root; `errors` outlives the use of the slot.
    pub(crate) unsafe fn open<E>(
        errors: *const Errors<E>,
        shared: Option<std::sync::Arc<crate::cancel::ScopeShared>>,
        at: &'static Location<'static>,
    ) -> *const Self {
        // SAFETY: the context's root is held by this thread.
        unsafe {
            let root = &*context::root();
            let slot = root.pool.allocate(root, CORE_CLASS).cast::<Self>();
            let core = &*slot;
            core.scope.begin(root, crate::cancel::Deadline::Never, false, shared, at);
            if !context::node().is_null() {
                node::link(core.node(), context::node()).wake();
            }
            core.group.begin(root, 0);
            node::link(&core.group, core.node()).wake();
            core.around.set(context::task());
            core.notified.set(true);
            core.head.set(ptr::null());
            core.tail.set(ptr::null());
            core.live.set(0);
            core.busy.set(false);
            core.typed.set(errors.cast());
            slot
        }
    }

    #[inline(always)]
    pub(crate) fn push_ready(&self, h: &Header) {
        h.next_ready.set(ptr::null());
        let tail = self.tail.replace(h);
        if tail.is_null() {
            self.head.set(h);
        } else {
            // SAFETY: queued tasks are alive.
            unsafe { (*tail).next_ready.set(h) };
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.head.get().is_null()
    }

    /// Takes the only task that can be queued (a pending `start` has one).
    pub(crate) fn unqueue_all(&self) {
        self.head.set(ptr::null());
        self.tail.set(ptr::null());
    }

    /// The nursery must be polled: returns the parent task to queue, if it is this root's, or wakes whoever it is.
    #[inline(always)]
    pub(crate) fn notify_parent(&self) -> Option<*const Header> {
        if self.notified.replace(true) {
            return None;
        }
        let task = self.parent_task.get();
        // SAFETY: `parent` keeps it mapped. Should another task live there by now, it is woken for nothing: then this
        // nursery was moved away from its task, and is polled by whoever has it before it waits again.
        if !task.is_null() && unsafe { (*task).node.owner() } == context::root() {
            return Some(task);
        }
        self.notify_slowly();
        None
    }

    #[cold]
    fn notify_slowly(&self) {
        let parent = self.parent.borrow().clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }

    /// As [`CoreSlot::notify_parent`], for later.
    pub(crate) fn take_notice(&self) -> Option<WakeRef> {
        if self.notified.replace(true) {
            return None;
        }
        self.parent.borrow().clone().filter(|p| match p {
            WakeRef::Task(slot) => slot.is_live(),
            WakeRef::Foreign(_) => true,
        })
    }

    /// As [`CoreSlot::notify_parent`], all the way up.
    pub(crate) fn wake_parent(&self) {
        if let Some(parent) = self.notify_parent() {
            // SAFETY: returned only if this thread holds its owner.
            unsafe { header::wake_local(parent) };
        }
    }

    #[inline(always)]
    pub(crate) fn set_parent(&self, cx: &Context<'_>) {
        if wake::header_of(cx.waker()) != Some(self.parent_task.get()) {
            self.set_parent_slowly(cx);
        }
    }

    #[cold]
    fn set_parent_slowly(&self, cx: &Context<'_>) {
        self.around.set(context::task());
        if self.parent.borrow().as_ref().is_some_and(|p| p.will_wake(cx.waker())) {
            return;
        }
        let fresh = WakeRef::from_waker(cx.waker());
        let task = match &fresh {
            WakeRef::Task(slot) => slot.as_ptr().cast(),
            WakeRef::Foreign(_) => ptr::null(),
        };
        let old = self.parent.replace(Some(fresh));
        self.parent_task.set(task);
        drop(old);
    }

    pub(crate) fn parent_clone(&self) -> Option<WakeRef> {
        self.parent.borrow().clone()
    }

    /// Polls the tasks that are runnable now, then those that became so meanwhile: at most [`BATCHES`] times, so that
    /// sibling nurseries and deadlines get their turn, and as long as the budget lasts.
    ///
    /// # Safety
    /// This thread holds `root`, the owner; the nursery is being polled.
    #[inline]
    pub(crate) unsafe fn run_batches(&self, root: &Root) {
        context::ambient(|a| {
            let frame = BatchFrame::enter(a);
            for _ in 0..BATCHES {
                // SAFETY: by contract.
                let spent = unsafe { self.run_batch(root, a, &frame) };
                if spent || !self.has_ready() {
                    break;
                }
            }
            drop(frame);
        });
    }

    /// Polls the tasks that are runnable now, once.
    ///
    /// # Safety
    /// As [`CoreSlot::run_batches`].
    pub(crate) unsafe fn run_one_batch(&self, root: &Root) {
        context::ambient(|a| {
            let frame = BatchFrame::enter(a);
            // SAFETY: by contract.
            let _spent = unsafe { self.run_batch(root, a, &frame) };
            drop(frame);
        });
    }

    /// True: the budget is spent.
    #[inline(always)]
    unsafe fn run_batch(&self, root: &Root, a: &Ambient, frame: &BatchFrame<'_>) -> bool {
        /// What has not been run goes back on the queue, also after a panic of an instrument.
        struct Batch<'a> {
            core: &'a CoreSlot,
            at: *const Header,
            last: *const Header,
        }
        impl Drop for Batch<'_> {
            #[inline(always)]
            fn drop(&mut self) {
                if !self.at.is_null() {
                    self.core.put_back(self.at, self.last);
                }
            }
        }
        let (at, last) = (self.head.replace(ptr::null()), self.tail.replace(ptr::null()));
        let mut batch = Batch { core: self, at, last };
        if root.order.get() != Order::Fifo {
            (batch.at, batch.last) = permute(at, root);
        }
        while !batch.at.is_null() {
            // SAFETY: queued tasks are alive.
            let h = unsafe { &*batch.at };
            let budget = root.budget.get();
            if budget == 0 || !root.host_has_budget() {
                return true;
            }
            root.budget.set(budget - 1);
            batch.at = h.next_ready.get();
            if h.has(DONE) {
                // It was woken in the very poll in which it ended; only the queue still knew it.
                if h.node.owner().is_null() {
                    // SAFETY: the node was retired then.
                    unsafe { release_task(h) };
                }
                continue;
            }
            // SAFETY: held; the task is this nursery's.
            unsafe { self.poll_task(h, root, a, frame) };
        }
        false
    }

    /// The rest of a batch goes before what was woken meanwhile.
    #[cold]
    fn put_back(&self, first: *const Header, last: *const Header) {
        // SAFETY: queued tasks are alive.
        unsafe { (*last).next_ready.set(self.head.get()) };
        if self.head.get().is_null() {
            self.tail.set(last);
        }
        self.head.set(first);
    }

    #[inline(always)]
    unsafe fn poll_task(&self, h: &Header, root: &Root, a: &Ambient, frame: &BatchFrame<'_>) {
        let cancelled_before = h.node.is_effective();
        let deliveries = root.deliveries.get();
        h.state.set(0);
        h.wait.set(None);
        let vtable = h.vtable.get();
        a.node.set(&h.node);
        a.task.set(h);
        a.locals.set(if vtable.is_child { h.locals() } else { frame.locals });
        a.steps.set(context::STEPS);
        a.delivered.set(0);
        let waker = wake::lend(h);
        let mut cx = Context::from_waker(&waker);
        // SAFETY: the slot is in use and its future alive.
        let polled = catch_unwind(AssertUnwindSafe(|| unsafe {
            if root.instrumented.get() { poll_instrumented(h, root, &mut cx) } else { (vtable.poll)(h, &mut cx) }
        }));
        let ended = match polled {
            Ok(Poll::Pending) if !h.node.is_effective() => {
                return;
            }
            Ok(Poll::Pending) => {
                let told = root.deliveries.get() != deliveries;
                // SAFETY: held; the future is alive.
                match unsafe { Self::judge_task(h, root, cancelled_before, told, &cx) } {
                    Some(ended) => ended,
                    None => return,
                }
            }
            Ok(Poll::Ready(ended)) => ended,
            Err(panic) => {
                // SAFETY: a task's nursery outlives it.
                unsafe { (*h.core.get()).panicked(panic, root, h) };
                Ended::Failed
            }
        };
        let _ = ended;
        h.gone.set(true);
        h.set(DONE);
        // SAFETY: dropped once: the task ends here, and `gone` says so whatever panics from now on.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { (vtable.drop)(h) }));
        if let Err(panic) = dropped {
            // SAFETY: as above.
            unsafe { (*h.core.get()).panicked(panic, root, h) };
        }
        frame.restore();
        // SAFETY: the future is gone.
        unsafe { Self::end_task(h, root) };
    }

    #[cold]
    unsafe fn judge_task(
        h: &Header,
        root: &Root,
        cancelled_before: bool,
        told: bool,
        cx: &Context<'_>,
    ) -> Option<Ended> {
        // SAFETY: by the caller's contract.
        unsafe {
            match judge(&h.node, cancelled_before, told, cx) {
                Judgement::Again => {
                    header::wake_local(h);
                    None
                }
                Judgement::Wait => None,
                Judgement::Drop => {
                    root.deliveries.set(root.deliveries.get() + 1);
                    match catch_unwind(AssertUnwindSafe(|| (h.vtable.get().abandon)(h))) {
                        Ok(ended) => Some(ended),
                        Err(panic) => {
                            (*h.core.get()).panicked(panic, root, h);
                            Some(Ended::Failed)
                        }
                    }
                }
            }
        }
    }

    /// A task's future is gone: its slot goes, and its nursery hears of it.
    unsafe fn end_task(h: &Header, root: &Root) {
        // SAFETY: held by the caller; a task's nursery outlives it.
        let core = unsafe { &*h.core.get() };
        let told = root.instrumented.get().then(|| crate::inspect::last_words(h));
        let extras = h.extras.take();
        let id = h.task_id();
        // First what must not be left half done, then foreign code.
        // SAFETY: the future is gone; the slot itself waits for the ready queue, if it is on it.
        let wakes = unsafe {
            let wakes = node::retire(&h.node);
            if !h.has(QUEUED) {
                release_task(h);
            }
            wakes
        };
        core.live.set(core.live.get() - 1);
        let last = core.live.get() == 0;
        if let Some(told) = told {
            crate::inspect::task_exited(root, &told);
        }
        if extras.is_some() {
            finish_extras(extras, id);
        }
        wakes.wake();
        if last {
            core.wake_parent();
        }
    }

    #[cold]
    fn panicked(&self, panic: Panic, root: &Root, h: &Header) {
        match self.panic.take() {
            None => self.panic.set(Some(panic)),
            Some(first) => {
                self.panic.set(Some(first));
                crate::inspect::lost_panic(root, h, panic);
            }
        }
        self.fail();
    }

    /// Cancels the nursery because a task failed.
    pub(crate) fn fail(&self) {
        if !self.scope.node.is_called() {
            // SAFETY: called by the holder only.
            unsafe { self.scope.cancel(Reason::new(ReasonKind::Nursery)) }.wake();
        }
    }

    /// Cancels the children, present and future.
    pub(crate) fn cancel_children(&self) {
        // SAFETY: called by the holder only.
        unsafe { node::cancel(&self.group) }.wake();
    }

    /// Takes or gives back the hold that says: there is work left, do not judge yet.
    #[inline(always)]
    pub(crate) fn set_busy(&self, busy: bool) {
        if self.busy.get() != busy {
            self.change_busy(busy);
        }
    }

    #[cold]
    fn change_busy(&self, busy: bool) {
        self.busy.set(busy);
        // SAFETY: called by the holder only.
        unsafe {
            if busy {
                node::hold(self.node(), 1);
            } else {
                node::release(self.node(), 1).wake();
            }
        }
    }

    /// Puts a task slot with its future under the nursery and queues it.
    ///
    /// # Safety
    /// This thread holds `root`, the owner. `h` has been begun for this nursery.
    #[inline(always)]
    pub(crate) unsafe fn adopt_new(&self, h: &Header, root: &Root, under: *const Node) {
        // SAFETY: by contract.
        unsafe {
            node::link(&h.node, under).wake();
            self.live.set(self.live.get() + 1);
            let locals = context::ambient(|a| a.locals.get());
            if !locals.is_null() && h.vtable.get().is_child {
                std::sync::Arc::increment_strong_count(locals);
                let locals = std::sync::Arc::from_raw(locals);
                h.with_extras(|e| e.locals = Some(locals));
            }
            // A child is still to be named.
            if root.instrumented.get() && !h.vtable.get().is_child {
                crate::inspect::task_spawned(root, h);
            }
            header::wake_local(h);
        }
    }

    /// Drops the futures of all tasks, in their frames if this thread holds the owner. The first panic comes back.
    ///
    /// If it does not, another thread may run the root now, and wake the tasks: only the futures are touched, and what
    /// that thread does not change either (the ring of the tasks, `vtable`, `gone`). The rest is left to `end`.
    ///
    /// # Safety
    /// The nursery's future is being dropped by this thread.
    pub(crate) unsafe fn drop_futures(&self) -> Option<Panic> {
        let here = self.scope.node.is_here();
        if here {
            // The task that the nursery was polled in may be gone.
            self.around.set(context::task());
        }
        let mut first = None;
        let tasks = self.group.inner().chain(self.scope.node.inner().filter(|n| {
            // SAFETY: linked nodes are alive.
            unsafe { (**n).kind == Kind::Task }
        }));
        for node in tasks {
            // SAFETY: tasks are linked by their headers' nodes.
            let h = unsafe { &*node.cast::<Header>() };
            let frame = here.then(|| {
                let locals = if h.vtable.get().is_child { h.locals() } else { context::ambient(|a| a.locals.get()) };
                Frame::enter_task(h, &h.node, locals)
            });
            if !h.gone.replace(true) {
                // SAFETY: once, as `gone` says.
                keep_first(&mut first, || unsafe { (h.vtable.get().drop)(h) });
            }
            // The frame borrows the locals.
            drop(frame);
            if here {
                let extras = h.extras.take();
                keep_first(&mut first, || finish_extras(extras, h.task_id()));
            }
        }
        first
    }

    /// Ends the nursery's slot, wherever its root is.
    ///
    /// # Safety
    /// The slot is in use; its tasks' futures are gone. It is not used afterwards.
    pub(crate) unsafe fn end_from_anywhere(&self) {
        let node = self.node();
        // SAFETY: by contract.
        unsafe { remote::perform((*node).owner(), Mail::EndCore(SlotPtr(node))) };
    }

    /// Ends the use of the slot, and of the slots of its tasks, whose futures are gone.
    ///
    /// # Safety
    /// This thread holds the owner. `node` heads a nursery's slot.
    pub(crate) unsafe fn end(node: *const Node) -> Wakes {
        // SAFETY: by contract.
        unsafe {
            let core = &*node.cast::<Self>();
            let mut wakes = Wakes::none();
            let mut at = core.head.replace(ptr::null());
            while !at.is_null() {
                let next = (*at).next_ready.get();
                // Retired tasks are known to the queue alone; the others are linked.
                if (*at).has(DONE) && (*at).node.owner().is_null() {
                    release_task(&*at);
                }
                at = next;
            }
            while !core.group.first.get().is_null() {
                wakes.append(free_task(&*core.group.first.get().cast::<Header>()));
            }
            wakes.append(node::retire(&core.group));
            loop {
                let body = core.scope.node.inner().find(|n| (**n).kind == Kind::Task);
                match body {
                    Some(body) => wakes.append(free_task(&*body.cast::<Header>())),
                    None => break,
                }
            }
            core.head.set(ptr::null());
            core.tail.set(ptr::null());
            core.typed.set(ptr::null());
            core.parent_task.set(ptr::null());
            if let Some(foreign @ WakeRef::Foreign(_)) = core.parent.take() {
                wakes.waste(Some(Waste::Wake(foreign)));
            }
            wakes.waste(core.panic.take().map(Waste::Panic));
            wakes.append(ScopeSlot::end(node));
            wakes
        }
    }
}

#[cold]
unsafe fn poll_instrumented(h: &Header, root: &Root, cx: &mut Context<'_>) -> Poll<Ended> {
    crate::inspect::before_step(root, h);
    // SAFETY: by the caller's contract.
    let polled = unsafe { (h.vtable.get().poll)(h, cx) };
    crate::inspect::after_step(root, h);
    polled
}

/// Runs `f`; the first panic of several is kept.
pub(crate) fn keep_first(first: &mut Option<Panic>, f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        match first {
            None => *first = Some(panic),
            // Its payload may panic when it is dropped.
            Some(_) => std::mem::forget(panic),
        }
    }
}

/// Frees the slot of a task whose future is gone.
///
/// # Safety
/// This thread holds the owner.
#[inline(always)]
pub(crate) unsafe fn free_task(h: &Header) -> Wakes {
    // SAFETY: by contract.
    unsafe {
        h.set(DONE);
        let extras = h.extras.take();
        let mut wakes = node::retire(&h.node);
        if let Some(extras) = extras {
            wakes.push(Later::Exit(extras, h.task_id()));
        }
        release_task(h);
        wakes
    }
}

/// Gives back the memory of a task whose node has been retired.
///
/// # Safety
/// Nothing uses the slot any more.
#[inline(always)]
unsafe fn release_task(h: &Header) {
    // SAFETY: by contract.
    unsafe {
        let home = h.node.home_ptr();
        (*home).pool.release(&h.node, h.vtable.get().class, ptr::eq(context::root(), home));
        Root::count_dec(home);
    }
}

/// Puts a batch into the order that a test asked for. First and last come back.
#[cold]
fn permute(first: *const Header, root: &Root) -> (*const Header, *const Header) {
    let mut batch = Vec::new();
    let mut at = first;
    while !at.is_null() {
        batch.push(at);
        // SAFETY: queued tasks are alive.
        at = unsafe { (*at).next_ready.get() };
    }
    match root.order.get() {
        Order::Fifo => {}
        Order::Lifo => batch.reverse(),
        Order::Shuffle(_) => {
            for i in (1..batch.len()).rev() {
                batch.swap(i, root.random(i + 1));
            }
        }
    }
    let last = batch.last().copied().unwrap_or(ptr::null());
    let mut next = ptr::null();
    for h in batch.into_iter().rev() {
        // SAFETY: as above.
        unsafe { (*h).next_ready.set(next) };
        next = h;
    }
    (next, last)
}

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

struct Child<F, E, const IS_CHILD: bool>(std::marker::PhantomData<(F, E)>);

impl<F: Future<Output = Result<(), E>>, E: TaskError, const IS_CHILD: bool> Child<F, E, IS_CHILD> {
    const CLASS: usize = pool::task_class(size_of::<TaskCell<F>>());
    const VTABLE: &'static VTable = &VTable {
        poll: Self::poll,
        abandon: Self::abandon,
        drop: Self::drop,
        class: Self::CLASS,
        is_child: IS_CHILD,
        in_group: true,
    };

    unsafe fn fut(h: *const Header) -> *mut F {
        // SAFETY: the header is the head of such a cell; the future is used by one thread, in its poll or drop.
        unsafe { &raw mut (*h.cast::<TaskCell<F>>().cast_mut()).fut }.cast()
    }

    unsafe fn poll(h: *const Header, cx: &mut Context<'_>) -> Poll<Ended> {
        // SAFETY: pinned: slots do not move.
        let fut = unsafe { Pin::new_unchecked(&mut *Self::fut(h)) };
        match fut.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ended::Ok),
            // SAFETY: as for `poll`.
            Poll::Ready(Err(e)) => Poll::Ready(unsafe { store_error(&*h, e) }),
        }
    }

    unsafe fn abandon(h: *const Header) -> Ended {
        // SAFETY: as `poll`; called in the task's frame.
        unsafe { store_error(&*h, E::from(park::cancelled())) }
    }

    unsafe fn drop(h: *const Header) {
        // SAFETY: called once.
        unsafe { ptr::drop_in_place(Self::fut(h)) };
    }
}

/// Hands the error of a task to its nursery, as far as its own scope and that of the children let it pass, and cancels
/// the nursery.
///
/// # Safety
/// The task's nursery has errors of type `E`, and is held by this thread.
pub(crate) unsafe fn store_error<E: TaskError>(h: &Header, e: E) -> Ended {
    // SAFETY: by contract.
    let core = unsafe { &*h.core.get() };
    let mut error = Some(e);
    for node in [&h.node, &core.group] {
        if (ptr::eq(node, &h.node) || h.vtable.get().in_group) && node.is_called() && !node.parent_is_effective() {
            error = error.and_then(|e| strip(e).0);
        }
    }
    match error {
        None => Ended::Ok,
        Some(e) => {
            // SAFETY: by contract.
            let errors = unsafe { &*core.typed.get().cast::<Errors<E>>() };
            errors.push(e);
            core.fail();
            Ended::Failed
        }
    }
}

/// Makes a child of `fut` in `core`. The header comes back.
///
/// # Safety
/// This thread holds `root`, the owner of `core`; the errors of `core` are of type `E`; whatever `fut` borrows lives
/// until the nursery has ended or dropped it.
#[inline(always)]
pub(crate) unsafe fn spawn_task<F, E>(core: &CoreSlot, root: &Root, fut: F) -> *const Header
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
    unsafe { place_fitting::<F, E, false>(core, root, fut) }
}

#[inline(always)]
unsafe fn place_fitting<F, E, const IS_CHILD: bool>(core: &CoreSlot, root: &Root, fut: F) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    // SAFETY: by contract.
    unsafe {
        if const { fits::<F>() } {
            place::<F, E, IS_CHILD>(core, root, fut)
        } else {
            place::<Pin<Box<F>>, E, IS_CHILD>(core, root, Box::pin(fut))
        }
    }
}

#[inline(always)]
unsafe fn place<F, E, const IS_CHILD: bool>(core: &CoreSlot, root: &Root, fut: F) -> *const Header
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    // SAFETY: the class has room for the cell.
    unsafe {
        let slot = root.pool.allocate(root, Child::<F, E, IS_CHILD>::CLASS).cast::<Header>();
        ptr::write(Child::<F, E, IS_CHILD>::fut(slot), fut);
        (*slot).begin(root, Child::<F, E, IS_CHILD>::VTABLE, core);
        core.adopt_new(&*slot, root, &core.group);
        slot
    }
}
