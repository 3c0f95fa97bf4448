//! Tasks: headers, wakers, waiting, locals.

pub(crate) mod header;
pub(crate) mod local;
pub(crate) mod op;
pub(crate) mod park;
pub(crate) mod wake;

use crate::nursery::core::Core;
use crate::sched::context;
use header::Header;
use std::ptr;
use std::sync::Arc;

/// Identity of a task: run's main future, a nursery child, or the outermost frame. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

/// The header of the task that is being polled: bodies and branches belong to the task around them.
pub(crate) fn current_header() -> *const Header {
    let mut at = context::task();
    while !at.is_null() {
        // SAFETY: the context's task is alive, and so is the one around a body that is being polled.
        unsafe {
            let core = (*at).core();
            if core.is_null() || (*at).vtable.get().is_child {
                return at;
            }
            at = (*core).around.get();
        }
    }
    ptr::null()
}

/// Is `task` being polled on this thread, within a poll of `core`? On the way outwards from the context's task, it must be met
/// before the nursery.
///
/// No, if there is something in between that hides tasks from each other.
pub(crate) fn is_polled_within(task: *const Header, core: *const Core) -> bool {
    let mut at = context::task();
    let mut is_met = false;
    while !at.is_null() {
        is_met |= ptr::eq(at, task);
        // SAFETY: the context's task is alive, and being polled: by the nursery that it is in, or one within that into which it
        // has moved meanwhile. So is the task around that one, as of this poll.
        unsafe {
            let polls = (*at).core();
            if polls.is_null() {
                return false;
            }
            if is_met && ptr::eq(polls, core) {
                return true;
            }
            at = (*polls).around.get();
        }
    }
    false
}

/// The task that is being polled on this thread, if any.
pub(crate) fn current_id() -> Option<TaskId> {
    let header = current_header();
    // SAFETY: as `current_header`.
    (!header.is_null()).then(|| unsafe { (*header).task_id() })
}

/// Something that must know when a task ends (the task-owned `Lock`). Called once, with no lock held, in the thread
/// that ended the task.
pub(crate) trait OnExit: Send + Sync {
    fn task_exited(&self, id: TaskId);
}

/// Registers `hook` with the current task; false if there is none. One registration per call.
pub(crate) fn add_exit_hook(hook: Arc<dyn OnExit>) -> bool {
    let header = current_header();
    if header.is_null() {
        return false;
    }
    // SAFETY: as `current_header`.
    unsafe { (*header).with_extras(|e| e.hooks.push(hook)) };
    true
}

/// Takes back one registration (compared by address) from the current task; no-op if there is none.
pub(crate) fn remove_exit_hook(hook: &Arc<dyn OnExit>) {
    let header = current_header();
    if header.is_null() {
        return;
    }
    // SAFETY: as `current_header`.
    let removed = unsafe {
        (*header).with_extras(|e| {
            let found = e.hooks.iter().position(|h| Arc::as_ptr(h).cast::<()>() == Arc::as_ptr(hook).cast::<()>());
            found.map(|i| e.hooks.swap_remove(i))
        })
    };
    drop(removed);
}
