//! The life of an entered scope: enter, poll and judge, leave.
//!
//! A scope is its own frame: while its body is polled (or dropped) the context's node is the scope's. After each poll
//! that leaves the body pending, a scope that is effectively cancelled is *judged*:
//!
//! 1. it became cancelled during this very poll: it is polled once more first;
//! 2. something inside holds it open (a started shield, a nursery with work left): it waits;
//! 3. inside somebody was told of the cancel in this poll and the task has been woken again: it waits, at most
//!    [`ROUNDS`] times, so that a sub-executor with a budget of its own can tell all its futures;
//! 4. another thread is about to wake whom its cancel told, or has and that was not taken in: it is polled once more;
//! 5. else the body waits for something that knows nothing of cancellation: it is dropped, as if it had returned
//!    `Cancelled`.
//!
//! Frames inside judge first, since they are polled inside.

use super::slot::{ScopeSlot, attach};
use super::{CancelScope, Deadline, ScopeShared};
use crate::error::{Cancelled, Reason, TaskError};
use crate::sched::context::{self, Frame};
use crate::sched::node::{self, Node};
use crate::sched::pool::SCOPE_CLASS;
use crate::sched::root::{Root, Turn};
use crate::sched::sync;
use crate::task::header::QUEUED;
use crate::task::{park, wake};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How often a judgement is put off because somebody was just told.
pub(crate) const ROUNDS: u8 = 100;

/// The root of a future's own, if it is the outermost; made at its first poll. It stays the future's if the poll panics.
#[inline(always)]
pub(crate) fn own_root(own: &mut Option<&'static Root>) -> Option<&'static Root> {
    context::root().is_null().then(|| *own.get_or_insert_with(new_root))
}

/// A root for an outermost future.
#[cold]
pub(crate) fn new_root() -> &'static Root {
    Root::begin(crate::run::Settings::hosted())
}

/// Runs `f` inside a root: the future's [own](own_root), or the context's.
#[inline(always)]
pub(crate) fn in_root<T>(
    own: Option<&'static Root>,
    cx: &mut Context<'_>,
    mut f: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    match own {
        Some(root) => in_own_root(root, cx, f),
        None => f(cx),
    }
}

#[inline(never)]
fn in_own_root<T>(root: &'static Root, cx: &mut Context<'_>, f: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    as_outermost(root, cx, f)
}

/// Runs `f` inside a root of the future's own, without a call.
#[inline(always)]
pub(crate) fn as_outermost<T>(
    root: &'static Root,
    cx: &mut Context<'_>,
    f: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    // The host may have any reason to poll: so does the main task.
    match root.turn(cx, true, f) {
        Turn::Ready(value) => Poll::Ready(value),
        Turn::Pending => Poll::Pending,
        Turn::Deadlock(tree) => panic!("trine: deadlock, nothing can happen any more\n{tree}"),
    }
}

/// Runs the drop of what lives in `own` inside that root, then ends it, also if the drop panics.
pub(crate) fn drop_in_root(own: &mut Option<&'static Root>, drop_inside: impl FnOnce()) {
    let Some(root) = own.take() else { return drop_inside() };
    let _end = AtLast(|| root.end());
    if context::root().is_null() {
        root.enter(drop_inside);
    } else {
        drop_inside();
    }
}

/// Calls a function when dropped. Its panic is forgotten if there is another one already.
struct AtLast<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtLast<F> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (self.0)();
        } else if let Err(panic) = catch_unwind(AssertUnwindSafe(&mut self.0)) {
            std::mem::forget(panic);
        }
    }
}

/// What a scope's body came to.
pub(crate) enum Outcome<R> {
    Returned(R),
    /// It was dropped.
    Abandoned(Cancelled),
}

/// How a scope is left.
pub(crate) struct Exit<R> {
    pub(crate) outcome: Outcome<R>,
    /// None: it was not cancelled, and has no handle.
    left: Option<Left>,
}

/// What is left of a scope.
struct Left {
    /// The scope swallows its `Cancelled`.
    catches: bool,
    reason: Option<Reason>,
    shared: Option<Arc<ScopeShared>>,
}

/// See the module.
pub(crate) struct Region {
    slot: *const ScopeSlot,
    own: Option<&'static Root>,
    deadline: Deadline,
    shield: bool,
    shared: Option<Arc<ScopeShared>>,
    at: &'static Location<'static>,
}

// SAFETY: the slot is touched only under the hold of its owner (`attach`, `end_from_anywhere`).
unsafe impl Send for Region {}
// SAFETY: a shared reference gives access to nothing.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("deadline", &self.deadline).field("shield", &self.shield).finish()
    }
}

impl Region {
    pub(crate) fn new(deadline: Deadline, shield: bool, at: &'static Location<'static>) -> Self {
        Self { slot: ptr::null(), own: None, deadline, shield, shared: None, at }
    }

    pub(crate) fn of_scope(scope: &CancelScope, at: &'static Location<'static>) -> Self {
        let mut region = Self::new(Deadline::Never, false, at);
        region.shared = Some(scope.shared().clone());
        region
    }

