//! `Display` and `Debug` of a tree:
//!
//! ```text
//! 2 errors:
//!   - cannot save the page
//!     caused by: disk full
//!   - 2 errors:
//!     - no route
//!     - cancelled
//! ```

use std::error::Error as StdError;
use std::fmt::{self, Formatter, Write};
use std::{iter, slice};

use super::Error;
use super::tree::Repr;

/// How much to show of a leaf.
#[derive(Clone, Copy)]
pub(super) enum Detail {
    /// Its `Display`.
    Text,
    /// Its `Display`, then its sources on the same line.
    Line,
    /// Its `Display`, then its sources on lines of their own.
    Lines,
    /// Its `Debug`.
    Fields,
}

impl Detail {
    /// What the `Display` of an error means by `f`.
    pub(super) fn display(f: &Formatter<'_>) -> Self {
        if f.alternate() { Detail::Line } else { Detail::Text }
    }

    /// What the `Debug` of an error means by `f`.
    pub(super) fn debug(f: &Formatter<'_>) -> Self {
        if f.alternate() { Detail::Fields } else { Detail::Lines }
    }
}

/// Draws the tree under `e`, without recursion.
pub(super) fn tree(e: &Error, detail: Detail, f: &mut Formatter<'_>) -> fmt::Result {
    members(slice::from_ref(e), detail, f)
}

/// Draws the group of `errors`, without recursion; of one, the member.
pub(super) fn members(errors: &[Error], detail: Detail, f: &mut Formatter<'_>) -> fmt::Result {
    let mut out = Indented { out: f, indent: 0, at_start: false };
    // The groups that are being drawn, each with the members that are left.
    let mut open: Vec<slice::Iter<'_, Error>> = Vec::new();
    let mut next = errors;
    loop {
        while let [Error(Repr::Group(group))] = next {
            next = group.errors();
        }
        match next {
            [only] => leaf(only.as_std(), detail, &mut out)?,
            several => {
                write!(out, "{} errors:", several.len())?;
                open.push(several.iter());
            }
        }
        next = loop {
            let Some(group) = open.last_mut() else {
                return Ok(());
            };
            match group.next() {
                Some(member) => break slice::from_ref(member),
                None => drop(open.pop()),
            }
        };
        out.indent = 2 * open.len();
        out.write_str("\n- ")?;
        out.indent += 2;
    }
}

fn leaf(e: &(dyn StdError + 'static), detail: Detail, out: &mut Indented<'_, '_>) -> fmt::Result {
    let mut sources = iter::successors(e.source(), |&e| e.source());
    match detail {
        Detail::Text => write!(out, "{e}"),
        Detail::Line => {
            write!(out, "{e}")?;
            sources.try_for_each(|source| write!(out, ": {source}"))
        }
        Detail::Lines => {
            write!(out, "{e}")?;
            sources.try_for_each(|source| write!(out, "\ncaused by: {source}"))
        }
        Detail::Fields => write!(out, "{e:#?}"),
    }
}

/// Puts spaces before each line but the first.
struct Indented<'a, 'f> {
    out: &'a mut Formatter<'f>,
    indent: usize,
    /// A line has begun, and has no text yet.
    at_start: bool,
}

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            if self.at_start && line != "\n" {
                write!(self.out, "{:1$}", "", self.indent)?;
            }
            self.out.write_str(line)?;
            self.at_start = line.ends_with('\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{App, Boom, Caused, cancelled};
    use super::*;

    fn group<const N: usize>(errors: [Error; N]) -> Error {
        Error::group(errors).unwrap()
    }

    fn tree() -> Error {
        group([Error::new(Caused::by(Boom(1))), group([Error::new(Boom(2)), group([Error::new(cancelled())])])])
    }

    #[test]
    fn leaf_displays_as_itself() {
        assert_eq!(Error::new(Boom(1)).to_string(), "boom 1");
        assert_eq!(format!("{:>8}", Error::msg("boom")), "    boom");
    }

    #[test]
    fn group_of_one_shows_its_member() {
        assert_eq!(group([group([Error::new(Boom(1))])]).to_string(), "boom 1");
        assert_eq!(group([Error::new(Boom(1))]).into_boxed().to_string(), "boom 1");
        assert_eq!(format!("{:?}", group([Error::new(Boom(1))])), "boom 1");
    }

    #[test]
    fn display_draws_the_tree() {
        let expected = "2 errors:\n  - request failed\n  - 2 errors:\n    - boom 2\n    - cancelled";
        assert_eq!(tree().to_string(), expected);
        assert_eq!(tree().into_boxed().to_string(), expected);
    }

    #[test]
    fn alternate_display_shows_sources_in_line() {
        let expected = "2 errors:\n  - request failed: boom 1\n  - 2 errors:\n    - boom 2\n    \
                        - cancelled: the deadline passed";
        assert_eq!(format!("{:#}", tree()), expected);
        assert_eq!(format!("{:#}", Error::new(Caused::by(Boom(1)))), "request failed: boom 1");
    }

    #[test]
    fn debug_shows_sources_on_lines() {
        let expected = "2 errors:\n  - request failed\n    caused by: boom 1\n  - 2 errors:\n    - boom 2\n    \
                        - cancelled\n      caused by: the deadline passed";
        assert_eq!(format!("{:?}", tree()), expected);
        assert_eq!(format!("{:?}", Error::new(Caused::by(Boom(1)))), "request failed\ncaused by: boom 1");
    }

    #[test]
    fn alternate_debug_shows_fields() {
        assert_eq!(format!("{:#?}", Error::new(Boom(1))), "Boom(\n    1,\n)");
        let two = group([Error::new(Boom(1)), Error::msg("two")]);
        assert_eq!(format!("{two:#?}"), "2 errors:\n  - Boom(\n        1,\n    )\n  - \"two\"");
    }

    #[test]
    fn lines_of_a_member_are_indented() {
        let two = group([Error::msg("one\n\nmore"), Error::msg("two")]);
        assert_eq!(two.to_string(), "2 errors:\n  - one\n\n    more\n  - two");
    }

    #[test]
    fn tree_below_a_wrapper_is_drawn() {
        let inner = group([Error::new(Boom(1)), Error::new(Boom(2))]);
        let wrapped = format!("{:?}", Error::new(App::Source(inner)));
        assert_eq!(wrapped, "the nursery failed\ncaused by: 2 errors:\n  - boom 1\n  - boom 2");
    }
}
