//! What holds of every resolution. The fuzz target and the ordinary tests share this folder.

mod events;
mod index;
mod plain;
mod room;
mod source;
mod theirs;

use std::collections::{BTreeMap, BTreeSet};

use room_engine::{
    RoomVersion,
    resolution::{Change, Conflict, StatePlace},
};

use index::Index;
use room::{Room, State};
use source::{Source, conflicts};

/// What there was to decide in a room.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// In how many places not all states have the same event.
    pub(crate) conflicts: usize,
    /// How many events are in the full conflicted set.
    pub(crate) full_set: usize,
    /// Whether an event of no fork is in the resolved state.
    pub(crate) has_event_of_no_fork: bool,
    /// Whether ruma has an answer to the same question.
    pub(crate) is_compared_with_ruma: bool,
}

/// Reads `input` as the history of a room, and resolves its forks.
pub(crate) fn check(input: &[u8]) -> Examined {
    let room = Room::decode(input);
    let index = Index::new(&room);
    index.check();
    let source = Source::new(&room, &index, &room.forks);
    let answer = source.resolve();
    check_changes(&room, &source, &answer.changes);
    check_full_set(&room, &source, answer.full_set);
    check_other_orders(&room, &index, &answer.state);
    check_same(&answer.state, &plain::resolve(&room, &room.forks), "the text of the specification");
    let theirs = theirs::resolve(&room, &room.forks);
    if let Some(theirs) = &theirs {
        check_same(&answer.state, theirs, "ruma");
    }
    let is_of_fork = |event| room.forks.iter().flat_map(State::values).any(|known| known == event);
    Examined {
        conflicts: source.conflicts.len(),
        full_set: answer.full_set,
        has_event_of_no_fork: answer.state.values().any(|event| !is_of_fork(event)),
        is_compared_with_ruma: theirs.is_some(),
    }
}

/// Shows the differences only, which say more than two whole states.
fn check_same(ours: &State, others: &State, who: &str) {
    let keys: BTreeSet<&StatePlace> = ours.keys().chain(others.keys()).collect();
    let answers = keys.into_iter().map(|key| (key, [ours.get(key), others.get(key)]));
    let differences: BTreeMap<_, _> = answers.filter(|(_, [ours, others])| ours != others).collect();
    assert!(differences.is_empty(), "ours and those of {who}: {differences:#?}");
}

/// Each place in question has one answer, and no other place has one but those that nobody had anything in.
fn check_changes(room: &Room, source: &Source<'_>, changes: &[Change]) {
    assert!(changes.is_sorted_by(|before, after| before.key < after.key), "changes are in order, each place once");
    let below = room.closure(room.forks.iter().flat_map(State::values).copied());
    for change in changes {
        let conflict = source.conflicts.iter().find(|conflict| conflict.key == change.key);
        if let Some(event) = change.event {
            assert_eq!(room.key(event).as_ref(), Some(&change.key), "an event is in its own place");
            assert!(below.contains(&event), "an event is in the states or their auth chains");
        }
        if room.version == RoomVersion::V1 {
            let conflict = conflict.expect("version 1 fills no other places");
            assert!(change.event.is_none() || conflict.events.contains(&change.event), "one of the candidates");
            assert_eq!(change.event.is_some(), conflict.events.iter().any(Option::is_some), "one stays");
        }
        assert!(conflict.is_some() || change.event.is_some(), "where nothing was nothing is noted");
        assert!(!source.unconflicted.contains_key(&change.key), "what all agree on stays");
    }
    let answered: BTreeSet<_> = changes.iter().map(|change| &change.key).collect();
    assert!(source.conflicts.iter().all(|conflict| answered.contains(&conflict.key)), "every conflict is answered");
}

/// The full conflicted set has the size that its definition gives it.
fn check_full_set(room: &Room, source: &Source<'_>, found: usize) {
    if room.version == RoomVersion::V1 || source.conflicts.is_empty() {
        return assert_eq!(found, 0, "there is no such set");
    }
    let expected = plain::full_conflicted_set(room, &room.forks, &source.conflicts);
    assert_eq!(found, expected.len(), "the full conflicted set is {expected:?}");
}

/// The answer does not depend on the order of the states and the conflicts, nor on how often a state is named, and there
/// is nothing to decide between a state and itself.
fn check_other_orders(room: &Room, index: &Index<'_>, expected: &State) {
    let mut forks = room.forks.clone();
    forks.reverse();
    let mut source = Source::new(room, index, &forks);
    source.conflicts.reverse();
    assert_eq!(&source.resolve().state, expected, "in another order of the states");

    forks.rotate_left(1);
    forks.extend(forks.first().cloned());
    assert_eq!(&Source::new(room, index, &forks).resolve().state, expected, "with a state named twice");

    let twice = [expected.clone(), expected.clone()];
    assert_eq!(conflicts(&twice), (Vec::<Conflict>::new(), expected.clone()));
    let again = Source::new(room, index, &twice).resolve();
    assert!(again.changes.is_empty() && again.state == *expected, "a state resolved with itself");
}
