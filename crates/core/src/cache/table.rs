//! The table of a shard: its entries, their weights, and what it evicts.

use std::hash::{BuildHasher as _, Hash};

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, unsync};
use rustc_hash::FxBuildHasher;

use crate::Timestamp;
use crate::memory::HeapSize;

pub(super) type Table<K, V> = unsync::Cache<K, Entry<V>, EntryBytes, DefaultHashBuilder, Evictions>;

/// A value in the table.
pub(super) struct Entry<V> {
    pub(super) value: V,
    /// [`Entry::NEVER`] if it may be used for ever.
    pub(super) expires_at: Timestamp,
    /// The value's bytes on the heap. Measured once, because the table must not see it change. 32 bits, because small slots
    /// keep more of them in the processor's cache; a larger value fits into no cache.
    value_bytes: u32,
}

impl<V: HeapSize> Entry<V> {
    pub(super) fn new(value: V, expires_at: Timestamp) -> Self {
        let value_bytes = Self::weighed(&value);
        Self { value, expires_at, value_bytes }
    }

    /// Measures the value again. Returns how much it has grown.
    pub(super) fn reweigh(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.value_bytes, Self::weighed(&self.value));
        u64::from(self.value_bytes.saturating_sub(before))
    }

    fn weighed(value: &V) -> u32 {
        u32::try_from(value.heap_bytes()).unwrap_or(u32::MAX)
    }
}

impl<V> Entry<V> {
    pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

    pub(super) fn value_bytes(&self) -> u64 {
        u64::from(self.value_bytes)
    }
}

/// The sizes of a cache's tables.
pub(super) struct Layout {
    entries: usize,
    shards: usize,
}

/// The table recognises keys of dropped entries: this part of the number of entries. Each takes a slot.
const KNOWN_AGAIN: f64 = 0.25;
/// A shard for fewer entries than this would often be full while others are not.
const LEAST_ENTRIES: usize = 32;

impl Layout {
    /// For this many entries, in about `shards` shards: a power of two, or fewer.
    pub(super) fn new(entries: usize, shards: usize) -> Self {
        let mut shards = shards.next_power_of_two();
        while shards > 1 && entries.div_ceil(shards) < LEAST_ENTRIES {
            shards /= 2;
        }
        Self { entries, shards }
    }

    pub(super) const fn shards(&self) -> usize {
        self.shards
    }

    /// The capacity of each shard, of this many bytes in all.
    pub(super) fn shard_bytes(&self, bytes: u64) -> u64 {
        bytes.max(1).div_ceil(self.shards as u64)
    }

    /// An empty table for each shard, for this many bytes in all.
    pub(super) fn tables<K, V>(&self, capacity_bytes: u64) -> impl Iterator<Item = Table<K, V>>
    where
        K: Eq + Hash + HeapSize,
    {
        let (entries, bytes) = (self.entries.div_ceil(self.shards), self.shard_bytes(capacity_bytes));
        std::iter::repeat_with(move || {
            let hasher = DefaultHashBuilder::default();
            let options = OptionsBuilder::new()
                .estimated_items_capacity(entries)
                .weight_capacity(bytes)
                .ghost_allocation(KNOWN_AGAIN)
                .build();
            match options {
                Ok(options) => Table::with_options(options, EntryBytes, hasher, Evictions),
                // It fails only if an option is missing.
                Err(_) => Table::with(entries, bytes, EntryBytes, hasher, Evictions),
            }
        })
        .take(self.shards)
    }
}

#[derive(Clone)]
pub(super) struct EntryBytes;

impl<K: HeapSize, V> Weighter<K, Entry<V>> for EntryBytes {
    fn weight(&self, key: &K, entry: &Entry<V>) -> u64 {
        entry_bytes_in_table::<K, V>() + key.heap_bytes() as u64 + entry.value_bytes()
    }
}

/// The bytes of a slot in the list of entries: the entry with its state, its references and two links to its neighbours.
const fn entry_bytes<K, V>() -> usize {
    (size_of::<(K, Entry<V>)>() + 12).next_multiple_of(align_of::<(K, Entry<V>, u32)>())
}

/// The bytes of an entry in the table, which grows by doubling and also keeps some keys of dropped entries.
pub(super) const fn entry_bytes_in_table<K, V>() -> u64 {
    /// The number of the entry and a byte of its hash, in the index.
    const INDEX_BYTES: usize = 5;
    ((entry_bytes::<K, V>() + INDEX_BYTES) * 3 / 2) as u64
}

/// The bytes that the table has allocated. Its list tells how many slots are or were in use, but not its capacity.
pub(super) fn allocated_bytes<K, V>(table: &Table<K, V>) -> u64
where
    K: Eq + Hash + HeapSize,
{
    let (taken, entry_bytes) = (table.memory_used(), entry_bytes::<K, V>());
    let entries = taken.entries / entry_bytes;
    let capacity = if entries == 0 { 0 } else { entries.next_power_of_two().max(4) };
    (capacity * entry_bytes + taken.map) as u64
}

/// Tells evicted entries from replaced ones.
#[derive(Clone)]
pub(super) struct Evictions;

/// The entries that one change of the table has removed. They are dropped after the table is unlocked.
pub(super) struct Evicted<K, V> {
    /// Usually at most one, which needs no allocation.
    first: Option<(K, Entry<V>)>,
    others: Vec<(K, Entry<V>)>,
    evictions: u64,
    /// The hash of the stored key: its old value was replaced and not evicted.
    replaced: Option<u64>,
}

impl<K, V> Default for Evicted<K, V> {
    fn default() -> Self {
        Self { first: None, others: Vec::new(), evictions: 0, replaced: None }
    }
}

impl<K, V> Evicted<K, V> {
    pub(super) fn by_insertion(hash: u64) -> Self {
        Self { replaced: Some(hash), ..Self::default() }
    }

    /// An entry was replaced by another one of the same size.
    pub(super) fn replaced(&mut self, key: K, entry: Entry<V>) {
        self.first = Some((key, entry));
    }

    /// How many were evicted.
    pub(super) const fn evictions(&self) -> u64 {
        self.evictions
    }
}

impl<K: Hash, V> Lifecycle<K, Entry<V>> for Evictions {
    type RequestState = Evicted<K, V>;

    fn on_evict(&self, evicted: &mut Evicted<K, V>, key: K, entry: Entry<V>) {
        if evicted.replaced.is_none_or(|hash| hash != FxBuildHasher.hash_one(&key)) {
            evicted.evictions += 1;
        }
        if !std::mem::needs_drop::<(K, V)>() {
            return;
        }
        match &evicted.first {
            None => evicted.first = Some((key, entry)),
            Some(_) => evicted.others.push((key, entry)),
        }
    }
}
