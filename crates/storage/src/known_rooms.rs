//! What the writer keeps in memory of the rooms that it has written to, within its share of the memory for all caches.

mod share;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use homeserver_core::RoomSn;
use room_engine::auth_chain::{ChainCover, NewRows};

pub(crate) use self::share::WriterShare;
use crate::append::WriterHead;
use crate::append::unread::{ContinuedTotals, KnownTotals};

/// What this writer knows of rooms because it wrote it. It is true as long as no other process has moved the log, which the engine
/// finds out from the position.
pub(crate) struct KnownRooms {
    heads: HashMap<RoomSn, WriterHead>,
    /// What is in memory of the index of auth chains.
    auth_chains: ChainCover,
    /// Totals of unread events that were continued lately.
    unread_totals: KnownTotals,
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
    /// The head that a room had before.
    Head(RoomSn, Option<Box<WriterHead>>),
    /// Events that were put into the index of auth chains.
    AuthChains(NewRows),
    /// Totals that were continued.
    UnreadTotals(ContinuedTotals),
}

impl KnownRooms {
    pub(crate) fn new(share: Arc<WriterShare>) -> Self {
        Self {
            heads: HashMap::new(),
            auth_chains: ChainCover::new(),
            unread_totals: KnownTotals::default(),
            changes: Vec::new(),
            was_cleared: false,
            taken: 0,
            entries: 0,
            share,
        }
    }

    /// The head of a room.
    pub(crate) fn head(&self, room_sn: RoomSn) -> Option<WriterHead> {
        let found = self.heads.get(&room_sn).cloned();
        let count = if found.is_some() { &self.share.hits } else { &self.share.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn add_heads(&mut self, heads: impl IntoIterator<Item = (RoomSn, WriterHead)>) {
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

    /// Forgets everything about rooms, because the transaction changes it.
    pub(crate) fn clear(&mut self) {
        self.forget_all();
        self.was_cleared = true;
    }

    /// Forgets everything about rooms, which was not changed by the transaction.
    pub(crate) fn forget_all(&mut self) {
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
    }

    /// What is known now is what [`KnownRooms::roll_back_to`] goes back to.
    pub(crate) fn mark(&self) -> usize {
        self.changes.len()
    }

    /// What was done since `mark` has not happened; since the beginning of the transaction if that is zero.
    pub(crate) fn roll_back_to(&mut self, mark: usize) {
        if self.was_cleared {
            // What was read after that may have been written by the transaction.
            self.forget_all();
            return;
        }
        while self.changes.len() > mark
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

    /// The transaction has taken `count` positions of the log.
    pub(crate) fn has_taken_positions(&mut self, count: i64) {
        self.taken += usize::try_from(count).unwrap_or_default();
    }
}
