//! The memory of open nurseries. What one leaves behind is kept for the next one on its thread, since nurseries are opened and
//! closed all the time, and two calls of the allocator are a good part of a small one.
//!
//! Invariant: a block in a list of class `c` has `size(c)` bytes from the allocator, aligned to [`ALIGN`], which nobody else
//! has.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr;

const ALIGN: usize = 16;
const STEP: usize = 64;
/// Larger ones are the allocator's.
const LARGEST: usize = 1024;
const CLASSES: usize = LARGEST / STEP;
/// How many bytes of a class a thread keeps. None where a sanitizer is to see that nobody uses what was given back.
const KEPT: usize = if cfg!(any(loom, miri, trine_tsan, trine_asan)) { 0 } else { 8 << 10 };

/// How many blocks of each class that is.
const LIMITS: [usize; CLASSES] = {
    let mut limits = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        limits[class] = KEPT / size(class);
        class += 1;
    }
    limits
};

/// The class of blocks for a layout, if there is one.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN || layout.size() > LARGEST || layout.size() == 0 {
        return None;
    }
    Some((layout.size() - 1) / STEP)
}

const fn size(class: usize) -> usize {
    (class + 1) * STEP
}

/// What the allocator is asked for.
const fn whole(layout: Layout) -> Layout {
    match class(layout) {
        Some(class) => match Layout::from_size_align(size(class), ALIGN) {
            Ok(layout) => layout,
            Err(_) => unreachable!(),
        },
        None => layout,
    }
}

/// Blocks of one class, linked through their first word.
struct List {
    first: Cell<*mut Block>,
    count: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

struct Lists([List; CLASSES]);

thread_local! {
    static LISTS: Lists = const { Lists([const { List { first: Cell::new(ptr::null_mut()), count: Cell::new(0) } }; CLASSES]) };
}

impl Drop for Lists {
    fn drop(&mut self) {
        for (class, list) in self.0.iter().enumerate() {
            let mut at = list.first.replace(ptr::null_mut());
            while !at.is_null() {
                // SAFETY: by the invariant.
                unsafe {
                    let next = (*at).next;
                    dealloc(at.cast(), Layout::from_size_align_unchecked(size(class), ALIGN));
                    at = next;
                }
            }
        }
    }
}

/// Memory for this layout, whose size is not zero; with anything in it.
#[inline(always)]
pub(super) fn take(layout: Layout) -> *mut u8 {
    let kept = class(layout).and_then(|class| {
        LISTS
            .try_with(|lists| {
                let list = &lists.0[class];
                let first = list.first.get();
                if first.is_null() {
                    return None;
                }
                // SAFETY: by the invariant.
                list.first.set(unsafe { (*first).next });
                list.count.set(list.count.get() - 1);
                Some(first.cast())
            })
            .ok()
            .flatten()
    });
    kept.unwrap_or_else(|| take_new(whole(layout)))
}

#[cold]
#[inline(never)]
fn take_new(layout: Layout) -> *mut u8 {
    // SAFETY: the size is not zero.
    let at = unsafe { alloc(layout) };
    if at.is_null() {
        handle_alloc_error(layout);
    }
    at
}

/// Gives it back, on any thread.
///
/// # Safety
/// It was taken for this layout, and nobody uses it any more.
#[inline(always)]
pub(super) unsafe fn give(at: *mut u8, layout: Layout) {
    let is_kept = class(layout).is_some_and(|class| {
        LISTS
            .try_with(|lists| {
                let list = &lists.0[class];
                let count = list.count.get();
                if count >= LIMITS[class] {
                    return false;
                }
                let block = at.cast::<Block>();
                // SAFETY: by contract.
                unsafe { block.write(Block { next: list.first.get() }) };
                list.first.set(block);
                list.count.set(count + 1);
                true
            })
            .unwrap_or(false)
    });
    if !is_kept {
        // SAFETY: by contract.
        unsafe { give_up(at, whole(layout)) };
    }
}

#[cold]
#[inline(never)]
unsafe fn give_up(at: *mut u8, layout: Layout) {
    // SAFETY: as the caller's.
    unsafe { dealloc(at, layout) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn classes_have_room_for_their_layouts() {
        for size in [1, 63, 64, 65, 128, 129, 1000, 1024] {
            for align in [1, 8, 16] {
                let whole = whole(layout(size, align));
                assert!(
                    whole.size() >= size && whole.size() < size + STEP && whole.align() >= align,
                    "{size}, {align}"
                );
            }
        }
        for (size, align) in [(1025, 8), (64, 32), (4096, 4096)] {
            assert_eq!(whole(layout(size, align)), layout(size, align), "the allocator's");
        }
    }

    #[test]
    fn blocks_are_used_again_within_a_class_and_their_number_is_bounded() {
        // A thread of its own has lists of its own.
        std::thread::spawn(|| {
            let all: Vec<_> = (0..300).map(|_| take(layout(200, 8))).collect();
            for at in &all {
                // SAFETY: taken for this layout.
                unsafe { at.write_bytes(0xaa, 200) };
            }
            for at in &all {
                // SAFETY: as above; not used any more.
                unsafe { give(*at, layout(200, 8)) };
            }
            let kept = LISTS.with(|lists| lists.0[3].count.get());
            assert_eq!(kept, LIMITS[3]);
            if KEPT > 0 {
                // The last one of those that were kept comes first, for another size of the class, too.
                let again = take(layout(256, 16));
                assert_eq!(again, all[kept - 1]);
                // SAFETY: taken for this layout.
                unsafe { give(again, layout(256, 16)) };
                let other = take(layout(257, 16));
                assert!(!all[..kept].contains(&other), "another class");
                // SAFETY: as above.
                unsafe { give(other, layout(257, 16)) };
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn blocks_go_to_the_thread_that_gives_them_back() {
        let at = take(layout(100, 8)).expose_provenance();
        std::thread::spawn(move || {
            // SAFETY: taken for this layout.
            unsafe { give(ptr::with_exposed_provenance_mut(at), layout(100, 8)) };
            if KEPT > 0 {
                let again = take(layout(100, 8));
                assert_eq!(again.addr(), at);
                // SAFETY: as above.
                unsafe { give(again, layout(100, 8)) };
            }
        })
        .join()
        .unwrap();
    }
}
