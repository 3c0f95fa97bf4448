//! A root: what the outermost frame of a tree owns. Task memory, timers, the way in for other threads.
//!
//! Invariants:
//!
//! - Root cells are type-stable: made by leaking, recycled through a global list, never unmapped. Anybody may follow a
//!   stale pointer to one and use its shared half.
//! - The other half is touched by the thread that *holds* the root (`held`). The outermost future holds it for the
//!   length of a turn; other threads only for short operations, and only while it is idle ([`remote`]).
//! - A cell that is in no use, and one whose root has ended, has a shut gate: nobody holds it for long.
//! - A cell is recycled when it has ended and its count is zero: no slot of its memory is in use or referred to, no
//!   node is owned by it.
//!
//! What it does when its host polls it is in [`turn`](self::turn), for how long in [`pace`](self::pace), what it knows of its host in
//! [`host`](self::host).

mod host;
mod pace;
mod turn;

pub(crate) use turn::Turn;

use self::pace::Pace;
use super::bell::Bell;
use super::cells;
use super::context::{self, Ambient, Frame};
use super::count::Count;
use super::gate::{Gate, Hold};
use super::idle::Idle;
use super::pool::Pool;
use super::remote::{self, After, Mail};
use super::stack::Stack;
use super::sync::{AtomicBool, AtomicI64, AtomicU32, Cell, Ordering};
use super::timers::{Target, TimerKey, Timers};
use crate::nursery::core::{go_on, keep_first};
use crate::run::Settings;
use crate::task::header::Header;
use crate::task::park;
use crate::task::wake::{Identity, wake_foreign};
use crate::testing::Order;
use crate::time::Instant;
use std::cell::{RefCell, RefMut};
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::task::Waker;

/// See the module.
#[repr(C, align(64))]
pub(crate) struct Root {
    // What every task writes, and looks at. The holder's, but for the count.
    count: Count,
    /// Polls that are left to the stretch of the turn after the next one; below zero it is spent, and if the turn has no other one, only
    /// the first task of each nursery is polled.
    pub(crate) budget: Cell<i32>,
    /// Of the cell; not 0. Constant, and so anybody's.
    pub(crate) number: u32,
    pub(crate) main_woken: Cell<bool>,
    /// An order other than first-in first-out, an instrument, or a host that limits: one question for all.
    special: Cell<Special>,
    pub(crate) instrumented: Cell<bool>,
    /// Clones of our wakers in foreign hands are counted. Constant for as long as there is one, which counts on the root; and so
    /// anybody's.
    counts_wakers: AtomicBool,
    pub(crate) pool: Pool,

    // Shared half.
    pub(super) gate: Gate<Mail>,
    bell: Bell<Arc<Waker>>,
    pub(super) stack: Stack<Header>,
    /// How many threads that do not run the root are about to wake, or are waking, whom its mail told of something.
    telling: AtomicU32,
    /// The context of the thread that ran the root last, to compare with. It orders nothing, so models do not branch at it.
    thread: std::sync::atomic::AtomicPtr<Ambient>,
    /// How many clones of our wakers there are in foreign hands, if they are counted.
    escaped: AtomicI64,

    // Holder's half.
    escaped_here: Cell<i64>,
    pub(crate) main: Cell<*const Header>,
    /// `Cancelled` errors delivered so far.
    pub(crate) deliveries: Cell<u64>,
    pub(crate) timers: RefCell<Timers>,
    /// There may be timers. Set by [`Root::new_timers`], taken back by a turn that finds none.
    is_timed: Cell<bool>,
    settings: RefCell<Option<Arc<Settings>>>,
    pub(crate) order: Cell<Order>,
    /// Locks in slots are not biased: there is no barrier.
    revokes_locks: Cell<bool>,
    seed: Cell<u64>,
    next_id: Cell<u64>,
    /// The last reading of the clock.
    now: Cell<Instant>,
    pub(super) idle: RefCell<Idle>,
    /// Holds of tasks that yield because they ignore cancellation; given back at the end of the pass.
    paused: RefCell<Vec<park::Hold>>,
    /// The clock is virtual.
    is_virtual: Cell<bool>,
    /// How many polls a turn has.
    pace: Pace,
    /// The host has said before that its budget is spent, so it is asked before each task.
    host_limits: Cell<bool>,
    /// It has said so in this turn.
    host_refused: Cell<bool>,
    /// The waker that the bell has.
    host: RefCell<Option<Arc<Waker>>>,
    /// Its identity, to compare with: it lives for as long as this stands here.
    host_identity: Cell<Identity>,
    /// Where the handle of the settings is, to be known again.
    handle: Cell<*const ()>,
}

/// How the tasks of a root are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    /// In order, unseen, for as long as the root's budget lasts.
    No,
    /// So, but the host is asked before each.
    Limited,
    /// In an order that a test asked for, or before an instrument.
    Yes,
}

