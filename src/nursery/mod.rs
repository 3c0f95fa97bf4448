//! Nurseries: children that run concurrently inside the task that awaits the nursery.
//!
//! ```text
//! core     the slot and its end (type-erased): core/queue  the ready queue    core/parent  the way up
//! batch    polling and end of tasks    child   children in their slots    errors  what they fail with
//! open     body and allocation, the nursery's poll (typed)    outcome  what it comes to
//! inbox    the way in from other threads        intake   its hand-off, pure
//! handle   Handle: a child's value                 spawned  children with a handle
//! start    start: children that say when they are ready
//! local    LocalNursery    spawner  Spawner    race  race, race_all
//! ```

mod batch;
pub mod body;
mod child;
pub(crate) mod core;
mod errors;
pub(crate) mod handle;
mod inbox;
pub(crate) mod intake;
mod join;
mod local;
mod memory;
pub(crate) mod open;
mod outcome;
mod place;
mod race;
mod spawned;
mod spawner;
mod start;
mod task;
pub mod typed;

pub use handle::Handle;
pub use local::{LocalNursery, LocalNurseryFuture, LocalStart, LocalTask, ScopedLocalNursery, local_nursery};
pub use race::{Branches, Either, Race, RaceAll, race, race_all};
pub use spawner::Spawner;
pub use start::{Start, TaskStatus};
pub use task::Task;
pub(crate) use task::current_locals;

use self::body::Body;
use self::open::{HasShared, Opened, Shared};
use self::outcome::{Mode, OfScope, Plain};
use crate::cancel::CancelScope;
use crate::error::{Error, Result, StartError, TaskError};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Opens a nursery and runs `body` in it; waits for all children before it returns.
///
/// The children of a nursery run concurrently *inside the task that awaits the nursery*, not in parallel: they may
/// borrow what lives outside of the nursery, and when the nursery has returned (or was dropped), none of them exists any
/// more. For parallelism use threads, or the spawn of a multi-threaded executor.
///
/// Body and children are `Send`, so that the whole tree may be spawned on any executor. Where they cannot be, or where the
/// compiler cannot see that they are ("implementation of `FnOnce` is not general enough"), use [`local_nursery`].
///
/// # Errors
///
/// All errors of the body and the children, as a group, also for a single one. The first of them cancels the others. A
/// cancellation passes on if it came from outside.
///
/// # Panics
///
/// A panic of the body or a child cancels the rest, waits for it, and then goes on here.
///
/// # Cancel safety
///
/// A cancel reaches body and children, which are awaited. Dropping the future drops them on the spot.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let sum = AtomicU32::new(0);
/// trine::run(async {
///     trine::nursery(async |n| {
///         for i in 1..=3 {
///             let sum = &sum;
///             n.start_soon(async move {
///                 trine::checkpoint().await?;
///                 sum.fetch_add(i, Ordering::Relaxed);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
/// })?;
/// assert_eq!(sum.into_inner(), 6);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn nursery<'env, T: 'env>(
    body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>
    + for<'scope> Body<&'scope Nursery<'scope, 'env>, Out = Result<T>>
    + Send
    + 'env,
) -> NurseryFuture<'env, T> {
    NurseryFuture::open(body, Location::caller())
}

/// The future of [`nursery`].
#[must_use = "futures do nothing unless awaited"]
pub struct NurseryFuture<'env, T, E = Error> {
    opened: Opened<'env, Result<T, E>>,
}

// SAFETY: the body and its future are `Send` (bound of `open`), so are the children (bounds of `Nursery`), the value and
// the errors; what belongs to a root is touched only under its hold.
unsafe impl<T: Send, E: Send> Send for NurseryFuture<'_, T, E> {}
// SAFETY: a shared reference gives access to nothing.
unsafe impl<T, E> Sync for NurseryFuture<'_, T, E> {}
impl<T, E> Unpin for NurseryFuture<'_, T, E> {}

impl<T, E> fmt::Debug for NurseryFuture<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NurseryFuture").finish_non_exhaustive()
    }
}

impl<'env, T: 'env, E: TaskError + 'env> NurseryFuture<'env, T, E> {
    pub(crate) fn open<B>(body: B, at: &'static Location<'static>) -> Self
    where
        B: for<'scope> Body<&'scope Nursery<'scope, 'env, E>, Out = Result<T, E>> + Send + 'env,
    {
        Self { opened: open::<T, E, B, Plain>(body, None, at) }
    }
}

