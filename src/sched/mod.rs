//! The scheduler: roots, the ambient context, the cancel tree, timers, and the way in for other threads.
//!
//! ```text
//! context   who polls whom on this thread
//! node      the cancel tree               (pure but for wakers)
//! root      what a root owns, its turns   pool   task memory
//! remote    wakes and mail from outside   count  the biased reference count
//! timers    deadlines (pure)              idle   what to do when nothing can run
//! gate      who holds a root, and mail    bell   what makes a host poll
//! cells     the roots of the process      chunks what pools are carved from
//! stack     intrusive stacks              sync   std's atomics, or loom's
//! polled    wakers of `poll_cancelled`    wakes  what a change leaves to be done
//!                                         ahead  memory asked for ahead of its use
//! ```

mod ahead;
pub(crate) mod bell;
mod cells;
mod chunks;
pub(crate) mod context;
pub(crate) mod count;
pub(crate) mod gate;
pub(crate) mod idle;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod node;
pub(crate) mod polled;
pub(crate) mod pool;
pub(crate) mod remote;
pub(crate) mod root;
pub(crate) mod stack;
mod stays;
pub(crate) mod sync;
pub(crate) mod timers;
pub(crate) mod wakes;
