//! The interpreter: one future for each block and each statement.

mod channels;
mod local;
mod scopes;
mod sync;
mod tasks;

pub(super) use local::main;
pub(super) use tasks::Joins;

use super::foreign::{DropAfter, Fut, Joined, Lend, Loose, Rewake, Run, Select, Yields, user_drop};
use super::program::{Block, ChildKind, Foreign, Joiner, Op, StartLimit, Stmt};
use super::world::{World, lock};
use futures_concurrency::future::Join as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;
use trine::{EffectiveDeadline, Error, Result, Spawner};

trine::task_local! {
    static VALUE: u64;
}

/// What code knows of its surroundings.
#[derive(Clone)]
pub(super) struct Cx {
    pub(super) world: Arc<World>,
    /// Unique for each task and each branch.
    task: u64,
    /// The nurseries around that can be reached by name, outermost first.
    levels: Vec<Spawner>,
    local: Option<u64>,
    /// Inside `isolated`, where there is no task.
    isolated: bool,
}

impl Cx {
    pub(super) fn new(world: Arc<World>) -> Self {
        let task = world.next_task();
        Self { world, task, levels: Vec::new(), local: None, isolated: false }
    }

    /// For a task or branch of its own.
    fn branch(&self) -> Self {
        Self { task: self.world.next_task(), ..self.clone() }
    }

    fn fail(&self, what: impl Into<String>) {
        self.world.fail(what);
    }

    /// What must be true of every result of anything that can be cancelled.
    fn check(&self, op: Op, result: &Result<()>) {
        let Err(error) = result else { return };
        if error.has_cancelled() && !self.world.toggles && !is_cancelled() {
            self.fail(format!("{op:?} failed with {error} where no scope is cancelled"));
        }
    }
}

fn is_cancelled() -> bool {
    trine::current_effective_deadline() == EffectiveDeadline::Cancelled
}

pub(super) fn millis(count: u8) -> Duration {
    Duration::from_millis(count.into())
}

/// An error of the program's own.
#[derive(Debug)]
pub(super) struct Raised(pub(super) u32);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.0)
    }
}

impl std::error::Error for Raised {}

/// A panic of the program's own.
#[derive(Debug)]
pub(super) struct RaisedPanic;

/// Writes down which errors were caught.
pub(super) fn caught(world: &World, error: &Error) {
    let mut errors = lock(&world.errors);
    for leaf in error.leaves() {
        if let Some(raised) = leaf.downcast_ref::<Raised>() {
            *errors.entry(raised.0).or_default() -= 1;
        }
    }
}

/// Runs a program's main block, as a future that may change threads: its local nurseries are plain ones.
pub(super) fn sendable_main(cx: Cx, block: &Block) -> Run {
    self::block(cx, block)
}

/// Runs a block; its first error ends it.
fn block(cx: Cx, block: &Block) -> Run {
    let (alive, block) = (cx.world.alive(), block.clone());
    Box::pin(async move {
        let _alive = alive;
        for one in block.iter() {
            let result = stmt(&cx, one).await;
            finish(&cx, one.op, &result);
            result?;
        }
        Ok(())
    })
}

/// After every statement.
fn finish(cx: &Cx, op: Op, result: &Result<()>) {
    cx.world.tally.steps.fetch_add(1, Ordering::Relaxed);
    cx.check(op, result);
    if !cx.isolated {
        let local = VALUE.try_with(|value| *value).ok();
        if local != cx.local {
            cx.fail(format!("after {op:?} the task local was {local:?}, not {:?}", cx.local));
        }
    }
}

