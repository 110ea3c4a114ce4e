//! The index gives the same answers as walks over the graph.

use std::collections::BTreeMap;

use homeserver_core::EventSn;
use proptest::prelude::*;
use rand::{Rng as _, rngs::StdRng};

use super::{
    graph::{Events, TestGraph, rng},
    rows::Rows,
};
use crate::auth_chain::{
    AuthChainWalk, Chain, ChainCover, ChainNeed, CitationSearch, Counterparts, IndexedEvent, NewRows, paths_between,
};

/// Rows that were made by inserting in batches, with nothing or with everything in memory. Some batches are taken back before
/// they are inserted for good.
fn index(graph: &TestGraph, rng: &mut StdRng) -> (Rows, ChainCover) {
    let order = graph.in_random_order(rng);
    let mut rows = Rows::default();
    let mut cover = ChainCover::new();
    let stays_in_memory = rng.random_bool(0.5);
    for batch in order.chunks(rng.random_range(1..=order.len())) {
        if stays_in_memory {
            if rng.random_bool(0.3) {
                let taken_back = insert(&rows, &mut cover, batch);
                cover.remove(&taken_back);
            }
            let new = insert(&rows, &mut cover, batch);
            rows.add(&new);
        } else {
            rows.insert(batch);
        }
    }
    (rows, cover)
}

fn insert(rows: &Rows, cover: &mut ChainCover, batch: &[IndexedEvent]) -> NewRows {
    loop {
        match cover.insert(batch) {
            Ok(new) => return new,
            Err(need) => rows.load(&need, cover),
        }
    }
}

