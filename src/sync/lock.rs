//! A lock that belongs to a task, and breaks when that task ends without releasing it.
//!
//! Protocol:
//!
//! 1. a task that finds the lock free becomes its owner at once, and registers the lock's core as an exit hook;
//! 2. one that does not, queues with its identity;
//! 3. a release hands the lock to the first who waits ([`Owner::Handed`]); the waiter's poll picks it up, and registers
//!    the hook with *its* task. Until then nobody can release it;
//! 4. a waiter that was handed the lock and is dropped before it picked it up hands it on;
//! 5. the exit hook of the owner turns [`Owner::Held`] into [`Owner::Gone`], for good, and completes all waits as broken.
//!
//! Invariant: a wait that is not cancelled is queued only while the owner is `Held` or `Handed`.

use super::guarded::Guarded;
use super::queue::{Key, WaitQueue};
use super::wait::{Place, Queue, Step, Wakes, poll_queued, polled_after_end};
use crate::error::Cancelled;
use crate::task::park::{Entry, Op, Parked, cancelled};
use crate::task::{OnExit, TaskId, add_exit_hook, current_id, remove_exit_hook};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

const OP: Op = Op::LockAcquire;

/// A lock without a guard, owned by the task that acquired it.
///
/// Use [`Mutex`](super::Mutex) unless you need the rule that is peculiar to this one: if the owning task ends without
/// having released it, the lock is *broken*. Those who wait and all who come later get [`LockError::Broken`]; it stays
/// locked. A task is the main future of a run, a child of a nursery, or the outermost frame on a foreign executor.
///
/// # Fairness
///
/// First come, first served. A release hands the lock directly to the first who waits.
///
/// # Examples
///
/// ```
/// use trine::sync::{Lock, LockError};
///
/// let lock = Lock::new();
/// trine::run(async {
///     lock.acquire().await?;
///     assert!(matches!(lock.try_acquire(), Err(LockError::AlreadyOwner)));
///     lock.release()?;
///     assert!(!lock.is_locked());
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Lock {
    /// Made at the first use, so that `new` is const.
    core: OnceLock<Arc<Core>>,
}

/// Why a [`Lock`] operation was refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LockError {
    /// A scope around is cancelled.
    Cancelled(Cancelled),
    /// It is locked (`try_acquire` only).
    WouldBlock,
    /// The task that owned it has ended without releasing it.
    Broken,
    /// The current task does not own it (`release` only).
    NotOwner,
    /// The current task owns it already.
    AlreadyOwner,
    /// There is no current task.
    NoTask,
}

/// What [`Lock::statistics`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatistics {
    /// Is it locked? A broken lock is.
    pub locked: bool,
    /// How many tasks wait for it.
    pub waiting: usize,
}

struct Core {
    state: Guarded<State>,
}

struct State {
    owner: Owner,
    waits: WaitQueue<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Free,
    Held(TaskId),
    /// Handed to a wait of this task, which has not been polled since.
    Handed(TaskId),
    /// It ended without releasing.
    Gone(TaskId),
}

struct Slot {
    task: TaskId,
    broken: bool,
}

/// What an attempt found, other than a free lock.
enum Refusal {
    Busy,
    Broken,
    AlreadyOwner,
}

impl From<Refusal> for LockError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::WouldBlock,
            Refusal::Broken => Self::Broken,
            Refusal::AlreadyOwner => Self::AlreadyOwner,
        }
    }
}

impl State {
    fn try_take(&mut self, task: TaskId) -> Result<(), Refusal> {
        match self.owner {
            Owner::Free => {
                self.owner = Owner::Held(task);
                Ok(())
            }
            Owner::Held(owner) | Owner::Handed(owner) if owner == task => Err(Refusal::AlreadyOwner),
            Owner::Held(_) | Owner::Handed(_) => Err(Refusal::Busy),
            Owner::Gone(_) => Err(Refusal::Broken),
        }
    }

