//! A handle to a nursery that may be kept anywhere.

use super::handle::{Apart, Handle, Joined};
use super::inbox::Inbox;
use super::start::{Start, TaskStatus};
use super::task::job;
use crate::error::{Closed, Error, Result, StartError, TaskError};
use crate::sched::root::Root;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

/// Spawns children that own their data into a nursery, from any task and any thread, for as long as it is open.
///
/// Made by [`Nursery::spawner`](super::Nursery::spawner). It does not keep the nursery open.
///
/// # Examples
///
/// ```
/// trine::run(trine::nursery(async |n| {
///     let spawner = n.spawner();
///     std::thread::spawn(move || spawner.start_soon(async { Ok(()) })).join().unwrap()?;
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub struct Spawner<E = Error> {
    inbox: Arc<Inbox>,
    error: PhantomData<fn(E)>,
}

impl<E> Clone for Spawner<E> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone(), error: PhantomData }
    }
}

impl<E> fmt::Debug for Spawner<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").field("closed", &self.is_closed()).finish()
    }
}

impl<E> Spawner<E> {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, error: PhantomData }
    }

    /// Tells whether the nursery has ended.
    pub fn is_closed(&self) -> bool {
        !self.inbox.is_open()
    }

    /// Cancels the children, present and future; the body goes on.
    pub fn cancel_children(&self) {
        match self.inbox.here() {
            Some(core) => core.cancel_children(),
            None => {
                let refused = self.inbox.send(Box::new(|core, _: &Root| core.cancel_children()));
                drop(refused);
            }
        }
    }
}

impl<E: TaskError + Send + 'static> Spawner<E> {
    /// Starts a child, as [`Nursery::start_soon`](super::Nursery::start_soon).
    ///
    /// # Errors
    ///
    /// [`Closed`] if the nursery has ended; the future is dropped.
    pub fn start_soon<F>(&self, fut: F) -> Result<(), Closed>
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.inbox.send(job::<F, E>(fut, None, |_| ())).map_err(|_| Closed)
    }

    /// Starts a child and returns a handle to its value, as [`Nursery::spawn`](super::Nursery::spawn).
    ///
    /// # Errors
    ///
    /// [`Closed`] if the nursery has ended; the future is dropped.
    #[track_caller]
    pub fn spawn<T, F>(&self, fut: F) -> Result<Handle<'static, T>, Closed>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let apart = Apart::new();
        let bound = apart.clone();
        let joined = Joined::new(fut, apart.clone());
        self.inbox.send(job::<_, E>(joined, None, move |h| bound.bind(h))).map_err(|_| Closed)?;
        Ok(Handle::apart(apart))
    }

    /// Starts a child and waits until it has started, as [`Nursery::start`](super::Nursery::start).
    ///
    /// Called from outside of the nursery, the child moves into it not when it says so, but when its poll is over, at its next
    /// checkpoint that waits; until then it runs under the scopes of the call.
    ///
    /// # Errors
    ///
    /// [`StartError::Closed`] if the nursery has ended; else as [`Nursery::start`](super::Nursery::start).
    ///
    /// # Cancel safety
    ///
    /// As [`Nursery::start`](super::Nursery::start).
    #[track_caller]
    pub fn start<P, F, Fut>(&self, f: F) -> Start<'static, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        P: Send + 'static,
        E: From<StartError>,
    {
        Start::detached(self.inbox.clone(), f, Location::caller())
    }
}
