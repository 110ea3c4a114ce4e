//! How large chunks are, whatever is put into a map.

use homeserver_core::{EventSn, KeySn, TypeSn};

use super::{
    super::{Chunk, Chunks, MemoryChunks, Place, StateMap, boundary::max_rows},
    store::{built_of, keys_with, member, reachable},
};

fn assert_bounded(map: StateMap, chunks: &MemoryChunks) -> Vec<Chunk> {
    let found: Vec<Chunk> = reachable(map, chunks).into_values().collect();
    for chunk in &found {
        assert!(chunk.rows() <= max_rows(chunk.level()));
        assert!(chunk.bytes().len() <= 8 * 1024, "{} bytes", chunk.bytes().len());
    }
    found
}

fn levels(map: StateMap, chunks: &MemoryChunks) -> u8 {
    chunks.chunk(&map.root()).unwrap().level() + 1
}

#[test]
fn a_small_room_is_one_chunk() {
    let (map, chunks) = built_of((0..12).map(|number| Place::new(TypeSn(number), KeySn(1))).chain((1..9).map(member)));
    assert_eq!(chunks.len(), 1);
    let root = chunks.chunk(&map.root()).unwrap();
    assert!(root.bytes().len() < 60, "{} bytes", root.bytes().len());
}

#[test]
fn three_levels_are_enough_for_hundreds_of_thousands() {
    let (map, chunks) = built_of((0..400_000).map(member));
    assert_bounded(map, &chunks);
    assert_eq!(levels(map, &chunks), 3);
}

#[test]
fn numbers_in_sequence_and_in_steps_are_cut_like_any_others() {
    for step in [1, 2, 64, 128, 1 << 20, 1 << 40] {
        for event_type in [0, 1, 77] {
            let places = (0..30_000).map(|number| Place::new(TypeSn(event_type), KeySn(number * step)));
            let (map, chunks) = built_of(places);
            let found = assert_bounded(map, &chunks);
            let leaves = found.iter().filter(|chunk| chunk.level() == 0).count();
            assert!((350..=600).contains(&leaves), "{leaves} leaves with steps of {step} and type {event_type}");
            assert_eq!(levels(map, &chunks), 3);
        }
    }
}

#[test]
fn a_room_of_chosen_keys_without_landmarks_has_chunks_of_ordinary_size() {
    let (map, chunks) = built_of(keys_with(0..7, 20_000));
    for chunk in assert_bounded(map, &chunks).iter().filter(|chunk| chunk.level() == 0) {
        assert!((32..=128).contains(&chunk.rows()), "{} rows", chunk.rows());
    }
    assert!(levels(map, &chunks) <= 3);
}

#[test]
fn a_change_in_a_room_of_chosen_keys_without_landmarks_writes_little() {
    let (mut map, mut chunks) = built_of(keys_with(0..7, 20_000).step_by(2));
    let mut bytes = 0;
    for place in keys_with(0..7, 20_000).skip(1).step_by(100) {
        let applied = map.apply(&chunks, &[(place, Some(EventSn(1)))]).unwrap();
        bytes += applied.new_chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>();
        chunks.extend(applied.new_chunks);
        map = applied.map;
    }
    assert!(bytes < 200 * 8 * 1024, "{bytes} bytes for 200 new members");
}

#[test]
fn a_room_of_nothing_but_landmarks_has_few_levels() {
    let (map, chunks) = built_of(keys_with(12..64, 3_000));
    assert_bounded(map, &chunks);
    assert!(levels(map, &chunks) <= 4);
}

#[test]
fn a_membership_change_in_a_room_of_50_000_writes_a_few_kilobytes() {
    let (map, chunks) = built_of((0..50_000).map(|number| member(number * 3 + number % 2)));
    let sizes = (0..50_000).step_by(61).map(|number| {
        let change = (member(number * 3 + number % 2), Some(EventSn(5_000_000 + number)));
        map.apply(&chunks, &[change]).unwrap().new_chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>()
    });
    let (count, total, most) =
        sizes.fold((0, 0, 0), |(count, total, most), size| (count + 1, total + size, most.max(size)));
    assert!(most < 8 * 1024, "{most} bytes at most");
    assert!(total / count < 3 * 1024, "{} bytes on average", total / count);
}

#[test]
fn extreme_numbers_are_kept() {
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    let places = extremes
        .iter()
        .flat_map(|event_type| extremes.iter().map(|state_key| Place::new(TypeSn(*event_type), KeySn(*state_key))));
    let changes: Vec<_> = places.zip(extremes.iter().cycle().map(|event| Some(EventSn(*event)))).collect();
    for count in 1..changes.len() {
        let changes = &changes[..count];
        let applied = StateMap::EMPTY.apply(&MemoryChunks::default(), changes).unwrap();
        let mut chunks = MemoryChunks::default();
        for chunk in applied.new_chunks {
            chunks.insert(Chunk::parse(chunk.id(), chunk.bytes().clone()).unwrap());
        }
        let entries: Vec<_> = applied.map.iter(&chunks).unwrap().map(|(place, event)| (place, Some(event))).collect();
        assert_eq!(entries, changes);
    }
}

/// Stored states refer to chunks by these IDs, so neither the layout nor the cuts may change under the same format byte.
#[test]
fn the_ids_of_states_are_the_same_in_every_version_of_this_program() {
    assert_eq!(built_of((1..=20).map(member)).0.root().to_string(), "a48fe112237d3a1be04fb1fae81fc08d661dedfe");
    assert_eq!(built_of((1..=20_000).map(member)).0.root().to_string(), "9c6127f490753f2360974f92e43d14928ef10cd5");
}
