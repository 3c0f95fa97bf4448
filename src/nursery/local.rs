//! Nurseries whose children stay on one thread.

use super::handle::Handle;
use super::open::{HasShared, Opened, Shared};
use super::outcome::{Mode, OfScope, Plain};
pub use super::start::LocalStart;
use super::start::TaskStatus;
use super::task;
use crate::cancel::CancelScope;
use crate::error::{Error, Result, StartError, TaskError};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// As [`nursery`](super::nursery), for children that are not `Send`.
///
/// # Errors
///
/// As [`nursery`](super::nursery).
///
/// # Panics
///
/// As [`nursery`](super::nursery).
///
/// # Cancel safety
///
/// As [`nursery`](super::nursery).
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let count = Rc::new(Cell::new(0));
/// trine::run(trine::local_nursery(async |n| {
///     for _ in 0..3 {
///         let count = count.clone();
///         n.start_soon(async move {
///             trine::checkpoint().await?;
///             count.set(count.get() + 1);
///             Ok(())
///         });
///     }
///     Ok(())
/// }))?;
/// assert_eq!(count.get(), 3);
/// # Ok::<(), trine::Error>(())
/// ```
#[track_caller]
pub fn local_nursery<'env, T: 'env>(
    body: impl for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env>) -> Result<T> + 'env,
) -> LocalNurseryFuture<'env, T> {
    LocalNurseryFuture::open(body, Location::caller())
}

/// The future of [`local_nursery`].
#[must_use = "futures do nothing unless awaited"]
pub struct LocalNurseryFuture<'env, T, E = Error> {
    opened: Opened<'env, Result<T, E>>,
}

impl<T, E> Unpin for LocalNurseryFuture<'_, T, E> {}

impl<T, E> fmt::Debug for LocalNurseryFuture<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNurseryFuture").finish_non_exhaustive()
    }
}

impl<'env, T: 'env, E: TaskError + 'env> LocalNurseryFuture<'env, T, E> {
    pub(crate) fn open<B>(body: B, at: &'static Location<'static>) -> Self
    where
        B: for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env, E>) -> Result<T, E> + 'env,
    {
        Self { opened: open::<T, E, B, Plain>(body, None, at) }
    }
}

impl<T, E: TaskError> Future for LocalNurseryFuture<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opened.poll(cx)
    }
}

/// The future of [`CancelScope::local_nursery`].
#[must_use = "futures do nothing unless awaited"]
pub struct ScopedLocalNursery<'env, T, E = Error> {
    opened: Opened<'env, Result<Option<T>, E>>,
}

impl<T, E> Unpin for ScopedLocalNursery<'_, T, E> {}

impl<T, E> fmt::Debug for ScopedLocalNursery<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedLocalNursery").finish_non_exhaustive()
    }
}

impl<'env, T: 'env, E: TaskError + 'env> ScopedLocalNursery<'env, T, E> {
    pub(crate) fn open<B>(body: B, scope: &CancelScope, at: &'static Location<'static>) -> Self
    where
        B: for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env, E>) -> Result<T, E> + 'env,
    {
        Self { opened: open::<T, E, B, OfScope>(body, Some(scope), at) }
    }
}

impl<T, E: TaskError> Future for ScopedLocalNursery<'_, T, E> {
    type Output = Result<Option<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opened.poll(cx)
    }
}

fn open<'env, T, E, B, M>(body: B, scope: Option<&CancelScope>, at: &'static Location<'static>) -> Opened<'env, M::Out>
where
    T: 'env,
    E: TaskError + 'env,
    B: for<'scope> AsyncFnOnce(&'scope LocalNursery<'scope, 'env, E>) -> Result<T, E> + 'env,
    M: Mode<T, E> + 'env,
{
    let scope = scope.map(|s| s.shared().clone());
    let body = move |n: &'env LocalNursery<'env, 'env, E>| async move { body(n).await };
    Opened::new::<LocalNursery<'env, 'env, E>, _, _, T, E, M>(body, scope, at)
}

