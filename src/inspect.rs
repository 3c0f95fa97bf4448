//! Looking at what runs: the current task, the task tree, statistics, instruments.

use crate::cancel::slot::ScopeSlot;
use crate::nursery::core::{CoreSlot, Panic};
use crate::sched::context;
use crate::sched::node::{Kind, Node};
use crate::sched::root::Root;
use crate::task::header::Header;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What is known of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Unique among all tasks of the process.
    pub id: u64,
    /// The name it was given, if any.
    pub name: Option<Cow<'static, str>>,
    /// The id of the task that its nursery is in.
    pub parent: Option<u64>,
}

fn info(h: &Header) -> TaskInfo {
    TaskInfo { id: h.task_id().0, name: h.name(), parent: parent(h) }
}

/// The task that the nursery of `h` is in; bodies and branches in between do not count.
fn parent(h: &Header) -> Option<u64> {
    let core = h.core();
    if core.is_null() {
        return None;
    }
    // SAFETY: a task's nursery outlives it; the nursery's parents are alive while it is linked.
    unsafe {
        let mut at = (*core).scope.node.parent.get();
        while !at.is_null() {
            if (*at).kind() == Kind::Task {
                let task = &*at.cast::<Header>();
                if task.core().is_null() || task.vtable.get().is_child {
                    return Some(task.task_id().0);
                }
            }
            at = (*at).parent.get();
        }
    }
    None
}

/// Is told of the life of every task of a run. Hooks run on the run's thread and must not block.
pub trait Instrument: Send + Sync + 'static {
    /// A task was spawned.
    fn task_spawned(&self, _task: &TaskInfo) {}
    /// A task is about to be polled.
    fn before_step(&self, _task: &TaskInfo) {}
    /// A task was polled.
    fn after_step(&self, _task: &TaskInfo) {}
    /// A task has ended.
    fn task_exited(&self, _task: &TaskInfo) {}
}

#[cold]
fn tell(root: &Root, h: &Header, hook: impl FnOnce(&dyn Instrument, &TaskInfo)) {
    if let Some(instrument) = root.with_settings(|s| s.instrument.clone()) {
        hook(&*instrument, &info(h));
    }
}

pub(crate) fn task_spawned(root: &Root, h: &Header) {
    tell(root, h, |i, t| i.task_spawned(t));
}
pub(crate) fn before_step(root: &Root, h: &Header) {
    tell(root, h, |i, t| i.before_step(t));
}
pub(crate) fn after_step(root: &Root, h: &Header) {
    tell(root, h, |i, t| i.after_step(t));
}
/// The exit of a task, for [`Exit::tell`]; none if nobody wants to hear of it.
///
/// # Safety
/// This thread holds the task's owner, if it has one.
#[inline(always)]
pub(crate) unsafe fn to_be_told(h: &Header) -> Option<Box<Exit>> {
    // SAFETY: root cells are never unmapped; held by contract.
    let root = unsafe { h.node.owner().as_ref() }?;
    if root.instrumented.get() { exit_of(root, h) } else { None }
}

#[inline(never)]
fn exit_of(root: &Root, h: &Header) -> Option<Box<Exit>> {
    if root.has_ended() {
        return None;
    }
    let instrument = root.with_settings(|s| s.instrument.clone())?;
    Some(Box::new(Exit { instrument, task: info(h) }))
}

/// See [`to_be_told`].
pub(crate) struct Exit {
    instrument: Arc<dyn Instrument>,
    task: TaskInfo,
}

impl Exit {
    pub(crate) fn tell(&self) {
        self.instrument.task_exited(&self.task);
    }
}

/// A panic that another one came before: the instrument is to be told once more.
pub(crate) fn lost_panic(root: &Root, h: &Header, panic: Panic) -> Option<Box<Exit>> {
    // Its payload may panic when it is dropped.
    std::mem::forget(panic);
    let instrument = root.with_settings(|s| s.instrument.clone())?;
    Some(Box::new(Exit { instrument, task: info(h) }))
}

/// Returns the task that is being polled on this thread, if any.
///
/// # Examples
///
/// ```
/// trine::run(trine::nursery(async |n| {
///     n.task("reader").start_soon(async {
///         let task = trine::inspect::current_task().unwrap();
///         assert_eq!(task.name.as_deref(), Some("reader"));
///         Ok(())
///     });
///     Ok(())
/// }))?;
/// # Ok::<(), trine::Error>(())
/// ```
pub fn current_task() -> Option<TaskInfo> {
    let header = crate::task::current_header();
    // SAFETY: the current task is alive and held by this thread.
    (!header.is_null()).then(|| info(unsafe { &*header }))
}

