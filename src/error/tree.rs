//! [`Error`]: one error, or a tree of them.
//!
//! Invariants: a leaf holds neither a group nor a bare [`Cancelled`] (these have variants of their own), and its flag is
//! the cancellation rule applied when it was made. A group is not empty. Nothing here changes an error in place, so the
//! flags stay true, and asking costs the same for a tree of any size.
//!
//! A tree can be deep (nurseries in a recursion), so nothing here recurses over its levels.

use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::ops::Deref;
use std::{fmt, io, slice};

use super::Cancelled;
use super::convert::cast;
use super::draw::{self, Detail};
use super::group::{Group, Leaves};

/// Any error, or a tree of errors: what fails a task.
///
/// Every error that is `Send + Sync + 'static` turns into one with `?`, and can be had back with [`find`](Error::find) or
/// [`downcast`](Error::downcast). For `anyhow::Error`, boxed errors and strings there is
/// [`ResultExt::into_trine`](crate::ResultExt::into_trine).
///
/// A nursery fails with a *group*, also if only one of its tasks failed, and the members of a group may be groups again.
/// `find`, `downcast`, [`leaves`](Error::leaves) and `Display` look through groups.
///
/// Whether it is a cancellation ([`is_cancelled`](crate::is_cancelled)) is settled when the `Error` is made.
///
/// It does not implement [`std::error::Error`], as it could not turn all other errors into itself then, but it
/// dereferences to one, and [`into_boxed`](Error::into_boxed) makes one of it.
///
/// # Format
///
/// | | of a single error | of a group |
/// |---|---|---|
/// | `{}` | its `Display` | the tree, one leaf per line |
/// | `{:#}` | the same, then its sources, after colons | the tree, leaves as on the left |
/// | `{:?}` | the same, with the sources on lines of their own | the tree, leaves as on the left |
/// | `{:#?}` | its own `Debug` | the tree, leaves as on the left |
///
/// A group of one looks like its member.
///
/// # Examples
///
/// ```
/// use trine::Error;
///
/// let bad_port = "http".parse::<u16>().unwrap_err();
/// let tree = Error::group([Error::new(bad_port), Error::msg("no route")]).unwrap();
///
/// assert!(tree.find::<std::num::ParseIntError>().is_some());
/// assert_eq!(tree.to_string(), "2 errors:\n  - invalid digit found in string\n  - no route");
/// ```
pub struct Error(pub(super) Repr);

pub(super) enum Repr {
    /// Kept apart from other leaves so that to make it takes no allocation.
    Cancelled(Cancelled),
    /// Boxed twice, so that an `Error` takes two words: results are moved often, and errors made seldom.
    Leaf(Box<Leaf>),
    Group(Box<Group>),
}

pub(super) struct Leaf {
    cancelled: bool,
    error: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// Makes an error from any other.
    ///
    /// An `io::Error` that was made from a tree becomes that tree again.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// let e = Error::new(std::fmt::Error);
    ///
    /// assert!(e.downcast::<std::fmt::Error>().is_ok());
    /// ```
    pub fn new(e: impl StdError + Send + Sync + 'static) -> Self {
        Error::from(e)
    }

    /// Makes an error that shows `m` and has no source.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// let e = Error::msg("no such user");
    ///
    /// assert_eq!(e.to_string(), "no such user");
    /// ```
    pub fn msg(m: impl Display + Debug + Send + Sync + 'static) -> Self {
        Error(Repr::Leaf(Box::new(Leaf { cancelled: false, error: Box::new(Message(m)) })))
    }

    /// Makes an error from a boxed one. A box from [`into_boxed`](Error::into_boxed) becomes the tree that it was.
    pub fn from_boxed(e: Box<dyn StdError + Send + Sync>) -> Self {
        let e = match e.downcast::<Group>() {
            Ok(group) => return Error(Repr::Group(group)),
            Err(e) => e,
        };
        let e = match e.downcast::<Cancelled>() {
            Ok(e) => return Error(Repr::Cancelled(*e)),
            Err(e) => e,
        };
        match e.downcast::<io::Error>() {
            Ok(e) => Error::from(*e),
            Err(e) => Error::leaf(e),
        }
    }

