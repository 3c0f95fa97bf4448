//! The head of a task's memory: `{header | future}` in one pooled slot.
//!
//! State of a header, touched only by the thread that holds its owner, save for `next_remote`, and for two parts that stand in
//! the node, where there is room for them: the stack that `next_remote` is of, and whether the future is gone.
//! Among the node's flags:
//!
//! - `QUEUED`: on its nursery's ready queue (or in the batch taken from it), exactly once.
//! - `DONE`: the future is gone or going; the slot is about to be recycled, wakes are ignored.
//! - `APART`: under no nursery, and so on no queue: a root's main task, or one on its way to another root.
//!
//! Their high byte is the operation that it waits in, and `turn` then says where; in a task that is `QUEUED`, and not `APART`,
//! `turn` is the queue's. So who takes a task off its queue clears that byte as well, and nobody writes it before.

use crate::nursery::core::Core;
use crate::sched::node::{FLAGS, Foreign, Kind, Node};
use crate::sched::root::Root;
use crate::sched::stack::{Linked, Place};
use crate::sched::sync::{AtomicPtr, Cell};
use crate::sched::wakes::{Later, Wakes};
use crate::task::local::Locals;
use crate::task::park::Op;
use crate::task::wake::WakeRef;
use crate::task::{OnExit, TaskId};
use std::borrow::Cow;
use std::convert::Infallible;
use std::mem;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(crate) const QUEUED: u16 = 8;
pub(crate) const DONE: u16 = 16;
pub(crate) const APART: u16 = 128;

/// The poll of a task whose nursery has errors of type `E`.
pub(crate) type PollTask<E> = unsafe fn(*const Header, &mut Context<'_>) -> Poll<Result<(), E>>;

/// How a task with a value ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum End {
    /// Its poll leaves the future to be dropped.
    Leaves,
    /// Its poll has dropped the future, or there is nothing in it to be dropped.
    Drops,
    /// So, and left the value to a handle.
    Hands,
}

/// What the future behind a header can do. The functions get the slot; the frame is pushed by the caller.
pub(crate) struct VTable {
    /// A [`PollTask`], for the errors of the task's nursery.
    poll: unsafe fn(),
    /// Ends the task with `Cancelled`, as if its future had returned that.
    pub(crate) abandon: unsafe fn(*const Header) -> Wakes,
    /// Drops the future (once).
    pub(crate) drop: unsafe fn(*const Header),
    /// What is left when the poll has returned a value.
    pub(crate) end: End,
    /// Drops a value that the handle will not ask for.
    pub(crate) drop_unclaimed: unsafe fn(*const Header),
    /// Size class of the slot.
    pub(crate) class: usize,
    /// A child, as opposed to a body, a branch of a race or a main future, which belong to the task around.
    pub(crate) is_child: bool,
    /// Linked under its nursery's group.
    pub(crate) in_group: bool,
}

impl VTable {
    /// Of a task under its nursery's node.
    pub(crate) const fn new<E>(
        poll: PollTask<E>,
        abandon: unsafe fn(*const Header) -> Wakes,
        drop: unsafe fn(*const Header),
        class: usize,
    ) -> Self {
        // SAFETY: a function pointer; called only after it was turned back (`poll`).
        let poll = unsafe { mem::transmute::<PollTask<E>, unsafe fn()>(poll) };
        Self { poll, abandon, drop, end: End::Leaves, drop_unclaimed: nothing, class, is_child: false, in_group: false }
    }

    /// Of a task under its nursery's group: a child, or a branch of a race.
    pub(crate) const fn in_group(mut self, is_child: bool) -> Self {
        self.is_child = is_child;
        self.in_group = true;
        self
    }

    /// Of a task whose poll drops the future before it returns a value.
    pub(crate) const fn dropping(mut self) -> Self {
        self.end = End::Drops;
        self
    }

    /// Of a task that has a handle, whose value stands in the slot, and that drops its future.
    pub(crate) const fn with_handle(mut self, drop_unclaimed: unsafe fn(*const Header)) -> Self {
        self.end = End::Hands;
        self.drop_unclaimed = drop_unclaimed;
        self
    }

    /// Polls the future. A value goes to its handle; an error is for the nursery that the header belongs to when the
    /// poll returns.
    ///
    /// # Safety
    /// `E` is the type that this was made for: that of the errors of the task's nursery.
    #[inline(always)]
    pub(crate) unsafe fn poll<E>(&self) -> PollTask<E> {
        // SAFETY: by contract.
        unsafe { mem::transmute::<unsafe fn(), PollTask<E>>(self.poll) }
    }
}

