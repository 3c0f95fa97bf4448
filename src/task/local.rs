//! Task locals: values bound for the extent of a future, inherited by the children spawned in it.

use std::any::Any;
use std::sync::Arc;

/// One binding and those around it.
pub(crate) struct Locals {
    pub(crate) key: usize,
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) outer: Option<Arc<Locals>>,
}

impl Drop for Locals {
    /// Not level by level: each generation of tasks may bind one.
    fn drop(&mut self) {
        let mut outer = self.outer.take();
        while let Some(mut locals) = outer.and_then(Arc::into_inner) {
            outer = locals.outer.take();
        }
    }
}

use crate::sched::context;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A task local, declared with [`task_local!`](crate::task_local).
pub struct LocalKey<T: 'static> {
    #[doc(hidden)]
    pub id: fn() -> usize,
    #[doc(hidden)]
    pub marker: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// The task local has no value here: no [`LocalKey::scope`] is around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotSet;

impl fmt::Display for NotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task local is not set here: wrap the code in `KEY.scope(value, ..)`")
    }
}

impl std::error::Error for NotSet {}

impl<T: Send + Sync + 'static> LocalKey<T> {
    /// Binds the local to `value` while `fut` runs, and in the children that are spawned in it.
    pub fn scope<F: Future>(&'static self, value: T, fut: F) -> LocalScope<F> {
        LocalScope { key: (self.id)(), value: Some(Arc::new(value)), bound: None, fut: Some(fut) }
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    ///
    /// If the local is not set here; see [`LocalKey::try_with`].
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(value) => value,
            Err(e) => panic!("{e}"),
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Errors
    ///
    /// [`NotSet`] if the local is not set here.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, NotSet> {
        let key = (self.id)();
        let mut at = context::ambient(|a| a.locals.get());
        while !at.is_null() {
            // SAFETY: borrowed from a frame of this thread that holds it.
            let locals = unsafe { &*at };
            if locals.key == key {
                let value = locals.value.clone();
                let Ok(value) = value.downcast::<T>() else { unreachable!("a key has one type") };
                return Ok(f(&value));
            }
            at = locals.outer.as_ref().map_or(std::ptr::null(), Arc::as_ptr);
        }
        Err(NotSet)
    }

    /// Returns a clone of the value.
    ///
    /// # Panics
    ///
    /// If the local is not set here.
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }
}

pin_project_lite::pin_project! {
    /// The future of [`LocalKey::scope`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct LocalScope<F> {
        key: usize,
        value: Option<Arc<dyn Any + Send + Sync>>,
        bound: Option<Arc<Locals>>,
        #[pin]
        fut: Option<F>,
    }

    impl<F> PinnedDrop for LocalScope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _frame = this.bound.as_ref().map(|b| LocalsFrame::enter(Arc::as_ptr(b)));
            this.fut.set(None);
        }
    }
}

impl<F> fmt::Debug for LocalScope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalScope").finish_non_exhaustive()
    }
}

struct LocalsFrame(*const Locals);

impl LocalsFrame {
    fn enter(locals: *const Locals) -> Self {
        Self(context::ambient(|a| a.locals.replace(locals)))
    }
}

impl Drop for LocalsFrame {
    fn drop(&mut self) {
        context::ambient(|a| a.locals.set(self.0));
    }
}

impl<F: Future> Future for LocalScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(value) = this.value.take() {
            let outer = crate::nursery::current_locals();
            *this.bound = Some(Arc::new(Locals { key: *this.key, value, outer }));
        }
        let Some(bound) = this.bound else { unreachable!("bound above") };
        let _frame = LocalsFrame::enter(Arc::as_ptr(bound));
        match this.fut.as_pin_mut() {
            Some(fut) => fut.poll(cx),
            None => unreachable!("only drop takes the future"),
        }
    }
}

/// Declares task locals: values bound for the extent of a future, and inherited by the children spawned in it.
///
/// # Examples
///
/// ```
/// trine::task_local! {
///     /// The request being served.
///     static REQUEST: u64;
/// }
///
/// trine::run(REQUEST.scope(7, trine::nursery(async |n| {
///     n.start_soon(async {
///         assert_eq!(REQUEST.get(), 7);
///         Ok(())
///     });
///     Ok(())
/// })))?;
/// assert!(REQUEST.try_with(|_| ()).is_err());
/// # Ok::<(), trine::Error>(())
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty; $($rest:tt)*) => {
        $(#[$attr])*
        $vis static $name: $crate::LocalKey<$t> = $crate::LocalKey {
            id: || {
                static ID: u8 = 0;
                &raw const ID as usize
            },
            marker: ::std::marker::PhantomData,
        };
        $crate::task_local! { $($rest)* }
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty) => {
        $crate::task_local! { $(#[$attr])* $vis static $name: $t; }
    };
}
