//! Maps against the sorted map of the standard library.

use std::collections::{BTreeMap, BTreeSet};

use homeserver_core::{EventSn, TypeSn};
use proptest::prelude::*;

use super::{
    super::{Applied, ChunkId, Chunks, Difference, Place, PlaceConflict, StateMap},
    store::{ColdChunks, Model, PLACES, built, reachable},
};

/// Changes of places by their index in [`PLACES`].
type Batch = BTreeMap<usize, Option<i64>>;

fn any_event() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1_i64..1_000_000, 1 => any::<i64>()]
}

fn batch(most: usize) -> impl Strategy<Value = Batch> {
    let change = prop_oneof![any_event().prop_map(Some), Just(None)];
    (0..PLACES.len(), 1..=PLACES.len(), proptest::collection::vec((any::<usize>(), change), 0..most)).prop_map(
        |(start, span, changes)| {
            changes.into_iter().map(|(index, event)| ((start + index % span) % PLACES.len(), event)).collect()
        },
    )
}

/// A state with few, some or most of the places.
fn state() -> impl Strategy<Value = Model> {
    prop_oneof![Just(0.0001), Just(0.02), Just(0.1), Just(0.5), Just(0.98), Just(0.9999)].prop_flat_map(|share| {
        let event = proptest::option::weighted(share, any_event());
        proptest::collection::vec(event, PLACES.len()).prop_map(|events| {
            let entries = PLACES.iter().zip(events);
            entries.filter_map(|(place, event)| Some((*place, EventSn(event?)))).collect()
        })
    })
}

/// Batches of all sizes; some remove nearly everything.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let removal = (0..PLACES.len(), 0..PLACES.len())
        .prop_map(|(start, count)| (start..PLACES.len()).take(count).map(|index| (index, None)).collect());
    let any_batch = prop_oneof![4 => batch(3), 3 => batch(40), 2 => batch(2_000), 1 => removal];
    proptest::collection::vec(any_batch, 1..6)
}

fn changes(batch: &Batch) -> Vec<(Place, Option<EventSn>)> {
    batch.iter().map(|(index, event)| (PLACES[*index], event.map(EventSn))).collect()
}

fn changed(model: &Model, batch: &Batch) -> Model {
    let mut model = model.clone();
    for (place, event) in changes(batch) {
        match event {
            Some(event) => model.insert(place, event),
            None => model.remove(&place),
        };
    }
    model
}