/// What few nodes have; all but `foreign` only tasks.
#[derive(Default)]
pub(crate) struct Extras {
    /// As [`Header::task_id`] gives it; 0 if nobody has asked for it yet.
    pub(crate) id: u64,
    pub(crate) foreign: Foreign,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) locals: Option<Arc<Locals>>,
    pub(crate) hooks: Vec<Arc<dyn OnExit>>,
}

impl Extras {
    pub(crate) fn is_empty(&self) -> bool {
        self.foreign.is_empty() && self.name.is_none() && self.locals.is_none() && self.hooks.is_empty()
    }

    /// Tells those who wait for the end of the task, which has ended. Runs foreign code.
    pub(crate) fn tell_exit(self, id: TaskId) {
        // Also if the waker that one calls panics.
        let told = self.hooks.into_iter().map(|hook| (hook, id)).collect();
        crate::sched::wakes::each(told, |(hook, id): (Arc<dyn OnExit>, TaskId)| hook.task_exited(id));
    }
}

/// Where a task waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) op: Op,
    pub(crate) at: &'static Location<'static>,
}

/// What a task has while it is queued, and what while it is not.
#[derive(Clone, Copy)]
union Turn {
    /// Link in the ready queue, of a task that is `QUEUED` and not the last one there.
    next: *const Header,
    /// Where it waits, if its flags say in what.
    waits_at: &'static Location<'static>,
    neither: (),
}

/// See the module.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) node: Node,
    /// Link in a root's remote stack. Persists across recycling.
    next_remote: AtomicPtr<Header>,
    pub(crate) vtable: Cell<&'static VTable>,
    turn: Cell<Turn>,
}

// A child whose future has 32 bytes takes two lines of the processor's cache.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Header>() == 96);

impl Linked for Header {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next_remote
    }

    fn place(&self) -> &Place {
        &self.node.whereabouts.on_stack
    }
}

unsafe fn never(_: *const Header, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
    unreachable!("a free task slot is not polled")
}
unsafe fn nobody(_: *const Header) -> Wakes {
    Wakes::none()
}
unsafe fn nothing(_: *const Header) {}

/// Of a slot that is free, and of main tasks, whose future lives elsewhere.
pub(crate) static NO_FUTURE: VTable = VTable::new(never, nobody, nothing, 0);

impl Header {
    /// A free slot in the memory of `home`.
    pub(crate) fn fresh(home: &Root) -> Self {
        Self {
            node: Node::fresh(home, Kind::Task),
            next_remote: AtomicPtr::new(ptr::null_mut()),
            vtable: Cell::new(&NO_FUTURE),
            turn: Cell::new(Turn { neither: () }),
        }
    }

    /// A slot in the memory of `home` that is in use from the beginning, as if it had been free and [begun](Header::begin).
    ///
    /// # Safety
    /// As [`Node::begun`].
    #[inline(always)]
    pub(crate) unsafe fn begun(home: &Root, vtable: &'static VTable, at: *const Self, parent: *const Node) -> Self {
        Self {
            // SAFETY: by contract.
            node: unsafe { Node::begun(home, QUEUED, at.cast(), parent) },
            next_remote: AtomicPtr::new(ptr::null_mut()),
            vtable: Cell::new(vtable),
            turn: Cell::new(Turn { neither: () }),
        }
    }

    /// Puts a free slot to use, whose node is linked next.
    #[inline(always)]
    pub(crate) fn begin(&self, root: &Root, vtable: &'static VTable) {
        self.node.begin_with(root, QUEUED);
        debug_assert!(!self.is_gone());
        self.vtable.set(vtable);
        self.node.forget_id();
    }

    /// As [`Header::begin`], for a root's main task, which is under no node.
    pub(crate) fn begin_main(&self, root: &Root) {
        self.node.begin(root, 0);
        self.begin(root, &NO_FUTURE);
        self.node.set_flags(APART);
    }

