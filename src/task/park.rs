//! The contract between a waiting operation and the scheduler: what every checkpoint operation does on
//! entry ([`Entry`]), and what it leaves behind while it waits ([`Parked`]).
//!
//! The life of a checkpoint operation:
//!
//! 1. poll its [`Entry`] until it is ready: this looks for cancellation, then counts against the step budget;
//! 2. try the operation; if it can complete, return;
//! 3. make a [`Parked`] (before taking any lock), put it into the queue under the lock, return `Pending`;
//! 4. whoever completes the wait takes the first entry whose `Parked` is not cancelled, stores the result, takes the
//!    `Parked` out, drops the lock and only then calls [`Parked::wake`];
//! 5. when polled again: a stored result is returned even if the scope is cancelled by now (completed beats
//!    cancelled); else, if [`Parked::is_cancelled`], the entry is removed and `Err(cancelled())` returned; else, if
//!    `!parked.is_current(cx)`, the entry gets a fresh `Parked` (made with the lock released) via [`Parked::renew`].

use crate::cancel::region::ROUNDS;
use crate::cancel::slot::ScopeSlot;
use crate::error::{Cancelled, Reason, ReasonKind};
use crate::sched::context::{self, STEPS};
use crate::sched::node::{self, AWAY, EFFECTIVE, Kind, Node, SlotRef};
use crate::sched::remote::{self, Mail};
use crate::sched::root::Root;
use crate::task::header::{Header, QUEUED};
use crate::task::wake::{self, WakeRef};
use std::fmt;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

/// Deliveries of `Cancelled` within one poll of a task before a checkpoint makes a loop that ignores them yield.
const DELIVERIES: u32 = 1000;

/// The entry check of a checkpoint operation: cancellation first, then the step budget.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    yielded: bool,
}

impl Entry {
    pub(crate) const fn new() -> Self {
        Self { yielded: false }
    }

    /// Of an operation that always waits, and so needs no yield: it goes on in its first poll, if it is not cancelled.
    pub(crate) const fn of_wait() -> Self {
        Self { yielded: true }
    }

    /// One that goes on where another one was left.
    #[inline(always)]
    pub(crate) const fn resume(yielded: bool) -> Self {
        Self { yielded }
    }

    #[inline(always)]
    pub(crate) const fn has_yielded(&self) -> bool {
        self.yielded
    }

    /// `Ready(Err)`: a scope around is cancelled, nothing must be done. `Ready(Ok)`: attempt the operation now, in
    /// this same poll. `Pending`: the step budget is spent, poll again. After `Ready(Ok)` it is not polled again.
    #[inline(always)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        context::count_checkpoint();
        if is_cancelled() {
            return self.deliver(cx);
        }
        if self.yielded {
            return Poll::Ready(Ok(()));
        }
        let left = context::ambient(|a| {
            let left = a.steps.get();
            a.steps.set(left.wrapping_sub(1));
            left
        });
        if left == 0 {
            return self.pause(cx);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        context::ambient(|a| a.steps.set(STEPS));
        self.yielded = true;
        wake::wake_self(cx);
        Poll::Pending
    }

    #[cold]
    fn deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        let delivered = context::ambient(|a| {
            a.delivered.set(a.delivered.get() + 1);
            a.delivered.get()
        });
        if delivered > DELIVERIES {
            // A loop that ignores cancellation: let others run; after so many rounds let the scope drop it.
            let node = context::node();
            // SAFETY: effective, hence not null; the context's node is alive and held.
            let rounds = unsafe { &(*node).rounds };
            if rounds.get() < ROUNDS {
                rounds.set(rounds.get() + 1);
                // Given back at the end of the pass.
                context::with_root(|root| root.pause(Hold::take()));
            }
            wake::wake_self(cx);
            return Poll::Pending;
        }
        count_delivery();
        Poll::Ready(Err(cancelled()))
    }
}

