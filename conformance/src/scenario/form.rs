//! The canonical form of errors (section 5): what traces print and handlers match.

use serde::{Deserialize, Serialize};
use std::fmt;
use trine::channel::{RecvError, SendError, TryRecvError, TrySendErrorKind};
use trine::sync::LockError;
use trine::{Closed, Error, StartError, TooSlow, WouldBlock};

/// Name of the leaf that stands for any number of cancellations.
const CANCELLED: &str = "Cancelled";

/// An error's canonical form: the name of a leaf, or a sorted group of forms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Form {
    /// One error, or `ok`, or `deadlock`.
    Leaf(String),
    /// What left a nursery; canonical if made by [`Form::group`].
    Group(Vec<Form>),
}

impl Form {
    /// What is printed where there was no error.
    #[must_use]
    pub fn ok() -> Self {
        Self::Leaf("ok".to_owned())
    }

    /// The outcome of a program in which nothing can ever happen again.
    #[must_use]
    pub fn deadlock() -> Self {
        Self::Leaf("deadlock".to_owned())
    }

    /// The form of an error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        if error.is_group() { Self::group(error.errors().iter().map(Self::of)) } else { Self::Leaf(leaf_name(error)) }
    }

    /// The form of a result: `ok`, or that of the error.
    #[must_use]
    pub fn of_result<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::ok(),
            Err(error) => Self::of(error),
        }
    }

    /// The canonical group of these forms: cancellations merged, sorted by compact JSON text.
    #[must_use]
    pub fn group(members: impl IntoIterator<Item = Form>) -> Self {
        let (cancelled, mut members): (Vec<_>, Vec<_>) = members.into_iter().partition(Self::is_cancelled);
        if let Some(one) = cancelled.into_iter().next() {
            if members.is_empty() {
                return one;
            }
            members.push(one);
        }
        members.sort_by_cached_key(Self::to_string);
        Self::Group(members)
    }

    /// Is there nothing but cancellation in it?
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Leaf(name) if name == CANCELLED)
    }

    /// Is a leaf of this name in it, at any depth?
    #[must_use]
    pub fn contains(&self, leaf: &str) -> bool {
        match self {
            Self::Leaf(name) => name == leaf,
            Self::Group(members) => members.iter().any(|member| member.contains(leaf)),
        }
    }

    /// Does a handler for `pattern`, not a star, take an error of this form?
    #[must_use]
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern {
            "all" => true,
            "any" => !self.contains(CANCELLED),
            name => matches!(self, Self::Leaf(leaf) if leaf == name),
        }
    }

    /// The part that has just the leaves of this name; the nesting is kept, empty groups vanish.
    #[must_use]
    pub fn part(&self, leaf: &str) -> Option<Self> {
        match self {
            Self::Leaf(name) => (name == leaf).then(|| self.clone()),
            Self::Group(members) => {
                let mut parts = members.iter().filter_map(|member| member.part(leaf)).peekable();
                parts.peek().is_some().then(|| Self::group(parts))
            }
        }
    }
}

/// Compact JSON.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The name that section 5 gives to an error that is not a group.
///
/// An error that the language has no name for shows its own text, so that it differs from every expected one.
pub(super) fn leaf_name(error: &Error) -> String {
    if error.is_cancelled() {
        return CANCELLED.to_owned();
    }
    if let Some(raised) = error.find::<Raised>() {
        return raised.0.clone();
    }
    known_name(error).map_or_else(|| format!("unknown error: {error}"), str::to_owned)
}

fn known_name(error: &Error) -> Option<&'static str> {
    let name = if let Some(error) = error.find::<SendError>() {
        match error {
            SendError::Closed => "ClosedResource",
            SendError::Broken => "BrokenResource",
            _ => return None,
        }
    } else if let Some(error) = error.find::<RecvError>() {
        match error {
            RecvError::Closed => "ClosedResource",
            RecvError::EndOfChannel => "EndOfChannel",
            _ => return None,
        }
    } else if let Some(kind) = error.find::<TrySendErrorKind>() {
        match kind {
            TrySendErrorKind::Full => "WouldBlock",
            TrySendErrorKind::Closed => "ClosedResource",
            TrySendErrorKind::Broken => "BrokenResource",
            _ => return None,
        }
    } else if let Some(error) = error.find::<TryRecvError>() {
        match error {
            TryRecvError::Empty => "WouldBlock",
            TryRecvError::Closed => "ClosedResource",
            TryRecvError::EndOfChannel => "EndOfChannel",
            _ => return None,
        }
    } else if let Some(error) = error.find::<LockError>() {
        match error {
            LockError::WouldBlock => "WouldBlock",
            LockError::Broken => "BrokenResource",
            LockError::NotOwner | LockError::AlreadyOwner | LockError::NoTask => "RuntimeError",
            _ => return None,
        }
    } else if error.find::<WouldBlock>().is_some() {
        "WouldBlock"
    } else if error.find::<TooSlow>().is_some() {
        "TooSlow"
    } else if error.find::<StartError>().is_some() || error.find::<Closed>().is_some() {
        "RuntimeError"
    } else {
        return None;
    };
    Some(name)
}

