//! The chunks that make up the states of rooms: a table, and a cache over it.
//!
//! A chunk never changes, and its name follows from its bytes, so what is cached is never out of date.

use std::sync::Arc;

use database::Row;
use homeserver_core::{Cache, CacheOptions, HeapSize, MemoryBudget, RoomSn};
use parking_lot::RwLock;
use room_engine::state_map::{Chunk, ChunkId, Chunks, MemoryChunks, StateMap, StateMapError};

use crate::{Database, StorageError, Tx, params};

/// How often an operation may ask for more chunks. Maps have a handful of levels, and one round loads a whole level.
const MAX_ROUNDS: usize = 64;
/// Chunks that are asked for in one statement.
const CHUNKS_AT_ONCE: usize = 2_000;

pub(crate) const FIND: &str = "SELECT chunk_id, bytes FROM state_chunks WHERE chunk_id IN BLOBS($1)";

/// Chunks that were used lately, for all of the process, and the states that this process has written lately.
pub(crate) struct ChunkCache {
    chunks: Cache<ChunkId, Chunk>,
    written: Cache<RoomSn, WrittenState>,
}

/// A room's current state after an append of this process.
#[derive(Clone, Copy, Debug)]
pub struct WrittenState {
    /// The version of the room's head that the append made.
    pub head_version: i64,
    /// The state.
    pub state: StateMap,
}

impl HeapSize for WrittenState {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl ChunkCache {
    pub(crate) fn new(memory: &MemoryBudget) -> Self {
        let options = CacheOptions { typical_bytes: 1_024, ..CacheOptions::default() };
        Self { chunks: Cache::with(memory, "state_chunks", options), written: Cache::new(memory, "written_states") }
    }

    pub(crate) fn remember_written(&self, room_sn: RoomSn, state: WrittenState) {
        self.written.insert(room_sn, state);
    }
}

/// What an operation on state maps sees: the cache, and what was loaded for the operation or made by it, which stays.
pub struct ChunkView {
    cache: Arc<ChunkCache>,
    overlay: Option<Arc<RwLock<MemoryChunks>>>,
    own: MemoryChunks,
}

impl Chunks for ChunkView {
    fn chunk(&self, id: &ChunkId) -> Option<Chunk> {
        let overlaid = || self.overlay.as_ref()?.read().chunk(id);
        self.own.chunk(id).or_else(overlaid).or_else(|| self.cache.chunks.get(id))
    }
}

impl ChunkView {
    pub(crate) fn new(cache: Arc<ChunkCache>) -> Self {
        Self { cache, overlay: None, own: MemoryChunks::default() }
    }

    /// Adds chunks that are on their way into the database.
    pub fn extend(&mut self, chunks: impl IntoIterator<Item = Chunk>) {
        for chunk in chunks {
            self.cache.chunks.insert(chunk.id(), chunk.clone());
            self.own.insert(chunk);
        }
    }

    pub(crate) fn remember_written(&self, room_sn: RoomSn, state: WrittenState) {
        self.cache.remember_written(room_sn, state);
    }

    /// Forgets what was loaded or made; the cache keeps what it has room for.
    pub(crate) fn forget_own(&mut self) {
        self.own = MemoryChunks::default();
    }

    /// What `operation` finds, or which chunks to load for it.
    fn attempt<T>(
        &self,
        operation: &mut impl FnMut(&Self) -> Result<T, StateMapError>,
    ) -> Result<Attempt<T>, StorageError> {
        match operation(self) {
            Ok(found) => Ok(Attempt::Done(found)),
            Err(StateMapError::Missing(ids)) => Ok(Attempt::Missing(ids)),
            Err(error) => Err(StorageError::Corrupt(error.to_string())),
        }
    }

    fn add_loaded(&mut self, wanted: &[ChunkId], rows: Vec<Chunk>) -> Result<(), StorageError> {
        if rows.len() < wanted.len() {
            let lost = wanted.iter().find(|id| rows.iter().all(|chunk| chunk.id() != **id));
            let lost = lost.map(ToString::to_string).unwrap_or_default();
            return Err(StorageError::Corrupt(format!("chunk {lost} of a room's state is missing")));
        }
        self.extend(rows);
        Ok(())
    }
}

enum Attempt<T> {
    Done(T),
    Missing(Vec<ChunkId>),
}

/// The state whose root is in a column.
pub(crate) fn read_state(row: &Row<'_>, column: usize) -> Result<Option<StateMap>, StorageError> {
    Ok(read_root(row, column)?.map(StateMap::from_root))
}

pub(crate) fn read_root(row: &Row<'_>, column: usize) -> Result<Option<ChunkId>, StorageError> {
    Ok(row.get::<Option<[u8; ChunkId::BYTES]>>(column)?.map(ChunkId::from))
}

pub(crate) fn read_chunk(row: &Row<'_>) -> Result<Chunk, StorageError> {
    let id = ChunkId::from(row.get::<[u8; ChunkId::BYTES]>(0)?);
    Chunk::parse(id, row.get(1)?).map_err(|error| StorageError::Corrupt(error.to_string()))
}

pub(crate) fn blobs(ids: &[ChunkId]) -> Vec<&[u8]> {
    ids.iter().map(|id| &id.as_bytes()[..]).collect()
}

fn too_many_rounds() -> StorageError {
    StorageError::Corrupt("an operation on a room's state asks for chunks without end".to_owned())
}

impl Database {
    /// A room's current state after the last committed append of this process; `None` if that is not remembered. Another
    /// process may have written since.
    #[must_use]
    pub fn written_state(&self, room_sn: RoomSn) -> Option<WrittenState> {
        self.chunk_cache().written.get(&room_sn)
    }

    /// Runs an operation on state maps, again with more chunks until it has all that it needs.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a chunk is missing or damaged, and what the statements fail with.
    pub async fn with_chunks<T>(
        &self,
        mut operation: impl FnMut(&ChunkView) -> Result<T, StateMapError> + Send,
    ) -> Result<T, StorageError> {
        let mut view = ChunkView::new(self.chunk_cache());
        view.overlay = self.chunk_overlay();
        for _ in 0..MAX_ROUNDS {
            let missing = match view.attempt(&mut operation)? {
                Attempt::Done(found) => return Ok(found),
                Attempt::Missing(ids) => ids,
            };
            for ids in missing.chunks(CHUNKS_AT_ONCE) {
                let rows = self.query(FIND, params![&blobs(ids)], read_chunk).await?;
                view.add_loaded(ids, rows)?;
            }
        }
        Err(too_many_rounds())
    }
}

impl Tx {
    /// As [`Database::with_chunks`], with the chunks that this transaction writes.
    ///
    /// # Errors
    /// As [`Database::with_chunks`].
    pub async fn with_chunks<T>(
        &mut self,
        mut operation: impl FnMut(&ChunkView) -> Result<T, StateMapError>,
    ) -> Result<T, StorageError> {
        for _ in 0..MAX_ROUNDS {
            let missing = match self.chunks().attempt(&mut operation)? {
                Attempt::Done(found) => return Ok(found),
                Attempt::Missing(ids) => ids,
            };
            for ids in missing.chunks(CHUNKS_AT_ONCE) {
                let rows = self.query(FIND, params![&blobs(ids)], read_chunk).await?;
                self.chunks_mut().add_loaded(ids, rows)?;
            }
        }
        Err(too_many_rounds())
    }
}