fn stmt(cx: &Cx, stmt: &Stmt) -> Run {
    let (op, cx) = (stmt.op, cx.clone());
    let inner = |i: usize| block(cx.clone(), &stmt.blocks[i]);
    let branches = || -> Vec<Run> { stmt.blocks.iter().map(|b| block(cx.branch(), b)).collect() };
    match op {
        _ if op.is_sync() => Box::pin(async move {
            act(&cx, op);
            Ok(())
        }),
        Op::Do => inner(0),
        Op::Catch => {
            let inner = inner(0);
            Box::pin(async move {
                if let Err(error) = inner.await {
                    caught(&cx.world, &error);
                }
                Ok(())
            })
        }
        Op::Repeat(times) => {
            let body = stmt.blocks[0].clone();
            Box::pin(async move {
                for _ in 0..times {
                    block(cx.clone(), &body).await?;
                }
                Ok(())
            })
        }
        Op::Local(value) => {
            let inner = block(Cx { local: Some(value), ..cx.clone() }, &stmt.blocks[0]);
            Box::pin(VALUE.scope(value, inner))
        }
        Op::OnDrop => {
            let inner = inner(0);
            let last = OnDrop { cx, block: stmt.blocks[1].clone() };
            Box::pin(async move {
                let _last = last;
                inner.await
            })
        }
        Op::DropAfter(polls) => {
            let dropping = DropAfter { world: cx.world.clone(), inner: Some(inner(0)), polls };
            Box::pin(async move { dropping.await.unwrap_or(Ok(())) })
        }
        Op::Select => Box::pin(Select { world: cx.world.clone(), branches: branches() }),
        Op::Join(joiner) => {
            let all: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = match joiner {
                Joiner::JoinAll => Box::pin(futures_util::future::join_all(branches())),
                Joiner::Unordered => Box::pin(branches().into_iter().collect::<FuturesUnordered<_>>().collect()),
                Joiner::Concurrency => Box::pin(branches().join()),
            };
            Box::pin(Joined { world: cx.world.clone(), all: Some(all) })
        }
        Op::Isolated => {
            let inner = block(Cx { isolated: true, ..cx.branch() }, &stmt.blocks[0]);
            Box::pin(trine::isolated(Loose { world: cx.world.clone(), inner: Some(Box::pin(inner)) }))
        }
        Op::Cancellable => {
            let loose = Loose { world: cx.world.clone(), inner: Some(Box::pin(inner(0))) };
            Box::pin(async move { trine::cancellable(loose).await? })
        }
        Op::OnThread => {
            let block = stmt.blocks[0].clone();
            Box::pin(async move {
                std::thread::scope(|s| {
                    s.spawn(|| on_thread(&cx, &block));
                });
                Ok(())
            })
        }
        Op::Rewake => Box::pin(Rewake(inner(0))),
        Op::Move(polls) => {
            let lent = Lend { inner: Some(inner(0)), polls };
            Box::pin(async move {
                let lent = Loose { world: cx.world.clone(), inner: Some(Box::pin(lent)) };
                match trine::move_on_after(millis(200), async { Ok(lent.await) }).await? {
                    Some(Ok(result)) => result,
                    Some(Err(rest)) => rest.await,
                    None => Ok(()),
                }
            })
        }
        Op::Nursery(kind) => tasks::nursery(cx, kind, stmt.blocks[0].clone()),
        Op::Child(kind, level) => tasks::far_child(cx, kind, level, stmt.blocks.clone()),
        _ if stmt.blocks.is_empty() => leaf(cx, op),
        Op::WithMutex(_) | Op::TryMutex(_) | Op::WithPermit(_) | Op::WithToken(_) | Op::WithLock(_) => {
            let inner = inner(0);
            sync::with(cx, op, inner)
        }
        _ => {
            let mut inner: Vec<Run> = (0..stmt.blocks.len()).map(inner).collect();
            if matches!(op, Op::Race | Op::RaceAll) {
                inner = branches();
            }
            scopes::scope(cx, op, inner)
        }
    }
}

/// Does something when it is dropped.
struct OnDrop {
    cx: Cx,
    block: Block,
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        for stmt in self.block.iter() {
            if stmt.op.is_sync() {
                act(&self.cx, stmt.op);
            }
        }
    }
}

