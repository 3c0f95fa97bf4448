//! `poll_cancelled`, `wait_readable`, `wait_writable`.

use crate::support::{CountWakes, block_on, panic_text, yield_once};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use trine::lowlevel::poll_cancelled;
use trine::testing::{run, wait_all_tasks_blocked};
use trine::{CancelScope, Cancelled, Error};

/// What a future with a poll function of its own looks like.
async fn cancelled() -> Cancelled {
    poll_fn(poll_cancelled).await
}

#[test]
fn cancel_wakes_who_asked() {
    let scope = CancelScope::new();
    let caught = run(trine::nursery(async |n| {
        n.start_soon(async {
            wait_all_tasks_blocked().await?;
            scope.cancel_because("enough");
            Ok(())
        });
        scope.run::<(), _>(async { Err(cancelled().await.into()) }).await
    }));
    assert_eq!(caught.unwrap(), None);
}

#[test]
fn answer_names_the_reason_and_stays_the_same() {
    let scope = CancelScope::new();
    scope.cancel_because("enough");
    let caught = run(scope.run::<(), _>(async {
        for _ in 0..3 {
            assert_eq!(cancelled().await.reason().message(), Some("enough"));
        }
        Ok(())
    }));
    assert_eq!(caught.unwrap(), Some(()));
}

#[test]
fn deadline_wakes_who_asked() {
    let caught = run(trine::move_on_after(Duration::from_secs(1), async { Err::<(), _>(cancelled().await.into()) }));
    assert_eq!(caught.unwrap(), None);
}

#[test]
fn nothing_is_cancelled_behind_a_shield_or_outside_of_scopes() {
    let scope = CancelScope::new();
    scope.cancel();
    let asked =
        run(scope.run(trine::shielded(async { Ok(poll_fn(|cx| Poll::Ready(poll_cancelled(cx).is_pending())).await) })));
    assert_eq!(asked.unwrap(), Some(true));
    assert!(block_on(poll_fn(|cx| Poll::Ready(poll_cancelled(cx).is_pending()))));
    assert!(run(poll_fn(|cx| Poll::Ready(poll_cancelled(cx).is_pending()))));
}

#[test]
fn cancel_wakes_each_future_of_a_foreign_executor() {
    let told = AtomicU32::new(0);
    let scope = CancelScope::new();
    let whole = run(trine::nursery(async |n| {
        n.start_soon(async {
            wait_all_tasks_blocked().await?;
            scope.cancel();
            Ok(())
        });
        scope
            .run(async {
                join_all((0..100).map(|_| async {
                    cancelled().await;
                    told.fetch_add(1, Ordering::Relaxed);
                }))
                .await;
                Ok(())
            })
            .await
    }));
    assert_eq!((whole.unwrap(), told.into_inner()), (Some(()), 100));
}

#[test]
fn cancel_from_another_thread_wakes_who_asked() {
    let scope = CancelScope::new();
    let remote = scope.clone();
    let (ask, asked) = std::sync::mpsc::channel();
    let canceller = std::thread::spawn(move || {
        asked.recv().unwrap();
        remote.cancel();
    });
    let caught = trine::run(scope.run(async {
        let mut asks: FuturesUnordered<_> = (0..2).map(|_| cancelled()).collect();
        assert!(futures::poll!(asks.next()).is_pending());
        ask.send(()).unwrap();
        asks.next().await;
        asks.next().await;
        Ok(())
    }));
    assert_eq!(caught.unwrap(), Some(()));
    canceller.join().unwrap();
}

/// A host that polls inside the waker, on the thread that wakes.
struct PollsInWaker {
    tree: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    woken: AtomicBool,
    polls: AtomicUsize,
}

impl Wake for PollsInWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        // A wake in the middle of a poll is seen by whoever polls. Enough polls are a tree that never rests.
        while let Ok(mut tree) = self.tree.try_lock() {
            let enough = self.polls.load(Ordering::SeqCst) > 100;
            if enough || tree.is_none() || !self.woken.swap(false, Ordering::SeqCst) {
                return;
            }
            self.polls.fetch_add(1, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&self));
            let polled = tree.as_mut().map(|tree| tree.as_mut().poll(&mut Context::from_waker(&waker)));
            if polled.is_some_and(|polled| polled.is_ready()) {
                *tree = None;
            }
        }
    }
}

#[test]
fn thread_that_cancels_may_poll_the_tree_in_its_waker() {
    let scope = CancelScope::new();
    let remote = scope.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let tree = async move {
        let caught = scope.run(std::future::pending::<trine::Result<()>>()).await;
        tell.send(caught.unwrap()).unwrap();
    };
    let host = Arc::new(PollsInWaker {
        tree: Mutex::new(Some(Box::pin(tree))),
        woken: AtomicBool::new(false),
        polls: AtomicUsize::new(0),
    });
    Arc::clone(&host).wake();
    assert!(host.tree.lock().unwrap().is_some(), "it waits");
    std::thread::spawn(move || remote.cancel()).join().unwrap();
    assert_eq!(told.try_recv(), Ok(None), "the body was dropped, within {:?} polls", host.polls);
}

