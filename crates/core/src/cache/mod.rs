//! Caches bounded in bytes, which share one [`MemoryBudget`].

mod growth;
mod loads;
mod shard;
mod table;

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use quick_cache::Equivalent;
use quick_cache::sync::GuardResult;
use rustc_hash::FxBuildHasher;

use self::growth::Growth;
use self::loads::{Load, Loads, Underway};
use self::shard::{Apart, Locked, Shard};
use self::table::{Evicted, Layout, Slot};
use crate::memory::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser};

/// What was looked up lately, by key. Clones share it.
///
/// Its room is its share of the budget that it was made with: what was not used for long goes for what is new, by an
/// algorithm that a long scan does not upset (see [`quick_cache`]). An entry counts with what it takes on the heap and in the
/// table. That is found out when it is put in; whoever lets an entry grow afterwards calls [`Cache::reweigh`].
///
/// Each operation takes the lock of one of several shards, for a moment. What is counted is behind the same lock.
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
    /// As many as a power of two.
    shards: Box<[Locked<K, V>]>,
    loads: Loads<K, V>,
    growth: Growth,
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
        let shards = usize::try_from(shards).unwrap_or(usize::MAX).clamp(1, most_shards);
        let layout = Layout::new(usize::try_from(entries).unwrap_or(usize::MAX), shards);
        let inner = Arc::new(Inner {
            shards: layout.tables(equal_share).map(|table| Apart(Mutex::new(Shard::new(table)))).collect(),
            loads: Loads::new(layout.shards()),
            growth: Growth::default(),
            layout,
            equal_share,
            budget: budget.clone(),
            expires: options.expires,
        });
        budget.join(name, &inner);
        Self(inner)
    }

    /// What is kept under `key`.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let mut shard = self.0.lock(FxBuildHasher.hash_one(key));
        let expired = match shard.table.get(key) {
            Some(slot) if !self.has_expired(slot) => {
                let value = slot.value.clone();
                shard.hits += 1;
                return Some(value);
            }
            Some(_) => shard.table.remove(key),
            None => None,
        };
        shard.misses += 1;
        drop(shard);
        // Not while others wait for the lock.
        drop(expired);
        None
    }

    /// As [`Cache::get`], but as if nobody had asked: for those who keep entries up to date.
    pub fn peek<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let shard = self.0.lock(FxBuildHasher.hash_one(key));
        shard.table.peek(key).filter(|slot| !self.has_expired(slot)).map(|slot| slot.value.clone())
    }

    /// Keeps `value` under `key`, instead of what was there.
    pub fn insert(&self, key: K, value: V) {
        self.insert_for(key, value, self.time_to_live());
    }

    /// As [`Cache::insert`], for no longer than `time_to_live` if that is given.
    pub fn insert_for(&self, key: K, value: V, time_to_live: Option<Duration>) {
        let slot = self.slot(value, time_to_live);
        let hash = FxBuildHasher.hash_one(&key);
        let mut evicted = Evicted::by_insertion(hash);
        let mut shard = self.0.lock(hash);
        shard.forget_load(&self.0.loads, &key);
        let is_due = shard.insert(key, slot, &mut evicted, &self.0.growth);
        drop(shard);
        self.divide_if(is_due);
    }

    /// Forgets what is kept under `key`; also what is just being loaded, so that a change is not lost that is made while the
    /// old value is on its way.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let mut shard = self.0.lock(FxBuildHasher.hash_one(key));
        shard.forget_load(&self.0.loads, key);
        let removed = shard.table.remove(key);
        drop(shard);
        removed.map(|(_, slot)| slot.value)
    }

    /// What is kept under `key`, or what `make` makes. Of several who ask at the same time, one makes it for all.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.get(key) {
            return value;
        }
        let hash = FxBuildHasher.hash_one(key);
        let _underway = Underway::new(self.0.shard(hash));
        match self.0.loads.begin(key) {
            GuardResult::Value(value) => value,
            GuardResult::Guard(load) => self.kept_meanwhile(key, load).unwrap_or_else(|load| {
                let value = make();
                self.keep_loaded(key.to_owned(), &value, self.time_to_live(), load);
                value
            }),
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
        let _underway = Underway::new(self.0.shard(FxBuildHasher.hash_one(key)));
        let load_right = match self.0.loads.begin_async(key).await {
            Ok(value) => return Ok(value),
            Err(load_right) => load_right,
        };
        let load_right = match self.kept_meanwhile(key, load_right) {
            Ok(value) => return Ok(value),
            Err(load_right) => load_right,
        };
        let (value, time_to_live) = load.await?;
        self.keep_loaded(key.to_owned(), &value, time_to_live.or_else(|| self.time_to_live()), load_right);
        Ok(value)
    }

    /// Finds out anew what an entry takes that has grown or shrunk. The value is asked for its size while a part of the cache
    /// is locked: whoever holds a lock that the value needs for that must not call this.
    pub fn reweigh<Q>(&self, key: &Q)
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let is_due = self.0.lock(FxBuildHasher.hash_one(key)).reweigh(key, &self.0.growth);
        self.divide_if(is_due);
    }

    /// What it keeps, and what that was good for.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.0.usage()
    }

    /// What somebody has put in since we looked in vain, also for those who wait for the load; without it the right to load.
    fn kept_meanwhile<'l, Q>(&self, key: &Q, load: Load<'l, K, V>) -> Result<V, Load<'l, K, V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let Some(value) = self.peek(key) else { return Err(load) };
        // Refused if the key was removed since, and then nobody waits for it either.
        let _ = load.insert(value.clone());
        Ok(value)
    }

    /// Hands a value to those who wait for its load, and keeps it unless the key was put in or removed in the meantime.
    fn keep_loaded(&self, key: K, value: &V, time_to_live: Option<Duration>, load: Load<'_, K, V>) {
        let (slot, shared) = (self.slot(value.clone(), time_to_live), value.clone());
        let hash = FxBuildHasher.hash_one(&key);
        let mut evicted = Evicted::by_insertion(hash);
        let mut shard = self.0.lock(hash);
        // Both under the lock that a removal takes: it comes before, or removes what was kept.
        let is_due = load.insert(shared).is_ok() && shard.insert(key, slot, &mut evicted, &self.0.growth);
        drop(shard);
        self.divide_if(is_due);
    }

    fn has_expired(&self, slot: &Slot<V>) -> bool {
        slot.expires_at != Slot::<V>::NEVER && slot.expires_at <= self.0.budget.now()
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.0.expires.then(|| self.0.budget.time_to_live()).flatten()
    }

    fn slot(&self, value: V, time_to_live: Option<Duration>) -> Slot<V> {
        let expires_at = time_to_live.map_or(Slot::<V>::NEVER, |time| self.0.budget.now().plus(time));
        Slot::new(value, expires_at)
    }

    /// Whoever has filled up by a good part of what may be kept has the shares worked out anew.
    fn divide_if(&self, is_due: bool) {
        if is_due {
            self.0.budget.divide();
        }
    }
}

