//! What the writer remembers, as the statements of a transaction use it.

use std::collections::HashMap;

use homeserver_core::RoomSn;
use room_engine::auth_chain::{ChainCover, NewRows};

use super::Tx;
use crate::append::WriterHead;
use crate::append::unread::{ContinuedTotals, KnownTotals};
use crate::state_chunks::ChunkView;

impl Tx {
    pub(crate) fn chunks(&self) -> &ChunkView {
        &self.0.memory().chunks
    }

    pub(crate) fn chunks_mut(&mut self) -> &mut ChunkView {
        &mut self.0.memory_mut().chunks
    }

    /// The head of a room, if it is known without asking. Positions have to be reserved first.
    pub(crate) fn known_head(&self, room_sn: RoomSn) -> Option<WriterHead> {
        self.0.memory().rooms.head(room_sn)
    }

    /// Keeps the heads of rooms for the transactions that follow.
    pub(crate) fn remember_heads(&mut self, heads: HashMap<RoomSn, WriterHead>) {
        let memory = self.0.memory_mut();
        let changed = heads.iter().filter_map(|(room_sn, head)| Some((*room_sn, head.written_state()?)));
        memory.written_states.extend(changed);
        let settled = heads.into_iter().filter_map(|(room_sn, head)| Some((room_sn, head.settled()?)));
        memory.rooms.add_heads(settled);
    }

    /// The index of auth chains as far as it is in memory, to be given back with [`Tx::keep_auth_chains`]. Positions have
    /// to be reserved first.
    pub(crate) fn take_auth_chains(&mut self) -> ChainCover {
        std::mem::take(self.0.memory_mut().rooms.auth_chains())
    }

    pub(crate) fn keep_auth_chains(&mut self, auth_chains: ChainCover) {
        *self.0.memory_mut().rooms.auth_chains() = auth_chains;
    }

    /// Events have been put into the index of auth chains, as far as it is in memory.
    pub(crate) fn has_indexed(&mut self, rows: &NewRows) {
        self.0.memory_mut().rooms.has_indexed(rows);
    }

    /// What is in memory of the totals of unread events, to be given back with [`Tx::keep_unread_totals`]. Positions have to
    /// be reserved first.
    pub(crate) fn take_unread_totals(&mut self) -> KnownTotals {
        std::mem::take(self.0.memory_mut().rooms.unread_totals())
    }

    pub(crate) fn keep_unread_totals(&mut self, unread_totals: KnownTotals) {
        *self.0.memory_mut().rooms.unread_totals() = unread_totals;
    }

    /// Totals of unread events have been continued in memory.
    pub(crate) fn has_continued(&mut self, totals: ContinuedTotals) {
        self.0.memory_mut().rooms.has_continued(totals);
    }

    /// Forgets what is known of rooms, because the transaction changes it in another way than by appending.
    pub(crate) fn forget_rooms(&mut self) {
        self.0.memory_mut().rooms.clear();
    }

    /// Wakes the workers of jobs when the transaction has committed.
    pub(crate) fn note_scheduled_job(&mut self) {
        self.0.memory_mut().has_scheduled_jobs = true;
    }
}