    #[inline(always)]
    fn slot(&self) -> &ScopeSlot {
        // SAFETY: only called between entry and exit.
        unsafe { &*self.slot }
    }

    /// Enters the scope, under the context's root and node.
    #[inline(always)]
    fn enter(&mut self) {
        let parent = context::node();
        // SAFETY: the context's root is held by this thread.
        let root = unsafe { &*context::root() };
        let is_due_later = match self.deadline {
            Deadline::Never => true,
            Deadline::After(d) => !d.is_zero() && !root.is_virtual(),
            Deadline::At(_) => false,
        };
        if self.shared.is_some() || self.shield || parent.is_null() || !is_due_later {
            return self.enter_in_full();
        }
        // SAFETY: held by this thread; the context's node is alive.
        unsafe {
            self.slot = root.pool.allocate(root, SCOPE_CLASS).cast();
            (*self.slot).begin_plainly(root, parent, self.deadline, self.at);
        }
    }

    #[inline(never)]
    fn enter_in_full(&mut self) {
        if let Some(shared) = &self.shared {
            shared.claim();
        }
        // SAFETY: the context's root is held by this thread, its node is alive.
        unsafe {
            let root = &*context::root();
            let node = root.pool.allocate(root, SCOPE_CLASS);
            self.slot = node.cast();
            let slot = &*self.slot;
            slot.begin(root, self.deadline, self.shield, self.shared.take(), self.at);
            if !context::node().is_null() {
                node::link(node, context::node()).wake();
            }
        }
    }

    /// Leaves the scope, in a poll. None: it was not cancelled, and has no handle.
    #[inline(always)]
    fn leave(&mut self, root: &Root) -> Option<Left> {
        // SAFETY: held by this thread; the body is gone.
        if unsafe { self.slot().end_plainly(root) } {
            self.slot = ptr::null();
            return None;
        }
        Some(self.leave_in_full())
    }

    #[inline(never)]
    fn leave_in_full(&mut self) -> Left {
        let slot = self.slot();
        let left = Left { catches: slot.catches(), reason: slot.reason.take(), shared: slot.shared.take() };
        if let Some(shared) = &left.shared {
            shared.exit();
        }
        self.end();
        left
    }

    fn end(&mut self) {
        let slot = std::mem::replace(&mut self.slot, ptr::null());
        if !slot.is_null() {
            // SAFETY: the slot was in use by this region, and the body is gone.
            unsafe { ScopeSlot::end_from_anywhere(slot.cast()) };
        }
    }

