//! A part of a cache, which is behind a lock of its own.

use std::hash::Hash;

use parking_lot::Mutex;
use quick_cache::Equivalent;

use super::growth::Growth;
use super::loads::Loads;
use super::table::{Evicted, Slot, Table, allocated_bytes, slot_bytes};
use crate::memory::{HeapSize, MemoryUsage};

/// In cache lines of its own, so that threads do not take them from each other.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// A shard as it is kept.
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

    /// Puts an entry in. Says whether it is time to work out the shares anew.
    pub(super) fn insert(&mut self, key: K, slot: Slot<V>, evicted: &mut Evicted<K, V>, growth: &Growth) -> bool {
        let bytes = slot_bytes::<K, V>() + key.heap_bytes() as u64 + slot.value_bytes();
        let kept = self.table.get_mut(&key).filter(|kept| kept.value_bytes() == slot.value_bytes());
        if let Some(mut kept) = kept {
            // What stays as large as it was stays where it is, too, and pushes nothing out.
            evicted.replaced(key, std::mem::replace(&mut *kept, slot));
        } else {
            self.table.insert_with_lifecycle(key, slot, evicted);
            self.evictions += evicted.evictions();
        }
        self.has_grown(bytes, growth)
    }

    /// Finds out anew what an entry takes. Says whether it is time to work out the shares anew.
    pub(super) fn reweigh<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q, growth: &Growth) -> bool
    where
        V: HeapSize,
    {
        let grown_bytes = self.table.peek_mut(key).map_or(0, |mut slot| slot.reweigh());
        self.has_grown(grown_bytes, growth)
    }

    fn has_grown(&mut self, bytes: u64, growth: &Growth) -> bool {
        self.grown_bytes += bytes;
        self.grown_bytes >= growth.step_bytes() && growth.add(std::mem::take(&mut self.grown_bytes))
    }

    /// What is being loaded for `key` is not to be kept.
    pub(super) fn forget_load<Q: Hash + Equivalent<K> + ?Sized>(&self, loads: &Loads<K, V>, key: &Q)
    where
        V: Clone,
    {
        if self.loads > 0 {
            loads.forget(key);
        }
    }

    /// What is too much goes at once.
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
            spare_bytes: allocated_bytes(&self.table).saturating_sub(entries * slot_bytes::<K, V>()),
            capacity_bytes: self.table.capacity(),
            hits: self.hits,
            misses: self.misses,
            evictions: self.evictions,
        }
    }
}
