//! The interpreter: runs the statements of a program on Trine's public API.
//!
//! Each task of the program is a task of Trine; a statement becomes the one operation that the library has for it, and
//! errors travel as [`trine::Error`], so that the traces judge the library and not this module. What the library
//! excludes by construction (a second `started`, a condition without its lock) is checked here.
//!
//! Statement bodies are recursive and therefore boxed ([`run_block`]). Everything is interpreted by reference:
//! `'p` is the program and the [`World`] it runs in, `'a` the code around the statement. How a child gets at its
//! program is the one thing in which the two modes of [`Children`] differ; see [`tasks`].

mod channels;
mod control;
mod scopes;
mod sync;
mod tasks;
mod world;

pub(super) use tasks::run_main;
pub(super) use world::World;

use super::model::Stmt;
use std::future::Future;
use std::pin::Pin;
use tasks::{Reach, Task};
use trine::Result;

/// How the children of a program are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Children {
    /// By `&Nursery`: they borrow the program and the interpreter's state from the task that opened the nursery. A
    /// nursery that is not lexically around the statement is reached as in `Static`.
    #[default]
    Borrowed,
    /// By `Spawner`: they own what they need.
    Static,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs the statements in order, until one fails.
fn run_block<'a, 'p: 'a>(task: &'a Task<'p>, reach: &'a Reach<'p, 'a>, block: &'p [Stmt]) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        for stmt in block {
            run_stmt(task, reach, stmt).await?;
        }
        Ok(())
    })
}

/// Runs one statement. By the event rule it records one event if it completes, unless its own function says otherwise.
async fn run_stmt<'a, 'p: 'a>(task: &'a Task<'p>, reach: &'a Reach<'p, 'a>, stmt: &'p Stmt) -> Result<()> {
    use Stmt as S;
    match stmt {
        S::Log { label } => control::log(task, label),
        S::Time {} => control::time(task),
        S::EffectiveDeadline {} => control::effective_deadline(task),
        S::Sleep { ticks } => control::sleep(task, *ticks).await,
        S::SleepUntil { at } => control::sleep_until(task, *at).await,
        S::SleepForever {} => control::sleep_forever().await,
        S::Checkpoint {} => control::checkpoint(task).await,
        S::CheckpointIfCancelled {} => control::checkpoint_if_cancelled(task),
        S::ShieldedCheckpoint {} => control::shielded_checkpoint(task).await,
        S::Raise { error } => control::raise(error),
        S::Repeat { n, body } => control::repeat(task, reach, *n, body).await,
        S::Try { body, catch, finally } => control::attempt(task, reach, body, catch, finally).await,

        S::Nursery { name, body } => tasks::nursery(task, reach, name, body).await,
        S::Spawn { nursery, task: child, body } => tasks::spawn(task, reach, nursery, child, body),
        S::Start { nursery, task: child, body } => tasks::start(task, reach, nursery, child, body).await,
        S::Started { value } => tasks::started(task, value),

        S::ScopeStatus { name } => scopes::status(task, name),
        S::Scope { name, deadline, shield, body } => scopes::scope(task, reach, name, *deadline, *shield, body).await,
        S::MoveOnAfter { name, ticks, shield, body } => {
            scopes::move_on_after(task, reach, name, *ticks, *shield, body).await
        }
        S::FailAfter { name, ticks, shield, body } => {
            scopes::fail_after(task, reach, name, *ticks, *shield, body).await
        }
        S::NewScope { name, deadline, shield } => scopes::new_scope(task, name, *deadline, *shield),
        S::Enter { name, body } => scopes::enter(task, reach, name, body).await,
        S::Cancel { name } => scopes::cancel(task, name),
        S::SetDeadline { name, deadline } => scopes::set_deadline(task, name, *deadline),
        S::SetShield { name, shield } => scopes::set_shield(task, name, *shield),

        S::Send { tx, value } => channels::send(task, tx, *value).await,
        S::SendNowait { tx, value } => channels::send_nowait(task, tx, *value),
        S::Recv { rx } => channels::recv(task, rx).await,
        S::RecvNowait { rx } => channels::recv_nowait(task, rx),
        S::RecvAll { rx, body } => channels::recv_all(task, reach, rx, body).await,
        S::Clone { handle, name } => channels::clone(task, handle, name),
        S::Close { handle } => channels::close(task, handle),

        S::EventSet { event } => sync::event_set(task, event),
        S::EventWait { event } => sync::event_wait(task, event).await,
        S::EventIsSet { event } => sync::event_is_set(task, event),
        S::LockAcquire { lock } => sync::lock_acquire(task, lock).await,
        S::LockAcquireNowait { lock } => sync::lock_acquire_nowait(task, lock),
        S::LockRelease { lock } => sync::lock_release(task, lock),
        S::WithLock { lock, body } => sync::with_lock(task, reach, lock, body).await,
        S::SemAcquire { sem } => sync::sem_acquire(task, sem).await,
        S::SemAcquireNowait { sem } => sync::sem_acquire_nowait(task, sem),
        S::SemRelease { sem } => sync::sem_release(task, sem),
        S::WithSem { sem, body } => sync::with_sem(task, reach, sem, body).await,
        S::WithCond { cond, body } => sync::with_cond(task, reach, cond, body).await,
        S::CondWait { cond } => sync::cond_wait(task, cond).await,
        S::CondNotify { cond, n } => sync::cond_notify(task, cond, *n),
        S::CondNotifyAll { cond } => sync::cond_notify_all(task, cond),
        S::LimAcquire { limiter, borrower } => sync::lim_acquire(task, limiter, borrower.as_deref()).await,
        S::LimAcquireNowait { limiter, borrower } => sync::lim_acquire_nowait(task, limiter, borrower.as_deref()),
        S::LimRelease { limiter, borrower } => sync::lim_release(task, limiter, borrower.as_deref()),
        S::WithLim { limiter, body } => sync::with_lim(task, reach, limiter, body).await,
        S::LimSetTotal { limiter, total } => sync::lim_set_total(task, limiter, *total),
        S::LimStats { limiter } => sync::lim_stats(task, limiter),
    }
}