/// Asks with wakers of which nobody is polled again, and counts those that are kept.
async fn ask_with_strange_wakers(n: usize) -> Vec<Arc<CountWakes>> {
    let wakers: Vec<_> = (0..n).map(|_| CountWakes::new()).collect();
    for counts in &wakers {
        let waker = Waker::from(counts.clone());
        assert!(poll_cancelled(&mut Context::from_waker(&waker)).is_pending());
    }
    wakers
}

#[test]
fn scope_that_is_left_forgets_who_asked() {
    let wakers = run(CancelScope::new().run(async {
        let wakers = ask_with_strange_wakers(100).await;
        for counts in &wakers {
            // Asked again with the same waker, it is kept once.
            let waker = Waker::from(counts.clone());
            assert!(poll_cancelled(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            assert_eq!(Arc::strong_count(counts), 2);
        }
        Ok(wakers)
    }));
    let wakers = wakers.unwrap().unwrap();
    assert!(wakers.iter().all(|w| Arc::strong_count(w) == 1 && w.count() == 0));
}

#[test]
fn cancel_wakes_every_waker_once_and_forgets_it() {
    let scope = CancelScope::new();
    run(scope.run(async {
        let wakers = ask_with_strange_wakers(20).await;
        scope.cancel();
        assert!(wakers.iter().all(|w| w.count() == 1 && Arc::strong_count(w) == 1));
        Ok(())
    }))
    .unwrap();
}

#[test]
fn waker_that_panics_keeps_no_other_from_being_woken() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own");
        }
    }
    let counts = CountWakes::new();
    let text = panic_text(|| {
        let scope = CancelScope::new();
        run(scope.run(poll_fn(|_| {
            for waker in [Waker::from(Arc::new(Panics)), Waker::from(counts.clone())] {
                assert!(poll_cancelled(&mut Context::from_waker(&waker)).is_pending());
            }
            scope.cancel();
            Poll::Ready(Ok(()))
        })))
        .unwrap();
    });
    assert_eq!((text.as_str(), counts.count()), ("a waker's own", 1));
}

