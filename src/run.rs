//! Running: the entry into a backend, and the settings of a run.

use crate::backend::{self, Backend, UnknownBackend};
use crate::cancel::region::{drop_in_root, in_root, own_root};
use crate::inspect::{Instrument, Tree};
use crate::sched::context;
use crate::sched::root::{Root, Turn};
use crate::testing::{MockClock, Order, VirtualClock};
use crate::time::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use trine_backend::Handle;

/// What a run was built with, shared by its roots.
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) order: Order,
    pub(crate) instrument: Option<Arc<dyn Instrument>>,
    pub(crate) backend: Option<Backend>,
    handle: Option<Arc<dyn Handle>>,
    /// Backend and handle were found, not chosen: they are looked for again when the tree moves.
    detected: bool,
    /// Things outside that may yet wake the run: sources being waited for, jobs, tokens.
    outside: Arc<AtomicUsize>,
}

impl Clock {
    pub(crate) fn mock(&self) -> Option<&VirtualClock> {
        match self {
            Self::Real => None,
            Self::Mock(mock) => Some(mock),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Mock(_))
    }
}

impl Settings {
    /// For a tree on a foreign executor: whatever serves it there.
    pub(crate) fn hosted() -> Arc<Self> {
        Builder::new().hosted_settings()
    }

    /// After a move to another place: the same with what serves there, if that is something else.
    pub(crate) fn moved(&self) -> Option<Arc<Self>> {
        if !self.detected {
            return None;
        }
        let (backend, handle) = backend::detect().unzip();
        let same = match (&handle, &self.handle) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        };
        (!same).then(|| {
            Arc::new(Self {
                clock: self.clock.clone(),
                order: self.order,
                instrument: self.instrument.clone(),
                backend,
                handle,
                detected: true,
                outside: Arc::clone(&self.outside),
            })
        })
    }

    pub(crate) fn handle(&self) -> Option<Arc<dyn Handle>> {
        self.handle.clone()
    }

    pub(crate) fn has_handle(&self) -> bool {
        self.handle.is_some()
    }

    /// Where the run's handle is; null if there is none.
    pub(crate) fn handle_address(&self) -> *const () {
        self.handle.as_ref().map_or(ptr::null(), |handle| Arc::as_ptr(handle).cast())
    }

    pub(crate) fn has_budget(&self) -> bool {
        self.handle.as_ref().is_none_or(|h| h.has_budget())
    }

    pub(crate) fn begin_turn(&self) {
        if let Some(handle) = &self.handle {
            handle.begin_turn();
        }
    }

    pub(crate) fn end_turn(&self) {
        if let Some(handle) = &self.handle {
            handle.end_turn();
        }
    }

    pub(crate) fn outside(&self) -> usize {
        self.outside.load(Ordering::Acquire)
    }

    pub(crate) fn outside_counter(&self) -> Outside {
        self.outside.fetch_add(1, Ordering::AcqRel);
        Outside(Arc::clone(&self.outside))
    }
}

/// Says, while it lives, that something outside may wake the run.
pub(crate) struct Outside(Arc<AtomicUsize>);

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts something outside for the run around, if there is one, and if it asks: only under a virtual clock can it know
/// that nothing else will happen.
pub(crate) fn outside() -> Option<Outside> {
    context::with_root(|root| root.is_virtual().then(|| root.settings().outside_counter()))?
}

/// Runs a future to its end on this thread, on the native backend or the one that `TRINE_BACKEND` names.
///
/// The thread is blocked until then. In async code (inside `#[tokio::main]`, a task of smol's, another run) await the future
/// instead: nurseries, scopes and the rest need no `run` around them, and timers and sockets only the feature `tokio` or
/// `async-io`.
///
/// # Panics
///
/// Inside another run on this thread: await the future there instead. If `TRINE_BACKEND` names an unknown backend, or
/// the backend cannot start. ([`Builder::try_run`] returns these as errors.) A panic of the future goes on.
///
/// # Examples
///
/// ```
/// let answer = trine::run(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
pub fn run<T>(fut: impl Future<Output = T>) -> T {
    Builder::new().run(fut)
}

/// Why a run could not be started, or not be finished.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Under a virtual clock, nothing can ever happen again. The tree shows who waits where.
    ///
    /// What is outside of the run counts if the run knows of it: sockets that tasks wait for count for as long as they
    /// do, wakers of tasks in foreign hands and the clock in somebody else's for half a second. A thread that has only the
    /// end of a channel, a scope, a lock or an event is not known. If such a thread is to go on with the program, let the clock
    /// jump [after a while](MockClock::autojump_after), which is waited for here, too, or take the machine's clock.
    Deadlock(Tree),
    /// There is a run on this thread already, or it is inside the async context of the backend's own runtime.
    Nested,
    /// No backend has that name.
    UnknownBackend(UnknownBackend),
    /// The backend could not start.
    Io(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(tree) => write!(f, "deadlock, nothing can happen any more\n{tree}"),
            Self::Nested => f.write_str(
                "there is a run on this thread already, or the async context of the backend's runtime: await the \
                 future instead of running it, or run it on a thread of its own",
            ),
            Self::UnknownBackend(e) => e.fmt(f),
            Self::Io(e) => write!(f, "the backend could not start: {e}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            Self::UnknownBackend(e) => Some(e),
            Self::Deadlock(_) | Self::Nested => None,
        }
    }
}

