//! [`Reason`]: why a scope was cancelled.
//!
//! Hot: every operation of a cancelled scope returns one. So a reason without a message is a pointer to a constant, to
//! make, clone and drop without an allocation or an atomic operation; with a message it is a counted pointer, told by
//! its lowest bit. One word either way.

use std::borrow::Cow;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a reason points to; aligned, so that the lowest bit of its address is free.
#[derive(PartialEq, Eq)]
#[repr(align(8))]
struct Told {
    kind: ReasonKind,
    message: Option<Cow<'static, str>>,
}

/// The bit of a counted pointer.
const COUNTED: usize = 1;

/// Why a scope was cancelled: the first reason it was given.
///
/// Its `Display` is the message, or a few words for the kind if there is none.
pub struct Reason {
    /// A `&'static Told`, or one from `Arc::into_raw` with `COUNTED` added.
    told: NonNull<Told>,
}

// SAFETY: as a `&'static Told` and an `Arc<Told>` are, since `Told` is `Send` and `Sync`.
unsafe impl Send for Reason {}
// SAFETY: as above.
unsafe impl Sync for Reason {}

impl Reason {
    #[inline]
    pub(crate) const fn new(kind: ReasonKind) -> Self {
        const EXPLICIT: &Told = &Told { kind: ReasonKind::Explicit, message: None };
        const DEADLINE: &Told = &Told { kind: ReasonKind::Deadline, message: None };
        const NURSERY: &Told = &Told { kind: ReasonKind::Nursery, message: None };
        const SHUTDOWN: &Told = &Told { kind: ReasonKind::Shutdown, message: None };
        let told: &'static Told = match kind {
            ReasonKind::Explicit => EXPLICIT,
            ReasonKind::Deadline => DEADLINE,
            ReasonKind::Nursery => NURSERY,
            ReasonKind::Shutdown => SHUTDOWN,
        };
        // SAFETY: a reference is not null. It is only ever read through.
        Reason { told: unsafe { NonNull::new_unchecked(std::ptr::from_ref(told).cast_mut()) } }
    }

    pub(crate) fn with_message(kind: ReasonKind, message: Cow<'static, str>) -> Self {
        let counted = Arc::into_raw(Arc::new(Told { kind, message: Some(message) })).cast_mut();
        // SAFETY: not null, and not so after the lowest bit, which is zero by the alignment, has been set.
        Reason { told: unsafe { NonNull::new_unchecked(counted.map_addr(|a| a | COUNTED)) } }
    }

    #[inline(always)]
    fn is_counted(&self) -> bool {
        self.told.addr().get() & COUNTED != 0
    }

    /// The pointer without the bit.
    #[inline(always)]
    fn pointer(&self) -> *const Told {
        self.told.as_ptr().map_addr(|a| a & !COUNTED)
    }

    #[inline(always)]
    fn told(&self) -> &Told {
        // SAFETY: a constant, or what this reason holds a count of.
        unsafe { &*self.pointer() }
    }

    /// Returns what sort of reason it is.
    pub fn kind(&self) -> ReasonKind {
        self.told().kind
    }

    /// Returns the message that was given with the cancel, if one was.
    pub fn message(&self) -> Option<&str> {
        self.told().message.as_deref()
    }

    #[cold]
    fn share(&self) {
        // SAFETY: made by `Arc::into_raw`; the count that is kept by `self` is not touched.
        let own = ManuallyDrop::new(unsafe { Arc::from_raw(self.pointer()) });
        std::mem::forget(Arc::clone(&own));
    }

    #[cold]
    fn release(&mut self) {
        // SAFETY: made by `Arc::into_raw`; called once, at the end of `self`.
        drop(unsafe { Arc::from_raw(self.pointer()) });
    }
}

impl Clone for Reason {
    #[inline]
    fn clone(&self) -> Self {
        if self.is_counted() {
            self.share();
        }
        Self { told: self.told }
    }
}

impl Drop for Reason {
    #[inline]
    fn drop(&mut self) {
        if self.is_counted() {
            self.release();
        }
    }
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.told() == other.told()
    }
}

impl Eq for Reason {}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "{:?}({message:?})", self.kind()),
            None => self.kind().fmt(f),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.message().unwrap_or(match self.kind() {
            ReasonKind::Explicit => "the scope was cancelled",
            ReasonKind::Deadline => "the deadline passed",
            ReasonKind::Nursery => "another task of the nursery failed",
            ReasonKind::Shutdown => "the run is shutting down",
        }))
    }
}

/// The sort of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// Someone asked for it.
    Explicit,
    /// The scope's deadline passed.
    Deadline,
    /// The scope is that of a nursery, one task of which failed.
    Nursery,
    /// The whole run is being ended.
    Shutdown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_word() {
        assert_eq!(size_of::<Option<Reason>>(), size_of::<usize>());
    }

    #[test]
    fn reason_shows_its_message_or_its_kind() {
        let plain = Reason::new(ReasonKind::Deadline);
        assert_eq!((plain.kind(), plain.message()), (ReasonKind::Deadline, None));
        assert_eq!(plain.to_string(), "the deadline passed");
        let told = Reason::with_message(ReasonKind::Explicit, "client left".into());
        assert_eq!((told.kind(), told.message()), (ReasonKind::Explicit, Some("client left")));
        assert_eq!(told.to_string(), "client left");
    }

    #[test]
    fn clones_share_the_message() {
        let a = Reason::with_message(ReasonKind::Explicit, String::from("client left").into());
        let b = a.clone();
        assert_eq!(a.message().unwrap().as_ptr(), b.message().unwrap().as_ptr());
    }

    #[test]
    fn counts_what_is_shared() {
        let a = Reason::with_message(ReasonKind::Shutdown, "bye".into());
        let clones: Vec<_> = (0..3).map(|_| a.clone()).collect();
        drop(a);
        assert!(clones.iter().all(|r| r.message() == Some("bye") && r == &clones[0]));
        assert_ne!(clones[0], Reason::new(ReasonKind::Shutdown));
        assert_eq!(Reason::new(ReasonKind::Shutdown), Reason::new(ReasonKind::Shutdown).clone());
    }
}