/// A checkpoint operation may go on, if nothing speaks against it: no scope is cancelled, and there are steps left. Nothing is
/// counted yet. None: ask an [`Entry`].
#[inline(always)]
pub(crate) fn admit() -> Option<Admitted> {
    let node = context::node();
    // SAFETY: the context's node is alive and held.
    if node.is_null() || unsafe { (*node).is_effective() } {
        return None;
    }
    context::ambient(|a| a.steps.get()).checked_sub(1).map(|left| Admitted { left })
}

/// See [`admit`]. For this poll, with no foreign code in between.
#[derive(Clone, Copy)]
pub(crate) struct Admitted {
    left: u32,
}

impl Admitted {
    /// The operation goes on: counts it.
    #[inline(always)]
    pub(crate) fn count(self) {
        context::ambient(|a| {
            a.steps.set(self.left);
            a.checkpoints.set(a.checkpoints.get().wrapping_add(1));
        });
    }
}

/// The task that waits, where that is plain: it is at home, polled with a waker of its own, and waits in its own scope, was not
/// woken meanwhile, and the entry check lets it go on at once. Nothing is counted yet. None: ask an [`Entry`].
#[inline(always)]
pub(crate) fn wait_plainly(cx: &Context<'_>) -> Option<Entering> {
    context::ambient(|a| {
        let task = a.task.get();
        if wake::header_of(cx.waker()) != Some(task) || !ptr::eq(a.node.get(), task.cast()) {
            return None;
        }
        // SAFETY: the context's task, a waker's header and so not null, is alive and held.
        let flags = unsafe { (*task).node.flags() };
        if flags & (EFFECTIVE | AWAY | QUEUED) != 0 {
            return None;
        }
        let left = a.steps.get().checked_sub(1)?;
        Some(Entering { task: Plain(task), flags, left })
    })
}

/// A plain task that may go on. For this poll, with no foreign code in between.
#[derive(Clone, Copy)]
pub(crate) struct Entering {
    task: Plain,
    flags: u16,
    left: u32,
}

impl Entering {
    #[inline(always)]
    pub(crate) fn task(self) -> Plain {
        self.task
    }

    /// It goes on, without a wait.
    #[inline(always)]
    pub(crate) fn count(self) {
        Admitted { left: self.left }.count();
    }

    /// It goes on, and waits in `op` and `at`: only [`Parked::of_waiting`] is left to be done.
    ///
    /// # Safety
    /// It is of [`wait_plainly`], in this poll, with no foreign code in between.
    #[inline(always)]
    pub(crate) unsafe fn wait(self, op: Op, at: &'static Location<'static>) -> Plain {
        self.count();
        // SAFETY: the context's task is alive and held.
        let task = unsafe { &*self.task.0 };
        task.begin_wait(self.flags, op, at);
        self.task
    }
}

/// See [`wait_plainly`]. For this poll.
#[derive(Clone, Copy)]
pub(crate) struct Plain(*const Header);

impl Plain {
    #[inline(always)]
    pub(crate) fn header(self) -> *const Header {
        self.0
    }
}

/// Looks at the innermost scope. What other threads cancel is taken in between passes, and by [`take_in`].
#[inline(always)]
pub(crate) fn is_cancelled() -> bool {
    let node = context::node();
    // SAFETY: the context's node is alive and held.
    !node.is_null() && unsafe { (*node).is_effective() }
}

/// Takes in what other threads have cancelled, for code that does not yield.
#[inline(always)]
pub(crate) fn take_in() {
    context::with_root(Root::take_in_if_notified);
}

/// Records that somebody was told of a cancellation.
pub(crate) fn count_delivery() {
    let root = context::root();
    if !root.is_null() {
        // SAFETY: the context's root is held by this thread.
        unsafe { (*root).deliveries.set((*root).deliveries.get() + 1) };
    }
}

/// The error for an operation that found itself cancelled, with the reason of the scope that is responsible.
#[cold]
pub(crate) fn cancelled() -> Cancelled {
    Cancelled::new(reason_of(context::node()))
}

