//! Places and stores that the other tests use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use homeserver_core::{EventSn, KeySn, TypeSn};

use super::super::{Applied, Chunk, ChunkId, Chunks, MemoryChunks, Place, StateMap, StateMapError};

pub(super) type Model = BTreeMap<Place, EventSn>;

pub(super) fn member(key: i64) -> Place {
    Place::new(TypeSn(5), KeySn(key))
}

/// The first `count` state keys whose places have at least, or fewer than, so many leading zero bits when scattered.
pub(super) fn keys_with(zero_bits: std::ops::Range<u32>, count: usize) -> impl Iterator<Item = Place> {
    (1..).map(member).filter(move |place| zero_bits.contains(&place.scattered().leading_zeros())).take(count)
}

/// Places that a map of few entries has four levels with, because many are landmarks of several levels; those in front
/// have none for long.
pub(super) static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut places: BTreeSet<Place> = keys_with(0..7, 700).collect();
    places.extend(keys_with(7..64, 900));
    places.extend(keys_with(12..64, 700));
    places.extend((0..200).map(|number| Place::new(TypeSn(number % 40 - 3), KeySn(number * 7919 % 64 - 9))));
    places.into_iter().collect()
});

pub(super) fn built(model: &Model) -> (StateMap, MemoryChunks) {
    let changes: Vec<_> = model.iter().map(|(place, event)| (*place, Some(*event))).collect();
    let mut chunks = MemoryChunks::default();
    let Applied { map, new_chunks } = StateMap::EMPTY.apply(&chunks, &changes).unwrap();
    assert!(new_chunks.into_iter().all(|chunk| chunks.insert(chunk)), "each chunk once");
    (map, chunks)
}

pub(super) fn built_of(places: impl IntoIterator<Item = Place>) -> (StateMap, MemoryChunks) {
    let mut places: Vec<Place> = places.into_iter().collect();
    places.sort_unstable();
    built(&places.into_iter().zip((100..).map(EventSn)).collect())
}

/// The chunks of a map.
pub(super) fn reachable(map: StateMap, chunks: &impl Chunks) -> BTreeMap<ChunkId, Chunk> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<ChunkId> = Some(map.root()).filter(|root| *root != ChunkId::EMPTY).into_iter().collect();
    while let Some(id) = pending.pop() {
        let chunk = chunks.chunk(&id).expect("a chunk of the map is in the store");
        pending.extend(chunk.children());
        assert!(found.insert(id, chunk).is_none(), "a map has each chunk once");
    }
    found
}

/// A cold store, as a database is: what is asked for is loaded between calls, and counted.
pub(super) struct ColdChunks<'s> {
    store: &'s MemoryChunks,
    loaded: MemoryChunks,
    pub(super) rounds: usize,
}

impl<'s> ColdChunks<'s> {
    pub(super) fn new(store: &'s MemoryChunks) -> Self {
        Self { store, loaded: MemoryChunks::default(), rounds: 0 }
    }

    pub(super) fn run<T>(&mut self, operation: impl Fn(&Self) -> Result<T, StateMapError>) -> T {
        loop {
            match operation(self) {
                Ok(value) => return value,
                Err(StateMapError::Missing(ids)) => {
                    self.rounds += 1;
                    assert!(self.rounds < 100, "every round gets further");
                    for id in ids {
                        let chunk = self.store.chunk(&id).expect("only chunks of the map are asked for");
                        let chunk = Chunk::parse(id, chunk.bytes().clone()).unwrap();
                        assert!(self.loaded.insert(chunk), "a chunk is asked for once");
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(super) fn loaded(&self) -> BTreeSet<ChunkId> {
        self.loaded.iter().map(Chunk::id).collect()
    }
}

impl Chunks for ColdChunks<'_> {
    fn chunk(&self, id: &ChunkId) -> Option<Chunk> {
        self.loaded.chunk(id)
    }
}
