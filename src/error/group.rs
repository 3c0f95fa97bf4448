//! The group of an error tree, as an error of its own: what [`Error`] dereferences to, and what a boxed tree is.
//!
//! A group of one passes for its member: it shows the member's text and the member's source.

use std::error::Error as StdError;
use std::{fmt, mem, slice};

use super::Error;
use super::draw::{self, Detail};
use super::tree::Repr;

pub(super) struct Group {
    /// Not empty, but for a moment in `drop` and `into_errors`.
    errors: Vec<Error>,
    /// All leaves are cancellations.
    is_cancelled: bool,
    /// Some leaf is a cancellation.
    has_cancelled: bool,
}

impl Group {
    pub(super) fn new(errors: Vec<Error>) -> Option<Self> {
        let is_cancelled = errors.iter().all(Error::is_cancelled);
        let has_cancelled = errors.iter().any(Error::has_cancelled);
        (!errors.is_empty()).then_some(Group { errors, is_cancelled, has_cancelled })
    }

    pub(super) fn into_errors(mut self) -> Vec<Error> {
        mem::take(&mut self.errors)
    }

    pub(super) fn errors(&self) -> &[Error] {
        &self.errors
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    pub(super) fn has_cancelled(&self) -> bool {
        self.has_cancelled
    }
}

impl StdError for Group {
    /// Returns the source of the only member. A group of several has one only if it is a cancellation: then that of
    /// the first, which leads to the cause.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let mut group = self;
        loop {
            let first = match &group.errors[..] {
                [only] => only,
                [first, ..] if group.is_cancelled => first,
                _ => return None,
            };
            match &first.0 {
                Repr::Group(inner) => group = inner,
                _ => return first.source(),
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw::members(&self.errors, Detail::display(f), f)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw::members(&self.errors, Detail::debug(f), f)
    }
}

impl Drop for Group {
    /// Takes the tree apart group by group, where the compiler's way would recurse.
    fn drop(&mut self) {
        if !self.errors.iter().any(Error::is_group) {
            return;
        }
        let mut rest = mem::take(&mut self.errors);
        while let Some(e) = rest.pop() {
            if let Repr::Group(mut group) = e.0 {
                rest.append(&mut group.errors);
            }
        }
    }
}

/// The single errors of a tree, from left to right.
pub(super) struct Leaves<'a> {
    /// The groups that are gone through, each with the members that are left.
    open: Vec<slice::Iter<'a, Error>>,
}

impl<'a> Leaves<'a> {
    pub(super) fn new(errors: &'a [Error]) -> Self {
        Leaves { open: vec![errors.iter()] }
    }
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a Error;

    fn next(&mut self) -> Option<&'a Error> {
        while let Some(group) = self.open.last_mut() {
            match group.next() {
                Some(Error(Repr::Group(inner))) => self.open.push(inner.errors.iter()),
                Some(leaf) => return Some(leaf),
                None => drop(self.open.pop()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Cancelled;
    use super::super::sample::{Boom, Caused, cancelled};
    use super::*;

    fn boxed<const N: usize>(errors: [Error; N]) -> Box<dyn StdError + Send + Sync> {
        Error::group(errors).unwrap().into_boxed()
    }

    #[test]
    fn group_of_one_has_the_source_of_its_member() {
        let inner = Error::group([Error::new(Caused::by(Boom(1)))]).unwrap();
        assert_eq!(boxed([inner]).source().unwrap().to_string(), "boom 1");
    }

    #[test]
    fn group_of_several_has_a_source_iff_it_is_a_cancellation() {
        assert!(boxed([Error::new(Caused::by(Boom(1))), Error::new(Boom(2))]).source().is_none());
        assert!(boxed([Error::new(cancelled()), Error::new(Boom(2))]).source().is_none());
        let wrapped = Error::new(Caused::by(cancelled()));
        assert!(boxed([wrapped, Error::new(cancelled())]).source().unwrap().is::<Cancelled>());
        let shown = boxed([Error::new(cancelled()), Error::new(cancelled())]);
        assert_eq!(shown.source().unwrap().to_string(), "the deadline passed");
    }

    #[test]
    fn every_member_is_dropped() {
        #[derive(Debug)]
        struct Counted(#[expect(dead_code)] Arc<()>);
        impl fmt::Display for Counted {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Ok(())
            }
        }
        impl StdError for Counted {}

        let count = Arc::new(());
        let leaf = || Error::new(Counted(count.clone()));
        let inner = Error::group([leaf(), leaf()]).unwrap();
        drop(Error::group([leaf(), inner, leaf()]));
        drop(Error::group([leaf()]).unwrap().into_single());
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