fn ids(map: StateMap, chunks: &impl Chunks) -> BTreeSet<ChunkId> {
    reachable(map, chunks).into_keys().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_map_is_the_same_whichever_changes_led_to_it(start in state(), batches in batches()) {
        let mut model = start;
        let (mut map, mut chunks) = built(&model);
        for batch in &batches {
            let before = ids(map, &chunks);
            let Applied { map: after, new_chunks } = map.apply(&chunks, &changes(batch)).unwrap();
            let new: BTreeSet<ChunkId> = new_chunks.iter().map(|chunk| chunk.id()).collect();
            prop_assert_eq!(new.len(), new_chunks.len(), "a chunk is given once");
            chunks.extend(new_chunks);
            model = changed(&model, batch);
            map = after;

            let (at_once, chunks_at_once) = built(&model);
            prop_assert_eq!(map, at_once);
            let now = ids(map, &chunks);
            prop_assert_eq!(&now, &ids(at_once, &chunks_at_once));
            prop_assert_eq!(chunks_at_once.len(), now.len(), "nothing is made in vain");
            prop_assert_eq!(new, now.difference(&before).copied().collect::<BTreeSet<_>>(), "what is given is what is new");
        }
    }

    #[test]
    fn changes_may_come_one_by_one_and_in_any_order(
        start in state(),
        batch in batch(40),
        seed in any::<u64>(),
    ) {
        let (map, mut chunks) = built(&start);
        let together = map.apply(&chunks, &changes(&batch)).unwrap().map;
        let mut one_by_one = changes(&batch);
        one_by_one.sort_by_key(|(place, _)| place.scattered() ^ seed);
        let mut map = map;
        for change in one_by_one {
            let applied = map.apply(&chunks, &[change]).unwrap();
            chunks.extend(applied.new_chunks);
            map = applied.map;
        }
        prop_assert_eq!(map, together);
    }

    #[test]
    fn everything_read_is_what_was_put_in(model in state(), indices in proptest::collection::vec(0..PLACES.len(), 0..50)) {
        let (map, store) = built(&model);
        prop_assert_eq!(map.len(&store).unwrap(), model.len() as u64);
        prop_assert_eq!(map.is_empty(), model.is_empty());
        prop_assert_eq!(map.iter(&store).unwrap().collect::<Model>(), model.clone());
        prop_assert!(map.iter(&store).unwrap().is_sorted());
        for event_type in -5..8 {
            let expected: Vec<_> = model.iter().map(|(place, event)| (*place, *event))
                .filter(|(place, _)| place.event_type == TypeSn(event_type)).collect();
            prop_assert_eq!(map.range(&store, TypeSn(event_type)).unwrap().collect::<Vec<_>>(), expected);
        }
        let places: Vec<Place> = indices.into_iter().map(|index| PLACES[index]).collect();
        let events: Vec<Option<EventSn>> = places.iter().map(|place| model.get(place).copied()).collect();
        prop_assert_eq!(map.get_many(&store, &places).unwrap(), events.clone());
        prop_assert_eq!(ColdChunks::new(&store).run(|chunks| map.get_many(chunks, &places)), events.clone());
        for (place, event) in places.iter().zip(events) {
            prop_assert_eq!(map.get(&store, *place).unwrap(), event);
        }
    }

    #[test]
    fn the_difference_is_what_differs_and_is_found_without_what_is_shared(start in state(), batch in batch(60)) {
        let after = changed(&start, &batch);
        let ((before_map, mut store), (after_map, more)) = (built(&start), built(&after));
        store.extend(more.iter().cloned());
        let mut cold = ColdChunks::new(&store);
        let differences = cold.run(|chunks| before_map.diff(after_map, chunks));

        let places: BTreeSet<Place> = start.keys().chain(after.keys()).copied().collect();
        let expected: Vec<Difference> = places.into_iter()
            .map(|place| Difference { place, before: start.get(&place).copied(), after: after.get(&place).copied() })
            .filter(|difference| difference.before != difference.after).collect();
        prop_assert_eq!(differences, expected);
        let (before_ids, after_ids) = (ids(before_map, &store), ids(after_map, &store));
        let roots = BTreeSet::from([before_map.root(), after_map.root()]);
        let shared: BTreeSet<ChunkId> = before_ids.intersection(&after_ids).copied().collect();
        prop_assert!(cold.loaded().difference(&roots).all(|id| !shared.contains(id)), "shared chunks are not loaded");
    }

    #[test]
    fn conflicts_are_where_not_all_agree(
        start in state(),
        batches in proptest::collection::vec(prop_oneof![Just(Batch::new()), batch(60), batch(2_000)], 0..5),
    ) {
        let models: Vec<Model> = batches.iter().map(|batch| changed(&start, batch)).collect();
        let (mut store, mut maps) = (super::super::MemoryChunks::default(), Vec::new());
        for (map, chunks) in models.iter().map(built) {
            store.extend(chunks.iter().cloned());
            maps.push(map);
        }
        let mut cold = ColdChunks::new(&store);
        let conflicts = cold.run(|chunks| StateMap::conflicts(&maps, chunks));

        let places: BTreeSet<Place> = models.iter().flat_map(Model::keys).copied().collect();
        let expected: Vec<PlaceConflict> = places.into_iter()
            .map(|place| PlaceConflict { place, events: models.iter().map(|model| model.get(&place).copied()).collect() })
            .filter(|conflict| conflict.events.iter().any(|event| *event != conflict.events[0])).collect();
        prop_assert_eq!(conflicts, expected);
        let everywhere = maps.iter().map(|map| ids(*map, &store)).reduce(|all, ids| &all & &ids).unwrap_or_default();
        let roots: BTreeSet<ChunkId> = maps.iter().map(|map| map.root()).collect();
        prop_assert!(cold.loaded().difference(&roots).all(|id| !everywhere.contains(id)));
    }
}

#[test]
fn the_places_of_these_tests_make_four_levels() {
    let model = PLACES.iter().zip(0..).map(|(place, event)| (*place, EventSn(event))).collect();
    let (map, chunks) = built(&model);
    assert_eq!(chunks.chunk(&map.root()).unwrap().level(), 3);
}
