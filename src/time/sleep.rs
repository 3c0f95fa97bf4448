//! Sleeping.

use super::{Checkpoint, Instant, nanos};
use crate::cancel::region::{drop_in_root, in_root, own_root};
use crate::error::Cancelled;
use crate::sched::context;
use crate::sched::remote::{self, Mail};
use crate::sched::root::Root;
use crate::sched::timers::{Target, TimerKey};
use crate::task::park::{self, Entry, Op, Parked};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What the task tree shows of a sleeper.
const OP: Op = Op::Sleep;

/// A timer of some root: removed on drop, wherever that root is.
struct Timer {
    root: *const Root,
    key: TimerKey,
}

// SAFETY: the root's timers are touched only under its hold.
unsafe impl Send for Timer {}
// SAFETY: as above.
unsafe impl Sync for Timer {}

impl Timer {
    /// Under the context's root.
    fn new(root: &Root, key: TimerKey) -> Self {
        root.count_inc_here();
        Self { root, key }
    }

    fn is_here(&self) -> bool {
        ptr::eq(self.root, context::root())
    }

    fn root(&self) -> &Root {
        // SAFETY: root cells are never unmapped.
        unsafe { &*self.root }
    }

    /// The deadline that a timer of another root has, if that root can be asked: none if it has fired.
    fn deadline_elsewhere(&self) -> Option<Option<Instant>> {
        // SAFETY: not the context's root.
        unsafe {
            Root::borrow_idle(self.root, || {
                self.root().timers.borrow_mut().deadline(self.key, || self.root().read_clock())
            })
        }
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: root cells are never unmapped; the count was taken in `new`.
        unsafe {
            if self.is_here() {
                let waste = self.root().timers.borrow_mut().remove(self.key);
                drop(waste);
            } else {
                remote::perform(self.root, Mail::EndTimer(self.key));
            }
            Root::count_dec(self.root);
        }
    }
}

/// What a sleep was given, in nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Given {
    Duration,
    Deadline,
}

enum Stage {
    /// To begin with a duration that is not zero. It was not polled yet, so it has no root of its own.
    New,
    Start(Entry, Given),
    Yielding(Checkpoint),
    Waiting(Timer, Parked, Given),
    Done,
}

// Else a sleep that has not begun had something to drop.
const _: () = assert!(!std::mem::needs_drop::<Entry>());

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    /// As the stage says, where it still matters: a place that costs no room.
    nanos: u64,
    /// Not dropped with the rest, but by `drop`, which knows when there is nothing to drop.
    stage: ManuallyDrop<Stage>,
    own: Option<&'static Root>,
    at: &'static Location<'static>,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sleep = f.debug_struct("Sleep");
        match *self.stage {
            Stage::New => sleep.field("duration", &Duration::from_nanos(self.nanos)),
            Stage::Start(_, given) | Stage::Waiting(.., given) => match given {
                Given::Duration => sleep.field("duration", &Duration::from_nanos(self.nanos)),
                Given::Deadline => sleep.field("deadline", &Instant::from_nanos(self.nanos)),
            },
            Stage::Yielding(_) | Stage::Done => &mut sleep,
        }
        .finish_non_exhaustive()
    }
}

