//! A root: what the outermost frame of a tree owns. Task memory, timers, the way in for other threads.
//!
//! Invariants:
//!
//! - Root cells are type-stable: made by leaking, recycled through a global list, never unmapped. Anybody may follow a
//!   stale pointer to one and use its shared half.
//! - The other half is touched by the thread that *holds* the root (`held`). The outermost future holds it for the
//!   length of a turn; other threads only for short operations, and only while it is idle ([`remote`]).
//! - A cell is recycled when it has ended and its count is zero: no slot of its memory is in use or referred to, no
//!   node is owned by it.
//!
//! A *turn* is one poll of the outermost future by its host: mail and wakes from outside are taken in, then *passes*
//! are made until nothing is runnable or the budget is spent. Each pass first expires every due timer, then polls the
//! main task once, which runs each nursery's batch of runnable children.

use super::context::{self, Frame};
use super::count::Count;
use super::idle::{Idle, IdleOutcome};
use super::pool::Pool;
use super::remote::{self, Mail};
use super::sync::{AtomicBool, AtomicI64, AtomicPtr, Mutex, Ordering};
use super::timers::{Target, Timers};
use crate::inspect::Tree;
use crate::run::Settings;
use crate::task::header::{Header, NO_FUTURE};
use crate::task::park::Hold;
use crate::task::wake;
use crate::testing::Order;
use crate::time::Instant;
use std::cell::{Cell, RefCell};
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Polls of tasks in one turn, before the host gets its thread back.
const BUDGET: u32 = 1024;
/// Passes between two readings of a real clock.
const PASSES_PER_CLOCK: u32 = 64;

struct MailBox {
    open: bool,
    mail: Vec<Mail>,
}

/// See the module.
pub(crate) struct Root {
    // Shared half.
    count: Count,
    held: AtomicBool,
    ended: AtomicBool,
    notified: AtomicBool,
    pub(super) stack: AtomicPtr<Header>,
    host: Mutex<Option<Arc<Waker>>>,
    mail: Mutex<MailBox>,
    has_mail: AtomicBool,
    /// Clones of our wakers in foreign hands.
    escaped: AtomicI64,

    // Holder's half.
    escaped_here: Cell<i64>,
    pub(crate) pool: Pool,
    pub(crate) main: Cell<*const Header>,
    pub(crate) main_woken: Cell<bool>,
    pub(crate) budget: Cell<u32>,
    /// `Cancelled` errors delivered so far.
    pub(crate) deliveries: Cell<u64>,
    pub(crate) timers: RefCell<Timers>,
    settings: RefCell<Option<Arc<Settings>>>,
    pub(crate) order: Cell<Order>,
    pub(crate) instrumented: Cell<bool>,
    seed: Cell<u64>,
    next_id: Cell<u64>,
    /// The last reading of the clock.
    now: Cell<Instant>,
    pub(super) idle: RefCell<Idle>,
    /// Holds of tasks that yield because they ignore cancellation; given back at the end of the pass.
    paused: RefCell<Vec<Hold>>,
    /// The clock is virtual.
    is_virtual: Cell<bool>,
}

// SAFETY: the holder's half is touched only by the thread that holds the root; the hold is handed over with
// acquire/release (`held`).
unsafe impl Sync for Root {}
// SAFETY: as above.
unsafe impl Send for Root {}

/// What a turn came to.
pub(crate) enum Turn<T> {
    Ready(T),
    Pending,
    /// Virtual time, and nothing can ever happen again.
    Deadlock(Tree),
}

static CELLS: std::sync::Mutex<Vec<&'static Root>> = std::sync::Mutex::new(Vec::new());

fn next_task_ids() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static BLOCK: AtomicU64 = AtomicU64::new(0);
    // Each root draws from a block of its own: 2^40 tasks.
    (BLOCK.fetch_add(1, Ordering::Relaxed) << 40) + 1
}

impl Root {
    fn new() -> Self {
        Self {
            count: Count::new(),
            held: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            notified: AtomicBool::new(false),
            stack: AtomicPtr::new(ptr::null_mut()),
            host: Mutex::new(None),
            mail: Mutex::new(MailBox { open: true, mail: Vec::new() }),
            has_mail: AtomicBool::new(false),
            escaped: AtomicI64::new(0),
            escaped_here: Cell::new(0),
            pool: Pool::new(),
            main: Cell::new(ptr::null()),
            main_woken: Cell::new(true),
            budget: Cell::new(BUDGET),
            deliveries: Cell::new(0),
            timers: RefCell::new(Timers::new()),
            settings: RefCell::new(None),
            order: Cell::new(Order::Fifo),
            instrumented: Cell::new(false),
            seed: Cell::new(0),
            next_id: Cell::new(0),
            now: Cell::new(Instant::from_nanos(0)),
            idle: RefCell::new(Idle::new()),
            paused: RefCell::new(Vec::new()),
            is_virtual: Cell::new(false),
        }
    }

