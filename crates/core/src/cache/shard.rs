//! A shard: a part of a cache with its own lock.

use std::hash::Hash;

use parking_lot::Mutex;
use quick_cache::Equivalent;

use super::growth::Growth;
use super::loads::Loads;
use super::table::{Entry, Evicted, Table, allocated_bytes, entry_bytes_in_table};
use crate::memory::{HeapSize, MemoryUsage};

/// A value in its own processor cache lines, so that threads with different shards do not slow each other down.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// A shard behind its lock.
pub(super) type Locked<K, V> = Apart<Mutex<Shard<K, V>>>;

pub(super) struct Shard<K, V> {
    pub(super) table: Table<K, V>,
    /// How many of its keys are being loaded.
    pub(super) loads: usize,
    pub(super) hits: u64,
    pub(super) misses: u64,
    evictions: u64,
    /// Bytes put in that [`Growth`] does not know of yet.
    grown_bytes: u64,
}

impl<K, V> Shard<K, V>
where
    K: Hash + Eq + HeapSize,
{
    pub(super) fn new(table: Table<K, V>) -> Self {
        Self { table, loads: 0, hits: 0, misses: 0, evictions: 0, grown_bytes: 0 }
    }

    /// Stores an entry. Returns whether the shares are due to be computed again.
    pub(super) fn insert(&mut self, key: K, entry: Entry<V>, evicted: &mut Evicted<K, V>, growth: &Growth) -> bool {
        let bytes = entry_bytes_in_table::<K, V>() + key.heap_bytes() as u64 + entry.value_bytes();
        let kept = self.table.get_mut(&key).filter(|kept| kept.value_bytes() == entry.value_bytes());
        if let Some(mut kept) = kept {
            // A replacement of the same size evicts nothing.
            evicted.replaced(key, std::mem::replace(&mut *kept, entry));
        } else {
            self.table.insert_with_lifecycle(key, entry, evicted);
            self.evictions += evicted.evictions();
        }
        self.has_grown(bytes, growth)
    }

    /// Measures an entry again. Returns whether the shares are due to be computed again.
    pub(super) fn reweigh<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q, growth: &Growth) -> bool
    where
        V: HeapSize,
    {
        let grown_bytes = self.table.peek_mut(key).map_or(0, |mut entry| entry.reweigh());
        self.has_grown(grown_bytes, growth)
    }

    fn has_grown(&mut self, bytes: u64, growth: &Growth) -> bool {
        self.grown_bytes += bytes;
        self.grown_bytes >= growth.step_bytes() && growth.add(std::mem::take(&mut self.grown_bytes))
    }

    /// Detaches a load of `key` in progress: its value is not stored.
    pub(super) fn forget_load<Q: Hash + Equivalent<K> + ?Sized>(&self, loads: &Loads<K, V>, key: &Q)
    where
        V: Clone,
    {
        if self.loads > 0 {
            loads.forget(key);
        }
    }

    /// Drops entries at once until the rest fits.
    pub(super) fn set_capacity(&mut self, bytes: u64) {
        let entries = self.table.len();
        self.table.set_capacity(bytes);
        self.evictions += (entries - self.table.len()) as u64;
    }

    pub(super) fn usage(&self) -> MemoryUsage {
        let entries = self.table.len() as u64;
        MemoryUsage {
            entries,
            entry_bytes: self.table.weight(),
            spare_bytes: allocated_bytes(&self.table).saturating_sub(entries * entry_bytes_in_table::<K, V>()),
            capacity_bytes: self.table.capacity(),
            hits: self.hits,
            misses: self.misses,
            evictions: self.evictions,
        }
    }
}
