//! Tasks, and the nurseries in which they run.
//!
//! A nursery is reached in one of two ways:
//!
//! - by reference: the code inside a nursery carries a chain of [`Level`]s, one for each nursery around it
//!   ([`Reach`]). A child spawned through a level borrows the program and the [`World`], and its own chain begins at
//!   that level;
//! - by name: the world has a `Spawner` for each nursery. A child spawned through it owns its program and a share of
//!   the world, and its chain is empty.
//!
//! With [`Children::Borrowed`] the chain is asked first; what is not in it was opened elsewhere (by a sibling, or it is
//! closed) and is reached by name. With [`Children::Static`] the chain stays empty.

use super::world::World;
use super::{BoxFuture, Children, run_block};
use crate::scenario::form::{Form, Raised};
use crate::scenario::model::{Block, Scenario};
use crate::scenario::trace::Event;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine::sync::OwnedMutexGuard;
use trine::{CancelScope, Nursery, Result, TaskStatus};

/// A task of the program: what its statements know of it.
pub(super) struct Task<'p> {
    pub(super) world: &'p Arc<World>,
    pub(super) name: &'p str,
    /// Unique in the run, even if a `repeat` spawns two tasks of one name.
    pub(super) number: u64,
    /// What `started` uses up; `None` for a task that was not started so, or has said it.
    status: Mutex<Option<TaskStatus<Value>>>,
    /// The locks of conditions that the task holds, by the condition's name.
    guards: Mutex<HashMap<&'p str, OwnedMutexGuard<()>>>,
}

impl<'p> Task<'p> {
    fn new(world: &'p Arc<World>, name: &'p str, status: Option<TaskStatus<Value>>) -> Self {
        Self { world, name, number: world.next_task(), status: Mutex::new(status), guards: Mutex::new(HashMap::new()) }
    }

    pub(super) fn record<const N: usize>(&self, kind: &str, arguments: [Value; N]) {
        let now = self.world.ticks(trine::now());
        self.world.recorder.record(self.name, Event::new(now, kind, arguments));
    }

    /// Takes the event that reports how a block statement with a scope ended.
    pub(super) fn record_exit(&self, kind: &str, name: &str, result: &Result<()>, scope: &CancelScope) {
        let flags = (scope.cancel_called(), scope.cancelled_caught());
        self.record(kind, [name.into(), form_of(result), flags.0.into(), flags.1.into()]);
    }

    pub(super) fn guards(&self) -> MutexGuard<'_, HashMap<&'p str, OwnedMutexGuard<()>>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the whole body of the task and records how it ended.
    async fn run(self, reach: Reach<'p, '_>, body: &'p Block) -> Result<()> {
        let result = run_block(&self, &reach, body).await;
        self.record("done", [form_of(&result)]);
        result
    }
}

fn form_of(result: &Result<()>) -> Value {
    serde_json::to_value(Form::of_result(result)).expect("a form is JSON")
}

/// Runs `main`; returns how it ended, and when.
pub(in crate::scenario) async fn run_main(world: &Arc<World>, scenario: &Scenario) -> (Result<()>, Value) {
    let result = Task::new(world, "main", None).run(None, &scenario.main).await;
    (result, world.ticks(trine::now()))
}

/// The innermost nursery around some code; its own chain leads to the others.
pub(super) type Reach<'p, 'a> = Option<Arc<dyn Enclosing<'p> + 'a>>;

/// A child to be.
#[derive(Clone, Copy)]
pub(super) struct Child<'p> {
    world: &'p Arc<World>,
    name: &'p Arc<str>,
    body: &'p Block,
}

impl<'p> Child<'p> {
    async fn run(self, reach: Reach<'p, '_>, status: Option<TaskStatus<Value>>) -> Result<()> {
        Task::new(self.world, self.name, status).run(reach, self.body).await
    }

