//! The ambient context: who polls whom on this thread, in one thread-local block without a destructor.
//!
//! Invariants:
//!
//! - `root` is null or a root that this thread holds (`root.rs`), and `number` is its; `node` and `task` belong to it.
//! - `node` is the innermost frame's cancel node; `task` the task whose poll this is.
//! - Every change is undone by a guard, also on unwind: a [`Frame`] is a borrowed stack object.

use super::node::Node;
use super::root::Root;
use crate::task::header::Header;
use crate::task::local::Locals;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

/// Operations that may complete without waiting before the task yields once.
pub(crate) const STEPS: u32 = 64;

pub(crate) struct Ambient {
    pub(crate) root: Cell<*const Root>,
    pub(crate) node: Cell<*const Node>,
    pub(crate) task: Cell<*const Header>,
    /// Task locals in force, borrowed from the frame that set them.
    pub(crate) locals: Cell<*const Locals>,
    /// What is left of the task's step budget.
    pub(crate) steps: Cell<u32>,
    /// `Cancelled` errors delivered during the current poll of a task.
    pub(crate) delivered: Cell<u32>,
    /// Checkpoints entered on this thread. Only ever counts up, so no frame puts it back.
    pub(crate) checkpoints: Cell<u32>,
    /// Likewise: looks for cancellation that are no checkpoints.
    pub(crate) looks: Cell<u32>,
    /// The number of the root; 0 if there is none.
    number: Cell<u32>,
    /// How many roots this thread is telling of something ([`Root::tell`]).
    telling: Cell<u32>,
}

impl Ambient {
    /// Nobody is polled.
    const fn new() -> Self {
        Self {
            root: Cell::new(ptr::null()),
            node: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            locals: Cell::new(ptr::null()),
            steps: Cell::new(STEPS),
            delivered: Cell::new(0),
            checkpoints: Cell::new(0),
            looks: Cell::new(0),
            number: Cell::new(0),
            telling: Cell::new(0),
        }
    }

    /// A task is to be polled: its budgets begin.
    #[inline(always)]
    pub(crate) fn freshen(&self) {
        self.steps.set(STEPS);
        self.delivered.set(0);
    }
}

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        loom::thread_local! {
            static AMBIENT: Ambient = Ambient::new();
        }
    } else {
        thread_local! {
            static AMBIENT: Ambient = const { Ambient::new() };
        }
    }
}

/// Runs `f` with the thread's context.
#[inline(always)]
pub(crate) fn ambient<R>(f: impl FnOnce(&Ambient) -> R) -> R {
    AMBIENT.with(f)
}

/// The thread's context: it has no destructor, and so lasts as long as the thread. For functions that are too large to be
/// inlined into [`ambient`].
#[inline(always)]
pub(crate) fn pointer() -> *const Ambient {
    AMBIENT.with(ptr::from_ref)
}

#[inline(always)]
pub(crate) fn root() -> *const Root {
    ambient(|a| a.root.get())
}

/// The number of the context's root; 0 if there is none.
#[inline(always)]
pub(crate) fn number() -> u32 {
    ambient(|a| a.number.get())
}

#[inline(always)]
pub(crate) fn node() -> *const Node {
    ambient(|a| a.node.get())
}

#[inline(always)]
pub(crate) fn task() -> *const Header {
    ambient(|a| a.task.get())
}

/// Counts a checkpoint.
#[inline(always)]
pub(crate) fn count_checkpoint() {
    ambient(|a| a.checkpoints.set(a.checkpoints.get().wrapping_add(1)));
}

/// Counts a look for cancellation.
pub(crate) fn count_look() {
    ambient(|a| a.looks.set(a.looks.get().wrapping_add(1)));
}

/// Is this thread telling a root of something, in a frame around this one?
pub(crate) fn is_telling() -> bool {
    ambient(|a| a.telling.get() > 0)
}

/// Counts one more root that this thread tells of something, until the result is dropped.
pub(super) fn tell() -> Tells {
    ambient(|a| a.telling.set(a.telling.get() + 1));
    Tells(PhantomData)
}

/// See [`tell`]. Stays on its thread.
pub(super) struct Tells(PhantomData<*const ()>);

impl Drop for Tells {
    fn drop(&mut self) {
        ambient(|a| a.telling.set(a.telling.get() - 1));
    }
}

