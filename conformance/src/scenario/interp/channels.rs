//! Memory channels.
//!
//! Handles are shared behind `Arc`: several tasks may block on the very same handle, and it is closed by `close` only.

use super::run_block;
use super::tasks::{Reach, Task};
use super::world::Handle;
use crate::scenario::form::Raised;
use crate::scenario::model::Block;
use std::sync::Arc;
use trine::Result;
use trine::channel::{Receiver, RecvError, Sender};

pub(super) async fn send(task: &Task<'_>, tx: &str, value: i64) -> Result<()> {
    sender(task, tx)?.send(value).await?;
    task.record("send", [tx.into(), value.into()]);
    Ok(())
}

pub(super) fn send_nowait(task: &Task<'_>, tx: &str, value: i64) -> Result<()> {
    sender(task, tx)?.try_send(value).map_err(|error| error.kind)?;
    task.record("send_nowait", [tx.into(), value.into()]);
    Ok(())
}

pub(super) async fn recv(task: &Task<'_>, rx: &str) -> Result<()> {
    let value = receiver(task, rx)?.recv().await?;
    task.record("recv", [rx.into(), value.into()]);
    Ok(())
}

pub(super) fn recv_nowait(task: &Task<'_>, rx: &str) -> Result<()> {
    let value = receiver(task, rx)?.try_recv()?;
    task.record("recv_nowait", [rx.into(), value.into()]);
    Ok(())
}

/// Records a `recv` for each item, and `recv_all` at the end of the channel.
pub(super) async fn recv_all<'a, 'p: 'a>(
    task: &'a Task<'p>,
    reach: &'a Reach<'p, 'a>,
    rx: &str,
    body: &'p Block,
) -> Result<()> {
    let receiver = receiver(task, rx)?;
    loop {
        let value = match receiver.recv().await {
            Ok(value) => value,
            Err(RecvError::EndOfChannel) => break,
            Err(error) => return Err(error.into()),
        };
        task.record("recv", [rx.into(), value.into()]);
        run_block(task, reach, body).await?;
    }
    task.record("recv_all", [rx.into()]);
    Ok(())
}

/// A clone of a closed handle is an error in Trio; here it would be closed.
pub(super) fn clone(task: &Task<'_>, handle: &str, name: &str) -> Result<()> {
    let new = match task.world.handles.expect(handle)? {
        Handle::Sender(sender) if !sender.is_closed() => Handle::Sender(Arc::new(Sender::clone(&sender))),
        Handle::Receiver(receiver) if !receiver.is_closed() => Handle::Receiver(Arc::new(Receiver::clone(&receiver))),
        _ => return Err(Raised::named("ClosedResource")),
    };
    task.world.handles.bind(name, new);
    task.record("clone", [name.into()]);
    Ok(())
}

pub(super) fn close(task: &Task<'_>, handle: &str) -> Result<()> {
    match task.world.handles.expect(handle)? {
        Handle::Sender(sender) => sender.close(),
        Handle::Receiver(receiver) => receiver.close(),
    }
    task.record("close", [handle.into()]);
    Ok(())
}

fn sender(task: &Task<'_>, name: &str) -> Result<Arc<Sender<i64>>> {
    match task.world.handles.expect(name)? {
        Handle::Sender(sender) => Ok(sender),
        Handle::Receiver(_) => Err(Raised::named(format!("`{name}` does not send"))),
    }
}

fn receiver(task: &Task<'_>, name: &str) -> Result<Arc<Receiver<i64>>> {
    match task.world.handles.expect(name)? {
        Handle::Receiver(receiver) => Ok(receiver),
        Handle::Sender(_) => Err(Raised::named(format!("`{name}` does not receive"))),
    }
}
