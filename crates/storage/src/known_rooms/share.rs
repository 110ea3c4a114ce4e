//! How much of the memory for all caches the writer has.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homeserver_core::{HeapSize as _, MemoryBudget, MemoryUsage, MemoryUser};
use room_engine::auth_chain::ChainCover;

use super::KnownRooms;
use crate::append::unread::KnownTotals;

/// After how many new positions of the log, as a part of the entries there are, the writer weighs its memory again.
const WEIGHED_EVERY: usize = 16;

/// The writer's part of the budget for all caches. The writer reports what it uses from time to time, and gives up what exceeds its
/// share before its next transaction.
#[derive(Default)]
pub(crate) struct WriterShare {
    entries: AtomicU64,
    bytes: AtomicU64,
    capacity_bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    evictions: AtomicU64,
    budget: MemoryBudget,
}

impl WriterShare {
    pub(crate) fn of(memory: &MemoryBudget) -> Arc<Self> {
        let share = Arc::new(Self { budget: memory.clone(), ..Self::default() });
        memory.join("written_rooms", &share);
        share
    }

    fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Ordering::Relaxed)
    }

    fn report(&self, parts: &[MemoryPart; 3]) {
        self.entries.store(parts.iter().map(|part| part.entries as u64).sum(), Ordering::Relaxed);
        self.bytes.store(bytes_of(parts), Ordering::Relaxed);
    }
}

impl MemoryUser for WriterShare {
    fn usage(&self) -> MemoryUsage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MemoryUsage {
            entries: read(&self.entries),
            entry_bytes: read(&self.bytes),
            spare_bytes: 0,
            capacity_bytes: read(&self.capacity_bytes),
            hits: read(&self.hits),
            misses: read(&self.misses),
            evictions: read(&self.evictions),
        }
    }

    fn set_capacity(&self, bytes: u64) {
        self.capacity_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl KnownRooms {
    /// Keeps to the share. Called where nothing is taken out.
    pub(crate) fn keep_to_share(&mut self) {
        let was_too_much = self.share.bytes.load(Ordering::Relaxed) > self.share.capacity_bytes();
        if !was_too_much && self.taken * WEIGHED_EVERY <= self.entries {
            return;
        }
        self.taken = 0;
        let mut parts = self.weigh();
        self.share.report(&parts);
        if bytes_of(&parts) > self.share.capacity_bytes() {
            // Others may have room to spare.
            self.share.budget.divide();
        }
        while bytes_of(&parts) > self.share.capacity_bytes() {
            // It is not known which entries will be used again.
            let Some(largest) = parts.iter_mut().max_by_key(|part| part.bytes).filter(|part| part.bytes > 0) else {
                break;
            };
            match largest.kind {
                PartOfMemory::Heads => self.heads = HashMap::new(),
                PartOfMemory::AuthChains => self.auth_chains = ChainCover::new(),
                PartOfMemory::UnreadTotals => self.unread_totals = KnownTotals::default(),
            }
            self.share.evictions.fetch_add(largest.entries as u64, Ordering::Relaxed);
            (largest.bytes, largest.entries) = (0, 0);
        }
        self.entries = parts.iter().map(|part| part.entries).sum();
        self.share.report(&parts);
    }

    fn weigh(&self) -> [MemoryPart; 3] {
        let (events, chains, links) = self.auth_chains.size();
        let part = |kind, entries, bytes| MemoryPart { kind, entries, bytes: bytes as u64 };
        [
            part(PartOfMemory::Heads, self.heads.len(), self.heads.heap_bytes()),
            part(PartOfMemory::AuthChains, events + chains + links, self.auth_chains.heap_bytes()),
            part(PartOfMemory::UnreadTotals, self.unread_totals.len(), self.unread_totals.heap_bytes()),
        ]
    }
}

fn bytes_of(parts: &[MemoryPart; 3]) -> u64 {
    parts.iter().map(|part| part.bytes).sum()
}

struct MemoryPart {
    kind: PartOfMemory,
    entries: usize,
    bytes: u64,
}

enum PartOfMemory {
    Heads,
    AuthChains,
    UnreadTotals,
}