#[test]
fn future_that_asked_may_be_dropped_and_moved_to_another_scope() {
    run(async {
        let mut asks = pin!(cancelled());
        let polled = trine::move_on_after(Duration::from_secs(1), async { Ok(futures::poll!(asks.as_mut())) });
        assert!(polled.await?.unwrap().is_pending());
        // The deadline of the scope that was left is nothing to it.
        trine::sleep(Duration::from_secs(2)).await?;
        assert!(futures::poll!(asks.as_mut()).is_pending());
        let scope = CancelScope::new();
        let caught = trine::nursery(async |n| {
            n.start_soon(async {
                yield_once().await;
                scope.cancel();
                Ok(())
            });
            scope.run(async { Ok(asks.await) }).await
        });
        assert!(caught.await?.is_some());
        drop(cancelled());
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[cfg(unix)]
mod descriptors {
    use super::*;
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use trine::lowlevel::{wait_readable, wait_writable};
    use trine::net::{TcpListener, TcpStream};

    fn pair() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (a, b)
    }

    /// Writes until the system takes no more.
    fn fill(mut stream: &UnixStream) -> usize {
        let mut sent = 0;
        loop {
            match stream.write(&[0; 4096]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn drain(mut stream: &UnixStream, mut n: usize) {
        let mut buf = [0; 4096];
        while n > 0 {
            n -= stream.read(&mut buf).unwrap();
        }
    }

    #[test]
    fn waits_until_there_is_something_to_read() {
        let (here, there) = pair();
        let ready = AtomicU32::new(0);
        trine::run(trine::nursery(async |n| {
            // Any number may wait for one descriptor.
            for _ in 0..2 {
                n.start_soon(async {
                    wait_readable(here.as_fd()).await?;
                    ready.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
            wait_all_tasks_blocked().await?;
            assert_eq!(ready.load(Ordering::Relaxed), 0);
            (&there).write_all(b"a")?;
            Ok(())
        }))
        .unwrap();
        assert_eq!(ready.into_inner(), 2);
    }

    #[test]
    fn readiness_is_a_level() {
        let (here, there) = pair();
        trine::run(async {
            (&there).write_all(b"ab")?;
            for _ in 0..3 {
                wait_readable(here.as_fd()).await?;
            }
            assert_eq!((&here).read(&mut [0; 1])?, 1);
            wait_readable(here.as_fd()).await?;
            Ok::<_, io::Error>(())
        })
        .unwrap();
    }

    #[test]
    fn waits_until_there_is_room_to_write() {
        let (here, there) = pair();
        trine::run(trine::nursery(async |n| {
            wait_writable(here.as_fd()).await?;
            let sent = fill(&here);
            let wait = n.spawn(async { Ok(wait_writable(here.as_fd()).await?) });
            wait_all_tasks_blocked().await?;
            assert!(!wait.is_finished());
            drain(&there, sent);
            wait.await?;
            assert!(fill(&here) > 0);
            Ok(())
        }))
        .unwrap();
    }

    #[test]
    fn closed_peer_makes_a_descriptor_ready_for_both() {
        let (here, there) = pair();
        trine::run(trine::nursery(async |n| {
            fill(&here);
            n.start_soon(async { Ok(wait_readable(here.as_fd()).await?) });
            n.start_soon(async { Ok(wait_writable(here.as_fd()).await?) });
            wait_all_tasks_blocked().await?;
            drop(there);
            Ok(())
        }))
        .unwrap();
    }

    #[test]
    fn cancelled_wait_has_read_nothing_and_leaves_nothing_behind() {
        let (here, there) = pair();
        run(async {
            for _ in 0..3 {
                let wait =
                    trine::move_on_after(Duration::from_secs(1), async { Ok(wait_readable(here.as_fd()).await?) });
                assert!(wait.await?.is_none());
            }
            (&there).write_all(b"a")?;
            wait_readable(here.as_fd()).await?;
            assert_eq!((&here).read(&mut [0; 8])?, 1);
            Ok::<_, Error>(())
        })
        .unwrap();
    }

    #[test]
    fn wait_in_a_cancelled_scope_fails_though_it_need_not_wait() {
        let (here, _there) = pair();
        let scope = CancelScope::new();
        scope.cancel();
        let caught = run(scope.run(async {
            let error = wait_writable(here.as_fd()).await.unwrap_err();
            assert!(trine::is_cancelled(&error));
            Ok(())
        }));
        assert!(caught.unwrap().is_some());
    }

    #[test]
    fn dropped_wait_lets_the_next_one_wait() {
        let (here, there) = pair();
        trine::run(async {
            for _ in 0..3 {
                let mut wait = pin!(wait_readable(here.as_fd()));
                assert!(futures::poll!(wait.as_mut()).is_pending());
            }
            (&there).write_all(b"a")?;
            let mut both = FuturesUnordered::from_iter([wait_readable(here.as_fd()), wait_readable(here.as_fd())]);
            while let Some(ready) = both.next().await {
                ready?;
            }
            Ok::<_, io::Error>(())
        })
        .unwrap();
    }

    #[test]
    fn stream_of_ours_can_be_waited_for_beside_its_own_operations() {
        trine::run(trine::nursery(async |n| {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let here = TcpStream::connect(listener.local_addr()?).await?;
            let (there, _) = listener.accept().await?;
            let mut buf = [0; 8];
            let (waited, read) = {
                let wait = n.spawn(async move {
                    wait_readable(here.as_fd()).await?;
                    Ok(here)
                });
                wait_all_tasks_blocked().await?;
                there.write_all(b"a").await?;
                let here = wait.await?;
                let read = here.read(&mut buf).await?;
                (here, read)
            };
            assert_eq!(read, 1);
            let both = futures::join!(waited.read(&mut buf), wait_readable(waited.as_fd()), async {
                yield_once().await;
                there.write_all(b"b").await
            });
            assert!(both.0? == 1 && both.1.is_ok() && both.2.is_ok());
            Ok(())
        }))
        .unwrap();
    }

    #[test]
    fn other_thread_makes_it_ready() {
        let (here, there) = pair();
        let writer = std::thread::spawn(move || (&there).write_all(b"a"));
        trine::run(wait_readable(here.as_fd())).unwrap();
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn wait_that_moves_to_another_run_goes_on_there() {
        let (here, there) = pair();
        let mut wait = Box::pin(wait_readable(here.as_fd()));
        trine::run(async { assert!(futures::poll!(wait.as_mut()).is_pending()) });
        (&there).write_all(b"a").unwrap();
        trine::run(wait).unwrap();
    }

    #[test]
    fn what_cannot_be_waited_for_is_an_error() {
        let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        if cfg!(any(target_os = "linux", target_os = "android")) {
            trine::run(wait_readable(file.as_fd())).unwrap_err();
        }
        let (here, _there) = pair();
        // The native backend serves only what it drives.
        let error = block_on(trine::backend::native().host(wait_readable(here.as_fd()))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn waits_are_send_and_show_where_they_are() {
        fn send<T: Send>(value: T) -> T {
            value
        }
        let (here, there) = pair();
        trine::run(trine::nursery(async |n| {
            let line = line!() + 1;
            n.start_soon(async { Ok(send(wait_readable(here.as_fd())).await?) });
            wait_all_tasks_blocked().await?;
            let tree = trine::inspect::tree().to_string();
            assert!(tree.contains("wait_readable at ") && tree.contains(&format!("lowlevel.rs:{line}")), "{tree}");
            drop(there);
            Ok(())
        }))
        .unwrap();
    }

    fn _named(fd: std::os::fd::BorrowedFd<'_>) -> (impl Future, impl Future) {
        let readable: trine::lowlevel::WaitReadable<'_> = wait_readable(fd);
        let writable: trine::lowlevel::WaitWritable<'_> = wait_writable(fd);
        (readable, writable)
    }
}
