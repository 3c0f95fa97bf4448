//! The public contract, section by section: every name, written as a user writes it.
//!
//! What matters here is that it compiles: names and their shapes, bounds, `Send`, const constructors. Where a line can
//! run, it runs. How things behave is tested elsewhere (`tests/it`, the conformance suite).
#![allow(
    clippy::unit_arg,
    clippy::redundant_async_block,
    clippy::needless_question_mark,
    reason = "the tests write what users write"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod channels;
mod errors;
mod net;
mod nurseries;
mod running;
mod scopes;
mod sending;
mod sync;
mod time;
mod typed;

use std::fmt;

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn debug<T: fmt::Debug>() {}
fn is_clone<T: Clone>() {}
fn send_value<T: Send>(value: T) -> T {
    value
}

/// A future whose output is spelled out.
fn yields<T, F: Future<Output = T>>(fut: F) -> F {
    fut
}

/// The same, and `Send`.
fn yields_send<T, F: Future<Output = T> + Send>(fut: F) -> F {
    fut
}

/// An error that is only an error.
fn is_error<E: std::error::Error + Send + Sync + 'static>() {}

/// `not!(Send: T)` compiles only if `T` is not `Send`: else two impls apply.
macro_rules! not {
    ($bound:ident: $($t:ty),+ $(,)?) => {
        $(const _: fn() = || {
            trait Ambiguous<A> {
                fn some() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct If;
            impl<T: ?Sized + $bound> Ambiguous<If> for T {}
            let _ = <$t as Ambiguous<_>>::some;
        };)+
    };
}
use not;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Oops(u32);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}