    /// Polls the body inside the scope.
    #[inline(always)]
    pub(crate) fn poll<F: Future>(&mut self, body: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Exit<F::Output>> {
        let Some(root) = own_root(&mut self.own) else { return self.poll_inside(body, cx) };
        let mut body = body;
        let result = in_own_root(root, cx, |cx| self.poll_inside(body.as_mut(), cx));
        if result.is_ready() {
            drop_in_root(&mut self.own, || ());
        }
        result
    }

    #[inline(always)]
    fn poll_inside<F: Future>(&mut self, mut body: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Exit<F::Output>> {
        // SAFETY: there is one, around or the scope's own, which this thread holds.
        let root = unsafe { &*context::root() };
        if self.slot.is_null() {
            self.enter();
        } else {
            // SAFETY: entered, and this is the poll of its future.
            ready!(unsafe { attach(self.slot.cast(), root, cx) });
        }
        let slot: *const ScopeSlot = self.slot;
        // SAFETY: alive until `leave`.
        let node: &Node = unsafe { &(*slot).node };
        let cancelled_before = node.is_effective();
        let deliveries = root.deliveries.get();
        let polled = {
            let _frame = Frame::enter_node(node);
            match body.as_mut().as_pin_mut() {
                Some(fut) => fut.poll(cx),
                None => panic!("a cancel scope's future was polled after it had finished"),
            }
        };
        if let Poll::Ready(value) = polled {
            {
                let _frame = Frame::enter_node(node);
                body.set(None);
            }
            return Poll::Ready(Exit { outcome: Outcome::Returned(value), left: self.leave(root) });
        }
        if self.waits(root, cancelled_before, root.deliveries.get() != deliveries, cx) {
            return Poll::Pending;
        }
        let cancelled = {
            let _frame = Frame::enter_node(node);
            let cancelled = park::cancelled();
            body.set(None);
            cancelled
        };
        root.deliveries.set(root.deliveries.get() + 1);
        Poll::Ready(Exit { outcome: Outcome::Abandoned(cancelled), left: self.leave(root) })
    }

    /// The body is pending: judges it. False: it is to be dropped.
    #[inline(never)]
    fn waits(&self, root: &Root, cancelled_before: bool, told: bool, cx: &Context<'_>) -> bool {
        let slot = self.slot();
        if slot.node.is_effective() {
            match judge(&slot.node, cancelled_before, told, cx) {
                Judgement::Again => wake::wake_self(cx),
                Judgement::Wait => {}
                Judgement::Drop => return false,
            }
        }
        slot.remember_waker(cx);
        // SAFETY: held.
        unsafe { slot.arm(root) };
        true
    }

    /// Drops the body in its frame, and ends the scope.
    #[inline(always)]
    pub(crate) fn drop_body<F>(&mut self, body: Pin<&mut Option<F>>) {
        if self.slot.is_null() && self.own.is_none() && body.is_none() {
            return;
        }
        self.drop_in_full(body);
    }

    #[inline(never)]
    fn drop_in_full<F>(&mut self, mut body: Pin<&mut Option<F>>) {
        let slot = self.slot;
        let mut own = self.own.take();
        drop_in_root(&mut own, || {
            let _end = AtLast(|| self.end());
            // SAFETY: the slot is in use until `end`.
            let here = !slot.is_null() && unsafe { (*slot).node.is_here() };
            let _frame = here.then(|| Frame::enter_node(slot.cast()));
            body.set(None);
        });
    }
}

pub(crate) enum Judgement {
    Again,
    Wait,
    Drop,
}

/// See the module.
pub(crate) fn judge(node: &Node, cancelled_before: bool, told: bool, cx: &Context<'_>) -> Judgement {
    if !cancelled_before {
        return Judgement::Again;
    }
    if node.has_holds() {
        return Judgement::Wait;
    }
    if told && node.rounds.get() < ROUNDS {
        let task = context::task();
        // SAFETY: the context's task is alive.
        let woken = !task.is_null()
            && wake::header_of(cx.waker()) == Some(task)
            && unsafe { (*task).has(QUEUED) || ((*task).core().is_null() && main_is_woken(task)) };
        if woken {
            node.rounds.set(node.rounds.get() + 1);
            return Judgement::Wait;
        }
    }
    // The thread that cancelled may not have woken everybody yet, or what it woke has not been taken in.
    if context::with_root(Root::is_being_told) == Some(true) {
        // Lets it go on.
        sync::give_way();
        return Judgement::Again;
    }
    if node.rounds.get() < ROUNDS && context::with_root(Root::is_notified) == Some(true) {
        node.rounds.set(node.rounds.get() + 1);
        return Judgement::Again;
    }
    Judgement::Drop
}

fn main_is_woken(task: *const crate::task::header::Header) -> bool {
    // SAFETY: the context's task is alive; its owner is held.
    unsafe { (*(*task).node.owner()).main_woken.get() }
}

impl<R> Exit<R> {
    /// Why the scope was cancelled, if it was.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.left.as_ref()?.reason.clone()
    }
}

impl<T, E: TaskError> Exit<Result<T, E>> {
    /// What leaves the scope: `None` if it swallowed the cancellation.
    #[inline(always)]
    pub(crate) fn filter(self) -> Result<Option<T>, E> {
        let error = match self.outcome {
            Outcome::Returned(Ok(value)) => return Ok(Some(value)),
            Outcome::Returned(Err(e)) => e,
            Outcome::Abandoned(c) => E::from(c),
        };
        match self.left {
            Some(left) => left.filter(error),
            None => Err(error),
        }
    }
}

impl Left {
    /// What leaves the scope of an error.
    #[inline(never)]
    fn filter<T, E: TaskError>(self, error: E) -> Result<Option<T>, E> {
        if !self.catches {
            return Err(error);
        }
        let (rest, caught) = strip(error);
        if let (true, Some(shared)) = (caught, &self.shared) {
            shared.caught();
        }
        match rest {
            None => Ok(None),
            Some(rest) => Err(rest),
        }
    }
}

/// Strips cancellations; says whether there were any.
pub(crate) fn strip<E: TaskError>(error: E) -> (Option<E>, bool) {
    let had = error.has_cancelled();
    if !had {
        return (Some(error), false);
    }
    (error.without_cancelled(), true)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Error;
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    #[test]
    fn a_root_is_given_back_after_a_panic_in_a_poll() {
        let mut roots = HashSet::new();
        for _ in 0..1_000 {
            let scope = CancelScope::new();
            let mut scoped = Box::pin(scope.run(async {
                roots.insert(context::root().addr());
                if true {
                    panic!("in a poll");
                }
                Ok::<_, Error>(())
            }));
            let polled = || scoped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            assert!(catch_unwind(AssertUnwindSafe(polled)).is_err());
        }
        // Other tests take and give back cells meanwhile.
        assert!(roots.len() < 500, "{} roots for 1,000 scopes, one after the other", roots.len());
    }

    #[test]
    fn a_root_is_given_back_after_a_panic_in_a_drop() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a drop");
            }
        }
        let mut roots = HashSet::new();
        for _ in 0..1_000 {
            let mut scoped = Box::pin(CancelScope::new().run(async {
                let _bomb = Bomb;
                roots.insert(context::root().addr());
                std::future::pending::<Result<(), Error>>().await
            }));
            assert!(scoped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(catch_unwind(AssertUnwindSafe(|| drop(scoped))).is_err());
        }
        assert!(roots.len() < 500, "{} roots for 1,000 scopes, one after the other", roots.len());
    }
}