/// What another thread can do.
fn on_thread(cx: &Cx, block: &Block) {
    for stmt in block.iter() {
        match stmt.op {
            op if op.is_sync() => act(cx, op),
            Op::Child(ChildKind::Soon, level) => {
                let Some(spawner) = cx.levels.iter().rev().nth(level.into()) else { continue };
                // Task locals belong to the thread's caller.
                let child = Cx { isolated: true, ..cx.branch() };
                let _ = spawner.start_soon(self::block(child, &stmt.blocks[0]));
            }
            _ => {}
        }
    }
}

fn leaf(cx: Cx, op: Op) -> Run {
    match op {
        Op::Fail(number) => Box::pin(async move {
            *lock(&cx.world.errors).entry(number).or_default() += 1;
            Err(Error::new(Raised(number)))
        }),
        Op::Panic(_) => Box::pin(async move {
            cx.world.panics.fetch_add(1, Ordering::Relaxed);
            resume_unwind(Box::new(RaisedPanic))
        }),
        Op::Checkpoint => Box::pin(async { Ok(trine::checkpoint().await?) }),
        Op::ShieldedCheckpoint => Box::pin(async move {
            let section = cx.world.section("a shielded checkpoint");
            trine::shielded_checkpoint().await;
            section.end();
            Ok(())
        }),
        Op::CheckIfCancelled => Box::pin(async move {
            let before = is_cancelled();
            let result = trine::checkpoint_if_cancelled();
            if result.is_err() != before {
                cx.fail(format!("checkpoint_if_cancelled: {result:?}, but cancelled: {before}"));
            }
            Ok(result?)
        }),
        Op::Sleep(d) => Box::pin(async move {
            let start = trine::now();
            trine::sleep(millis(d)).await?;
            let took = trine::now() - start;
            if took != millis(d) {
                cx.fail(format!("a sleep of {d} ms took {took:?}"));
            }
            Ok(())
        }),
        Op::SleepPast => Box::pin(async { Ok(trine::sleep_until(trine::now() - Duration::from_millis(3)).await?) }),
        Op::SleepForever => Box::pin(async { match trine::sleep_forever().await? {} }),
        Op::AllBlocked => Box::pin(async { Ok(trine::testing::wait_all_tasks_blocked().await?) }),
        Op::Ignore(times) => Box::pin(async move {
            for _ in 0..times {
                let _ = trine::checkpoint().await;
            }
            Ok(())
        }),
        Op::Foreign(foreign) => Box::pin(async move {
            foreign_future(&cx, foreign).await;
            Ok(())
        }),
        Op::CancellableForeign(foreign) => {
            Box::pin(async move { Ok(trine::cancellable(foreign_future(&cx, foreign)).await?) })
        }
        Op::AwaitHandle(slot) => Box::pin(async move {
            let handle = lock(&cx.world.handles[usize::from(slot)]).take();
            match handle {
                Some((number, handle)) => tasks::join(&cx, number, handle).await,
                None => Ok(()),
            }
        }),
        Op::AwaitEvent(event) => Box::pin(async move { Ok(cx.world.events[usize::from(event)].wait().await?) }),
        Op::AwaitCondition(number) => sync::await_condition(cx, number),
        _ => channels::leaf(cx, op),
    }
}

async fn foreign_future(cx: &Cx, foreign: Foreign) {
    match foreign {
        Foreign::Pending => pending().await,
        Foreign::Yields(times) => Yields(times).await,
        Foreign::Oneshot(slot) => {
            let oneshot = &cx.world.oneshots[usize::from(slot)];
            poll_fn(|task| oneshot.poll(task)).await;
        }
        Foreign::Stash => {
            poll_fn(|task| {
                let waker = task.waker().clone();
                lock(&cx.world.stale).push(waker);
                std::task::Poll::Pending
            })
            .await
        }
    }
}

