//! The handle of a cancel scope.
//!
//! Invariants: the state under the lock is what the user was told; the tree's half ([`ScopeSlot`]) follows it by
//! [`ScopeShared::apply`], run by whoever holds the root: at once on the scope's own thread, by mail from another.

use super::Deadline;
use super::region::Region;
use super::scoped::Scoped;
use super::slot::ScopeSlot;
use crate::error::{Reason, ReasonKind, Result};
use crate::sched::context;
use crate::sched::idle::now_or;
use crate::sched::node::{self, SlotRef};
use crate::sched::remote::{self, Mail};
use crate::sched::root::Root;
use crate::sched::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use crate::sched::wakes::{Later, Wakes};
use crate::time::{Clock, Instant};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    New,
    Entered,
    Exited,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    called: Option<Reason>,
    deadline: Deadline,
    shield: bool,
    caught: bool,
    slot: Option<SlotRef>,
    /// The clock of the run that the scope was entered in.
    clock: Option<Clock>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ScopeShared {
    is_claimed: AtomicBool,
    state: Mutex<State>,
}

impl ScopeShared {
    fn new(deadline: Deadline) -> Arc<Self> {
        let shared = Arc::<Self>::new_uninit();
        // SAFETY: nobody else has it yet.
        unsafe {
            let place = Arc::as_ptr(&shared).cast_mut().cast::<Self>();
            let deadline = deadline.by_words();
            let state = State {
                phase: Phase::New,
                called: None,
                deadline,
                shield: false,
                caught: false,
                slot: None,
                clock: None,
            };
            place.write(Self { is_claimed: AtomicBool::new(false), state: Mutex::new(state) });
            shared.assume_init()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the scope for the one future that enters it.
    pub(crate) fn claim(&self) {
        // It orders nothing: the rest is under the lock.
        assert!(
            !self.is_claimed.swap(true, Ordering::Relaxed),
            "a cancel scope is entered only once: make a new one for each use (`CancelScope::new`, `move_on_after`)"
        );
    }

    /// The scope is entered: shield, deadline, and the reason if it is cancelled already.
    pub(crate) fn enter(&self, slot: SlotRef, root: &Root) -> (bool, Deadline, Option<Reason>) {
        let clock = root.with_settings(|s| s.clock.clone());
        let mut state = self.lock();
        state.phase = Phase::Entered;
        state.slot = Some(slot);
        if let Deadline::After(d) = state.deadline {
            if !d.is_zero() {
                state.deadline = Deadline::At(clock.now() + d);
            }
        }
        state.clock = Some(clock);
        (state.shield, state.deadline.by_words(), state.called.clone())
    }

    /// The tree's half was cancelled.
    pub(crate) fn called(&self, reason: Reason) {
        self.lock().called.get_or_insert(reason);
    }

    pub(crate) fn caught(&self) {
        self.lock().caught = true;
    }

    pub(crate) fn exit(&self) {
        let mut state = self.lock();
        state.phase = Phase::Exited;
        let slot = state.slot.take();
        drop(state);
        drop(slot);
    }

    /// The root that the entered scope belongs to now.
    pub(crate) fn owner(&self) -> Option<*const Root> {
        let slot = self.lock().slot.clone()?;
        slot.is_live().then(|| slot.get().owner())
    }

    /// Brings the tree's half up to date.
    ///
    /// # Safety
    /// This thread holds `root`.
    pub(crate) unsafe fn apply(&self, root: *const Root) -> Wakes {
        let (slot, called, deadline, shield) = {
            let state = self.lock();
            (state.slot.clone(), state.called.clone(), state.deadline, state.shield)
        };
        let Some(slot) = slot else { return Wakes::none() };
        if !slot.is_live() || slot.get().owner() != root {
            return Wakes::none();
        }
        // SAFETY: held by contract; a scope's handle refers to a scope's or nursery's slot.
        unsafe {
            let tree = ScopeSlot::of(slot.get());
            let mut wakes = Wakes::none();
            if shield != tree.node.is_shield() {
                wakes.append(node::set_shield(&tree.node, shield));
            }
            if let Some(reason) = called {
                wakes.append(tree.cancel(reason));
            } else if tree.deadline.get() != deadline {
                tree.set_deadline(deadline, &*root);
                if !(*root).is_here() {
                    // Nobody is about to look at its timers: the alarm is as its last turn left it.
                    wakes.push(Later::Host(&*root));
                }
            }
            wakes
        }
    }

    fn sync(self: &Arc<Self>) {
        let slot = self.lock().slot.clone();
        let Some(slot) = slot else { return };
        let owner = slot.get().owner();
        if !owner.is_null() {
            // SAFETY: an owner is a root cell.
            unsafe { remote::perform(owner, Mail::Scope(self.clone())) };
        }
    }

    /// By the clock of the run that it was entered in, whoever asks; before, by that of the run around.
    fn now(state: &State) -> Instant {
        match (&state.clock, context::root()) {
            (Some(clock), _) => clock.now(),
            (None, root) if !root.is_null() => now_or(root),
            (None, _) => Clock::real_now(),
        }
    }
}

/// A region of code that can be cancelled as a whole: by a call, by a deadline, or with what is around it.
///
/// Make one, hand clones of it to whoever may cancel it, and run a future inside with [`CancelScope::run`] or open a
/// nursery with [`CancelScope::nursery`]. Clones are one scope. A scope is entered once.
///
/// A cancelled scope fails every checkpoint inside with [`Cancelled`](crate::Cancelled), again and again, until the
/// scope is left; then it swallows those errors, unless a scope further out is cancelled too.
///
/// # Examples
///
/// ```
/// use trine::CancelScope;
///
/// let scope = CancelScope::new();
/// let outcome = trine::run(async {
///     scope
///         .run(async {
///             scope.cancel_because("enough");
///             trine::checkpoint().await?;
///             unreachable!("the checkpoint fails");
///             #[allow(unreachable_code)]
///             Ok(())
///         })
///         .await
/// })?;
/// assert_eq!(outcome, None);
/// assert!(scope.cancelled_caught());
/// # Ok::<(), trine::Error>(())
/// ```
#[derive(Clone)]
pub struct CancelScope {
    shared: Arc<ScopeShared>,
}

impl Default for CancelScope {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("CancelScope")
            .field("phase", &state.phase)
            .field("called", &state.called)
            .field("deadline", &state.deadline)
            .field("shield", &state.shield)
            .finish()
    }
}

impl CancelScope {
    /// Makes a scope without a deadline.
    pub fn new() -> Self {
        Self { shared: ScopeShared::new(Deadline::Never) }
    }