impl Sleep {
    /// The first poll in the common case: a plain task that is to sleep for a while. False: it is another case.
    ///
    /// It looks at everything before it changes anything, and calls nothing: so it keeps no registers for a call.
    #[inline(always)]
    fn begin_plainly(&mut self, cx: &Context<'_>) -> bool {
        if !matches!(*self.stage, Stage::New) {
            return false;
        }
        let Some(entering) = park::wait_plainly(cx) else { return false };
        // SAFETY: a task is polled in a root, which this thread holds, in this poll, and so is its slot: nothing that is done with
        // them panics, or uses the timers.
        let (root, key) = unsafe {
            let root = &*context::root();
            (root, root.begin_timer_plainly(|| (Target::wake_plain(entering.wait(OP, self.at)), self.nanos)))
        };
        let Some(key) = key else { return false };
        // SAFETY: as above; and what stands there has nothing to drop.
        unsafe {
            // Both count on the root: one after the other, so that it is one addition.
            let timer = Timer::new(root, key);
            let parked = Parked::of_waiting(entering.task(), root);
            let waiting = Stage::Waiting(timer, parked, Given::Duration);
            ptr::write(&raw mut *self.stage, waiting);
        }
        true
    }

    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        if matches!(*self.stage, Stage::New) {
            *self.stage = Stage::Start(Entry::new(), Given::Duration);
        }
        if self.own.is_none() && !context::root().is_null() {
            return self.poll_inside(cx);
        }
        let result = in_root(own_root(&mut self.own), cx, |cx| self.poll_inside(cx));
        if result.is_ready() {
            drop_in_root(&mut self.own, || ());
        }
        result
    }

    #[inline(always)]
    fn poll_inside(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        loop {
            match &mut *self.stage {
                Stage::Start(entry, given) => {
                    let given = *given;
                    let entered = ready!(entry.poll(cx));
                    if let Err(c) = entered {
                        *self.stage = Stage::Done;
                        return Poll::Ready(Err(c));
                    }
                    // SAFETY: `in_root` sees to it that the context has a root, which this thread holds.
                    let root = unsafe { &*context::root() };
                    let past = match given {
                        Given::Duration => self.nanos == 0,
                        Given::Deadline => Instant::from_nanos(self.nanos) <= root.read_clock(),
                    };
                    if past {
                        *self.stage = Stage::Yielding(Checkpoint::new());
                        continue;
                    }
                    self.wait(root, cx, given, self.nanos);
                    return Poll::Pending;
                }
                Stage::Yielding(checkpoint) => {
                    let result = ready!(checkpoint.poll_inner(cx));
                    *self.stage = Stage::Done;
                    return Poll::Ready(result);
                }
                Stage::Waiting(timer, parked, given) => {
                    if park::is_cancelled() || (timer.is_here() && timer.root().timers.borrow().is_fired(timer.key)) {
                        let result = if park::is_cancelled() { Err(park::cancelled()) } else { Ok(()) };
                        if result.is_err() {
                            park::count_delivery();
                        }
                        *self.stage = Stage::Done;
                        return Poll::Ready(result);
                    }
                    if parked.is_cancelled() && parked.is_current(cx) {
                        park::count_delivery();
                        *self.stage = Stage::Done;
                        return Poll::Ready(Err(park::cancelled()));
                    }
                    // SAFETY: as above.
                    let root = unsafe { &*context::root() };
                    if !timer.is_here() {
                        let (given, nanos) = match timer.deadline_elsewhere() {
                            Some(Some(at)) => (Given::Deadline, at.as_nanos()),
                            Some(None) => {
                                *self.stage = Stage::Done;
                                return Poll::Ready(Ok(()));
                            }
                            None => (*given, self.nanos),
                        };
                        self.wait(root, cx, given, nanos);
                        return Poll::Pending;
                    }
                    if !parked.is_current(cx) {
                        let fresh = Parked::new(cx, OP, self.at);
                        let target = Target::wake_at(cx.waker(), root);
                        let old = timer.root().timers.borrow_mut().set_target(timer.key, target);
                        let waste = std::mem::replace(parked, fresh);
                        drop((old, waste));
                    }
                    return Poll::Pending;
                }
                Stage::New => unreachable!("it has started"),
                Stage::Done => panic!("a `Sleep` was polled after it had finished"),
            }
        }
    }

    fn wait(&mut self, root: &Root, cx: &mut Context<'_>, given: Given, nanos: u64) {
        let parked = Parked::new(cx, OP, self.at);
        let target = Target::wake_at(cx.waker(), root);
        let key = match given {
            Given::Duration => root.begin_timer(nanos, target),
            Given::Deadline => root.new_timers().insert_at(Instant::from_nanos(nanos), target),
        };
        self.nanos = nanos;
        *self.stage = Stage::Waiting(Timer::new(root, key), parked, given);
    }
}

