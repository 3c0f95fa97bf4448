//! The memory that pools are carved from: chunks that grow with the pool, of which some are kept for the next root.
//!
//! A root that ends gives its chunks up; the next one of the process often needs as many. The system takes longer to map
//! memory anew, page by page, than a tree takes to fill it. So the small chunks go back to the allocator, a few MiB of large
//! ones are kept as they are, and what is beyond that is kept in such a way that the system may have it whenever it is short.
//!
//! Large pools grow by huge pages, which come from the system. (An allocator's free memory was touched page by page before,
//! and stays so. Where that was handed out, a million children took 43 ns each instead of 16.)

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::{Mutex, PoisonError};

const FIRST: usize = 4 << 10;
const LARGE: usize = 256 << 10;
/// That of a huge page, where there are such.
const HUGE: usize = 2 << 20;
/// How often a pool has grown before its chunks are huge ones: it has 1 MiB then. From there on a child costs fewer misses of
/// the translation cache than it costs to have some of a huge page lie idle.
const HUGE_FROM: usize = 9;

/// How many large ones are kept: 4 MiB. None of any sort where a sanitizer or a model is to see that nobody uses a chunk that
/// was given back.
const LARGE_KEPT: usize = if KEEPS { 16 } else { 0 };
/// How many huge ones are kept as they are: 16 MiB.
const HUGE_KEPT: usize = if KEEPS { 8 } else { 0 };
/// How many are kept together with those that the system may have: 256 MiB.
const HUGE_LENT: usize = if KEEPS { 128 } else { 0 };
const KEEPS: bool = !cfg!(any(loom, trine_tsan, trine_asan));

/// Memory that is one pool's, or nobody's.
#[derive(Debug)]
pub(super) struct Chunk {
    start: *mut u8,
    size: usize,
}

// SAFETY: memory is no thread's.
unsafe impl Send for Chunk {}

struct Spare {
    large: Vec<Chunk>,
    huge: Vec<Chunk>,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { large: Vec::new(), huge: Vec::new() });

impl Spare {
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        f(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&mut self, size: usize) -> Option<&mut Vec<Chunk>> {
        match size {
            LARGE => Some(&mut self.large),
            HUGE => Some(&mut self.huge),
            _ => None,
        }
    }
}

impl Chunk {
    /// The next one of a pool that has `grown` so often; with anything in it.
    pub(super) fn new(grown: usize) -> Self {
        let size = if grown >= HUGE_FROM { HUGE } else { (FIRST << grown.min(6)).min(LARGE) };
        if size >= LARGE {
            if let Some(spare) = Spare::with(|spare| spare.of(size)?.pop()) {
                return spare;
            }
        }
        let layout = Self::layout(size);
        // SAFETY: the size is not zero.
        let start = unsafe { if size == HUGE { system::map(layout) } else { alloc(layout) } };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, size }
    }

    fn layout(size: usize) -> Layout {
        let align = if size == HUGE { HUGE } else { 64 };
        Layout::from_size_align(size, align).expect("chunk sizes are small")
    }

    /// Is it from the system, past the program's allocator?
    pub(super) fn is_mapped(&self) -> bool {
        system::MAPS && self.size == HUGE
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Gives it up. Nothing refers to it.
    pub(super) fn give_up(self) {
        let left = Spare::with(|spare| {
            let (kept, lent) = if self.size == HUGE { (HUGE_KEPT, HUGE_LENT) } else { (LARGE_KEPT, LARGE_KEPT) };
            match spare.of(self.size) {
                Some(chunks) if chunks.len() < kept || (chunks.len() < lent && system::lend(&self)) => {
                    chunks.push(self);
                    None
                }
                _ => Some(self),
            }
        });
        if let Some(chunk) = left {
            let layout = Self::layout(chunk.size);
            // SAFETY: made with this layout; nothing refers to it.
            unsafe {
                if chunk.size == HUGE { system::unmap(chunk.start, layout) } else { dealloc(chunk.start, layout) }
            };
        }
    }
}

