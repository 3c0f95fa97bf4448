//! The polling of a nursery's tasks, and their end.
//!
//! A nursery runs *batches*: the tasks that are runnable when the batch begins. What is woken meanwhile stands behind
//! them on the queue and runs in the next one, at most [`BATCHES`] of them before the nursery's own siblings get their
//! turn.
//!
//! A nested tree costs one call for each level here: [`CoreSlot::run_batches`] is inlined into the poll of the nursery,
//! and what stands between it and the next one (a task's entry, a boxed future, the nursery's future) are jumps, since
//! each returns what the next one returns. Processors predict some 16 to 32 returns; beyond that a level would cost a
//! mispredicted branch for each call.

use super::core::{CoreSlot, Panic, Ready, give_back, give_back_here, release_task, settle};
use super::errors::store_error;
use super::join::JoinState;
use crate::cancel::region::{Judgement, judge};
use crate::error::TaskError;
use crate::sched::context::{self, Ambient, BatchFrame, Restore};
use crate::sched::node::{self, AWAY, EFFECTIVE, EXTRAS, FLAGS};
use crate::sched::root::{Root, Special};
use crate::sched::wakes::{Later, Wakes};
use crate::task::header::{self, DONE, End, Header, QUEUED};
use crate::task::local::Locals;
use crate::task::wake;
use crate::testing::Order;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::task::{Context, Poll};

/// Polls beyond the budget of a turn: as many nurseries may lie in each other, and still the innermost one goes on. A bound,
/// since a task may enter any number of nurseries without a checkpoint.
const DEPTH: i32 = 1 << 16;
/// Batches that a nursery runs in one poll.
const BATCHES: u32 = 32;

impl CoreSlot {
    /// Polls the tasks that are runnable now, then those that became so meanwhile: at most `BATCHES` times, so that
    /// sibling nurseries and deadlines get their turn, and as long as the budget lasts.
    ///
    /// # Safety
    /// This thread holds `root`, the owner; the nursery, whose errors are of type `E`, is being polled.
    #[inline(always)]
    pub(crate) unsafe fn run_batches<E: TaskError>(&self, root: &Root) {
        // SAFETY: by contract.
        unsafe { self.run::<E>(root, BATCHES) }
    }

    /// As [`CoreSlot::run_batches`], in a function of its own: for where one more call is not for each level, and a copy of
    /// the loop for each type would only make programs larger.
    ///
    /// # Safety
    /// As [`CoreSlot::run_batches`].
    #[inline(never)]
    pub(crate) unsafe fn run_batches_apart<E: TaskError>(&self, root: &Root) {
        if !self.has_ready() {
            return;
        }
        // SAFETY: by contract.
        unsafe {
            match how(root) {
                Special::No => self.run_queue::<E, PLAIN>(root, BATCHES),
                Special::Limited => self.run_queue::<E, LIMITED>(root, BATCHES),
                Special::Yes => self.run_specially::<E>(root, BATCHES),
            }
        }
    }

    /// Polls the tasks that are runnable now, once.
    ///
    /// # Safety
    /// As [`CoreSlot::run_batches`].
    pub(crate) unsafe fn run_one_batch<E: TaskError>(&self, root: &Root) {
        // SAFETY: by contract.
        unsafe { self.run::<E>(root, 1) }
    }