impl<K, V> Inner<K, V> {
    /// Where a key is, by a hash that is quick rather than safe: whoever chooses keys that meet in one shard has the less room. The
    /// tables hash keys by secrets of their own.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        reason = "the number is taken modulo the shards, of which there are as many as a power of two"
    )]
    fn shard(&self, hash: u64) -> &Locked<K, V> {
        &self.shards[hash as usize & (self.shards.len() - 1)]
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<K, V>> {
        self.shard(hash).0.lock()
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
        let usages = self.shards.iter().map(|shard| shard.0.lock().usage());
        usages.fold(MemoryUsage::default(), |sum, usage| sum.plus(&usage))
    }

    fn set_capacity(&self, bytes: u64) {
        let shard_bytes = self.layout.shard_bytes(bytes);
        self.growth.set_capacity(bytes, self.shards.len());
        for shard in &self.shards {
            shard.0.lock().set_capacity(shard_bytes);
        }
        let usage = self.usage();
        if usage.spare_bytes > usage.entry_bytes.max(LEAST_SPARE_BYTES) {
            // A table gives nothing back, so there are others when most of it is places for entries that are gone. What is left
            // goes too: it is little, and to move it would keep others waiting.
            for (shard, mut table) in self.shards.iter().zip(self.layout.tables(self.equal_share)) {
                table.set_capacity(shard_bytes);
                let old = std::mem::replace(&mut shard.0.lock().table, table);
                drop(old);
            }
        }
    }
}

#[cfg(test)]
mod tests;
