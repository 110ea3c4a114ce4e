//! Damaged chunks are errors.

use bytes::Bytes;
use homeserver_core::EventSn;
use proptest::prelude::*;

use super::{
    super::{Chunk, ChunkId, Chunks, MemoryChunks, Place, StateMap, StateMapError, row::Child},
    store::{PLACES, built_of, member},
};

/// Does all there is with a map whose root may be anything.
fn use_all(map: StateMap, chunks: &MemoryChunks) {
    let (other, _) = built_of(PLACES.iter().copied().step_by(3));
    let _ = map.len(chunks);
    let _ = map.iter(chunks).map(Iterator::count);
    let _ = map.get_many(chunks, &PLACES);
    let _ = map.diff(other, chunks);
    let _ = StateMap::conflicts(&[map, other, StateMap::EMPTY], chunks);
    for place in PLACES.iter().step_by(100) {
        let _ = map.get(chunks, *place);
        for event in [None, Some(EventSn(1))] {
            let _ = map.apply(chunks, &[(*place, event)]);
        }
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (_, chunks) = built_of(PLACES.iter().copied());
    for chunk in chunks.iter().step_by(97) {
        assert!(Chunk::parse(chunk.id(), chunk.bytes().clone()).is_ok());
        for index in 0..chunk.bytes().len() {
            let mut bytes = chunk.bytes().to_vec();
            bytes[index] ^= 1 << (index % 8);
            let error = Chunk::parse(chunk.id(), bytes.into()).unwrap_err();
            assert!(matches!(error, StateMapError::Corrupt { id, .. } if id == chunk.id()));
        }
    }
}

#[test]
fn a_chunk_that_is_cut_off_or_goes_on_is_refused_even_under_its_own_id() {
    let (_, chunks) = built_of(PLACES.iter().copied());
    for chunk in chunks.iter().step_by(97) {
        for length in 0..chunk.bytes().len() {
            let bytes = chunk.bytes().slice(..length);
            assert!(Chunk::parse(ChunkId::of(&bytes), bytes).is_err());
        }
        let bytes: Bytes = [chunk.bytes(), &[0][..]].concat().into();
        assert!(Chunk::parse(ChunkId::of(&bytes), bytes).is_err());
    }
}

#[test]
fn another_format_is_refused() {
    let (map, chunks) = built_of([member(1)]);
    let mut bytes = chunks.chunk(&map.root()).unwrap().bytes().to_vec();
    bytes[0] = 2;
    assert!(Chunk::parse(ChunkId::of(&bytes), bytes.into()).is_err());
}

#[test]
fn a_header_that_promises_countless_rows_is_refused_at_once() {
    for rows in [&[0xff; 9][..], &[0xff, 0xff, 0xff, 0x7f], &[0]] {
        let bytes: Bytes = [&[1, 0], rows, &[0; 6]].concat().into();
        assert!(Chunk::parse(ChunkId::of(&bytes), bytes).is_err());
    }
}

#[test]
fn a_store_that_gives_another_chunk_is_found_out() {
    struct OneForAll(Chunk);
    impl Chunks for OneForAll {
        fn chunk(&self, _: &ChunkId) -> Option<Chunk> {
            Some(self.0.clone())
        }
    }
    let (map, chunks) = built_of(PLACES.iter().copied());
    let root = chunks.chunk(&map.root()).unwrap();
    let first_child = root.children().next().unwrap();
    let error = map.get(&OneForAll(root), PLACES[0]).unwrap_err();
    assert!(matches!(error, StateMapError::Corrupt { id, .. } if id == first_child));
}

#[test]
fn a_child_that_is_not_what_its_parent_says_is_found_out() {
    let leaf = Chunk::of_rows(0, &[(member(1), EventSn(1)), (member(2), EventSn(2))]);
    let right = Child::of(&leaf);
    let wrong = [
        (1, member(1), Child { entries: 3, ..right }),
        (1, member(0), right),
        (2, member(1), Child { children: 1, ..right }),
    ];
    for (level, place, child) in wrong {
        let branch = Chunk::of_rows(level, &[(place, child)]);
        let map = StateMap::from_root(branch.id());
        let mut chunks = MemoryChunks::default();
        chunks.extend([leaf.clone(), Chunk::parse(branch.id(), branch.bytes().clone()).unwrap()]);
        let corrupt = |error| matches!(error, StateMapError::Corrupt { id, .. } if id == leaf.id());
        assert!(corrupt(map.get(&chunks, member(1)).unwrap_err()));
        assert!(corrupt(map.iter(&chunks).unwrap_err()));
        assert!(corrupt(map.apply(&chunks, &[(member(1), None)]).unwrap_err()));
        assert!(corrupt(map.diff(StateMap::EMPTY, &chunks).unwrap_err()));
    }
}

#[test]
fn rows_out_of_order_and_children_without_entries_are_refused() {
    let child = Child { id: ChunkId::of(b"child"), entries: 1, children: 0 };
    let (one, two): (Place, Place) = (member(1), member(2));
    let chunks = [
        Chunk::of_rows(0, &[(two, EventSn(1)), (one, EventSn(2))]),
        Chunk::of_rows(0, &[(one, EventSn(1)), (one, EventSn(2))]),
        Chunk::of_rows(1, &[(one, Child { entries: 0, ..child })]),
        Chunk::of_rows(1, &[(one, Child { children: 1, ..child })]),
        Chunk::of_rows(2, &[(one, child)]),
        Chunk::of_rows(1, &[(one, Child { entries: u64::MAX, ..child }), (two, child)]),
    ];
    for chunk in chunks {
        let error = Chunk::parse(chunk.id(), chunk.bytes().clone()).unwrap_err();
        assert!(matches!(error, StateMapError::Corrupt { id, .. } if id == chunk.id()));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_chunk_or_an_error(level in 0_u8..9, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes: Bytes = [&[1, level], rest.as_slice()].concat().into();
        if let Ok(chunk) = Chunk::parse(ChunkId::of(&bytes), bytes) {
            let map = StateMap::from_root(chunk.id());
            let mut chunks = MemoryChunks::default();
            chunks.insert(chunk);
            use_all(map, &chunks);
        }
    }

    #[test]
    fn a_root_with_changed_bytes_under_its_own_id_is_a_map_or_an_error(
        take in prop_oneof![Just(3), Just(100), Just(PLACES.len())],
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (map, mut chunks) = built_of(PLACES.iter().copied().take(take));
        let mut bytes = chunks.chunk(&map.root()).unwrap().bytes().to_vec();
        for (index, value) in changes {
            let index = index.index(bytes.len().min(40));
            bytes[index] = value;
        }
        if let Ok(root) = Chunk::parse(ChunkId::of(&bytes), bytes.into()) {
            let map = StateMap::from_root(root.id());
            chunks.insert(root);
            use_all(map, &chunks);
        }
    }
}
