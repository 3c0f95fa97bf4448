//! The polling of a nursery's tasks, and their end.
//!
//! A nursery runs *batches*: the tasks that are runnable when the batch begins. What is woken meanwhile stands behind
//! them on the queue and runs in the next one, at most [`BATCHES`] of them before the nursery's own siblings get their
//! turn.
//!
//! A nested tree costs one call for each level here: [`CoreSlot::run_only`] is inlined into the poll of the nursery, and what
//! stands between it and the next one (a task's entry, a boxed future, the nursery's future) are jumps, since each returns
//! what the next one returns. Processors predict some 16 to 32 returns; beyond that a level would cost a mispredicted branch
//! for each call.

use super::core::{AWAKE, CoreSlot, Panic, Ready, give_back, give_back_here, release_task, settle};
use super::errors::store_error;
use super::join::JoinState;
use crate::cancel::region::{Judgement, judge};
use crate::error::TaskError;
use crate::sched::context::{self, Ambient, BatchFrame};
use crate::sched::node::{self, AWAY, EFFECTIVE, EXTRAS, FLAGS};
use crate::sched::root::{Root, Special};
use crate::sched::wakes::{Later, Wakes};
use crate::task::header::{self, DONE, End, Header, QUEUED, VTable};
use crate::task::local::Locals;
use crate::task::wake;
use crate::testing::Order;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::task::{Context, Poll};

/// Polls beyond the budget of a turn until which a new nursery runs at once. A bound, since a task may enter any number of
/// nurseries without a checkpoint.
const OVERDRAFT: i32 = 1 << 16;
/// Batches that a nursery runs in one poll.
const BATCHES: u32 = 256;
/// The same under a virtual clock, which somebody may have moved, and where a turn is not as short as its polls are long.
const VIRTUAL_BATCHES: u32 = 32;

impl CoreSlot {
    /// Polls the tasks that are runnable now, then those that became so meanwhile: at most `BATCHES` times, so that
    /// sibling nurseries get their turn, and as long as the budget lasts. True: nothing is runnable now.
    ///
    /// # Safety
    /// This thread holds the context's root, the owner; the nursery, whose errors are of type `E`, is being polled.
    #[inline(never)]
    pub(crate) unsafe fn run_batches<E: TaskError>(&self) -> bool {
        // SAFETY: by contract.
        unsafe {
            let is_virtual = (*context::root()).is_virtual();
            self.run::<E>(if is_virtual { VIRTUAL_BATCHES } else { BATCHES })
        }
    }

    /// As [`CoreSlot::run_batches`], for the common case on the way down a tree, which is inlined: one task is runnable, with nothing
    /// special about it, and nothing is after it. It is not taken off the budget, which would be something to be done on every level:
    /// what is inside of it is, or was what brought it here.
    ///
    /// # Safety
    /// As [`CoreSlot::run_batches`].
    #[inline(always)]
    pub(crate) unsafe fn run_only<E: TaskError>(&self) -> bool {
        let h = self.tail.get();
        // SAFETY: the context's root is held.
        let root = || unsafe { &*context::root() };
        if h <= AWAKE || self.head.get() != h || how(root()) != Special::No {
            // SAFETY: by contract.
            return unsafe { self.run_batches::<E>() };
        }
        // SAFETY: this thread's.
        let a = unsafe { &*context::pointer() };
        debug_assert!(self.polling(ptr::null()).frame() == BatchFrame::save(a), "the frame is that of who polls");
        self.tail.set(AWAKE);
        // SAFETY: queued tasks are alive; held; the task is this nursery's.
        unsafe { poll_task::<E, PLAIN>(&*h, self.polling(ptr::null()), root, a) };
        self.polling(ptr::null()).frame().restore_task(a);
        if !self.has_ready() {
            return true;
        }
        // SAFETY: by contract.
        (root().budget.get() > 0 || root().goes_on()) && unsafe { self.run_batches::<E>() }
    }

