//! The memory of an entered scope. A nursery's slot begins with one, too.
//!
//! Touched only by the holder of the node's owner. The deadline is armed (has a timer) while the scope waits and is not
//! cancelled; a scope whose body never waits touches no timer and reads no clock.
//!
//! Invariant: while a slot is plain, it has no waker, timer, reason or handle, and was linked when it began. So it can be
//! ended without looking for them; whatever sets one of these first makes it plain no more.

use super::{Deadline, ScopeShared};
use crate::error::{Reason, ReasonKind};
use crate::sched::context;
use crate::sched::node::{self, Kind, Node, SlotRef};
use crate::sched::pool::{CORE_CLASS, SCOPE_CLASS};
use crate::sched::remote::{self, Mail, SlotPtr};
use crate::sched::root::Root;
use crate::sched::sync::Cell;
use crate::sched::timers::{Target, TimerKey};
use crate::sched::wakes::{Wakes, Waste};
use crate::task::park;
use crate::task::wake::WakeRef;
use crate::time::{Instant, nanos};
use std::cell::RefCell;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// See the module.
#[repr(C)]
pub(crate) struct ScopeSlot {
    pub(crate) node: Node,
    waker: Cell<Option<WakeRef>>,
    pub(crate) deadline: Cell<Deadline>,
    timer: Cell<Option<TimerKey>>,
    pub(crate) reason: RefCell<Option<Reason>>,
    /// The handle's half, if there is a handle.
    pub(crate) shared: RefCell<Option<Arc<ScopeShared>>>,
    /// Where the scope was made.
    pub(crate) at: Cell<Option<&'static Location<'static>>>,
    /// Nothing above but deadline and place has been set since it began.
    is_plain: Cell<bool>,
}

impl ScopeSlot {
    pub(crate) fn fresh(home: &Root) -> Self {
        Self::fresh_of(home, Kind::Scope)
    }

    pub(crate) fn fresh_of(home: &Root, kind: Kind) -> Self {
        Self {
            node: Node::fresh(home, kind),
            waker: Cell::new(None),
            deadline: Cell::new(Deadline::Never),
            timer: Cell::new(None),
            reason: RefCell::new(None),
            shared: RefCell::new(None),
            at: Cell::new(None),
            is_plain: Cell::new(false),
        }
    }

    /// # Safety
    /// The node is the head of a scope's or nursery's slot.
    #[inline(always)]
    pub(crate) unsafe fn of(node: &Node) -> &Self {
        // SAFETY: `repr(C)`, the node comes first.
        unsafe { &*ptr::from_ref(node).cast() }
    }

    pub(crate) fn waker_clone(&self) -> Option<WakeRef> {
        let waker = self.waker.take();
        let clone = waker.clone();
        self.waker.set(waker);
        clone
    }

