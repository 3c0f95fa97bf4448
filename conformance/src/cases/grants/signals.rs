//! The operations that get nothing but word: events, conditions, parking lots.

use super::wait::{Kind, Wait, Waiting};
use std::sync::Arc;
use trine::lowlevel::ParkingLot;
use trine::sync::{Condition, Event, Mutex};

/// `Event::wait`.
pub(super) struct EventHappens(Event);

impl Wait for EventHappens {
    fn make() -> Waiting<Arc<dyn Wait>> {
        Box::pin(async { Ok(Arc::new(Self(Event::new())) as Arc<dyn Wait>) })
    }
    fn kind(&self) -> Kind {
        Kind::Lasting
    }
    fn wait(self: Arc<Self>) -> Waiting {
        Box::pin(async move { Ok(self.0.wait().await?) })
    }
    fn grant(&self) {
        self.0.set();
    }
    fn waiting(&self) -> usize {
        self.0.statistics().waiting
    }
    fn try_take(&self) -> bool {
        self.0.is_set()
    }
}

/// `ParkingLot::park`.
pub(super) struct Park(ParkingLot);

impl Wait for Park {
    fn make() -> Waiting<Arc<dyn Wait>> {
        Box::pin(async { Ok(Arc::new(Self(ParkingLot::new())) as Arc<dyn Wait>) })
    }
    fn kind(&self) -> Kind {
        Kind::Fleeting
    }
    fn wait(self: Arc<Self>) -> Waiting {
        Box::pin(async move { Ok(self.0.park().await?) })
    }
    fn grant(&self) {
        self.0.unpark(1);
    }
    fn waiting(&self) -> usize {
        self.0.len()
    }
    fn try_take(&self) -> bool {
        self.0.unpark(1) > 0
    }
}

/// `Condition::wait`, with a mutex nobody else wants.
pub(super) struct ConditionNotified {
    mutex: Mutex<()>,
    condition: Condition,
}

impl Wait for ConditionNotified {
    fn make() -> Waiting<Arc<dyn Wait>> {
        let made = Self { mutex: Mutex::new(()), condition: Condition::new() };
        Box::pin(async { Ok(Arc::new(made) as Arc<dyn Wait>) })
    }
    fn kind(&self) -> Kind {
        Kind::Fleeting
    }
    fn wait(self: Arc<Self>) -> Waiting {
        Box::pin(async move {
            let mut guard = self.mutex.lock().await?;
            let result = self.condition.wait(&mut guard).await;
            assert!(self.mutex.is_locked(), "whatever the result");
            Ok(result?)
        })
    }
    fn grant(&self) {
        self.condition.notify(1);
    }
    fn waiting(&self) -> usize {
        self.condition.statistics().waiting
    }
    fn try_take(&self) -> bool {
        // Whoever has left has left the mutex unlocked, and took no notification along that another wait would get.
        assert!(!self.mutex.is_locked());
        false
    }
}

/// `Condition::wait_while`: a grant makes the condition false and notifies one.
pub(super) struct ConditionWhile {
    is_shut: Mutex<bool>,
    condition: Condition,
}

impl Wait for ConditionWhile {
    fn make() -> Waiting<Arc<dyn Wait>> {
        let made = Self { is_shut: Mutex::new(true), condition: Condition::new() };
        Box::pin(async { Ok(Arc::new(made) as Arc<dyn Wait>) })
    }
    fn kind(&self) -> Kind {
        Kind::Lasting
    }
    fn wait(self: Arc<Self>) -> Waiting {
        Box::pin(async move {
            let mut guard = self.is_shut.lock().await?;
            self.condition.wait_while(&mut guard, |is_shut| *is_shut).await?;
            assert!(!*guard);
            Ok(())
        })
    }
    fn grant(&self) {
        *self.is_shut.try_lock().expect("those who wait do not hold it") = false;
        self.condition.notify(1);
    }
    fn waiting(&self) -> usize {
        self.condition.statistics().waiting
    }
    fn try_take(&self) -> bool {
        !*self.is_shut.try_lock().expect("whoever has left has unlocked it")
    }
}