impl Future for Sleep {
    type Output = Result<(), Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.begin_plainly(cx) { Poll::Pending } else { self.poll_slowly(cx) }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if self.own.is_none() {
            if let Stage::Waiting(timer, parked, _) = &*self.stage {
                // The most common case, which calls nothing: a plain sleep began in this pass, and there is no other timer.
                let root = timer.root();
                // SAFETY: this uses them but once.
                let remove = || unsafe { root.with_timers(|timers| timers.remove_only(timer.key, parked.address())) };
                if timer.is_here() && remove() == Some(true) {
                    // As below: a task that a timer wakes at its address is at home.
                    debug_assert!(parked.is_of(root));
                    root.count_dec_here();
                    root.count_dec_here();
                    return;
                }
            } else if !matches!(&*self.stage, Stage::Yielding(_)) {
                return;
            }
        }
        self.drop_apart();
    }
}

impl Sleep {
    #[inline(never)]
    fn drop_apart(&mut self) {
        if let (Stage::Waiting(timer, parked, _), None) = (&*self.stage, self.own) {
            // A common case, written out: the timer has ended then, the counts of both are given back, and nothing is left to
            // be dropped.
            let root = timer.root();
            if timer.is_here() && parked.is_of(root) && root.timers.borrow_mut().remove_plainly(timer.key) {
                root.count_dec_here();
                root.count_dec_here();
                return;
            }
        }
        self.drop_slowly();
    }

    #[cold]
    #[inline(never)]
    fn drop_slowly(&mut self) {
        let stage = &mut *self.stage;
        drop_in_root(&mut self.own, || *stage = Stage::Done);
    }
}

/// Waits for `d`, counted from the first poll, on the ambient clock. Never less; `sleep(Duration::ZERO)` is a
/// [`checkpoint`](crate::checkpoint).
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Panics
///
/// If nothing can drive it: outside of a run, under an executor that no backend serves.
///
/// # Cancel safety
///
/// Nothing to lose.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// trine::testing::run(async {
///     let start = trine::now();
///     trine::sleep(Duration::from_secs(3600)).await?;
///     assert_eq!(trine::now() - start, Duration::from_secs(3600));
///     Ok::<_, trine::Error>(())
/// })?;
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
#[inline]
pub fn sleep(d: Duration) -> Sleep {
    let nanos = nanos(d);
    let stage = if nanos == 0 { Stage::Start(Entry::new(), Given::Duration) } else { Stage::New };
    Sleep { nanos, stage: ManuallyDrop::new(stage), own: None, at: Location::caller() }
}

/// Waits until `at`. An instant in the past makes it a [`checkpoint`](crate::checkpoint).
///
/// # Errors
///
/// `Cancelled` if a scope around is cancelled.
///
/// # Panics
///
/// As [`sleep`].
///
/// # Cancel safety
///
/// Nothing to lose.
#[track_caller]
pub fn sleep_until(at: Instant) -> Sleep {
    let nanos = at.as_nanos();
    Sleep {
        nanos,
        stage: ManuallyDrop::new(Stage::Start(Entry::new(), Given::Deadline)),
        own: None,
        at: Location::caller(),
    }
}

/// The future of [`sleep_forever`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SleepForever {
    entry: Option<Entry>,
    parked: Option<Parked>,
    at: &'static Location<'static>,
}

impl Future for SleepForever {
    type Output = Result<Infallible, Cancelled>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(entry) = &mut this.entry {
            let entered = ready!(entry.poll(cx));
            this.entry = None;
            entered?;
        }
        if let Some(parked) = &this.parked {
            let is_current = parked.is_current(cx);
            // A cancel where it waited before is none of who polls now.
            if park::is_cancelled() || (is_current && parked.is_cancelled()) {
                this.parked = None;
                park::count_delivery();
                return Poll::Ready(Err(park::cancelled()));
            }
            if is_current {
                return Poll::Pending;
            }
        }
        this.parked = Some(Parked::new(cx, Op::SleepForever, this.at));
        Poll::Pending
    }
}

/// Waits until it is cancelled.
///
/// # Errors
///
/// `Cancelled`, when a scope around is cancelled: the only way out.
///
/// # Cancel safety
///
/// Nothing to lose.
#[track_caller]
pub fn sleep_forever() -> SleepForever {
    SleepForever { entry: Some(Entry::new()), parked: None, at: Location::caller() }
}
