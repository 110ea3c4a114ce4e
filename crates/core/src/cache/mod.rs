//! Caches bounded in bytes, which share one [`MemoryBudget`].

mod counters;
mod table;

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::{EntryAction, GuardResult};
use quick_cache::{DefaultHashBuilder, Equivalent};

use self::table::{Evicted, Layout, Slot, Table, slot_bytes};
use crate::Timestamp;
use crate::memory::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser};

/// What was looked up lately, by key. Clones share it.
///
/// Its room is its share of the budget that it was made with: what was not used for long goes for what is new, by an
/// algorithm that a long scan does not upset (see [`quick_cache`]). An entry counts with what it takes on the heap and in the
/// table. That is found out when it is put in; whoever lets an entry grow afterwards calls [`Cache::reweigh`].
///
/// Reading takes a shared lock of one of several shards. Counting does not make threads wait for each other.
///
/// ```
/// use homeserver_core::{Cache, MemoryBudget};
///
/// let budget = MemoryBudget::default();
/// let names: Cache<i64, String> = Cache::new(&budget, "names");
/// names.insert(7, "@alice:example.org".to_owned());
/// assert_eq!(names.get(&7).as_deref(), Some("@alice:example.org"));
/// ```
pub struct Cache<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    /// Replaced by an empty one when most of it is places for entries that are gone: it gives nothing back.
    table: ArcSwap<Table<K, V>>,
    layout: Layout,
    /// What the layout is meant for.
    equal_share: u64,
    budget: MemoryBudget,
    expires: bool,
}

/// What the entries of a cache are expected to be like.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// What an entry takes, about, all in all. By this the table is laid out, and how many keys of dropped entries are known
    /// again if they come back.
    pub typical_bytes: u64,
    /// What a large entry takes. No shard of the table is made so small that it would not hold several of these.
    pub large_bytes: u64,
    /// Whether entries become old when the budget has a time to live.
    pub expires: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { typical_bytes: 256, large_bytes: 16 << 10, expires: true }
    }
}

