//! What is being loaded into a cache: of several who ask for one key, one loads for all.

use std::hash::Hash;

use quick_cache::sync::{self, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Equivalent, UnitWeighter};

use super::shard::Locked;

type Loading<K, V> = sync::Cache<K, V, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<K, V>>;

/// The right to load a key, which the next one who waits gets if it is dropped.
pub(super) type Load<'l, K, V> = PlaceholderGuard<'l, K, V, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<K, V>>;

/// The loads that are under way. It has no room for values: they go to those who wait, and the shard keeps them.
pub(super) struct Loads<K, V>(Loading<K, V>);

/// Below this number of places the table would have fewer shards than it is asked for.
const PLACES_PER_SHARD: usize = 32;

impl<K: Eq + Hash, V: Clone> Loads<K, V> {
    pub(super) fn new(shards: usize) -> Self {
        let places = shards * PLACES_PER_SHARD;
        Self(Loading::with(places, 0, UnitWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default()))
    }

    /// The right to load, or what somebody else has loaded meanwhile.
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

    /// Nobody who asks from now on waits for the load of `key`, and what it loads is not kept.
    pub(super) fn forget<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) {
        self.0.remove(key);
    }
}

/// Tells a shard that a key of it is being loaded, for as long as this lives.
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
