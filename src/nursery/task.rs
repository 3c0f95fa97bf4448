//! Spawning: on the nursery's own thread straight into its memory, from another by a job in its inbox.

use super::child::spawn_task;
use super::handle::{Apart, Handle, Joined};
use super::open::{Job, ScopedJob, Shared};
use super::spawned::spawn_with_handle;
use super::start::{Start, TaskStatus};
use super::{Nursery, core};
use crate::error::{Error, Result, StartError, TaskError};
use crate::sched::context;
use crate::sched::root::Root;
use crate::task::header::Header;
use crate::task::local::Locals;
use std::borrow::Cow;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;

pub(crate) type Name = Option<Cow<'static, str>>;

/// A named child to be, made by [`Nursery::task`].
#[derive(Debug)]
#[must_use = "a task does not exist before it is started"]
pub struct Task<'scope, 'env, E = Error> {
    nursery: &'scope Nursery<'scope, 'env, E>,
    name: Cow<'static, str>,
}

impl<'scope, 'env, E: TaskError + Send + 'scope> Task<'scope, 'env, E> {
    pub(super) fn new(nursery: &'scope Nursery<'scope, 'env, E>, name: Cow<'static, str>) -> Self {
        Self { nursery, name }
    }

    /// As [`Nursery::start_soon`].
    pub fn start_soon<F>(self, fut: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'scope,
    {
        start_soon(&self.nursery.shared, fut, Some(self.name));
    }

    /// As [`Nursery::spawn`].
    #[track_caller]
    pub fn spawn<T, F>(self, fut: F) -> Handle<'scope, T>
    where
        F: Future<Output = Result<T, E>> + Send + 'scope,
        T: Send + 'scope,
    {
        spawn(&self.nursery.shared, fut, Some(self.name))
    }

    /// As [`Nursery::start`].
    ///
    /// # Errors
    ///
    /// As [`Nursery::start`].
    ///
    /// # Cancel safety
    ///
    /// As [`Nursery::start`].
    #[track_caller]
    pub fn start<P, F, Fut>(self, f: F) -> Start<'scope, P, E>
    where
        F: FnOnce(TaskStatus<P>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'scope,
        P: Send + 'scope,
        E: From<StartError>,
    {
        Start::scoped(&self.nursery.shared, f, Some(self.name), Location::caller())
    }
}

/// The task locals in force, to travel with a job.
pub(crate) fn current_locals() -> Option<Arc<Locals>> {
    let locals = context::ambient(|a| a.locals.get());
    if locals.is_null() {
        return None;
    }
    // SAFETY: borrowed from a frame of this thread that holds an `Arc`.
    unsafe {
        Arc::increment_strong_count(locals);
        Some(Arc::from_raw(locals))
    }
}

/// A task that was spawned elsewhere has the locals that were in force there, or none; not those of the nursery, which takes it
/// in.
fn give_locals(h: &Header, locals: Option<Arc<Locals>>) {
    if locals.is_some() || !h.locals().is_null() {
        let old = h.with_extras(|e| std::mem::replace(&mut e.locals, locals));
        drop(old);
    }
}

/// Names a task that was just spawned, then has the instrument told of it.
#[inline(always)]
pub(crate) fn introduce(h: &Header, root: &Root, name: Name) {
    if name.is_some() {
        h.with_extras(|e| e.name = name);
    }
    if root.is_special() {
        crate::inspect::task_spawned(root, h);
    }
}

/// A job that makes a task of `fut` when the nursery takes it in.
pub(crate) fn job<'a, F, E>(fut: F, name: Name, then: impl FnOnce(&Header) + Send + 'a) -> ScopedJob<'a>
where
    F: Future<Output = Result<(), E>> + Send + 'a,
    E: TaskError + 'a,
{
    let locals = current_locals();
    Box::new(move |core, root| {
        // SAFETY: run by the nursery that the job was left for, in its poll.
        let h = unsafe { &*spawn_task::<F, E>(core, root, ManuallyDrop::new(fut)) };
        introduce(h, root, name);
        give_locals(h, locals);
        then(h);
    })
}