    /// Hands the lock to the first who waits, or frees it.
    fn pass_on(&mut self) -> Option<Parked> {
        let next = self.waits.pop();
        self.owner = next.as_ref().map_or(Owner::Free, |(_, slot)| Owner::Handed(slot.task));
        next.map(|(parked, _)| parked)
    }
}

impl Queue<Slot> for Core {
    fn with_queue<R>(&self, f: impl FnOnce(&mut WaitQueue<Slot>) -> R) -> R {
        self.state.with(|state| f(&mut state.waits))
    }
}

impl OnExit for Core {
    fn task_exited(&self, id: TaskId) {
        let mut wakes = Wakes::None;
        self.state.with(|state| {
            if state.owner == Owner::Held(id) {
                state.owner = Owner::Gone(id);
                while let Some((parked, slot)) = state.waits.pop() {
                    slot.broken = true;
                    wakes.push(parked);
                }
            }
        });
        wakes.wake();
    }
}

impl Lock {
    /// Makes a free lock.
    pub const fn new() -> Self {
        Self { core: OnceLock::new() }
    }

    /// Waits until the lock is free and makes the current task its owner. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`LockError::Cancelled`] if a scope around is cancelled, also if the lock is free; it is not acquired then.
    /// [`LockError::AlreadyOwner`] if the current task has it; [`LockError::Broken`] if the task that had it has ended
    /// without releasing it, now or while this one waits; [`LockError::NoTask`] outside of any task.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost. A lock that was handed to a wait which is then dropped goes on to the next.
    ///
    /// # Fairness
    ///
    /// First come, first served.
    #[track_caller]
    pub fn acquire(&self) -> LockAcquire<'_> {
        LockAcquire { lock: self, phase: Phase::Start(Entry::new()), at: Location::caller() }
    }

    /// Makes the current task the owner if the lock is free.
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] if it is not, or broken; [`LockError::AlreadyOwner`]; [`LockError::NoTask`].
    pub fn try_acquire(&self) -> Result<(), LockError> {
        let task = current_id().ok_or(LockError::NoTask)?;
        match self.core().state.with(|state| state.try_take(task)) {
            Ok(()) => {
                self.watch_owner();
                Ok(())
            }
            Err(Refusal::AlreadyOwner) => Err(LockError::AlreadyOwner),
            Err(Refusal::Busy | Refusal::Broken) => Err(LockError::WouldBlock),
        }
    }

    /// Gives the lock to the first who waits, or frees it. Neither a checkpoint nor cancellable.
    ///
    /// # Errors
    ///
    /// [`LockError::NotOwner`] if the current task does not own it; [`LockError::NoTask`].
    pub fn release(&self) -> Result<(), LockError> {
        let task = current_id().ok_or(LockError::NoTask)?;
        let core = self.core();
        let next = core.state.with(|state| (state.owner == Owner::Held(task)).then(|| state.pass_on()));
        let next = next.ok_or(LockError::NotOwner)?;
        let hook: Arc<dyn OnExit> = Arc::clone(core) as Arc<dyn OnExit>;
        remove_exit_hook(&hook);
        Wakes::from(next).wake();
        Ok(())
    }

    /// Is it locked? A broken lock is.
    pub fn is_locked(&self) -> bool {
        self.core.get().is_some_and(|core| core.state.with(|state| state.owner != Owner::Free))
    }

    /// Says whether it is locked, and counts who waits.
    pub fn statistics(&self) -> LockStatistics {
        self.core()
            .state
            .with(|state| LockStatistics { locked: state.owner != Owner::Free, waiting: state.waits.len() })
    }

    fn core(&self) -> &Arc<Core> {
        self.core.get_or_init(|| {
            let state = State { owner: Owner::Free, waits: WaitQueue::new() };
            Arc::new(Core { state: Guarded::new(state) })
        })
    }

    /// Arranges that the lock breaks when the current task, its new owner, ends.
    fn watch_owner(&self) {
        let watched = add_exit_hook(Arc::clone(self.core()) as Arc<dyn OnExit>);
        debug_assert!(watched, "the owner of a lock is the current task");
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Phase {
    Start(Entry),
    Queued(Key),
    Finished,
}

/// The future of [`Lock::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct LockAcquire<'a> {
    lock: &'a Lock,
    phase: Phase,
    at: &'static Location<'static>,
}