/// The reason of the nearest scope that was cancelled itself.
pub(crate) fn reason_of(mut at: *const Node) -> Reason {
    while !at.is_null() {
        // SAFETY: the context's node and its parents are alive and held.
        let node = unsafe { &*at };
        if node.is_called() {
            return match node.kind() {
                // SAFETY: the kind says so.
                Kind::Scope | Kind::Nursery => unsafe { ScopeSlot::of(node) }
                    .reason
                    .borrow()
                    .clone()
                    .unwrap_or_else(|| Reason::new(ReasonKind::Explicit)),
                Kind::Task | Kind::Group => Reason::new(ReasonKind::Explicit),
            };
        }
        at = node.parent.get();
    }
    Reason::new(ReasonKind::Explicit)
}

pub(crate) use super::op::Op;

/// An uncancellable section: the scopes around wait for it. Given back on drop, also on another thread.
pub(crate) struct Hold(Option<SlotRef>);

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

impl Hold {
    pub(crate) fn take() -> Self {
        let node = context::node();
        if node.is_null() {
            return Self(None);
        }
        // SAFETY: the context's node is alive and held; contexts never name a group.
        unsafe {
            node::hold(node, 1);
            Self(Some(SlotRef::new(node)))
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(slot) = self.0.take() else { return };
        if !slot.is_live() {
            return;
        }
        let owner = slot.get().owner();
        if !owner.is_null() {
            // SAFETY: an owner is a root cell.
            unsafe { remote::perform(owner, Mail::Release(slot)) };
        }
    }
}

/// Who polls, to be known again: a waker, and the innermost scope. `Send + Sync`.
///
/// Making and dropping one may run foreign waker code: never with a lock held.
#[derive(Debug)]
pub(crate) struct Who {
    waker: WakeRef,
    scope: Option<SlotRef>,
}

impl Who {
    pub(crate) fn polls(cx: &Context<'_>) -> Self {
        let node = context::node();
        // SAFETY: the context's node is alive and held; contexts never name a group.
        let scope = (!node.is_null()).then(|| unsafe { SlotRef::new(node) });
        Self { waker: WakeRef::from_waker(cx.waker()), scope }
    }

    /// Does a wake of this one make `cx` poll again?
    pub(crate) fn will_wake(&self, cx: &Context<'_>) -> bool {
        self.waker.will_wake(cx.waker())
    }

    /// Is this who polls with `cx`, in the same scope?
    pub(crate) fn is_current(&self, cx: &Context<'_>) -> bool {
        let same_scope = match &self.scope {
            Some(scope) => scope.as_ptr() == context::node() && scope.is_live(),
            None => context::node().is_null(),
        };
        same_scope && self.will_wake(cx)
    }

    pub(crate) fn waker(&self) -> WakeRef {
        self.waker.clone()
    }
}

/// A wait in progress: whom to wake, and whether the wait was cancelled meanwhile. `Send + Sync`.
///
/// Making, waking and dropping one may run foreign waker code: never with a lock held.
///
/// Two words, so that it travels in registers. In the plain case, a task that waits in its own scope, `at` is the task's
/// header, which is its node, counted on its home. Else `at` is a box with the rest, marked in its lowest bit.
pub(crate) struct Parked {
    at: NonNull<()>,
    /// The stamp of the scope when the wait began.
    began: u64,
}

struct Extra {
    /// The scope that the wait began in, or null; counted on its home.
    node: *const Node,
    waker: Option<WakeRef>,
    /// The wait's own registration with the scope, if its waker is not the task's.
    foreign: Option<u64>,
    hold: Option<Hold>,
}

// SAFETY: the pointers are counted; other threads read atomics through them.
unsafe impl Send for Parked {}
// SAFETY: as above.
unsafe impl Sync for Parked {}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl Parked {
    /// A wait that cancellation ends. `op` (as `"channel::recv"`) and `at` are what the task tree shows.
    #[inline(always)]
    pub(crate) fn new(cx: &mut Context<'_>, op: Op, at: &'static Location<'static>) -> Self {
        match Self::plain(cx, op, at) {
            Some(parked) => parked,
            None => Self::with_extra(cx, op, at, false),
        }
    }