/// How many large entries a shard of an equal share of the budget should hold.
const LARGE_ENTRIES_PER_SHARD: u64 = 4;
/// About how many members a budget has: only to lay out tables.
const TYPICAL_MEMBERS: u64 = 20;
/// Less than this is not worth a new table.
const LEAST_SPARE_BYTES: u64 = 256 << 10;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + HeapSize + Send + Sync + 'static,
    V: Clone + HeapSize + Send + Sync + 'static,
{
    /// A cache with a share of `budget`, by that name in the metrics.
    #[must_use]
    pub fn new(budget: &MemoryBudget, name: &'static str) -> Self {
        Self::with(budget, name, CacheOptions::default())
    }

    /// As [`Cache::new`], for entries that are not of the usual kind.
    #[must_use]
    pub fn with(budget: &MemoryBudget, name: &'static str, options: CacheOptions) -> Self {
        let equal_share = budget.bytes() / TYPICAL_MEMBERS;
        let entries = equal_share / options.typical_bytes.max(1);
        let most_shards = std::thread::available_parallelism().map_or(4, usize::from) * 4;
        let shards = equal_share / options.large_bytes.max(1) / LARGE_ENTRIES_PER_SHARD;
        let layout = Layout {
            entries: usize::try_from(entries).unwrap_or(usize::MAX),
            shards: usize::try_from(shards).unwrap_or(usize::MAX).clamp(1, most_shards),
            hasher: DefaultHashBuilder::default(),
            counters: Arc::default(),
        };
        let table = ArcSwap::from_pointee(layout.table(equal_share));
        let inner = Arc::new(Inner { table, layout, equal_share, budget: budget.clone(), expires: options.expires });
        budget.join(name, &inner);
        Self(inner)
    }

    /// What is kept under `key`.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let found = self.alive(key);
        self.0.layout.counters.looked_up(found.is_some());
        found
    }

    /// As [`Cache::get`], but as if nobody had asked: for those who keep entries up to date.
    pub fn peek<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        self.0.table.load().peek(key).filter(|slot| !self.has_expired(slot)).map(|slot| slot.value)
    }

    /// Keeps `value` under `key`, instead of what was there.
    pub fn insert(&self, key: K, value: V) {
        self.insert_for(key, value, self.time_to_live());
    }

    /// As [`Cache::insert`], for no longer than `time_to_live` if that is given.
    pub fn insert_for(&self, key: K, value: V, time_to_live: Option<Duration>) {
        let slot = self.slot(value, time_to_live);
        let bytes = slot_bytes::<K, V>() + key.heap_bytes() as u64 + slot.value_bytes;
        let mut evicted = Evicted::by_insertion(self.0.layout.hasher.hash_one(&key));
        self.0.table.load().insert_with_lifecycle(key, slot, &mut evicted);
        self.grown(bytes);
    }

    /// Forgets what is kept under `key`; also what is just being loaded, so that a change is not lost that is made while the
    /// old value is on its way.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        self.0.table.load().remove(key).map(|(_, slot)| slot.value)
    }

    /// What is kept under `key`, or what `make` makes. Of several who ask at the same time, one makes it for all.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.get(key) {
            return value;
        }
        let table = self.0.table.load();
        match table.get_value_or_guard(key, None) {
            GuardResult::Value(slot) => slot.value,
            GuardResult::Guard(guard) => {
                let value = make();
                let slot = self.slot(value.clone(), self.time_to_live());
                let bytes = slot_bytes::<K, V>() + slot.value_bytes;
                // Refused if the key was removed in the meantime.
                let _ = guard.insert(slot);
                self.grown(bytes);
                value
            }
            // Not without a time limit.
            GuardResult::Timeout => make(),
        }
    }

    /// What is kept under `key`, or what `load` loads. Of several who ask at the same time, one loads for all. If that one
    /// fails or is cancelled, nothing is kept, and the next of them loads.
    ///
    /// # Errors
    /// What `load` fails with.
    pub async fn get_or_load<Q, E>(&self, key: &Q, load: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        match self.get(key) {
            Some(value) => Ok(value),
            None => self.load(key, load).await,
        }
    }

    /// As [`Cache::get_or_load`], for those who have just looked in vain.
    ///
    /// # Errors
    /// What `load` fails with.
    pub async fn load<Q, E>(&self, key: &Q, load: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.load_for(key, async { Ok((load.await?, None)) }).await
    }

    /// As [`Cache::load`], where what is loaded is kept for no longer than the time that comes with it; without one as usual.
    ///
    /// # Errors
    /// What `load` fails with.
    pub async fn load_for<Q, E>(
        &self,
        key: &Q,
        load: impl Future<Output = Result<(V, Option<Duration>), E>>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let table = self.0.table.load_full();
        match table.get_value_or_guard_async(key).await {
            Ok(slot) => Ok(slot.value),
            Err(guard) => {
                let (value, time_to_live) = load.await?;
                let slot = self.slot(value.clone(), time_to_live.or_else(|| self.time_to_live()));
                let bytes = slot_bytes::<K, V>() + slot.value_bytes;
                // Refused if the key was removed in the meantime.
                let _ = guard.insert(slot);
                self.grown(bytes);
                Ok(value)
            }
        }
    }

    /// Finds out anew what an entry takes that has grown or shrunk. The value is asked for its size while a part of the cache
    /// is locked: whoever holds a lock that the value needs for that must not call this.
    pub fn reweigh<Q>(&self, key: &Q)
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut grown_bytes = 0;
        let _ = self.0.table.load().entry(key, Some(Duration::ZERO), |_, slot| {
            let value_bytes = slot.value.heap_bytes() as u64;
            grown_bytes = value_bytes.saturating_sub(slot.value_bytes);
            slot.value_bytes = value_bytes;
            EntryAction::Retain(())
        });
        self.grown(grown_bytes);
    }

    /// What it keeps, and what that was good for.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.0.usage()
    }

    fn alive<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let slot = self.0.table.load().get(key)?;
        if self.has_expired(&slot) {
            self.0.table.load().remove_if(key, |slot| self.has_expired(slot));
            return None;
        }
        Some(slot.value)
    }

    fn has_expired(&self, slot: &Slot<V>) -> bool {
        slot.expires_at.is_some_and(|expires_at| expires_at <= self.0.budget.now())
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.0.expires.then(|| self.0.budget.time_to_live()).flatten()
    }

    fn slot(&self, value: V, time_to_live: Option<Duration>) -> Slot<V> {
        let expires_at: Option<Timestamp> = time_to_live.map(|time| self.0.budget.now().plus(time));
        Slot { value_bytes: value.heap_bytes() as u64, value, expires_at }
    }

    /// Whoever has filled up by a good part of what may be kept has the shares worked out anew.
    fn grown(&self, bytes: u64) {
        if self.0.layout.counters.has_grown(bytes) {
            self.0.budget.divide();
        }
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<K, V> MemoryUser for Inner<K, V>
where
    K: Hash + Eq + HeapSize + Send + Sync,
    V: Clone + HeapSize + Send + Sync,
{
    fn usage(&self) -> MemoryUsage {
        let table = self.table.load();
        let entries = table.len() as u64;
        MemoryUsage {
            entries,
            entry_bytes: table.weight(),
            spare_bytes: table::allocated_bytes(&table).saturating_sub(entries * slot_bytes::<K, V>()),
            capacity_bytes: table.capacity(),
            ..self.layout.counters.read()
        }
    }

    fn set_capacity(&self, bytes: u64) {
        self.layout.counters.set_capacity(bytes);
        self.table.load().set_capacity(bytes.max(1));
        let usage = self.usage();
        if usage.spare_bytes > usage.entry_bytes.max(LEAST_SPARE_BYTES) {
            // What is left goes too: entries that are moved while others remove them could come back. Those who are loading
            // now put what they have loaded into the old table.
            let table = self.layout.table(self.equal_share);
            table.set_capacity(bytes.max(1));
            self.table.store(Arc::new(table));
        }
    }
}

#[cfg(test)]
mod tests;