/// Extends the life of a scoped job to that of the list it is kept in.
///
/// # Safety
/// The job is run or dropped before what it borrows ends.
pub(crate) unsafe fn erase<'a>(job: ScopedJob<'a>) -> Job {
    // SAFETY: only the lifetime changes.
    unsafe { std::mem::transmute(job) }
}

#[inline(always)]
pub(crate) fn start_soon<F, E>(shared: &Shared<E>, fut: F, name: Name)
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    let fut = ManuallyDrop::new(fut);
    match shared.here() {
        Some((core, root)) => {
            // SAFETY: held; the future lives as long as the nursery by the caller's bounds.
            let h = unsafe { &*spawn_task::<F, E>(core, root, fut) };
            introduce(h, root, name);
        }
        None => remotely(shared, boxed(fut), name, |_| ()),
    }
}

/// A box of it, which drops it as usual.
fn boxed<F>(fut: ManuallyDrop<F>) -> Box<F> {
    // SAFETY: the same in memory.
    unsafe { Box::from_raw(Box::into_raw(Box::new(fut)).cast()) }
}

/// Leaves a job for the nursery.
///
/// The future comes in a box, so that its callers know nobody to whom its address on the stack was given, nor, since it is a
/// `ManuallyDrop` there, anybody who would drop it if something panicked: they write it into its slot from registers then. Else it
/// is put together on the stack and copied, with loads that are wider than the stores just before, for which a processor waits
/// until those are through.
#[cold]
fn remotely<F, E>(shared: &Shared<E>, fut: Box<F>, name: Name, then: impl FnOnce(&Header))
where
    F: Future<Output = Result<(), E>>,
    E: TaskError,
{
    struct AssertSend<T>(T);
    // SAFETY: reached from another thread only through `&Nursery`, whose methods ask for `Send`; a local nursery is
    // not `Sync`, and its children come here only while it is being dropped, on its own thread.
    unsafe impl<T> Send for AssertSend<T> {}
    impl<T> AssertSend<T> {
        fn get(self) -> T {
            self.0
        }
    }
    let parts = AssertSend((fut, then, current_locals()));
    let job: ScopedJob<'_> = Box::new(move |core, root| {
        let (fut, then, locals) = parts.get();
        // SAFETY: run by the nursery that the job was left for, in its poll.
        let h = unsafe { &*spawn_task::<F, E>(core, root, ManuallyDrop::new(*fut)) };
        introduce(h, root, name);
        give_locals(h, locals);
        then(h);
    });
    // SAFETY: the list is run or dropped by the nursery, which `'scope` data outlives.
    shared.send(unsafe { erase(job) });
}

#[inline(always)]
#[track_caller]
pub(crate) fn spawn<'scope, T, F, E>(shared: &Shared<E>, fut: F, name: Name) -> Handle<'scope, T>
where
    F: Future<Output = Result<T, E>>,
    E: TaskError,
    T: 'scope,
{
    let fut = ManuallyDrop::new(fut);
    match shared.here() {
        // SAFETY: held; future and value live as long as the nursery by the caller's bounds.
        Some((core, root)) => unsafe { spawn_with_handle::<F, T, E>(core, root, fut, name) },
        None => spawn_remotely(shared, boxed(fut), name),
    }
}

/// As [`remotely`].
#[cold]
#[expect(clippy::boxed_local, reason = "in a box for the caller's sake")]
fn spawn_remotely<'scope, T, F, E>(shared: &Shared<E>, fut: Box<F>, name: Name) -> Handle<'scope, T>
where
    F: Future<Output = Result<T, E>>,
    E: TaskError,
    T: 'scope,
{
    let apart = Apart::new();
    let (joined, bound) = (Joined::new(*fut, apart.clone()), apart.clone());
    remotely(shared, Box::new(joined), name, move |h| bound.bind(h));
    Handle::apart(apart)
}

pub(crate) fn cancel_children<E>(shared: &Shared<E>) {
    match shared.here() {
        Some((core, _)) => core.cancel_children(),
        None => {
            if !shared.core.get().is_null() {
                shared.send(Box::new(|core: &core::CoreSlot, _: &Root| core.cancel_children()));
            }
        }
    }
}
