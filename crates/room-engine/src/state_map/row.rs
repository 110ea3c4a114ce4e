use homeserver_core::EventSn;

use super::{Chunk, ChunkId, Place, apply::Change};

/// What a chunk says of a place: the event in a leaf, the child in a branch.
pub(super) trait Row: Copy + PartialEq {
    /// Bytes that a row takes in most chunks.
    const TYPICAL_BYTES: usize;

    /// The value in a column behind those of the place.
    fn value(&self, column: usize) -> i64;

    /// The bytes of the child's ID; none for an event.
    fn id(&self) -> Option<&[u8; ChunkId::BYTES]>;

    /// The number of entries that the row stands for.
    fn entries(&self) -> u64;

    /// The row of a chunk that has rows of this kind.
    fn read(chunk: &Chunk, row: usize) -> Self;

    /// The chunk with other rows at some of its places, where that can be made without reading all of it.
    fn replaced(chunk: &Chunk, changes: &[Change<Self>]) -> Option<Chunk>;
}

/// The rows of neighbouring chunks, which have rows of this kind.
pub(super) fn all_rows<R: Row>(chunks: &[Chunk]) -> Vec<(Place, R)> {
    let mut rows = Vec::with_capacity(chunks.iter().map(Chunk::rows).sum());
    chunks.iter().for_each(|chunk| rows.extend(chunk.iter()));
    rows
}

impl Row for EventSn {
    const TYPICAL_BYTES: usize = 6;

    fn value(&self, _: usize) -> i64 {
        self.0
    }

    fn id(&self) -> Option<&[u8; ChunkId::BYTES]> {
        None
    }

    fn entries(&self) -> u64 {
        1
    }

    #[inline]
    fn read(chunk: &Chunk, row: usize) -> Self {
        Self(chunk.value(2, row))
    }

    fn replaced(_: &Chunk, _: &[Change<Self>]) -> Option<Chunk> {
        None
    }
}

/// What a branch knows of one of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) id: ChunkId,
    /// Entries in it and below it.
    pub(super) entries: u64,
    /// Its own children; none for a leaf.
    pub(super) children: u64,
}

impl Child {
    /// What the parent of `chunk` knows of it.
    pub(super) fn of(chunk: &Chunk) -> Self {
        let children = if chunk.level() == 0 { 0 } else { chunk.rows() as u64 };
        Self { id: chunk.id(), entries: chunk.entries(), children }
    }

    /// The rows of the child, which is on that level.
    pub(super) const fn rows(&self, level: u8) -> u64 {
        if level == 0 { self.entries } else { self.children }
    }
}

impl Row for Child {
    const TYPICAL_BYTES: usize = ChunkId::BYTES + 5;

    fn value(&self, column: usize) -> i64 {
        if column == 2 { self.entries.cast_signed() } else { self.children.cast_signed() }
    }

    fn id(&self) -> Option<&[u8; ChunkId::BYTES]> {
        Some(self.id.as_bytes())
    }

    fn entries(&self) -> u64 {
        self.entries
    }

    #[inline]
    fn read(chunk: &Chunk, row: usize) -> Self {
        Self {
            id: chunk.child_id(row),
            entries: chunk.value(2, row).cast_unsigned(),
            children: chunk.value(3, row).cast_unsigned(),
        }
    }

    fn replaced(chunk: &Chunk, changes: &[Change<Self>]) -> Option<Chunk> {
        let mut ids = Vec::with_capacity(changes.len());
        for (place, child) in changes {
            let (row, child) = (chunk.row_of(*place)?, (*child)?);
            let before = Self::read(chunk, row);
            if (before.entries, before.children) != (child.entries, child.children) {
                return None;
            }
            ids.push((row, child.id));
        }
        Some(chunk.with_child_ids(&ids))
    }
}
