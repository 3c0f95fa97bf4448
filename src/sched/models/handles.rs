//! Handles: the value of a child stands in the child's slot, which child and handle leave in any order.

use super::check;
use super::tree::{Driver, Flag, Tree, Until, assert_all_cells_are_free};
use crate::{Handle, JoinError};
use loom::sync::Notify;
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A value that is to be dropped once.
struct Value(Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A nursery that was polled once: a child waits for the flag and then returns a value, its handle comes out.
///
/// The handle is made to outlive the nursery, which no program can do: what it looks at must not depend on that.
fn child_with_handle(driver: &Driver, flag: &Arc<Flag>, drops: &Arc<AtomicUsize>) -> (Tree, Handle<'static, Value>) {
    let made: Arc<Mutex<Option<Handle<'static, Value>>>> = Arc::default();
    let (child, give, drops) = (Until(flag.clone()), made.clone(), drops.clone());
    let mut tree: Tree = Box::pin(crate::nursery(async move |n| {
        let handle = n.spawn(async move {
            child.await?;
            Ok(Value(drops))
        });
        // SAFETY: only the lifetime changes. The slot is kept by the handle, and a `Value` borrows nothing.
        let handle = unsafe { std::mem::transmute::<Handle<'_, Value>, Handle<'static, Value>>(handle) };
        *give.lock().unwrap() = Some(handle);
        Ok(())
    }));
    assert!(driver.turn(|cx| tree.as_mut().poll(cx)).is_pending());
    let handle = made.lock().unwrap().take().unwrap();
    (tree, handle)
}

struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Awaits a handle on a thread without a root. A lost wake is a deadlock, which loom reports.
fn await_here(mut handle: Handle<'static, Value>) -> Result<Value, JoinError> {
    let sleeper = Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(sleeper.clone());
    loop {
        match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => sleeper.0.wait(),
        }
    }
}

/// The child ends while another thread drops its handle: the value is dropped once, and the slot goes back once.
///
/// All three fail with: a handle that gives the slot back though its child has not left; a child that does so though its handle
/// has not.
#[test]
fn a_handle_is_dropped_while_its_child_ends() {
    check("handle dropped", Some(4), || {
        let (flag, drops) = (Flag::new(), Arc::default());
        let driver = Driver::new();
        let (mut tree, handle) = child_with_handle(&driver, &flag, &drops);
        let waker = flag.waker();
        flag.set();
        waker.wake();
        let other = thread::spawn(move || drop(handle));
        driver.drive(|cx| tree.as_mut().poll(cx)).unwrap();
        drop(tree);
        driver.end();
        other.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}

/// The child ends while another thread awaits its handle, without a root: it gets the value.
#[test]
fn a_handle_is_awaited_elsewhere_while_its_child_ends() {
    check("handle awaited", Some(3), || {
        let (flag, drops) = (Flag::new(), Arc::default());
        let driver = Driver::new();
        let (mut tree, handle) = child_with_handle(&driver, &flag, &drops);
        let waker = flag.waker();
        flag.set();
        waker.wake();
        let other = thread::spawn(move || drop(await_here(handle).expect("the child returns a value")));
        driver.drive(|cx| tree.as_mut().poll(cx)).unwrap();
        drop(tree);
        driver.end();
        other.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_all_cells_are_free();
    });
}

/// The nursery is dropped while another thread awaits the handle: it hears that the child is lost.
#[test]
fn a_handle_is_awaited_elsewhere_while_its_child_is_dropped() {
    check("handle of a dropped child", Some(3), || {
        let (flag, drops) = (Flag::new(), Arc::default());
        let driver = Driver::new();
        let (tree, handle) = child_with_handle(&driver, &flag, &drops);
        let other = thread::spawn(move || assert!(matches!(await_here(handle), Err(JoinError::Lost))));
        driver.root.enter(|| drop(tree));
        driver.end();
        other.join().unwrap();
        drop(flag.waker());
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        assert_all_cells_are_free();
    });
}