// SAFETY: the holder's half is touched only by the thread that holds the root; the hold is handed over with
// acquire/release (`held`).
unsafe impl Sync for Root {}
// SAFETY: as above.
unsafe impl Send for Root {}

fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    // Cells are recycled: there are as many as there were roots at a time.
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn next_task_ids() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static BLOCK: AtomicU64 = AtomicU64::new(0);
    // Each root draws from a block of its own: 2^40 tasks.
    (BLOCK.fetch_add(1, Ordering::Relaxed) << 40) + 1
}

impl Root {
    pub(super) fn new() -> Self {
        Self {
            number: next_number(),
            count: Count::new(),
            gate: Gate::new(),
            bell: Bell::new(),
            stack: Stack::new(),
            telling: AtomicU32::new(0),
            thread: std::sync::atomic::AtomicPtr::new(ptr::null_mut()),
            counts_wakers: AtomicBool::new(false),
            escaped: AtomicI64::new(0),
            escaped_here: Cell::new(0),
            pool: Pool::new(),
            main: Cell::new(ptr::null()),
            main_woken: Cell::new(true),
            budget: Cell::new(0),
            deliveries: Cell::new(0),
            timers: RefCell::new(Timers::new()),
            is_timed: Cell::new(false),
            settings: RefCell::new(None),
            order: Cell::new(Order::Fifo),
            instrumented: Cell::new(false),
            special: Cell::new(Special::No),
            revokes_locks: Cell::new(true),
            seed: Cell::new(0),
            next_id: Cell::new(next_task_ids()),
            now: Cell::new(Instant::from_nanos(0)),
            idle: RefCell::new(Idle::new()),
            paused: RefCell::new(Vec::new()),
            is_virtual: Cell::new(false),
            pace: Pace::new(),
            host_limits: Cell::new(false),
            host_refused: Cell::new(false),
            host: RefCell::new(None),
            host_identity: Cell::new(Identity::NONE),
            handle: Cell::new(ptr::null()),
        }
    }

    /// A root with a main task, held by nobody.
    pub(crate) fn begin(settings: Arc<Settings>) -> &'static Self {
        let root = cells::take();
        // Somebody with a stale pointer may hold the cell for a moment.
        let _hold = root.hold();
        root.order.set(settings.order);
        root.seed.set(match settings.order {
            Order::Shuffle(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        });
        root.instrumented.set(settings.instrument.is_some());
        root.revokes_locks.set(!crate::sync::bias::barrier::is_available());
        let is_plain = settings.instrument.is_none() && settings.order == Order::Fifo;
        root.special.set(if is_plain { Special::No } else { Special::Yes });
        root.is_virtual.set(settings.clock.is_virtual());
        root.pace.begin(settings.clock.is_virtual());
        root.counts_wakers.store(settings.clock.is_virtual(), Ordering::Relaxed);
        root.host_limits.set(false);
        root.next_id.set(next_task_ids());
        root.now.set(settings.clock.now());
        let before = root.exchange_settings(Some(settings));
        debug_assert!(before.is_none(), "taken when a root ends");
        root.main_woken.set(true);
        root.gate.open();
        let frame = Frame::enter_root(root);
        // SAFETY: this thread holds the root.
        let main = unsafe { root.pool.allocate(root, super::pool::task_class(size_of::<Header>())) };
        let main = main.cast::<Header>();
        // SAFETY: a task slot was allocated.
        unsafe { (*main).begin_main(root) };
        root.main.set(main);
        drop(frame);
        root
    }