/// Settings for a run.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use trine::Builder;
/// use trine::testing::{MockClock, Order};
///
/// Builder::new().clock(MockClock::new().autojump()).order(Order::Shuffle(7)).run(async {
///     trine::sleep(Duration::from_secs(3600)).await
/// })?;
/// # Ok::<(), trine::Cancelled>(())
/// ```
#[derive(Default)]
pub struct Builder {
    backend: Option<Backend>,
    clock: Option<MockClock>,
    order: Order,
    instrument: Option<Arc<dyn Instrument>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("backend", &self.backend)
            .field("clock", &self.clock)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the backend. Otherwise `TRINE_BACKEND` names it, or else it is the native one.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Runs on a virtual clock.
    pub fn clock(mut self, clock: MockClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Chooses the order in which runnable children run. For tests: it is FIFO otherwise.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Has an instrument told of every task's life.
    pub fn instrument(mut self, instrument: impl Instrument) -> Self {
        self.instrument = Some(Arc::new(instrument));
        self
    }

    /// Runs a future to its end on this thread.
    ///
    /// # Panics
    ///
    /// With the text of the [`RunError`], where [`Builder::try_run`] returns it. A panic of the future goes on.
    pub fn run<T>(self, fut: impl Future<Output = T>) -> T {
        match self.try_run(fut) {
            Ok(value) => value,
            Err(e) => panic!("trine: {e}"),
        }
    }

    /// Runs a future to its end on this thread.
    ///
    /// # Errors
    ///
    /// See [`RunError`].
    ///
    /// # Panics
    ///
    /// A panic of the future goes on.
    pub fn try_run<T>(self, fut: impl Future<Output = T>) -> Result<T, RunError> {
        if !context::root().is_null() {
            return Err(RunError::Nested);
        }
        let backend = match self.backend.clone() {
            Some(backend) => backend,
            None => backend::from_env().map_err(RunError::UnknownBackend)?,
        };
        if backend.inner().nested_hint().is_some() {
            return Err(RunError::Nested);
        }
        let mut driver = backend.inner().driver().map_err(RunError::Io)?;
        let settings = self.settings(Some(backend), Some(driver.handle()), false);
        let mut main = pin!(Main { root: Root::begin(settings), fut: Some(fut) });
        let mut result = None;
        let mut drive = pin!(poll_fn(|cx| {
            let polled = main.as_mut().poll_turn(cx);
            result = Some(match polled {
                Turn::Pending => return Poll::Pending,
                Turn::Ready(value) => Ok(value),
                Turn::Deadlock(tree) => Err(RunError::Deadlock(tree)),
            });
            Poll::Ready(())
        }));
        driver.drive(drive.as_mut()).map_err(RunError::Io)?;
        result.unwrap_or_else(|| panic!("trine: the backend returned before the run had finished (law of `drive`)"))
    }

    fn settings(self, backend: Option<Backend>, handle: Option<Arc<dyn Handle>>, detected: bool) -> Arc<Settings> {
        Arc::new(Settings {
            clock: self.clock.map_or(Clock::Real, |c| Clock::Mock(c.into_clock())),
            order: self.order,
            instrument: self.instrument,
            backend,
            handle,
            detected,
            outside: Arc::default(),
        })
    }

    fn hosted_settings(mut self) -> Arc<Settings> {
        match self.backend.take() {
            Some(backend) => {
                let handle = backend.inner().ambient();
                self.settings(Some(backend), handle, false)
            }
            None => {
                let (backend, handle) = backend::detect().unzip();
                self.settings(backend, handle, true)
            }
        }
    }

    /// Gives these settings to a tree on a foreign executor.
    pub fn host<F: Future>(self, fut: F) -> Hosted<F> {
        Hosted { own: None, builder: Some(self), fut: Some(fut) }
    }
}

pin_project! {
    /// Run's main future, with its root.
    struct Main<F> {
        root: &'static Root,
        #[pin]
        fut: Option<F>,
    }

    impl<F> PinnedDrop for Main<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let mut own = Some(*this.root);
            struct End<'a>(&'a mut Option<&'static Root>);
            impl Drop for End<'_> {
                fn drop(&mut self) {
                    // After a panic in the drop of the future, too.
                    drop_in_root(self.0, || ());
                }
            }
            let end = End(&mut own);
            if let Some(root) = *end.0 {
                root.enter(|| this.fut.set(None));
            }
        }
    }
}

impl<F: Future> Main<F> {
    fn poll_turn(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Turn<F::Output> {
        let mut this = self.project();
        this.root.turn(cx, false, |cx| match this.fut.as_mut().as_pin_mut() {
            Some(fut) => fut.poll(cx),
            None => unreachable!("only drop takes the future"),
        })
    }
}

pin_project! {
    /// The future of [`Builder::host`] and [`Backend::host`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Hosted<F> {
        own: Option<&'static Root>,
        builder: Option<Builder>,
        #[pin]
        fut: Option<F>,
    }

    impl<F> PinnedDrop for Hosted<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            drop_in_root(this.own, || this.fut.set(None));
        }
    }
}

impl<F> fmt::Debug for Hosted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").finish_non_exhaustive()
    }
}

impl<F: Future> Future for Hosted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if context::root().is_null() && this.own.is_none() {
            if let Some(builder) = this.builder.take() {
                *this.own = Some(Root::begin(builder.hosted_settings()));
            }
        }
        in_root(own_root(this.own), cx, |cx| match this.fut.as_mut().as_pin_mut() {
            Some(fut) => fut.poll(cx),
            None => unreachable!("only drop takes the future"),
        })
    }
}
