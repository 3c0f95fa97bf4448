//! Nurseries whose children stay on their thread and are not `Send`.

use super::nursery_tools::{Oops, SECOND, after, error_of, forever, oopses};
use crate::case::{Case, on_host, skip};
use crate::host::{Host, Local};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use trine::testing::MockClock;
use trine::{Builder, CancelScope, Error, Result, local_nursery};

pub(super) const CASES: &[Case] = &[
    on_host!(children_share_cells, "local-nursery.share", "design 3"),
    on_host!(scope_cuts_it, "local-nursery.in-scope", "design 3"),
    on_host!(it_starts_and_fails_like_the_other, "local-nursery.same-rules", "design 3"),
];

/// Runs a future that must stay on a thread, where the host lets it.
fn run_local<F: Future<Output = Result<()>> + 'static>(
    host: &dyn Host,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<()> {
    if !host.stays() {
        return Err(skip("futures move between threads"));
    }
    let result = Arc::new(Mutex::new(None));
    let out = Arc::clone(&result);
    let make: Local = Box::new(move || {
        Box::pin(async move {
            let ended = make().await;
            *out.lock().unwrap() = Some(ended);
        })
    });
    host.run_local(Builder::new().clock(MockClock::new().autojump()), make)?;
    let ended = result.lock().unwrap().take();
    ended.unwrap_or_else(|| Err(Error::msg("the host returned early")))
}

fn children_share_cells(host: &dyn Host) -> Result<()> {
    run_local(host, || async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sum = local_nursery(async |n| {
            for i in 0..3 {
                let seen = Rc::clone(&seen);
                n.start_soon(async move {
                    seen.borrow_mut().push(i);
                    after(i + 1, ()).await?;
                    seen.borrow_mut().push(i + 10);
                    Ok(())
                });
            }
            let shared = n.spawn(async { Ok(Rc::clone(&seen)) }).await?;
            Ok(shared.borrow().iter().sum::<u32>())
        })
        .await?;
        assert_eq!((sum, seen.borrow().iter().sum::<u32>()), (3, 36));
        Ok(())
    })
}

fn scope_cuts_it(host: &dyn Host) -> Result<()> {
    run_local(host, || async {
        let count = Rc::new(RefCell::new(0));
        let caught = CancelScope::after(SECOND)
            .local_nursery(async |n| {
                let count = Rc::clone(&count);
                n.start_soon(async move {
                    let result = forever().await;
                    *count.borrow_mut() += 1;
                    result
                });
                Ok(3)
            })
            .await?;
        assert_eq!((caught, *count.borrow()), (None, 1));
        Ok(())
    })
}

fn it_starts_and_fails_like_the_other(host: &dyn Host) -> Result<()> {
    run_local(host, || async {
        let cell = Rc::new(RefCell::new(0));
        let error = error_of(
            local_nursery(async |n| {
                let held = Rc::clone(&cell);
                let value = n
                    .start(|status| async move {
                        status.started(Rc::clone(&held));
                        let result = forever().await;
                        *held.borrow_mut() += 1;
                        result
                    })
                    .await?;
                assert!(Rc::ptr_eq(&value, &cell));
                n.task("failing").start_soon(async { Err(Oops(1).into()) });
                forever().await
            })
            .await,
        );
        assert!(error.is_group() && !error.has_cancelled());
        assert_eq!((oopses(&error), *cell.borrow(), Rc::strong_count(&cell)), (vec![1], 1, 1));
        Ok(())
    })
}
