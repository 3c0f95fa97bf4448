//! The error tree: groups, and what can be asked of them.

use super::nursery_tools::{Oops, error_of, oopses};
use crate::case::{Case, portable};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use trine::{CancelScope, Error, Result, ResultExt, StartError, checkpoint, nursery};

pub(super) const CASES: &[Case] = &[
    portable!(group_of_one_is_a_group, "error.group", "design 5"),
    portable!(leaves_come_from_left_to_right, "error.leaves", "design 5"),
    portable!(find_looks_through_groups_and_sources, "error.find", "design 5"),
    portable!(downcast_takes_a_single_error_out, "error.downcast", "design 5"),
    portable!(downcast_of_a_group_of_two_gives_it_back, "error.downcast", "design 5"),
    portable!(split_keeps_the_nesting, "error.split", "design 5"),
    portable!(split_of_all_or_nothing_leaves_one_side_empty, "error.split", "design 5"),
    portable!(without_cancelled_keeps_the_rest_in_place, "error.without-cancelled", "design 5"),
    portable!(into_single_unwraps_groups_of_one, "error.into-single", "design 5"),
    portable!(text_of_a_tree_has_a_line_for_each_error, "error.text", "design 5"),
    portable!(tree_survives_io_error_and_box, "error.round-trip", "divergence 14"),
    portable!(single_error_survives_io_error_and_box, "error.round-trip", "divergence 14"),
    portable!(cause_of_an_error_is_kept_through_nurseries, "error.source", "divergence 14"),
    portable!(other_errors_come_in, "error.into-trine", "design 5"),
    portable!(very_deep_tree_is_handled_without_recursion, "error.deep", "design 5"),
];

fn group<const N: usize>(errors: [Error; N]) -> Error {
    Error::group(errors).expect("a group of some")
}

fn oops(number: u32) -> Error {
    Oops(number).into()
}

/// A cancellation, from a scope that is cancelled.
async fn cancelled() -> Result<Error> {
    let scope = CancelScope::new();
    scope.cancel();
    let kept = scope.run(async { Ok(Error::from(checkpoint().await.expect_err("cancelled"))) }).await?;
    Ok(kept.expect("nothing was caught"))
}

/// Has a source.
#[derive(Debug)]
struct Caused(Oops);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caused")
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

async fn group_of_one_is_a_group() -> Result<()> {
    assert!(Error::group([]).is_none());
    let one = group([oops(1)]);
    assert!(one.is_group());
    assert_eq!((one.errors().len(), one.to_string().as_str()), (1, "oops 1"));
    let leaf = oops(2);
    assert!(!leaf.is_group());
    assert_eq!((leaf.errors().len(), leaf.errors()[0].find::<Oops>()), (1, Some(&Oops(2))));
    Ok(())
}

async fn leaves_come_from_left_to_right() -> Result<()> {
    let tree = group([oops(1), group([oops(2), group([group([oops(3)]), oops(4)])]), oops(5)]);
    assert_eq!(oopses(&tree), [1, 2, 3, 4, 5]);
    assert_eq!((tree.errors().len(), tree.leaves().count()), (3, 5));
    Ok(())
}

async fn find_looks_through_groups_and_sources() -> Result<()> {
    let tree = group([Error::msg("first"), group([Caused(Oops(7)).into(), oops(8)])]);
    assert_eq!(tree.find::<Oops>(), Some(&Oops(7)));
    assert!(tree.find::<Caused>().is_some());
    assert!(tree.find::<io::Error>().is_none());
    let in_io = Error::from(io::Error::new(io::ErrorKind::NotFound, Oops(3)));
    assert_eq!(in_io.find::<Oops>(), Some(&Oops(3)));
    assert_eq!(in_io.find::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::NotFound));
    Ok(())
}

async fn downcast_takes_a_single_error_out() -> Result<()> {
    assert_eq!(oops(1).downcast::<Oops>().ok(), Some(Oops(1)));
    assert_eq!(group([group([oops(2)])]).downcast::<Oops>().ok(), Some(Oops(2)));
    let other = error_of(group([oops(3)]).downcast::<StartError>());
    assert_eq!((other.is_group(), oopses(&other)), (true, vec![3]));
    Ok(())
}

async fn downcast_of_a_group_of_two_gives_it_back() -> Result<()> {
    let whole = error_of(group([oops(1), oops(2)]).downcast::<Oops>());
    assert_eq!((whole.errors().len(), oopses(&whole)), (2, vec![1, 2]));
    Ok(())
}