    /// Remembers whom a cancel wakes.
    #[inline]
    pub(crate) fn remember_waker(&self, cx: &Context<'_>) {
        self.is_plain.set(false);
        let old = self.waker.take();
        if old.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            self.waker.set(old);
            return;
        }
        self.waker.set(Some(WakeRef::from_waker(cx.waker())));
        drop(old);
    }

    /// Begins the use of the slot as a scope inside `parent`, without a handle or a shield, whose deadline need not be looked at.
    ///
    /// # Safety
    /// The slot was just allocated from `root`, which this thread holds, as the owner of `parent`.
    #[inline(always)]
    pub(crate) unsafe fn begin_plainly(
        &self,
        root: &Root,
        parent: *const Node,
        deadline: Deadline,
        at: &'static Location<'static>,
    ) {
        self.node.begin_linked(root);
        self.at.set(Some(at));
        self.deadline.set(deadline.by_words());
        self.is_plain.set(true);
        // SAFETY: by contract; nobody waits yet who would have to be woken.
        unsafe { node::link_new(&self.node, parent) };
    }

    /// Begins the use of the slot: not yet linked.
    ///
    /// # Safety
    /// The slot was just allocated from `root`, which this thread holds.
    pub(crate) unsafe fn begin(
        &self,
        root: &Root,
        deadline: Deadline,
        shield: bool,
        shared: Option<Arc<ScopeShared>>,
        at: &'static Location<'static>,
    ) {
        self.node.begin(root, if shield { node::SHIELD } else { 0 });
        self.at.set(Some(at));
        self.deadline.set(deadline.by_words());
        self.is_plain.set(false);
        let mut called = None;
        if let Some(shared) = shared {
            // SAFETY: a slot of ours.
            let slot = unsafe { SlotRef::new(&self.node) };
            let (shield, deadline, reason) = shared.enter(slot, root);
            if shield {
                self.node.begin(root, node::SHIELD);
            }
            self.deadline.set(deadline.by_words());
            called = reason;
            *self.shared.borrow_mut() = Some(shared);
        }
        if called.is_none() {
            let passed = match self.deadline.get() {
                Deadline::Never => false,
                Deadline::After(d) => {
                    if root.is_virtual() {
                        // It may be moved before the scope waits.
                        self.deadline.set(Deadline::At(root.read_clock() + d));
                    }
                    d.is_zero()
                }
                Deadline::At(at) => at <= root.read_clock(),
            };
            if passed {
                called = Some(Reason::new(ReasonKind::Deadline));
            }
        }
        if let Some(reason) = called {
            self.call(reason);
            // SAFETY: held; nothing is inside yet.
            unsafe { node::cancel(&self.node) }.wake();
        }
    }

    /// Records that the scope is cancelled, here and in the handle. The node is for the caller.
    ///
    /// What is cancelled from outside already goes on being told of that: the reason that came first.
    fn call(&self, reason: Reason) {
        self.is_plain.set(false);
        let told = if self.node.is_effective() { park::reason_of(self.node.parent.get()) } else { reason.clone() };
        self.reason.borrow_mut().get_or_insert(told);
        if let Some(shared) = &*self.shared.borrow() {
            shared.called(reason);
        }
    }

    /// Cancels the scope.
    ///
    /// # Safety
    /// This thread holds the owner.
    pub(crate) unsafe fn cancel(&self, reason: Reason) -> Wakes {
        if self.node.is_called() {
            return Wakes::none();
        }
        self.call(reason);
        // SAFETY: held by contract.
        let wakes = unsafe { node::cancel(&self.node) };
        if let Some(key) = self.timer.take() {
            // SAFETY: the timer is the owner's; root cells are never unmapped.
            let waste = unsafe { (*self.node.owner()).timers.borrow_mut().remove(key) };
            drop(waste);
        }
        wakes
    }

    /// A timer of `root` went off.
    ///
    /// # Safety
    /// This thread holds `root`; the node is the head of a scope's or nursery's slot, and the one that the timer was for.
    pub(crate) unsafe fn expire(node: &Node, root: &Root) {
        if !ptr::eq(node.owner(), root) {
            return;
        }
        // SAFETY: by contract.
        unsafe {
            let this = Self::of(node);
            this.timer.set(None);
            this.cancel(Reason::new(ReasonKind::Deadline)).wake();
        }
    }

    /// Sees to it that the deadline has a timer.
    ///
    /// # Safety
    /// This thread holds `root`, the owner.
    #[inline(always)]
    pub(crate) unsafe fn arm(&self, root: &Root) {
        if !matches!(self.deadline.get(), Deadline::Never) {
            // SAFETY: by contract.
            unsafe { self.arm_timer(root) };
        }
    }

    unsafe fn arm_timer(&self, root: &Root) {
        if self.timer.get().is_some() || self.node.is_called() {
            return;
        }
        let key = match self.deadline.get() {
            Deadline::Never => return,
            Deadline::At(at) => {
                // SAFETY: a scope's or nursery's, in use.
                let target = unsafe { Target::scope(&self.node, root) };
                root.new_timers().insert_at(at, target)
            }
            Deadline::After(d) => {
                // SAFETY: as above.
                let target = unsafe { Target::scope(&self.node, root) };
                root.begin_timer(nanos(d), target)
            }
        };
        self.is_plain.set(false);
        self.timer.set(Some(key));
    }

    /// Moves the deadline.
    ///
    /// # Safety
    /// This thread holds `root`, the owner.
    pub(crate) unsafe fn set_deadline(&self, deadline: Deadline, root: &Root) {
        if let Some(key) = self.timer.take() {
            let waste = root.timers.borrow_mut().remove(key);
            drop(waste);
        }
        self.deadline.set(deadline);
        // SAFETY: held by contract.
        unsafe { self.arm(root) };
    }

    /// The deadline as an instant; reads the clock if none was read since the scope began.
    ///
    /// # Safety
    /// This thread holds the owner.
    pub(crate) unsafe fn instant(&self) -> Option<Instant> {
        // SAFETY: root cells are never unmapped.
        let root = unsafe { &*self.node.owner() };
        match self.deadline.get() {
            Deadline::Never => None,
            Deadline::At(at) => Some(at),
            Deadline::After(d) => {
                let at = match self.timer.get() {
                    Some(key) => root.timers.borrow_mut().deadline(key, || root.read_clock()),
                    None => Some(root.read_clock() + d),
                };
                if let Some(at) = at {
                    self.deadline.set(Deadline::At(at));
                }
                at
            }
        }
    }

    /// The subtree leaves `from`: its timer goes, its deadline stays.
    ///
    /// # Safety
    /// This thread holds `from`, the owner.
    pub(crate) unsafe fn leave_timers(&self, from: *const Root) {
        if let Some(key) = self.timer.take() {
            // SAFETY: held by contract.
            let root = unsafe { &*from };
            let at = root.timers.borrow_mut().deadline(key, || root.read_clock());
            if let Some(at) = at {
                self.deadline.set(Deadline::At(at));
            }
            let waste = root.timers.borrow_mut().remove(key);
            drop(waste);
        }
    }

    /// Does the scope swallow what passes its exit now?
    #[inline]
    pub(crate) fn catches(&self) -> bool {
        self.node.is_called() && (self.node.is_shield() || !self.node.parent_is_effective())
    }

    /// Ends the use of a scope's slot, if the scope was [begun plainly](Self::begin_plainly), never waited, and is not cancelled.
    /// False: nothing was done.
    ///
    /// # Safety
    /// This thread holds `root`, which has not ended; the future of the scope is gone.
    #[inline(always)]
    pub(crate) unsafe fn end_plainly(&self, root: &Root) -> bool {
        let node = &self.node;
        if !self.is_plain.get() || !node.is_at_home(root) || node.parent.get().is_null() {
            return false;
        }
        // SAFETY: by contract; it is linked.
        if !unsafe { node::retire_plainly(node, 0, 0) } {
            return false;
        }
        // SAFETY: by contract; it is at home, or it would have a flag.
        unsafe { root.pool.release(node, SCOPE_CLASS, true) };
        root.count_dec_here();
        true
    }

    /// Was it [begun plainly](Self::begin_plainly), is not cancelled, and has nothing inside but `group`, which has nothing inside?
    #[inline(always)]
    pub(crate) fn is_plain_around(&self, group: &Node) -> bool {
        let node = &self.node;
        let is_linked = !node.parent.get().is_null();
        self.is_plain.get()
            && is_linked
            && node.is_plain()
            && node.has_only(group)
            && group.is_plain()
            && !group.has_inner()
    }

    /// Ends the use of a nursery's slot that [is plain](Self::is_plain_around).
    ///
    /// # Safety
    /// This thread holds `root`, the owner, which has not ended.
    #[inline(always)]
    pub(crate) unsafe fn end_around(&self, group: &Node, root: &Root, class: usize) {
        // SAFETY: by contract; both are linked.
        unsafe {
            node::retire_known(group);
            node::retire_known(&self.node);
            root.pool.release(&self.node, class, true);
        }
        root.count_dec_here();
    }

    /// Ends the use of a scope's slot.
    ///
    /// # Safety
    /// This thread holds the owner; the future of the scope is gone. `node` heads a scope's slot.
    pub(crate) unsafe fn end(node: *const Node) -> Wakes {
        // SAFETY: by contract.
        unsafe {
            let this = Self::of(&*node);
            let wakes = this.finish();
            let class = if this.node.kind() == Kind::Scope { SCOPE_CLASS } else { CORE_CLASS };
            let home = this.node.home();
            let is_here = home.is_here();
            home.pool.release(node, class, is_here);
            if is_here {
                home.count_dec_here();
            } else {
                Root::count_dec(home);
            }
            wakes
        }
    }

    /// All of [`ScopeSlot::end`] but for the memory.
    ///
    /// # Safety
    /// As [`ScopeSlot::end`].
    unsafe fn finish(&self) -> Wakes {
        let mut waste = Wakes::none();
        if let Some(key) = self.timer.take() {
            // SAFETY: the timer is the owner's.
            let target = unsafe { (*self.node.owner()).timers.borrow_mut().remove(key) };
            // A scope's: no foreign code in it, and no list to be made on the common path.
            drop(target);
        }
        if let Some(shared) = self.shared.take() {
            shared.exit();
        }
        self.reason.take();
        if let Some(foreign @ WakeRef::Foreign(_)) = self.waker.take() {
            waste.waste(Some(Waste::Wake(foreign)));
        }
        // SAFETY: held by contract.
        let mut wakes = unsafe { node::retire(&self.node) };
        wakes.append(waste);
        wakes
    }

    /// Ends the slot, wherever its root is.
    ///
    /// # Safety
    /// The slot is in use, and its future is gone.
    pub(crate) unsafe fn end_from_anywhere(node: *const Node) {
        // SAFETY: by contract.
        unsafe {
            if (*node).in_use_is_here() {
                Self::end(node).wake();
            } else {
                remote::perform((*node).owner(), Mail::EndScope(SlotPtr(node)));
            }
        }
    }
}