/// An open nursery whose children need not be `Send`. It stays on its thread, and so has no [`Spawner`](crate::Spawner).
pub struct LocalNursery<'scope, 'env: 'scope, E = Error> {
    shared: Shared<E>,
    scope: PhantomData<fn(&'scope ()) -> &'scope ()>,
    env: PhantomData<fn(&'env ()) -> &'env ()>,
    not_send: PhantomData<*const ()>,
}

impl<E> fmt::Debug for LocalNursery<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNursery").finish_non_exhaustive()
    }
}

// SAFETY: a field.
unsafe impl<E> HasShared<E> for LocalNursery<'_, '_, E> {
    fn new(shared: Shared<E>) -> Self {
        Self { shared, scope: PhantomData, env: PhantomData, not_send: PhantomData }
    }

    fn shared(&self) -> &Shared<E> {
        &self.shared
    }
}

impl<'scope, 'env, E: TaskError + 'scope> LocalNursery<'scope, 'env, E> {
    /// As [`Nursery::start_soon`](super::Nursery::start_soon).
    pub fn start_soon<F>(&'scope self, fut: F)
    where
        F: Future<Output = Result<(), E>> + 'scope,
    {
        task::start_soon(&self.shared, fut, None);
    }

    /// As [`Nursery::spawn`](super::Nursery::spawn).
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, fut: F) -> Handle<'scope, T>
    where
        F: Future<Output = Result<T, E>> + 'scope,
        T: 'scope,
    {
        task::spawn(&self.shared, fut, None)
    }

    /// As [`Nursery::start`](super::Nursery::start).
    ///
    /// # Errors
    ///
    /// As [`Nursery::start`](super::Nursery::start).
    ///
    /// # Cancel safety
    ///
    /// As [`Nursery::start`](super::Nursery::start).
    #[track_caller]
    pub fn start<P, F, Fut>(&'scope self, f: F) -> LocalStart<'scope, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + 'scope,
        P: 'scope,
        E: From<StartError>,
    {
        LocalStart::scoped(&self.shared, f, None, Location::caller())
    }

    /// As [`Nursery::task`](super::Nursery::task).
    pub fn task(&'scope self, name: impl Into<Cow<'static, str>>) -> LocalTask<'scope, 'env, E> {
        LocalTask { nursery: self, name: name.into() }
    }

    /// As [`Nursery::cancel_children`](super::Nursery::cancel_children).
    pub fn cancel_children(&self) {
        task::cancel_children(&self.shared);
    }
}

/// A named child to be, made by [`LocalNursery::task`].
#[derive(Debug)]
#[must_use = "a task does not exist before it is started"]
pub struct LocalTask<'scope, 'env, E = Error> {
    nursery: &'scope LocalNursery<'scope, 'env, E>,
    name: Cow<'static, str>,
}

impl<'scope, 'env, E: TaskError + 'scope> LocalTask<'scope, 'env, E> {
    /// As [`LocalNursery::start_soon`].
    pub fn start_soon<F>(self, fut: F)
    where
        F: Future<Output = Result<(), E>> + 'scope,
    {
        task::start_soon(&self.nursery.shared, fut, Some(self.name));
    }

    /// As [`LocalNursery::spawn`].
    #[track_caller]
    pub fn spawn<T, F>(self, fut: F) -> Handle<'scope, T>
    where
        F: Future<Output = Result<T, E>> + 'scope,
        T: 'scope,
    {
        task::spawn(&self.nursery.shared, fut, Some(self.name))
    }

    /// As [`LocalNursery::start`].
    ///
    /// # Errors
    ///
    /// As [`LocalNursery::start`].
    ///
    /// # Cancel safety
    ///
    /// As [`LocalNursery::start`].
    #[track_caller]
    pub fn start<P, F, Fut>(self, f: F) -> LocalStart<'scope, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + 'scope,
        P: 'scope,
        E: From<StartError>,
    {
        LocalStart::scoped(&self.nursery.shared, f, Some(self.name), Location::caller())
    }
}
