//! Errors: one concrete [`Error`] that can hold a tree, [`Cancelled`], and the small errors of nurseries and runs.
//!
//! The cancellation rule, applied everywhere: *an error is a cancellation iff a [`Cancelled`] is in its `source()` chain,
//! itself included*. Wrappers that skip what they wrap (`io::Error`, thiserror's `transparent`) show the source of what
//! they wrap instead, so [`Cancelled`] has one, a private cause, and that counts too. A group that is wrapped shows
//! the cause iff its whole tree is cancelled.
//!
//! | file | holds |
//! |---|---|
//! | `cancelled` | [`Cancelled`] and its cause |
//! | `reason` | [`Reason`], in one word |
//! | `tree` | [`Error`]: what it is made of, and how it is looked at and taken apart |
//! | `group` | the group, as an error of its own: what a boxed tree is |
//! | `convert` | the ways into [`Error`] and out of it |
//! | `draw` | `Display` and `Debug` |
//! | `kinds` | the small errors |
//! | `task_error` | [`TaskError`], what a typed nursery asks of its error |

mod cancelled;
mod convert;
mod draw;
mod group;
mod kinds;
#[expect(unsafe_code, reason = "a constant or a counted pointer in one word")]
mod reason;
#[cfg(test)]
mod sample;
mod task_error;
mod tree;

use std::error::Error as StdError;
use std::iter;

pub use cancelled::Cancelled;
pub use convert::ResultExt;
pub use kinds::{Closed, JoinError, RunFinished, StartError, TooSlow, WouldBlock};
pub use reason::{Reason, ReasonKind};
pub use task_error::TaskError;
pub use tree::Error;

/// The result of trine's functions: the standard one, with [`Error`] unless another error is named.
///
/// # Examples
///
/// ```
/// fn port(text: &str) -> trine::Result<u16> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(port("80").unwrap(), 80);
/// assert!(port("http").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Tells whether `e` is a cancellation: whether a [`Cancelled`] is in its `source()` chain, itself included.
///
/// This is the rule that scopes, nurseries and [`Error`] go by, and what [`TaskError::is_cancelled`] should call. An
/// error that holds a tree of errors is a cancellation only if the whole tree is. An error that replaces a
/// [`Cancelled`] rather than wrap it (`map_err(|_| Mine)`, `to_string()`) is none: that is the way to opt out.
///
/// # Examples
///
/// ```
/// let e = std::io::Error::other("connection lost");
///
/// assert!(!trine::is_cancelled(&e));
/// ```
pub fn is_cancelled(e: &(dyn StdError + 'static)) -> bool {
    iter::successors(Some(e), |&e| e.source()).any(cancelled::is_mark)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::sample::{Boom, Caused, Transparent, cancelled};
    use super::*;

    #[test]
    fn cancelled_is_a_cancellation() {
        assert!(is_cancelled(&cancelled()));
    }

    #[test]
    fn ordinary_error_is_no_cancellation() {
        assert!(!is_cancelled(&Boom(1)));
        assert!(!is_cancelled(&io::Error::from(io::ErrorKind::NotFound)));
        assert!(!is_cancelled(&Caused::by(Boom(1))));
    }

    #[test]
    fn cancelled_is_seen_in_a_source_chain() {
        assert!(is_cancelled(&Caused::by(Caused::by(cancelled()))));
        assert!(is_cancelled(&JoinError::Cancelled(cancelled())));
    }

    #[test]
    fn cancelled_is_seen_behind_wrappers_that_skip_it() {
        assert!(is_cancelled(&io::Error::other(cancelled())));
        assert!(is_cancelled(&Transparent(Box::new(cancelled()))));
        assert!(is_cancelled(&io::Error::other(Transparent(Box::new(io::Error::other(cancelled()))))));
    }

    #[test]
    fn wrapped_tree_is_a_cancellation_iff_all_of_it_is() {
        let all = || Error::group([Error::new(cancelled()), Error::new(io::Error::other(cancelled()))]).unwrap();
        let some = || Error::group([Error::new(cancelled()), Error::new(Boom(1))]).unwrap();
        type Wrap = fn(Error) -> Box<dyn StdError + Send + Sync>;
        let wraps: [Wrap; 6] = [
            Error::into_boxed,
            |e| Box::new(io::Error::from(e)),
            |e| Box::new(io::Error::other(e)),
            |e| Box::new(Transparent(e.into_boxed())),
            |e| Box::new(Caused(e.into_boxed())),
            |e| Error::group([e]).unwrap().into_boxed(),
        ];
        for wrap in wraps {
            assert!(is_cancelled(&*wrap(all())));
            assert!(!is_cancelled(&*wrap(some())));
        }
    }

    #[test]
    fn error_that_replaces_a_cancelled_is_ordinary() {
        assert!(!is_cancelled(&io::Error::other(cancelled().to_string())));
    }
}