    /// Does a nursery that was opened just now wait for the next turn? Entering one is no checkpoint, but must come to an end
    /// within a turn. If it does, its poll has ended with this.
    #[inline(always)]
    pub(crate) fn is_put_off(&self, root: &Root, cx: &Context<'_>) -> bool {
        let is_overdrawn = root.budget.get() <= -OVERDRAFT;
        if is_overdrawn {
            self.put_off(cx);
        }
        is_overdrawn
    }

    #[cold]
    #[inline(never)]
    fn put_off(&self, cx: &Context<'_>) {
        self.begin_poll(cx);
        self.end_poll_pending();
    }

    /// Polls the tasks that are runnable now, once.
    ///
    /// # Safety
    /// As [`CoreSlot::run_batches`].
    pub(crate) unsafe fn run_one_batch<E: TaskError>(&self) {
        // SAFETY: by contract.
        unsafe { self.run::<E>(1) };
    }

    #[inline(always)]
    unsafe fn run<E: TaskError>(&self, batches: u32) -> bool {
        if !self.has_ready() {
            return true;
        }
        // SAFETY: by contract.
        unsafe {
            let root = &*context::root();
            match how(root) {
                Special::No => self.run_queue::<E, PLAIN>(root, batches),
                Special::Limited => self.run_queue::<E, LIMITED>(root, batches),
                Special::Yes => self.run_specially::<E>(root, batches),
            }
        }
        !self.has_ready()
    }

    #[inline(never)]
    unsafe fn run_specially<E: TaskError>(&self, root: &Root, batches: u32) {
        // SAFETY: by contract.
        unsafe { self.run_queue::<E, SPECIAL>(root, batches) }
    }

    /// The queue is not empty.
    #[inline(always)]
    unsafe fn run_queue<E: TaskError, const HOW: u8>(&self, root: &Root, batches: u32) {
        let mut left = batches;
        // SAFETY: this thread's.
        let a = unsafe { &*context::pointer() };
        // Without them, there are none.
        let by = self.polling(if HOW == PLAIN { ptr::null() } else { a.locals.get() });
        debug_assert!(by.frame() == BatchFrame::save(a), "the frame is that of who polls");
        // The first one is run whatever the budgets say: a nursery is where its task goes on, on its way to what is inside.
        let mut batch = self.take_batch::<HOW>(root);
        loop {
            // SAFETY: the batch is not over; queued tasks are alive; held; the task is this nursery's.
            unsafe {
                let h = &*batch.tasks.next();
                poll_task::<E, HOW>(h, by, || root, a);
            }
            let budget = root.budget.get() - 1;
            root.budget.set(budget);
            if budget < 0 {
                // What is the host's does not run as the task, which may have ended.
                by.frame().restore(a);
                if !root.goes_on() {
                    break;
                }
            }
            if batch.tasks.is_over() {
                if !self.has_ready() {
                    break;
                }
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            if HOW != PLAIN {
                // As above.
                by.frame().restore(a);
                if !root.host_has_budget() {
                    break;
                }
            }
            if batch.tasks.is_over() {
                batch = self.take_batch::<HOW>(root);
            }
        }
        drop(batch);
        if HOW == PLAIN {
            by.frame().restore_task(a);
        } else {
            by.frame().restore(a);
        }
    }

    #[inline(always)]
    fn polling(&self, locals: *const Locals) -> Polling<'_> {
        Polling { core: self, locals }
    }

    /// Takes what is runnable now. The queue is not empty.
    #[inline(always)]
    fn take_batch<const HOW: u8>(&self, root: &Root) -> Batch<'_> {
        if HOW == SPECIAL && root.order.get() != Order::Fifo {
            self.permute(root);
        }
        Batch { core: self, tasks: self.take_ready() }
    }

    /// Puts the queue into the order that a test asked for.
    #[cold]
    #[inline(never)]
    fn permute(&self, root: &Root) {
        let (mut tasks, mut batch) = (self.take_ready(), Vec::new());
        while !tasks.is_over() {
            // SAFETY: it is not over.
            batch.push(unsafe { tasks.next() });
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
        for h in batch {
            // SAFETY: queued tasks are alive.
            let is_woken = self.push_ready(unsafe { &*h });
            debug_assert!(!is_woken, "it is being polled");
        }
    }
}