    /// The same child, but owning what it needs.
    fn run_owned(self) -> impl FnOnce(Option<TaskStatus<Value>>) -> BoxFuture<'static, Result<()>> + Send + 'static {
        let (world, name, body) = (self.world.clone(), self.name.clone(), self.body.clone());
        move |status| Box::pin(async move { Child { world: &world, name: &name, body: &body }.run(None, status).await })
    }
}

/// The nurseries around some code, without their types.
pub(super) trait Enclosing<'p>: Send + Sync {
    /// Spawns a child into the innermost nursery of that name; `false` if there is none.
    fn spawn(self: Arc<Self>, nursery: &str, child: Child<'p>) -> bool;

    /// Starts a child in the innermost nursery of that name; `None` if there is none.
    fn start<'x>(self: Arc<Self>, nursery: &str, child: Child<'p>) -> Option<BoxFuture<'x, Result<Value>>>
    where
        Self: 'x;
}

/// A nursery around some code, and those around it.
struct Level<'p, 'scope, 'env> {
    name: &'p str,
    nursery: &'scope Nursery<'scope, 'env>,
    outer: Reach<'p, 'env>,
}

impl<'p: 'env, 'scope, 'env> Enclosing<'p> for Level<'p, 'scope, 'env> {
    fn spawn(self: Arc<Self>, nursery: &str, child: Child<'p>) -> bool {
        if self.name != nursery {
            return self.outer.clone().is_some_and(|outer| outer.spawn(nursery, child));
        }
        self.nursery.start_soon(child.run(Some(self), None));
        true
    }

    fn start<'x>(self: Arc<Self>, nursery: &str, child: Child<'p>) -> Option<BoxFuture<'x, Result<Value>>>
    where
        Self: 'x,
    {
        if self.name != nursery {
            return self.outer.clone()?.start(nursery, child);
        }
        let start = self.nursery.start(move |status| child.run(Some(self), Some(status)));
        Some(Box::pin(start))
    }
}

/// Records `[now, "nursery", name, ...]` however it ends.
pub(super) async fn nursery<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    body: &'p Block,
) -> Result<()> {
    let scope = CancelScope::new();
    let bound = scope.clone();
    let result = scope
        .nursery(async move |nursery| {
            task.world.scopes.bind(name, bound);
            task.world.nurseries.bind(name, nursery.spawner());
            let reach: Reach<'p, '_> = match task.world.children {
                Children::Borrowed => Some(Arc::new(Level { name, nursery, outer: reach.clone() })),
                Children::Static => None,
            };
            run_block(task, &reach, body).await
        })
        .await
        .map(|_caught| ());
    task.record_exit("nursery", name, &result, &scope);
    result
}

pub(super) fn spawn<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    nursery: &str,
    name: &'p Arc<str>,
    body: &'p Block,
) -> Result<()> {
    let child = Child { world: task.world, name, body };
    let reached = reach.clone().is_some_and(|level| level.spawn(nursery, child));
    if !reached {
        let run = child.run_owned();
        task.world.nurseries.expect(nursery)?.start_soon(async move { run(None).await })?;
    }
    task.record("spawn", [Value::from(&**name)]);
    Ok(())
}

pub(super) async fn start<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    nursery: &str,
    name: &'p Arc<str>,
    body: &'p Block,
) -> Result<()> {
    let child = Child { world: task.world, name, body };
    let start = match reach.clone().and_then(|level| level.start(nursery, child)) {
        Some(start) => start,
        None => {
            let run = child.run_owned();
            Box::pin(task.world.nurseries.expect(nursery)?.start(move |status| run(Some(status))))
        }
    };
    let value = start.await?;
    task.record("start", [Value::from(&**name), value]);
    Ok(())
}

pub(super) fn started(task: &Task<'_>, value: &Value) -> Result<()> {
    let status = task.status.lock().unwrap_or_else(PoisonError::into_inner).take();
    status.ok_or_else(Raised::runtime_error)?.started(value.clone());
    task.record("started", []);
    Ok(())
}
