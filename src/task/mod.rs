//! Tasks: headers, memory, wakers, waiting.
pub(crate) mod park;

use std::sync::Arc;

/// Identity of a task: run's main future, a nursery child, or the outermost frame. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

/// The task that is being polled on this thread, if any.
pub(crate) fn current_id() -> Option<TaskId> {
    todo!()
}

/// Something that must know when a task ends (the task-owned `Lock`). Called once, with no lock held, in the thread
/// that ended the task.
pub(crate) trait OnExit: Send + Sync {
    fn task_exited(&self, id: TaskId);
}

/// Registers `hook` with the current task; false if there is none. One registration per call.
pub(crate) fn add_exit_hook(_hook: Arc<dyn OnExit>) -> bool {
    todo!()
}

/// Takes back one registration (compared by address) from the current task; no-op if there is none.
pub(crate) fn remove_exit_hook(_hook: &Arc<dyn OnExit>) {
    todo!()
}