/// A nursery that is being polled, and the task locals around. It knows the frame of who polls it anyway: to save that would be as
/// many stores for each level of a tree.
#[derive(Clone, Copy)]
struct Polling<'a> {
    core: &'a CoreSlot,
    locals: *const Locals,
}

impl<'a> Polling<'a> {
    /// The frame of who polls it.
    #[inline(always)]
    fn frame(self) -> BatchFrame {
        BatchFrame { node: self.core.scope.node.parent.get(), task: self.core.around.get(), locals: self.locals }
    }

    /// Puts that back.
    fn put_back(self) {
        context::ambient(|a| self.frame().restore(a));
    }

    /// Does so when dropped.
    fn guard(self) -> PutBack<'a> {
        PutBack(self)
    }
}

/// See [`Polling::guard`].
struct PutBack<'a>(Polling<'a>);

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.0.put_back();
    }
}

/// Tasks that were taken from the queue of `core`. Those that do not get their turn are put back, also if that is because
/// somebody's waker panics.
struct Batch<'a> {
    core: &'a CoreSlot,
    tasks: Ready,
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.tasks.is_over() {
            self.core.put_back(&self.tasks);
        }
    }
}

/// How a queue is run, each in a loop of its own.
const PLAIN: u8 = Special::No as u8;
const LIMITED: u8 = Special::Limited as u8;
const SPECIAL: u8 = Special::Yes as u8;

/// Task locals around are special, too.
#[inline(always)]
fn how(root: &Root) -> Special {
    if context::ambient(|a| a.locals.get()).is_null() { root.special() } else { Special::Yes }
}

/// # Safety
/// This thread holds `root`, the owner; the task was taken from the queue of its nursery, which is being polled.
#[inline(always)]
unsafe fn poll_task<'a, E: TaskError, const HOW: u8>(
    h: &Header,
    by: Polling<'_>,
    root: impl Fn() -> &'a Root,
    a: &Ambient,
) {
    // SAFETY: by contract.
    unsafe {
        if h.has(DONE | EFFECTIVE | EXTRAS | AWAY) {
            poll_uncommonly::<E>(h, by);
        } else {
            // It was `QUEUED`; a task is no shield. What it waited in is forgotten.
            h.node.set_flags(0);
            poll_live::<E, HOW>(h, by, &root, a, |cx| {
                if h.node.is_effective() { judge_task(h, root(), false, false, cx) } else { true }
            });
        }
    }
}

/// A task that is cancelled, has extras, is away from home, or has ended. Apart, since what has to be remembered for it takes
/// registers.
#[inline(never)]
unsafe fn poll_uncommonly<E: TaskError>(h: &Header, by: Polling<'_>) {
    // SAFETY: this thread's; the context's root is held.
    let (a, root) = unsafe { (&*context::pointer(), &*context::root()) };
    let deliveries = root.deliveries.get();
    let cancelled_before = h.node.is_effective();
    // SAFETY: as for `poll_task`.
    unsafe {
        if h.has(DONE) {
            // It was woken in the very poll in which it ended; only the queue still knew it.
            return forget_done(h);
        }
        h.clear_queued();
        let goes_on = |cx: &Context<'_>| {
            // The shield of a scope around may have gone up meanwhile.
            let told = cancelled_before && root.deliveries.get() != deliveries;
            !h.node.is_effective() || judge_task(h, root, cancelled_before, told, cx)
        };
        poll_live::<E, SPECIAL>(h, by, || root, a, goes_on);
    }
    a.locals.set(by.locals);
}

