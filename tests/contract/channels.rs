//! Section 5: channels.

use crate::{Oops, is_clone, is_error, not, send, send_value, sync, unpin, yields, yields_send};
use futures::{Stream, StreamExt, TryStreamExt};
use std::cell::Cell;
use std::rc::Rc;
use trine::channel::{
    Receiver, RecvError, SendError, Sender, Statistics, TryRecvError, TrySendError, TrySendErrorKind,
};
use trine::{Cancelled, Error, Result};

#[test]
fn ends_are_clonable_and_send_if_their_items_are() {
    send::<Sender<Cell<u8>>>();
    sync::<Sender<Cell<u8>>>();
    send::<Receiver<Cell<u8>>>();
    sync::<Receiver<Cell<u8>>>();
    is_clone::<(Sender<Oops>, Receiver<Oops>)>();
    struct NotClone;
    is_clone::<(Sender<NotClone>, Receiver<NotClone>)>();
    unpin::<Receiver<std::marker::PhantomPinned>>();
    fn streams<T, S: Stream<Item = Result<T, Cancelled>> + Unpin>() {}
    streams::<Oops, Receiver<Oops>>();
    is_error::<SendError>();
    is_error::<RecvError>();
    is_error::<TryRecvError>();
    is_error::<TrySendErrorKind>();
    is_error::<TrySendError<u8>>();
}

not!(Send: Sender<Rc<()>>, Receiver<Rc<()>>);

#[test]
fn operations_have_the_outputs_and_are_send() {
    let (tx, rx): (Sender<Cell<u8>>, Receiver<Cell<u8>>) = trine::channel(0);
    drop(yields_send::<Result<(), SendError>, _>(tx.send(Cell::new(1))));
    drop(yields_send::<Result<(), (Cell<u8>, SendError)>, _>(tx.send_or_return(Cell::new(1))));
    drop(yields_send::<Result<Cell<u8>, RecvError>, _>(rx.recv()));
    drop(yields_send::<Result<Option<Cell<u8>>, Cancelled>, _>(rx.try_next()));
    let (local, _rx) = trine::unbounded::<Rc<u8>>();
    drop(yields::<Result<(), SendError>, _>(local.send(Rc::new(1))));
}

#[test]
fn every_method_is_there() {
    let (tx, rx) = trine::channel::<u8>(1);
    tx.try_send(1).unwrap();
    let full: TrySendError<u8> = tx.try_send(2).unwrap_err();
    assert_eq!((full.value, full.kind), (2, TrySendErrorKind::Full));
    let _: (Statistics, Statistics) = (tx.statistics(), rx.statistics());
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let other = tx.clone();
    other.close();
    assert!(other.is_closed() && !tx.is_closed() && other.clone().is_closed());
    assert!(matches!(other.try_send(3).unwrap_err().kind, TrySendErrorKind::Closed));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::EndOfChannel));
    rx.close();
    assert!(rx.is_closed());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    let (tx, _) = trine::channel::<u8>(1);
    assert!(matches!(tx.try_send(1).unwrap_err().kind, TrySendErrorKind::Broken));
}

#[test]
fn errors_have_the_variants() {
    fn matched(e: &SendError) -> &'static str {
        match e {
            SendError::Cancelled(_) => "cancelled",
            SendError::Closed => "closed",
            SendError::Broken => "broken",
            _ => "later",
        }
    }
    let (tx, rx) = trine::channel::<u8>(1);
    drop(rx);
    assert_eq!(matched(&trine::run(tx.send(1)).unwrap_err()), "broken");
    let (value, e) = trine::run(tx.send_or_return(7)).unwrap_err();
    assert_eq!((value, matched(&e)), (7, "broken"));
    tx.close();
    assert_eq!(matched(&trine::run(tx.send(1)).unwrap_err()), "closed");
    let (tx, rx) = trine::channel::<u8>(1);
    drop(tx);
    assert!(matches!(trine::run(rx.recv()), Err(RecvError::EndOfChannel)));
    assert!(matches!(trine::run(rx.try_next()), Ok(None)));
    rx.close();
    assert!(matches!(trine::run(rx.recv()), Err(RecvError::Closed)));
}

#[test]
fn question_mark_takes_all_of_them() {
    async fn whole() -> Result<u8> {
        let (tx, mut rx) = trine::channel(4);
        tx.send(1).await?;
        tx.send_or_return(2).await.map_err(|(_, e)| e)?;
        tx.try_send(3).map_err(|e| e.kind)?;
        tx.try_send(4)?;
        tx.close();
        let a = rx.recv().await?;
        let b = rx.try_recv()?;
        let c = TryStreamExt::try_next(&mut rx).await?.unwrap_or(0);
        let d = StreamExt::next(&mut rx).await.transpose()?.unwrap_or(0);
        assert!(rx.next().await.is_none());
        Ok(a + b + c + d)
    }
    assert_eq!(trine::run(send_value(whole())).unwrap(), 10);
}

#[test]
fn borrowed_values_are_declared_before_the_channel() {
    let words = [String::from("a")];
    let (tx, rx) = trine::channel::<&String>(0);
    trine::run(trine::nursery(async |n| {
        n.start_soon(async { Ok(tx.send(&words[0]).await?) });
        assert_eq!(rx.recv().await?, "a");
        Ok::<_, Error>(())
    }))
    .unwrap();
}
