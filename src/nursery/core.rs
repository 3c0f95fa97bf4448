//! What all nurseries have in common: the slot, and its end. The ready queue is in [`queue`], the way to the parent in [`parent`].
//!
//! Invariants, for the holder of the owner:
//!
//! - every live task of the nursery is linked: the body under the nursery's node, children under `group`;
//! - a task is on the ready queue, or among those that were taken off it to be polled, iff it is `QUEUED`;
//! - the nursery is awake from the moment the parent was woken (or the nursery's poll began) until that poll ends, and so while a
//!   task is queued; a poll like the one before leaves it asleep if it finds nothing to run;
//! - a task that has ended is linked no more: the nursery is done when nothing is inside of it but its empty group.

mod parent;
mod queue;

pub(super) use queue::{AWAKE, Ready};

use super::errors::Errors;
use super::join::{JoinState, Settled};
use crate::cancel::slot::ScopeSlot;
use crate::error::{Reason, ReasonKind};
use crate::sched::context::{self, BatchFrame};
use crate::sched::node::{self, Kind, Node};
use crate::sched::pool::CORE_CLASS;
use crate::sched::remote::{self, Mail, SlotPtr};
use crate::sched::root::Root;
use crate::sched::sync::Cell;
use crate::sched::wakes::{Later, Wakes, Waste};
use crate::task::header::{DONE, End, Header, QUEUED};
use crate::task::wake::WakeRef;
use std::any::Any;
use std::cell::RefCell;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr;

pub(crate) type Panic = Box<dyn Any + Send>;

/// The slot of a nursery: its scope, then the rest.
#[repr(C)]
pub(crate) struct CoreSlot {
    pub(crate) scope: ScopeSlot,
    /// The node of the children together.
    pub(crate) group: Node,
    /// The ready queue, from the first to the last one. The last one has no link. If there is none, this is null, or [`AWAKE`] if
    /// the nursery is. Near the ring of the children, for the sake of the cache.
    pub(super) tail: Cell<*const Header>,
    pub(super) head: Cell<*const Header>,
    /// The task around, if its waker is that of the parent and the nursery is not busy: for a short way to it. While there is one,
    /// that of `parent` may have ended, and this one live in its slot, which `parent` keeps mapped.
    parent_task: Cell<*const Header>,
    parent: RefCell<Option<WakeRef>>,
    /// The task that bodies and branches belong to: that in whose poll the nursery was polled last.
    pub(crate) around: Cell<*const Header>,
    /// A hold on the own node, while there is work left that a judgement must wait for.
    busy: Cell<bool>,
    /// The `Errors<E>` of the nursery.
    pub(super) typed: Cell<*const ()>,
    pub(crate) panic: Cell<Option<Panic>>,
}

/// The alias under which task headers know their nursery.
pub(crate) type Core = CoreSlot;

impl CoreSlot {
    pub(crate) fn fresh(home: &Root) -> Self {
        Self {
            scope: ScopeSlot::fresh_of(home, Kind::Nursery),
            group: Node::fresh(home, Kind::Group),
            parent: RefCell::new(None),
            parent_task: Cell::new(ptr::null()),
            around: Cell::new(ptr::null()),
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
            busy: Cell::new(false),
            typed: Cell::new(ptr::null()),
            panic: Cell::new(None),
        }
    }

    /// As [`Node::settle_in`], of both nodes.
    ///
    /// # Safety
    /// As [`Node::settle_in`].
    pub(crate) unsafe fn settle_in(this: *const Self) {
        // SAFETY: by contract.
        unsafe {
            Node::settle_in(&raw const (*this).scope.node);
            Node::settle_in(&raw const (*this).group);
        }
    }