/// The tasks, nurseries and scopes of a run at one moment. `Display` draws it.
#[derive(Clone, Debug)]
pub struct Tree {
    lines: Vec<(usize, String)>,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (depth, line)) in self.lines.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{:width$}{line}", "", width = depth * 2)?;
        }
        Ok(())
    }
}

/// Draws the tree of the run around; empty outside of a run.
pub fn tree() -> Tree {
    let mut lines = Vec::new();
    let root = context::root();
    if !root.is_null() {
        // SAFETY: the context's root is held by this thread; linked nodes are alive.
        unsafe {
            let main = (*root).main.get();
            if !main.is_null() {
                draw(&(*main).node, 0, &mut lines);
            }
        }
    }
    Tree { lines }
}

unsafe fn draw(start: &Node, depth: usize, lines: &mut Vec<(usize, String)>) {
    let mut stack = vec![(std::ptr::from_ref(start), depth)];
    while let Some((node, depth)) = stack.pop() {
        // SAFETY: by the caller's contract.
        let n = unsafe { &*node };
        let mut inner = depth + 1;
        if n.kind() == Kind::Group {
            inner = depth;
        } else {
            // SAFETY: as above.
            lines.push((depth, unsafe { describe(n) }));
        }
        let children: Vec<_> = n.inner().collect();
        stack.extend(children.into_iter().rev().map(|c| (c, inner)));
    }
}

unsafe fn describe(n: &Node) -> String {
    let mut line = match n.kind() {
        Kind::Task => {
            // SAFETY: the kind says so.
            let h = unsafe { &*std::ptr::from_ref(n).cast::<Header>() };
            let mut line = if h.core().is_null() {
                "main".to_owned()
            } else if h.vtable.get().is_child {
                format!("child {}", h.task_id().0 & 0xff_ffff_ffff)
            } else if h.vtable.get().in_group {
                "branch".to_owned()
            } else {
                "body".to_owned()
            };
            if let Some(name) = h.name() {
                line = format!("{line} `{name}`");
            }
            match h.wait() {
                Some(wait) => format!("{line}: waits in {} at {}", wait.op, place(wait.at)),
                None => line,
            }
        }
        // SAFETY: the kind says so.
        Kind::Scope => format!("scope{}", unsafe { at(n) }),
        // SAFETY: as above.
        Kind::Nursery => format!("nursery{}", unsafe { at(n) }),
        Kind::Group => "children".to_owned(),
    };
    if n.is_shield() {
        line.push_str(", shielded");
    }
    if n.is_called() {
        line.push_str(", cancelled");
    }
    line
}

unsafe fn at(n: &Node) -> String {
    // SAFETY: the caller has looked at the kind.
    unsafe { ScopeSlot::of(n) }.at.get().map_or_else(String::new, |l| format!(" at {}", place(l)))
}

fn place(at: &Location<'_>) -> String {
    format!("{}:{}", at.file(), at.line())
}

/// Counts of a run at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Tasks that have not ended, the main one included.
    pub tasks: usize,
    /// Sleeps and deadlines that are pending.
    pub timers: usize,
    /// Bytes of task memory that the run has.
    pub memory: usize,
    /// Of these, bytes that came from the system past the program's allocator: what a large run has beyond 4 MiB.
    pub mapped: usize,
}

/// Returns the counts of the run around; zero outside of a run.
pub fn statistics() -> Statistics {
    let root = context::root();
    if root.is_null() {
        return Statistics { tasks: 0, timers: 0, memory: 0, mapped: 0 };
    }
    // SAFETY: the context's root is held by this thread; linked nodes are alive.
    unsafe {
        let root = &*root;
        let mut tasks = 0;
        let mut stack = vec![root.main.get().cast::<Node>()];
        while let Some(node) = stack.pop() {
            if node.is_null() {
                continue;
            }
            let n = &*node;
            if n.kind() == Kind::Task {
                let h = &*node.cast::<Header>();
                tasks += usize::from(h.core().is_null() || h.vtable.get().is_child);
            }
            stack.extend(n.inner());
        }
        let (memory, mapped) = root.pool.bytes();
        Statistics { tasks, timers: root.timers.borrow().pending(), memory, mapped }
    }
}

/// Keeps the layout that headers and nurseries rely on.
const _: () = {
    assert!(std::mem::offset_of!(Header, node) == 0);
    assert!(std::mem::offset_of!(CoreSlot, scope) == 0);
    assert!(std::mem::offset_of!(ScopeSlot, node) == 0);
};
