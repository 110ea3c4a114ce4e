use std::collections::HashMap;

use super::{Chunk, ChunkId, Place, StateMapError, row::Child};

/// The chunks that are in memory.
///
/// A map asks here, and reports [`StateMapError::Missing`] what it does not find. A chunk that was found once during an
/// operation has to stay until the operation is through.
pub trait Chunks {
    /// The chunk of that ID, if it is in memory.
    fn chunk(&self, id: &ChunkId) -> Option<Chunk>;
}

impl<C: Chunks + ?Sized> Chunks for &C {
    fn chunk(&self, id: &ChunkId) -> Option<Chunk> {
        (**self).chunk(id)
    }
}

/// Chunks in a hash map: those that a caller has loaded for an operation, or a whole store.
#[derive(Debug, Default, Clone)]
pub struct MemoryChunks(HashMap<ChunkId, Chunk>);

impl MemoryChunks {
    /// Adds a chunk; whether it is a new one.
    pub fn insert(&mut self, chunk: Chunk) -> bool {
        self.0.insert(chunk.id(), chunk).is_none()
    }

    /// The number of chunks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Chunk> {
        self.0.values()
    }
}

impl Extend<Chunk> for MemoryChunks {
    fn extend<I: IntoIterator<Item = Chunk>>(&mut self, chunks: I) {
        self.0.extend(chunks.into_iter().map(|chunk| (chunk.id(), chunk)));
    }
}

impl Chunks for MemoryChunks {
    fn chunk(&self, id: &ChunkId) -> Option<Chunk> {
        self.0.get(id).cloned()
    }
}

/// The chunk of that ID.
pub(super) fn load<C: Chunks + ?Sized>(chunks: &C, id: ChunkId) -> Result<Chunk, StateMapError> {
    let chunk = chunks.chunk(&id).ok_or_else(|| StateMapError::Missing(vec![id]))?;
    if chunk.id() == id { Ok(chunk) } else { Err(StateMapError::Corrupt { id, reason: "another chunk was given" }) }
}

/// The chunk that a branch knows as `child`. The level below the branch is `level`; because it has to be right, every
/// way down ends.
pub(super) fn load_child<C: Chunks + ?Sized>(
    chunks: &C,
    level: u8,
    place: Place,
    child: &Child,
) -> Result<Chunk, StateMapError> {
    let chunk = load(chunks, child.id)?;
    if chunk.level() == level && chunk.place(0) == place && Child::of(&chunk) == *child {
        Ok(chunk)
    } else {
        Err(StateMapError::Corrupt { id: child.id, reason: "it is not what its parent says" })
    }
}
