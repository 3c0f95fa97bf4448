//! The ways into [`Error`] and out of it.
//!
//! A tree survives the way through a box, an `io::Error` and an `anyhow::Error`: what goes out is the group itself, and
//! what comes in is looked at for it.

use std::any::Any;
use std::error::Error as StdError;
use std::io;

use super::group::Group;
use super::tree::Repr;
use super::{Cancelled, Error, Result};

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(e: E) -> Self {
        let e = match cast(e) {
            Ok(cancelled) => return Error(Repr::Cancelled(cancelled)),
            Err(e) => e,
        };
        match cast(e) {
            Ok(e) => from_io(e),
            Err(e) => Error::leaf(Box::new(e)),
        }
    }
}

/// Undoes `io::Error::from(Error)` and `io::Error::from(Cancelled)`; any other `io::Error` becomes a leaf.
fn from_io(e: io::Error) -> Error {
    let is_wrapper = e
        .get_ref()
        .is_some_and(|inner| inner.is::<Group>() || (inner.is::<Cancelled>() && e.kind() == io::ErrorKind::Other));
    if !is_wrapper {
        return Error::leaf(Box::new(e));
    }
    match e.into_inner() {
        Some(inner) => Error::from_boxed(inner),
        None => unreachable!("an io::Error lost what it wraps"),
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(e: Error) -> Self {
        e.into_boxed()
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(e: Error) -> Self {
        e.into_boxed()
    }
}

impl From<Error> for io::Error {
    /// An `io::Error` becomes itself again. Of others the kind is `Other`, but a group of one has the kind of its member.
    fn from(e: Error) -> Self {
        let kind = e.single().downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind);
        match e.into_boxed().downcast::<io::Error>() {
            Ok(e) => *e,
            Err(e) => io::Error::new(kind, e),
        }
    }
}

impl From<Cancelled> for io::Error {
    /// The kind is `Other`: what is `Interrupted` is tried again, by `read_exact` and its kin.
    fn from(e: Cancelled) -> Self {
        io::Error::other(e)
    }
}

#[cfg(feature = "anyhow")]
impl From<Error> for anyhow::Error {
    /// The leaves of a tree, and any error that had been boxed, are to be looked for with [`Error::find`], after
    /// [`into_trine`](ResultExt::into_trine), rather than with anyhow's `downcast`.
    fn from(e: Error) -> Self {
        match e.0 {
            Repr::Cancelled(e) => anyhow::Error::new(e),
            Repr::Group(group) => anyhow::Error::new(*group),
            Repr::Leaf(leaf) => anyhow::Error::from_boxed(Error(Repr::Leaf(leaf)).into_boxed()),
        }
    }
}

/// Undoes `anyhow::Error::from(Error)`. What anyhow was given first is kept in its own type; a backtrace is lost.
#[cfg(feature = "anyhow")]
fn from_anyhow(e: anyhow::Error) -> Error {
    match e.downcast::<Box<dyn StdError + Send + Sync>>() {
        Ok(boxed) => Error::from_boxed(boxed),
        Err(e) => Error::from_boxed(e.reallocate_into_boxed_dyn_error_without_backtrace()),
    }
}

/// Brings errors that are no [`std::error::Error`] into an [`Error`]: `anyhow::Error`, `eyre::Report`,
/// `Box<dyn Error + Send + Sync>`, `String`.
///
/// # Examples
///
/// ```
/// use trine::ResultExt;
///
/// fn check(name: &str) -> Result<(), String> {
///     if name.is_empty() { Err("the name is empty".to_owned()) } else { Ok(()) }
/// }
///
/// fn register(name: &str) -> trine::Result<()> {
///     check(name).into_trine()?;
///     Ok(())
/// }
///
/// assert_eq!(register("").unwrap_err().to_string(), "the name is empty");
/// ```
pub trait ResultExt<T> {
    /// Turns the error into an [`Error`]. A tree that was boxed is a tree again.
    ///
    /// # Errors
    ///
    /// Returns the error of `self`, as an [`Error`].
    fn into_trine(self) -> Result<T>;
}

impl<T, E> ResultExt<T> for std::result::Result<T, E>
where
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
{
    fn into_trine(self) -> Result<T> {
        self.map_err(|e| {
            #[cfg(feature = "anyhow")]
            let e = match cast(e) {
                Ok(e) => return from_anyhow(e),
                Err(e) => e,
            };
            Error::from_boxed(e.into())
        })
    }
}

/// Returns `value` as a `T`, if it is one. Which of both is known when this is compiled.
pub(super) fn cast<E: 'static, T: 'static>(value: E) -> std::result::Result<T, E> {
    let mut slot = Some(value);
    if let Some(same) = (&mut slot as &mut dyn Any).downcast_mut::<Option<T>>() {
        return Ok(same.take().expect("the slot was just filled"));
    }
    Err(slot.expect("the slot was just filled"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Boom, Caused, cancelled};
    use super::*;

    fn tree() -> Error {
        let inner = Error::group([Error::new(cancelled()), Error::new(Boom(2))]);
        Error::group([Error::new(Boom(1))].into_iter().chain(inner)).unwrap()
    }

    fn assert_is_tree(e: Error) {
        assert_eq!(e.errors().len(), 2);
        assert_eq!(e.errors()[1].errors().len(), 2);
        assert!(e.has_cancelled());
    }

    fn fails<E>(e: impl Into<E>) -> std::result::Result<(), E> {
        Err(e.into())
    }

    #[test]
    fn question_mark_converts_any_error() {
        fn run() -> Result<()> {
            fails::<Boom>(Boom(1))?;
            Ok(())
        }
        assert_eq!(run().unwrap_err().find::<Boom>(), Some(&Boom(1)));
    }

    #[test]
    fn question_mark_converts_into_boxes_and_io() {
        fn boxed() -> std::result::Result<(), Box<dyn StdError>> {
            Ok(fails::<Error>(Boom(1))?)
        }
        fn sendable() -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
            Ok(fails::<Error>(Boom(1))?)
        }
        fn io() -> io::Result<()> {
            Ok(fails::<Error>(Boom(1))?)
        }
        assert!(boxed().unwrap_err().is::<Boom>());
        assert!(sendable().unwrap_err().is::<Boom>());
        assert!(io().unwrap_err().get_ref().unwrap().is::<Boom>());
    }

    #[test]
    fn tree_survives_a_box() {
        assert_is_tree(Error::from_boxed(tree().into_boxed()));
        assert_is_tree(fails::<Box<dyn StdError + Send + Sync>>(tree()).into_trine().unwrap_err());
        assert_is_tree(fails::<Error>(tree()).into_trine().unwrap_err());
    }

    #[test]
    fn tree_survives_an_io_error() {
        assert_is_tree(Error::new(io::Error::from(tree())));
        assert_is_tree(Error::new(io::Error::other(tree())));
        assert_is_tree(Error::from_boxed(Box::new(io::Error::from(tree()))));
    }

    #[test]
    fn io_error_survives_an_error() {
        let there = Error::new(io::Error::new(io::ErrorKind::NotFound, Boom(1)));
        let back = io::Error::from(there);
        assert_eq!(back.kind(), io::ErrorKind::NotFound);
        assert!(back.get_ref().unwrap().is::<Boom>());
    }

    #[test]
    fn group_of_one_keeps_the_io_kind_and_the_tree() {
        let one = Error::group([Error::new(io::Error::from(io::ErrorKind::NotFound))]).unwrap();
        let e = io::Error::from(one);
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(Error::new(e).is_group());
    }

    #[test]
    fn cancelled_makes_an_io_error_of_kind_other() {
        for e in [io::Error::from(cancelled()), io::Error::from(Error::new(cancelled()))] {
            assert_eq!(e.kind(), io::ErrorKind::Other);
            assert!(crate::error::is_cancelled(&e));
            assert!(matches!(Error::new(e).0, Repr::Cancelled(_)));
        }
    }

    #[test]
    fn io_error_of_another_kind_keeps_it() {
        let e = Error::new(io::Error::new(io::ErrorKind::TimedOut, cancelled()));
        assert!(e.is_cancelled());
        assert_eq!(e.find::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
        assert!(e.find::<Cancelled>().is_some());
    }

    #[test]
    fn into_trine_takes_strings_and_boxes() {
        assert_eq!(fails::<String>("no").into_trine().unwrap_err().to_string(), "no");
        assert_eq!(fails::<&'static str>("no").into_trine().unwrap_err().to_string(), "no");
        let boxed = fails::<Box<dyn StdError + Send + Sync>>(Boom(1)).into_trine().unwrap_err();
        assert_eq!(boxed.downcast::<Boom>().unwrap(), Boom(1));
        let wrapped = fails::<Box<dyn StdError + Send + Sync>>(Caused::by(cancelled()));
        assert!(wrapped.into_trine().unwrap_err().is_cancelled());
    }

    #[cfg(feature = "anyhow")]
    mod anyhow {
        use ::anyhow::Context;

        use super::*;

        #[test]
        fn tree_survives_anyhow() {
            assert_is_tree(fails::<::anyhow::Error>(tree()).into_trine().unwrap_err());
            let boxed = ::anyhow::Error::from_boxed(tree().into_boxed());
            assert_is_tree(fails::<::anyhow::Error>(boxed).into_trine().unwrap_err());
        }

        #[test]
        fn leaf_survives_anyhow() {
            for e in [::anyhow::Error::new(Boom(1)), ::anyhow::Error::from(Error::new(Boom(1)))] {
                let e = fails::<::anyhow::Error>(e).into_trine().unwrap_err();
                assert_eq!(e.downcast::<Boom>().unwrap(), Boom(1));
            }
        }

        #[test]
        fn question_mark_converts_into_anyhow() {
            fn run() -> ::anyhow::Result<()> {
                Ok(fails::<Error>(cancelled())?)
            }
            assert!(run().unwrap_err().is::<Cancelled>());
        }

        #[test]
        fn cancelled_is_seen_through_context() {
            let e = fails::<Cancelled>(cancelled()).context("reading").context("serving");
            let e = e.into_trine().unwrap_err();
            assert!(e.is_cancelled());
            assert!(e.find::<Cancelled>().is_some());
            let e = fails::<Error>(Error::group([Error::new(cancelled())]).unwrap());
            let e = e.map_err(::anyhow::Error::from).context("serving").into_trine().unwrap_err();
            assert!(e.is_cancelled());
        }
    }
}
