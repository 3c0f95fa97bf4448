//! Nurseries and children.
//!
//! A child in its nursery's own block is *near*: it borrows from around the nursery. All others are *far*: they own
//! what they use, and go through a `Spawner`.

use super::{Cx, block, discard, finish, is_cancelled, limited, millis, scopes, stmt};
use crate::fuzz::foreign::{Fut, Run};
use crate::fuzz::program::{Block, ChildKind, Fate, NurseryKind, Op, Starter};
use crate::fuzz::world::lock;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use trine::{
    Cancelled, Closed, Error, Handle, JoinError, Nursery, Result, Spawner, StartError, TaskError, TaskStatus, typed,
};

/// A handle, whatever its lifetime.
pub(in crate::fuzz) trait Joins: Future<Output = Result<u32, JoinError>> {
    fn cancel(&self);
    fn is_finished(&self) -> bool;
}

impl Joins for Handle<'_, u32> {
    fn cancel(&self) {
        Handle::cancel(self);
    }

    fn is_finished(&self) -> bool {
        Handle::is_finished(self)
    }
}

type BoxHandle<'s> = Pin<Box<dyn Joins + Send + 's>>;
type Starting = Box<dyn FnOnce(TaskStatus<u32>) -> Run + Send>;

/// A place for children.
trait Nest<'s>: Sync {
    fn soon(&self, child: Run) -> Result<(), Closed>;
    fn spawn(&self, child: Run<u32>) -> Result<BoxHandle<'s>, Closed>;
    fn start(&self, child: Starting) -> Fut<'s, u32>;
}

impl Nest<'static> for Spawner {
    fn soon(&self, child: Run) -> Result<(), Closed> {
        self.start_soon(child)
    }

    fn spawn(&self, child: Run<u32>) -> Result<BoxHandle<'static>, Closed> {
        Ok(Box::pin(Spawner::spawn(self, child)?))
    }

    fn start(&self, child: Starting) -> Fut<'static, u32> {
        Box::pin(Spawner::start(self, child))
    }
}

/// A nursery whose children borrow.
struct Near<'s, 'e, E> {
    nursery: &'s Nursery<'s, 'e, E>,
    canary: &'e Canary,
}

/// Looks at what it borrows when it is dropped.
struct Touch<'e>(&'e Canary);

impl Drop for Touch<'_> {
    fn drop(&mut self) {
        self.0.touch();
    }
}

/// Something on the heap that children borrow.
pub(super) struct Canary(Box<AtomicU64>);

const SONG: u64 = 0x51e5_0a9e;

impl Canary {
    pub(super) fn new() -> Self {
        Self(Box::new(AtomicU64::new(SONG)))
    }

    pub(super) fn touch(&self) {
        assert_eq!(self.0.load(Ordering::Relaxed), SONG, "a child outlived what it borrows");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl<'s, 'e> Nest<'s> for Near<'s, 'e, Error> {
    fn soon(&self, child: Run) -> Result<(), Closed> {
        let touch = Touch(self.canary);
        self.nursery.start_soon(async move {
            let _touch = touch;
            child.await
        });
        Ok(())
    }

    fn spawn(&self, child: Run<u32>) -> Result<BoxHandle<'s>, Closed> {
        let touch = Touch(self.canary);
        Ok(Box::pin(self.nursery.spawn(async move {
            let _touch = touch;
            child.await
        })))
    }

    fn start(&self, child: Starting) -> Fut<'s, u32> {
        let touch = Touch(self.canary);
        Box::pin(self.nursery.start(move |status| async move {
            let _touch = touch;
            child(status).await
        }))
    }
}

/// The error of typed nurseries.
#[derive(Debug)]
struct Typed(Error);

impl From<Cancelled> for Typed {
    fn from(cancelled: Cancelled) -> Self {
        Self(cancelled.into())
    }
}

impl From<StartError> for Typed {
    fn from(error: StartError) -> Self {
        Self(error.into())
    }
}

impl TaskError for Typed {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn has_cancelled(&self) -> bool {
        self.0.has_cancelled()
    }

    fn merge(first: Self, rest: Vec<Self>) -> Self {
        Self(<Error as TaskError>::merge(first.0, rest.into_iter().map(|e| e.0).collect()))
    }

    fn without_cancelled(self) -> Option<Self> {
        self.0.without_cancelled().map(Self)
    }
}

impl<'s, 'e> Nest<'s> for Near<'s, 'e, Typed> {
    fn soon(&self, child: Run) -> Result<(), Closed> {
        let touch = Touch(self.canary);
        self.nursery.start_soon(async move {
            let _touch = touch;
            child.await.map_err(Typed)
        });
        Ok(())
    }

    fn spawn(&self, child: Run<u32>) -> Result<BoxHandle<'s>, Closed> {
        let touch = Touch(self.canary);
        Ok(Box::pin(self.nursery.spawn(async move {
            let _touch = touch;
            child.await.map_err(Typed)
        })))
    }

    fn start(&self, child: Starting) -> Fut<'s, u32> {
        let touch = Touch(self.canary);
        let start = self.nursery.start(move |status| async move {
            let _touch = touch;
            child(status).await.map_err(Typed)
        });
        Box::pin(async move { start.await.map_err(|e| e.0) })
    }
}