    /// Makes a scope that is cancelled `timeout` after it was entered.
    pub fn after(timeout: Duration) -> Self {
        Self { shared: ScopeShared::new(Deadline::After(timeout)) }
    }

    /// Makes a scope that is cancelled at `deadline`.
    pub fn at(deadline: Instant) -> Self {
        Self { shared: ScopeShared::new(Deadline::At(deadline)) }
    }

    /// Shields the scope: a cancel from outside does not reach what is inside. Its own cancel and deadline do.
    pub fn shielded(self) -> Self {
        self.set_shield(true);
        self
    }

    pub(crate) fn shared(&self) -> &Arc<ScopeShared> {
        &self.shared
    }

    /// Runs a future inside the scope; `None` if the scope was cancelled and swallowed that.
    ///
    /// # Errors
    ///
    /// The future's own error. `Cancelled` if a scope further out is cancelled.
    ///
    /// # Panics
    ///
    /// When the future is first polled, if the scope has been entered before.
    ///
    /// # Cancel safety
    ///
    /// A foreign future that is still pending after a cancel is dropped.
    #[track_caller]
    pub fn run<T, F: Future<Output = Result<T>>>(&self, fut: F) -> Scoped<F> {
        Scoped::new(Region::of_scope(self, Location::caller()), fut)
    }

    /// Cancels the scope. Anything inside that waits is told at once; from another thread, at that thread's next turn.
    ///
    /// Does nothing the second time. After the scope was left it only sets [`CancelScope::cancel_called`].
    pub fn cancel(&self) {
        self.cancel_for(Reason::new(ReasonKind::Explicit));
    }

    /// As [`CancelScope::cancel`], with a reason for the error messages. The first reason stays.
    pub fn cancel_because(&self, reason: impl Into<Cow<'static, str>>) {
        self.cancel_for(Reason::with_message(ReasonKind::Explicit, reason.into()));
    }

    fn cancel_for(&self, reason: Reason) {
        {
            let mut state = self.shared.lock();
            if state.called.is_some() {
                return;
            }
            state.called = Some(reason);
        }
        self.shared.sync();
    }

    /// Returns why the scope was cancelled, if it was: the first reason.
    pub fn reason(&self) -> Option<Reason> {
        self.shared.lock().called.clone()
    }

    /// Moves the deadline; `None` takes it away. No effect once the scope is cancelled. A deadline in the past cancels an
    /// entered scope at once.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        {
            let mut state = self.shared.lock();
            if state.called.is_some() {
                return;
            }
            state.deadline = deadline.map_or(Deadline::Never, Deadline::At);
            if state.phase == Phase::Entered && deadline.is_some_and(|deadline| deadline <= ScopeShared::now(&state)) {
                state.called = Some(Reason::new(ReasonKind::Deadline));
            }
        }
        self.shared.sync();
    }

    /// Returns the deadline. That of [`CancelScope::after`] is known from entry on.
    pub fn deadline(&self) -> Option<Instant> {
        match self.shared.lock().deadline {
            Deadline::At(at) => Some(at),
            Deadline::Never | Deadline::After(_) => None,
        }
    }

    /// Raises or lowers the shield, at once: lowering it lets a cancel from outside in.
    pub fn set_shield(&self, shield: bool) {
        {
            let mut state = self.shared.lock();
            if state.shield == shield {
                return;
            }
            state.shield = shield;
        }
        self.shared.sync();
    }

    /// Tells whether the shield is up.
    pub fn is_shielded(&self) -> bool {
        self.shared.lock().shield
    }

    /// Tells whether the scope has been cancelled; performs a cancel whose deadline has passed.
    pub fn cancel_called(&self) -> bool {
        {
            let mut state = self.shared.lock();
            if state.called.is_some() {
                return true;
            }
            let Deadline::At(deadline) = state.deadline else { return false };
            if state.phase == Phase::Exited {
                return false;
            }
            if ScopeShared::now(&state) < deadline {
                return false;
            }
            state.called = Some(Reason::new(ReasonKind::Deadline));
        }
        self.shared.sync();
        true
    }

    /// Tells whether the scope really swallowed a `Cancelled`; known after it was left.
    pub fn cancelled_caught(&self) -> bool {
        self.shared.lock().caught
    }
}
