//! Channel operations; every item is written down.

use super::Cx;
use crate::fuzz::foreign::Run;
use crate::fuzz::program::Op;
use crate::fuzz::world::{Channel, Item, lock};
use futures_util::StreamExt as _;
use std::sync::Arc;
use trine::channel::{Receiver, RecvError, SendError, Sender};

fn sender(cx: &Cx, number: u8) -> Option<Arc<Sender<Item>>> {
    lock(&cx.world.channels[usize::from(number)].sender).clone()
}

fn receiver(cx: &Cx, number: u8) -> Option<Arc<Receiver<Item>>> {
    lock(&cx.world.channels[usize::from(number)].receiver).clone()
}

/// A `recv` that is dropped puts its item back.
struct Receiving<'a>(&'a Channel);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        lock(&self.0.log).unordered = true;
    }
}

pub(super) fn leaf(cx: Cx, op: Op) -> Run {
    match op {
        Op::Send(number) => Box::pin(async move {
            let Some(sender) = sender(&cx, number) else { return Ok(()) };
            let (item, value) = cx.world.item(number, cx.task);
            let result = sender.send(value).await;
            cx.world.sent(number, item, result.is_ok());
            match result {
                Err(SendError::Cancelled(cancelled)) => Err(cancelled.into()),
                _ => Ok(()),
            }
        }),
        Op::SendOrReturn(number) => Box::pin(async move {
            let Some(sender) = sender(&cx, number) else { return Ok(()) };
            let (item, value) = cx.world.item(number, cx.task);
            let result = sender.send_or_return(value).await;
            cx.world.sent(number, item, result.is_ok());
            match result {
                Err((_, SendError::Cancelled(cancelled))) => Err(cancelled.into()),
                _ => Ok(()),
            }
        }),
        Op::Recv(number) => Box::pin(async move {
            let Some(receiver) = receiver(&cx, number) else { return Ok(()) };
            let receiving = Receiving(&cx.world.channels[usize::from(number)]);
            let result = receiver.recv().await;
            std::mem::forget(receiving);
            match result {
                Ok(item) => cx.world.received(item, cx.task, true),
                Err(RecvError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(_) => {}
            }
            Ok(())
        }),
        Op::TryNext(number) => Box::pin(async move {
            let Some(receiver) = receiver(&cx, number) else { return Ok(()) };
            let receiving = Receiving(&cx.world.channels[usize::from(number)]);
            let result = receiver.try_next().await;
            std::mem::forget(receiving);
            if let Some(item) = result? {
                cx.world.received(item, cx.task, true);
            }
            Ok(())
        }),
        Op::Stream(number) => Box::pin(async move {
            let Some(receiver) = receiver(&cx, number) else { return Ok(()) };
            let mut stream = (*receiver).clone();
            for _ in 0..2 {
                match stream.next().await {
                    Some(item) => cx.world.received(item?, cx.task, true),
                    None => break,
                }
            }
            Ok(())
        }),
        other => unreachable!("{other:?} is no leaf"),
    }
}

pub(super) fn act(cx: &Cx, op: Op) {
    match op {
        Op::TrySend(number) => {
            let Some(sender) = sender(cx, number) else { return };
            let (item, value) = cx.world.item(number, cx.task);
            let result = sender.try_send(value);
            cx.world.sent(number, item, result.is_ok());
        }
        Op::TryRecv(number) => {
            let Some(receiver) = receiver(cx, number) else { return };
            if let Ok(item) = receiver.try_recv() {
                cx.world.received(item, cx.task, true);
            }
        }
        Op::CloseSenders(number) => {
            if let Some(sender) = sender(cx, number) {
                sender.close();
            }
        }
        Op::CloseReceivers(number) => {
            lock(&cx.world.channels[usize::from(number)].log).closed = true;
            if let Some(receiver) = receiver(cx, number) {
                receiver.close();
            }
        }
        other => unreachable!("{other:?} waits"),
    }
}