    #[inline(always)]
    unsafe fn run<E: TaskError>(&self, root: &Root, batches: u32) {
        if !self.has_ready() {
            return;
        }
        // SAFETY: by contract.
        unsafe {
            if how(root) != Special::No {
                self.run_specially::<E>(root, batches);
            } else {
                self.run_queue::<E, PLAIN>(root, batches);
            }
        }
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
        let frame = BatchFrame::save(a);
        // The first one is run whatever the budgets say: a nursery is where its task goes on, on its way to what is inside,
        // and entering one is no checkpoint.
        if root.budget.get() <= -DEPTH {
            return;
        }
        let mut batch = self.take_batch::<HOW>(root);
        loop {
            // SAFETY: queued tasks are alive.
            let h = unsafe { &*batch.tasks.next() };
            // SAFETY: held; the task is this nursery's.
            unsafe { poll_task::<E, HOW>(h, self, root, a, &frame) };
            let budget = root.budget.get() - 1;
            root.budget.set(budget);
            if budget < 0 {
                break;
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
                // What is the host's does not run as the task, which may have ended.
                frame.restore(a);
                if !root.host_has_budget() {
                    break;
                }
            }
            if batch.tasks.is_over() {
                batch = self.take_batch::<HOW>(root);
            }
        }
        drop(batch);
        frame.restore(a);
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
            batch.push(tasks.next());
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
            self.push_ready(unsafe { &*h });
        }
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
/// This thread holds `root`, the owner; the task was taken from the queue of its nursery, `core`. The locals in force are the
/// frame's.
#[inline(always)]
unsafe fn poll_task<E: TaskError, const HOW: u8>(
    h: &Header,
    core: &CoreSlot,
    root: &Root,
    a: &Ambient,
    frame: &BatchFrame,
) {
    // SAFETY: by contract.
    unsafe {
        if h.has(DONE | EFFECTIVE | EXTRAS | AWAY) {
            poll_uncommonly::<E>(h, frame);
        } else {
            // It was `QUEUED`; a task is no shield. What it waited in is forgotten.
            h.node.set_flags(0);
            poll_live::<E, HOW>(h, core, root, a, frame, |cx| {
                if h.node.is_effective() { judge_task(h, root, false, false, cx) } else { true }
            });
        }
    }
}

/// A task that is cancelled, has extras, is away from home, or has ended. Apart, since what has to be remembered for it takes
/// registers.
#[inline(never)]
unsafe fn poll_uncommonly<E: TaskError>(h: &Header, frame: &BatchFrame) {
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
        poll_live::<E, SPECIAL>(h, h.core_around(), root, a, frame, |cx| {
            // The shield of a scope around may have gone up meanwhile.
            let told = cancelled_before && root.deliveries.get() != deliveries;
            !h.node.is_effective() || judge_task(h, root, cancelled_before, told, cx)
        });
    }
    a.locals.set(frame.locals);
}