    /// Drops the future at the end of its poll, which is the last one: it is `gone` only if that panics, or if the end of the
    /// task finds out that it is no plain one.
    ///
    /// # Safety
    /// `drop` may drop the future, which is not dropped yet.
    #[inline(always)]
    pub(crate) unsafe fn drop_in_poll(&self, drop: impl FnOnce()) {
        struct Gone<'a>(&'a Header);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                self.0.set_gone(true);
            }
        }
        let gone = Gone(self);
        drop();
        mem::forget(gone);
    }

    /// The future is dropped, or about to be; not if that was the plain end of the task, and so never of a free slot. Touched
    /// only by the one who polls or drops the task's nursery, and at last by the one who gives the slot back.
    #[inline(always)]
    pub(crate) fn is_gone(&self) -> bool {
        self.node.is_gone()
    }

    #[inline(always)]
    pub(crate) fn set_gone(&self, is_gone: bool) {
        self.node.set_gone(is_gone);
    }

    /// From now on it is gone. True: it was before.
    #[inline(always)]
    pub(crate) fn take_gone(&self) -> bool {
        let was = self.is_gone();
        self.set_gone(true);
        was
    }

    /// Who it is, for as long as it has not ended. For the holder of its owner.
    pub(crate) fn task_id(&self) -> TaskId {
        let known = self.node.id();
        if known != 0 {
            return TaskId(known);
        }
        // SAFETY: root cells are never unmapped; a task that has not ended has an owner, which is held.
        let id = unsafe { (*self.node.owner()).next_task_id() };
        self.node.set_id(id);
        TaskId(id)
    }

    /// The nursery whose ready queue this is for: the one that the task is linked under; null if it is `APART`.
    #[inline(always)]
    pub(crate) fn core(&self) -> *const Core {
        // SAFETY: a linked parent is alive; a task's is the node of its nursery or of the group in there.
        unsafe { if self.node.parent.get().is_null() { ptr::null() } else { Core::of_parent(self.node.parent.get()) } }
    }

    /// As [`Header::core`], of a task that is not `APART`.
    ///
    /// # Safety
    /// It is linked, or was until it was retired, and its nursery is still there.
    #[inline(always)]
    pub(crate) unsafe fn core_around<'a>(&self) -> &'a Core {
        // SAFETY: by contract.
        unsafe { &*Core::of_parent(self.node.parent.get()) }
    }

    /// What the task waits in from now on, until it is queued: then it is to be polled, and waits no more.
    #[inline(always)]
    pub(crate) fn set_wait(&self, op: Op, at: &'static Location<'static>) {
        let flags = self.node.flags();
        // The place has that of the link in the queue.
        if flags & QUEUED == 0 || flags & APART != 0 {
            self.begin_wait(flags, op, at);
        }
    }

    /// As [`Header::set_wait`], of a task with these flags, which is not `QUEUED`, or `APART`.
    #[inline(always)]
    pub(crate) fn begin_wait(&self, flags: u16, op: Op, at: &'static Location<'static>) {
        self.node.set_flags(op.among(flags));
        self.turn.set(Turn { waits_at: at });
    }

    pub(crate) fn wait(&self) -> Option<Wait> {
        let flags = self.node.flags();
        if flags & QUEUED != 0 {
            return None;
        }
        // SAFETY: written with the operation; a task that was queued since has none.
        Op::of(flags).map(|op| Wait { op, at: unsafe { self.turn.get().waits_at } })
    }

    /// The next one of the ready queue.
    ///
    /// # Safety
    /// It is on a queue, and not the last one there.
    #[inline(always)]
    pub(crate) unsafe fn next_ready(&self) -> *const Self {
        debug_assert!(self.has(QUEUED));
        // SAFETY: written when that one was queued.
        unsafe { self.turn.get().next }
    }

    #[inline(always)]
    pub(crate) fn set_next_ready(&self, next: *const Self) {
        debug_assert!(self.has(QUEUED));
        self.turn.set(Turn { next });
    }

    #[inline(always)]
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.node.flags() & flag != 0
    }

    #[inline(always)]
    pub(crate) fn set(&self, flag: u16) {
        self.node.set_flags(self.node.flags() | flag);
    }

    #[inline(always)]
    pub(crate) fn clear(&self, flag: u16) {
        self.node.set_flags(self.node.flags() & !flag);
    }

    /// It is on no queue any more, and has forgotten what it waited in before.
    #[inline(always)]
    pub(crate) fn clear_queued(&self) {
        self.node.set_flags(self.node.flags() & FLAGS & !QUEUED);
    }

    pub(crate) fn with_extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        self.node.with_extras(f)
    }

    /// The task locals that the task was spawned with.
    pub(crate) fn locals(&self) -> *const Locals {
        if !self.node.has_extras() {
            return ptr::null();
        }
        let locals = self.node.look_at_extras(|extras| extras.locals.as_ref().map_or(ptr::null(), Arc::as_ptr));
        locals.unwrap_or(ptr::null())
    }

    pub(crate) fn name(&self) -> Option<Cow<'static, str>> {
        self.node.look_at_extras(|extras| extras.name.clone()).flatten()
    }
}