    /// The root of what is on its way from one to another: it has ended, so that it is only held for a moment.
    pub(crate) fn limbo() -> &'static Self {
        cells::limbo()
    }

    /// Runs `f` in the root's context, outside of a turn.
    pub(crate) fn enter(&'static self, f: impl FnOnce()) {
        {
            let _hold = self.hold();
            let _frame = Frame::enter_root(self);
            f();
        }
        remote::sweep(self);
    }

    /// Ends the root. The tree is gone, save for parts that were moved away.
    pub(crate) fn end(&'static self) {
        let mut after = After::new();
        let hold = self.hold();
        let frame = Frame::enter_root(self);
        let main = self.main.replace(ptr::null());
        // SAFETY: this thread holds the root; the main task is in use by nobody else.
        let (extras, wakes) = unsafe {
            (*main).set(crate::task::header::DONE);
            let extras = (*main).node.take_extras().map(|extras| (extras, (*main).task_id()));
            let wakes = super::node::retire(main.cast());
            self.pool.release(main.cast(), super::pool::task_class(size_of::<Header>()), true);
            Self::count_dec(self);
            remote::read_mail(self, &mut after);
            (extras, wakes)
        };
        {
            // Deadlines can still be asked for, by what moves elsewhere.
            let now = self.read_clock();
            self.timers.borrow_mut().resolve(now);
        }
        let sleepers = self.timers.borrow_mut().take_targets();
        let waiting = mem::replace(&mut *self.idle.borrow_mut(), Idle::new());
        self.gate.shut();
        // SAFETY: as above.
        unsafe { remote::read_mail(self, &mut after) };
        let settings = self.exchange_settings(None);
        let host = self.host.borrow_mut().take();
        self.host_identity.set(Identity::NONE);
        // Of tasks that yielded in the last pass: they count on this root.
        let paused = mem::take(&mut *self.paused.borrow_mut());
        drop(frame);
        drop(hold);
        // From here on by short holds, as for everybody else. Foreign code may panic: the rest is done all the same.
        let mut panic = None;
        keep_first(&mut panic, || after.finish());
        keep_first(&mut panic, || drop(paused));
        if let Some((extras, id)) = extras {
            keep_first(&mut panic, || extras.tell_exit(id));
        }
        keep_first(&mut panic, || wakes.wake());
        // Whoever sleeps here was moved away: let it find another root.
        for target in sleepers.into_iter().filter(|target| !target.is_scope()) {
            // SAFETY: this root is ending; its own count is taken away below.
            keep_first(&mut panic, || unsafe { target.wake() });
        }
        // SAFETY: the root has ended.
        keep_first(&mut panic, || unsafe { remote::drain(self) });
        if let Some(clock) = settings.as_ref().and_then(|s| s.clock.mock()) {
            keep_first(&mut panic, || clock.forget(self.number));
        }
        keep_first(&mut panic, || drop((waiting, self.bell.set_host(None), host, settings)));
        if self.count.end() {
            self.recycle();
        }
        go_on(panic);
    }

    fn recycle(&self) {
        // SAFETY: ended, and nothing refers to its memory.
        unsafe { self.pool.clear() };
        self.count.reset();
        *self.timers.borrow_mut() = Timers::new();
        self.is_timed.set(false);
        self.escaped.store(0, Ordering::Relaxed);
        self.escaped_here.set(0);
        self.bell.silence();
        self.deliveries.set(0);
        // SAFETY: root cells are never unmapped.
        let root: &'static Self = unsafe { &*ptr::from_ref(self) };
        cells::put(root);
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

    /// As [`Root::count_inc`], for the holder.
    #[inline(always)]
    pub(crate) fn count_inc_here(&self) {
        debug_assert!(self.is_here());
        self.count.inc(true);
    }

    /// Gives back one count, for the holder of a root that has not ended.
    #[inline(always)]
    pub(crate) fn count_dec_here(&self) {
        debug_assert!(self.is_here());
        self.count.dec(true);
    }

    /// As [`Root::count_dec_here`], for a short hold.
    #[inline(always)]
    pub(super) fn count_dec_held(&self) {
        self.count.dec(true);
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

    /// Did this thread run the root last? A guess that is good enough to choose a way by: not more.
    #[inline(always)]
    pub(super) fn was_run_here(&self) -> bool {
        ptr::eq(self.thread.load(std::sync::atomic::Ordering::Relaxed), context::pointer())
    }

    /// A virtual clock wants to know of wakers that may still be called. Others do not ask.
    #[inline(always)]
    pub(crate) fn counts_wakers(&self) -> bool {
        self.counts_wakers.load(Ordering::Relaxed)
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
            // Release: whoever sees it gone sees the wake that came before.
            self.escaped.fetch_sub(1, Ordering::Release);
        }
    }

    pub(crate) fn has_escaped_wakers(&self) -> bool {
        self.escaped_here.get() + self.escaped.load(Ordering::Acquire) > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.gate.is_shut()
    }

    /// Takes the root; waits for those who hold it for a moment.
    pub(crate) fn hold(&self) -> Hold<'_, Mail> {
        self.gate.hold()
    }

    /// Runs `f`, a short operation without foreign code, on a root that no thread runs, after the mail that came first.
    /// None: a thread runs it.
    ///
    /// # Safety
    /// `root` is a root cell other than the context's.
    pub(crate) unsafe fn borrow_idle<R>(root: *const Self, f: impl FnOnce() -> R) -> Option<R> {
        // SAFETY: root cells are never unmapped.
        let root: &'static Self = unsafe { &*root };
        let _telling = root.tell();
        let mut after = After::new();
        let result = {
            let _hold = root.gate.hold_briefly()?;
            // SAFETY: held.
            unsafe { remote::read_mail(root, &mut after) };
            f()
        };
        after.finish();
        remote::sweep(root);
        Some(result)
    }

    /// To be taken before mail is run for a root that another thread runs, and dropped after the wakes that are left to be
    /// done: until then nobody is judged to have been told of a cancel in vain.
    pub(super) fn tell(&self) -> Telling<'_> {
        self.telling.fetch_add(1, Ordering::Relaxed);
        Telling(self, context::tell())
    }

    /// Is somebody being told by another thread? What came with a hold that has ended is seen: the hold orders it. No, if this
    /// thread tells, too: a waker polls the tree, and what it waited for would be itself.
    pub(crate) fn is_being_told(&self) -> bool {
        self.telling.load(Ordering::Acquire) > 0 && !context::is_telling()
    }

    /// Makes the host poll.
    pub(crate) fn notify(&self) {
        if let Some(host) = self.bell.ring() {
            wake_foreign(&host);
        }
    }

    // ---- holder's half ----

    /// Makes a timer of a duration, in nanoseconds. It begins now, which a real clock is asked for at the end of the pass. A
    /// virtual one may be moved until then, and costs nothing to be asked.
    #[inline(always)]
    pub(crate) fn begin_timer(&self, nanos: u64, target: Target) -> TimerKey {
        if self.is_virtual() {
            let deadline = self.read_clock().as_nanos().saturating_add(nanos);
            return self.new_timers().insert_at(Instant::from_nanos(deadline), target);
        }
        self.new_timers().insert_after(nanos, target)
    }

    /// As [`Root::begin_timer`], where that calls nothing. `timer` is asked for when that is sure. None: nothing was done.
    ///
    /// # Safety
    /// `timer` does not panic, and does not use the timers.
    #[inline(always)]
    pub(crate) unsafe fn begin_timer_plainly(&self, timer: impl FnOnce() -> (Target, u64)) -> Option<TimerKey> {
        if self.is_virtual() {
            return None;
        }
        let timer = || {
            self.is_timed.set(true);
            timer()
        };
        // SAFETY: by contract.
        unsafe { self.with_timers(|timers| timers.insert_plainly(timer))? }
    }

    /// Uses the timers without a mark that they are in use. None: somebody else uses them.
    ///
    /// # Safety
    /// `f` does not use them but by what it is given.
    #[inline(always)]
    pub(crate) unsafe fn with_timers<R>(&self, f: impl FnOnce(&mut Timers) -> R) -> Option<R> {
        self.timers.try_borrow_mut().ok()?;
        // SAFETY: nobody has borrowed them; nor does anybody in `f`, by contract.
        Some(f(unsafe { &mut *self.timers.as_ptr() }))
    }

    #[inline(always)]
    pub(crate) fn is_virtual(&self) -> bool {
        self.is_virtual.get()
    }

    /// The timers, for one who makes one.
    #[inline(always)]
    pub(crate) fn new_timers(&self) -> RefMut<'_, Timers> {
        self.is_timed.set(true);
        self.timers.borrow_mut()
    }

    /// The earliest deadline, of those that are resolved.
    #[inline(always)]
    fn next_deadline(&self) -> Option<Instant> {
        if self.is_timed.get() { self.timers.borrow_mut().next() } else { None }
    }

    /// The clock, read now.
    pub(crate) fn read_clock(&self) -> Instant {
        // An ended root has no clock any more.
        if let Some(settings) = &*self.settings.borrow() {
            self.now.set(settings.clock.now());
        }
        self.now.get()
    }

    #[inline(always)]
    pub(crate) fn revokes_locks(&self) -> bool {
        self.revokes_locks.get()
    }

    #[inline(always)]
    pub(crate) fn is_special(&self) -> bool {
        self.special.get() != Special::No
    }

    /// As [`Root::is_special`]; and if so, by what.
    #[inline(always)]
    pub(crate) fn special(&self) -> Special {
        self.special.get()
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

    /// Looks at the notifications during a long poll, for a checkpoint that must see a cancel from another thread.
    #[inline(always)]
    pub(crate) fn take_in_if_notified(&self) {
        if self.gate.has_mail() {
            self.take_in_mail();
        }
    }

    #[cold]
    fn take_in_mail(&self) {
        let mut after = After::new();
        // SAFETY: only called by the holder, in its context.
        unsafe { remote::read_mail(self, &mut after) };
        after.finish();
    }

    /// Keeps a hold until the end of the pass.
    pub(crate) fn pause(&self, hold: park::Hold) {
        self.paused.borrow_mut().push(hold);
    }

    pub(crate) fn with_idle<R>(&self, f: impl FnOnce(&mut Idle) -> R) -> R {
        f(&mut self.idle.borrow_mut())
    }

    pub(crate) fn is_notified(&self) -> bool {
        self.bell.is_rung()
    }
}

/// See [`Root::tell`].
pub(super) struct Telling<'a>(&'a Root, context::Tells);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        // Release: whoever sees that it is over sees the wakes.
        self.0.telling.fetch_sub(1, Ordering::Release);
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").finish_non_exhaustive()
    }
}
