//! The biased count: who unmaps, and when.

use super::check;
use crate::sched::count::Count;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// What a root's memory is to its users: touched by each, unmapped by the last.
struct Memory {
    count: Count,
    bytes: UnsafeCell<u32>,
    unmapped: AtomicUsize,
}

// SAFETY: the model is about this very question; loom watches the cells.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn touch(&self) {
        self.bytes.with(|b| {
            // SAFETY: loom checks that nobody writes meanwhile.
            assert_eq!(unsafe { *b }, 0);
        });
    }

    fn unmap(&self) {
        self.unmapped.fetch_add(1, Ordering::Relaxed);
        // SAFETY: loom checks that nobody reads meanwhile.
        self.bytes.with_mut(|b| unsafe { *b = 1 });
    }

    fn dec(&self, holds: bool) {
        self.touch();
        if self.count.dec(holds) {
            self.unmap();
        }
    }
}

/// Two users in other threads, one of whom makes a third, and the owner, who counts without atomics and ends.
///
/// Fails with: `Relaxed` for the `Release` in `dec`; without the load that follows; with `end` that forgets `local`.
#[test]
fn exactly_one_sees_the_count_reach_zero_and_nobody_uses_the_memory_then() {
    check("count", None, || {
        let memory = Arc::new(Memory { count: Count::new(), bytes: UnsafeCell::new(0), unmapped: AtomicUsize::new(0) });
        memory.count.inc(true);
        memory.count.inc(true);
        let first = {
            let memory = memory.clone();
            thread::spawn(move || memory.dec(false))
        };
        let second = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.count.inc(false);
                memory.dec(false);
                memory.dec(false);
            })
        };
        memory.count.inc(true);
        memory.dec(true);
        memory.touch();
        if memory.count.end() {
            memory.unmap();
        }
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(memory.unmapped.load(Ordering::Relaxed), 1);
    });
}