/// Polls a task that is not `QUEUED` any more; `goes_on` is asked if it is still pending. In a `SPECIAL` run there may be task
/// locals, of the task or around.
///
/// # Safety
/// As [`poll_task`].
#[inline(always)]
unsafe fn poll_live<E: TaskError, const HOW: u8>(
    h: &Header,
    core: &CoreSlot,
    root: &Root,
    a: &Ambient,
    frame: &BatchFrame,
    goes_on: impl FnOnce(&Context<'_>) -> bool,
) {
    a.node.set(&h.node);
    a.task.set(h);
    if HOW == SPECIAL {
        a.locals.set(locals_of(h, frame.locals));
    }
    a.steps.set(context::STEPS);
    a.delivered.set(0);
    let waker = wake::lend(h);
    let mut cx = Context::from_waker(&waker);
    // SAFETY: the errors of the task's nursery are of type `E`.
    let poll = unsafe { h.vtable.get().poll::<E>() };
    // SAFETY: the slot is in use and its future alive.
    let polled = catch_unwind(AssertUnwindSafe(|| unsafe {
        if HOW == SPECIAL && root.instrumented.get() {
            poll_instrumented::<E>(h, root, &mut cx)
        } else {
            poll(h, &mut cx)
        }
    }));
    // SAFETY: held; the future is alive, until it is polled for the last time.
    unsafe {
        match polled {
            Ok(Poll::Pending) => {
                if !goes_on(&cx) {
                    abandon_task(h, frame);
                }
            }
            Ok(Poll::Ready(Ok(()))) => {
                let is_watched = HOW == SPECIAL && root.instrumented.get();
                let end = h.vtable.get().end;
                if end == End::Leaves && !is_watched && h.node.flags() & FLAGS == 0 {
                    drop_and_leave(h, core, root, frame);
                } else if end == End::Leaves || is_watched || !node::retire_plainly(&h.node, 0, DONE) {
                    end_task(h, end != End::Leaves, frame);
                } else {
                    leave_plainly(h, core, end, root, frame);
                }
            }
            Ok(Poll::Ready(Err(error))) => err_task(h, error, frame),
            Err(panic) => fail_task(h, panic, frame),
        }
    }
}

/// A task has ended that has no flags, and whose future is still to be dropped.
///
/// # Safety
/// As [`end_task`]; `root` is the owner.
#[inline(never)]
unsafe fn drop_and_leave(h: &Header, core: &CoreSlot, root: &Root, frame: &BatchFrame) {
    h.node.set_flags(DONE);
    // SAFETY: by contract: once, and if it is not the end, `gone` says so. What was dropped may have done anything to the task:
    // then it is no longer plain.
    unsafe {
        match catch_unwind(AssertUnwindSafe(|| (h.vtable.get().drop)(h))) {
            Ok(()) if !root.instrumented.get() && node::retire_plainly(&h.node, DONE, DONE) => {
                leave_plainly(h, core, End::Drops, root, frame);
            }
            dropped => {
                h.set_gone(true);
                let panicked = |panic| h.core_around().panicked(panic, root, h);
                finish_task(h, frame.guard(), dropped.map_or_else(panicked, |()| Wakes::none()));
            }
        }
    }
}

/// A task has ended, and nothing was left to drop: no foreign code runs here, but for what is left to the end. It is called
/// in the task's frame, which is left as it is: `frame` is put back only for foreign code.
///
/// # Safety
/// This thread holds `root`, which was the owner and is the home; the node was retired, and the slot is on no queue.
#[inline(always)]
unsafe fn leave_plainly(h: &Header, polled: &CoreSlot, end: End, root: &Root, frame: &BatchFrame) {
    debug_assert!(end != End::Leaves);
    // It is in the nursery that it was polled in, unless it is a body, or has said `started`.
    let is_same = ptr::eq(h.node.parent.get(), &raw const polled.group);
    // SAFETY: a task's nursery outlives it.
    let core = if is_same { polled } else { unsafe { h.core_around() } };
    // SAFETY: by contract.
    unsafe {
        if end == End::Drops {
            // Nobody looks at it any more.
            give_back_here(h, root);
        } else if !JoinState::of(h).settle_here(root) {
            return settle_apart(h, core, frame.guard());
        }
    }
    if !core.notified.get() && core.is_done() {
        wake_parent_apart(core, frame.guard());
    }
}

/// Foreign code is to run because a task has ended.
#[cold]
#[inline(never)]
fn wake_parent_apart(core: &CoreSlot, after: Restore<&BatchFrame>) {
    drop(after);
    core.wake_parent();
}

/// The handle of a task that has ended is told, in any case, and then the nursery.
///
/// # Safety
/// As [`leave_plainly`].
#[cold]
#[inline(never)]
unsafe fn settle_apart(h: &Header, core: &CoreSlot, after: Restore<&BatchFrame>) {
    let mut wakes = Wakes::none();
    drop(after);
    // SAFETY: by contract.
    unsafe {
        let settled = settle(h, true, &mut wakes);
        if settled.unclaimed {
            // The frame is put back already.
            wakes.append(drop_unclaimed(h, core, BatchFrame::save(&*context::pointer()).guard()));
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
unsafe fn abandon_task(h: &Header, frame: &BatchFrame) {
    // SAFETY: as the caller's; called in the task's frame.
    unsafe { end_badly(h, frame, || (h.vtable.get().abandon)(h)) }
}

#[cold]
unsafe fn fail_task(h: &Header, panic: Panic, frame: &BatchFrame) {
    // SAFETY: as the caller's.
    unsafe { end_badly(h, frame, || h.core_around().panicked(panic, &*context::root(), h)) }
}

/// A task has returned an error: it goes to the nursery that the task belongs to now (a `started` may have moved it).
///
/// # Safety
/// As [`end_task`]; the errors are of type `E`.
#[inline(never)]
unsafe fn err_task<E: TaskError>(h: &Header, error: E, frame: &BatchFrame) {
    // SAFETY: by contract.
    unsafe { end_badly(h, frame, || store_error(h, error)) }
}

/// Tells the nursery first: a waiter inside it is cancelled before the handle completes. But nobody is woken before the task
/// has ended, since a waker may panic.
///
/// # Safety
/// As [`end_task`].
unsafe fn end_badly(h: &Header, frame: &BatchFrame, tell: impl FnOnce() -> Wakes) {
    let after = frame.guard();
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
unsafe fn drop_unclaimed(h: &Header, core: &CoreSlot, after: Restore<&BatchFrame>) -> Wakes {
    drop(after);
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
unsafe fn end_task(h: &Header, gone: bool, frame: &BatchFrame) {
    if gone {
        h.set_gone(true);
    }
    // SAFETY: by contract.
    unsafe { finish_task(h, frame.guard(), Wakes::none()) };
}

/// # Safety
/// As [`end_task`].
unsafe fn finish_task(h: &Header, after: Restore<&BatchFrame>, mut wakes: Wakes) {
    h.set(DONE);
    let mut dropped = Ok(());
    if !h.take_gone() {
        // SAFETY: once, as `gone` says.
        dropped = catch_unwind(AssertUnwindSafe(|| unsafe { (h.vtable.get().drop)(h) }));
    }
    // SAFETY: a task's nursery outlives it. Looked at only now: what was dropped may have said `started`. The root is
    // held, and the context's.
    let (core, root) = unsafe { (h.core_around(), &*context::root()) };
    if let Err(panic) = dropped {
        wakes.append(core.panicked(panic, root, h));
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
            // The frame is put back already.
            wakes.append(drop_unclaimed(h, core, BatchFrame::save(&*context::pointer()).guard()));
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
