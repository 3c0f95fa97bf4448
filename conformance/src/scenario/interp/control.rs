//! Observation, time, checkpoints, and the flow of control and errors.

use super::run_block;
use super::tasks::{Reach, Task};
use crate::scenario::form::{Form, Raised, leaf_name};
use crate::scenario::model::{Block, Handler};
use serde_json::Value;
use trine::{EffectiveDeadline, Error, Result};

pub(super) fn log(task: &Task<'_>, label: &str) -> Result<()> {
    task.record("log", [label.into()]);
    Ok(())
}

pub(super) fn time(task: &Task<'_>) -> Result<()> {
    task.record("time", [task.world.ticks(trine::now())]);
    Ok(())
}

pub(super) fn effective_deadline(task: &Task<'_>) -> Result<()> {
    let deadline = match trine::current_effective_deadline() {
        EffectiveDeadline::Cancelled => Value::from("-inf"),
        EffectiveDeadline::At(at) => task.world.ticks(at),
        EffectiveDeadline::Never => Value::from("inf"),
    };
    task.record("effective_deadline", [deadline]);
    Ok(())
}

pub(super) async fn sleep(task: &Task<'_>, ticks: u64) -> Result<()> {
    let length = task.world.length(ticks);
    task.world.arm(trine::now() + length);
    trine::sleep(length).await?;
    task.record("sleep", []);
    Ok(())
}

pub(super) async fn sleep_until(task: &Task<'_>, tick: i64) -> Result<()> {
    let at = task.world.at(tick);
    task.world.arm(at);
    trine::sleep_until(at).await?;
    task.record("sleep_until", []);
    Ok(())
}

pub(super) async fn sleep_forever() -> Result<()> {
    match trine::sleep_forever().await? {}
}

pub(super) async fn checkpoint(task: &Task<'_>) -> Result<()> {
    trine::checkpoint().await?;
    task.record("checkpoint", []);
    Ok(())
}

pub(super) fn checkpoint_if_cancelled(task: &Task<'_>) -> Result<()> {
    trine::checkpoint_if_cancelled()?;
    task.record("checkpoint_if_cancelled", []);
    Ok(())
}

pub(super) async fn shielded_checkpoint(task: &Task<'_>) -> Result<()> {
    trine::shielded_checkpoint().await;
    task.record("shielded_checkpoint", []);
    Ok(())
}

pub(super) fn raise(error: &str) -> Result<()> {
    Err(Raised::named(error))
}

pub(super) async fn repeat<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    times: u64,
    body: &'p Block,
) -> Result<()> {
    for _ in 0..times {
        run_block(task, reach, body).await?;
    }
    Ok(())
}

/// `try`: the body, the first handler that matches its error, and `finally` in any case.
pub(super) async fn attempt<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    body: &'p Block,
    handlers: &'p [Handler],
    finally: &'p Block,
) -> Result<()> {
    let result = match run_block(task, reach, body).await {
        Ok(()) => Ok(()),
        Err(error) => handle(task, reach, handlers, error).await,
    };
    // An error of `finally` replaces whatever was propagating.
    run_block(task, reach, finally).await?;
    result
}

async fn handle<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    handlers: &'p [Handler],
    error: Error,
) -> Result<()> {
    let form = Form::of(&error);
    let taken = handlers.iter().find_map(|handler| Some((handler, caught(handler, &form)?)));
    let Some((handler, caught)) = taken else { return Err(error) };
    task.record("caught", [serde_json::to_value(caught)?]);
    run_block(task, reach, &handler.body).await?;
    let rest = match (handler.reraise, handler.star) {
        (true, _) => Some(error),
        (false, true) => error.split(|leaf| leaf_name(leaf) == handler.pattern).1,
        (false, false) => None,
    };
    rest.map_or(Ok(()), Err)
}

/// What the handler takes of an error of this form.
fn caught(handler: &Handler, form: &Form) -> Option<Form> {
    match handler.star {
        true => form.part(&handler.pattern),
        false => form.matches(&handler.pattern).then(|| form.clone()),
    }
}