/// Makes sure that the subtree of `node` belongs to the context's root and hangs under the context's node; pending while
/// another thread still runs its old root.
///
/// # Safety
/// The node is the head of a slot in use, whose future is being polled by this thread; `root` is the context's.
#[inline(always)]
pub(crate) unsafe fn attach(node: *const Node, root: &Root, cx: &Context<'_>) -> Poll<()> {
    // SAFETY: in use by contract.
    unsafe {
        let n = &*node;
        // In the common case; the others are found out below.
        if n.is_at_home(root) && n.parent.get() == context::node() {
            return Poll::Ready(());
        }
        reattach(node, root, cx)
    }
}

#[cold]
unsafe fn reattach(node: *const Node, root: &Root, cx: &Context<'_>) -> Poll<()> {
    // SAFETY: as `attach`.
    unsafe {
        let n = &*node;
        let mut moved = false;
        loop {
            // It may be linked under something that others move, until this thread has it.
            let from = n.owner();
            if ptr::eq(from, root) {
                break;
            }
            let taken = Root::borrow_idle(from, || {
                (n.owner() == from).then(|| {
                    let mut wakes = node::unlink(node);
                    wakes.append(node::rehome(node, from, root));
                    wakes
                })
            });
            match taken {
                Some(Some(wakes)) => {
                    moved = true;
                    wakes.wake();
                }
                Some(None) => {}
                None => {
                    let mail = Mail::LetGo(SlotRef::new(node), WakeRef::from_waker(cx.waker()));
                    remote::perform(from, mail);
                    return Poll::Pending;
                }
            }
        }
        if moved {
            let shared = if n.kind() == Kind::Task { None } else { ScopeSlot::of(n).shared.borrow().clone() };
            if let Some(shared) = shared {
                shared.apply(root).wake();
            }
        }
        if n.parent.get() != context::node() {
            node::unlink(node).wake();
            if !context::node().is_null() {
                node::link(node, context::node()).wake();
            } else {
                node::settle(node).wake();
            }
        }
        Poll::Ready(())
    }
}
