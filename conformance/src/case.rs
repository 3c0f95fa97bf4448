//! Cases: plain functions with a name, the law or rule they prove, and where they come from.
//!
//! A case file is a module of [`cases`](crate::cases) with a table of its functions; the table is what is run. The
//! macros take the case's name from the module and the function: `cases/nursery.rs` with `first_error_cancels` is
//! `nursery::first_error_cancels`.

use crate::host::{Host, Subject};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use trine::Error;
use trine::testing::{MockClock, Order};

/// The future of a portable case.
pub type BoxCase = Pin<Box<dyn Future<Output = trine::Result<()>> + Send>>;

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    path: &'static str,
    law: &'static str,
    origin: &'static str,
    body: Body,
    fifo: bool,
    needs_driver: bool,
    limit: Duration,
}

/// What a case is run with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Body {
    /// A future on the public API, under a virtual clock that jumps by itself.
    Portable(fn() -> BoxCase),
    /// The same, under the machine's clock.
    RealTime(fn() -> BoxCase),
    /// The same, under a virtual clock that stands still and is handed to the case.
    Clocked(fn(MockClock) -> BoxCase),
    /// A function that runs futures on the host itself: for what a run as a whole does.
    OnHost(fn(&dyn Host) -> trine::Result<()>),
    /// A function over the backend's traits: for the numbered laws.
    Backend(fn(&Subject<'_>) -> trine::Result<()>),
}

/// What a case may take, in real time, unless it says otherwise.
pub const LIMIT: Duration = Duration::from_secs(30);

impl Case {
    /// Makes a case; `path` is that of its function. The macros call this.
    pub const fn new(path: &'static str, law: &'static str, origin: &'static str, body: Body) -> Self {
        Self { path, law, origin, body, fifo: false, needs_driver: false, limit: LIMIT }
    }

    /// It shows something of the default order, so it is left out under others.
    #[must_use]
    pub const fn fifo(mut self) -> Self {
        self.fifo = true;
        self
    }

    /// It needs a loop of its own, so it is left out where an executor drives.
    #[must_use]
    pub const fn needs_driver(mut self) -> Self {
        self.needs_driver = true;
        self
    }

    /// Returns the name: `area::what_it_shows`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once("cases::").map_or(self.path, |(_, name)| name)
    }

    /// Returns the area, the part of the name before the last `::`.
    pub fn area(&self) -> &'static str {
        self.name().rsplit_once("::").map_or("", |(area, _)| area)
    }

    /// Returns the law (`L14`) or the key of the rule (`nursery.first-error-cancels`).
    pub fn law(&self) -> &'static str {
        self.law
    }

    /// Returns where it comes from, as `trio test_run.py::test_nursery`, `divergence 3` or `design 4.4`; several are
    /// separated by commas.
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// Returns what is run.
    pub fn body(&self) -> Body {
        self.body
    }

    /// Returns what it may take, in real time.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns why the case is left out there, if it is.
    pub fn skipped(&self, host: &dyn Host, order: Order) -> Option<String> {
        if self.fifo && order != Order::Fifo {
            return Some("shows something of the default order".to_owned());
        }
        let Body::Backend(_) = self.body else { return None };
        if !host.has_subject() {
            return Some("has no backend of its own, its laws are proved in another row".to_owned());
        }
        (self.needs_driver && !host.has_driver()).then(|| "has no loop of its own, an executor drives it".to_owned())
    }
}

/// Returned by a case that cannot show anything on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Makes the error by which a case says that it cannot show anything on this machine, and why.
pub fn skip(reason: impl Into<String>) -> Error {
    Error::new(Skip(reason.into()))
}

/// `portable!(function, law, origin)`: an `async fn() -> trine::Result<()>`, under a virtual clock that jumps by itself.
macro_rules! portable {
    ($function:ident, $law:expr, $origin:expr) => {
        $crate::case::Case::new(
            concat!(module_path!(), "::", stringify!($function)),
            $law,
            $origin,
            $crate::case::Body::Portable(|| Box::pin($function())),
        )
    };
}

/// `real_time!(function, law, origin)`: as [`portable!`], under the machine's clock.
macro_rules! real_time {
    ($function:ident, $law:expr, $origin:expr) => {
        $crate::case::Case::new(
            concat!(module_path!(), "::", stringify!($function)),
            $law,
            $origin,
            $crate::case::Body::RealTime(|| Box::pin($function())),
        )
    };
}

/// `clocked!(function, law, origin)`: an `async fn(MockClock) -> trine::Result<()>`, whose clock stands still.
macro_rules! clocked {
    ($function:ident, $law:expr, $origin:expr) => {
        $crate::case::Case::new(
            concat!(module_path!(), "::", stringify!($function)),
            $law,
            $origin,
            $crate::case::Body::Clocked(|clock| Box::pin($function(clock))),
        )
    };
}

/// `on_host!(function, law, origin)`: a `fn(&dyn Host) -> trine::Result<()>`, which runs futures itself.
macro_rules! on_host {
    ($function:ident, $law:expr, $origin:expr) => {
        $crate::case::Case::new(
            concat!(module_path!(), "::", stringify!($function)),
            $law,
            $origin,
            $crate::case::Body::OnHost($function),
        )
    };
}

/// `backend!(function, law, origin)`: a `fn(&Subject<'_>) -> trine::Result<()>`, over the backend's traits.
macro_rules! backend {
    ($function:ident, $law:expr, $origin:expr) => {
        $crate::case::Case::new(
            concat!(module_path!(), "::", stringify!($function)),
            $law,
            $origin,
            $crate::case::Body::Backend($function),
        )
    };
}

#[allow(unused_imports, reason = "a case file takes those it needs")]
pub(crate) use {backend, clocked, on_host, portable, real_time};