/// Polls a task that is not `QUEUED` any more; `goes_on` is asked if it is still pending. In a `SPECIAL` run there may be task
/// locals, of the task or around.
///
/// # Safety
/// As [`poll_task`].
#[inline(always)]
unsafe fn poll_live<'a, E: TaskError, const HOW: u8>(
    h: &Header,
    by: Polling<'_>,
    root: impl Fn() -> &'a Root,
    a: &Ambient,
    goes_on: impl FnOnce(&Context<'_>) -> bool,
) {
    a.node.set(&h.node);
    a.task.set(h);
    if HOW == SPECIAL {
        let has_none = by.locals.is_null() && !h.has(EXTRAS);
        a.locals.set(if has_none { ptr::null() } else { locals_of(h, by.locals) });
    }
    a.freshen();
    let waker = wake::lend(h);
    let mut cx = Context::from_waker(&waker);
    // SAFETY: the errors of the task's nursery are of type `E`.
    let poll = unsafe { h.vtable.get().poll::<E>() };
    // SAFETY: the slot is in use and its future alive.
    let polled = catch_unwind(AssertUnwindSafe(|| unsafe {
        if HOW == SPECIAL && root().instrumented.get() {
            poll_instrumented::<E>(h, root(), &mut cx)
        } else {
            poll(h, &mut cx)
        }
    }));
    // SAFETY: held; the future is alive, until it is polled for the last time.
    unsafe {
        match polled {
            Ok(Poll::Pending) => {
                if !goes_on(&cx) {
                    abandon_task(h, by);
                }
            }
            Ok(Poll::Ready(Ok(()))) => {
                let is_watched = HOW == SPECIAL && root().instrumented.get();
                let VTable { end, class, .. } = *h.vtable.get();
                if end == End::Leaves && !is_watched && h.node.flags() & FLAGS == 0 {
                    drop_and_leave(h, by, root());
                } else if end == End::Leaves || is_watched || !node::retire_plainly(&h.node, 0, DONE) {
                    end_task(h, by, end != End::Leaves);
                } else {
                    leave_plainly(h, by, (end, class), root());
                }
            }
            Ok(Poll::Ready(Err(error))) => err_task(h, by, error),
            Err(panic) => fail_task(h, by, panic),
        }
    }
}

/// A task has ended that has no flags, and whose future is still to be dropped.
///
/// # Safety
/// As [`end_task`]; `root` is the owner.
#[inline(never)]
unsafe fn drop_and_leave(h: &Header, by: Polling<'_>, root: &Root) {
    h.node.set_flags(DONE);
    // SAFETY: by contract: once, and if it is not the end, `gone` says so. What was dropped may have done anything to the task:
    // then it is no longer plain.
    unsafe {
        match catch_unwind(AssertUnwindSafe(|| (h.vtable.get().drop)(h))) {
            Ok(()) if !root.instrumented.get() && node::retire_plainly(&h.node, DONE, DONE) => {
                leave_plainly(h, by, (End::Drops, h.vtable.get().class), root);
            }
            dropped => {
                h.set_gone(true);
                let panicked = |panic| h.core_around().panicked(panic, root, h);
                finish_task(h, by.guard(), dropped.map_or_else(panicked, |()| Wakes::none()));
            }
        }
    }
}

/// A task has ended, and nothing was left to drop: no foreign code runs here, but for what is left to the end. It is called
/// in the task's frame, which is left as it is: that of who polls is put back only for foreign code.
///
/// # Safety
/// This thread holds `root`, which was the owner and is the home; the node was retired, and the slot is on no queue.
#[inline(always)]
unsafe fn leave_plainly(h: &Header, by: Polling<'_>, (end, class): (End, usize), root: &Root) {
    debug_assert!(end != End::Leaves);
    let parent = h.node.parent.get();
    // SAFETY: by contract; a task's nursery outlives it.
    unsafe {
        if end == End::Drops {
            // Nobody looks at it any more.
            give_back_here(h, class, root);
        } else if !JoinState::of(h).settle_here(root) {
            return settle_apart(h, by, &*CoreSlot::of_parent(parent));
        }
        // It is in the nursery that it was polled in, unless it is a body, or has said `started`.
        debug_assert!(by.core.is_awake(), "it is being polled");
        if !ptr::eq(parent, &raw const by.core.group) {
            let core = &*CoreSlot::of_parent(parent);
            if !core.is_awake() && core.is_done() {
                wake_parent_apart(by, core);
            }
        }
    }
}

