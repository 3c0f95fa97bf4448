//! Who may touch the holder's half of a root, and the mail for whoever holds it next.
//!
//! Invariants:
//!
//! - at most one thread holds the gate; a hold sees all that earlier holders did;
//! - mail that was accepted is taken once, by a holder, in the order in which it came;
//! - a shut gate accepts no mail, and is only ever held for short operations, so that one may wait for it by spinning.
//!
//! A gate is shut when it is made, and between two lives of its root.

use super::sync::{AtomicBool, Mutex, Ordering, relax};
use std::mem;

struct Letters<M> {
    open: bool,
    mail: Vec<M>,
}

/// See the module.
pub(crate) struct Gate<M> {
    held: AtomicBool,
    shut: AtomicBool,
    /// Set under the lock, so that an empty box costs its reader one load.
    has_mail: AtomicBool,
    letters: Mutex<Letters<M>>,
}

impl<M> Gate<M> {
    pub(crate) fn new() -> Self {
        Self {
            held: AtomicBool::new(false),
            shut: AtomicBool::new(true),
            has_mail: AtomicBool::new(false),
            letters: Mutex::new(Letters { open: false, mail: Vec::new() }),
        }
    }

    /// Takes the gate if nobody holds it.
    pub(crate) fn try_hold(&self) -> Option<Hold<'_, M>> {
        let taken = self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Hold(self))
    }

    /// Takes the gate; waits for those who hold it for a short operation.
    pub(crate) fn hold(&self) -> Hold<'_, M> {
        let mut spins = 0;
        loop {
            if let Some(hold) = self.try_hold() {
                return hold;
            }
            relax(&mut spins);
        }
    }

    /// Takes the gate for a short operation. None: it is held, perhaps for long.
    pub(crate) fn hold_briefly(&self) -> Option<Hold<'_, M>> {
        let mut spins = 0;
        loop {
            if let Some(hold) = self.try_hold() {
                return Some(hold);
            }
            // Looked at anew each time: a shut gate may be opened for another life.
            if !self.is_shut() {
                return None;
            }
            relax(&mut spins);
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    #[inline(always)]
    pub(crate) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Relaxed)
    }

    /// Leaves mail for the next holder; it comes back if the gate is shut.
    pub(crate) fn post(&self, mail: M) -> Result<(), M> {
        let mut letters = self.letters.lock().unwrap_or_else(|_| unreachable!());
        if !letters.open {
            return Err(mail);
        }
        letters.mail.push(mail);
        self.has_mail.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes the mail. Holder only.
    pub(crate) fn take_mail(&self) -> Vec<M> {
        if !self.has_mail.load(Ordering::Relaxed) || !self.has_mail.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        mem::take(&mut self.letters.lock().unwrap_or_else(|_| unreachable!()).mail)
    }

    /// Runs mail under the hold, what was posted before first; or leaves it. True: it was left, and the holder must be
    /// told.
    pub(crate) fn perform(&self, mut mail: M, mut run: impl FnMut(M)) -> bool {
        let mut spins = 0;
        loop {
            if let Some(_hold) = self.try_hold() {
                for earlier in self.take_mail() {
                    run(earlier);
                }
                run(mail);
                return false;
            }
            match self.post(mail) {
                Ok(()) => return true,
                // Shut: holds are short now.
                Err(back) => mail = back,
            }
            relax(&mut spins);
        }
    }

    /// Lets mail in. Holder only.
    pub(crate) fn open(&self) {
        self.letters.lock().unwrap_or_else(|_| unreachable!()).open = true;
        self.shut.store(false, Ordering::SeqCst);
    }

    /// Ends that. What came before is for the holder, who takes it once more.
    pub(crate) fn shut(&self) {
        self.letters.lock().unwrap_or_else(|_| unreachable!()).open = false;
        self.shut.store(true, Ordering::SeqCst);
    }
}

/// A held gate.
pub(crate) struct Hold<'a, M>(&'a Gate<M>);

impl<M> Drop for Hold<'_, M> {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}
