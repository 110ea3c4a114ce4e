//! Removing the chunks that no state needs any more.
//!
//! Chunks are shared between states, so nothing is removed with an event, a room or a state that was replaced. Instead a
//! [`ChunkCollector`] looks, once in a while, at everything that is reachable from the roots (`events.state_root` and
//! `room_heads.state_root`) and removes the rest, while all nodes go on writing. It keeps nothing in the database: one that
//! is dropped half-way has removed some of what it may remove, and the next one starts over.
//!
//! # A pass
//!
//! 1. The position of the log is noted while no transaction holds the log: the *start*.
//! 2. Room by room the roots are read, in the order of the events. The statement that reads the last of a room's events
//!    reads the root of its head as well: its snapshot is the room's *moment*.
//! 3. What is reachable from the roots is marked.
//! 4. Chunks without a mark are removed, a few at a time, if `written_at` is not behind the start.
//!
//! A pass marks only chunks in a range of IDs. When there are more marks than it may have, it gives up the upper half of its
//! range; the next pass begins where the range ended. IDs are hashes, so the passes are alike.
//!
//! # Why nothing that is needed is removed
//!
//! Two things are certain of the transactions that write states. They hold the lock of the log from before they read the
//! room's head until they are committed, so they happen one after the other, on all nodes together. And a state that they
//! write is an older state, the *base*, with changes: those of its chunks that the base does not have are all written,
//! whether or not they are known to be there. A chunk that is written, or written again, gets the last position that its
//! transaction has reserved as `written_at`. The lock is what makes positions comparable: a transaction that took it after
//! the start was noted has reserved positions behind the start, and what was written before is committed and visible.
//! Several transactions may be under way, but only one of them has reserved positions.
//!
//! *At its moment, every root of a room has been read.* Events that the moment's statement did not read were read before if
//! they existed, because new events come behind all others; and events that are gone since have no roots.
//!
//! *Later roots of the room reach only what is marked or was written after the start.* By induction over the transactions
//! after the moment: the chunks of a new root are written by its transaction, or are in its base. If the base is a root at
//! that time, they are marked or were written after the start, because that held for all roots so far. It holds for rooms
//! that did not exist when the pass came by their number, too: their first state has no base.
//!
//! *The base is a root at that time.* It is the state of the room's head, read under the lock; or it is that of an event
//! ([`StateBefore`](crate::StateBefore)), which was read earlier and might have been removed since, with all its chunks,
//! while they are still in some cache. So a write that removes or replaces roots calls
//! [`Tx::renew_head`](crate::Tx::renew_head): the append, which was built on another version of the head, is refused. The
//! cache is harmless for the same reason: nothing is ever taken for stored because it is in the cache, only because a root
//! reaches it. And `renew_head` takes a position, so that no node believes the head that it remembers.
//!
//! *States that are worked out later*, for events that have none yet or a wrong one, are written under the same lock and are
//! built on those of events of the room with lower numbers, or written as a whole. Such a base was read before, or was
//! itself written since the start.
//!
//! Removing takes the log's lock, too. It would not have to, as the condition on `written_at` is checked with the row, but
//! otherwise an append and a removal could each wait for a row that the other has.
//!
//! Several collectors do not disturb each other: none of them removes what a root reaches, and removing twice is removing
//! once. But one may find a chunk missing, below a root that it has read and that was removed afterwards. It goes on, and does not
//! count the chunk as visited: it may come back in the state of another room, on top of chunks that nobody has to write again.

mod marks;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use database::Row;
use homeserver_core::{Position, RoomSn};
use room_engine::state_map::{Chunk, ChunkId};

use self::marks::Marks;
use crate::events::order_of;
use crate::state_chunks::{FIND, blobs, read_chunk, read_root};
use crate::{Database, StorageError, Tx, params};

/// After each step a collector rests for this many times as long as the step took, so it takes a sixth of a connection.
const REST_FACTOR: u32 = 5;
/// The shortest and the longest rest.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(5));

const NEXT_ROOM: &str = "SELECT MIN(room_sn) FROM (SELECT MIN(room_sn) AS room_sn FROM events WHERE room_sn > $1 \
                         UNION ALL SELECT MIN(room_sn) FROM room_heads WHERE room_sn > $1) AS rooms";
