//! Races: the first to finish decides, the others are cancelled and awaited.
//!
//! The branches are tasks of a private nursery, so that each has a scope of its own and is polled only when woken.

use super::child::spawn_branch;
use super::core::{CoreSlot, Panic, go_on, keep_first};
use super::errors::Errors;
use super::place::Place;
use crate::cancel::region::{drop_in_root, in_root, own_root, strip};
use crate::cancel::slot::attach;
use crate::error::{Error, Result, TaskError};
use crate::sched::context;
use crate::sched::root::Root;
use pin_project_lite::pin_project;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};

/// One of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

struct Sink<T> {
    /// What the branches returned, in the order of their end.
    results: RefCell<Vec<Result<T>>>,
    errors: Errors<Error>,
    core: Cell<*const CoreSlot>,
}

pin_project! {
    struct Branch<F, T> {
        #[pin]
        fut: F,
        sink: *const Sink<T>,
    }
}

impl<F: Future<Output = Result<T>>, T> Future for Branch<F, T> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.project();
        let result = ready!(this.fut.poll(cx));
        // SAFETY: the sink stays in its place while the race lives that owns this branch; polled under the hold of its root.
        unsafe {
            let sink = &**this.sink;
            sink.results.borrow_mut().push(result);
            (*sink.core.get()).cancel_children();
        }
        Poll::Ready(Ok(()))
    }
}

/// The private nursery of a race.
struct Racing<T> {
    sink: Place<Sink<T>>,
    own: Option<&'static Root>,
    at: &'static Location<'static>,
    finished: bool,
}

impl<T> Racing<T> {
    fn new(at: &'static Location<'static>) -> Self {
        let sink = Sink { results: RefCell::new(Vec::new()), errors: Errors::new(), core: Cell::new(ptr::null()) };
        Self { sink: Place::new(sink), own: None, at, finished: false }
    }

    /// `enter` spawns the branches, at the first poll.
    fn poll(&mut self, cx: &mut Context<'_>, mut enter: impl FnMut(&Entrance<'_, T>)) -> Poll<Result<T>> {
        assert!(!self.finished, "a race was polled after it had finished");
        let result = in_root(own_root(&mut self.own), cx, |cx| self.poll_inside(cx, &mut enter));
        if result.is_ready() {
            drop_in_root(&mut self.own, || ());
            self.finished = true;
        }
        match ready!(result) {
            Ok(result) => Poll::Ready(result),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn poll_inside(
        &mut self,
        cx: &mut Context<'_>,
        enter: &mut impl FnMut(&Entrance<'_, T>),
    ) -> Poll<std::result::Result<Result<T>, Panic>> {
        let first = self.sink.get().core.get().is_null();
        // SAFETY: `in_root` sees to it that the context has a root, which this thread holds.
        let root = unsafe { &*context::root() };
        if first {
            // SAFETY: as above; the errors stay where they are.
            let core = unsafe { CoreSlot::open(&raw const self.sink.get().errors, None, self.at) };
            self.sink.get().core.set(core);
            // SAFETY: just opened.
            enter(&Entrance { core: unsafe { &*core }, root, sink: self.sink.as_ptr() });
        } else {
            // SAFETY: entered, and this is the poll of its future.
            ready!(unsafe { attach((*self.sink.get().core.get()).node(), &*context::root(), cx) });
        }
        // SAFETY: in use until this future ends.
        let core = unsafe { &*self.sink.get().core.get() };
        if first && core.is_put_off(root, cx) {
            return Poll::Pending;
        }
        core.begin_poll(cx);
        // SAFETY: held.
        unsafe { core.run_batches::<Error>() };
        if !core.is_done() {
            core.end_poll_pending();
            return Poll::Pending;
        }
        let panic = core.panic.take();
        // What the race cancelled may be part of a loser's error, beside a real one: it must not get out.
        let catches = core.group.is_called() && !core.group.parent_is_effective();
        self.sink.get().core.set(ptr::null());
        // SAFETY: held; no task is left.
        unsafe { CoreSlot::end(core.node()) }.wake();
        Poll::Ready(match panic {
            Some(panic) => Err(panic),
            None => Ok(self.result(catches)),
        })
    }

    /// `catches`: no cancellation from outside is visible.
    fn result(&self, catches: bool) -> Result<T> {
        let mut first = None;
        let mut real = Vec::new();
        for result in self.sink.get().results.take() {
            match result {
                Err(e) if !e.is_cancelled() => real.extend(if catches { strip(e).0 } else { Some(e) }),
                other => {
                    first.get_or_insert(other);
                }
            }
        }
        let mut real = real.into_iter();
        match (real.next(), first) {
            (Some(one), _) => {
                let rest: Vec<Error> = real.collect();
                Err(if rest.is_empty() { one } else { <Error as TaskError>::merge(one, rest) })
            }
            (None, Some(result)) => result,
            (None, None) => {
                let mut abandoned = self.sink.get().errors.take();
                Err(if abandoned.is_empty() { crate::task::park::cancelled().into() } else { abandoned.swap_remove(0) })
            }
        }
    }
}

impl<T> Drop for Racing<T> {
    fn drop(&mut self) {
        let mut own = self.own.take();
        let mut panic = None;
        drop_in_root(&mut own, || {
            let core = self.sink.get().core.get();
            if core.is_null() {
                return;
            }
            // SAFETY: in use; the race is being dropped.
            unsafe {
                panic = (*core).drop_futures();
                keep_first(&mut panic, || (*core).end_from_anywhere());
            }
        });
        go_on(panic);
    }
}

struct Entrance<'a, T> {
    core: &'a CoreSlot,
    root: &'a Root,
    sink: *const Sink<T>,
}

impl<T> Entrance<'_, T> {
    fn add<F: Future<Output = Result<T>>>(&self, fut: F) {
        // SAFETY: held; the race owns the branches and is dropped before what they borrow.
        unsafe { spawn_branch::<_, Error>(self.core, self.root, Branch { fut, sink: self.sink }) };
    }
}