    /// The nursery of a task that is linked under `parent`, which is the nursery's node or its group.
    ///
    /// # Safety
    /// As said.
    #[inline(always)]
    pub(crate) unsafe fn of_parent(parent: *const Node) -> *const Self {
        // SAFETY: a parent is alive.
        if unsafe { (*parent).is_group() } {
            return parent.wrapping_byte_sub(mem::offset_of!(Self, group)).cast();
        }
        rarely();
        parent.cast()
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
            let (parent, never) = (context::node(), crate::cancel::Deadline::Never);
            if shared.is_none() && !parent.is_null() {
                core.scope.begin_plainly(root, parent, never, at);
            } else {
                core.scope.begin(root, never, false, shared, at);
                if !parent.is_null() {
                    node::link(core.node(), parent).wake();
                }
            }
            core.group.begin_linked(root);
            node::link_new(&core.group, core.node());
            // The rest is as `end` has left it.
            debug_assert!(!core.has_ready());
            debug_assert!(!core.busy.get());
            core.around.set(context::task());
            core.tail.set(AWAKE);
            core.typed.set(errors.cast());
            slot
        }
    }

    /// Have all tasks ended?
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        !self.group.has_inner() && self.scope.node.has_only(&self.group)
    }

    /// Keeps the panic of a task, and cancels the nursery.
    #[cold]
    pub(super) fn panicked(&self, panic: Panic, root: &Root, h: &Header) -> Wakes {
        let mut wakes = Wakes::none();
        match self.panic.take() {
            None => self.panic.set(Some(panic)),
            Some(first) => {
                self.panic.set(Some(first));
                wakes.extend(crate::inspect::lost_panic(root, h, panic).map(Later::Tell));
            }
        }
        wakes.append(self.fail());
        wakes
    }

    /// Cancels the nursery because a task failed.
    pub(crate) fn fail(&self) -> Wakes {
        // Most of the tasks that fail are those that were cancelled for it.
        if self.scope.node.is_called() {
            return Wakes::none();
        }
        // SAFETY: called by the holder only.
        unsafe { self.scope.cancel(Reason::new(ReasonKind::Nursery)) }
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
        if busy {
            // So that the next poll looks for it.
            drop(self.parent.replace(self.parent()));
            self.parent_task.set(ptr::null());
        }
        // SAFETY: called by the holder only.
        unsafe {
            if busy {
                node::hold(self.node(), 1);
            } else {
                node::release(self.node(), 1).wake();
            }
        }
    }

    /// Queues a task that was begun under the nursery, with its future.
    ///
    /// # Safety
    /// This thread holds `root`, the owner. `h` was begun for this nursery just now, under `parent`.
    #[inline(always)]
    pub(crate) unsafe fn adopt_new(&self, h: &Header, parent: &Node, root: &Root) {
        // SAFETY: by contract. A task that is born cancelled wakes nobody: it is `QUEUED` since it was begun.
        unsafe { node::close_ring(&h.node, parent) };
        if !context::ambient(|a| a.locals.get()).is_null() {
            inherit(h);
        }
        if self.push_ready(h) {
            self.wake_parent();
        }
        // Last, since it may panic. A child has no name yet: `introduce` tells of it.
        if root.is_special() && !h.vtable.get().is_child {
            crate::inspect::task_spawned(root, h);
        }
    }

    /// Drops the futures of all tasks. The first panic comes back.
    ///
    /// If this thread does not hold the owner, another thread may run the root now, and wake the tasks: only the futures are
    /// touched, and what that thread does not change either (the ring of the tasks, `vtable`, `gone`). The rest is left to
    /// `end`.
    ///
    /// # Safety
    /// The nursery's future is being dropped by this thread.
    pub(crate) unsafe fn drop_futures(&self) -> Option<Panic> {
        let mut first = None;
        if self.scope.node.is_here() {
            // The task that the nursery was polled in may be gone.
            self.around.set(context::task());
            // SAFETY: held.
            unsafe { self.drop_tasks(&mut first) };
            return first;
        }
        for node in self.group.inner().chain(self.bodies()) {
            // SAFETY: tasks are linked by their headers' nodes.
            let h = unsafe { &*node.cast::<Header>() };
            if !h.take_gone() {
                // SAFETY: once, as `gone` says.
                keep_first(&mut first, || unsafe { (h.vtable.get().drop)(h) });
            }
        }
        first
    }

    /// The tasks under the nursery's own node.
    fn bodies(&self) -> impl Iterator<Item = *const Node> {
        self.scope.node.inner().filter(|n| {
            // SAFETY: linked nodes are alive.
            unsafe { (**n).kind() == Kind::Task }
        })
    }

    /// Drops the tasks, each future in its frame: children first. A task that is dropped may still reach the others.
    ///
    /// # Safety
    /// This thread holds the owner; the nursery's future is being dropped.
    unsafe fn drop_tasks(&self, panic: &mut Option<Panic>) {
        let mut wakes = Wakes::none();
        // SAFETY: this thread's.
        let a = unsafe { &*context::pointer() };
        let frame = BatchFrame::save(a);
        let next = || self.group.first().or_else(|| self.bodies().next());
        while let Some(node) = next() {
            // SAFETY: tasks are linked by their headers' nodes; held.
            unsafe {
                let h = &*node.cast::<Header>();
                if !h.take_gone() {
                    a.node.set(node);
                    a.task.set(h);
                    a.locals.set(if h.vtable.get().is_child { h.locals() } else { frame.locals });
                    a.freshen();
                    // Once, as `gone` says.
                    keep_first(panic, || (h.vtable.get().drop)(h));
                    frame.restore(a);
                }
                wakes.append(free_task(h));
            }
        }
        keep_first(panic, || wakes.wake());
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

    /// As [`CoreSlot::end`], of a nursery that has ended by itself, on the thread that it began on, and was not cancelled. False:
    /// nothing was done.
    ///
    /// # Safety
    /// As [`CoreSlot::end`].
    #[inline(never)]
    pub(super) unsafe fn end_plainly(&self) -> bool {
        let root = context::root();
        // A panic would have cancelled it.
        // One that is away has a flag.
        let is_plain = self.scope.node.is_at_home_here() && self.scope.is_plain_around(&self.group);
        // SAFETY: not borrowed: nothing that runs with it borrowed comes here.
        let parent = unsafe { &mut *self.parent.as_ptr() };
        if !is_plain || self.has_ready() || matches!(parent, Some(WakeRef::Foreign(_))) {
            return false;
        }
        debug_assert!(!self.busy.get());
        self.typed.set(ptr::null());
        self.parent_task.set(ptr::null());
        if let Some(WakeRef::Task(task)) = parent {
            // SAFETY: forgotten in its place.
            unsafe {
                drop(ptr::read(task));
                ptr::write(parent, None);
            }
        }
        // SAFETY: by contract; the context's root is held by this thread, and has not ended. As just found out.
        unsafe { self.scope.end_around(&self.group, &*root, CORE_CLASS) };
        true
    }

    /// Ends the use of the slot, and of the slots of its tasks, whose futures are gone.
    ///
    /// # Safety
    /// This thread holds the owner. `node` heads a nursery's slot.
    pub(crate) unsafe fn end(node: *const Node) -> Wakes {
        // SAFETY: by contract.
        unsafe {
            let core = &*node.cast::<Self>();
            if core.end_plainly() {
                return Wakes::none();
            }
            let mut wakes = Wakes::none();
            while let Some(child) = core.group.first() {
                wakes.append(free_task(&*child.cast::<Header>()));
            }
            wakes.append(node::retire(&core.group));
            while let Some(body) = { core.bodies().next() } {
                wakes.append(free_task(&*body.cast::<Header>()));
            }
            // Nobody but the queue knows its tasks any more.
            if core.has_ready() {
                let mut tasks = core.take_ready();
                while !tasks.is_over() {
                    release_task(&*tasks.next(), &mut wakes);
                }
            }
            core.busy.set(false);
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

/// Makes a branch one: what is chosen by a condition has to wait for what is compared.
#[cold]
#[inline]
const fn rarely() {}

/// A new child inherits the task locals in force, of which there are some.
#[cold]
#[inline(never)]
fn inherit(h: &Header) {
    if h.vtable.get().is_child {
        let locals = crate::nursery::task::current_locals();
        h.with_extras(|e| e.locals = locals);
    }
}

/// Runs `f`; the first panic of several is kept.
pub(crate) fn keep_first(first: &mut Option<Panic>, f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        match first {
            None => *first = Some(panic),
            // Its payload may panic when it is dropped.
            Some(_) => mem::forget(panic),
        }
    }
}

/// A panic of what was dropped goes on, unless another one does.
pub(crate) fn go_on(panic: Option<Panic>) {
    let Some(panic) = panic else { return };
    if std::thread::panicking() {
        // Its payload may panic when it is dropped.
        mem::forget(panic);
    } else {
        resume_unwind(panic);
    }
}

/// Frees the slot of a task whose future is gone; if it is queued, that is left to the queue.
///
/// # Safety
/// This thread holds the owner.
#[inline(always)]
pub(crate) unsafe fn free_task(h: &Header) -> Wakes {
    // SAFETY: by contract; a task that was dropped has left no value.
    unsafe {
        let flags = h.node.flags();
        h.node.set_flags(flags | DONE);
        let told = crate::inspect::to_be_told(h);
        let exit = h.node.take_extras().map(|extras| Later::Exit(extras, h.task_id()));
        let mut wakes = node::retire(&h.node);
        wakes.extend(told.map(Later::Tell));
        wakes.extend(exit);
        if settle(h, flags & QUEUED == 0, &mut wakes).last {
            give_back(h);
        }
        wakes
    }
}

/// A task whose node has been retired lets go of its slot; gives it back, unless a handle still looks at it.
///
/// # Safety
/// Nothing else uses the slot any more, and no value is left in it that nobody will ask for: the task had none, or has
/// settled before.
#[inline(always)]
pub(super) unsafe fn release_task(h: &Header, wakes: &mut Wakes) {
    // SAFETY: by contract.
    unsafe {
        if settle(h, true, wakes).last {
            give_back(h);
        }
    }
}

/// Tells a task's handle, if it has one, that the task has ended. What is to be done with the slot comes back.
///
/// # Safety
/// The task's future is gone and its node retired; it has not left its slot.
#[inline(always)]
pub(super) unsafe fn settle(h: &Header, leaving: bool, wakes: &mut Wakes) -> Settled {
    if leaving {
        // As it is of a free slot. The future is not asked for any more.
        h.set_gone(false);
    }
    if h.vtable.get().end == End::Hands {
        // SAFETY: by contract.
        unsafe { JoinState::of(h).settle(h.node.home(), leaving, wakes) }
    } else {
        Settled { last: leaving, unclaimed: false }
    }
}

/// Gives a task slot back to the root that it came from.
///
/// # Safety
/// Its node has been retired, nothing uses the slot any more, and it is not `gone`, as one that has ended plainly or
/// [settled](settle) for the last time.
#[inline(always)]
pub(super) unsafe fn give_back(h: *const Header) {
    // SAFETY: by contract.
    unsafe {
        let home = (*h).node.home();
        if home.is_here() {
            give_back_here(h, (*h).vtable.get().class, home);
        } else {
            home.pool.release(&(*h).node, (*h).vtable.get().class, false);
            Root::count_dec(home);
        }
    }
}

/// As [`give_back`], on the thread that holds the slot's home.
///
/// # Safety
/// As [`give_back`]; this thread holds `home`. The slot is of this class.
#[inline(always)]
pub(super) unsafe fn give_back_here(h: *const Header, class: usize, home: &Root) {
    // SAFETY: by contract.
    unsafe { home.pool.release(&(*h).node, class, true) };
    home.count_dec_here();
}