const ROOTS: &str = concat!(
    "SELECT place, state_root FROM (SELECT ",
    order_of!(""),
    " AS place, state_root FROM events WHERE room_sn = $1 AND ",
    order_of!(""),
    " > $2 ORDER BY room_sn, ",
    order_of!(""),
    " LIMIT $3) AS page UNION ALL SELECT CAST(NULL AS BIGINT), state_root FROM room_heads WHERE room_sn = $1"
);
const CHUNKS: &str = "SELECT chunk_id, written_at FROM state_chunks WHERE chunk_id > $1 AND chunk_id <= $2 \
                      ORDER BY chunk_id LIMIT $3";
const REMOVE: &str = "DELETE FROM state_chunks WHERE chunk_id IN BLOBS($1) AND written_at <= $2 \
                      RETURNING CAST(LENGTH(bytes) AS BIGINT)";

/// What a [`ChunkCollector`] keeps in memory at most, and does in one step.
#[derive(Clone, Copy, Debug)]
pub struct CollectorLimits {
    /// Chunks that a pass marks; with more of them there are more passes. A mark takes about 25 bytes.
    pub marks: usize,
    /// Branches that are not read again. It should be more than the largest state has: then the work grows with the number
    /// of chunks.
    pub visited: usize,
    /// Events or chunks that are read, or chunks that are removed, in one step. A chunk has a few kilobytes.
    pub at_once: usize,
}

impl Default for CollectorLimits {
    fn default() -> Self {
        // Just below what makes the tables of the sets double.
        Self { marks: 900_000, visited: 220_000, at_once: 100 }
    }
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Chunks that were removed.
    pub chunks: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Chunks that were kept.
    pub kept: u64,
}

/// Removes chunks that no state of a room contains any more, in small steps. It can be dropped at any time.
pub struct ChunkCollector {
    database: Database,
    at_once: usize,
    work: Work,
    /// The chunks that are being marked.
    marks: Marks,
    /// Chunks whose children have to be marked.
    unread: Vec<ChunkId>,
    /// Chunks to remove, unless they have been written again.
    garbage: Vec<ChunkId>,
    /// The position of the log at the start of the pass.
    start: Position,
    collected: Collected,
}

/// What comes next, when no chunks are left to read or to remove.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// A pass over the IDs after this one.
    Pass(ChunkId),
    /// The roots of the room after this one.
    RoomAfter(RoomSn),
    /// The roots of a room, those of its events after this number.
    Roots(RoomSn, i64),
    /// The chunks after this one.
    Sweep(ChunkId),
    Done,
}