pub(super) fn nursery(cx: Cx, kind: NurseryKind, body: Block) -> Run {
    Box::pin(async move {
        let canary = Canary::new();
        let (cx, body, canary) = (&cx, &body, &canary);
        match kind {
            NurseryKind::Plain | NurseryKind::Local => {
                trine::nursery(async move |nursery| {
                    let mut cx = cx.clone();
                    cx.levels.push(nursery.spawner());
                    near_block(&cx, &Near { nursery, canary }, body).await
                })
                .await
            }
            NurseryKind::Scoped(slot, deadline) => {
                let scope = scopes::new_scope(cx, slot, deadline, false);
                let result = scope
                    .nursery(async move |nursery| {
                        let mut cx = cx.clone();
                        cx.levels.push(nursery.spawner());
                        near_block(&cx, &Near { nursery, canary }, body).await
                    })
                    .await;
                scopes::check_exit(cx, &scope, &result);
                result.map(drop)
            }
            NurseryKind::Typed => {
                let result = typed::nursery::<Typed, _>(async move |nursery| {
                    near_block(cx, &Near { nursery, canary }, body).await.map_err(Typed)
                });
                result.await.map_err(|e| e.0)
            }
        }
    })
}

/// A nursery's block.
async fn near_block<'s>(cx: &Cx, nest: &(dyn Nest<'s> + Sync), body: &Block) -> Result<()> {
    let _alive = cx.world.alive();
    let mut kept = Vec::new();
    for one in body.iter() {
        let result = match one.op {
            Op::Child(kind, 0) => child(cx, nest, kind, &one.blocks, &mut kept).await,
            _ => stmt(cx, one).await,
        };
        finish(cx, one.op, &result);
        result?;
    }
    for (number, handle) in kept {
        join(cx, number, handle).await?;
    }
    Ok(())
}

/// A child in the nursery so many levels out; without one, it runs here.
pub(super) fn far_child(cx: Cx, kind: ChildKind, level: u8, blocks: Vec<Block>) -> Run {
    Box::pin(async move {
        let Some(spawner) = cx.levels.iter().rev().nth(level.into()) else {
            return block(cx.clone(), &blocks[0]).await;
        };
        let mut kept = Vec::new();
        child(&cx, spawner, kind, &blocks, &mut kept).await?;
        if let (Some(kept), ChildKind::Spawn(Fate::Stash(slot))) = (kept.pop(), kind) {
            let old = lock(&cx.world.handles[usize::from(slot)]).replace(kept);
            drop(old);
        }
        Ok(())
    })
}

async fn child<'s>(
    cx: &Cx,
    nest: &(dyn Nest<'s> + Sync),
    kind: ChildKind,
    blocks: &[Block],
    kept: &mut Vec<(u32, BoxHandle<'s>)>,
) -> Result<()> {
    let branch = cx.branch();
    let number = branch.task as u32;
    match kind {
        ChildKind::Soon => {
            let _ = nest.soon(block(branch, &blocks[0]));
        }
        ChildKind::Spawn(fate) => {
            let child = block(branch, &blocks[0]);
            let child = Box::pin(async move { child.await.map(|()| number) });
            let Ok(handle) = nest.spawn(child) else { return Ok(()) };
            match fate {
                Fate::Drop => {}
                Fate::Await => join(cx, number, handle).await?,
                Fate::Cancel => handle.cancel(),
                Fate::CancelAwait => {
                    handle.cancel();
                    join(cx, number, handle).await?;
                }
                Fate::CancelLater(d) => {
                    trine::sleep(millis(d)).await?;
                    handle.cancel();
                    handle.cancel();
                }
                Fate::Stash(_) => kept.push((number, handle)),
            }
        }
        ChildKind::Start(starter, limit) => {
            let start = nest.start(starting(branch, starter, blocks));
            let started = limited(cx, limit, start).await;
            match started {
                Ok(Some(value)) if value != 7 && value != number => {
                    cx.fail(format!("`start` returned {value}, not {number}"));
                }
                Err(error) if error.downcast_ref::<StartError>().is_none() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

pub(super) fn starting(branch: Cx, starter: Starter, blocks: &[Block]) -> Starting {
    let before = blocks[0].clone();
    let after = blocks.get(1).cloned();
    let number = branch.task as u32;
    Box::new(move |status| {
        let alive = branch.world.alive();
        Box::pin(async move {
            let _alive = alive;
            let mut status = Some(status);
            match starter {
                Starter::Slot(slot) => {
                    let old = std::mem::replace(&mut *lock(&branch.world.statuses[usize::from(slot)]), status.take());
                    drop(old);
                }
                Starter::Nobody => discard_status(&branch, status.take()),
                Starter::Child => {}
            }
            block(branch.clone(), &before).await?;
            if let Some(status) = status.take() {
                status.started(number);
            }
            match &after {
                Some(after) => block(branch.clone(), after).await,
                None => Ok(()),
            }
        })
    })
}

fn discard_status(cx: &Cx, status: Option<TaskStatus<u32>>) {
    discard(cx, status);
}

/// Waits for a child and looks at what it returns.
pub(super) async fn join(cx: &Cx, number: u32, handle: Pin<Box<dyn Joins + Send + '_>>) -> Result<()> {
    match handle.await {
        Ok(value) if value == number => Ok(()),
        Ok(value) => {
            cx.fail(format!("the handle of child {number} gave {value}"));
            Ok(())
        }
        Err(JoinError::Cancelled(cancelled)) => {
            if !cx.world.toggles && !is_cancelled() {
                cx.fail(format!("the handle of child {number} was cancelled where no scope is"));
            }
            Err(cancelled.into())
        }
        Err(_) => Ok(()),
    }
}