impl<T, E: TaskError> Future for NurseryFuture<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opened.poll(cx)
    }
}

/// The future of [`CancelScope::nursery`].
#[must_use = "futures do nothing unless awaited"]
pub struct ScopedNursery<'env, T, E = Error> {
    opened: Opened<'env, Result<Option<T>, E>>,
}

// SAFETY: as for `NurseryFuture`.
unsafe impl<T: Send, E: Send> Send for ScopedNursery<'_, T, E> {}
// SAFETY: as for `NurseryFuture`.
unsafe impl<T, E> Sync for ScopedNursery<'_, T, E> {}
impl<T, E> Unpin for ScopedNursery<'_, T, E> {}

impl<T, E> fmt::Debug for ScopedNursery<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedNursery").finish_non_exhaustive()
    }
}

impl<'env, T: 'env, E: TaskError + 'env> ScopedNursery<'env, T, E> {
    pub(crate) fn open<B>(body: B, scope: &CancelScope, at: &'static Location<'static>) -> Self
    where
        B: for<'scope> Body<&'scope Nursery<'scope, 'env, E>, Out = Result<T, E>> + Send + 'env,
    {
        Self { opened: open::<T, E, B, OfScope>(body, Some(scope), at) }
    }
}

impl<T, E: TaskError> Future for ScopedNursery<'_, T, E> {
    type Output = Result<Option<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opened.poll(cx)
    }
}

/// The bound on `B` is what makes the two futures above `Send`.
fn open<'env, T, E, B, M>(body: B, scope: Option<&CancelScope>, at: &'static Location<'static>) -> Opened<'env, M::Out>
where
    T: 'env,
    E: TaskError + 'env,
    B: for<'scope> Body<&'scope Nursery<'scope, 'env, E>, Out = Result<T, E>> + Send + 'env,
    M: Mode<T, E> + 'env,
{
    let scope = scope.map(|s| s.shared().clone());
    let body = move |n: &'env Nursery<'env, 'env, E>| body(n);
    Opened::new::<Nursery<'env, 'env, E>, _, _, T, E, M>(body, scope, at)
}

impl CancelScope {
    /// Opens a nursery of which this scope is the scope: cancelling it stops body and children. `None` if it was
    /// cancelled and swallowed that.
    ///
    /// # Errors
    ///
    /// As [`nursery`].
    ///
    /// # Panics
    ///
    /// As [`nursery`]; and when first polled, if the scope has been entered before.
    ///
    /// # Cancel safety
    ///
    /// As [`nursery`], inside the scope: `None` if a cancel of the scope cut something short, be it the body or a child.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::CancelScope;
    ///
    /// let scope = CancelScope::new();
    /// let outcome = trine::run(scope.nursery(async |n| {
    ///     n.start_soon(async {
    ///         trine::sleep_forever().await?;
    ///         Ok(())
    ///     });
    ///     trine::checkpoint().await?;
    ///     scope.cancel();
    ///     Ok(())
    /// }))?;
    /// assert_eq!(outcome, None);
    /// # Ok::<(), trine::Error>(())
    /// ```
    #[track_caller]
    pub fn nursery<'env, T: 'env>(
        &self,
        body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>
        + for<'scope> Body<&'scope Nursery<'scope, 'env>, Out = Result<T>>
        + Send
        + 'env,
    ) -> ScopedNursery<'env, T> {
        ScopedNursery::open(body, self, Location::caller())
    }

    /// As [`CancelScope::nursery`], for children that are not `Send`.
    ///
    /// # Errors
    ///
    /// As [`nursery`].
    ///
    /// # Panics
    ///
    /// As [`CancelScope::nursery`].
    ///
    /// # Cancel safety
    ///
    /// As [`nursery`].
    #[track_caller]
    pub fn local_nursery<'env, T: 'env>(
        &self,
        body: impl for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env>) -> Result<T> + 'env,
    ) -> ScopedLocalNursery<'env, T> {
        ScopedLocalNursery::open(body, self, Location::caller())
    }
}