async fn split_keeps_the_nesting() -> Result<()> {
    let tree = group([oops(1), group([oops(2), oops(3)]), group([group([oops(4)]), oops(5)])]);
    let (even, odd) = tree.split(|leaf| leaf.find::<Oops>().is_some_and(|oops| oops.0 % 2 == 0));
    let (even, odd) = (even.expect("some are even"), odd.expect("some are odd"));
    assert_eq!((oopses(&even), oopses(&odd)), (vec![2, 4], vec![1, 3, 5]));
    let depth = |error: &Error| {
        let mut at = error;
        std::iter::from_fn(|| at.is_group().then(|| at = &at.errors()[0])).count()
    };
    assert_eq!(even.errors().iter().map(depth).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(odd.errors().iter().map(depth).collect::<Vec<_>>(), [0, 1, 1]);
    Ok(())
}

async fn split_of_all_or_nothing_leaves_one_side_empty() -> Result<()> {
    let (all, none) = group([oops(1), group([oops(2)])]).split(|_| true);
    assert!(none.is_none() && all.is_some_and(|all| oopses(&all) == [1, 2] && all.errors()[1].is_group()));
    let (none, leaf) = oops(1).split(|_| false);
    assert!(none.is_none() && leaf.is_some_and(|leaf| !leaf.is_group()));
    Ok(())
}

async fn without_cancelled_keeps_the_rest_in_place() -> Result<()> {
    let tree = group([
        cancelled().await?,
        group([cancelled().await?, group([cancelled().await?])]),
        group([oops(1), cancelled().await?]),
    ]);
    assert!(tree.has_cancelled() && !tree.is_cancelled());
    let rest = tree.without_cancelled().expect("one is real");
    assert!(!rest.has_cancelled());
    let [inner] = rest.errors() else { panic!("empty groups should vanish: {rest}") };
    assert_eq!((inner.is_group(), oopses(inner)), (true, vec![1]));
    let nothing = group([cancelled().await?, group([cancelled().await?])]);
    assert!(nothing.is_cancelled() && nothing.without_cancelled().is_none());
    Ok(())
}

async fn into_single_unwraps_groups_of_one() -> Result<()> {
    let single = group([group([oops(1)])]).into_single();
    assert_eq!((single.is_group(), oopses(&single)), (false, vec![1]));
    let pair = group([group([oops(1), oops(2)])]).into_single();
    assert_eq!((pair.is_group(), pair.errors().len()), (true, 2));
    Ok(())
}

async fn text_of_a_tree_has_a_line_for_each_error() -> Result<()> {
    let tree = group([oops(1), group([oops(2), group([Caused(Oops(3)).into()])])]);
    let text = tree.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].contains("2 errors") && lines[1].contains("oops 1"), "{text}");
    let indent = |line: &str| line.len() - line.trim_start().len();
    assert!(indent(lines[3]) > indent(lines[1]) && lines[4].contains("caused"), "{text}");
    // The cause is for `Debug`.
    assert!(!text.contains("oops 3") && format!("{tree:?}").contains("oops 3"), "{tree:?}");
    Ok(())
}

fn as_io(error: Error) -> io::Result<()> {
    Err(error)?
}

fn as_box(error: Error) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
    Err(error)?
}

/// `?` in a function of another error type loses nothing.
async fn tree_survives_io_error_and_box() -> Result<()> {
    let tree = || group([oops(1), group([oops(2)])]);
    let through_io = Error::from(as_io(tree()).expect_err("an error"));
    let through_box = Error::from_boxed(as_box(tree()).expect_err("an error"));
    let through_both = Error::from_boxed(Box::new(as_io(tree()).expect_err("an error")));
    for again in [through_io, through_box, through_both] {
        assert_eq!((again.errors().len(), oopses(&again)), (2, vec![1, 2]));
        assert!(again.errors()[1].is_group());
    }
    Ok(())
}

async fn single_error_survives_io_error_and_box() -> Result<()> {
    let again = Error::from(as_io(oops(1)).expect_err("an error"));
    assert_eq!(again.find::<Oops>(), Some(&Oops(1)));
    assert!(as_box(oops(2)).expect_err("an error").is::<Oops>());
    let missing = Error::from(io::Error::from(io::ErrorKind::NotFound));
    assert_eq!(as_io(missing).expect_err("an error").kind(), io::ErrorKind::NotFound);
    Ok(())
}

async fn cause_of_an_error_is_kept_through_nurseries() -> Result<()> {
    let error = error_of(
        nursery(async |n| {
            n.start_soon(nursery(async |_| Err(Caused(Oops(9)).into())));
            Ok(())
        })
        .await,
    );
    let caused = error.find::<Caused>().expect("the error itself");
    let cause = caused.source().and_then(|cause| cause.downcast_ref::<Oops>());
    assert_eq!(cause, Some(&Oops(9)));
    assert_eq!(error.into_single().source().map(ToString::to_string).as_deref(), Some("oops 9"));
    Ok(())
}

async fn other_errors_come_in() -> Result<()> {
    let text: Result<()> = Err(String::from("text")).into_trine();
    assert_eq!(error_of(text).to_string(), "text");
    let boxed: Result<()> = as_box(group([oops(1), oops(2)])).into_trine();
    assert_eq!(oopses(&error_of(boxed)), [1, 2]);
    let parsed: Result<u32> = async { Ok("x".parse::<u32>()?) }.await;
    assert!(error_of(parsed).find::<std::num::ParseIntError>().is_some());
    Ok(())
}

async fn very_deep_tree_is_handled_without_recursion() -> Result<()> {
    let deep = || (0..50_000).fold(oops(1), |inner, _| group([inner]));
    assert_eq!((deep().to_string().as_str(), oopses(&deep())), ("oops 1", vec![1]));
    assert_eq!(deep().downcast::<Oops>().ok(), Some(Oops(1)));
    assert!(!deep().into_single().is_group());
    let (all, none) = deep().split(|_| true);
    assert!(all.is_some_and(|all| all.is_group()) && none.is_none());
    assert!(deep().without_cancelled().is_some() && !deep().has_cancelled());
    drop(deep());
    Ok(())
}
