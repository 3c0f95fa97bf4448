//! The outer part of a program, which may use local nurseries: its futures are not `Send`.

use super::tasks::Canary;
use super::{Cx, block, caught, finish, millis, stmt};
use crate::fuzz::program::{Block, ChildKind, Fate, NurseryKind, Op, Stmt};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use trine::{JoinError, LocalNursery, Result, StartError};

type LocalRun = Pin<Box<dyn Future<Output = Result<()>>>>;

/// Runs a program's main block.
pub(in crate::fuzz) fn main(cx: Cx, block: &Block) -> LocalRun {
    let (alive, block) = (cx.world.alive(), block.clone());
    Box::pin(async move {
        let _alive = alive;
        for one in block.iter() {
            let result = local_stmt(&cx, one).await;
            finish(&cx, one.op, &result);
            result?;
        }
        Ok(())
    })
}

fn local_stmt(cx: &Cx, one: &Stmt) -> LocalRun {
    let cx = cx.clone();
    match one.op {
        Op::Nursery(NurseryKind::Local) => {
            let body = one.blocks[0].clone();
            Box::pin(nursery(cx, body))
        }
        Op::Do => main(cx, &one.blocks[0]),
        Op::Catch => {
            let inner = main(cx.clone(), &one.blocks[0]);
            Box::pin(async move {
                if let Err(error) = inner.await {
                    caught(&cx.world, &error);
                }
                Ok(())
            })
        }
        Op::MoveOnAfter(d) => {
            let inner = main(cx, &one.blocks[0]);
            Box::pin(async move { trine::move_on_after(millis(d), inner).await.map(drop) })
        }
        Op::Race => {
            let inner: Vec<_> = one.blocks.iter().map(|b| main(cx.branch(), b)).collect();
            Box::pin(trine::race_all(inner))
        }
        _ => stmt(&cx, one),
    }
}

async fn nursery(cx: Cx, body: Block) -> Result<()> {
    let canary = Canary::new();
    let (cx, canary) = (&cx, &canary);
    trine::local_nursery(async move |nursery| {
        let _alive = cx.world.alive();
        for one in body.iter() {
            let result = match one.op {
                Op::Child(kind, 0) => child(cx, nursery, canary, kind, &one.blocks).await,
                _ => local_stmt(cx, one).await,
            };
            finish(cx, one.op, &result);
            result?;
        }
        Ok(())
    })
    .await
}

async fn child<'s, 'e>(
    cx: &Cx,
    nursery: &'s LocalNursery<'s, 'e>,
    canary: &'e Canary,
    kind: ChildKind,
    blocks: &[Block],
) -> Result<()> {
    let branch = cx.branch();
    let (inner, shared) = (main(branch.clone(), &blocks[0]), Rc::new(()));
    let run = async move {
        let _shared = shared;
        let result = inner.await;
        canary.touch();
        result
    };
    match kind {
        ChildKind::Soon => nursery.start_soon(run),
        ChildKind::Spawn(fate) => {
            let handle = nursery.spawn(run);
            match fate {
                Fate::Drop => {}
                Fate::Cancel => handle.cancel(),
                Fate::CancelLater(d) => {
                    trine::sleep(millis(d)).await?;
                    handle.cancel();
                }
                Fate::CancelAwait | Fate::Await | Fate::Stash(_) => {
                    if fate == Fate::CancelAwait {
                        handle.cancel();
                    }
                    if let Err(JoinError::Cancelled(cancelled)) = handle.await {
                        return Err(cancelled.into());
                    }
                }
            }
        }
        ChildKind::Start(..) => {
            let after = blocks.get(1).map(|b| block(branch, b));
            let started = nursery.start(|status| async move {
                run.await?;
                status.started(());
                match after {
                    Some(after) => after.await,
                    None => Ok(()),
                }
            });
            match started.await {
                Err(error) if error.downcast_ref::<StartError>().is_none() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