    /// Turns a group into a box that holds the tree, and a single error into a box that holds just this error.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// assert!(Error::new(std::fmt::Error).into_boxed().is::<std::fmt::Error>());
    ///
    /// let tree = Error::group([Error::msg("one"), Error::msg("two")]).unwrap();
    /// let again = Error::from_boxed(tree.into_boxed());
    /// assert_eq!(again.errors().len(), 2);
    /// ```
    pub fn into_boxed(self) -> Box<dyn StdError + Send + Sync> {
        match self.0 {
            Repr::Cancelled(e) => Box::new(e),
            Repr::Leaf(leaf) => leaf.error,
            Repr::Group(group) => group,
        }
    }

    /// Makes a group of `errors`, also of one; of none, `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// assert!(Error::group([Error::msg("one")]).unwrap().is_group());
    /// assert!(Error::group([]).is_none());
    /// ```
    pub fn group(errors: impl IntoIterator<Item = Error>) -> Option<Self> {
        Group::new(errors.into_iter().collect()).map(|group| Error(Repr::Group(Box::new(group))))
    }

    /// Tells whether this is a group.
    pub fn is_group(&self) -> bool {
        matches!(self.0, Repr::Group(_))
    }

    /// Returns the members of a group; of a single error, this error.
    pub fn errors(&self) -> &[Error] {
        match &self.0 {
            Repr::Group(group) => group.errors(),
            _ => slice::from_ref(self),
        }
    }

    /// Returns the single errors of the tree, from left to right.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// let inner = Error::group([Error::msg("one"), Error::msg("two")]).unwrap();
    /// let outer = Error::group([inner, Error::msg("three")]).unwrap();
    ///
    /// assert_eq!(outer.leaves().map(|e| e.to_string()).collect::<Vec<_>>(), ["one", "two", "three"]);
    /// ```
    pub fn leaves(&self) -> impl Iterator<Item = &Error> {
        Leaves::new(slice::from_ref(self))
    }

    /// Tells whether this is nothing but a cancellation: all leaves of the tree are.
    pub fn is_cancelled(&self) -> bool {
        match &self.0 {
            Repr::Cancelled(_) => true,
            Repr::Leaf(leaf) => leaf.cancelled,
            Repr::Group(group) => group.is_cancelled(),
        }
    }

    /// Tells whether any leaf of the tree is a cancellation.
    pub fn has_cancelled(&self) -> bool {
        match &self.0 {
            Repr::Group(group) => group.has_cancelled(),
            _ => self.is_cancelled(),
        }
    }

