//! Whole trees under loom: roots that the model's threads drive, and tasks that wait for a flag.

use crate::nursery::NurseryFuture;
use crate::run::Settings;
use crate::sched::cells;
use crate::sched::context;
use crate::sched::node::SlotRef;
use crate::sched::root::{Root, Turn};
use crate::{Error, Result};
use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

struct Host(Notify);

impl Wake for Host {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A root, and the thread's way to sleep until its host is woken. A lost wake is a deadlock, which loom reports.
pub(super) struct Driver {
    pub(super) root: &'static Root,
    host: Arc<Host>,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self { root: Root::begin(Settings::hosted()), host: Arc::new(Host(Notify::new())) }
    }

    /// The same root for another host.
    pub(super) fn with_another_host(&self) -> Self {
        Self { root: self.root, host: Arc::new(Host(Notify::new())) }
    }

    /// One poll by the host.
    pub(super) fn turn<T>(&self, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let waker = Waker::from(self.host.clone());
        match self.root.turn(&mut Context::from_waker(&waker), true, poll) {
            Turn::Ready(value) => Poll::Ready(value),
            Turn::Pending => Poll::Pending,
            Turn::Deadlock(tree) => panic!("{tree}"),
        }
    }

    /// Polls whenever the host is woken.
    pub(super) fn drive<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        loop {
            if let Poll::Ready(value) = self.turn(&mut poll) {
                return value;
            }
            self.host.0.wait();
        }
    }

    /// Drives a tree to its end; ends the root.
    pub(super) fn finish<T>(self, mut tree: Pin<Box<impl Future<Output = T>>>) -> T {
        let output = self.drive(|cx| tree.as_mut().poll(cx));
        drop(tree);
        self.end();
        output
    }

    pub(super) fn end(self) {
        self.root.end();
    }
}

/// Every root of the model has ended, and nobody counts on one: each cell was given back, once.
pub(super) fn assert_all_cells_are_free() {
    let (free, made) = cells::count();
    assert_eq!(free, made, "cells that are free, and cells");
}

/// What a task waits for. The flag itself orders nothing: that its change is seen is the wake's business.
pub(super) struct Flag {
    set: AtomicBool,
    /// Of the first poll.
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { set: AtomicBool::new(false), waker: Mutex::new(None) })
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let is_first = self.waker.lock().unwrap().is_none();
        if is_first {
            // Not under the lock, of which loom knows nothing.
            let waker = cx.waker().clone();
            *self.waker.lock().unwrap() = Some(waker);
        }
        if self.set.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes the waker of the first poll, which was made before there were threads.
    pub(super) fn waker(&self) -> Waker {
        let waker = self.waker.lock().unwrap().replace(Waker::noop().clone());
        waker.expect("the task was polled before")
    }

    pub(super) fn set(&self) {
        self.set.store(true, Ordering::Relaxed);
    }
}

/// A task that waits for a flag.
pub(super) struct Until(pub(super) Arc<Flag>);

impl Future for Until {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll(cx).map(Ok)
    }
}

pub(super) type Tree = Pin<Box<NurseryFuture<'static, (), Error>>>;

/// A nursery with one child, which waits for the flag.
pub(super) fn waiting_for(flag: &Arc<Flag>) -> Tree {
    let child = Until(flag.clone());
    Box::pin(crate::nursery(async move |n| {
        n.start_soon(child);
        Ok(())
    }))
}

/// The same, polled once under a root, and the child's waker.
pub(super) fn half_run(flag: &Arc<Flag>) -> (Driver, Tree, Waker) {
    let driver = Driver::new();
    let mut tree = waiting_for(flag);
    assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
    (driver, tree, flag.waker())
}

/// A thread that sets the flag, then wakes.
pub(super) fn set_and_wake(flag: &Arc<Flag>, waker: Waker) -> JoinHandle<()> {
    let flag = flag.clone();
    thread::spawn(move || {
        flag.set();
        waker.wake();
    })
}

/// A nursery whose child gives away the reference to its slot, waits for the flag, and says if it
/// comes to its end without having been cancelled.
pub(super) fn giving_its_slot(
    flag: &Arc<Flag>,
    slot: Arc<Mutex<Option<SlotRef>>>,
    ended: Arc<std::sync::atomic::AtomicBool>,
) -> Tree {
    let flag = flag.clone();
    let child = poll_fn(move |cx| {
        // SAFETY: the task that is polled is alive.
        let own = unsafe { SlotRef::new(context::task().cast()) };
        let is_cancelled = own.get().is_called();
        let old = slot.lock().unwrap().replace(own);
        drop(old);
        let polled = flag.poll(cx);
        ended.fetch_or(polled.is_ready() && !is_cancelled, Ordering::Relaxed);
        polled.map(Result::Ok)
    });
    Box::pin(crate::nursery(async move |n| {
        n.start_soon(child);
        Ok(())
    }))
}
