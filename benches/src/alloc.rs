//! Counts what the program allocates, when asked to.
//!
//! Off, as it is whenever time is measured, it costs each allocation one load and a branch that is always predicted; it
//! costs the same for all contenders. On, it counts by atomics, since several contenders have threads.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::Relaxed},
};

/// The system's allocator, counted.
#[derive(Debug)]
pub(crate) struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Bytes asked for and not given back since counting began; memory from before may be given back, so it has a sign.
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Begins to count, for good.
pub(crate) fn count() {
    ON.store(true, Relaxed);
}

/// How often memory was asked for since [`count`]: new or to be grown.
pub(crate) fn allocations() -> usize {
    ALLOCATIONS.load(Relaxed)
}

/// Bytes asked for since [`count`] and not yet given back, without what the allocator itself adds.
pub(crate) fn live() -> isize {
    LIVE.load(Relaxed)
}

/// A layout's size, which never exceeds `isize::MAX`; nor does the new one of a `realloc`.
fn signed(layout: Layout) -> isize {
    layout.size() as isize
}

#[inline]
fn note(allocations: usize, bytes: isize) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        LIVE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every method hands its arguments to the system's allocator as they came and returns what that returned; the
// counters beside it are plain atomics that allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout));
        // SAFETY: the caller promises what `System::alloc` asks for: the two contracts are one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout));
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -signed(layout));
        // SAFETY: the caller promises that `pointer` came from here with `layout`, and here it came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size as isize - signed(layout));
        // SAFETY: as for `dealloc`; the promise on `size` is the same for both.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