    /// Returns the first `T` in the tree: the first leaf that is one, or was caused by one.
    ///
    /// What was caused by a tree is looked through too, and so is an `io::Error`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use trine::Error;
    ///
    /// let tree = Error::group([Error::msg("one"), Error::new(io::Error::other(std::fmt::Error))]).unwrap();
    ///
    /// assert_eq!(tree.find::<io::Error>().unwrap().kind(), io::ErrorKind::Other);
    /// assert!(tree.find::<std::fmt::Error>().is_some());
    /// assert!(tree.find::<std::num::ParseIntError>().is_none());
    /// ```
    pub fn find<T: StdError + 'static>(&self) -> Option<&T> {
        let mut open = vec![self.as_std()];
        while let Some(top) = open.pop() {
            let mut link = Some(top);
            while let Some(e) = link {
                if let Some(found) = e.downcast_ref() {
                    return Some(found);
                }
                if let Some(group) = e.downcast_ref::<Group>() {
                    open.extend(group.errors().iter().rev().map(Error::as_std));
                    break;
                }
                // `io::Error` skips what it wraps.
                link = match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                    Some(inner) => Some(inner),
                    None => e.source(),
                };
            }
        }
        None
    }

    /// Takes the `T` out, if this is one: a single error, or a chain of groups of one that ends in it.
    ///
    /// # Errors
    ///
    /// Returns the error unchanged if it is not a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use trine::Error;
    ///
    /// let e = Error::group([Error::new(std::fmt::Error)]).unwrap();
    ///
    /// assert!(e.downcast::<std::fmt::Error>().is_ok());
    /// ```
    pub fn downcast<T: StdError + 'static>(self) -> Result<T, Error> {
        if !self.single().is::<T>() {
            return Err(self);
        }
        match self.into_single().0 {
            Repr::Cancelled(e) => cast(e).map_err(Error::from),
            Repr::Leaf(leaf) => leaf.error.downcast().map(|e| *e).map_err(Error::leaf),
            Repr::Group(group) => Err(Error(Repr::Group(group))),
        }
    }

    /// Splits the tree in two: the leaves that `matches`, and the others.
    ///
    /// Both keep the nesting. A group that is left with no leaves vanishes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fmt;
    /// use trine::Error;
    ///
    /// let tree = Error::group([Error::new(fmt::Error), Error::msg("two")]).unwrap();
    /// let (expected, rest) = tree.split(|e| e.is::<fmt::Error>());
    ///
    /// assert!(expected.unwrap().find::<fmt::Error>().is_some());
    /// assert_eq!(rest.unwrap().to_string(), "two");
    /// ```
    pub fn split(self, mut matches: impl FnMut(&Error) -> bool) -> (Option<Error>, Option<Error>) {
        self.sort(|e| if e.is_group() { Side::Both } else { Side::of(matches(e)) })
    }

    /// Strips all cancellations from the tree, and returns what is left.
    pub fn without_cancelled(self) -> Option<Error> {
        let side = |e: &Error| match (e.is_cancelled(), e.has_cancelled()) {
            (false, true) => Side::Both,
            (all, _) => Side::of(all),
        };
        self.sort(side).1
    }

    /// Unwraps groups of one: returns the single error or the group of several that is inside.
    pub fn into_single(self) -> Error {
        let mut e = self;
        loop {
            match e.0 {
                Repr::Group(group) if group.errors().len() == 1 => e = group.into_errors().remove(0),
                _ => return e,
            }
        }
    }

    /// Makes a leaf and applies the cancellation rule to it. `error` is neither a [`Group`] nor a [`Cancelled`].
    pub(super) fn leaf(error: Box<dyn StdError + Send + Sync>) -> Self {
        Error(Repr::Leaf(Box::new(Leaf { cancelled: super::is_cancelled(&*error), error })))
    }

    /// Returns what is inside of groups of one.
    pub(super) fn single(&self) -> &Error {
        let mut e = self;
        while let Repr::Group(group) = &e.0 {
            match group.errors() {
                [only] => e = only,
                _ => break,
            }
        }
        e
    }

    pub(super) fn as_std(&self) -> &(dyn StdError + 'static) {
        &**self
    }

    /// Deals the tree out to two sides, from left to right. `side` may say [`Side::Both`] only of a group.
    fn sort(self, mut side: impl FnMut(&Error) -> Side) -> (Option<Error>, Option<Error>) {
        let mut open: Vec<Sorting> = Vec::new();
        let mut e = self;
        loop {
            let mut sorted = match (side(&e), e) {
                (Side::Both, Error(Repr::Group(group))) => {
                    open.push(Sorting { rest: group.into_errors().into_iter(), left: Vec::new(), right: Vec::new() });
                    (None, None)
                }
                (Side::Left, e) => (Some(e), None),
                (_, e) => (None, Some(e)),
            };
            // Hands the result up, and goes on with the next member that waits.
            e = loop {
                let Some(group) = open.last_mut() else {
                    return sorted;
                };
                group.left.extend(sorted.0);
                group.right.extend(sorted.1);
                if let Some(next) = group.rest.next() {
                    break next;
                }
                sorted = open.pop().map_or((None, None), |done| (Error::group(done.left), Error::group(done.right)));
            };
        }
    }
}

/// Where a part of the tree goes.
enum Side {
    Left,
    Right,
    /// Some of the group's members go left, some right.
    Both,
}

impl Side {
    fn of(left: bool) -> Self {
        if left { Side::Left } else { Side::Right }
    }
}

/// A group that is being dealt out.
struct Sorting {
    rest: std::vec::IntoIter<Error>,
    left: Vec<Error>,
    right: Vec<Error>,
}

impl Deref for Error {
    type Target = dyn StdError + Send + Sync;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Repr::Cancelled(e) => e,
            Repr::Leaf(leaf) => &*leaf.error,
            Repr::Group(group) => &**group,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            e if e.is_group() || f.alternate() => draw::tree(e, Detail::display(f), f),
            e => Display::fmt(&**e, f),
        }
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw::tree(self.single(), Detail::debug(f), f)
    }
}

/// The error that [`Error::msg`] makes of something that is none.
struct Message<M>(M);