impl Op {
    /// Can it be done without waiting?
    pub(super) fn is_sync(self) -> bool {
        use Op::*;
        matches!(
            self,
            Fire(_)
                | WakeStale
                | DropStale
                | CancelScope(_)
                | CancelBecause(_)
                | MoveDeadline(..)
                | ClearDeadline(_)
                | SetShield(..)
                | CancelChildren(_)
                | CancelHandle(_)
                | DropHandle(_)
                | SayStarted(_)
                | DropStatus(_)
                | TrySend(_)
                | TryRecv(_)
                | CloseSenders(_)
                | CloseReceivers(_)
                | SetEvent(_)
                | SetTotal(..)
                | AddPermit(_)
                | Notify(..)
                | NotifyAll(_)
        )
    }
}

/// Does what needs no waiting.
fn act(cx: &Cx, op: Op) {
    let world = &cx.world;
    let scope = |slot: u8| lock(&world.scopes[usize::from(slot)]).clone();
    match op {
        Op::Fire(slot) => world.oneshots[usize::from(slot)].fire(),
        Op::WakeStale => {
            let wakers = lock(&world.stale).clone();
            wakers.iter().for_each(Waker::wake_by_ref);
        }
        Op::DropStale => {
            let wakers = std::mem::take(&mut *lock(&world.stale));
            drop(wakers);
        }
        Op::CancelScope(slot) => scope(slot).cancel(),
        Op::CancelBecause(slot) => scope(slot).cancel_because("a reason"),
        Op::MoveDeadline(slot, by) => {
            let now = trine::now();
            let distance = millis(by.unsigned_abs());
            scope(slot).set_deadline(Some(if by < 0 { now - distance } else { now + distance }));
        }
        Op::ClearDeadline(slot) => scope(slot).set_deadline(None),
        Op::SetShield(slot, up) => scope(slot).set_shield(up),
        Op::CancelChildren(level) => {
            if let Some(spawner) = cx.levels.iter().rev().nth(level.into()) {
                spawner.cancel_children();
            }
        }
        Op::CancelHandle(slot) => {
            // Taken out meanwhile: a cancel runs wakers.
            let handle = lock(&world.handles[usize::from(slot)]).take();
            if let Some((number, handle)) = handle {
                handle.cancel();
                let _ = handle.is_finished();
                lock(&world.handles[usize::from(slot)]).get_or_insert((number, handle));
            }
        }
        Op::DropHandle(slot) => {
            let handle = lock(&world.handles[usize::from(slot)]).take();
            drop(handle);
        }
        Op::SayStarted(slot) => {
            let status = lock(&world.statuses[usize::from(slot)]).take();
            if let Some(status) = status {
                status.started(7);
            }
        }
        Op::DropStatus(slot) => {
            let status = lock(&world.statuses[usize::from(slot)]).take();
            drop(status);
        }
        Op::SetEvent(event) => world.events[usize::from(event)].set(),
        Op::SetTotal(limiter, total) => {
            let limiter = &world.limiters[usize::from(limiter)];
            limiter.spoiled.store(true, Ordering::Relaxed);
            limiter.inner.set_total(total.into());
        }
        Op::AddPermit(semaphore) => {
            let semaphore = &world.semaphores[usize::from(semaphore)];
            semaphore.added.fetch_add(1, Ordering::Relaxed);
            semaphore.inner.add_permits(1);
        }
        Op::Notify(condition, n) => world.conditions[usize::from(condition)].notify(n.into()),
        Op::NotifyAll(condition) => world.conditions[usize::from(condition)].notify_all(),
        other => channels::act(cx, other),
    }
}

/// Runs `start` through what limits it. `None`: it was dropped or ran out of time.
async fn limited<T>(cx: &Cx, limit: StartLimit, start: Fut<'_, T>) -> Result<Option<T>> {
    match limit {
        StartLimit::None => start.await.map(Some),
        StartLimit::Deadline(d) => trine::move_on_after(millis(d), start).await,
        StartLimit::Drop(polls) => DropAfter { world: cx.world.clone(), inner: Some(start), polls }.await.transpose(),
    }
}

/// Drops what user code does not want any more.
fn discard<T>(cx: &Cx, what: T) {
    user_drop(&cx.world, what);
}