impl ChunkCollector {
    /// A collector that has done nothing yet.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self::with_limits(database, CollectorLimits::default())
    }

    /// The same, with other limits.
    #[must_use]
    pub fn with_limits(database: Database, limits: CollectorLimits) -> Self {
        Self {
            database,
            at_once: limits.at_once.max(1),
            work: Work::Pass(ChunkId::EMPTY),
            marks: Marks::new(limits),
            unread: Vec::new(),
            garbage: Vec::new(),
            start: Position::START,
            collected: Collected::default(),
        }
    }

    /// Looks at everything and removes what is not needed, with rests between the steps.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a chunk that is needed is damaged, and what the statements fail with. What was removed
    /// until then was not needed.
    pub async fn run(mut self) -> Result<Collected, StorageError> {
        loop {
            let begun = Instant::now();
            if let Some(collected) = self.step().await? {
                return Ok(collected);
            }
            let (shortest, longest) = REST;
            tokio::time::sleep((begun.elapsed() * REST_FACTOR).clamp(shortest, longest)).await;
        }
    }

    /// Does a few milliseconds' worth of work; the outcome, when there is nothing left to do.
    ///
    /// # Errors
    /// As [`ChunkCollector::run`]. A step that failed can be tried again.
    pub async fn step(&mut self) -> Result<Option<Collected>, StorageError> {
        if !self.unread.is_empty() {
            self.read_chunks().await?;
            return Ok(None);
        }
        if !self.garbage.is_empty() {
            self.remove_garbage().await?;
            return Ok(None);
        }
        self.work = match self.work {
            Work::Pass(after) => {
                self.start = self.database.settled_position().await?;
                self.marks.begin(after);
                Work::RoomAfter(RoomSn(i64::MIN))
            }
            Work::RoomAfter(room_sn) => {
                let next = self.database.query_optional(NEXT_ROOM, params![room_sn], |row| row.get(0)).await?.flatten();
                next.map_or(Work::Sweep(self.marks.after()), |room_sn: i64| Work::Roots(RoomSn(room_sn), i64::MIN))
            }
            Work::Roots(room_sn, after) => self.read_roots(room_sn, after).await?,
            Work::Sweep(after) => self.sweep(after).await?,
            Work::Done => return Ok(Some(self.collected)),
        };
        Ok(None)
    }

    async fn read_roots(&mut self, room_sn: RoomSn, after: i64) -> Result<Work, StorageError> {
        let read = |row: &Row<'_>| Ok((row.get::<Option<i64>>(0)?, read_root(row, 1)?));
        let rows = self.database.query(ROOTS, params![room_sn, after, self.limit()], read).await?;
        let (mut last, mut events) = (after, 0);
        for (place, root) in rows {
            if let Some(place) = place {
                last = last.max(place);
                events += 1;
            }
            if let Some(root) = root.filter(|root| *root != ChunkId::EMPTY) {
                self.marks.insert(root);
                if self.marks.visit(root) {
                    self.unread.push(root);
                }
            }
        }
        Ok(if events < self.limit() { Work::RoomAfter(room_sn) } else { Work::Roots(room_sn, last) })
    }

    /// Marks the children of chunks. Past the caches: what is read here is not needed again.
    async fn read_chunks(&mut self) -> Result<(), StorageError> {
        let rest = self.unread.len().saturating_sub(self.at_once);
        let ids = self.unread.get(rest..).unwrap_or_default();
        let chunks = self.database.query(FIND, params![&blobs(ids)], read_chunk).await?;
        let found: HashSet<ChunkId> = chunks.iter().map(Chunk::id).collect();
        for lost in self.unread.drain(rest..).filter(|id| !found.contains(id)) {
            self.marks.forget_visit(&lost);
        }
        for chunk in chunks {
            self.mark_children(&chunk);
        }
        Ok(())
    }

    fn mark_children(&mut self, chunk: &Chunk) {
        for child in chunk.children() {
            self.marks.insert(child);
            // Leaves have no children, so they need not be read.
            if chunk.level() > 1 && self.marks.visit(child) {
                self.unread.push(child);
            }
        }
    }

    /// Finds the chunks after `after` that are not needed.
    async fn sweep(&mut self, after: ChunkId) -> Result<Work, StorageError> {
        let last = self.marks.last();
        let range = params![&after.as_bytes()[..], &last.as_bytes()[..], self.limit()];
        let read = |row: &Row<'_>| Ok((row.get::<[u8; ChunkId::BYTES]>(0)?.into(), row.get::<Position>(1)?));
        let chunks = self.database.query(CHUNKS, range, read).await?;
        let is_needed = |(id, written_at): &&(ChunkId, Position)| *written_at > self.start || self.marks.contains(id);
        self.garbage = chunks.iter().filter(|chunk| !is_needed(chunk)).map(|(id, _)| *id).collect();
        self.collected.kept += (chunks.len() - self.garbage.len()) as u64;
        Ok(match chunks.last() {
            Some((id, _)) if chunks.len() >= self.at_once => Work::Sweep(*id),
            _ if last < ChunkId::LAST => Work::Pass(last),
            _ => Work::Done,
        })
    }

    async fn remove_garbage(&mut self) -> Result<(), StorageError> {
        let (garbage, start) = (self.garbage.clone(), self.start);
        let remove = async move |tx: &mut Tx| {
            tx.lock_log().await?;
            tx.query(REMOVE, params![&blobs(&garbage), start], |row| row.get::<i64>(0)).await
        };
        let removed = self.database.write(remove).await?;
        self.garbage.clear();
        self.collected.chunks += removed.len() as u64;
        self.collected.bytes += removed.into_iter().map(i64::unsigned_abs).sum::<u64>();
        Ok(())
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.at_once).unwrap_or(i64::MAX)
    }
}
