//! How often a caller has to load, and how much.

use homeserver_core::EventSn;

use super::{
    super::{Chunks, Place, StateMap, StateMapError},
    store::{ColdChunks, PLACES, built_of, member},
};

const MEMBERS: i64 = 20_000;

/// Numbers as they are given out on a server with many rooms.
fn sparse_member(number: i64) -> Place {
    member(number * 17 + number % 13)
}

#[test]
fn one_event_is_found_in_as_many_reads_as_there_are_levels() {
    let (map, store) = built_of((0..MEMBERS).map(sparse_member));
    assert_eq!(store.chunk(&map.root()).unwrap().level(), 2);
    for number in (0..MEMBERS).step_by(997) {
        let mut cold = ColdChunks::new(&store);
        assert_eq!(cold.run(|chunks| map.get(chunks, sparse_member(number))), Some(EventSn(100 + number)));
        assert_eq!((cold.rounds, cold.loaded().len()), (3, 3));
    }
}

#[test]
fn many_events_and_whole_types_are_loaded_level_by_level() {
    let (map, store) = built_of((0..MEMBERS).map(sparse_member));
    let places: Vec<Place> = (0..MEMBERS).rev().step_by(100).map(sparse_member).collect();
    let mut cold = ColdChunks::new(&store);
    assert!(cold.run(|chunks| map.get_many(chunks, &places)).iter().all(Option::is_some));
    assert_eq!(cold.rounds, 3);

    let mut cold = ColdChunks::new(&store);
    assert_eq!(cold.run(|chunks| map.range(chunks, member(0).event_type)).count(), 20_000);
    assert_eq!(cold.rounds, 3);
    assert_eq!(cold.loaded().len(), store.len());
}

#[test]
fn setting_events_anew_loads_only_the_chunks_that_they_are_in() {
    let (map, store) = built_of((0..MEMBERS).map(sparse_member));
    let mut cold = ColdChunks::new(&store);
    let applied = cold.run(|chunks| map.apply(chunks, &[(sparse_member(7_000), Some(EventSn(1)))]));
    assert_eq!((cold.rounds, cold.loaded().len(), applied.new_chunks.len()), (3, 3, 3));

    let changes: Vec<_> = (0..MEMBERS).step_by(500).map(|number| (sparse_member(number), Some(EventSn(1)))).collect();
    let mut cold = ColdChunks::new(&store);
    let applied = cold.run(|chunks| map.apply(chunks, &changes));
    assert_eq!(cold.rounds, 3);
    assert_eq!(applied.new_chunks.len(), cold.loaded().len());
}

#[test]
fn a_new_member_loads_little_more() {
    let (map, store) = built_of((0..MEMBERS).map(sparse_member));
    let (mut rounds, mut loads) = (0, 0);
    for number in 0..100 {
        let mut cold = ColdChunks::new(&store);
        let newcomer = member(number * 3_391 + 16);
        cold.run(|chunks| map.apply(chunks, &[(newcomer, Some(EventSn(1)))]));
        rounds = rounds.max(cold.rounds);
        loads += cold.loaded().len();
    }
    assert!(rounds <= 6, "{rounds} rounds");
    assert!(loads < 600, "{loads} chunks for 100 changes");
}

#[test]
fn a_difference_in_few_places_loads_few_chunks() {
    let (before, mut store) = built_of((0..MEMBERS).map(sparse_member));
    let changes: Vec<_> =
        (0..10).map(|number| (sparse_member(number * 1_999), (number % 3 > 0).then_some(EventSn(number)))).collect();
    let applied = before.apply(&store, &changes).unwrap();
    store.extend(applied.new_chunks);
    let mut cold = ColdChunks::new(&store);
    assert_eq!(cold.run(|chunks| before.diff(applied.map, chunks)).len(), 10);
    assert_eq!(cold.rounds, 3);
    assert!(cold.loaded().len() <= 2 * 10 * 3, "{} chunks", cold.loaded().len());
}

#[test]
fn operations_that_need_nothing_load_nothing() {
    let (map, store) = built_of(PLACES.iter().copied());
    let mut cold = ColdChunks::new(&store);
    assert_eq!(cold.run(|chunks| map.diff(map, chunks)), []);
    assert_eq!(cold.run(|chunks| StateMap::EMPTY.get(chunks, PLACES[0])), None);
    assert_eq!(cold.run(|chunks| StateMap::EMPTY.len(chunks)), 0);
    assert_eq!(cold.run(|chunks| StateMap::EMPTY.iter(chunks)).count(), 0);
    assert_eq!(cold.run(|chunks| map.get_many(chunks, &[])), []);
    assert_eq!(cold.rounds, 0);
}

#[test]
fn changes_out_of_order_are_refused() {
    let (map, store) = built_of([member(1)]);
    for places in [[2, 1], [1, 1]] {
        let changes = places.map(|key| (member(key), Some(EventSn(1))));
        assert_eq!(map.apply(&store, &changes).unwrap_err(), StateMapError::Unsorted);
        assert_eq!(StateMap::EMPTY.apply(&store, &changes).unwrap_err(), StateMapError::Unsorted);
    }
}
