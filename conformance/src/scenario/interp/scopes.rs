//! Cancel scopes.

use super::run_block;
use super::tasks::{Reach, Task};
use crate::scenario::form::Raised;
use crate::scenario::model::{Block, Deadline};
use trine::{CancelScope, Result};

/// Records `[now, "scope", name, ...]` however it ends.
pub(super) async fn scope<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    deadline: Deadline,
    shield: bool,
    body: &'p Block,
) -> Result<()> {
    let scope = make(task, deadline, shield);
    let result = inside(task, reach, name, &scope, body).await.map(|_caught| ());
    task.record_exit("scope", name, &result, &scope);
    result
}

/// Records `[now, "move_on_after", name, ...]` however it ends.
pub(super) async fn move_on_after<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    ticks: i64,
    shield: bool,
    body: &'p Block,
) -> Result<()> {
    let scope = make(task, Deadline::Rel(ticks), shield);
    let result = inside(task, reach, name, &scope, body).await.map(|_caught| ());
    task.record_exit("move_on_after", name, &result, &scope);
    result
}

/// Records `[now, "fail_after", name, ...]` however it ends.
///
/// Not `trine::fail_after`, because the statement's scope has a name by which others may cancel it.
pub(super) async fn fail_after<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    ticks: i64,
    shield: bool,
    body: &'p Block,
) -> Result<()> {
    let scope = make(task, Deadline::Rel(ticks), shield);
    let result = inside(task, reach, name, &scope, body).await.and_then(|value| value.ok_or_else(Raised::too_slow));
    task.record_exit("fail_after", name, &result, &scope);
    result
}

pub(super) fn new_scope(task: &Task<'_>, name: &str, deadline: Deadline, shield: bool) -> Result<()> {
    task.world.scopes.bind(name, make(task, deadline, shield));
    task.record("new_scope", [name.into()]);
    Ok(())
}

/// Records `[now, "enter", name, ...]` however it ends.
pub(super) async fn enter<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    body: &'p Block,
) -> Result<()> {
    let scope = task.world.scopes.expect(name)?;
    if task.world.entered.find(name).is_some() {
        return Err(Raised::runtime_error());
    }
    task.world.entered.bind(name, ());
    let result = inside(task, reach, name, &scope, body).await.map(|_caught| ());
    task.record_exit("enter", name, &result, &scope);
    result
}

fn make(task: &Task<'_>, deadline: Deadline, shield: bool) -> CancelScope {
    let scope = match deadline {
        Deadline::Inf => CancelScope::new(),
        Deadline::Abs(tick) => CancelScope::at(task.world.at(tick)),
        Deadline::Rel(ticks) => CancelScope::after(task.world.length(ticks.try_into().unwrap_or(0))),
    };
    if shield { scope.shielded() } else { scope }
}

/// Runs the body in the scope, which gets its name when the body starts.
async fn inside<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    name: &'p str,
    scope: &CancelScope,
    body: &'p Block,
) -> Result<Option<()>> {
    let bound = scope.clone();
    scope
        .run(async move {
            if let Some(at) = bound.deadline() {
                task.world.arm(at);
            }
            task.world.scopes.bind(name, bound);
            run_block(task, reach, body).await
        })
        .await
}

pub(super) fn status(task: &Task<'_>, name: &str) -> Result<()> {
    match task.world.scopes.find(name) {
        Some(scope) => {
            let flags = (scope.cancel_called(), scope.cancelled_caught());
            task.record("scope_status", [name.into(), flags.0.into(), flags.1.into()]);
        }
        None => task.record("scope_status", [name.into(), "unbound".into()]),
    }
    Ok(())
}

pub(super) fn cancel(task: &Task<'_>, name: &str) -> Result<()> {
    with_bound(task, "cancel", name, CancelScope::cancel)
}

pub(super) fn set_deadline(task: &Task<'_>, name: &str, deadline: Deadline) -> Result<()> {
    with_bound(task, "set_deadline", name, |scope| {
        let deadline = task.world.deadline(deadline);
        if let Some(at) = deadline {
            task.world.arm(at);
        }
        scope.set_deadline(deadline);
    })
}

pub(super) fn set_shield(task: &Task<'_>, name: &str, shield: bool) -> Result<()> {
    with_bound(task, "set_shield", name, |scope| scope.set_shield(shield))
}

/// Does something to a scope by name; nothing if the name is not bound.
fn with_bound(task: &Task<'_>, kind: &str, name: &str, act: impl FnOnce(&CancelScope)) -> Result<()> {
    match task.world.scopes.find(name) {
        Some(scope) => {
            act(&scope);
            task.record(kind, [name.into()]);
        }
        None => task.record(kind, [name.into(), "unbound".into()]),
    }
    Ok(())
}