    /// As [`Parked::new`], in the plain case only. Runs no foreign code: may be called with a lock held.
    #[inline(always)]
    pub(crate) fn plain(cx: &Context<'_>, op: Op, at: &'static Location<'static>) -> Option<Self> {
        let (task, node) = context::ambient(|a| (a.task.get(), a.node.get()));
        if wake::header_of(cx.waker()) != Some(task) || !ptr::eq(node, task.cast()) {
            return None;
        }
        // SAFETY: the context's task, a waker's header and so not null, is alive and held.
        unsafe {
            (*node).count();
            (*task).set_wait(op, at);
            Some(Self::counted(task))
        }
    }

    /// As [`Parked::plain`], of a task that has said what it waits in ([`Entering::wait`]).
    ///
    /// # Safety
    /// In the poll that it did so in, by the holder of `root`.
    #[inline(always)]
    pub(crate) unsafe fn of_waiting(task: Plain, root: &Root) -> Self {
        root.count_inc_here();
        // SAFETY: it is at home, so that its count is the root's; for the rest by contract.
        unsafe { Self::counted(task.0) }
    }

    /// # Safety
    /// The context's task, which is held, and was counted on its home.
    #[inline(always)]
    unsafe fn counted(task: *const Header) -> Self {
        // SAFETY: by contract.
        unsafe { Self { at: NonNull::new_unchecked(task.cast_mut()).cast(), began: (*task).node.stamp() } }
    }

    /// A wait that cancellation does not end ([`Parked::is_cancelled`] is always false); it holds its scopes open.
    pub(crate) fn shielded(cx: &mut Context<'_>, op: Op, at: &'static Location<'static>) -> Self {
        Self::with_extra(cx, op, at, true)
    }

    #[inline(never)]
    fn with_extra(cx: &mut Context<'_>, op: Op, at: &'static Location<'static>, shielded: bool) -> Self {
        let waker = WakeRef::from_waker(cx.waker());
        let (task, mut node) = (context::task(), context::node());
        if !task.is_null() {
            // SAFETY: the context's task is alive and held.
            unsafe { (*task).set_wait(op, at) };
        }
        let hold = shielded.then(Hold::take);
        let (mut began, mut foreign) = (0, None);
        if shielded {
            node = ptr::null();
        }
        if !node.is_null() {
            // SAFETY: the context's node is alive and held.
            unsafe {
                if wake::header_of(cx.waker()) != Some(task) {
                    foreign = Some((*node).add_foreign(waker.clone()));
                }
                (*node).count();
                began = (*node).stamp();
            }
        }
        let extra = NonNull::from(Box::leak(Box::new(Extra { node, waker: Some(waker), foreign, hold })));
        Self { at: extra.cast::<()>().map_addr(|a| a | 1), began }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.at.addr().get() & 1 == 0
    }

    fn extra(&self) -> *mut Extra {
        self.at.as_ptr().map_addr(|a| a & !1).cast()
    }

    /// The task, in the plain case.
    #[inline(always)]
    fn task(&self) -> *const Header {
        self.at.as_ptr().cast_const().cast()
    }

    /// The scope, or null.
    #[inline(always)]
    fn node(&self) -> *const Node {
        // SAFETY: a marked pointer is this wait's box.
        if self.is_plain() { self.task().cast() } else { unsafe { (*self.extra()).node } }
    }

    /// Was the wait cancelled since it began (sticky, also if a shield went up meanwhile)? Any thread; reads two
    /// atomics and takes no lock, so it may be called with one held.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        let node = self.node();
        if node.is_null() {
            return false;
        }
        // SAFETY: counted.
        let node = unsafe { &*node };
        let stamp = node.stamp();
        if stamp == self.began {
            // Never told; a wait that began in a cancelled scope (only a condition's does) is cancelled from the start.
            return node.is_effective();
        }
        stamp as u32 == self.began as u32
    }

