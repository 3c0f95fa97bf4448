//! Section 3: errors.

use crate::{Oops, debug, is_clone, is_error, send, sync};
use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::io;
use std::ops::Deref;
use trine::{
    Cancelled, Closed, Error, JoinError, Result, ResultExt, RunFinished, StartError, TaskError, TooSlow, WouldBlock,
};

fn cancelled() -> Cancelled {
    let scope = trine::CancelScope::new();
    scope.cancel_because("enough");
    let found = trine::run(scope.run(async { Ok(trine::checkpoint().await.unwrap_err()) }));
    found.unwrap().unwrap()
}

#[test]
fn error_is_one_type_with_every_method() {
    send::<Error>();
    sync::<Error>();
    debug::<Error>();
    fn displays<T: Display>() {}
    displays::<Error>();

    fn new(e: impl StdError + Send + Sync + 'static) -> Error {
        Error::new(e)
    }
    fn msg(m: impl Display + Debug + Send + Sync + 'static) -> Error {
        Error::msg(m)
    }
    let boxed: Box<dyn StdError + Send + Sync> = new(Oops(1)).into_boxed();
    let back: Error = Error::from_boxed(boxed);
    assert_eq!(back.downcast::<Oops>().unwrap(), Oops(1));
    let group: Error = Error::group([new(Oops(1)), msg("text"), new(cancelled())]).unwrap();
    assert!(Error::group(None).is_none());
    assert!(group.is_group() && group.has_cancelled() && !group.is_cancelled());
    let members: &[Error] = group.errors();
    assert_eq!(members.len(), 3);
    assert_eq!(members[0].errors().len(), 1, "a leaf's is itself");
    assert_eq!(group.leaves().map(|leaf: &Error| leaf.to_string()).collect::<Vec<_>>()[..2], ["oops 1", "text"]);
    assert_eq!(group.find::<Oops>(), Some(&Oops(1)));
    let mut asked = 0;
    let (matching, rest) = group.split(|leaf| {
        asked += 1;
        leaf.find::<Oops>().is_some()
    });
    assert_eq!((asked, matching.unwrap().into_single().to_string()), (3, "oops 1".to_owned()));
    let left: Option<Error> = rest.unwrap().without_cancelled();
    assert_eq!(left.unwrap().to_string(), "text");
    let kept: Error = new(Oops(2)).downcast::<io::Error>().unwrap_err();
    assert!(kept.downcast::<Oops>().is_ok());
}

#[test]
fn round_trip_through_a_box_keeps_the_tree() {
    let group = Error::group([Error::new(Oops(1)), Error::new(Oops(2))]).unwrap();
    let back = Error::from_boxed(group.into_boxed());
    assert!(back.is_group() && back.errors().len() == 2);
}

#[test]
fn conversions_are_there() {
    fn into_error<E: StdError + Send + Sync + 'static>(e: E) -> Error {
        e.into()
    }
    let e = into_error(Oops(1));
    let target: &<Error as Deref>::Target = e.deref();
    let whole: &(dyn StdError + Send + Sync + 'static) = target;
    assert!(whole.source().is_none());
    let _: Box<dyn StdError + Send + Sync> = into_error(Oops(1)).into();
    let _: Box<dyn StdError> = into_error(Oops(1)).into();
    let _: io::Error = into_error(Oops(1)).into();
    let stopped: io::Error = cancelled().into();
    assert_eq!(stopped.kind(), io::ErrorKind::Other);
    assert!(trine::is_cancelled(&stopped));
    #[cfg(feature = "anyhow")]
    {
        let e: anyhow::Error = into_error(Oops(1)).into();
        assert_eq!(e.to_string(), "oops 1");
    }
}

#[test]
fn question_mark_leads_out_of_trine() {
    fn io() -> io::Result<()> {
        Err(Error::new(Oops(1)))?
    }
    fn boxed() -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
        Err(Error::new(Oops(1)))?
    }
    fn boxed_local() -> std::result::Result<(), Box<dyn StdError>> {
        Err(Error::new(Oops(1)))?
    }
    assert!(io().is_err() && boxed().is_err() && boxed_local().is_err());
}

