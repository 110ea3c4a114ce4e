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
use self::table::{Entry, Evicted, Layout};
use crate::memory::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser};

/// A map of values that were read lately. Clones share it.
///
/// Its capacity is its share of the budget. A new entry displaces entries that were not used for long; a long
/// scan does not displace the entries in use (see [`quick_cache`]). An entry counts with its bytes on the heap and in the table, as measured when it is
/// put in. If an entry grows later, its owner calls [`Cache::reweigh`].
///
/// Each operation locks one of several shards for a moment. The counters of a shard are behind the same lock.
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
    /// Their number is a power of two.
    shards: Box<[Locked<K, V>]>,
    loads: Loads<K, V>,
    growth: Growth,
    layout: Layout,
    /// The share that the layout was computed for.
    equal_share: u64,
    budget: MemoryBudget,
    expires: bool,
}

/// The expected size and life of a cache's entries.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// About how many bytes an entry takes in all. It decides the size of the table, and how many keys of dropped entries are
    /// recognised if they come back.
    pub typical_bytes: u64,
    /// How many bytes a large entry takes. Every shard is large enough for several of them.
    pub large_bytes: u64,
    /// Whether the budget's time to live applies to the entries.
    pub expires: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { typical_bytes: 256, large_bytes: 16 << 10, expires: true }
    }
}

/// A shard of an equal share of the budget should hold this many large entries.
const LARGE_ENTRIES_PER_SHARD: u64 = 4;
/// About how many caches share a budget. It only decides the size of tables.
const TYPICAL_MEMBERS: u64 = 20;
/// Less unused space than this is not worth a new table.
const LEAST_SPARE_BYTES: u64 = 256 << 10;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + HeapSize + Send + Sync + 'static,
    V: Clone + HeapSize + Send + Sync + 'static,
{
    /// A cache with a share of `budget`. The metrics show it as `name`.
    #[must_use]
    pub fn new(budget: &MemoryBudget, name: &'static str) -> Self {
        Self::with(budget, name, CacheOptions::default())
    }

    /// As [`Cache::new`], for entries of another size or life.
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

    /// The value of `key`, if it is there and has not expired.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let mut shard = self.0.lock(FxBuildHasher.hash_one(key));
        let expired = match shard.table.get(key) {
            Some(entry) if !self.has_expired(entry) => {
                let value = entry.value.clone();
                shard.hits += 1;
                return Some(value);
            }
            Some(_) => shard.table.remove(key),
            None => None,
        };
        shard.misses += 1;
        drop(shard);
        // After the lock is released, because dropping a large value takes time.
        drop(expired);
        None
    }

    /// As [`Cache::get`], but counts as no use of the entry: for code that keeps entries up to date.
    pub fn peek<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let shard = self.0.lock(FxBuildHasher.hash_one(key));
        shard.table.peek(key).filter(|entry| !self.has_expired(entry)).map(|entry| entry.value.clone())
    }

    /// Stores `value` under `key`, and replaces what was there.
    pub fn insert(&self, key: K, value: V) {
        self.insert_for(key, value, self.time_to_live());
    }

    /// As [`Cache::insert`], for at most `time_to_live` if that is given.
    pub fn insert_for(&self, key: K, value: V, time_to_live: Option<Duration>) {
        let entry = self.entry(value, time_to_live);
        let hash = FxBuildHasher.hash_one(&key);
        let mut evicted = Evicted::by_insertion(hash);
        let mut shard = self.0.lock(hash);
        shard.forget_load(&self.0.loads, &key);
        let is_due = shard.insert(key, entry, &mut evicted, &self.0.growth);
        drop(shard);
        self.divide_if(is_due);
    }

    /// Removes the value of `key`, and detaches a load of it in progress: otherwise a load that began before a change would store the
    /// old value.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let mut shard = self.0.lock(FxBuildHasher.hash_one(key));
        shard.forget_load(&self.0.loads, key);
        let removed = shard.table.remove(key);
        drop(shard);
        removed.map(|(_, entry)| entry.value)
    }

    /// The value of `key`, or else the one that `make` makes. If several tasks miss it at the same time, one makes it for all.
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
            // Without a time limit there is no timeout.
            GuardResult::Timeout => make(),
        }
    }

    /// The value of `key`, or else the one that `load` loads. If several tasks miss it at the same time, one loads for all. If its
    /// load fails or is cancelled, nothing is stored, and the next task loads.
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

    /// As [`Cache::get_or_load`], after a look-up that missed.
    ///
    /// # Errors
    /// What `load` fails with.
    pub async fn load<Q, E>(&self, key: &Q, load: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.load_for(key, async { Ok((load.await?, None)) }).await
    }

    /// As [`Cache::load`], where a loaded value may come with its own time to live.
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

    /// Measures an entry again that has grown or shrunk. It asks the value for its size while a shard is locked: a caller that holds a
    /// lock which the value needs for its answer would deadlock.
    pub fn reweigh<Q>(&self, key: &Q)
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let is_due = self.0.lock(FxBuildHasher.hash_one(key)).reweigh(key, &self.0.growth);
        self.divide_if(is_due);
    }

    /// Its entries, bytes and hits.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.0.usage()
    }

    /// Returns a value that was stored since the look-up missed, and hands it to the tasks that wait for the load. Otherwise returns
    /// the right to load.
    fn kept_meanwhile<'l, Q>(&self, key: &Q, load: Load<'l, K, V>) -> Result<V, Load<'l, K, V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let Some(value) = self.peek(key) else { return Err(load) };
        // Fails if the key was removed in the meantime; then no task waits for it either.
        let _ = load.insert(value.clone());
        Ok(value)
    }

    /// Hands a value to the tasks that wait for its load, and stores it unless the key was stored or removed in the meantime.
    fn keep_loaded(&self, key: K, value: &V, time_to_live: Option<Duration>, load: Load<'_, K, V>) {
        let (entry, shared) = (self.entry(value.clone(), time_to_live), value.clone());
        let hash = FxBuildHasher.hash_one(&key);
        let mut evicted = Evicted::by_insertion(hash);
        let mut shard = self.0.lock(hash);
        // Both under the lock that a removal takes: the removal comes before, or removes the stored value.
        let is_due = load.insert(shared).is_ok() && shard.insert(key, entry, &mut evicted, &self.0.growth);
        drop(shard);
        self.divide_if(is_due);
    }

    fn has_expired(&self, entry: &Entry<V>) -> bool {
        entry.expires_at != Entry::<V>::NEVER && entry.expires_at <= self.0.budget.now()
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.0.expires.then(|| self.0.budget.time_to_live()).flatten()
    }

    fn entry(&self, value: V, time_to_live: Option<Duration>) -> Entry<V> {
        let expires_at = time_to_live.map_or(Entry::<V>::NEVER, |time| self.0.budget.now().plus(time));
        Entry::new(value, expires_at)
    }

    /// Has the budget compute the shares again, if that is due.
    fn divide_if(&self, is_due: bool) {
        if is_due {
            self.0.budget.divide();
        }
    }
}

impl<K, V> Inner<K, V> {
    /// The shard of a key. The hash is fast and not secret: a client that chooses keys of one shard only reduces its own space. The
    /// tables hash keys with secret seeds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        reason = "the number is taken modulo the number of shards, which is a power of two"
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
            // A table never shrinks, so new tables replace it when most of its slots are empty. The remaining entries are dropped:
            // they are few, and moving them would block readers.
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