    /// A root with a main task, held by nobody.
    pub(crate) fn begin(settings: Arc<Settings>) -> &'static Self {
        let recycled = CELLS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let root: &'static Self = recycled.unwrap_or_else(|| Box::leak(Box::new(Self::new())));
        root.order.set(settings.order);
        root.seed.set(match settings.order {
            Order::Shuffle(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        });
        root.instrumented.set(settings.instrument.is_some());
        root.is_virtual.set(settings.clock.is_virtual());
        root.next_id.set(next_task_ids());
        root.now.set(settings.clock.now());
        *root.settings.borrow_mut() = Some(settings);
        root.main_woken.set(true);
        let _hold = root.hold_by_spinning();
        let frame = Frame::enter_root(root);
        // SAFETY: this thread holds the root.
        let main = unsafe { root.pool.allocate(root, super::pool::task_class(size_of::<Header>())) };
        let main = main.cast::<Header>();
        // SAFETY: a task slot was allocated.
        unsafe { (*main).begin(root, &NO_FUTURE, ptr::null()) };
        root.main.set(main);
        drop(frame);
        root
    }

    /// Runs `f` in the root's context, outside of a turn.
    pub(crate) fn enter(&'static self, f: impl FnOnce()) {
        let _hold = self.hold_by_spinning();
        let _frame = Frame::enter_root(self);
        f();
    }

    /// Ends the root. The tree is gone, save for parts that were moved away.
    pub(crate) fn end(&'static self) {
        let _hold = self.hold_by_spinning();
        let frame = Frame::enter_root(self);
        let main = self.main.replace(ptr::null());
        // SAFETY: this thread holds the root; the main task is in use by nobody else.
        unsafe {
            (*main).state.set(crate::task::header::DONE);
            let extras = (*main).extras.take();
            finish_extras(extras, (*main).task_id());
            super::node::retire(main.cast()).wake();
            self.pool.release(main.cast(), super::pool::task_class(size_of::<Header>()), true);
            Self::count_dec(self);
            remote::read_mail(self);
        }
        if self.timers.borrow().has_unresolved() {
            // Of parts that were moved away: they take their deadlines with them, and this clock is gone soon.
            let now = self.read_clock();
            self.timers.borrow_mut().resolve(now);
        }
        let sleepers = self.timers.borrow_mut().take_targets();
        let waiting = mem::replace(&mut *self.idle.borrow_mut(), Idle::new());
        for target in sleepers {
            // Whoever sleeps here was moved away: let it find another root.
            if let Target::Wake(w) = target {
                w.wake();
            }
        }
        drop(waiting);
        self.close();
        drop(frame);
        let rest = self.take_mail();
        for mail in rest {
            // SAFETY: ended and held by this thread: `perform` spins for its own hold.
            self.unhold();
            unsafe { remote::perform(self, mail) };
            let _ = self.hold_by_spinning().forget();
        }
        // SAFETY: the root has ended.
        unsafe { remote::drain(self) };
        let host = self.host.lock().unwrap_or_else(|_| unreachable!()).take();
        let settings = self.settings.borrow_mut().take();
        drop(_hold);
        drop((host, settings));
        if self.count.end() {
            self.recycle();
        }
    }

    fn close(&self) {
        let mut mailbox = self.mail.lock().unwrap_or_else(|_| unreachable!());
        mailbox.open = false;
        self.ended.store(true, Ordering::SeqCst);
    }

    fn recycle(&self) {
        // SAFETY: ended, and nothing refers to its memory.
        unsafe { self.pool.clear() };
        self.count.reset();
        *self.timers.borrow_mut() = Timers::new();
        self.escaped.store(0, Ordering::Relaxed);
        self.escaped_here.set(0);
        self.notified.store(false, Ordering::Relaxed);
        self.has_mail.store(false, Ordering::Relaxed);
        self.deliveries.set(0);
        self.mail.lock().unwrap_or_else(|_| unreachable!()).open = true;
        self.ended.store(false, Ordering::SeqCst);
        // SAFETY: root cells are never unmapped.
        let root: &'static Self = unsafe { &*ptr::from_ref(self) };
        CELLS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(root);
    }