/// An open nursery, to spawn children into. Children may borrow whatever outlives `'scope`, this nursery included.
///
/// `&Nursery` may be handed to children, to functions, and to the threads of a `std::thread::scope`. A function that starts
/// children in one takes it like this, and what they borrow for `'env`:
///
/// ```
/// use trine::Nursery;
///
/// fn greet<'scope, 'env>(n: &'scope Nursery<'scope, 'env>, name: &'env str) {
///     n.start_soon(async move {
///         println!("hello, {name}");
///         Ok(())
///     });
/// }
///
/// let name = String::from("world");
/// trine::run(trine::nursery(async |n| {
///     greet(n, &name);
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Nursery<'scope, 'env: 'scope, E = Error> {
    shared: Shared<E>,
    scope: PhantomData<fn(&'scope ()) -> &'scope ()>,
    env: PhantomData<fn(&'env ()) -> &'env ()>,
}

// SAFETY: other threads go through the inbox; children are `Send` by the bounds of the methods.
unsafe impl<E: Send> Sync for Nursery<'_, '_, E> {}
// SAFETY: as above.
unsafe impl<E: Send> Send for Nursery<'_, '_, E> {}

impl<E> fmt::Debug for Nursery<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nursery").finish_non_exhaustive()
    }
}

// SAFETY: a field.
unsafe impl<E> HasShared<E> for Nursery<'_, '_, E> {
    fn new(shared: Shared<E>) -> Self {
        Self { shared, scope: PhantomData, env: PhantomData }
    }

    fn shared(&self) -> &Shared<E> {
        &self.shared
    }
}

impl<'scope, 'env, E: TaskError + Send + 'scope> Nursery<'scope, 'env, E> {
    /// Starts a child. It first runs at some later scheduling point, under the nursery's scopes.
    ///
    /// The child inherits the task locals that are in force here. Its error cancels the nursery. A child that is not `Send`
    /// needs a [`local_nursery`].
    #[inline]
    pub fn start_soon<F>(&'scope self, fut: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'scope,
    {
        task::start_soon(&self.shared, fut, None);
    }

    /// Starts a child and returns a handle to its value.
    ///
    /// The handle belongs to the nursery: await it in the body or in another child, and return the value from there. A child
    /// that is not `Send` needs a [`local_nursery`].
    #[inline]
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, fut: F) -> Handle<'scope, T>
    where
        F: Future<Output = Result<T, E>> + Send + 'scope,
        T: Send + 'scope,
    {
        task::spawn(&self.shared, fut, None)
    }

    /// Starts a child and waits until it says that it has [started](TaskStatus::started).
    ///
    /// Until then the child runs inside this call and its scopes, and its error comes out here. Then it moves into the
    /// nursery, unless this call is cancelled by then: then it stays, and the call ends when the child does.
    ///
    /// # Errors
    ///
    /// The child's error, ungrouped, if it fails before; [`StartError::NeverStarted`] if it returns before.
    ///
    /// # Cancel safety
    ///
    /// A cancel before the child has started cancels the child. It does not look first: the child runs to its first
    /// checkpoint.
    ///
    /// # Examples
    ///
    /// ```
    /// let port = trine::run(trine::nursery(async |n| {
    ///     n.start(|status| async move {
    ///         status.started(8080);
    ///         trine::checkpoint().await?;
    ///         Ok(())
    ///     })
    ///     .await
    /// }))?;
    /// assert_eq!(port, 8080);
    /// # Ok::<(), trine::Error>(())
    /// ```
    #[track_caller]
    pub fn start<P, F, Fut>(&'scope self, f: F) -> Start<'scope, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'scope,
        P: Send + 'scope,
        E: From<StartError>,
    {
        Start::scoped(&self.shared, f, None, Location::caller())
    }

    /// Names a child, for the task tree: `n.task("reader").start_soon(..)`.
    pub fn task(&'scope self, name: impl Into<Cow<'static, str>>) -> Task<'scope, 'env, E> {
        Task::new(self, name.into())
    }

    /// Cancels the children, present and future; the body goes on. They end without a value, and cancel nothing else.
    pub fn cancel_children(&self) {
        task::cancel_children(&self.shared);
    }

    /// Makes a handle that spawns children which own their data, from any task and any thread. It does not keep the
    /// nursery open.
    pub fn spawner(&self) -> Spawner<E>
    where
        E: 'static,
    {
        Spawner::new(self.shared.inbox().clone())
    }
}