/// Puts back what was there before when dropped.
pub(crate) struct Frame {
    /// None: nobody was polled.
    saved: Option<Saved>,
    /// In force also where nobody is polled: a foreign executor may poll what binds them.
    locals: *const Locals,
}

struct Saved {
    root: *const Root,
    number: u32,
    node: *const Node,
    task: *const Header,
    steps: u32,
    delivered: u32,
}

impl Saved {
    fn of(a: &Ambient) -> Self {
        Self {
            root: a.root.get(),
            number: a.number.get(),
            node: a.node.get(),
            task: a.task.get(),
            steps: a.steps.get(),
            delivered: a.delivered.get(),
        }
    }

    fn put_back(&self, a: &Ambient) {
        a.root.set(self.root);
        a.number.set(self.number);
        a.node.set(self.node);
        a.task.set(self.task);
        a.steps.set(self.steps);
        a.delivered.set(self.delivered);
    }
}

impl Frame {
    /// A frame of the same task: a scope, a nursery's own code.
    #[inline(always)]
    pub(crate) fn enter_node(node: *const Node) -> NodeFrame {
        ambient(|a| NodeFrame(a.node.replace(node)))
    }

    /// The outermost frame of a root. The task locals around stay in force.
    #[inline]
    pub(crate) fn enter_root(root: *const Root) -> Self {
        ambient(|a| {
            let saved = (!a.root.get().is_null()).then(|| Saved::of(a));
            a.root.set(root);
            // SAFETY: root cells are never unmapped.
            a.number.set(unsafe { (*root).number });
            a.node.set(ptr::null());
            a.task.set(ptr::null());
            a.freshen();
            Self { saved, locals: a.locals.get() }
        })
    }

    /// Hides scopes and task. What is done inside counts against the budgets.
    #[inline]
    pub(crate) fn isolate() -> Restore {
        ambient(|a| {
            let frame = BatchFrame::save(a);
            BatchFrame { node: ptr::null(), task: ptr::null(), locals: ptr::null() }.restore(a);
            Restore(frame)
        })
    }
}

impl Drop for Frame {
    #[inline(always)]
    fn drop(&mut self) {
        ambient(|a| {
            a.locals.set(self.locals);
            match &self.saved {
                Some(saved) => saved.put_back(a),
                // The budgets are those of whoever is polled.
                None => {
                    a.root.set(ptr::null());
                    a.number.set(0);
                    a.node.set(ptr::null());
                    a.task.set(ptr::null());
                }
            }
        });
    }
}

/// The frame of a nursery that polls its tasks: it sets node, task and locals for each of them itself, and puts back what
/// was there. The step budget is not put back: it belongs to whoever is polled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchFrame {
    pub(crate) node: *const Node,
    pub(crate) task: *const Header,
    pub(crate) locals: *const Locals,
}

impl BatchFrame {
    #[inline(always)]
    pub(crate) fn save(a: &Ambient) -> Self {
        Self { node: a.node.get(), task: a.task.get(), locals: a.locals.get() }
    }

    /// Puts back what was in force.
    #[inline(always)]
    pub(crate) fn restore(&self, a: &Ambient) {
        a.locals.set(self.locals);
        self.restore_task(a);
    }

    /// As [`BatchFrame::restore`], where the locals are in force already.
    #[inline(always)]
    pub(crate) fn restore_task(&self, a: &Ambient) {
        debug_assert!(ptr::eq(a.locals.get(), self.locals));
        a.node.set(self.node);
        a.task.set(self.task);
    }
}

/// See [`Frame::isolate`].
pub(crate) struct Restore(BatchFrame);

impl Drop for Restore {
    #[inline(always)]
    fn drop(&mut self) {
        ambient(|a| self.0.restore(a));
    }
}

/// As [`Frame`], for a change of the node alone.
pub(crate) struct NodeFrame(*const Node);

impl Drop for NodeFrame {
    #[inline(always)]
    fn drop(&mut self) {
        ambient(|a| a.node.set(self.0));
    }
}

/// Calls `f` with the root that this thread holds, if any.
#[inline(always)]
pub(crate) fn with_root<R>(f: impl FnOnce(&'static Root) -> R) -> Option<R> {
    let root = root();
    // SAFETY: root cells are never unmapped; the context's is held by this thread.
    (!root.is_null()).then(|| f(unsafe { &*root }))
}