    /// Is it a plain wait of a task in the memory of `root`? Then all that a drop does is to give back a count there.
    #[inline(always)]
    pub(crate) fn is_of(&self, root: &Root) -> bool {
        // SAFETY: in the plain case a header, which is counted.
        self.is_plain() && unsafe { (*self.task()).node.is_of(root) }
    }

    /// The task's, in the plain case; else that of a box, marked.
    #[inline(always)]
    pub(crate) fn address(&self) -> *const () {
        self.at.as_ptr()
    }

    /// Is this still right for a poll with this context (same waker, same scope)? May be called with a lock held.
    #[inline(always)]
    pub(crate) fn is_current(&self, cx: &Context<'_>) -> bool {
        if self.is_plain() {
            return self.task().cast() == context::node()
                && self.node_is_live()
                && wake::header_of(cx.waker()) == Some(self.task());
        }
        self.extra_is_current(cx)
    }

    #[inline(never)]
    fn extra_is_current(&self, cx: &Context<'_>) -> bool {
        // SAFETY: a marked pointer is this wait's box.
        let extra = unsafe { &*self.extra() };
        let same_node = if extra.node.is_null() {
            extra.hold.is_some() || context::node().is_null()
        } else {
            extra.node == context::node() && self.node_is_live()
        };
        same_node && extra.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker()))
    }

    #[inline(always)]
    fn node_is_live(&self) -> bool {
        // SAFETY: counted; not null where this is asked.
        unsafe { (*self.node()).generation() == self.began as u32 }
    }

    /// A replacement for this wait after the future was polled with another waker or under another scope; the same
    /// kind, operation and place. Not with a lock held.
    #[inline(always)]
    pub(crate) fn renew(shielded: bool, cx: &mut Context<'_>, op: Op, at: &'static Location<'static>) -> Self {
        if shielded { Self::shielded(cx, op, at) } else { Self::new(cx, op, at) }
    }

    /// Ends the wait and wakes the task. Not with a lock held.
    #[inline(always)]
    pub(crate) fn wake(self) {
        if self.is_plain() {
            // SAFETY: counted, hence mapped. Should the task be gone, another one is woken for nothing.
            unsafe { wake::wake_header(self.task()) };
        } else {
            self.wake_extra();
        }
    }

    /// As [`Parked::wake`], by a call, where the code of the common path is what counts.
    #[inline(never)]
    pub(crate) fn wake_apart(self) {
        self.wake();
    }

    /// As [`Parked::wake`], in the context of `root`, if no foreign code runs for it: the task is this thread's and at home, and
    /// its nursery is about to be polled or being polled. False: nothing was done.
    ///
    /// # Safety
    /// True: `self` is not used any more, nor dropped.
    #[inline(always)]
    pub(crate) unsafe fn wake_quietly(&self, root: &Root) -> bool {
        // SAFETY: as in `wake`.
        if !self.is_plain() || !unsafe { wake::wake_quietly(self.task(), root) } {
            return false;
        }
        // The one that was taken when it was made: it is at home.
        root.count_dec_here();
        true
    }

    #[inline(never)]
    fn wake_extra(&self) {
        // SAFETY: a marked pointer is this wait's box, which this call consumes.
        let waker = unsafe { (*self.extra()).waker.take() };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Parked {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_plain() {
            // SAFETY: the count that was taken in `new`.
            unsafe { Node::uncount(self.node()) };
        } else {
            self.drop_extra();
        }
    }
}

impl Parked {
    #[inline(never)]
    fn drop_extra(&self) {
        // SAFETY: a marked pointer is this wait's box, dropped once; the node is counted.
        unsafe {
            let live = !self.node().is_null() && self.node_is_live();
            let extra = Box::from_raw(self.extra());
            if extra.node.is_null() {
                return;
            }
            let node = &*extra.node;
            let owner = node.owner();
            if let (Some(key), true, false) = (extra.foreign, live, owner.is_null()) {
                remote::perform(owner, Mail::EndForeign(SlotRef::new(node), key));
            }
            Node::uncount(node);
        }
    }
}
