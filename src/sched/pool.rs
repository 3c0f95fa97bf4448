//! Task memory: slots by size class, carved from chunks that belong to one root.
//!
//! Invariants:
//!
//! - A slot keeps its kind (task, scope, nursery) for ever, and its head is always a valid [`Node`]; that is what makes
//!   stale references harmless.
//! - `free` lists and chunks are touched only by the holder of the root; `given_back` takes slots from any thread.
//! - Each slot in use counts one on the root. [Chunks](super::chunks) are given up when the root has ended and its
//!   count is zero.

use super::ahead::Ahead;
use super::chunks::Chunk;
use super::node::Node;
use super::root::Root;
use super::stack::Pile;
use super::sync::Cell;
use crate::cancel::slot::ScopeSlot;
use crate::nursery::core::CoreSlot;
use crate::task::header::{Header, VTable};
use std::cell::RefCell;
use std::ptr;

/// Alignment of slots, and granularity of sizes.
pub(crate) const ALIGN: usize = 16;
/// Larger task slots do not exist: such a future is boxed.
pub(crate) const MAX_SLOT: usize = 2048;

const FINE: usize = 512 / 16;
const COARSE: usize = (MAX_SLOT - 512) / 128;
/// Task classes, then one for scopes and one for nurseries.
pub(crate) const TASK_CLASSES: usize = FINE + COARSE + 1;
pub(crate) const SCOPE_CLASS: usize = TASK_CLASSES;
pub(crate) const CORE_CLASS: usize = TASK_CLASSES + 1;
const CLASSES: usize = TASK_CLASSES + 2;
const _: () = assert!(CLASSES < 1 << 8, "a free slot has a byte for its class");

/// The class for a task slot of `size` bytes.
pub(crate) const fn task_class(size: usize) -> usize {
    if size <= 512 { size.div_ceil(16) } else { FINE + (size - 512).div_ceil(128) }
}

const fn class_size(class: usize) -> usize {
    if class == SCOPE_CLASS {
        size_of::<ScopeSlot>().next_multiple_of(ALIGN)
    } else if class == CORE_CLASS {
        size_of::<CoreSlot>().next_multiple_of(ALIGN)
    } else if class <= FINE {
        class * 16
    } else {
        512 + (class - FINE) * 128
    }
}

/// Free slots are linked through this, in front of which stands a valid head.
struct Links;

impl Links {
    /// Links of free slots reuse `Node::parent`, which a free node does not need.
    fn next(node: *const Node) -> *const Node {
        // SAFETY: free slots have valid heads.
        unsafe { (*node).parent.get() }
    }

    fn set(node: *const Node, next: *const Node) {
        // SAFETY: as above.
        unsafe { (*node).parent.set(next) }
    }
}