pin_project! {
    struct Map<F, M> {
        #[pin]
        fut: F,
        map: M,
    }
}

impl<F: Future<Output = Result<T>>, T, U> Future for Map<F, fn(T) -> U> {
    type Output = Result<U>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<U>> {
        let this = self.project();
        this.fut.poll(cx).map_ok(*this.map)
    }
}

/// The output of a branch of a race.
pub trait Branches {
    /// The value.
    type Value;
}

impl<T> Branches for Result<T> {
    type Value = T;
}

type Value<F> = <<F as Future>::Output as Branches>::Value;

/// The future of [`race`].
#[must_use = "futures do nothing unless awaited"]
pub struct Race<A, B>
where
    A: Future<Output: Branches>,
    B: Future<Output: Branches>,
{
    branches: Option<(A, B)>,
    racing: Racing<Either<Value<A>, Value<B>>>,
}

// SAFETY: the branches and their values are `Send`; the rest is touched under the hold of its root.
unsafe impl<A, B> Send for Race<A, B>
where
    A: Future<Output: Branches<Value: Send>> + Send,
    B: Future<Output: Branches<Value: Send>> + Send,
{
}
// SAFETY: a shared reference gives access to nothing.
unsafe impl<A, B> Sync for Race<A, B>
where
    A: Future<Output: Branches>,
    B: Future<Output: Branches>,
{
}
impl<A, B> Unpin for Race<A, B>
where
    A: Future<Output: Branches>,
    B: Future<Output: Branches>,
{
}

impl<A, B> fmt::Debug for Race<A, B>
where
    A: Future<Output: Branches>,
    B: Future<Output: Branches>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").finish_non_exhaustive()
    }
}

/// Runs two futures; the first to finish, with a value or an error, decides. The other is cancelled and awaited, so
/// that its clean-up runs.
///
/// # Errors
///
/// The error of the first to finish. A real error of the other one wins over the value; two real errors form a group.
///
/// # Cancel safety
///
/// The loser's value, if it finished all the same, is dropped: two `recv`s are no race.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::{Either, race, sleep};
///
/// let first = trine::run(race(
///     async { Ok(sleep(Duration::from_secs(60)).await?) },
///     async { Ok("done") },
/// ))?;
/// assert_eq!(first, Either::Right("done"));
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn race<A, B, FA, FB>(a: FA, b: FB) -> Race<FA, FB>
where
    FA: Future<Output = Result<A>>,
    FB: Future<Output = Result<B>>,
{
    Race { branches: Some((a, b)), racing: Racing::new(Location::caller()) }
}

impl<A, B, FA, FB> Future for Race<FA, FB>
where
    FA: Future<Output = Result<A>>,
    FB: Future<Output = Result<B>>,
{
    type Output = Result<Either<A, B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let branches = &mut this.branches;
        this.racing.poll(cx, |entrance| {
            if let Some((a, b)) = branches.take() {
                entrance.add(Map { fut: a, map: Either::Left as fn(A) -> Either<A, B> });
                entrance.add(Map { fut: b, map: Either::Right as fn(B) -> Either<A, B> });
            }
        })
    }
}

/// The future of [`race_all`].
#[must_use = "futures do nothing unless awaited"]
pub struct RaceAll<F: Future<Output: Branches>> {
    branches: Vec<F>,
    racing: Option<Racing<Value<F>>>,
    nothing: crate::time::SleepForever,
}

// SAFETY: the branches and their values are `Send`; the rest is touched under the hold of its root.
unsafe impl<F: Future<Output: Branches<Value: Send>> + Send> Send for RaceAll<F> {}
// SAFETY: a shared reference gives access to nothing.
unsafe impl<F: Future<Output: Branches>> Sync for RaceAll<F> {}
impl<F: Future<Output: Branches>> Unpin for RaceAll<F> {}

impl<F: Future<Output: Branches>> fmt::Debug for RaceAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaceAll").finish_non_exhaustive()
    }
}

/// Runs any number of futures; the first to finish decides, the others are cancelled and awaited. See [`race`].
///
/// A race of none waits until it is cancelled.
///
/// # Errors
///
/// As [`race`].
///
/// # Cancel safety
///
/// As [`race`].
#[track_caller]
pub fn race_all<T, F: Future<Output = Result<T>>>(futs: impl IntoIterator<Item = F>) -> RaceAll<F> {
    let branches: Vec<F> = futs.into_iter().collect();
    let racing = if branches.is_empty() { None } else { Some(Racing::new(Location::caller())) };
    RaceAll { branches, racing, nothing: crate::time::sleep_forever() }
}

impl<T, F: Future<Output = Result<T>>> Future for RaceAll<F> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(racing) = &mut this.racing else {
            return match ready!(Pin::new(&mut this.nothing).poll(cx)) {
                Ok(never) => match never {},
                Err(c) => Poll::Ready(Err(c.into())),
            };
        };
        let branches = &mut this.branches;
        racing.poll(cx, |entrance| {
            for fut in branches.drain(..) {
                entrance.add(fut);
            }
        })
    }
}