#[test]
fn errors_that_are_no_errors_come_in_with_into_trine() {
    fn whole() -> Result<()> {
        fn one<T, E: Into<Box<dyn StdError + Send + Sync>> + 'static>(r: std::result::Result<T, E>) -> Result<T> {
            r.into_trine()
        }
        one(Ok::<_, String>(()))?;
        one(Ok::<_, &'static str>(()))?;
        one(Ok::<_, Box<dyn StdError + Send + Sync>>(()))?;
        one(Ok::<_, anyhow::Error>(()))?;
        Err(anyhow::anyhow!("any")).into_trine()
    }
    assert_eq!(whole().unwrap_err().to_string(), "any");
}

#[test]
fn rule_is_one_function_of_any_error() {
    let rule: fn(&(dyn StdError + 'static)) -> bool = trine::is_cancelled;
    assert!(rule(&cancelled()) && !rule(&Oops(1)));
    assert_eq!(cancelled().reason().message(), Some("enough"));
    // What it is told by is the source, whose text is the reason.
    assert_eq!(cancelled().source().unwrap().to_string(), "enough");
}

#[test]
fn small_errors_are_errors() {
    is_error::<Cancelled>();
    is_clone::<Cancelled>();
    is_error::<TooSlow>();
    is_error::<Closed>();
    is_error::<WouldBlock>();
    is_error::<RunFinished>();
    is_error::<JoinError>();
    is_error::<StartError>();
    is_error::<trine::channel::SendError>();
    is_error::<trine::channel::RecvError>();
    is_error::<trine::channel::TryRecvError>();
    is_error::<trine::channel::TrySendErrorKind>();
    is_error::<trine::sync::LockError>();
}

/// As the contract writes it: what is not provided must be written, no more.
trait Contract: TaskError {
    fn all(self, other: Self) -> (bool, Option<Self>) {
        let cancelled: bool = TaskError::is_cancelled(&self);
        let merged: Self = Self::merge(self, vec![other]);
        (cancelled, merged.without_cancelled())
    }
}

impl Contract for Error {}
impl Contract for Cancelled {}
impl Contract for io::Error {}
#[cfg(feature = "anyhow")]
impl Contract for anyhow::Error {}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Smallest {
    Stopped,
    Other,
}

impl From<Cancelled> for Smallest {
    fn from(_: Cancelled) -> Self {
        Self::Stopped
    }
}

impl TaskError for Smallest {
    fn is_cancelled(&self) -> bool {
        *self == Self::Stopped
    }
}

impl Contract for Smallest {}

#[test]
fn task_error_has_its_implementations_and_defaults() {
    assert!(matches!(Error::from(cancelled()).all(Oops(1).into()), (true, Some(e)) if e.is_group()));
    assert!(matches!(cancelled().all(cancelled()), (true, None)));
    assert!(matches!(io::Error::from(cancelled()).all(io::Error::other("x")), (true, Some(_))));
    #[cfg(feature = "anyhow")]
    assert!(matches!(anyhow::Error::from(cancelled()).all(anyhow::anyhow!("x")), (true, Some(_))));
    assert_eq!(Smallest::Stopped.all(Smallest::Other), (true, Some(Smallest::Other)));
}

#[derive(Debug, thiserror::Error)]
enum Wrapping {
    #[error(transparent)]
    Whole(#[from] Error),
    #[error("from")]
    From(#[from] Cancelled),
    #[error("source")]
    Source(#[source] io::Error),
}

#[test]
fn cancellation_is_seen_through_wrappers() {
    assert!(trine::is_cancelled(&Wrapping::from(cancelled())));
    assert!(trine::is_cancelled(&Wrapping::from(Error::from(cancelled()))));
    assert!(trine::is_cancelled(&Wrapping::Source(cancelled().into())));
    assert!(trine::is_cancelled(&*anyhow::Error::from(cancelled()).context("while working")));
    assert!(trine::is_cancelled(&JoinError::Cancelled(cancelled())));
    assert!(trine::is_cancelled(&trine::channel::SendError::Cancelled(cancelled())));
    assert!(trine::is_cancelled(&trine::channel::RecvError::Cancelled(cancelled())));
    assert!(trine::is_cancelled(&trine::sync::LockError::Cancelled(cancelled())));
    assert!(!trine::is_cancelled(&io::Error::other(cancelled().to_string())));
}

#[test]
fn transparent_thiserror_variant_is_made_from_our_error() {
    let e = Wrapping::from(Error::new(Oops(1)));
    assert_eq!(e.to_string(), "oops 1");
}
