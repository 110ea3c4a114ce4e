//! Loads in progress: when several tasks miss the same key, one of them loads it for all.

use std::hash::Hash;

use quick_cache::sync::{self, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Equivalent, UnitWeighter};

use super::shard::Locked;

type Loading<K, V> = sync::Cache<K, V, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<K, V>>;

/// The right to load a key. If it is dropped, the next waiting task gets it.
pub(super) type Load<'l, K, V> = PlaceholderGuard<'l, K, V, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<K, V>>;

/// The loads in progress. Its capacity for values is zero: a loaded value is handed to the waiting tasks, and the shard stores it.
pub(super) struct Loads<K, V>(Loading<K, V>);

/// The table makes fewer shards than requested if each would have fewer slots than this.
const SLOTS_PER_SHARD: usize = 32;

impl<K: Eq + Hash, V: Clone> Loads<K, V> {
    pub(super) fn new(shards: usize) -> Self {
        let slots = shards * SLOTS_PER_SHARD;
        Self(Loading::with(slots, 0, UnitWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default()))
    }

    /// Returns the right to load, or the value if another task has loaded it in the meantime.
    pub(super) fn begin<Q>(
        &self,
        key: &Q,
    ) -> GuardResult<'_, K, V, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<K, V>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.0.get_value_or_guard(key, None)
    }

    /// As [`Loads::begin`], without blocking the thread.
    pub(super) async fn begin_async<Q>(&self, key: &Q) -> Result<V, Load<'_, K, V>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.0.get_value_or_guard_async(key).await
    }

    /// Detaches the load of `key`: later tasks do not wait for it, and its value is not kept.
    pub(super) fn forget<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) {
        self.0.remove(key);
    }
}

/// Counts a load of one of the shard's keys for as long as this lives.
pub(super) struct Underway<'s, K, V>(&'s Locked<K, V>);

impl<'s, K, V> Underway<'s, K, V> {
    pub(super) fn new(shard: &'s Locked<K, V>) -> Self {
        shard.0.lock().loads += 1;
        Self(shard)
    }
}

impl<K, V> Drop for Underway<'_, K, V> {
    fn drop(&mut self) {
        self.0.0.lock().loads -= 1;
    }
}
