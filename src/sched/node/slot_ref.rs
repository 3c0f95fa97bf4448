//! References to slots that may have been given back and used again: each counts one on the slot's home, which keeps the memory
//! mapped, and knows by the generation whether the node is still the one it was made for.

use super::Node;

/// A counted reference to a slot: its memory stays mapped and a node of this kind. The node itself may be gone.
pub(crate) struct SlotRef {
    node: *const Node,
    /// A whole word: what is written by half and read back as a whole soon after makes the processor wait.
    generation: u64,
}

// SAFETY: a `SlotRef` gives access to the atomics of the node, and to the rest only for the holder of its owner.
unsafe impl Send for SlotRef {}
// SAFETY: as above.
unsafe impl Sync for SlotRef {}

impl SlotRef {
    /// # Safety
    /// `node` is the live or at least mapped head of a slot (not a `Group`).
    #[inline(always)]
    pub(crate) unsafe fn new(node: *const Node) -> Self {
        // SAFETY: mapped by contract.
        let n = unsafe { &*node };
        n.count();
        Self { node, generation: n.generation().into() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const Node {
        self.node
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> &Node {
        // SAFETY: the count keeps the memory mapped and of this type.
        unsafe { &*self.node }
    }

    /// Is it still the node that it was made for?
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        u64::from(self.get().generation()) == self.generation
    }
}

impl Clone for SlotRef {
    #[inline(always)]
    fn clone(&self) -> Self {
        self.get().count();
        Self { node: self.node, generation: self.generation }
    }
}

impl Drop for SlotRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the count that was taken in `new` or `clone` is given back once.
        unsafe { Node::uncount(self.node) }
    }
}

impl std::fmt::Debug for SlotRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SlotRef").field(&self.node).finish()
    }
}