cfg_if::cfg_if! {
    // A leak detector looks for pointers in what was allocated.
    if #[cfg(all(target_os = "linux", not(miri), not(trine_asan)))] {
        mod system {
            use super::{Chunk, Layout};
            use std::ptr;

            pub(super) const MAPS: bool = true;

            /// Pages that nobody has touched yet, so that they can become a huge one: one page fault instead of 512, and one
            /// entry of the translation cache. An allocator would give out what it has had before, in small ones. A system
            /// that has no huge pages says so, and it is memory all the same.
            ///
            /// # Safety
            /// The alignment is the size, in whole pages.
            pub(super) unsafe fn map(layout: Layout) -> *mut u8 {
                let (size, flags) = (layout.size(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                // SAFETY: a mapping of its own, of which the ends that stand over are given back.
                unsafe {
                    let start = libc::mmap(ptr::null_mut(), 2 * size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
                    if start == libc::MAP_FAILED {
                        return ptr::null_mut();
                    }
                    let before = start.align_offset(size);
                    if before > 0 {
                        libc::munmap(start, before);
                    }
                    let start = start.byte_add(before);
                    if before < size {
                        libc::munmap(start.byte_add(size), size - before);
                    }
                    libc::madvise(start, size, libc::MADV_HUGEPAGE);
                    start.cast()
                }
            }

            /// # Safety
            /// Mapped with this layout; nothing refers to it.
            pub(super) unsafe fn unmap(start: *mut u8, layout: Layout) {
                // SAFETY: by contract.
                unsafe { libc::munmap(start.cast(), layout.size()) };
            }

            /// Lets the system have the pages when it is short of memory, until they are written again.
            pub(super) fn lend(chunk: &Chunk) -> bool {
                // SAFETY: whole pages of the chunk's own, from which nothing is read before it is written.
                unsafe { libc::madvise(chunk.start.cast(), chunk.size, libc::MADV_FREE) == 0 }
            }
        }
    } else {
        mod system {
            use super::{Chunk, Layout, alloc, dealloc};

            pub(super) const MAPS: bool = false;

            /// # Safety
            /// The size is not zero.
            pub(super) unsafe fn map(layout: Layout) -> *mut u8 {
                // SAFETY: by contract.
                unsafe { alloc(layout) }
            }

            /// # Safety
            /// As of `dealloc`.
            pub(super) unsafe fn unmap(start: *mut u8, layout: Layout) {
                // SAFETY: by contract.
                unsafe { dealloc(start, layout) };
            }

            pub(super) fn lend(_: &Chunk) -> bool {
                false
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_to_huge_ones() {
        let chunks: Vec<_> = (0..=HUGE_FROM).map(Chunk::new).collect();
        let sizes: Vec<_> = chunks.iter().map(Chunk::size).collect();
        assert_eq!(sizes[..7], [4, 8, 16, 32, 64, 128, 256].map(|kib: usize| kib << 10));
        assert!(sizes[7..HUGE_FROM].iter().all(|size| *size == LARGE));
        assert_eq!(sizes[HUGE_FROM], HUGE);
        for chunk in chunks {
            // SAFETY: its own.
            unsafe { chunk.start().write_bytes(0xa5, chunk.size()) };
            chunk.give_up();
        }
    }

    #[test]
    fn lent_chunks_hold_what_is_written_to_them_again() {
        let chunk = Chunk::new(HUGE_FROM);
        let memory = chunk.start();
        for round in 1..=3u8 {
            // SAFETY: its own.
            unsafe { memory.write_bytes(round, HUGE) };
            if KEEPS && cfg!(target_os = "linux") {
                assert!(system::lend(&chunk), "the system takes the advice");
            }
            for at in (0..HUGE).step_by(4096) {
                // SAFETY: its own; written before it is read.
                unsafe {
                    memory.add(at).write(round + 1);
                    assert_eq!(memory.add(at).read(), round + 1);
                }
            }
        }
        chunk.give_up();
    }
}
