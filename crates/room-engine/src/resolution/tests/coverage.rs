//! The generated rooms are worth resolving, and what the driver refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::{room::TestRoom, source::Source};
use crate::{
    RoomVersion,
    auth_chain::ChainCover,
    resolution::{Conflict, Resolution, ResolutionError, ResolutionStep, StatePlace},
};

#[test]
fn generated_rooms_have_conflicts_and_outcomes_of_every_kind() {
    let mut kinds = BTreeMap::<(RoomVersion, String), usize>::new();
    for version in [RoomVersion::V2, RoomVersion::V10, RoomVersion::V12] {
        for seed in 0..150 {
            let room = TestRoom::random(version, seed, 40);
            let source = Source::new(&room);
            let resolved = source.resolve(source.conflicts.clone());
            let mut seen = BTreeSet::new();
            for Conflict { key, events } in &source.conflicts {
                seen.insert(key.event_type.to_string());
                seen.insert(
                    if events.contains(&None) { "absent in a fork" } else { "different in all forks" }.to_owned(),
                );
                let newest = events.iter().flatten().max();
                let winner = resolved.state.get(key);
                seen.insert(if winner == newest { "newest wins" } else { "another wins" }.to_owned());
                if winner.is_none() {
                    seen.insert("none wins".to_owned());
                }
            }
            let conflicted: BTreeSet<_> =
                source.conflicts.iter().flat_map(|conflict| conflict.events.iter().flatten()).collect();
            if resolved.full_set > conflicted.len() {
                seen.insert("more than the conflicted events".to_owned());
            }
            if resolved.state.values().any(|sn| room.forks.iter().all(|fork| !fork.values().any(|known| known == sn))) {
                seen.insert("an event of no fork wins".to_owned());
            }
            if resolved.counterparts > 0 {
                seen.insert("a search from event to event that cites it".to_owned());
            }
            for kind in seen {
                *kinds.entry((version, kind)).or_default() += 1;
            }
        }
    }
    for version in [RoomVersion::V2, RoomVersion::V10, RoomVersion::V12] {
        for kind in [
            "m.room.power_levels",
            "m.room.join_rules",
            "m.room.member",
            "m.room.topic",
            "org.example.own",
            "absent in a fork",
            "different in all forks",
            "newest wins",
            "another wins",
            "none wins",
            "more than the conflicted events",
            "an event of no fork wins",
            "a search from event to event that cites it",
        ] {
            let count = kinds.get(&(version, kind.to_owned())).copied().unwrap_or(0);
            assert!(count > 0, "{kind}: {count} of 150 in version {version}; all: {kinds:#?}");
        }
    }
}

#[test]
fn what_is_asked_for_and_not_given_ends_the_resolution() {
    let room = TestRoom::random(RoomVersion::V11, 1, 40);
    let conflicts = Source::new(&room).conflicts;
    let mut resolution = Resolution::new(room.version, room.create().clone(), conflicts).unwrap();
    let cover = ChainCover::new();
    let Ok(ResolutionStep::Load(need)) = resolution.step(&cover) else { panic!("the events are asked for") };
    assert_eq!(resolution.step(&cover), Err(ResolutionError::Unanswered(Box::new(need))));
}

#[test]
fn states_that_agree_are_left_as_they_are() {
    for version in RoomVersion::ALL {
        let room = TestRoom::random(version, 1, 10);
        let mut resolution = Resolution::new(version, room.create().clone(), Vec::new()).unwrap();
        assert_eq!(resolution.step(&ChainCover::new()), Ok(ResolutionStep::Done(Vec::new())));
    }
}

#[test]
fn conflicts_about_different_numbers_of_states_are_refused() {
    let room = TestRoom::random(RoomVersion::V11, 1, 10);
    let conflict = |key, forks: usize| Conflict {
        key: StatePlace::new("m.room.topic", key),
        events: std::iter::repeat_n(None, forks).collect(),
    };
    let refused = Resolution::new(room.version, room.create().clone(), vec![conflict("", 2), conflict("a", 3)]);
    assert_eq!(refused.err(), Some(ResolutionError::UnequalForks { expected: 2, found: 3 }));
}