    // ---- shared half ----

    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        ptr::eq(context::root(), self)
    }

    #[inline(always)]
    pub(crate) fn count_inc(&self) {
        self.count.inc(self.is_here());
    }

    /// # Safety
    /// Gives back one count; `root` is a root cell.
    #[inline(always)]
    pub(crate) unsafe fn count_dec(root: *const Self) {
        // SAFETY: root cells are never unmapped.
        let root = unsafe { &*root };
        if root.count.dec(root.is_here()) {
            root.recycle();
        }
    }

    #[inline(always)]
    pub(crate) fn escaped_inc(&self) {
        if self.is_here() {
            self.escaped_here.set(self.escaped_here.get() + 1);
        } else {
            self.escaped.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(crate) fn escaped_dec(&self) {
        if self.is_here() {
            self.escaped_here.set(self.escaped_here.get() - 1);
        } else {
            self.escaped.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_escaped_wakers(&self) -> bool {
        self.escaped_here.get() + self.escaped.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Takes an idle root.
    pub(super) fn try_hold(&self) -> bool {
        !self.held.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unhold(&self) {
        // A swap, so that this and a failed `try_hold` are ordered: see `remote::settle`.
        self.held.swap(false, Ordering::AcqRel);
    }

    /// Takes a root that no thread runs, for a short operation, after the mail that came first. None: it runs.
    ///
    /// # Safety
    /// `root` is a root cell other than the context's.
    pub(crate) unsafe fn borrow_idle(root: *const Self) -> Option<Held<'static>> {
        // SAFETY: root cells are never unmapped.
        let root: &'static Self = unsafe { &*root };
        let hold = if root.has_ended() {
            root.hold_by_spinning()
        } else if root.try_hold() {
            Held(root)
        } else {
            return None;
        };
        // SAFETY: held.
        unsafe { remote::read_mail(root) };
        Some(hold)
    }

    fn hold_by_spinning(&self) -> Held<'_> {
        let mut spins = 0u32;
        while !self.try_hold() {
            spins += 1;
            if spins > 64 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        Held(self)
    }

    /// Posts mail; it comes back if the root has ended.
    pub(super) fn post(&self, mail: Option<Mail>) -> Option<Mail> {
        let mut mailbox = self.mail.lock().unwrap_or_else(|_| unreachable!());
        if !mailbox.open {
            return mail;
        }
        mailbox.mail.extend(mail);
        self.has_mail.store(true, Ordering::Release);
        None
    }

    pub(super) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    pub(super) fn take_mail(&self) -> Vec<Mail> {
        if !self.has_mail.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        mem::take(&mut self.mail.lock().unwrap_or_else(|_| unreachable!()).mail)
    }

    /// Makes the host poll.
    pub(crate) fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            let host = self.host.lock().unwrap_or_else(|_| unreachable!()).clone();
            if let Some(host) = host {
                host.wake_by_ref();
            }
        }
    }

    // ---- holder's half ----

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone().expect("a root in use has settings")
    }

    pub(crate) fn with_settings<R>(&self, f: impl FnOnce(&Settings) -> R) -> R {
        f(self.settings.borrow().as_ref().expect("a root in use has settings"))
    }

    /// The clock, read now.
    pub(crate) fn read_clock(&self) -> Instant {
        let now = self.with_settings(|s| s.clock.now());
        self.now.set(now);
        now
    }

    #[inline(always)]
    pub(crate) fn next_task_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// A number below `n`, by the order's seed.
    pub(crate) fn random(&self, n: usize) -> usize {
        let mut x = self.seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        ((u128::from(x.wrapping_mul(0x2545_f491_4f6c_dd1d)) * n as u128) >> 64) as usize
    }

    fn set_host(&self, waker: &Waker) {
        let current = self.host.lock().unwrap_or_else(|_| unreachable!()).clone();
        if current.is_some_and(|c| c.will_wake(waker)) {
            return;
        }
        let fresh = Some(Arc::new(waker.clone()));
        let old = mem::replace(&mut *self.host.lock().unwrap_or_else(|_| unreachable!()), fresh);
        drop(old);
    }

    /// Cancels the scopes and wakes the sleepers whose time has come: all of them, before any task runs.
    fn expire(&self) {
        let now = self.now.get();
        let due = self.timers.borrow().next().is_some_and(|d| d <= now);
        if !due {
            return;
        }
        let mut due = Vec::new();
        while let Some(target) = self.timers.borrow_mut().pop_due(now) {
            due.push(target);
        }
        for target in &due {
            if let Target::Scope(slot) = target {
                // SAFETY: this thread holds the root; a timer belongs to a scope of the same root or a stale one.
                unsafe { crate::cancel::slot::ScopeSlot::expire(slot, self) };
            }
        }
        for target in due {
            if let Target::Wake(w) = target {
                w.wake();
            }
        }
    }

    fn take_in(&self) {
        if self.notified.swap(false, Ordering::AcqRel) {
            // SAFETY: this thread holds the root, which is the context's.
            unsafe {
                remote::read_mail(self);
                remote::drain(self);
            }
        }
    }

    /// Looks at the notifications during a long poll, for a checkpoint that must see a cancel from another thread.
    #[inline(always)]
    pub(crate) fn take_in_if_notified(&self) {
        if self.has_mail.load(Ordering::Relaxed) {
            // SAFETY: only called by the holder, in its context.
            unsafe { remote::read_mail(self) };
        }
    }

    /// One poll by the host.
    pub(crate) fn turn<T>(
        &'static self,
        host: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Turn<T> {
        self.set_host(host.waker());
        let hold = self.hold_by_spinning();
        let _frame = Frame::enter_root(self);
        let main = self.main.get();
        context::ambient(|a| {
            a.task.set(main);
            a.node.set(main.cast());
            // SAFETY: the main task is alive for as long as the root.
            a.locals.set(unsafe { (*main).locals() });
        });
        let waker = wake::lend(main);
        let mut cx = Context::from_waker(&waker);
        self.budget.set(BUDGET);
        let mut passes = 0;
        self.read_clock();
        let result = loop {
            self.take_in();
            self.expire();
            if self.main_woken.get() {
                self.idle.borrow_mut().active();
                self.main_woken.set(false);
                // SAFETY: alive, held.
                unsafe { (*main).clear(crate::task::header::QUEUED) };
                context::ambient(|a| {
                    a.steps.set(context::STEPS);
                    a.delivered.set(0);
                });
                if let Poll::Ready(value) = poll(&mut cx) {
                    break Turn::Ready(value);
                }
                passes += 1;
                if !self.paused.borrow().is_empty() {
                    let paused = mem::take(&mut *self.paused.borrow_mut());
                    drop(paused);
                }
                if self.timers.borrow().has_unresolved() {
                    let now = self.read_clock();
                    self.timers.borrow_mut().resolve(now);
                } else if passes % PASSES_PER_CLOCK == 0 || self.is_virtual.get() {
                    self.read_clock();
                }
                if self.main_woken.get() {
                    let spent = self.budget.get() == 0 || passes >= BUDGET;
                    if spent || !self.with_settings(|s| s.has_budget()) {
                        host.waker().wake_by_ref();
                        break Turn::Pending;
                    }
                    continue;
                }
            }
            if self.timers.borrow().next().is_some_and(|d| d <= self.now.get()) {
                continue;
            }
            match super::idle::wait(self, host) {
                IdleOutcome::Again => continue,
                IdleOutcome::Pending => break Turn::Pending,
                IdleOutcome::Deadlock => break Turn::Deadlock(crate::inspect::tree()),
            }
        };
        drop(hold);
        result
    }

    /// Keeps a hold until the end of the pass.
    pub(crate) fn pause(&self, hold: Hold) {
        self.paused.borrow_mut().push(hold);
    }

    pub(crate) fn with_idle<R>(&self, f: impl FnOnce(&mut Idle) -> R) -> R {
        f(&mut self.idle.borrow_mut())
    }

    pub(super) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Acquire)
    }
}

/// Runs the exit hooks of a task that ended; drops its name and locals.
pub(crate) fn finish_extras(extras: Option<Box<crate::task::header::Extras>>, id: crate::task::TaskId) {
    if let Some(extras) = extras {
        for hook in extras.hooks {
            hook.task_exited(id);
        }
    }
}

/// A held root.
pub(crate) struct Held<'a>(&'a Root);

impl Held<'_> {
    fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.unhold();
        if self.0.has_mail() && !self.0.is_here() {
            remote::settle(self.0);
        }
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").finish_non_exhaustive()
    }
}
