//! What the writer keeps in memory of the rooms that it has written to, within its share of the memory for all caches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homeserver_core::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser, RoomSn};
use room_engine::auth_chain::ChainCover;

use crate::append::Head;
use crate::append::unread::KnownTotals;

/// After how many new positions of the log, as a part of the entries there are, it is found out anew what they take.
const WEIGHED_EVERY: usize = 16;

/// What this writer knows of rooms because it wrote it. It holds as long as nobody else has moved the log, which its position
/// tells.
pub(crate) struct KnownRooms {
    heads: HashMap<RoomSn, Head>,
    /// What is in memory of the index of auth chains.
    auth_chains: ChainCover,
    /// Totals of unread events that were continued lately.
    unread_totals: KnownTotals,
    /// The position of the log behind the last transaction of this writer.
    position: i64,
    /// Positions that were taken since it was last found out what all of this takes, and how many entries that were.
    taken: usize,
    entries: usize,
    share: Arc<WriterShare>,
}

/// How much of the budget the writer has, and what for. Its thread says so from time to time, and gives up what is too much
/// before its next transaction.
#[derive(Default)]
pub(crate) struct WriterShare {
    entries: AtomicU64,
    bytes: AtomicU64,
    capacity_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
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

    fn say(&self, parts: &[Part; 3]) {
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
    pub(crate) fn new(share: Arc<WriterShare>) -> Self {
        Self {
            heads: HashMap::new(),
            auth_chains: ChainCover::new(),
            unread_totals: KnownTotals::default(),
            position: 0,
            taken: 0,
            entries: 0,
            share,
        }
    }

    /// The end of a room.
    pub(crate) fn head(&self, room_sn: RoomSn) -> Option<Head> {
        let found = self.heads.get(&room_sn).cloned();
        let count = if found.is_some() { &self.share.hits } else { &self.share.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn add_heads(&mut self, heads: impl IntoIterator<Item = (RoomSn, Head)>) {
        self.heads.extend(heads);
    }

    pub(crate) fn remove_head(&mut self, room_sn: RoomSn) {
        self.heads.remove(&room_sn);
    }

    pub(crate) fn auth_chains(&mut self) -> &mut ChainCover {
        &mut self.auth_chains
    }

    pub(crate) fn unread_totals(&mut self) -> &mut KnownTotals {
        &mut self.unread_totals
    }

    /// The last position that was reserved.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Forgets everything about rooms.
    pub(crate) fn clear(&mut self) {
        self.heads = HashMap::new();
        self.auth_chains = ChainCover::new();
        self.unread_totals = KnownTotals::default();
    }

    /// Forgets everything, because what was done since the last commit has not happened.
    pub(crate) fn roll_back(&mut self) {
        self.clear();
        self.position = 0;
    }

    /// The log has given `count` positions to a transaction, of which `last` is the last.
    pub(crate) fn has_reserved(&mut self, last: i64, count: i64) {
        if last - count != self.position {
            self.clear();
        }
        self.position = last;
        self.taken += usize::try_from(count).unwrap_or_default();
    }

    /// Keeps to the share. Called where nothing is lent.
    pub(crate) fn keep_to_share(&mut self) {
        let was_too_much = self.share.bytes.load(Ordering::Relaxed) > self.share.capacity_bytes();
        if !was_too_much && self.taken * WEIGHED_EVERY <= self.entries {
            return;
        }
        self.taken = 0;
        let mut parts = self.weigh();
        self.share.say(&parts);
        if bytes_of(&parts) > self.share.capacity_bytes() {
            // Others may have room to spare.
            self.share.budget.divide();
        }
        while bytes_of(&parts) > self.share.capacity_bytes() {
            // Which of the rest would be used again nobody knows.
            let Some(largest) = parts.iter_mut().max_by_key(|part| part.bytes).filter(|part| part.bytes > 0) else {
                break;
            };
            match largest.kind {
                Kind::Heads => self.heads = HashMap::new(),
                Kind::AuthChains => self.auth_chains = ChainCover::new(),
                Kind::UnreadTotals => self.unread_totals = KnownTotals::default(),
            }
            self.share.evictions.fetch_add(largest.entries as u64, Ordering::Relaxed);
            (largest.bytes, largest.entries) = (0, 0);
        }
        self.entries = parts.iter().map(|part| part.entries).sum();
        self.share.say(&parts);
    }

    fn weigh(&self) -> [Part; 3] {
        let (events, chains, links) = self.auth_chains.size();
        let part = |kind, entries, bytes| Part { kind, entries, bytes: bytes as u64 };
        [
            part(Kind::Heads, self.heads.len(), self.heads.heap_bytes()),
            part(Kind::AuthChains, events + chains + links, self.auth_chains.heap_bytes()),
            part(Kind::UnreadTotals, self.unread_totals.len(), self.unread_totals.heap_bytes()),
        ]
    }
}

fn bytes_of(parts: &[Part; 3]) -> u64 {
    parts.iter().map(|part| part.bytes).sum()
}

struct Part {
    kind: Kind,
    entries: usize,
    bytes: u64,
}

enum Kind {
    Heads,
    AuthChains,
    UnreadTotals,
}
