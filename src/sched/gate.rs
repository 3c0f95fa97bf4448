//! Who may touch the holder's half of a root, and the mail for whoever holds it next.
//!
//! Invariants:
//!
//! - at most one thread holds the gate; a hold sees all that earlier holders did;
//! - mail that was accepted is taken once, by a holder, in the order in which it came;
//! - a shut gate accepts no mail, and is only ever held for short operations, so that one may wait for it by spinning.
//!
//! A gate is shut when it is made, and between two lives of its root.

use super::sync::{AtomicBool, Mutex, Ordering, fence, heavy_fence, light_fence, relax};
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
    ///
    /// Mail that is left while somebody holds the gate for a short operation is not lost, though no turn may ever come
    /// again: the one who leaves it tries the gate once more, and whoever releases the gate looks at the box once more.
    pub(crate) fn perform(&self, mail: M, run: impl FnMut(M)) -> bool {
        self.perform_some(Some(mail), run)
    }

    /// To be called after a release: whether something was left meanwhile, which is then to be [swept](Self::sweep). Each
    /// turn asks, and mail is rare: so who leaves mail has all threads pass a fence.
    #[inline]
    pub(crate) fn has_late_mail(&self) -> bool {
        light_fence();
        self.has_mail.load(Ordering::Relaxed)
    }

    /// Runs what was left while somebody held the gate. True: there is a holder who must be told.
    pub(crate) fn sweep(&self, run: impl FnMut(M)) -> bool {
        self.perform_some(None, run)
    }

    fn perform_some(&self, mut mail: Option<M>, mut run: impl FnMut(M)) -> bool {
        let mut spins = 0;
        loop {
            if let Some(hold) = self.try_hold() {
                self.take_mail().into_iter().for_each(&mut run);
                mail.take().into_iter().for_each(&mut run);
                drop(hold);
                fence(Ordering::SeqCst);
                if !self.has_mail.load(Ordering::Relaxed) {
                    return false;
                }
                continue;
            }
            let Some(letter) = mail.take() else { return true };
            match self.post(letter) {
                Ok(()) => heavy_fence(),
                Err(back) => {
                    // Shut: holds are short now.
                    mail = Some(back);
                    relax(&mut spins);
                }
            }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Gate, relax};
    use std::hint::black_box;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// For the fences, of which the models see full ones only. Fails with: a light fence without a heavy one.
    #[test]
    fn mail_that_comes_with_a_release_is_swept() {
        const ROUNDS: usize = 20_000;
        let gate = Gate::new();
        gate.open();
        let (begun, ended, run) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let count = |()| {
            run.fetch_add(1, Ordering::Relaxed);
        };
        // Stores to lines that the other thread has keep the release in the processor's store buffer.
        let lines: Vec<AtomicUsize> = (0..32 * 16).map(AtomicUsize::new).collect();
        let dirty = || lines.iter().step_by(16).for_each(|line| line.store(1, Ordering::Relaxed));
        // Spinning, since the two have to meet within nanoseconds.
        let await_round = |counter: &AtomicUsize, round| {
            let mut spins = 0;
            while counter.load(Ordering::Acquire) < round {
                relax(&mut spins);
            }
        };
        let mut late = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 1..=ROUNDS {
                    dirty();
                    await_round(&begun, round);
                    let _ = gate.perform((), count);
                    ended.store(round, Ordering::Release);
                }
            });
            for round in 1..=ROUNDS {
                let hold = gate.hold();
                begun.store(round, Ordering::Release);
                for step in 0..round % 128 {
                    black_box(step);
                }
                dirty();
                drop(hold);
                if gate.has_late_mail() {
                    let _ = gate.sweep(count);
                }
                await_round(&ended, round);
                // Judged later, or the other thread would wait for ever.
                late += usize::from(run.load(Ordering::Relaxed) < round);
            }
        });
        assert_eq!(late, 0, "letters that were left to the next round");
    }
}