impl<M: Display> Display for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Debug> Debug for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Display + Debug> StdError for Message<M> {}

#[cfg(test)]
mod tests {
    use super::super::JoinError;
    use super::super::sample::{App, Boom, Caused, Transparent, cancelled};
    use super::*;

    fn boom(n: u32) -> Error {
        Error::new(Boom(n))
    }

    fn stop() -> Error {
        Error::new(cancelled())
    }

    fn group<const N: usize>(errors: [Error; N]) -> Error {
        Error::group(errors).unwrap()
    }

    /// The shape of the tree, as text.
    fn shape(e: &Error) -> String {
        if e.is_group() {
            format!("[{}]", e.errors().iter().map(shape).collect::<Vec<_>>().join(" "))
        } else {
            e.find::<Boom>().map_or("c".into(), |b| b.0.to_string())
        }
    }

    fn assert_shape(e: Option<Error>, expected: &str) {
        assert_eq!(e.as_ref().map_or("none".into(), shape), expected);
    }

    #[test]
    fn error_takes_two_words() {
        assert!(size_of::<Error>() <= 16);
        assert!(size_of::<Option<Error>>() <= 16);
        assert!(size_of::<Result<(), Error>>() <= 16);
    }

    #[test]
    fn error_crosses_threads() {
        fn check<T: Send + Sync + Unpin + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn cancelled_needs_no_box() {
        assert!(matches!(stop().0, Repr::Cancelled(_)));
        assert!(matches!(Error::from_boxed(Box::new(cancelled())).0, Repr::Cancelled(_)));
    }

    #[test]
    fn rule_is_applied_when_the_error_is_made() {
        assert!(stop().is_cancelled());
        assert!(Error::new(JoinError::Cancelled(cancelled())).is_cancelled());
        assert!(Error::new(Caused::by(cancelled())).is_cancelled());
        assert!(Error::new(Transparent(Box::new(cancelled()))).is_cancelled());
        assert!(Error::new(io::Error::other(Caused::by(cancelled()))).is_cancelled());
        assert!(Error::from_boxed(Box::new(Caused::by(cancelled()))).is_cancelled());
        assert!(!boom(1).is_cancelled());
        assert!(!Error::msg(cancelled()).is_cancelled());
    }

    #[test]
    fn group_is_cancelled_iff_all_leaves_are() {
        let all = group([stop(), group([stop(), Error::new(Caused::by(cancelled()))])]);
        assert!(all.is_cancelled() && all.has_cancelled());
        let some = group([boom(1), group([stop(), boom(2)])]);
        assert!(!some.is_cancelled() && some.has_cancelled());
        let none = group([boom(1), group([boom(2)])]);
        assert!(!none.is_cancelled() && !none.has_cancelled());
    }

    #[test]
    fn wrapped_error_counts_as_a_whole() {
        for wrap in [App::Source, App::Transparent] {
            assert!(Error::new(wrap(stop())).is_cancelled());
            assert!(Error::new(wrap(group([stop(), stop()]))).is_cancelled());
            assert!(!Error::new(wrap(group([stop(), boom(1)]))).has_cancelled());
            assert!(!Error::new(wrap(group([group([stop(), boom(1)])]))).has_cancelled());
            assert!(!Error::new(wrap(group([boom(1), stop()]))).has_cancelled());
        }
    }

    #[test]
    fn group_of_none_is_none() {
        assert!(Error::group([]).is_none());
    }

    #[test]
    fn errors_of_a_leaf_is_itself() {
        assert_eq!(boom(1).errors().len(), 1);
        assert_shape(Some(group([boom(1), boom(2)])), "[1 2]");
    }

    #[test]
    fn leaves_come_from_left_to_right() {
        let tree = group([group([boom(1), group([boom(2)])]), boom(3), group([boom(4)])]);
        let found: Vec<_> = tree.leaves().map(|e| e.find::<Boom>().unwrap().0).collect();
        assert_eq!(found, [1, 2, 3, 4]);
        assert_eq!(boom(1).leaves().count(), 1);
    }

    #[test]
    fn find_looks_through_groups_and_causes() {
        let tree = group([stop(), group([Error::new(Caused::by(Boom(1))), boom(2)])]);
        assert_eq!(tree.find::<Boom>(), Some(&Boom(1)));
        assert!(tree.find::<Cancelled>().is_some());
        assert!(tree.find::<io::Error>().is_none());
    }

    #[test]
    fn find_looks_into_io_errors_and_wrapped_trees() {
        assert_eq!(Error::new(io::Error::other(Boom(1))).find::<Boom>(), Some(&Boom(1)));
        let wrapped = Error::new(App::Source(group([stop(), boom(2)])));
        assert_eq!(wrapped.find::<Boom>(), Some(&Boom(2)));
    }

    #[test]
    fn downcast_takes_a_leaf_out_of_groups_of_one() {
        assert_eq!(boom(1).downcast::<Boom>().unwrap(), Boom(1));
        assert_eq!(group([group([boom(2)])]).downcast::<Boom>().unwrap(), Boom(2));
        assert!(group([stop()]).downcast::<Cancelled>().is_ok());
    }

    #[test]
    fn failed_downcast_gives_the_error_back() {
        assert_shape(group([group([boom(1)])]).downcast::<io::Error>().err(), "[[1]]");
        assert_shape(group([boom(1), boom(1)]).downcast::<Boom>().err(), "[1 1]");
        assert_shape(stop().downcast::<Boom>().err(), "c");
    }

    #[test]
    fn split_keeps_the_nesting() {
        let tree = group([boom(1), group([boom(2), group([boom(3)])]), group([boom(5), boom(6)]), boom(4)]);
        let (even, odd) = tree.split(|e| e.find::<Boom>().unwrap().0 % 2 == 0);
        assert_shape(even, "[[2] [6] 4]");
        assert_shape(odd, "[1 [[3]] [5]]");
    }

    #[test]
    fn split_asks_about_each_leaf_once_in_order() {
        let mut asked = Vec::new();
        let _ = group([group([boom(1), boom(2)]), boom(3)]).split(|e| {
            asked.push(e.find::<Boom>().unwrap().0);
            true
        });
        assert_eq!(asked, [1, 2, 3]);
    }

    #[test]
    fn split_of_a_leaf_puts_it_on_one_side() {
        let (yes, no) = boom(1).split(|_| true);
        assert_shape(yes, "1");
        assert_shape(no, "none");
    }

    #[test]
    fn without_cancelled_strips_every_cancelled_leaf() {
        let tree = group([stop(), group([stop(), boom(1)]), group([stop()]), boom(2), group([boom(3), boom(4)])]);
        assert_shape(tree.without_cancelled(), "[[1] 2 [3 4]]");
        assert_shape(group([stop(), group([stop()])]).without_cancelled(), "none");
        assert_shape(stop().without_cancelled(), "none");
        assert_shape(boom(1).without_cancelled(), "1");
    }

    #[test]
    fn into_single_unwraps_groups_of_one() {
        assert_shape(Some(group([group([boom(1)])]).into_single()), "1");
        assert_shape(Some(group([group([boom(1), group([boom(2)])])]).into_single()), "[1 [2]]");
    }

    #[test]
    fn box_of_a_leaf_is_the_leaf() {
        assert!(boom(1).into_boxed().is::<Boom>());
        assert!(stop().into_boxed().is::<Cancelled>());
    }

    #[test]
    fn deref_gives_the_error_and_its_source() {
        let e = Error::new(Caused::by(Boom(1)));
        assert_eq!(e.source().unwrap().to_string(), "boom 1");
        assert!(boom(1).is::<Boom>());
    }

    #[test]
    fn deep_tree_needs_no_deep_stack() {
        let deep = || (0..50_000).fold(group([boom(1), stop()]), |e, _| group([e]));
        let run = move || {
            drop(deep());
            let tree = deep();
            assert!(tree.has_cancelled() && !tree.is_cancelled());
            assert!(tree.find::<Boom>().is_some());
            assert_eq!(tree.leaves().count(), 2);
            assert_eq!(tree.to_string(), "2 errors:\n  - boom 1\n  - cancelled");
            assert!(tree.source().is_none());
            let (yes, no) = tree.split(Error::is_cancelled);
            assert!(yes.unwrap().source().is_some());
            drop(no);
            let left = deep().without_cancelled().unwrap();
            assert_eq!(format!("{left:?}"), "boom 1");
            assert_eq!(left.downcast::<Boom>().unwrap(), Boom(1));
        };
        std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap();
    }
}
