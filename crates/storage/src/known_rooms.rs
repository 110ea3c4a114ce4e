//! What the writer keeps in memory of the rooms that it has written to, within its share of the memory for all caches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homeserver_core::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser, RoomSn};
use room_engine::auth_chain::{ChainCover, NewRows};

use crate::append::Head;
use crate::append::unread::{ContinuedTotals, KnownTotals};

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
    /// The position before the transaction.
    position_before: i64,
    /// What takes back what the transaction has changed, in its order.
    changes: Vec<Change>,
    /// Whether the transaction has made everything unknown that was known before it.
    was_cleared: bool,
    /// Positions that were taken since it was last found out what all of this takes, and how many entries that were.
    taken: usize,
    entries: usize,
    share: Arc<WriterShare>,
}

/// What a transaction has changed of what is known. If it is rolled back, the rest stays right.
enum Change {
    /// The end that a room had before.
    Head(RoomSn, Option<Box<Head>>),
    /// Events that were put into the index of auth chains.
    AuthChains(NewRows),
    /// Totals that were continued.
    UnreadTotals(ContinuedTotals),
}

/// A place in a transaction to which [`KnownRooms::roll_back_to`] goes back.
#[derive(Clone, Copy)]
pub(crate) struct KnownMark {
    changes: usize,
    position: i64,
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
            position_before: 0,
            changes: Vec::new(),
            was_cleared: false,
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
        for (room_sn, head) in heads {
            let before = self.heads.insert(room_sn, head);
            self.changes.push(Change::Head(room_sn, before.map(Box::new)));
        }
    }

    pub(crate) fn remove_head(&mut self, room_sn: RoomSn) {
        let before = self.heads.remove(&room_sn);
        self.changes.push(Change::Head(room_sn, before.map(Box::new)));
    }

    /// Events have been put into [`KnownRooms::auth_chains`].
    pub(crate) fn has_indexed(&mut self, rows: &NewRows) {
        self.changes.push(Change::AuthChains(rows.clone()));
    }

    /// Totals of [`KnownRooms::unread_totals`] have been continued.
    pub(crate) fn has_continued(&mut self, totals: ContinuedTotals) {
        self.changes.push(Change::UnreadTotals(totals));
    }

    pub(crate) fn auth_chains(&mut self) -> &mut ChainCover {
        &mut self.auth_chains
    }

    pub(crate) fn unread_totals(&mut self) -> &mut KnownTotals {
        &mut self.unread_totals
    }

    /// The last position before the transaction and the last one that it has taken, if it has taken any.
    pub(crate) fn taken_by_transaction(&self) -> Option<(i64, i64)> {
        (self.position > self.position_before).then_some((self.position_before, self.position))
    }

    /// The last position that was reserved.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Forgets everything about rooms.
    pub(crate) fn clear(&mut self) {
        self.forget_all();
        self.was_cleared = true;
    }

    fn forget_all(&mut self) {
        self.heads = HashMap::new();
        self.auth_chains = ChainCover::new();
        self.unread_totals = KnownTotals::default();
        self.changes.clear();
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self) {
        self.keep_to_share();
        self.changes.clear();
        self.was_cleared = false;
        self.position_before = self.position;
    }

    /// What is known now is what [`KnownRooms::roll_back_to`] goes back to.
    pub(crate) fn mark(&self) -> KnownMark {
        KnownMark { changes: self.changes.len(), position: self.position }
    }

    /// What was done since the last commit has not happened.
    pub(crate) fn roll_back(&mut self) {
        self.roll_back_to(KnownMark { changes: 0, position: self.position_before });
    }

    /// What was done since `mark` has not happened.
    pub(crate) fn roll_back_to(&mut self, mark: KnownMark) {
        self.position = mark.position;
        if self.was_cleared {
            // What was read after that may have been written by the transaction.
            self.forget_all();
            return;
        }
        while self.changes.len() > mark.changes
            && let Some(change) = self.changes.pop()
        {
            match change {
                Change::Head(room_sn, Some(before)) => drop(self.heads.insert(room_sn, *before)),
                Change::Head(room_sn, None) => drop(self.heads.remove(&room_sn)),
                Change::AuthChains(rows) => self.auth_chains.remove(&rows),
                Change::UnreadTotals(totals) => self.unread_totals.forget(&totals),
            }
        }
    }

    /// The log has given `count` positions to a transaction, of which `last` is the last.
    pub(crate) fn has_reserved(&mut self, last: i64, count: i64) {
        if last - count != self.position {
            // Another process has written. That stays so if the transaction is rolled back.
            self.forget_all();
            self.position_before = last - count;
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