/// An error that a scenario raises by name.
#[derive(Debug)]
pub(super) struct Raised(String);

impl Raised {
    pub(super) fn named(name: impl Into<String>) -> Error {
        Error::new(Self(name.into()))
    }

    /// What Trio says to a misuse of its API.
    pub(super) fn runtime_error() -> Error {
        Self::named("RuntimeError")
    }

    /// `fail_after` caught its cancellation.
    pub(super) fn too_slow() -> Error {
        Self::named("TooSlow")
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str) -> Form {
        Form::Leaf(name.to_owned())
    }

    fn form(json: &str) -> Form {
        serde_json::from_str(json).unwrap()
    }

    fn raise(name: &str) -> Error {
        Raised::named(name)
    }

    fn nest(errors: impl IntoIterator<Item = Error>) -> Error {
        Error::group(errors).unwrap()
    }

    #[test]
    fn group_merges_cancelled_and_sorts_by_json_text() {
        let group = Form::group([form(r#"["E1"]"#), leaf("Cancelled"), leaf("E2"), leaf("Cancelled"), leaf("E1")]);
        assert_eq!(group.to_string(), r#"["Cancelled","E1","E2",["E1"]]"#);
    }

    #[test]
    fn group_of_nothing_but_cancelled_is_a_leaf() {
        assert_eq!(Form::group([leaf("Cancelled"), leaf("Cancelled")]), leaf("Cancelled"));
    }

    #[test]
    fn multiplicity_and_groups_of_one_are_kept() {
        assert_eq!(Form::group([leaf("E1"), leaf("E1")]).to_string(), r#"["E1","E1"]"#);
        assert_eq!(Form::group([form(r#"["E1"]"#)]).to_string(), r#"[["E1"]]"#);
    }

    #[test]
    fn any_refuses_cancelled_at_any_depth() {
        assert!(form(r#"["E1",["E2"]]"#).matches("any"));
        assert!(!form(r#"["E1",["Cancelled","E2"]]"#).matches("any"));
        assert!(form(r#"["E1",["Cancelled","E2"]]"#).matches("all"));
    }

    #[test]
    fn name_matches_the_bare_leaf_only() {
        assert!(leaf("E1").matches("E1"));
        assert!(!form(r#"["E1"]"#).matches("E1"));
    }

    #[test]
    fn part_keeps_nesting_and_drops_empty_groups() {
        let whole = form(r#"["E1","E2",["E1",["E2"]],["E3"]]"#);
        assert_eq!(whole.part("E1"), Some(form(r#"["E1",["E1"]]"#)));
        assert_eq!(whole.part("E2"), Some(form(r#"["E2",[["E2"]]]"#)));
        assert_eq!(whole.part("E4"), None);
        assert_eq!(leaf("E1").part("E1"), Some(leaf("E1")));
    }

    #[test]
    fn part_of_cancelled_leaves_is_a_leaf() {
        assert_eq!(form(r#"["Cancelled","E1",["Cancelled","E2"]]"#).part("Cancelled"), Some(leaf("Cancelled")));
    }

    #[test]
    fn form_of_error_tree_keeps_its_nesting() {
        let error = nest([raise("E2"), nest([raise("E1")]), raise("E1")]);
        assert_eq!(Form::of(&error).to_string(), r#"["E1","E2",["E1"]]"#);
    }

    #[test]
    fn split_agrees_with_part() {
        let error = nest([raise("E1"), nest([raise("E2"), raise("E1")]), nest([raise("E1")])]);
        let whole = Form::of(&error);
        let (matching, rest) = error.split(|leaf| leaf_name(leaf) == "E1");
        assert_eq!(matching.as_ref().map(Form::of), whole.part("E1"));
        assert_eq!(rest.as_ref().map(Form::of), whole.part("E2"));
    }

    #[test]
    fn errors_of_the_library_have_trio_names() {
        assert_eq!(leaf_name(&SendError::Broken.into()), "BrokenResource");
        assert_eq!(leaf_name(&RecvError::EndOfChannel.into()), "EndOfChannel");
        assert_eq!(leaf_name(&TryRecvError::Empty.into()), "WouldBlock");
        assert_eq!(leaf_name(&LockError::NotOwner.into()), "RuntimeError");
        assert_eq!(leaf_name(&StartError::NeverStarted.into()), "RuntimeError");
    }

    #[test]
    fn unknown_error_shows_its_text() {
        assert_eq!(leaf_name(&std::fmt::Error.into()), format!("unknown error: {}", std::fmt::Error));
    }
}
