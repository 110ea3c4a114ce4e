//! The table of a shard: what an entry is there, what it weighs, and what happens to those that must go.

use std::hash::{BuildHasher as _, Hash};

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, unsync};
use rustc_hash::FxBuildHasher;

use crate::Timestamp;
use crate::memory::HeapSize;

pub(super) type Table<K, V> = unsync::Cache<K, Slot<V>, SlotBytes, DefaultHashBuilder, Evictions>;

/// A value in the table.
pub(super) struct Slot<V> {
    pub(super) value: V,
    /// [`Slot::NEVER`] if it may be used for ever.
    pub(super) expires_at: Timestamp,
    /// What the value takes on the heap. Found out once: the table may not see it change. It is small, because the shorter an
    /// entry is the more of them the processor keeps at hand; what takes more than it can say fits into no cache.
    value_bytes: u32,
}

impl<V: HeapSize> Slot<V> {
    pub(super) fn new(value: V, expires_at: Timestamp) -> Self {
        let value_bytes = Self::weighed(&value);
        Self { value, expires_at, value_bytes }
    }

    /// Finds out anew what the value takes. Gives how much it has grown.
    pub(super) fn reweigh(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.value_bytes, Self::weighed(&self.value));
        u64::from(self.value_bytes.saturating_sub(before))
    }

    fn weighed(value: &V) -> u32 {
        u32::try_from(value.heap_bytes()).unwrap_or(u32::MAX)
    }
}

impl<V> Slot<V> {
    pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

    pub(super) fn value_bytes(&self) -> u64 {
        u64::from(self.value_bytes)
    }
}

/// How the tables of a cache are made.
pub(super) struct Layout {
    entries: usize,
    shards: usize,
}

/// How many keys of dropped entries are known again if they come back, as a part of the entries. Each takes a place.
const KNOWN_AGAIN: f64 = 0.25;
/// A shard for fewer entries than this would often be full before others are.
const LEAST_ENTRIES: usize = 32;

impl Layout {
    /// For so many entries, in a power of two of shards: about `shards`, or fewer.
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

    /// What each shard may keep, of so many bytes in all.
    pub(super) fn shard_bytes(&self, bytes: u64) -> u64 {
        bytes.max(1).div_ceil(self.shards as u64)
    }

    /// A table for each shard, without entries; for that many bytes of them in all.
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
                Ok(options) => Table::with_options(options, SlotBytes, hasher, Evictions),
                // Only options that were not given can be missing.
                Err(_) => Table::with(entries, bytes, SlotBytes, hasher, Evictions),
            }
        })
        .take(self.shards)
    }
}

#[derive(Clone)]
pub(super) struct SlotBytes;

impl<K: HeapSize, V> Weighter<K, Slot<V>> for SlotBytes {
    fn weight(&self, key: &K, slot: &Slot<V>) -> u64 {
        slot_bytes::<K, V>() + key.heap_bytes() as u64 + slot.value_bytes()
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

/// What the table has taken. Its list tells how many places are in use or were, and not for how many there is room.
pub(super) fn allocated_bytes<K, V>(table: &Table<K, V>) -> u64
where
    K: Eq + Hash + HeapSize,
{
    let (taken, place_bytes) = (table.memory_used(), place_bytes::<K, V>());
    let places = taken.entries / place_bytes;
    let room = if places == 0 { 0 } else { places.next_power_of_two().max(4) };
    (room * place_bytes + taken.map) as u64
}

/// Tells what must go for want of room from what is replaced.
#[derive(Clone)]
pub(super) struct Evictions;

/// What one change of the table has pushed out. It is dropped after the table's lock is let go.
pub(super) struct Evicted<K, V> {
    /// Mostly there is no more than one, which takes no allocation.
    first: Option<(K, Slot<V>)>,
    others: Vec<(K, Slot<V>)>,
    evictions: u64,
    /// The hash of the key that is put in: what was there before under this key was not pushed out.
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
    pub(super) fn replaced(&mut self, key: K, slot: Slot<V>) {
        self.first = Some((key, slot));
    }

    /// How many had to go for want of room.
    pub(super) const fn evictions(&self) -> u64 {
        self.evictions
    }
}

impl<K: Hash, V> Lifecycle<K, Slot<V>> for Evictions {
    type RequestState = Evicted<K, V>;

    fn on_evict(&self, evicted: &mut Evicted<K, V>, key: K, slot: Slot<V>) {
        if evicted.replaced.is_none_or(|hash| hash != FxBuildHasher.hash_one(&key)) {
            evicted.evictions += 1;
        }
        if !std::mem::needs_drop::<(K, V)>() {
            return;
        }
        match &evicted.first {
            None => evicted.first = Some((key, slot)),
            Some(_) => evicted.others.push((key, slot)),
        }
    }
}