fn answer<T>(rows: &Rows, cover: &mut ChainCover, mut question: impl FnMut(&ChainCover) -> Result<T, ChainNeed>) -> T {
    let mut asked = ChainNeed::default();
    loop {
        match question(cover) {
            Ok(answer) => return answer,
            Err(need) => {
                assert_ne!(need, asked, "nothing is asked for twice");
                rows.load(&need, cover);
                asked = need;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn an_event_is_in_an_auth_chain_when_a_walk_meets_it(seed in any::<u64>(), size in 1_usize..25) {
        let mut rng = rng(seed);
        let graph = TestGraph::random(&mut rng, size);
        let (rows, mut cover) = index(&graph, &mut rng);
        let event = *graph.events.keys().nth(rng.random_range(0..size)).unwrap();
        let chain = graph.closure(&Events::from([event]));
        for ancestor in graph.events.keys() {
            let ours = answer(&rows, &mut cover, |cover| cover.is_in_auth_chain(*ancestor, event));
            prop_assert_eq!(ours, *ancestor != event && chain.contains(ancestor), "{:?} in that of {:?}", ancestor, event);
        }
    }

    #[test]
    fn the_difference_is_the_union_without_the_intersection(seed in any::<u64>(), size in 1_usize..60) {
        let mut rng = rng(seed);
        let graph = TestGraph::random(&mut rng, size);
        let (rows, mut cover) = index(&graph, &mut rng);
        let sets: Vec<Events> = (0..rng.random_range(1..=4)).map(|_| graph.random_state(&mut rng).into_values().collect()).collect();
        let chains: Vec<Events> = sets.iter().map(|set| graph.closure(set)).collect();
        let of_all = |sn: &EventSn| chains.iter().all(|chain| chain.contains(sn));
        let theirs: Events = chains.iter().flatten().copied().filter(|sn| !of_all(sn)).collect();

        let mut walk = AuthChainWalk::new(sets);
        answer(&rows, &mut cover, |cover| walk.run(cover));
        prop_assert_eq!(rows.ranges(&walk.difference()), theirs);
    }

    #[test]
    fn the_subgraph_is_what_lies_on_paths(seed in any::<u64>(), size in 1_usize..40) {
        let mut rng = rng(seed);
        let graph = TestGraph::random(&mut rng, size);
        let (rows, mut cover) = index(&graph, &mut rng);
        let ends: Events = graph.random_state(&mut rng).into_values().collect();
        let mut walk = AuthChainWalk::new([ends.iter().copied()]);
        answer(&rows, &mut cover, |cover| walk.run(cover));
        let list: Vec<EventSn> = ends.iter().copied().collect();
        prop_assert_eq!(rows.ranges(&paths_between(&walk, &cover, &list)), graph.between(&ends));
    }

    #[test]
    fn what_a_state_leads_to_is_found_by_asking_for_single_keys(seed in any::<u64>(), size in 1_usize..40) {
        let mut rng = rng(seed);
        let graph = TestGraph::random(&mut rng, size);
        let (rows, mut cover) = index(&graph, &mut rng);
        let state = graph.random_state(&mut rng);
        let mut walk = AuthChainWalk::new([graph.random_state(&mut rng).into_values(), graph.random_state(&mut rng).into_values()]);
        answer(&rows, &mut cover, |cover| walk.run(cover));
        let ranges = walk.difference();
        let of_state = graph.closure(&state.values().copied().collect());
        let theirs: Events = rows.ranges(&ranges).difference(&of_state).copied().collect();

        let mut search = CitationSearch::new(ranges);
        search.page = rng.random_range(1..5);
        search_in(&rows, &mut cover, &mut search, &graph, &state);
        prop_assert_eq!(rows.ranges(&search.uncited()), theirs);
    }
}

fn search_in(
    rows: &Rows,
    cover: &mut ChainCover,
    search: &mut CitationSearch,
    graph: &TestGraph,
    state: &BTreeMap<u8, EventSn>,
) {
    let mut counterparts = Counterparts::default();
    while let Err(need) = search.run(cover, &counterparts) {
        if !need.chains.is_empty() {
            rows.load(&need.chains, cover);
        }
        for chain in need.counterparts {
            let known = counterparts.insert(chain, state.get(&graph.place(chain.0)).copied());
            assert_eq!(known, None, "no place is asked for twice");
        }
    }
}

fn event(sn: i64, auth_events: &[i64], replaces: Option<i64>) -> IndexedEvent {
    IndexedEvent {
        event_sn: EventSn(sn),
        auth_events: auth_events.iter().copied().map(EventSn).collect(),
        replaces: replaces.map(EventSn),
    }
}

#[test]
fn a_room_of_joins_has_about_as_many_links_as_events() {
    // The create event, the creator's join, power levels, join rules; then joins, with the power levels changed at times.
    let mut events =
        vec![event(1, &[], None), event(2, &[1], None), event(3, &[1, 2], None), event(4, &[1, 2, 3], None)];
    let mut power_levels = 3;
    for sn in 5..5000 {
        if sn % 100 == 0 {
            events.push(event(sn, &[1, 2, power_levels], Some(power_levels)));
            power_levels = sn;
        } else {
            events.push(event(sn, &[1, power_levels, 4], None));
        }
    }
    let mut rows = Rows::default();
    rows.insert(&events);
    assert!(rows.links() <= 2 * events.len(), "{} links for {} events", rows.links(), events.len());
}

#[test]
fn an_event_that_is_indexed_already_changes_nothing() {
    let mut cover = ChainCover::new();
    let events = [event(1, &[], None), event(2, &[1], None)];
    assert_eq!(cover.insert(&events).unwrap().events.len(), 2);
    assert_eq!(cover.insert(&events).unwrap(), crate::auth_chain::NewRows::default());
}

#[test]
fn an_event_with_auth_events_that_are_not_indexed_asks_for_them() {
    let mut cover = ChainCover::new();
    let need = cover.insert(&[event(2, &[1], None)]).unwrap_err();
    assert_eq!(need, ChainNeed { positions: vec![EventSn(1)], ..ChainNeed::default() });
    assert_eq!(cover.size(), (0, 0, 0));
}

#[test]
fn an_event_continues_the_chain_of_what_it_replaces_and_a_rival_branches_off() {
    let mut cover = ChainCover::new();
    let rows = cover.insert(&[event(1, &[], None), event(2, &[1], Some(1)), event(3, &[1], Some(1))]).unwrap();
    let places: Vec<_> = rows.events.iter().map(|row| (row.position.chain, row.position.seq)).collect();
    let (one, three) = (Chain(EventSn(1)), Chain(EventSn(3)));
    assert_eq!(places, [(one, 1), (one, 2), (three, 1)]);
    assert_eq!(rows.starts.len(), 1);
    assert_eq!((rows.starts[0].chain, rows.starts[0].parent.chain, rows.starts[0].parent.seq), (three, one, 1));
    let is_below_rival = |sn| cover.is_in_auth_chain(EventSn(sn), EventSn(3)).unwrap();
    assert_eq!([1, 2].map(is_below_rival), [true, false]);
}
