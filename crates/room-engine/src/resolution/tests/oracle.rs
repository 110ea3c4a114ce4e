//! The result is that of `ruma-state-res`, and in rooms of version 1 that of the specification's text.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use homeserver_core::EventSn;
use proptest::prelude::*;
use rand::seq::SliceRandom as _;
use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    state_res::{StateMap, resolve, utils::event_id_set::EventIdSet},
};

use super::{
    first_version,
    room::{State, TestRoom},
    source::{Resolved, Source},
};
use crate::{RoomVersion, auth::tests::foreign::Foreign, resolution::StatePlace};

/// What ruma makes of the states.
fn resolve_with_ruma(room: &TestRoom) -> State {
    let foreign: HashMap<&EventId, Foreign> = room
        .events
        .values()
        .map(|event| (event.pdu.event_id(), Foreign { rejected: event.rejected, ..Foreign::new(&event.pdu) }))
        .collect();
    let numbers: HashMap<&EventId, EventSn> =
        room.events.values().map(|event| (event.pdu.event_id(), event.sn)).collect();
    let id = |sn: &EventSn| room.events[sn].pdu.event_id().to_owned();
    let maps: Vec<StateMap<OwnedEventId>> = room
        .forks
        .iter()
        .map(|fork| {
            let entry = |(key, sn): (&StatePlace, &EventSn)| {
                ((StateEventType::from(&*key.event_type), key.state_key.to_string()), id(sn))
            };
            fork.iter().map(entry).collect()
        })
        .collect();
    let chains: Vec<EventIdSet<OwnedEventId>> = room
        .forks
        .iter()
        .map(|fork| closure(room, &fork.values().copied().collect()).iter().map(id).collect())
        .collect();
    let rules = room.version.rules();
    let resolved = resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        &maps,
        chains,
        |id| foreign.get(id),
        |conflicted| {
            let ends: BTreeSet<EventSn> = conflicted.values().flatten().map(|id| numbers[&**id]).collect();
            let leads_to_one = |sn: &EventSn| !closure(room, &BTreeSet::from([*sn])).is_disjoint(&ends);
            Some(closure(room, &ends).into_iter().filter(leads_to_one).map(|sn| id(&sn)).collect())
        },
    );
    let resolved = resolved.unwrap().into_iter();
    resolved.map(|((event_type, key), id)| (StatePlace::new(&event_type.to_string(), &key), numbers[&*id])).collect()
}

/// The events themselves and their auth chains.
fn closure(room: &TestRoom, events: &BTreeSet<EventSn>) -> BTreeSet<EventSn> {
    let mut found = events.clone();
    let mut queue: Vec<EventSn> = events.iter().copied().collect();
    while let Some(sn) = queue.pop() {
        for auth_event in &room.events[&sn].auth_events {
            if found.insert(*auth_event) {
                queue.push(*auth_event);
            }
        }
    }
    found
}

/// The same conflicts with the states, and themselves, in another order.
fn resolve_in_other_order(room: &mut TestRoom) -> State {
    let mut forks = std::mem::take(&mut room.forks);
    forks.shuffle(room.rng());
    room.forks = forks;
    let mut rng = room.rng().clone();
    let source = Source::new(room);
    let mut conflicts = source.conflicts.clone();
    conflicts.shuffle(&mut rng);
    source.resolve(conflicts).state
}

/// Differences by place, which say more than two whole states.
fn differences(ours: &State, theirs: &State) -> BTreeMap<StatePlace, [Option<EventSn>; 2]> {
    let keys = ours.keys().chain(theirs.keys()).cloned();
    let values = keys.map(|key| ([ours.get(&key).copied(), theirs.get(&key).copied()], key));
    values.filter(|([ours, theirs], _)| ours != theirs).map(|(values, key)| (key, values)).collect()
}

fn check(version: RoomVersion, seed: u64, steps: usize) -> Result<(), TestCaseError> {
    let mut room = TestRoom::random(version, seed, steps);
    let source = Source::new(&room);
    let Resolved { state: ours, rounds, .. } = source.resolve(source.conflicts.clone());
    let theirs = match version {
        RoomVersion::V1 => first_version::resolve(&room),
        _ => resolve_with_ruma(&room),
    };
    let differences = differences(&ours, &theirs);
    prop_assert!(differences.is_empty(), "ours and theirs: {:#?}", differences);
    prop_assert!(rounds <= 24, "{} rounds", rounds);
    prop_assert_eq!(resolve_in_other_order(&mut room), ours, "in another order");
    Ok(())
}

/// As many as the variable says that proptest reads, but 10,000 if it is not set.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(10_000), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn versions_2_to_11_resolve_as_ruma_does(
        version in prop::sample::select(RoomVersion::ALL[1..11].to_vec()),
        seed in any::<u64>(),
        steps in 4_usize..36,
    ) {
        check(version, seed, steps)?;
    }

    #[test]
    fn version_12_resolves_as_ruma_does(seed in any::<u64>(), steps in 4_usize..36) {
        check(RoomVersion::V12, seed, steps)?;
    }

    #[test]
    fn version_1_resolves_as_the_specification_says(seed in any::<u64>(), steps in 4_usize..36) {
        check(RoomVersion::V1, seed, steps)?;
    }
}