/// Foreign code is to run because a task has ended.
#[cold]
#[inline(never)]
fn wake_parent_apart(by: Polling<'_>, core: &CoreSlot) {
    by.put_back();
    core.wake();
}

/// The handle of a task that has ended is told, in any case, and then the nursery.
///
/// # Safety
/// As [`leave_plainly`].
#[cold]
#[inline(never)]
unsafe fn settle_apart(h: &Header, by: Polling<'_>, core: &CoreSlot) {
    let mut wakes = Wakes::none();
    by.put_back();
    // SAFETY: by contract.
    unsafe {
        let settled = settle(h, true, &mut wakes);
        if settled.unclaimed {
            wakes.append(drop_unclaimed(h, core));
        }
        if settled.last {
            // Neither task nor handle looks at it any more.
            give_back(h);
        }
    }
    if core.is_done() {
        wakes.parent(core);
    }
    wakes.wake();
}

/// The locals in force for a task: a child's own, or those around a body or a branch.
#[cold]
fn locals_of(h: &Header, around: *const Locals) -> *const Locals {
    if h.vtable.get().is_child { h.locals() } else { around }
}

#[cold]
unsafe fn poll_instrumented<E: TaskError>(h: &Header, root: &Root, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
    crate::inspect::before_step(root, h);
    // SAFETY: by the caller's contract.
    let polled = unsafe { (h.vtable.get().poll::<E>())(h, cx) };
    crate::inspect::after_step(root, h);
    polled
}

/// # Safety
/// Taken from the queue, which was the last to know it if its node has been retired.
#[cold]
unsafe fn forget_done(h: &Header) {
    if h.node.is_free() {
        let mut wakes = Wakes::none();
        // SAFETY: the node was retired then, and the handle told.
        unsafe { release_task(h, &mut wakes) };
        wakes.wake();
    }
}

/// A cancelled task is still pending. True: it goes on.
#[cold]
unsafe fn judge_task(h: &Header, root: &Root, cancelled_before: bool, told: bool, cx: &Context<'_>) -> bool {
    match judge(&h.node, cancelled_before, told, cx) {
        Judgement::Again => {
            // SAFETY: held by the caller.
            unsafe { header::wake_local(h) };
            true
        }
        Judgement::Wait => true,
        Judgement::Drop => {
            root.deliveries.set(root.deliveries.get() + 1);
            false
        }
    }
}

/// A cancelled task is dropped, as if it had returned `Cancelled`.
#[cold]
unsafe fn abandon_task(h: &Header, by: Polling<'_>) {
    // SAFETY: as the caller's; called in the task's frame.
    unsafe { end_badly(h, by, || (h.vtable.get().abandon)(h)) }
}

#[cold]
unsafe fn fail_task(h: &Header, by: Polling<'_>, panic: Panic) {
    // SAFETY: as the caller's.
    unsafe { end_badly(h, by, || h.core_around().panicked(panic, &*context::root(), h)) }
}

/// A task has returned an error: it goes to the nursery that the task belongs to now (a `started` may have moved it).
///
/// # Safety
/// As [`end_task`]; the errors are of type `E`.
#[inline(never)]
unsafe fn err_task<E: TaskError>(h: &Header, by: Polling<'_>, error: E) {
    // SAFETY: by contract.
    unsafe { end_badly(h, by, || store_error(h, error)) }
}

/// Tells the nursery first: a waiter inside it is cancelled before the handle completes. But nobody is woken before the task
/// has ended, since a waker may panic.
///
/// # Safety
/// As [`end_task`].
#[inline(always)]
unsafe fn end_badly(h: &Header, by: Polling<'_>, tell: impl FnOnce() -> Wakes) {
    let after = by.guard();
    h.set(DONE);
    // What an error's type does may panic.
    let wakes = catch_unwind(AssertUnwindSafe(tell));
    // SAFETY: as the caller's.
    unsafe {
        let wakes = wakes.unwrap_or_else(|panic| h.core_around().panicked(panic, &*context::root(), h));
        finish_task(h, after, wakes);
    }
}

