//! One handle for each loop of a host that has many.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The loops of a host that were met, by the host's own key; keys are not reused. It keeps none alive: what belongs to
/// the loop does, say a task of the host that is its [`sentinel`](super::HostHandle::sentinel).
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, LazyLock};
/// use trine_backend::adapter::Registry;
///
/// static MET: LazyLock<Registry<u64, String>> = LazyLock::new(Registry::default);
///
/// let (first, is_new) = MET.get_or_make(1, || Arc::new("one".to_owned()));
/// assert!(is_new);
/// let (second, is_new) = MET.get_or_make(1, || Arc::new("another".to_owned()));
/// assert!(Arc::ptr_eq(&first, &second) && !is_new);
/// ```
#[derive(Debug)]
pub struct Registry<K, H> {
    met: Mutex<HashMap<K, Weak<H>>>,
}

impl<K, H> Default for Registry<K, H> {
    fn default() -> Self {
        Self { met: Mutex::default() }
    }
}

impl<K: Eq + Hash, H> Registry<K, H> {
    /// Returns the one handle of a loop, and whether it has just been made; no lock is held by `make`.
    pub fn get_or_make(&self, key: K, make: impl FnOnce() -> Arc<H>) -> (Arc<H>, bool) {
        let met = self.lock().get(&key).and_then(Weak::upgrade);
        if let Some(met) = met {
            return (met, false);
        }
        // Before the lock, so that it is dropped after it if another thread was faster.
        let new = make();
        let mut all = self.lock();
        if let Some(met) = all.get(&key).and_then(Weak::upgrade) {
            return (met, false);
        }
        all.retain(|_, met| met.strong_count() > 0);
        all.insert(key, Arc::downgrade(&new));
        drop(all);
        (new, true)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Weak<H>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Registry;
    use std::sync::Arc;

    #[test]
    fn what_is_gone_is_forgotten_and_made_anew() {
        let all = Registry::default();
        for key in 0..100 {
            let (handle, is_new) = all.get_or_make(key, || Arc::new(key));
            assert!(is_new);
            drop(handle);
            let (_again, is_new) = all.get_or_make(key, || Arc::new(key));
            assert!(is_new);
            assert_eq!(all.lock().len(), 1);
        }
    }

    #[test]
    fn who_is_met_while_it_is_made_wins() {
        let all = Registry::default();
        let mut first = None;
        let (found, is_new) = all.get_or_make(1, || {
            first = Some(all.get_or_make(1, || Arc::new("first")).0);
            Arc::new("second")
        });
        assert!(Arc::ptr_eq(&found, &first.unwrap()) && !is_new);
    }
}
