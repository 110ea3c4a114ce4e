//! The state of a room as a persistent sorted map `(event type, state key) → event`.
//!
//! A [`StateMap`] is the ID of a chunk, the root. Small maps are one chunk, a leaf; larger ones have branches above their
//! leaves, which name their children by ID, and the ID of a chunk is a hash of its bytes. Three things follow:
//!
//! - The chunks of a map depend on its entries and on nothing else: not on the order in which they came, nor on what was
//!   there before. Equal states have equal roots, and are stored once.
//! - A change writes one chunk for each level, and all other chunks are shared between the states before and after it.
//! - What two maps share they share as chunks, so comparing them looks only at the chunks that differ.
//!
//! Up to a few hundred thousand entries, a map has at most three levels.
//!
//! # Reading without input and output
//!
//! Operations look for chunks in memory, in a [`Chunks`]. When chunks have to be loaded first, they say which
//! ([`StateMapError::Missing`]); the caller loads those and calls again. They go down level by level and name all that they
//! need of a level at once, so where loading is a round trip, a look-up takes as many as the map has levels, and a comparison
//! takes no more.
//!
//! ```
//! use homeserver_core::{EventSn, KeySn, TypeSn};
//! use room_engine::state_map::{MemoryChunks, Place, StateMap, StateMapError};
//!
//! let mut chunks = MemoryChunks::default();
//! let topic = Place::new(TypeSn(1), KeySn(1));
//! let before = StateMap::EMPTY.apply(&chunks, &[(topic, Some(EventSn(7)))])?;
//! chunks.extend(before.new_chunks);
//! let after = before.map.apply(&chunks, &[(topic, Some(EventSn(8)))])?;
//! chunks.extend(after.new_chunks);
//!
//! assert_eq!(before.map.get(&chunks, topic)?, Some(EventSn(7)));
//! assert_eq!(before.map.diff(after.map, &chunks)?.len(), 1);
//! # Ok::<(), StateMapError>(())
//! ```

mod apply;
mod boundary;
mod chunk;
mod chunks;
mod diff;
mod error;
mod id;
mod packed;
mod place;
mod read;
mod row;
mod stretch;
#[cfg(test)]
mod tests;
mod tree;

pub use chunk::Chunk;
pub use chunks::{Chunks, MemoryChunks};
pub use diff::{Difference, PlaceConflict};
pub use error::StateMapError;
pub use id::ChunkId;
pub use place::Place;
pub use read::Entries;

use homeserver_core::{EventSn, KeySn, TypeSn};

/// The state of a room at some event: which event is at each [`Place`].
///
/// Two maps are equal exactly when their entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateMap {
    root: ChunkId,
}

/// What comes of changing a map.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The map after the changes.
    pub map: StateMap,
    /// The chunks of it that the map before did not have. They have to be stored; some may be there because another map
    /// has them.
    pub new_chunks: Vec<Chunk>,
}

impl StateMap {
    /// The map without entries, for which nothing is stored.
    pub const EMPTY: Self = Self { root: ChunkId::EMPTY };

    /// The map with that root.
    pub const fn from_root(root: ChunkId) -> Self {
        Self { root }
    }

    /// The root, which is to be stored for the map.
    pub const fn root(self) -> ChunkId {
        self.root
    }

    /// The bytes of the root, as they are stored.
    pub const fn root_bytes(&self) -> &[u8; ChunkId::BYTES] {
        self.root.as_bytes()
    }

    /// Whether the map has no entries.
    pub fn is_empty(self) -> bool {
        self.root == ChunkId::EMPTY
    }

    /// The number of entries, which the root counts.
    ///
    /// # Errors
    /// The root is missing or corrupt.
    pub fn len<C: Chunks + ?Sized>(self, chunks: &C) -> Result<u64, StateMapError> {
        if self.is_empty() { Ok(0) } else { Ok(chunks::load(chunks, self.root)?.entries()) }
    }

    /// The event at a place.
    ///
    /// # Errors
    /// A chunk is missing or corrupt.
    pub fn get<C: Chunks + ?Sized>(self, chunks: &C, place: Place) -> Result<Option<EventSn>, StateMapError> {
        read::get(chunks, self.root, place)
    }

    /// The events at places, in the order of `places`, which may be any.
    ///
    /// # Errors
    /// A chunk is corrupt, or some are missing: all that are needed of one level.
    pub fn get_many<C: Chunks + ?Sized>(
        self,
        chunks: &C,
        places: &[Place],
    ) -> Result<Vec<Option<EventSn>>, StateMapError> {
        read::get_many(chunks, self.root, places)
    }

    /// The entries of an event type, in order.
    ///
    /// # Errors
    /// A chunk is corrupt, or some are missing: all that are needed of one level.
    pub fn range<C: Chunks + ?Sized>(self, chunks: &C, event_type: TypeSn) -> Result<Entries, StateMapError> {
        let (first, last) = Place::all_of(event_type);
        read::range(chunks, self.root, first, last)
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// A chunk is corrupt, or some are missing: all of one level.
    pub fn iter<C: Chunks + ?Sized>(self, chunks: &C) -> Result<Entries, StateMapError> {
        let first = Place::new(TypeSn(i64::MIN), KeySn(i64::MIN));
        let last = Place::new(TypeSn(i64::MAX), KeySn(i64::MAX));
        read::range(chunks, self.root, first, last)
    }

    /// The map with other events at some places, or with none at them. `changes` are in the order of their places, each
    /// place once; a change of nothing to nothing, or of an event to itself, changes nothing.
    ///
    /// Setting another event where one is needs the chunks on the way to it. Where entries come or go, chunks beside those
    /// may be needed as well, and loading them takes one or two rounds more.
    ///
    /// # Errors
    /// A chunk is corrupt, some are missing, or the changes are not in order.
    pub fn apply<C: Chunks + ?Sized>(
        self,
        chunks: &C,
        changes: &[(Place, Option<EventSn>)],
    ) -> Result<Applied, StateMapError> {
        let (root, new_chunks) = apply::apply(chunks, self.root, changes)?;
        Ok(Applied { map: Self { root }, new_chunks })
    }

    /// The places at which `after` differs from this map, in order.
    ///
    /// # Errors
    /// A chunk is corrupt, or some are missing: all that differ on one level.
    pub fn diff<C: Chunks + ?Sized>(self, after: Self, chunks: &C) -> Result<Vec<Difference>, StateMapError> {
        diff::diff(chunks, self.root, after.root)
    }

    /// The places at which not all of the maps agree, in order, with the event that each of them has there: what
    /// [state resolution](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) calls the conflicted state set, and
    /// what only some of the maps have.
    ///
    /// # Errors
    /// A chunk is corrupt, or some are missing: all of one level that not all maps have.
    pub fn conflicts<C: Chunks + ?Sized>(maps: &[Self], chunks: &C) -> Result<Vec<PlaceConflict>, StateMapError> {
        let roots: Vec<ChunkId> = maps.iter().map(|map| map.root).collect();
        diff::conflicts(chunks, &roots)
    }
}
