use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Busy, Limit, LimitObserver, LimitSize, Permit, Reason};

/// One key has at most one of this many places of a limit at once.
const PARTS: usize = 4;
/// With more keys than this, keys without a place are removed.
const FEW_KEYS: usize = 64;

/// Keeps one key from taking all places of a [`Limit`]: each has a quarter of them at most, rounded up.
///
/// A share is taken before the place itself. A key that is over its share waits in a queue of its own, which is as long as that of the
/// limit, and in the queue of the limit there are never more of the same key than its share. So other keys get in, whatever one does.
pub struct Shares<K> {
    limit: Arc<Limit>,
    observer: Arc<dyn LimitObserver>,
    keys: Mutex<Keys<K>>,
}

struct Keys<K> {
    /// Alive while somebody has a place or waits.
    taken: HashMap<K, Weak<Limit>>,
    /// With more keys than this, keys without a place are removed next.
    many: usize,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Shares of `limit`, whose observer learns of refusals here too.
    #[must_use]
    pub fn new(limit: Arc<Limit>) -> Self {
        let keys = Mutex::new(Keys { taken: HashMap::new(), many: FEW_KEYS });
        let observer = Arc::new(Refusals(limit.observer()));
        Self { limit, observer, keys }
    }

    /// Waits until the key has less than its share, and takes one more place of it until the permit is dropped.
    ///
    /// # Errors
    /// [`Busy`] if too many of the same key wait already, or the wait was too long.
    pub async fn enter(&self, key: &K) -> Result<Permit, Busy> {
        let share = self.of(key);
        share.enter().await
    }

    /// How many keys are in memory.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.lock().taken.len()
    }

    fn of(&self, key: &K) -> Arc<Limit> {
        let mut keys = self.keys.lock();
        if let Some(share) = keys.taken.get(key).and_then(Weak::upgrade) {
            return share;
        }
        if keys.taken.len() >= keys.many {
            keys.taken.retain(|_, share| share.strong_count() > 0);
            keys.many = FEW_KEYS.max(2 * keys.taken.len());
        }
        // The figures of the limit may change, and a key that has no place starts with those of now.
        let share = Arc::new(Limit::new(self.limit.name(), share(self.limit.size()), self.observer.clone()));
        keys.taken.insert(key.clone(), Arc::downgrade(&share));
        share
    }
}

fn share(size: LimitSize) -> LimitSize {
    let running = NonZeroUsize::new(size.running.get().div_ceil(PARTS)).unwrap_or(NonZeroUsize::MIN);
    LimitSize { running, ..size }
}

/// Tells of refusals alone: that somebody got in is told by the limit itself.
struct Refusals(Arc<dyn LimitObserver>);

impl LimitObserver for Refusals {
    fn entered(&self, _: &'static str, _: Duration) {}

    fn refused(&self, limit: &'static str, reason: Reason) {
        self.0.refused(limit, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Unobserved;

    fn shares(running: usize, waiting: usize) -> Shares<u32> {
        let running = NonZeroUsize::new(running).unwrap();
        let size = LimitSize { running, waiting, longest_wait: Duration::from_secs(10) };
        Shares::new(Arc::new(Limit::new("test", size, Arc::new(Unobserved))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_no_more_than_a_quarter_and_the_others_get_in() {
        let shares = shares(8, 0);
        let first = shares.enter(&1).await.unwrap();
        let _second = shares.enter(&1).await.unwrap();
        assert_eq!(shares.enter(&1).await.err().unwrap().reason, Reason::QueueFull);
        let _other = shares.enter(&2).await.unwrap();
        drop(first);
        let _third = shares.enter(&1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_over_the_share_waits_for_a_place_of_its_own() {
        let shares = Arc::new(shares(4, 1));
        let first = shares.enter(&1).await.unwrap();
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.enter(&1).await.is_ok() }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shares.enter(&1).await.err().unwrap().reason, Reason::QueueFull);
        drop(first);
        assert!(waiting.await.unwrap());
        let _held = shares.enter(&1).await.unwrap();
        assert_eq!(shares.enter(&1).await.err().unwrap().reason, Reason::WaitedTooLong);
    }

    #[tokio::test]
    async fn keys_without_a_place_are_forgotten() {
        let shares = shares(8, 0);
        let _held = shares.enter(&0).await.unwrap();
        for key in 1..10_000 {
            drop(shares.enter(&key).await.unwrap());
        }
        assert!(shares.keys() <= 2 * FEW_KEYS, "{}", shares.keys());
        let _second = shares.enter(&0).await.unwrap();
        assert!(shares.enter(&0).await.is_err(), "the place that is held was not forgotten");
    }
}
