//! The table of a cache: what an entry is there, what it weighs, and what happens to those that must go.

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, sync};

use super::counters::Counters;
use crate::Timestamp;
use crate::memory::HeapSize;

pub(super) type Table<K, V> = sync::Cache<K, Slot<V>, SlotBytes, DefaultHashBuilder, Evictions>;

/// A value in the table.
#[derive(Clone)]
pub(super) struct Slot<V> {
    pub(super) value: V,
    /// What the value takes on the heap. Found out once: the table may not see it change.
    pub(super) value_bytes: u64,
    pub(super) expires_at: Option<Timestamp>,
}

/// How a table is made.
pub(super) struct Layout {
    pub(super) entries: usize,
    pub(super) shards: usize,
    pub(super) hasher: DefaultHashBuilder,
    pub(super) counters: Arc<Counters>,
}

/// How many keys of dropped entries are known again if they come back, as a part of the entries. Each takes a place.
const KNOWN_AGAIN: f64 = 0.25;

impl Layout {
    /// A table without entries, for that many bytes of them.
    pub(super) fn table<K, V>(&self, capacity_bytes: u64) -> Table<K, V>
    where
        K: Eq + Hash + HeapSize,
        V: Clone,
    {
        let evictions = || Evictions { hasher: self.hasher.clone(), counters: self.counters.clone() };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(self.entries)
            .weight_capacity(capacity_bytes)
            .shards(self.shards)
            .ghost_allocation(KNOWN_AGAIN)
            .build();
        match options {
            Ok(options) => Table::with_options(options, SlotBytes, self.hasher.clone(), evictions()),
            // Only options that were not given can be missing.
            Err(_) => Table::with(self.entries, capacity_bytes, SlotBytes, self.hasher.clone(), evictions()),
        }
    }
}

#[derive(Clone)]
pub(super) struct SlotBytes;

impl<K: HeapSize, V> Weighter<K, Slot<V>> for SlotBytes {
    fn weight(&self, key: &K, slot: &Slot<V>) -> u64 {
        slot_bytes::<K, V>() + key.heap_bytes() as u64 + slot.value_bytes
    }
}

/// What a place in the list of entries takes: the entry with its state, its references and two links to its neighbours.
const fn place_bytes<K, V>() -> usize {
    (size_of::<(K, Slot<V>)>() + 12).next_multiple_of(align_of::<(K, Slot<V>, u32)>())
}

/// What an entry takes in the table, which grows by doubling and also knows some keys whose entries are gone.
pub(super) const fn slot_bytes<K, V>() -> u64 {
    /// The number of the entry and a byte of its hash, in the index.
    const INDEX_BYTES: usize = 5;
    ((place_bytes::<K, V>() + INDEX_BYTES) * 3 / 2) as u64
}

/// What the table has taken. Its lists tell how many places are in use or were, and not for how many there is room.
pub(super) fn allocated_bytes<K, V>(table: &Table<K, V>) -> u64
where
    K: Eq + Hash + HeapSize,
    V: Clone,
{
    let (taken, place_bytes, shards) = (table.memory_used(), place_bytes::<K, V>(), table.num_shards().max(1));
    let places = taken.entries / place_bytes / shards;
    let room = if places == 0 { 0 } else { (places + places / 32).next_power_of_two().max(4) * shards };
    (room * place_bytes + taken.map) as u64
}

/// Counts what must go for want of room.
#[derive(Clone)]
pub(super) struct Evictions {
    hasher: DefaultHashBuilder,
    counters: Arc<Counters>,
}

/// What one change of the table has pushed out. It is dropped after the table's lock is let go.
pub(super) struct Evicted<K, V> {
    entries: Vec<(K, Slot<V>)>,
    /// The hash of the key that is put in: what was there before under this key was not pushed out.
    replaced: Option<u64>,
}

impl<K, V> Default for Evicted<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), replaced: None }
    }
}

impl<K, V> Evicted<K, V> {
    pub(super) fn by_insertion(hash: u64) -> Self {
        Self { entries: Vec::new(), replaced: Some(hash) }
    }
}

impl<K: Hash, V> Lifecycle<K, Slot<V>> for Evictions {
    type RequestState = Evicted<K, V>;

    fn on_evict(&self, evicted: &mut Evicted<K, V>, key: K, slot: Slot<V>) {
        if evicted.replaced.is_none_or(|hash| hash != self.hasher.hash_one(&key)) {
            self.counters.evicted();
        }
        if std::mem::needs_drop::<(K, V)>() {
            evicted.entries.push((key, slot));
        }
    }
}