/// Whom a wake has to wake beyond the root.
pub(crate) enum Beyond {
    Nobody,
    Host,
    /// The one who polls a nursery.
    Parent(WakeRef),
}

/// As [`wake_local`], for the middle of a change, or a short hold of `root` under another context: whom to wake beyond the
/// root is for after.
///
/// # Safety
/// This thread holds `root`, the owner of `header`.
pub(crate) unsafe fn wake_held(header: *const Header, root: &'static Root, later: &mut Wakes) {
    // SAFETY: by contract.
    match unsafe { queue_held(header, root) } {
        Beyond::Nobody => {}
        Beyond::Host => later.push(Later::Host(root)),
        Beyond::Parent(parent) => later.push(Later::Wake(parent)),
    }
}

/// As [`wake_held`]; whom to wake comes back.
///
/// # Safety
/// As [`wake_held`].
#[inline]
pub(crate) unsafe fn queue_held(header: *const Header, root: &'static Root) -> Beyond {
    let mut at = header;
    loop {
        // SAFETY: alive: as in `wake_local`.
        let h = unsafe { &*at };
        if h.has(QUEUED | DONE) {
            return Beyond::Nobody;
        }
        if h.has(APART) {
            // Otherwise it is on its way from one nursery to another, and will be woken there.
            if !ptr::eq(at, root.main.get()) {
                return Beyond::Nobody;
            }
            h.set(QUEUED);
            root.main_woken.set(true);
            return if root.is_here() { Beyond::Nobody } else { Beyond::Host };
        }
        h.set(QUEUED);
        // SAFETY: a nursery outlives the use of its children's slots.
        let core = unsafe { h.core_around() };
        if !core.push_ready(h) {
            return Beyond::Nobody;
        }
        if let Some(parent) = core.parent_at_home_in(root) {
            at = parent;
            continue;
        }
        match core.parent() {
            Some(WakeRef::Task(slot)) if ptr::eq(slot.get().owner(), root) => at = slot.as_ptr().cast(),
            Some(parent) => return Beyond::Parent(parent),
            None => return Beyond::Nobody,
        }
    }
}

/// # Safety
/// This thread holds the owner; the task is `APART`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn wake_apart(h: &Header) {
    if !h.has(QUEUED | DONE) {
        h.set(QUEUED);
        // SAFETY: by contract.
        unsafe { (*h.node.owner()).main_woken.set(true) };
    }
}

/// How far up a wake came by queueing tasks ([`climb`]).
pub(crate) enum Climbed<'a> {
    /// As far as it had to.
    Done,
    /// To one that is `APART`.
    Apart(&'a Header),
    /// To a nursery, which was woken. Its parent is no task, or not at home here.
    Nursery(&'a Core),
}

/// Queues a task and, as far up as needed, the tasks that its nursery is polled by. Calls nothing.
///
/// # Safety
/// As [`wake_local`].
#[inline(always)]
pub(crate) unsafe fn climb<'a>(header: *const Header) -> Climbed<'a> {
    // SAFETY: mapped by contract.
    let mut h = unsafe { &*header };
    loop {
        let flags = h.node.flags();
        if flags & (QUEUED | DONE | APART) != 0 {
            return if flags & APART != 0 { Climbed::Apart(h) } else { Climbed::Done };
        }
        h.node.set_flags(flags | QUEUED);
        // SAFETY: a nursery outlives the use of its children's slots.
        let core: &Core = unsafe { h.core_around() };
        if !core.push_ready(h) {
            return Climbed::Done;
        }
        match core.parent_at_home() {
            // Mapped: kept so by the nursery. One that has ended is `DONE`.
            Some(parent) => h = parent,
            None => return Climbed::Nursery(core),
        }
    }
}

/// Wakes a task, all the way up.
///
/// # Safety
/// This thread holds the owner of `header`, or it is free; it is mapped.
#[inline(always)]
pub(crate) unsafe fn wake_local(header: *const Header) {
    // SAFETY: by contract.
    match unsafe { climb(header) } {
        Climbed::Done => {}
        // SAFETY: this thread holds the root.
        Climbed::Apart(h) => unsafe { wake_apart(h) },
        Climbed::Nursery(core) => core.wake_parent(),
    }
}
