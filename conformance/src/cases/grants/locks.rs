//! The operations that get something to hold: locks, permits, tokens. The task that makes them holds the only one.

use super::wait::{Kind, Wait, Waiting};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use trine::sync::{CapacityLimiter, Lock, Mutex, OwnedLimiterToken, OwnedMutexGuard, OwnedPermit, Semaphore};

/// Something of which one is out, until the grant.
struct Held<P, G> {
    primitive: Arc<P>,
    guard: StdMutex<Option<G>>,
}

impl<P, G> Held<P, G> {
    fn new(primitive: Arc<P>, guard: G) -> Self {
        Self { primitive, guard: StdMutex::new(Some(guard)) }
    }

    fn give_back(&self) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(guard);
    }
}

/// `Mutex::lock`.
pub(super) struct MutexHold(Held<Mutex<()>, OwnedMutexGuard<()>>);
/// `Mutex::lock_owned`.
pub(super) struct MutexHoldOwned(Held<Mutex<()>, OwnedMutexGuard<()>>);
/// `Semaphore::acquire`.
pub(super) struct PermitHold(Held<Semaphore, OwnedPermit>);
/// `Semaphore::acquire_owned`.
pub(super) struct PermitHoldOwned(Held<Semaphore, OwnedPermit>);
/// `CapacityLimiter::acquire`.
pub(super) struct LimiterBorrow(Held<CapacityLimiter, OwnedLimiterToken>);
/// `CapacityLimiter::acquire_owned`.
pub(super) struct LimiterBorrowOwned(Held<CapacityLimiter, OwnedLimiterToken>);

macro_rules! lends {
    ($lends:ident($new:expr, $acquire:ident), |$it:ident| $wait:expr, $try_acquire:ident) => {
        impl Wait for $lends {
            fn make() -> Waiting<Arc<dyn Wait>> {
                Box::pin(async {
                    let primitive = Arc::new($new);
                    let guard = Arc::clone(&primitive).$acquire().await?;
                    Ok(Arc::new(Self(Held::new(primitive, guard))) as Arc<dyn Wait>)
                })
            }
            fn kind(&self) -> Kind {
                Kind::Lent
            }
            fn wait(self: Arc<Self>) -> Waiting {
                Box::pin(async move {
                    let $it = &self.0.primitive;
                    drop($wait.await?);
                    Ok(())
                })
            }
            fn grant(&self) {
                self.0.give_back();
            }
            fn waiting(&self) -> usize {
                self.0.primitive.statistics().waiting
            }
            fn try_take(&self) -> bool {
                self.0.primitive.$try_acquire().is_ok()
            }
        }
    };
}

lends!(MutexHold(Mutex::new(()), lock_owned), |it| it.lock(), try_lock);
lends!(MutexHoldOwned(Mutex::new(()), lock_owned), |it| Arc::clone(it).lock_owned(), try_lock);
lends!(PermitHold(Semaphore::new(1), acquire_owned), |it| it.acquire(), try_acquire);
lends!(PermitHoldOwned(Semaphore::new(1), acquire_owned), |it| Arc::clone(it).acquire_owned(), try_acquire);
lends!(LimiterBorrow(CapacityLimiter::new(1), acquire_owned), |it| it.acquire(), try_acquire);
lends!(LimiterBorrowOwned(CapacityLimiter::new(1), acquire_owned), |it| Arc::clone(it).acquire_owned(), try_acquire);

/// `Lock::acquire`; the task that makes it owns it.
pub(super) struct LockOwn(Lock);

impl Wait for LockOwn {
    fn make() -> Waiting<Arc<dyn Wait>> {
        Box::pin(async {
            let lock = Lock::new();
            lock.acquire().await?;
            Ok(Arc::new(Self(lock)) as Arc<dyn Wait>)
        })
    }
    fn kind(&self) -> Kind {
        Kind::Lent
    }
    fn wait(self: Arc<Self>) -> Waiting {
        Box::pin(async move {
            self.0.acquire().await?;
            Ok(self.0.release()?)
        })
    }
    fn grant(&self) {
        // A second one finds that it has been released.
        let _ = self.0.release();
    }
    fn waiting(&self) -> usize {
        self.0.statistics().waiting
    }
    fn try_take(&self) -> bool {
        self.0.try_acquire().is_ok() && self.0.release().is_ok()
    }
}
