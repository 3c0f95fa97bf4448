//! Why a channel operation failed.

use crate::error::Cancelled;
use std::error::Error;
use std::fmt;

/// Why a [`send`](super::Sender::send) failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SendError {
    /// A scope around is cancelled.
    Cancelled(Cancelled),
    /// This handle is closed.
    Closed,
    /// No receiver is left.
    Broken,
}

/// Why a [`recv`](super::Receiver::recv) failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RecvError {
    /// A scope around is cancelled.
    Cancelled(Cancelled),
    /// This handle is closed.
    Closed,
    /// The channel is empty, and no sender is left.
    EndOfChannel,
}

/// What a [`try_send`](super::Sender::try_send) that failed gives back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrySendError<T> {
    /// What was to be sent.
    pub value: T,
    /// Why it was not.
    pub kind: TrySendErrorKind,
}

/// Why a [`try_send`](super::Sender::try_send) failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrySendErrorKind {
    /// The buffer is full, and no receiver waits.
    Full,
    /// This handle is closed.
    Closed,
    /// No receiver is left.
    Broken,
}

/// Why a [`try_recv`](super::Receiver::try_recv) failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    Empty,
    /// This handle is closed.
    Closed,
    /// The channel is empty, and no sender is left.
    EndOfChannel,
}

const SEND_CLOSED: &str = "cannot send: this handle is closed";
const SEND_BROKEN: &str = "cannot send: no receiver is left";
const RECV_CLOSED: &str = "cannot receive: this handle is closed";
const RECV_ENDED: &str = "cannot receive: the channel is empty and no sender is left";

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled(_) => "the send was cancelled",
            Self::Closed => SEND_CLOSED,
            Self::Broken => SEND_BROKEN,
        })
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled(_) => "the receive was cancelled",
            Self::Closed => RECV_CLOSED,
            Self::EndOfChannel => RECV_ENDED,
        })
    }
}

impl fmt::Display for TrySendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "cannot send without waiting: the channel is full",
            Self::Closed => SEND_CLOSED,
            Self::Broken => SEND_BROKEN,
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "cannot receive without waiting: the channel is empty",
            Self::Closed => RECV_CLOSED,
            Self::EndOfChannel => RECV_ENDED,
        })
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Closed | Self::Broken => None,
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Closed | Self::EndOfChannel => None,
        }
    }
}

impl Error for TrySendErrorKind {}

impl<T> Error for TrySendError<T> {}

impl Error for TryRecvError {}

impl From<Cancelled> for SendError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<Cancelled> for RecvError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}