/// See the module.
#[repr(C)]
pub(crate) struct Pool {
    bump: Cell<*mut u8>,
    end: Cell<*mut u8>,
    /// Slots given back by threads that do not hold the root, as `(node, class)` stacks per class would be too many:
    /// one stack, the class stands in the slot.
    given_back: Pile<Node>,
    free: [Cell<*const Node>; CLASSES],
    chunks: RefCell<Vec<Chunk>>,
    ahead: Ahead,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            free: std::array::from_fn(|_| Cell::new(ptr::null())),
            given_back: Pile::new(),
            bump: Cell::new(ptr::null_mut()),
            end: Cell::new(ptr::null_mut()),
            ahead: Ahead::new(),
            chunks: RefCell::new(Vec::new()),
        }
    }

    /// Takes a slot, with a free head of the class's kind.
    ///
    /// # Safety
    /// This thread holds `root`, whose pool this is.
    #[inline(always)]
    pub(crate) unsafe fn allocate(&self, root: &Root, class: usize) -> *const Node {
        let node = self.free[class].get();
        // SAFETY: held by contract.
        unsafe {
            root.count_inc_here();
            if node.is_null() {
                return self.carve(root, class);
            }
            self.free[class].set(Links::next(node));
            node
        }
    }

    /// Takes a slot for a task and puts it to use, to be linked as the last one under `parent` ([`node::close_ring`]).
    ///
    /// # Safety
    /// As [`Pool::allocate`]; `parent` is alive, a node of `root`'s, and nothing is linked there before the task is.
    #[inline(always)]
    pub(crate) unsafe fn begin_task(&self, root: &Root, vtable: &'static VTable, parent: *const Node) -> *const Header {
        let node = self.free[vtable.class].get();
        root.count_inc_here();
        // SAFETY: by contract.
        unsafe {
            if node.is_null() {
                return match self.make(root, vtable, parent) {
                    Some(h) => h,
                    None => self.make_slowly(root, vtable, parent),
                };
            }
            self.free[vtable.class].set(Links::next(node));
            let h = node.cast::<Header>();
            (*h).begin(root, vtable);
            (*node).be_last(parent);
            h
        }
    }

    /// Gives a slot back. Its node has been retired.
    ///
    /// # Safety
    /// The slot is of this pool and class and in use by nobody; `holds`: this thread holds the root, which has not
    /// ended.
    #[inline(always)]
    pub(crate) unsafe fn release(&self, node: *const Node, class: usize, holds: bool) {
        if holds {
            debug_assert!(class < CLASSES);
            // SAFETY: the slot is of a class, by contract.
            let list = unsafe { self.free.get_unchecked(class) };
            Links::set(node, list.get());
            list.set(node);
        } else {
            // SAFETY: in use by nobody.
            unsafe { self.give_back(node, class) };
        }
    }

    #[cold]
    unsafe fn give_back(&self, node: *const Node, class: usize) {
        // SAFETY: in use by nobody.
        unsafe { (*node).rounds.set(class as u8) };
        self.given_back.push(node, |top| Links::set(node, top));
    }

    /// There is no free slot of the class: makes one of what is left of the last chunk, in the state that it is to be in: its
    /// memory is new to the cache. None: nothing is left. (What was given back meanwhile is looked for then.)
    #[inline(always)]
    unsafe fn make(&self, root: &Root, vtable: &'static VTable, parent: *const Node) -> Option<*const Header> {
        let slot = self.bump.get();
        let next = slot.wrapping_add(class_size(vtable.class));
        if next > self.end.get() {
            return None;
        }
        // SAFETY: as the caller's; there is room up to `next`, aligned to ALIGN, which nobody else has.
        unsafe {
            self.bump.set(next);
            self.ahead.ask(slot);
            let slot = slot.cast::<Header>();
            slot.write(Header::begun(root, vtable, slot, parent));
            Some(slot)
        }
    }

    /// As [`Pool::make`], if nothing is left.
    #[cold]
    #[inline(never)]
    unsafe fn make_slowly(&self, root: &Root, vtable: &'static VTable, parent: *const Node) -> *const Header {
        // SAFETY: as the caller's.
        unsafe {
            let node = self.carve(root, vtable.class);
            (*node.cast::<Header>()).begin(root, vtable);
            (*node).be_last(parent);
            node.cast()
        }
    }

    /// Takes what was given back, or makes a slot.
    #[cold]
    #[inline(never)]
    unsafe fn carve(&self, root: &Root, class: usize) -> *const Node {
        let mut back = self.given_back.take_if_any();
        while !back.is_null() {
            let next = Links::next(back);
            // SAFETY: a free slot's head is valid; `give_back` wrote the class.
            let of = usize::from(unsafe { (*back).rounds.get() });
            Links::set(back, self.free[of].get());
            self.free[of].set(back);
            back = next;
        }
        let node = self.free[class].get();
        if !node.is_null() {
            self.free[class].set(Links::next(node));
            return node;
        }
        let size = class_size(class);
        if self.room() < size {
            self.grow();
        }
        let slot = self.bump.get();
        // One at a time: its lines are new to the cache, and what its task is for is done while they come.
        // SAFETY: there is room for `size` bytes, aligned to ALIGN, which nobody else has.
        unsafe {
            self.bump.set(slot.add(size));
            match class {
                CORE_CLASS => {
                    slot.cast::<CoreSlot>().write(CoreSlot::fresh(root));
                    CoreSlot::settle_in(slot.cast());
                }
                SCOPE_CLASS => {
                    slot.cast::<ScopeSlot>().write(ScopeSlot::fresh(root));
                    Node::settle_in(slot.cast());
                }
                _ => {
                    slot.cast::<Header>().write(Header::fresh(root));
                    Node::settle_in(slot.cast());
                }
            }
        }
        slot.cast_const().cast()
    }

    /// What is left of the last chunk.
    fn room(&self) -> usize {
        self.end.get() as usize - self.bump.get() as usize
    }

    fn grow(&self) {
        let mut chunks = self.chunks.borrow_mut();
        let chunk = Chunk::new(chunks.len());
        self.bump.set(chunk.start());
        // SAFETY: one past the end of the chunk.
        self.end.set(unsafe { chunk.start().add(chunk.size()) });
        chunks.push(chunk);
    }

    /// Gives up everything.
    ///
    /// # Safety
    /// The root has ended and its count is zero: nothing refers to a slot.
    pub(crate) unsafe fn clear(&self) {
        for class in &self.free {
            class.set(ptr::null());
        }
        self.given_back.clear();
        self.bump.set(ptr::null_mut());
        self.end.set(ptr::null_mut());
        self.chunks.borrow_mut().drain(..).for_each(Chunk::give_up);
    }

    /// Bytes that it has; those of them that are from the system.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let chunks = self.chunks.borrow();
        let mapped = chunks.iter().filter(|chunk| chunk.is_mapped());
        (chunks.iter().map(Chunk::size).sum(), mapped.map(Chunk::size).sum())
    }
}