/// Drops the value of a task whose handle was dropped before.
///
/// # Safety
/// `settle` said so.
#[cold]
unsafe fn drop_unclaimed(h: &Header, core: &CoreSlot) -> Wakes {
    // SAFETY: by contract; the root is held, and the context's.
    unsafe {
        match catch_unwind(AssertUnwindSafe(|| (h.vtable.get().drop_unclaimed)(h))) {
            Ok(()) => Wakes::none(),
            Err(panic) => core.panicked(panic, &*context::root(), h),
        }
    }
}

/// A task has returned, in any case: its future and its slot go, and the nursery hears of it.
///
/// # Safety
/// This thread holds the owner; called in the task's frame. The future is dropped already iff it is `gone`.
#[inline(never)]
unsafe fn end_task(h: &Header, by: Polling<'_>, gone: bool) {
    if gone {
        h.set_gone(true);
    }
    // SAFETY: by contract.
    unsafe { finish_task(h, by.guard(), Wakes::none()) };
}

/// The end of a task in a common case: cancelled or not, it has nothing special about it, and no handle. It is left as by
/// [`leave_plainly`]. False: nothing was done.
///
/// # Safety
/// As [`leave_plainly`], but that the node is not retired yet. The task is `DONE`.
#[inline(always)]
unsafe fn leave_cancelled(h: &Header, by: Polling<'_>, root: &Root) -> bool {
    let VTable { end, class, .. } = *h.vtable.get();
    let flags = h.node.flags() & FLAGS;
    let is_plain = end != End::Hands && flags & !EFFECTIVE == DONE && !root.instrumented.get();
    // SAFETY: by contract: it is linked. One that is away has a flag.
    unsafe {
        if !is_plain || !node::retire_plainly(&h.node, flags, DONE) {
            return false;
        }
        h.set_gone(false);
        leave_plainly(h, by, (End::Drops, class), root);
    }
    true
}

/// # Safety
/// As [`end_task`].
#[inline(never)]
unsafe fn finish_task(h: &Header, after: PutBack<'_>, mut wakes: Wakes) {
    h.set(DONE);
    let mut dropped = Ok(());
    if !h.take_gone() {
        // SAFETY: once, as `gone` says.
        dropped = catch_unwind(AssertUnwindSafe(|| unsafe { (h.vtable.get().drop)(h) }));
    }
    // SAFETY: a task's nursery outlives it. Looked at only now: what was dropped may have said `started`. The root is
    // held, and the context's.
    let (core, root) = unsafe { (h.core_around(), &*context::root()) };
    match dropped {
        // SAFETY: as above; the future is gone.
        Ok(()) if wakes.is_none() && unsafe { leave_cancelled(h, after.0, root) } => return mem::forget(after),
        Ok(()) => {}
        Err(panic) => wakes.append(core.panicked(panic, root, h)),
    }
    drop(after);
    // First what must not be left half done, then foreign code, each piece of which may panic.
    // SAFETY: held.
    wakes.extend(unsafe { crate::inspect::to_be_told(h) }.map(Later::Tell));
    wakes.extend(h.node.take_extras().map(|extras| Later::Exit(extras, h.task_id())));
    // SAFETY: the future is gone.
    wakes.append(unsafe { node::retire(&h.node) });
    // The slot itself waits for the ready queue, if it is on it.
    // SAFETY: as above.
    unsafe {
        let settled = settle(h, !h.has(QUEUED), &mut wakes);
        if settled.unclaimed {
            wakes.append(drop_unclaimed(h, core));
        }
        if settled.last {
            give_back(h);
        }
    }
    if core.is_done() {
        wakes.parent(core);
    }
    wakes.wake();
}