impl LockAcquire<'_> {
    fn attempt(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        let Some(task) = current_id() else {
            return Poll::Ready(Err(LockError::NoTask));
        };
        let core = self.lock.core();
        match core.state.with(|state| state.try_take(task)) {
            Ok(()) => {
                self.lock.watch_owner();
                return Poll::Ready(Ok(()));
            }
            Err(Refusal::Busy) => {}
            Err(refusal) => return Poll::Ready(Err(refusal.into())),
        }
        let parked = Place::new(OP, self.at).park(cx);
        if parked.is_cancelled() {
            return Poll::Ready(Err(cancelled().into()));
        }
        // The lock may have been released or broken meanwhile, by another thread.
        let attempt = core.state.with(|state| match state.try_take(task) {
            Err(Refusal::Busy) => Ok(state.waits.push_back(parked, Slot { task, broken: false })),
            decided => Err((decided, parked)),
        });
        match attempt {
            Ok(key) => {
                self.phase = Phase::Queued(key);
                Poll::Pending
            }
            Err((Ok(()), _unused)) => {
                self.lock.watch_owner();
                Poll::Ready(Ok(()))
            }
            Err((Err(refusal), _unused)) => Poll::Ready(Err(refusal.into())),
        }
    }

    /// The lock was handed to this wait: the current task, usually the one that queued, becomes its owner.
    fn pick_up(&self) -> Result<(), LockError> {
        let core = self.lock.core();
        let Some(task) = current_id() else {
            Wakes::from(core.state.with(State::pass_on)).wake();
            return Err(LockError::NoTask);
        };
        core.state.with(|state| state.owner = Owner::Held(task));
        self.lock.watch_owner();
        Ok(())
    }
}

impl Future for LockAcquire<'_> {
    type Output = Result<(), LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.phase {
            Phase::Start(entry) => match entry.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(checked) => {
                    self.phase = Phase::Finished;
                    checked?;
                    self.attempt(cx)
                }
            },
            Phase::Queued(key) => {
                let (key, place) = (*key, Place::new(OP, self.at));
                let (step, _spare) = poll_queued(&**self.lock.core(), key, place, cx);
                if !step.is_pending() {
                    self.phase = Phase::Finished;
                }
                match step {
                    Step::Pending => Poll::Pending,
                    Step::Done(slot) if slot.broken => Poll::Ready(Err(LockError::Broken)),
                    Step::Done(_) => Poll::Ready(self.pick_up()),
                    Step::Cancelled(_) => Poll::Ready(Err(cancelled().into())),
                    Step::Left(_) => {
                        self.phase = Phase::Start(Entry::new());
                        self.poll(cx)
                    }
                }
            }
            Phase::Finished => polled_after_end(OP),
        }
    }
}

impl Drop for LockAcquire<'_> {
    fn drop(&mut self) {
        if let Phase::Queued(key) = self.phase {
            let (_spare, next) = self.lock.core().state.with(|state| {
                let (slot, parked) = state.waits.remove(key);
                let handed = parked.is_none() && !slot.broken;
                (parked, if handed { state.pass_on() } else { None })
            });
            Wakes::from(next).wake();
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled(_) => "acquiring the lock was cancelled",
            Self::WouldBlock => "cannot acquire the lock without waiting",
            Self::Broken => "cannot acquire the lock: the task that owned it has ended",
            Self::NotOwner => "cannot release the lock: the current task does not own it",
            Self::AlreadyOwner => "cannot acquire the lock: the current task owns it already",
            Self::NoTask => "cannot use the lock: there is no current task",
        })
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }
}

impl From<Cancelled> for LockError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}
