//! Slots that are given back by other threads.

use super::check;
use crate::sched::stack::Pile;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Two threads give slots back, the owner takes them: links are plain memory, and no slot is lost or found twice.
///
/// Fails with: `Relaxed` for the exchange in `Pile::push` or the swap in `Pile::take`.
#[test]
fn slots_given_back_are_found_once() {
    struct Slot(UnsafeCell<*const Slot>, u32);
    struct Slots(Pile<Slot>, [Slot; 2]);
    // SAFETY: loom watches the links.
    unsafe impl Sync for Slots {}
    // SAFETY: as above.
    unsafe impl Send for Slots {}
    fn collect(slots: &Slots, found: &mut Vec<u32>) {
        let mut at = slots.0.take();
        while !at.is_null() {
            // SAFETY: slots outlive the model; loom watches the links.
            unsafe {
                found.push((*at).1);
                at = (*at).0.with(|next| *next);
            }
        }
    }
    check("pool", None, || {
        let slot = |n| Slot(UnsafeCell::new(std::ptr::null()), n);
        let slots = Arc::new(Slots(Pile::new(), [slot(0), slot(1)]));
        let threads: Vec<_> = (0..2)
            .map(|i| {
                let slots = slots.clone();
                thread::spawn(move || {
                    let slot = &slots.1[i];
                    // SAFETY: the slot is this thread's until it has been pushed.
                    slots.0.push(slot, |top| slot.0.with_mut(|next| unsafe { *next = top }));
                })
            })
            .collect();
        let mut found = Vec::new();
        collect(&slots, &mut found);
        for t in threads {
            t.join().unwrap();
        }
        collect(&slots, &mut found);
        found.sort_unstable();
        assert_eq!(found, [0, 1]);
    });
}
