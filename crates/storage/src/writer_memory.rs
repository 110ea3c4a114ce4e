//! What the writer remembers from one transaction to the next.

use std::sync::Arc;

use database::Memory;
use homeserver_core::RoomSn;
use tokio::sync::watch;

use crate::known_rooms::{KnownRooms, WriterShare};
use crate::state_chunks::{ChunkCache, ChunkView, WrittenState};

/// What the writer remembers, and what becomes visible in this process's memory when the transaction commits.
pub(crate) struct WriterMemory {
    /// Rooms that it has written to.
    pub(crate) rooms: KnownRooms,
    /// Chunks of states that the transaction has read or written.
    pub(crate) chunks: ChunkView,
    /// The states of rooms that become current with the commit.
    pub(crate) written_states: Vec<(RoomSn, WrittenState)>,
    /// Whether the transaction has scheduled jobs.
    pub(crate) has_scheduled_jobs: bool,
    /// Rung when jobs have been scheduled.
    job_bell: watch::Sender<()>,
}

/// A point in a transaction.
pub(crate) struct WriterMark {
    changes: usize,
    written_states: usize,
}

impl WriterMemory {
    pub(crate) fn new(share: Arc<WriterShare>, chunks: Arc<ChunkCache>, job_bell: watch::Sender<()>) -> Self {
        Self {
            rooms: KnownRooms::new(share),
            chunks: ChunkView::new(chunks),
            written_states: Vec::new(),
            has_scheduled_jobs: false,
            job_bell,
        }
    }
}

impl Memory for WriterMemory {
    type Mark = WriterMark;

    fn begin(&mut self) {
        self.rooms.begin();
        self.chunks.forget_own();
        self.written_states.clear();
        self.has_scheduled_jobs = false;
    }

    fn has_taken_positions(&mut self, count: i64) {
        self.rooms.has_taken_positions(count);
    }

    fn forget(&mut self) {
        self.rooms.forget_all();
    }

    fn mark(&self) -> WriterMark {
        WriterMark { changes: self.rooms.mark(), written_states: self.written_states.len() }
    }

    fn roll_back_to(&mut self, mark: WriterMark) {
        self.written_states.truncate(mark.written_states);
        self.rooms.roll_back_to(mark.changes);
    }

    fn roll_back(&mut self) {
        self.written_states.clear();
        self.rooms.roll_back_to(0);
    }

    fn has_committed(&mut self) {
        for (room_sn, state) in self.written_states.drain(..) {
            self.chunks.remember_written(room_sn, state);
        }
        if self.has_scheduled_jobs {
            self.job_bell.send_replace(());
        }
    }
}
