//! A backend that does what another one does, but for what a [`Twist`] changes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use trine_backend::{Alarm, Backend, Driver, Handle, Job, Readiness, Source};

/// What is different. One value for each backend; shared by its loops.
pub(super) trait Twist: Send + Sync + 'static {
    fn drive(&self, driver: &mut dyn Driver, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        driver.drive(fut)
    }

    fn ambient(&self, backend: &dyn Backend) -> Option<Arc<dyn Handle>> {
        backend.ambient()
    }

    fn alarm(&self, inner: Box<dyn Alarm>) -> Box<dyn Alarm> {
        inner
    }

    fn readiness(&self, inner: Box<dyn Readiness>) -> Box<dyn Readiness> {
        inner
    }

    /// Before [`readiness`](Self::readiness).
    fn register(&self, handle: &dyn Handle, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        handle.register(source)
    }

    fn spawn_blocking(&self, handle: &dyn Handle, job: Job) -> io::Result<()> {
        handle.spawn_blocking(job)
    }

    fn poll_turn(&self, handle: &dyn Handle, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        handle.poll_turn(cx, round)
    }

    fn has_budget(&self, handle: &dyn Handle) -> bool {
        handle.has_budget()
    }

    fn begin_turn(&self, handle: &dyn Handle) {
        handle.begin_turn();
    }

    fn end_turn(&self, handle: &dyn Handle) {
        handle.end_turn();
    }
}

/// Twists a backend.
pub(super) fn twisted(inner: Arc<dyn Backend>, twist: impl Twist) -> Arc<dyn Backend> {
    Arc::new(Twisted { inner, twist: Arc::new(twist) })
}

struct Twisted {
    inner: Arc<dyn Backend>,
    twist: Arc<dyn Twist>,
}

impl Backend for Twisted {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn driver(&self) -> io::Result<Box<dyn Driver>> {
        let inner = self.inner.driver()?;
        let handle = Arc::new(TwistedHandle { inner: inner.handle(), twist: Arc::clone(&self.twist) });
        Ok(Box::new(TwistedDriver { inner, handle }))
    }

    fn ambient(&self) -> Option<Arc<dyn Handle>> {
        let inner = self.twist.ambient(&*self.inner)?;
        Some(Arc::new(TwistedHandle { inner, twist: Arc::clone(&self.twist) }))
    }

    fn nested_hint(&self) -> Option<&'static str> {
        self.inner.nested_hint()
    }
}

struct TwistedDriver {
    inner: Box<dyn Driver>,
    handle: Arc<TwistedHandle>,
}

impl Driver for TwistedDriver {
    fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle) as Arc<dyn Handle>
    }

    fn drive(&mut self, fut: Pin<&mut dyn Future<Output = ()>>) -> io::Result<()> {
        self.handle.twist.drive(&mut *self.inner, fut)
    }
}

struct TwistedHandle {
    inner: Arc<dyn Handle>,
    twist: Arc<dyn Twist>,
}

impl fmt::Debug for TwistedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TwistedHandle").field(&self.inner).finish()
    }
}

impl Handle for TwistedHandle {
    fn alarm(&self) -> io::Result<Box<dyn Alarm>> {
        Ok(self.twist.alarm(self.inner.alarm()?))
    }

    fn register(&self, source: Source<'_>) -> io::Result<Box<dyn Readiness>> {
        Ok(self.twist.readiness(self.twist.register(&*self.inner, source)?))
    }

    fn registers_early(&self) -> bool {
        self.inner.registers_early()
    }

    fn spawn_blocking(&self, job: Job) -> io::Result<()> {
        self.twist.spawn_blocking(&*self.inner, job)
    }

    fn poll_turn(&self, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        self.twist.poll_turn(&*self.inner, cx, round)
    }

    fn has_budget(&self) -> bool {
        self.twist.has_budget(&*self.inner)
    }

    fn begin_turn(&self) {
        self.twist.begin_turn(&*self.inner);
    }

    fn end_turn(&self) {
        self.twist.end_turn(&*self.inner);
    }
}
