//! What few nodes have: in a box that the node's last word points to if it is `EXTRAS`. That is an id otherwise.

use super::{EXTRAS, Node};
use crate::sched::polled::Polled;
use crate::sched::wakes::{Later, Wakes};
use crate::task::header::Extras;
use crate::task::wake::WakeRef;

/// See the module.
#[derive(Clone, Copy)]
pub(super) union Rare {
    pub(super) id: u64,
    extras: *mut Extras,
}

/// Wakers of waits whose waker is not the task's own (a foreign sub-executor sits in between).
#[derive(Default)]
pub(crate) struct Foreign {
    next_key: u64,
    wakers: Vec<(u64, WakeRef)>,
    /// Of those who ask in poll functions of their own.
    polled: Polled,
}

impl Node {
    /// What few nodes have.
    ///
    /// None while one of these functions runs, which run no foreign code but for the clone of a waker.
    #[inline(always)]
    pub(crate) fn has_extras(&self) -> bool {
        self.flags() & EXTRAS != 0
    }

    pub(crate) fn take_extras(&self) -> Option<Box<Extras>> {
        if !self.has_extras() {
            return None;
        }
        self.set_flags(self.flags() & !EXTRAS);
        // SAFETY: it points to the extras, as the flag said, which were put there by `put_extras`.
        let extras = unsafe { Box::from_raw(self.rare.get().extras) };
        self.rare.set(Rare { id: extras.id });
        Some(extras)
    }

    fn put_extras(&self, mut extras: Box<Extras>) {
        extras.id = self.id();
        self.set_flags(self.flags() | EXTRAS);
        self.rare.set(Rare { extras: Box::into_raw(extras) });
    }

    /// The id of a task; 0 if it has none yet.
    pub(crate) fn id(&self) -> u64 {
        // SAFETY: as the flag says.
        unsafe { if self.has_extras() { (*self.rare.get().extras).id } else { self.rare.get().id } }
    }

    pub(crate) fn set_id(&self, id: u64) {
        if self.has_extras() {
            // SAFETY: as the flag says; nobody has a reference to them but while a function below runs.
            unsafe { (*self.rare.get().extras).id = id };
        } else {
            self.rare.set(Rare { id });
        }
    }

    /// As [`Node::set_id`], for a task that was just begun: none yet.
    #[inline(always)]
    pub(crate) fn forget_id(&self) {
        debug_assert!(!self.has_extras());
        self.rare.set(Rare { id: 0 });
    }

    pub(crate) fn with_extras<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = self.take_extras().unwrap_or_default();
        let result = f(&mut extras);
        self.put_extras(extras);
        result
    }

    /// A look at the extras, if there are any.
    pub(crate) fn look_at_extras<R>(&self, f: impl FnOnce(&Extras) -> R) -> Option<R> {
        let extras = self.take_extras()?;
        let result = f(&extras);
        self.put_extras(extras);
        Some(result)
    }

    /// Registers the waker of a wait inside that a cancel must wake by itself.
    pub(crate) fn add_foreign(&self, waker: WakeRef) -> u64 {
        self.with_extras(|extras| {
            let list = &mut extras.foreign;
            list.next_key += 1;
            list.wakers.push((list.next_key, waker));
            list.next_key
        })
    }

    /// The registered waker comes back, to be dropped by the caller.
    pub(crate) fn remove_foreign(&self, key: u64) -> Option<WakeRef> {
        let mut extras = self.take_extras()?;
        let wakers = &mut extras.foreign.wakers;
        let found = wakers.iter().position(|(k, _)| *k == key);
        let waker = found.map(|i| wakers.swap_remove(i).1);
        if !extras.is_empty() {
            self.put_extras(extras);
        }
        waker
    }

    /// The list of those who ask in poll functions of their own. `f` runs no foreign code.
    pub(in crate::sched) fn with_polled<R>(&self, f: impl FnOnce(&mut Polled) -> R) -> R {
        self.with_extras(|extras| f(&mut extras.foreign.polled))
    }

    pub(super) fn foreign_wakers(&self, wakes: &mut Wakes) {
        if self.has_extras() {
            self.with_extras(|extras| {
                let list = &mut extras.foreign;
                let later = wakes.list();
                later.extend(list.wakers.iter().map(|(_, w)| Later::Wake(w.clone())));
                later.extend(list.polled.take().map(Later::Wake));
            });
        }
    }
}

impl Foreign {
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.polled.is_empty()
    }
}
