//! A caller that has everything, and gives what it is asked for and no more.

use std::collections::BTreeSet;

use homeserver_core::EventSn;
use room_engine::{
    auth_chain::ChainCover,
    resolution::{Change, Conflict, Need, Resolution, ResolutionStep, StatePlace},
};

use super::{
    index::Index,
    room::{Room, State},
};

/// More rounds of loading than this are one for each event, not for each level.
const MAX_ROUNDS: usize = 40;

/// Some states of a room, and what of them is in question.
pub(super) struct Source<'a> {
    room: &'a Room,
    index: &'a Index<'a>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) unconflicted: State,
}

/// What came out.
pub(super) struct Answer {
    pub(super) changes: Vec<Change>,
    /// The state with the changes.
    pub(super) state: State,
    /// How many events are in the full conflicted set.
    pub(super) full_set: usize,
}

/// The places in which not all states have the same event, and what they have in the others.
pub(super) fn conflicts(states: &[State]) -> (Vec<Conflict>, State) {
    let mut conflicts = Vec::new();
    let mut unconflicted = State::new();
    let keys: BTreeSet<&StatePlace> = states.iter().flat_map(State::keys).collect();
    for key in keys {
        let conflict =
            Conflict { key: key.clone(), events: states.iter().map(|state| state.get(key).copied()).collect() };
        match conflict.events[0] {
            Some(first) if conflict.events.iter().all(|event| *event == Some(first)) => {
                unconflicted.insert(conflict.key, first);
            }
            _ => conflicts.push(conflict),
        }
    }
    (conflicts, unconflicted)
}

impl<'a> Source<'a> {
    pub(super) fn new(room: &'a Room, index: &'a Index<'a>, states: &[State]) -> Self {
        let (conflicts, unconflicted) = conflicts(states);
        Self { room, index, conflicts, unconflicted }
    }

    pub(super) fn resolve(&self) -> Answer {
        let create = self.room.create().clone();
        let mut resolution =
            Resolution::new(self.room.version, create, self.conflicts.clone()).expect("the conflicts are of one size");
        let mut cover = ChainCover::new();
        let mut asked = Asked::default();
        for _ in 0..MAX_ROUNDS {
            match resolution.step(&cover).expect("what is asked for is given") {
                ResolutionStep::Load(need) => {
                    asked.note(&need);
                    self.load(&need, &mut cover, &mut resolution);
                }
                ResolutionStep::Done(changes) => {
                    let mut state = self.unconflicted.clone();
                    state.extend(changes.iter().filter_map(|change| Some((change.key.clone(), change.event?))));
                    return Answer { changes, state, full_set: resolution.full_conflicted_set() };
                }
            }
        }
        panic!("the resolution goes on for more than {MAX_ROUNDS} rounds");
    }

    fn load(&self, need: &Need, cover: &mut ChainCover, resolution: &mut Resolution) {
        for event in &need.events {
            resolution.add_event(self.room.events[event].clone());
        }
        for range in &need.ranges {
            let events = self.index.range(*range).into_iter().map(|event| self.room.events[&event].clone());
            resolution.add_range(*range, events);
        }
        for key in &need.state {
            resolution.add_state(key, self.unconflicted.get(key).copied());
        }
        for event in &need.counterparts {
            let counterpart = self.room.key(*event).and_then(|key| self.unconflicted.get(&key).copied());
            resolution.add_counterpart(*event, counterpart);
        }
        self.index.load(&need.chains, cover);
    }
}

/// The loaded events. None of them is asked for again.
#[derive(Default)]
struct Asked {
    events: BTreeSet<EventSn>,
    state: BTreeSet<StatePlace>,
    counterparts: BTreeSet<EventSn>,
}

impl Asked {
    fn note(&mut self, need: &Need) {
        assert!(!need.is_empty(), "a round is for something");
        for event in &need.events {
            assert!(self.events.insert(*event), "{event:?} is loaded twice");
        }
        for key in &need.state {
            assert!(self.state.insert(key.clone()), "{key:?} is looked up twice");
        }
        for event in &need.counterparts {
            assert!(self.counterparts.insert(*event), "the place of {event:?} is looked up twice");
        }
    }
}
